"""Train one system: a line of a task list, or a training subset named on the command line.

A finished folder with the same settings and data is left as it is; a stopped training goes on where it
was and ends as if it had not been stopped.  With --num-jobs the tasks of a job's share of the list are
trained one after the other, each in a process that need not load torch, with a log in log/ beside the list.
Several processes: start it with
``python3 -m torch.distributed.run --nproc_per_node N -m ser train ...``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli, config
from ser.errors import UsageError
from ser.learn import fitting, tasks, worker
from ser.ranges import Range


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "train")
    parser.add_argument("config", type=Path, nargs="?", help="settings of a system, a YAML file of conf/")
    parser.add_argument("train", type=Path, nargs="?", help="data folder of the training subset")
    parser.add_argument("folder", type=Path, nargs="?", help="model folder to make")
    parser.add_argument("--dev", type=Path, help="data folder of the dev subset, where the settings need one")
    parser.add_argument(
        "--seed", type=cli.whole(cli.SEED), default=777, help="random seed (%(default)s, the authors')"
    )
    parser.add_argument("--tasks", type=Path, help="task list, see steps/train.sh --help")
    parser.add_argument("--task", type=cli.whole(Range(1)), default=1, help="line of the task list, from 1")
    parser.add_argument("--job", type=cli.whole(Range(1)), default=1, help="which share of the list, from 1")
    parser.add_argument(
        "--num-jobs", type=cli.whole(Range(1)), help="shares of the list; default: only --task is trained"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_use_gpu()
    parser.add_argument("--tensorboard", choices=["true", "false"], default="true", help="write tb/ events")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    use = {"use_gpu": args.use_gpu, "tensorboard": args.tensorboard == "true"}
    if args.tasks is not None and args.config is None and not args.set:
        if args.num_jobs is not None:
            worker.train_share(args.tasks, args.job, args.num_jobs, lambda task: fitting.train(task, **use))
            return 0
        task = tasks.read_task(args.tasks, args.task)
    elif args.tasks is None and args.folder is not None:
        tree = config.resolve(args.config, args.set)
        task = tasks.Task(args.train, args.dev, args.folder, args.seed, tree, str(args.config))
    else:
        raise UsageError(
            "name the settings, the training subset and the model folder, or a task list with --tasks (whose "
            "lines have their own overrides)"
        )
    fitting.train(task, **use)
    return 0
