"""Make feature sets of a data folder in shards, and merge them.

Without --merge: make shard J of N of each set, <data>/<set>/feats.J.{ark,scp} and what belongs to them.
With --merge: put the N shards together, <data>/<set>/{feats.scp,settings.yaml,...}; with --main too, the
first set of frames among those named becomes the main one, that of <data>/{feats.scp,utt2num_frames,
frame_shift,feats.yaml}. What is up to date is left alone. Run by steps/extract.sh.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.data.tables import COMPRESSION
from ser.feats import extract
from ser.feats.sets import load_set


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "extract")
    parser.add_argument("--job", type=int, default=1, metavar="J", help="which shard, from 1 (%(default)s)")
    parser.add_argument("--num-jobs", type=int, default=1, metavar="N", help="number of shards (%(default)s)")
    parser.add_argument("--merge", action="store_true", help="put the shards together")
    parser.add_argument("--main", action="store_true", help="make the first set of frames the main one")
    parser.add_argument(
        "--compress",
        choices=list(COMPRESSION),
        default="none",
        help="of the archives of frames: CM takes a byte a value, CM2 two (%(default)s)",
    )
    parser.add_use_gpu("for networks that make features (%(default)s)")
    parser.add_argument("corpus", type=Path, help="conf/corpus.yaml")
    parser.add_argument("data", type=cli.existing_dir, help="data/all")
    parser.add_argument("sets", type=Path, nargs="+", metavar="set", help="conf/<set>.yaml")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    sets = [load_set(path, args.corpus, args.compress) for path in args.sets]
    if not args.merge:
        for features in sets:
            extract.make_shard(args.data, features, args.job, args.num_jobs, cli.progress, args.use_gpu)
        return 0
    for features in sets:
        extract.merge_shards(args.data, features, args.num_jobs)
    frames = [features.name for features in sets if features.timing is not None]
    if args.main and frames:
        extract.make_main(args.data, frames[0])
    return 0
