"""Decide which frames of a data folder have speech: <data>/vad.scp, as Kaldi's compute-vad.

Each utterance gets a float vector of 0 and 1 in frames of the main feature set. conf/vad.yaml says by which
rules, and on which feature set they look (energy, silero, or one of your own), which steps/extract.sh makes.
What is up to date is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli, config
from ser.feats.vad import VadConfig, compute_vad


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "compute_vad")
    parser.add_argument("config", type=Path, metavar="vad.yaml", help="the rules (conf/vad.yaml)")
    parser.add_argument("data", type=cli.existing_dir, help="data folder with features (data/all)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    compute_vad(args.data, config.load(VadConfig, args.config), cli.progress)
    return 0
