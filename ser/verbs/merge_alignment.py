"""Put the parts that ser.align made together.

Writes <out>/phone.ctm, <out>/word.ctm and, for utterances that could not be aligned, <out>/not_aligned with
the reasons. Run by steps/align.sh.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.align import aligner


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "merge_alignment")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of parts (default: %(default)s)")
    parser.add_argument("data", type=cli.existing_dir, help="data folder (data/all)")
    parser.add_argument("model", type=cli.existing_dir, help="what ser.train_phones made")
    parser.add_argument("out", type=Path, help="folder of the alignment")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    aligner.merge_alignment(args.data, args.model, args.out, args.num_jobs)
    return 0
