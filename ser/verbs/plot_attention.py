"""Draw attention over phones and words, as in the paper's Figure 1, and the tables of stage 8.

  ser plot_attention [options] <data-dir> <statistics-dir> <out-dir> <map-dir> ...
  e.g. ser plot_attention --utt 03a01Fa data/all exp/interpret/a figures exp/interpret/a/seed*

reads   <data-dir>/wav.scp and the feature set of the maps,
        <map-dir>/{phone_attn.tsv,word_attn.tsv,attn.scp,post,feats.yaml}, one a seed,
        <statistics-dir>/{vowel_consonant.tsv,phone_stats.tsv}
writes  <out-dir>/{vowel_consonant,phones,emotions,page}.{png,svg},
        <out-dir>/{word_*,utterance_*}.{png,svg}: the tables, the most
        certain right and wrong decisions, one word in all emotions, any utterance

What is up to date is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli, config
from ser.errors import UsageError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "plot_attention")
    parser.add_argument(
        "--config", type=Path, metavar="YAML",
        help="utterances, word, formats (conf/figures.yaml, the recipe's or the shared one)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of --config"
    )
    parser.add_argument(
        "--utt",
        action="append",
        default=[],
        metavar="ID",
        help="draw this utterance too, by its name or raw id; may be given again",
    )
    parser.add_argument("data", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("statistics", type=cli.existing_dir, metavar="<statistics-dir>")
    parser.add_argument("out", type=Path, metavar="<out-dir>")
    parser.add_argument("maps", type=cli.existing_dir, nargs="+", metavar="<map-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    try:
        from ser.interpret import figures
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        raise UsageError(
            "figures need matplotlib; install it with: utils/install.sh --extra interpret"
        ) from error
    settings = figures.load_figures(args.config or config.find_conf("figures.yaml"), args.set)
    figures.draw_all(args.data, args.statistics, args.out, args.maps, settings, args.utt)
    return 0
