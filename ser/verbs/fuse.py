"""Fuse two or more systems by their posteriors.

  ser fuse --weights 0.4 <out-dir> <decode-A> <decode-B> [<decode-C> ...]
  ser fuse --data DIR --dev-data DIR --dev-decode DIR --dev-decode DIR <out-dir> <decode-A> <decode-B> ...
  ser fuse --plan <exp-dir>

reads   <decode-X>/{post,emotions.txt,not_scored}: the same utterances and classes everywhere
writes  <out-dir>/{post,hyp,emotions.txt,not_scored}, to be scored like any system, and fusion.txt:
        mode, weights, and when they were tuned the tuning data (of nll and uar: how each weight did on it)

Modes: power  p ~ p_A * p_B^w (the paper's "scaled by 0.4 then multiplied": a factor changes no decision,
an exponent does), product (w = 1), mean (the geometric mean, such as of the seeds of one system), linear
p ~ p_A + w * p_B. Weights that are given are those of the systems after the first; it has 1.

They are tuned on --dev-data: one --dev-decode for each system, in the order of the systems, and --data names
the data the systems to fuse were decoded on; no speaker may be in both. --dev-data may be repeated, the
--dev-decode of the first going before those of the second. Criteria: logistic, all weights at once, by the
likelihood of the references with a prior towards equal weights, which calibrates too; and on a grid, one
system after the other, nll, the mean over the classes of -log p(reference), and uar.

With --plan every fusion of the plan is made and scored in all folds, pooled over the folds into
<exp-dir>/pooled/<fusion>/seed<k>/decode_test, and the pools are scored. Their summaries are printed, those of
single folds go into <exp-dir>/tasks/log/fuse.log.

An utterance that a system lists in not_scored is fused from the others, and counted in fusion.txt.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.errors import UsageError
from ser.plan import read_plan
from ser.ranges import read_number
from ser.reporting import scores
from ser.scoring import combine, fusion

PAPER_WEIGHT = 0.4


def weights(text: str) -> list[float]:
    """Numbers between blanks or commas."""
    try:
        return [read_number(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers such as '0.4', got {text!r}") from error


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "fuse")
    parser.add_argument("--mode", choices=fusion.MODES, default="power", help="(%(default)s)")
    parser.add_argument(
        "--weights",
        type=weights,
        metavar="W",
        help="of the systems after the first: '0.4', '0.4 0.2' "
        f"({PAPER_WEIGHT:g}, the paper's, unless weights are tuned)",
    )
    parser.add_argument(
        "--dev-data",
        type=cli.existing_dir,
        metavar="DIR",
        action="append",
        default=[],
        help="data folder to tune the weights on",
    )
    parser.add_argument(
        "--dev-decode",
        type=cli.existing_dir,
        metavar="DIR",
        action="append",
        default=[],
        help="a system decoded on --dev-data",
    )
    parser.add_argument("--data", type=cli.existing_dir, metavar="DIR", help="data folder of what is fused")
    parser.add_argument(
        "--criterion",
        choices=fusion.CRITERIA,
        help=f"what tuning makes best ({fusion.LOGISTIC}; nll in mode linear)",
    )
    parser.add_argument(
        "--leave-out-shared",
        action="store_true",
        help="leave out what --dev-data has of speakers of --data; only right if none of the systems decoded "
        "there was trained on these speakers",
    )
    parser.add_argument("--plan", type=Path, metavar="<exp-dir>", help="make all fusions of this experiment")
    parser.add_argument("out_dir", type=Path, nargs="?", metavar="<out-dir>")
    parser.add_argument("folders", type=cli.existing_dir, nargs="*", metavar="<decode-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Fuse folders, or make all fusions of an experiment."""
    args = get_parser().parse_args(argv)
    tuning = (args.data, args.dev_data, args.dev_decode)
    if args.plan:
        if args.out_dir or args.weights or args.criterion or any(tuning):
            raise UsageError(
                "fuse: --plan says what is fused; leave out folders, --weights, --criterion and tuning data"
            )
        for text in scores.fuse_systems(read_plan(args.plan), mode=args.mode):
            print(text)
        return 0
    if len(args.folders) < 2:
        raise UsageError("fuse: give <out-dir> and two <decode-dir> or more, or --plan")
    if any(tuning) and not all(tuning):
        raise UsageError("fuse: tuning needs --data, --dev-data and --dev-decode for each system")
    default = [] if any(tuning) or args.mode in fusion.UNWEIGHTED else [PAPER_WEIGHT]
    record = combine.fuse_folders(
        args.out_dir,
        args.folders,
        mode=args.mode,
        weights=default if args.weights is None else args.weights,
        tuning=_tuning_data(args) if any(tuning) else None,
    )
    print(combine.fusion_text(args.out_dir, record))
    return 0


def _tuning_data(args: argparse.Namespace) -> combine.TuningData:
    """The folders of each ``--dev-data`` are those of as many ``--dev-decode`` as there are systems."""
    number, rest = len(args.folders), list(args.dev_decode)
    sets = []
    for data in args.dev_data[:-1]:
        sets.append(combine.TuningSet(data, tuple(rest[:number])))
        del rest[:number]
    sets.append(combine.TuningSet(args.dev_data[-1], tuple(rest)))
    criterion = args.criterion or ("nll" if args.mode == "linear" else fusion.LOGISTIC)
    return combine.TuningData(tuple(sets), args.data, criterion, args.leave_out_shared)
