"""Make the log-Mel features of one part of a data folder.

Reads <data>/wav.scp and writes <data>/fbank/feats.<job>.{ark,scp} and what belongs to them;
ser.merge_fbank puts the parts together. A part that is up to date is left alone. Run by
steps/make_fbank.sh.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.data.tables import COMPRESSION
from ser.feats import extract


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_fbank")
    parser.add_argument("--corpus", type=Path, required=True, metavar="YAML", help="conf/corpus.yaml")
    parser.add_argument("--job", type=int, default=1, help="which part, from 1 (default: %(default)s)")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of parts (default: %(default)s)")
    parser.add_argument(
        "--compress",
        choices=list(COMPRESSION),
        default="none",
        help="of the archives: CM takes a byte a value, CM2 two (default: %(default)s)",
    )
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="override a setting"
    )
    parser.add_argument("fbank", type=Path, help="conf/fbank.yaml")
    parser.add_argument("data", type=cli.existing_dir, help="data/all")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    settings = extract.load_settings(args.fbank, args.corpus, args.compress, args.overrides)
    extract.make_part(args.data, settings, args.job, args.num_jobs, cli.progress)
    return 0
