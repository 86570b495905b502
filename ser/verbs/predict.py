"""Say of recordings which emotion a trained model hears: a line for each, or for each piece of a long one.

Recordings are files (WAV, FLAC, MP3, OGG ...), folders of them, a Kaldi wav.scp or data folder, a CSV or TSV
table (path, and if you like speaker, start and end or duration), or - for standard input. The table goes to
standard output, or to --out; all else that is said goes to standard error. Recordings that cannot be used
are named, the rest goes on, and the exit code is 1. docs/use.md says more.

Example: ser predict <model> --speaker-of folder recordings > emotions.tsv
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "predict")
    parser.usage = "%(prog)s [options] [<model>] <recording> ..."
    parser.add_argument(
        "words",
        nargs="+",
        metavar="[<model>] <recording>",
        help="model folder, exp/<fold>/<system>/seed<k>, package, or the name of a model that comes with "
        "ser; without one emodb is taken; then files, folders, tables, or -",
    )
    parser.add_argument("--format", choices=["tsv", "csv", "jsonl"], default="tsv", help="(%(default)s)")
    parser.add_argument("--out", type=Path, help="file of the table, which appears whole at the end")
    parser.add_argument(
        "--segments",
        default="auto",
        metavar="auto|vad|whole|SECONDS",
        help="cut recordings by speech activity (vad), not at all (whole), or every so many seconds; auto: "
        "whole up to 30 s, longer ones by speech activity (%(default)s)",
    )
    parser.add_argument(
        "--channel", help="of recordings with several: from 0, the first there is of several (1,0), or mix"
    )
    parser.add_argument(
        "--speakers", type=Path, metavar="TABLE", help="who speaks: utt2spk, or columns file and speaker"
    )
    parser.add_argument(
        "--speaker-of",
        choices=["file", "folder", "all"],
        help="who speaks: each file a speaker, each folder one, or one in all",
    )
    _add_view_options(parser)
    parser.add_argument("--strict", action="store_true", help="stop at the first recording that is no good")
    parser.add_allow_code()
    parser.add_use_gpu()
    return parser


def _add_view_options(parser: cli.Parser) -> None:
    """Options of tracks, figures and the page."""
    views = parser.add_argument_group("emotion over time (docs/tracks.md)")
    views.add_argument(
        "--track", type=Path, metavar="FOLDER", help="write each recording's emotion over time"
    )
    views.add_argument(
        "--track-format",
        choices=["tsv", "csv", "jsonl", "textgrid", "audacity", "elan"],
        help="posteriors of every window (tsv, csv, jsonl), or intervals of the likeliest class (tsv)",
    )
    views.add_argument(
        "--track-window",
        type=float,
        metavar="SECONDS",
        help="of sliding windows (the system's own chunks, where it has any; else 2)",
    )
    views.add_argument(
        "--track-hop", type=float, metavar="SECONDS", help="from a window to the next (a quarter of it)"
    )
    views.add_argument(
        "--smooth", type=float, metavar="SECONDS", help="standard deviation of a Gaussian over time (none)"
    )
    views.add_argument(
        "--figure", type=Path, metavar="FOLDER", help="draw each recording: waveform, track, attention"
    )
    views.add_argument("--figure-format", choices=["png", "svg", "pdf"], help="(png)")
    views.add_argument(
        "--html", type=Path, metavar="FILE", help="one page with players, which needs no network"
    )
    views.add_argument(
        "--alignment",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="words and phones for figures and the page: word.ctm, phone.ctm, a TextGrid, or a folder of "
        "these; may be given again",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_intermixed_args(argv)
    from ser.predict.predictions import Options, parse_channel, predict_recordings
    from ser.predict.segments import SegmentRule
    from ser.predict.views import ViewOptions

    options = Options(
        out=args.out,
        format=args.format,
        segments=SegmentRule.parse(args.segments),
        channel=parse_channel(args.channel),
        speakers=args.speakers,
        speaker_of=args.speaker_of,
        strict=args.strict,
        views=ViewOptions(
            track=args.track,
            track_format=args.track_format,
            track_window_s=args.track_window,
            track_hop_s=args.track_hop,
            smooth_s=args.smooth,
            figure=args.figure,
            figure_format=args.figure_format,
            html=args.html,
            alignment=tuple(args.alignment),
        ),
    )
    predict_recordings(args.words, options, use_gpu=args.use_gpu, allow=args.allow_code)
    return 0
