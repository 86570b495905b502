"""Posteriors and attention of trained systems: one model, or a line of a task list.

Reads only the model folder and the data folder.  A folder that is up to date is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.errors import UsageError


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "decode")
    parser.add_argument("model", type=Path, nargs="?", help="model folder, exp/<fold>/<system>/seed<k>")
    parser.add_argument("data", type=Path, nargs="?", help="data folder, data/folds/<fold>/test")
    parser.add_argument("out", type=Path, nargs="?", help="folder to make")
    parser.add_argument("--tasks", type=Path, help="task list: model<TAB>data<TAB>out[<TAB>code to allow]")
    parser.add_argument("--job", type=int, default=1, help="which share of the list, from 1")
    parser.add_argument("--num-jobs", type=int, default=1)
    parser.add_allow_code()
    parser.add_use_gpu()
    parser.add_argument(
        "--amp",
        choices=["none", "bfloat16"],
        default="none",
        help="precision of networks; bfloat16 is faster, and the posteriors' notes say it (%(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    from ser.learn import decoding

    if args.tasks is not None:
        tasks = decoding.read_tasks(args.tasks)[args.job - 1 :: args.num_jobs]
    elif args.out is not None:
        tasks = [(args.model, args.data, args.out, ())]
    else:
        raise UsageError("name the model, the data and the folder to make, or a task list with --tasks")
    for model, data, out, allow in tasks:
        allowed = [*allow, *args.allow_code]
        decoding.decode_folder(model, data, out, use_gpu=args.use_gpu, amp=args.amp, allow=allowed)
    return 0
