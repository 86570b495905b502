"""Compute the CMVN statistics of every utterance: <data>/<set>/cmvn_utt.scp.

They are sums, so those of a speaker or of a training subset are added up from them. Without --set those of
all feature sets of frames; vectors need none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ser import cli
from ser.feats import cmvn


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "compute_cmvn")
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        metavar="NAME",
        help="a feature set (default: all of frames); may be repeated",
    )
    parser.add_argument("data", type=cli.existing_dir, help="data folder with features (data/all)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    for name in args.sets or cmvn.frame_sets(args.data):
        cmvn.compute(args.data, name, cli.progress)
    return 0
