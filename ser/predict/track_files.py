"""Tracks as files: tables of posteriors, and intervals of the likeliest class for Praat, Audacity and ELAN.

============  ===========================================================================================
``tsv csv``   a row a window: ``start``, ``end`` (seconds), ``emotion``, ``p_<class>``, the posteriors
``jsonl``     the same, an object a line: ``{"start": ..., "end": ..., "emotion": ..., "posterior": {...}}``
``textgrid``  intervals of the likeliest class, the tier ``emotion``
``audacity``  the same as a label track: start, end, class and its mean posterior, tab-separated
``elan``      the same as comma-separated text: tier, begin and end (seconds), annotation
============  ===========================================================================================
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ser.data.alignment import seconds
from ser.data.files import whole_file
from ser.predict.result import Track
from ser.predict.result_tables import probability_text
from ser.predict.track import Interval, intervals

TIER = "emotion"
_Writer = Callable[[Path, Track, Sequence[str], float], None]


def write_track(path: Path, kind: str, track: Track, emotions: Sequence[str], duration_s: float) -> None:
    """Write one recording's track.

    Args:
        path: the file.
        kind: one of :data:`KINDS`.
        track: on the recording's time line.
        emotions: its classes, in order.
        duration_s: of the recording; a TextGrid says it.

    Raises:
        UsageError: a TextGrid is asked for and praatio is not installed.
    """
    KINDS[kind][1](path, track, emotions, duration_s)


def suffix(kind: str) -> str:
    """How the names of files of a kind end."""
    return KINDS[kind][0]


def _write_table(delimiter: str) -> _Writer:
    def write(path: Path, track: Track, emotions: Sequence[str], duration_s: float) -> None:  # noqa: ARG001
        best = track.posteriors.argmax(axis=1)
        with whole_file(path) as stream:
            writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
            writer.writerow(["start", "end", TIER, *(f"p_{name}" for name in emotions)])
            for start, end, which, row in zip(
                track.start_s, track.end_s, best, track.posteriors, strict=True
            ):
                numbers = map(probability_text, row)
                writer.writerow([seconds(start), seconds(end), emotions[which], *numbers])

    return write


def _write_jsonl(path: Path, track: Track, emotions: Sequence[str], duration_s: float) -> None:  # noqa: ARG001
    with whole_file(path) as stream:
        for start, end, row in zip(track.start_s, track.end_s, track.posteriors, strict=True):
            record = {
                "start": float(seconds(start)),
                "end": float(seconds(end)),
                TIER: emotions[int(row.argmax())],
                "posterior": {
                    name: float(probability_text(value)) for name, value in zip(emotions, row, strict=True)
                },
            }
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _write_textgrid(path: Path, track: Track, emotions: Sequence[str], duration_s: float) -> None:
    from ser.align.textgrid import write_textgrid

    rows = [(each.emotion, each.start_s, each.end_s - each.start_s) for each in intervals(track, emotions)]
    write_textgrid(path, {TIER: rows}, duration_s)


def _write_audacity(path: Path, track: Track, emotions: Sequence[str], duration_s: float) -> None:  # noqa: ARG001
    with whole_file(path) as stream:
        stream.writelines(
            f"{seconds(each.start_s)}\t{seconds(each.end_s)}\t{_label(each)}\n"
            for each in intervals(track, emotions)
        )


def _label(interval: Interval) -> str:
    return f"{interval.emotion} {interval.probability:.2f}"


def _write_elan(path: Path, track: Track, emotions: Sequence[str], duration_s: float) -> None:  # noqa: ARG001
    with whole_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["tier", "begin", "end", "annotation"])
        for each in intervals(track, emotions):
            begin, end = f"{each.start_s:.3f}", f"{each.end_s:.3f}"  # ELAN counts milliseconds
            if begin != end:
                writer.writerow([TIER, begin, end, each.emotion])


KINDS: dict[str, tuple[str, _Writer]] = {
    "tsv": (".tsv", _write_table("\t")),
    "csv": (".csv", _write_table(",")),
    "jsonl": (".jsonl", _write_jsonl),
    "textgrid": (".TextGrid", _write_textgrid),
    "audacity": (".txt", _write_audacity),
    "elan": (".csv", _write_elan),
}
