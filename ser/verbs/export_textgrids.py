"""Write an alignment as Praat TextGrids, <utterance>.TextGrid, to look at it or correct it by hand.

  ser export_textgrids <source> <data-dir> <out-dir>
  e.g. ser export_textgrids data/all data/all textgrids

source  a data folder (the corpus's own alignment), what the k2 aligner made, or a CTM file; it names
        utterances as <data-dir> does, or by their raw ids
reads   <data-dir>/utt2dur, <data-dir>/utt2raw where it is there
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.align.sources import export_textgrids


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "export_textgrids")
    parser.add_argument("source", type=Path, metavar="<source>")
    parser.add_argument("data", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("out", type=Path, metavar="<out-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    cli.log.info("%s: %d TextGrids", args.out, export_textgrids(args.source, args.data, args.out))
    return 0
