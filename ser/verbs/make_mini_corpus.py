"""Make the embedded corpus `mini`: synthetic emotional speech in IEMOCAP's own layout, 180 MB in about 10 s.

Ten speakers in five sessions say neutral sentences in the styles of eight labels; with them come
alignments, transcriptions, ratings and the dialogs' recordings, and the oddities of the real release.
Same seed, same bytes on one platform, whatever the number of jobs.  A finished corpus of the same
settings is left alone, one of other settings is replaced.  It speaks with espeak-ng where the optional
package espeakng-loader is installed (GPL, so it runs in a process of its own), else with the recipe's own
formant engine.  With --conditions real the same turns have silence at both ends, levels 20 dB apart, noise
in the background and two microphones, as hard as real recordings are.  Words are drawn independently of
the emotion; with --words emotional three of four turns end in words that depend on it, for systems that read
transcripts.

Example: local/make_mini_corpus.sh --scale 0.1 data/local/mini_release
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.corpora.mini.conditions import CONDITIONS, PLAIN
from ser.corpora.mini.design import NEUTRAL, WORDS
from ser.corpora.mini.release import ENGINE, ENGINES, SCALE, SEED, make_release


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_mini_corpus")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument(
        "--scale", type=float, default=SCALE, help="size, 0.1 to 50; 1 is 660 turns, 26 minutes (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of everything that is drawn (%(default)s)")
    parser.add_argument(
        "--engine", choices=ENGINES, default=ENGINE, help="auto: espeak where it runs, else formant"
    )
    parser.add_argument(
        "--conditions",
        choices=CONDITIONS,
        default=PLAIN,
        help="real: silence, levels, noise and microphones as of real recordings (%(default)s)",
    )
    parser.add_argument(
        "--words",
        choices=WORDS,
        default=NEUTRAL,
        help="emotional: three of four turns end in words that depend on the emotion (%(default)s)",
    )
    parser.add_argument("--num-jobs", type=int, default=2, help="processes (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Make the corpus."""
    args = get_parser().parse_args(argv)
    make_release(**vars(args))
    return 0
