"""Align one part of a data folder with its transcripts: which phone and which word is spoken when.

Runs in the environment that has k2 (utils/install_k2.sh); ser.merge_alignment puts the parts together. A part
that is up to date is left alone. Run by steps/align.sh.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.align import aligner


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "align")
    parser.add_argument("--job", type=int, default=1, help="which part, from 1 (default: %(default)s)")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of parts (default: %(default)s)")
    parser.add_argument("data", type=cli.existing_dir, help="data folder (data/all) with features in align/")
    parser.add_argument("model", type=cli.existing_dir, help="what ser.train_phones made")
    parser.add_argument("out", type=Path, help="folder of the alignment")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    from ser.align.k2_align import search

    aligner.align_part(args.data, args.model, args.out, args.job, args.num_jobs, search, cli.progress)
    return 0
