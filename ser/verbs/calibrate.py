"""Make a model's posteriors mean what they say: fit one temperature on speakers that were held out.

  ser calibrate <model> --data DIR <decode-dir> [<decode-dir> ...]

reads   DIR/{emotions.txt,utt2emo,utt2spk}: the labels of all that was decoded, such as data/all;
        <decode-dir>/{post,emotions.txt}: of speakers that the models behind them were not trained on, such as
        exp/pooled/<system>/seed<k>/decode_test, or the decode_test of all folds
writes  <model>/calibration.json
prints  the temperature, and expected calibration error and log loss before and after

The temperature is fitted on all; what is printed as "after" is of each tenth of the speakers with a
temperature that was fitted on the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ser import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "calibrate")
    parser.add_argument("model", type=cli.existing_dir, metavar="<model>", help="model folder")
    parser.add_argument(
        "--data", type=cli.existing_dir, required=True, metavar="DIR", help="data folder with the labels"
    )
    parser.add_argument("folders", type=cli.existing_dir, nargs="+", metavar="<decode-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate."""
    args = get_parser().parse_args(argv)
    from ser.learn.temperature import calibrate, summary

    print(summary(args.model, calibrate(args.model, args.data, args.folders)))
    return 0
