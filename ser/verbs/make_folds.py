"""Divide a data folder into train, dev and test subsets, as a protocol of the corpus's settings says.

Writes OUT/<fold>/{train,dev,test}, OUT/folds.tsv (`fold tune_fold tune_set`: where the posteriors come from
that tune a fold's fusion) and OUT/tuning.tsv (where else they may), and says how many classes the training
speakers show, with a warning where speaker and class are confounded.  No speaker is in two subsets of a fold.
OUT appears whole or not at all; one that was made the same way is left alone.  With --manifests the data
folder gets cuts.jsonl.gz first, all that lhotse needs of it, and each subset its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.data.corpus import load_corpus
from ser.data.cuts import make_cuts
from ser.data.folds import make_folds


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_folds")
    parser.add_argument("data", type=cli.existing_dir, help="data folder with features and CMVN (data/all)")
    parser.add_argument("out", type=Path, help="folder to make (data/folds)")
    parser.add_argument("--config", type=Path, required=True, metavar="YAML", help="conf/corpus.yaml")
    parser.add_argument(
        "--protocol", metavar="NAME", help="one of the settings' protocols (default: its `protocol`)"
    )
    parser.add_argument(
        "--manifests", type=Path, metavar="DIR", help="what the data folder was made from, to make cuts of"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting; may be repeated"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    if args.manifests is not None:
        make_cuts(args.manifests, args.data)
    make_folds(args.data, args.out, load_corpus(args.config, args.set), args.protocol)
    return 0
