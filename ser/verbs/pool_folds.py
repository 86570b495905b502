"""Put the test utterances of all folds into one folder, so that one score covers the corpus.

  ser pool_folds <out-dir> <decode-dir> ...

reads   <decode-dir>/{post,emotions.txt,not_scored} of each fold; no utterance may be in two
writes  <out-dir>/{post,hyp,emotions.txt,not_scored}: to be scored with the data folder of all folds
prints  the number of utterances

ser score --plan pools all systems of an experiment; this is for folders of one's own
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.scoring import posteriors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "pool_folds")
    parser.add_argument("out_dir", type=Path, metavar="<out-dir>")
    parser.add_argument("folders", type=cli.existing_dir, nargs="+", metavar="<decode-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Pool."""
    args = get_parser().parse_args(argv)
    pooled = posteriors.pool_folders(args.out_dir, args.folders)
    print(
        f"{args.out_dir}\n  {len(args.folders)} folds: {len(pooled.posteriors)} scored, "
        f"{len(pooled.not_scored)} not scored"
    )
    return 0
