"""Make the tables of a data folder (wav.scp, utt2spk, utt2emo, ...) from manifests.

Only utterances whose label has a class in the corpus's settings, and that `keep` allows, are taken.  They are
named <speaker>-<id in the manifests>, as Kaldi's tools need; utt2raw has both.  The folder appears whole or
not at all; one that was made from the same manifests and settings is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.data.corpus import load_corpus
from ser.data.corpus_tables import make_data_dir


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_data_dir")
    parser.add_argument("manifests", type=cli.existing_dir, help="folder of the manifests (data/manifests)")
    parser.add_argument("out", type=Path, help="folder to make (data/all)")
    parser.add_argument("--config", type=Path, required=True, metavar="YAML", help="conf/corpus.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting; may be repeated"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    make_data_dir(args.manifests, args.out, load_corpus(args.config, args.set))
    return 0
