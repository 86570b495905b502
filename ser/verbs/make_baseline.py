"""Train a baseline and write its posteriors for a test part: one system, or a line of a task list.

Systems: majority, and linear SVMs on openSMILE's functionals, svm_{egemaps,compare}_{global,speaker}; the
last word is the normalisation. An SVM's cost is chosen on held-out speakers of the training part. A folder
that is up to date is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.errors import UsageError
from ser.systems import baselines


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_baseline")
    parser.add_argument("data", type=cli.existing_dir, help="the folder that has the functionals, data/all")
    parser.add_argument("system", nargs="?", help=f"one of {', '.join(baselines.BASELINES)}")
    parser.add_argument("train", type=Path, nargs="?", help="data folder of the training part")
    parser.add_argument("test", type=Path, nargs="?", help="data folder of the test part")
    parser.add_argument("out", type=Path, nargs="?", help="folder to make")
    parser.add_argument("--tasks", type=Path, help="task list: system<TAB>train<TAB>test<TAB>out, one a line")
    parser.add_argument("--job", type=int, default=1, help="which share of the list, from 1")
    parser.add_argument("--num-jobs", type=int, default=1)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    if args.tasks is not None:
        tasks = baselines.read_tasks(args.tasks)[args.job - 1 :: args.num_jobs]
    elif args.out is not None:
        tasks = [(args.system, args.train, args.test, args.out)]
    else:
        raise UsageError("name the system, both parts and the folder to make, or a task list with --tasks")
    for system, train, test, out in tasks:
        baselines.make_baseline(system, args.data, train, test, out)
    return 0
