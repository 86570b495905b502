"""Put the parts that ser.make_fbank made together.

Writes <data>/{feats.scp,utt2num_frames,frame_shift,fbank.yaml} (fbank.yaml: the settings that
the features were made with). Run by steps/make_fbank.sh.
"""

from __future__ import annotations

from collections.abc import Sequence

from ser import cli
from ser.feats import extract


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "merge_fbank")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of parts (default: %(default)s)")
    parser.add_argument("data", type=cli.existing_dir, help="data/all")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    extract.merge_parts(args.data, args.num_jobs)
    return 0
