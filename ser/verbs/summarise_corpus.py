"""Summarise a corpus: lengths, sampling rates, formats, levels, classes, and what of it is suspicious.

  ser summarise_corpus [options] <data-dir>

reads   wav.scp, utt2spk, utt2emo and emotions.txt of <data-dir>, and every recording, once: what was measured
        stands in levels.tsv beside <data-dir>, and is measured again when a recording has changed
writes  summary.tsv beside <data-dir>, which the report shows
prints  the summary, 78 columns wide; `!` marks a line about which there is a warning, on stderr

What may not be used by audio.on_mixed_rate and audio.on_silent of the corpus's settings is an error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.config import find_conf
from ser.data.corpus import load_corpus
from ser.data.corpus_summary import show


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "summarise_corpus")
    parser.add_argument("data", type=Path, metavar="data-dir", help="data/all")
    parser.add_argument(
        "--config", type=Path, default=find_conf("corpus.yaml"), metavar="YAML", help="(%(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting; may be repeated"
    )
    parser.add_argument(
        "--nj", type=int, default=4, metavar="N", help="recordings read at a time (%(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    show(args.data, load_corpus(args.config, args.set), args.nj)
    return 0
