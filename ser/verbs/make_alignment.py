"""Put an alignment into the frames of a feature set: phone.frames, word.frames, not_aligned.

  ser make_alignment [options] <source> <data-dir> <out-dir>
  e.g. ser make_alignment --tier phone=Laute ~/textgrids data/all exp/alignments/mine

source  the data folder itself (the corpus's own alignment), what the k2 aligner made, any folder with
        phone.ctm or word.ctm, one CTM file, or a folder of Praat TextGrids, <utterance>.TextGrid; it names
        utterances as <data-dir> does, or by their raw ids
reads   <data-dir>/<set>/{utt2num_frames,settings.yaml}, <data-dir>/utt2raw where it is there
writes  <utterance> 1 <first frame> <frames> <symbol> lines; feats.yaml, the set; not_aligned, the utterances
        that the source lacks; with --manifests also lhotse's supervisions.jsonl.gz with the alignment

What is up to date is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli, config
from ser.align.frames import make_alignment
from ser.data.alignment import TIERS, AlignmentConfig
from ser.data.phones import load_phones


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_alignment")
    parser.add_argument("source", type=Path, metavar="<source>")
    parser.add_argument("data", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("out", type=Path, metavar="<out-dir>")
    parser.add_argument(
        "--features", metavar="SET", help="feature set whose frames count (the main set of <data-dir>)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="YAML",
        help="how times are read (conf/alignment.yaml, the recipe's or the shared one)",
    )  # fmt: skip
    parser.add_argument(
        "--phones", type=Path, metavar="YAML",
        help="the phone set (conf/phones.yaml, the recipe's or the shared one)",
    )  # fmt: skip
    parser.add_argument(
        "--tier", type=_tier, action="append", default=[], metavar="TIER[=NAME]",
        help="phone=NAME: the tier NAME of TextGrids has the phones; word: a single CTM file has words",
    )  # fmt: skip
    parser.add_argument("--manifests", type=cli.existing_dir, metavar="DIR", help="data/manifests")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of --config"
    )
    return parser


def _tier(text: str) -> tuple[str, str]:
    tier, _, name = text.partition("=")
    if tier not in TIERS:
        raise argparse.ArgumentTypeError(f"{text}: expected one of {', '.join(TIERS)}, =NAME behind it")
    return tier, name or tier


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    conf = args.config or config.find_conf("alignment.yaml")
    make_alignment(
        args.source,
        args.data,
        args.out,
        config=config.load(AlignmentConfig, conf, args.set),
        phones=load_phones(args.phones or config.find_conf("phones.yaml")),
        tiers=dict(args.tier),
        manifests=args.manifests,
        features=args.features,
    )
    return 0
