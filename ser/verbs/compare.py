"""Compare two systems on the utterances that both scored: is the difference more than chance?

  ser compare [options] <data-dir> <decode-A> <decode-B>

reads   <data-dir>/{emotions.txt,utt2emo,utt2spk}, <decode-X>/{post,emotions.txt,not_scored}
prints  acc and uar of both; B - A with its 95 % interval and p by a paired bootstrap over speakers ("-"
        with one speaker); McNemar's exact test, which takes utterances as independent
writes  --out FILE: the same as <key> <value> lines, shares in 0..1; diff is B - A
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.data import tables
from ser.scoring import evaluate


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "compare")
    parser.add_argument(
        "--bootstrap",
        type=cli.whole(cli.DRAWS),
        default=10000,
        metavar="N",
        help="draws of speakers (%(default)s)",
    )
    parser.add_argument("--seed", type=cli.whole(cli.SEED), default=0, help="of these draws (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write <key> <value> lines")
    parser.add_argument("data_dir", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("first", type=cli.existing_dir, metavar="<decode-A>")
    parser.add_argument("second", type=cli.existing_dir, metavar="<decode-B>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Compare."""
    args = get_parser().parse_args(argv)
    result = evaluate.compare_folders(
        args.data_dir, args.first, args.second, num_draws=args.bootstrap, seed=args.seed
    )
    if args.out:
        tables.write_table(args.out, result)
    print(evaluate.comparison_text(args.first, args.second, result))
    return 0
