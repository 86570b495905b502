"""Check a data folder: all tables are sorted, agree with each other, and name files that exist.

Prints one line if all is well; else lists every fault with its file and line, and exits with 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.config import find_conf
from ser.data.datadir import write_spk2utt
from ser.data.tables import read_table
from ser.data.validate import validate
from ser.feats.sets import load_set


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "validate_data_dir")
    parser.add_argument("data", type=Path, help="a data folder (data/all, data/folds/03/train)")
    parser.add_argument("--no-wav", action="store_true", help="wav.scp may be missing")
    parser.add_argument("--no-feats", action="store_true", help="feats.scp may be missing")
    parser.add_argument("--no-text", action="store_true", help="for Kaldi's callers; text is never needed")
    parser.add_argument(
        "--before-features",
        action="store_true",
        help="as stage 1 finds it: features are passed over, spk2utt is written where it is missing",
    )
    parser.add_argument(
        "--config", type=Path, default=find_conf("corpus.yaml"), metavar="YAML",
        help="the corpus's settings, read for --features (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--features", type=Path, action="append", default=[], metavar="YAML",
        help="settings of a feature set: utterances that are too short for it are found; may be repeated",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    may_miss = {"wav.scp": args.no_wav, "feats.scp": args.no_feats}
    before = args.before_features
    need = [
        name for name, missing in may_miss.items() if not missing and not (before and name == "feats.scp")
    ]
    shortest = [load_set(path, args.config).shortest() for path in args.features]
    summary = validate(args.data, need=need, shortest=shortest, features=not before)
    if before and not (args.data / "spk2utt").exists():
        write_spk2utt(args.data / "spk2utt", read_table(args.data / "utt2spk"))
    print(f"{args.data}: valid, {summary.num_utterances} utterances, {summary.num_speakers} speakers")
    return 0
