"""Compute the CMVN statistics of every utterance of a data folder: cmvn_utt.scp.

They are sums, so those of a speaker or of a training part are added up from them by make_folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ser import cli
from ser.feats import cmvn


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "compute_cmvn")
    parser.add_argument("data", type=cli.existing_dir, help="data folder with features (data/all)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    cmvn.compute(args.data, cli.progress)
    return 0
