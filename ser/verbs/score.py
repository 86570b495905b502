"""Score posteriors against references.

  ser score [options] <data-dir> <decode-dir> [<data-dir> <decode-dir> ...]
  ser score [options] --plan <exp-dir>

reads   <data-dir>/{emotions.txt,utt2emo,utt2spk}; <decode-dir>/{post,emotions.txt} and, where they are
        there, not_scored (utterances without posteriors), chunk2utt (post is about chunks of utterances)
        and notes: any folder with post and emotions.txt can be scored
writes  <decode-dir>/score/result.txt     <key> <value>: shares in 0..1, "-" where there is no value
        <decode-dir>/score/confusion.txt  counts and per cent; rows are references
        <decode-dir>/score/errors.txt     <utt> <reference> <hypothesis> <p(hyp)> <p(ref)>, surest first
prints  a summary

With --plan every subset that the plan's systems decode is scored, the test subsets of all folds are pooled
into <exp-dir>/pooled/<system>/seed<k>/decode_test, and the pools are scored. Their summaries are printed,
those of single folds go into <exp-dir>/tasks/log/score.log.

acc is the share of right utterances (the field's WA), uar the mean of the classes' recalls (the field's
UA); ua_eq6 and wa_eq6 are the paper's eq. 6, one class against the rest, and not comparable with these.
Intervals are 95 %: binomial (utterances as independent) and by a bootstrap over speakers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.errors import UsageError
from ser.plan import read_plan
from ser.reporting import scores
from ser.scoring import evaluate


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "score")
    parser.add_argument(
        "--allow-missing",
        choices=["true", "false"],
        default="false",
        help="count missing utterances as not scored",
    )
    parser.add_argument(
        "--key2utt", type=Path, metavar="FILE", help="<chunk> <utt>, in place of <decode-dir>/chunk2utt"
    )
    parser.add_argument(
        "--bootstrap",
        type=cli.whole(cli.DRAWS),
        default=evaluate.NUM_DRAWS,
        metavar="N",
        help="draws of speakers for the intervals (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=cli.whole(cli.SEED), default=evaluate.SEED, help="of these draws (%(default)s)"
    )
    parser.add_argument("--plan", type=Path, metavar="<exp-dir>", help="score all that this experiment plans")
    parser.add_argument(
        "folders",
        type=cli.existing_dir,
        nargs="*",
        metavar="<data-dir> <decode-dir>",
        help="pairs of folders",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Score each pair, or a whole experiment."""
    args = get_parser().parse_args(argv)
    pairs = list(zip(args.folders[::2], args.folders[1::2], strict=False))
    if args.plan and (args.folders or args.key2utt):
        raise UsageError("score: --plan says what is scored; leave out the folders and --key2utt")
    if not args.plan and (not pairs or len(args.folders) % 2):
        raise UsageError("score: give pairs of <data-dir> <decode-dir>, or --plan")
    if args.key2utt and len(pairs) > 1:
        raise UsageError("score: --key2utt goes with one pair of <data-dir> <decode-dir>")
    options = {
        "allow_missing": args.allow_missing == "true",
        "num_draws": args.bootstrap,
        "seed": args.seed,
    }
    if args.plan:
        plan = read_plan(args.plan)
        plan.tell_untested("score")
        for text in scores.score_systems(plan, **options):
            print(text)
    for data_dir, decode_dir in pairs:
        result = evaluate.score_folder(data_dir, decode_dir, key2utt=args.key2utt, **options)
        print(evaluate.summary(decode_dir, result))
    return 0
