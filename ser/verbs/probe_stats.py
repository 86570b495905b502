"""Statistics of the masking test and the integrated gradients; prints both tables.

  ser probe_stats [options] <out-dir> <probe-dir> ...
  e.g. ser probe_stats exp/interpret/a exp/interpret/a/probe/seed*/*

reads   <probe-dir>/{masking.tsv,gradients.tsv}; a probe-dir is <seed>/<fold>
writes  <out-dir>/{masking_stats.tsv,gradient_stats.tsv}: each seed, all of them
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.interpret.masking import write_probe_statistics


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "probe_stats")
    parser.add_argument(
        "--draws", type=cli.whole(cli.DRAWS), default=999, metavar="N", help="of speakers (%(default)s)"
    )
    parser.add_argument("--seed", type=cli.whole(cli.SEED), default=0, help="of these draws (%(default)s)")
    parser.add_argument("out", type=Path, metavar="<out-dir>")
    parser.add_argument("probed", type=cli.existing_dir, nargs="+", metavar="<probe-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    groups: dict[str, list[Path]] = {}
    for folder in args.probed:
        groups.setdefault(folder.resolve().parent.name, []).append(folder)
    print(write_probe_statistics(groups, args.out, num_draws=args.draws, seed=args.seed))
    return 0
