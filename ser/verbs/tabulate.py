"""Print the results of all systems as one table.

  ser tabulate [options] <folder> ...
  ser tabulate [options] --plan <exp-dir>

reads   <folder>/<system>/seed<k>/<decode>/score/result.txt of all systems; <folder> is such as exp/pooled.
        With --plan it is <exp-dir>/pooled, and only what the plan names is read, in the plan's order
prints  a row per system: mean and standard deviation over its seeds, per cent
writes  --out FILE.tsv: every value of every seed, and their means and standard deviations
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.errors import UsageError
from ser.plan import read_plan
from ser.reporting import scores
from ser.scoring import table


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "tabulate")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything, tab-separated")
    parser.add_argument("--title", default="", help="a line above the table")
    parser.add_argument(
        "--decode", default="decode_test", metavar="NAME", help="which decoding (%(default)s)"
    )
    parser.add_argument(
        "--plan", type=Path, metavar="<exp-dir>", help="tabulate all that this experiment plans"
    )
    parser.add_argument("folders", type=cli.existing_dir, nargs="*", metavar="<folder>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Tabulate."""
    args = get_parser().parse_args(argv)
    if bool(args.plan) == bool(args.folders):
        raise UsageError("tabulate: give <folder> such as exp/pooled, or --plan")
    if args.plan:
        plan = read_plan(args.plan)
        if plan.tell_untested("tabulate"):
            return 0
        rows = scores.table_rows(plan, args.decode)
    else:
        rows = table.read_rows(args.folders, args.decode)
    if args.out:
        table.write_tsv(args.out, rows)
    print(table.table_text(rows, args.title))
    return 0
