"""Print the results of all systems as one table.

  ser tabulate [options] exp/pooled [...]

reads   <folder>/<system>/seed<k>/<decode>/score/result.txt
prints  a row per system: mean and standard deviation over its seeds, per cent
writes  --out FILE.tsv: every value of every seed, and their means and standard deviations
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.scoring import table


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "tabulate")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything, tab-separated")
    parser.add_argument("--title", default="", help="a line above the table")
    parser.add_argument(
        "--decode", default="decode_test", metavar="NAME", help="which decoding (%(default)s)"
    )
    parser.add_argument("folders", type=cli.existing_dir, nargs="+", metavar="<folder>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Tabulate."""
    args = get_parser().parse_args(argv)
    rows = table.read_rows(args.folders, args.decode)
    if args.out:
        table.write_tsv(args.out, rows)
    print(table.table_text(rows, args.title))
    return 0
