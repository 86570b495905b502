"""Does the attention matter?  Mask phones and attribute the decisions of networks with attention over frames.

  ser probe_attention [options] --tasks tasks.tsv

Each line of the list is <model-dir><TAB><data-dir><TAB><map-dir><TAB><out-dir>[<TAB><code to allow>];
<out-dir> gets masking.tsv (how far the decision's posterior falls when the most attended phones, others,
vowels or consonants become the mean frame) and gradients.tsv (integrated gradients, by kind).  What is up to
date is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.ranges import Range, read_number


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "probe_attention")
    parser.add_argument("--tasks", type=Path, required=True, metavar="FILE", help="what to probe")
    parser.add_argument("--job", type=int, default=1, help="which share of the list, from 1 (%(default)s)")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of shares (%(default)s)")
    parser.add_argument("--fraction", type=_fraction, default=0.2, help="of the speech masked (%(default)s)")
    parser.add_argument(
        "--draws", type=cli.whole(cli.DRAWS), default=3, help="of phones at random (%(default)s)"
    )
    parser.add_argument(
        "--steps",
        type=cli.whole(Range(1, 100000)),
        default=16,
        help="of the integrated gradients (%(default)s)",
    )
    parser.add_argument(
        "--max-utterances", type=cli.whole(Range(0)), default=100, help="of a subset, 0: all (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=cli.whole(cli.SEED), default=0, help="of sample and draws (%(default)s)"
    )
    parser.add_allow_code()
    return parser


def _fraction(text: str) -> float:
    value = read_number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and below 1")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    from ser.interpret import probing

    settings = probing.ProbeSettings(args.fraction, args.draws, args.steps, args.max_utterances, args.seed)
    for model, data, mapped, out, allow in probing.read_tasks(args.tasks)[args.job - 1 :: args.num_jobs]:
        probing.probe_folder(model, data, mapped, out, settings, [*allow, *args.allow_code])
    return 0
