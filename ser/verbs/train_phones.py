"""Train the aligner's phone models on a data folder, from a flat start: no alignment is needed.

Runs in the environment that has k2 (utils/install_k2.sh). A finished folder with the same settings and data
is left as it is. Run by steps/train_phones.sh.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli, config
from ser.align import phone_model, phone_training


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "train_phones")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="override a setting"
    )
    parser.add_argument("config", type=Path, help="conf/align.yaml")
    parser.add_argument("phones", type=Path, help="conf/phones.yaml")
    parser.add_argument("data", type=cli.existing_dir, help="data folder (data/all) with features in align/")
    parser.add_argument("lexicon", type=Path, help="pronunciations, see steps/make_lexicon.sh")
    parser.add_argument("out", type=Path, help="model folder to make")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    from ser.align.k2_align import search

    settings = config.load(phone_model.AlignConfig, args.config, args.overrides)
    phone_training.train_phones(
        settings, args.phones, args.data, args.lexicon, args.out, search, cli.progress
    )
    return 0
