"""Put the parts that ser.make_functionals made together.

Writes <data>/<set>.scp and <data>/<set>/utt2digest. Run by steps/make_functionals.sh.
"""

from __future__ import annotations

from collections.abc import Sequence

from ser import cli
from ser.feats import functionals


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "merge_functionals")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of parts (default: %(default)s)")
    parser.add_argument("set", choices=list(functionals.SETS), help="eGeMAPSv02 or ComParE_2016")
    parser.add_argument("data", type=cli.existing_dir, help="data/all")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    functionals.merge_parts(args.data, args.set, args.num_jobs)
    return 0
