"""Map the attention of a system onto phones and words (paper §5.1).

  ser map_attention [options] <alignment-dir> <data-dir> <out-dir> <decode-dir> ...
  e.g. ser map_attention exp/alignments/corpus data/all exp/interpret/a/seed1 exp/*/a/seed1/decode_test

reads   <alignment-dir>/{phone.frames,word.frames,feats.yaml}, <data-dir>/{utt2emo,utt2spk},
        <decode-dir>/{post,attn.scp}, one a fold
writes  <out-dir>/{phone_attn.tsv,word_attn.tsv}: mass, mass a frame against uniform, peak, position of each
        segment; attn.scp and post of all folds; feats.yaml, the feature set whose frames have the attention;
        not_mapped, the utterances without alignment

What is up to date is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli, config
from ser.data.phones import load_phones
from ser.interpret.maps import map_attention


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "map_attention")
    parser.add_argument(
        "--phones", type=Path, metavar="YAML",
        help="the phone set (conf/phones.yaml, the recipe's or the shared one)",
    )  # fmt: skip
    parser.add_argument("alignment", type=cli.existing_dir, metavar="<alignment-dir>")
    parser.add_argument("data", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("out", type=Path, metavar="<out-dir>")
    parser.add_argument("decoded", type=cli.existing_dir, nargs="+", metavar="<decode-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    phones = load_phones(args.phones or config.find_conf("phones.yaml"))
    map_attention(args.alignment, args.data, args.decoded, args.out, phones)
    return 0
