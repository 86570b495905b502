"""Say which trainings and decodings would run, and which are done, begun or failed.

  ser list_tasks <tasks.tsv> ...

reads   task lists of steps/train.sh and steps/decode.sh, what the tasks have left, and their logs
prints  for each list how many tasks are how far, then a line for each that is not done; of a failed one the
        last lines of its log. The command that made the lists runs just these.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.learn import status


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "list_tasks")
    parser.add_argument("lists", type=Path, nargs="+", metavar="<tasks.tsv>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """List."""
    for path in get_parser().parse_args(argv).lists:
        print(status.progress_text(path, status.look(path)))
    return 0
