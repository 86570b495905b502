"""Align the transcripts of a data folder with its recordings: which phone and which word is spoken when.

  ser align [--job J] [--num-jobs N] <data-dir> <model-dir> <out-dir>
  ser align --merge [--num-jobs N] <data-dir> <model-dir> <out-dir>

reads   <data-dir>/{text,utt2spk} and its feature set that <model-dir> (ser train_phones) was trained on
writes  with --merge: <out-dir>/{phone,word}.ctm and, for utterances that could not be aligned,
        <out-dir>/not_aligned with the reasons

The first form aligns the shard of one job, in the environment that has k2 (utils/install_k2.sh); the second
puts the shards together.  What is up to date is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.align import aligner


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "align")
    parser.add_argument("--job", type=int, default=1, help="which shard, from 1 (%(default)s)")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of shards (%(default)s)")
    parser.add_argument("--merge", action="store_true", help="put the shards together")
    parser.add_argument("data", type=cli.existing_dir, metavar="<data-dir>")
    parser.add_argument("model", type=cli.existing_dir, metavar="<model-dir>")
    parser.add_argument("out", type=Path, metavar="<out-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    if args.merge:
        aligner.merge_shards(args.data, args.model, args.out, args.num_jobs)
        return 0
    from ser.align.k2_align import search

    aligner.align_shard(args.data, args.model, args.out, args.job, args.num_jobs, search, cli.progress)
    return 0
