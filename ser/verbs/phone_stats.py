"""Statistics of attention over phones and words; prints the table of vowels against consonants.

  ser phone_stats [options] <out-dir> <map-dir> ...
  e.g. ser phone_stats exp/interpret/a exp/interpret/a/seed*

reads   <map-dir>/{phone_attn.tsv,word_attn.tsv,attn.scp}, one a seed (ser map_attention)
writes  <out-dir>/vowel_consonant.tsv  vowels against consonants, with and without silence, with their nulls
        <out-dir>/phone_stats.tsv      every kind, phone and word: all, by emotion, by decision
        <out-dir>/phone_tests.tsv      tests of phones, words and contrasts
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.interpret.statistics import write_statistics
from ser.ranges import Range


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "phone_stats")
    parser.add_argument(
        "--draws",
        type=cli.whole(cli.DRAWS),
        default=999,
        metavar="N",
        help="of nulls and of speakers (%(default)s)",
    )
    parser.add_argument("--seed", type=cli.whole(cli.SEED), default=0, help="of these draws (%(default)s)")
    parser.add_argument(
        "--min-segments", type=cli.whole(Range(1)), default=20, metavar="N",
        help="phones and words that come less often are not tested (%(default)s)",
    )  # fmt: skip
    parser.add_argument("out", type=Path, metavar="<out-dir>")
    parser.add_argument("maps", type=cli.existing_dir, nargs="+", metavar="<map-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    print(
        write_statistics(
            args.maps, args.out, num_draws=args.draws, seed=args.seed, min_segments=args.min_segments
        )
    )
    return 0
