"""Make the embedded corpus `mini`: synthetic emotional speech in IEMOCAP's own layout.

Ten speakers in five sessions say neutral sentences in the styles of eight labels; with them come
alignments, transcriptions, ratings and the dialogs' recordings, and the oddities of the real release.
Same seed, same bytes on one platform, whatever the number of jobs.  A finished corpus of the same
settings is left alone, one of other settings is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.corpora.mini.release import ENGINES, make_release


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_mini_corpus")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="size, 0.1 to 50; 1 is 660 turns, 26 minutes"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument(
        "--engine", choices=ENGINES, default="auto", help="auto: espeak where it runs, else formant"
    )
    parser.add_argument("--num-jobs", type=int, default=2, help="processes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Make the corpus."""
    args = get_parser().parse_args(argv)
    make_release(args.out, scale=args.scale, seed=args.seed, engine=args.engine, num_jobs=args.num_jobs)
    return 0
