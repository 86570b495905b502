"""Train the aligner's phone models on a data folder, from a flat start: no alignment is needed.

  ser train_phones [options] <align.yaml> <phones.yaml> <data-dir> <lexicon.txt> <model-dir>

reads   <data-dir>/{text,utt2spk}, a feature set of it with CMVN statistics, pronunciations (ser make_lexicon)
writes  <model-dir>/{model.npz,align.yaml,feats.yaml,phones.yaml,lexicon.txt}

Runs in the environment that has k2 (utils/install_k2.sh).  A finished folder with the same settings and data
is left as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli, config
from ser.align import phone_model, phone_training
from ser.align.features import ALIGN_SET


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "train_phones")
    parser.add_argument(
        "--features", default=ALIGN_SET, metavar="SET", help="feature set to train on (%(default)s)"
    )
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
        help="override a setting of <align.yaml>",
    )  # fmt: skip
    parser.add_argument("config", type=Path, metavar="<align.yaml>")
    parser.add_argument("phones", type=Path, metavar="<phones.yaml>")
    parser.add_argument("data", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("lexicon", type=Path, metavar="<lexicon.txt>")
    parser.add_argument("out", type=Path, metavar="<model-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    from ser.align.k2_align import search

    settings = config.load(phone_model.AlignConfig, args.config, args.overrides)
    phone_training.train_phones(
        settings, args.phones, args.data, args.lexicon, args.out, search, cli.progress, args.features
    )
    return 0
