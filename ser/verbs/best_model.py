"""Name the best system of an experiment, its model folder, and the command that tries it on a recording.

  ser best_model <exp-dir>

reads   <exp-dir>/plan.json and the scores of stage 6
prints  nothing; what it says goes to standard error, as what run.sh says

The best is the system with the highest UAR: on dev speakers where all systems have such results, else on
test speakers, which is said.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ser import cli
from ser.plan import read_plan
from ser.reporting.best import advice, best_system


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "best_model")
    parser.add_argument("exp_dir", type=cli.existing_dir, metavar="<exp-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Say it."""
    args = get_parser().parse_args(argv)
    plan = read_plan(args.exp_dir)
    if (args.exp_dir / "results.tsv").exists():
        cli.log.info("  all numbers         %s", (args.exp_dir / "results.tsv").resolve())
    best = best_system(plan)
    for line in advice(plan, best) if best is not None else ():
        cli.log.info("  %s", line)
    return 0
