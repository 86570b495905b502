"""Segments: what of a recording each utterance of a data folder is.

``segments`` has ``<utterance> <recording> <start s> <end s>`` lines, as Kaldi's; an end of -1 is that of the
recording.  ``wav.scp`` and ``reco2dur`` are then keyed by recording; without it each utterance is all of the
file that ``wav.scp`` names.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ser.data import tables
from ser.data.alignment import seconds
from ser.data.durations import SAME_S
from ser.data.files import file_digest
from ser.data.manifests import Utterance
from ser.errors import DataError, all_of

log = logging.getLogger("ser")

SEGMENTS = "segments"
COMMAND = "is a command; wav.scp must name files, so write its output to one"
_RECORDING_TABLE = re.compile(r"reco2[a-z0-9_]+|wav\.scp")
_LINE = "<recording> <start s> <end s>, the end behind the start, or -1 for that of the recording"


class SegmentLine(NamedTuple):
    """A line of ``segments``."""

    recording: str
    start_s: float
    end_s: float | None  # None: the end of the recording


class RecordingSegment(NamedTuple):
    """A recording, or a segment of one."""

    path: Path
    start_s: float = 0.0
    end_s: float | None = None  # None: the end of the recording

    @classmethod
    def of(cls, utterance: Utterance) -> RecordingSegment:
        """What an utterance of manifests is made of."""
        end_s = None if utterance.is_whole else utterance.end_s
        return cls(Path(utterance.path), utterance.start_s, end_s)

    def __str__(self) -> str:
        """The file, and the times unless it is all of it.

        >>> str(RecordingSegment(Path("c.wav"))), str(RecordingSegment(Path("c.wav"), 1.9, 5.75))
        ('c.wav', 'c.wav (1.9 to 5.75 s)')
        """
        if self.is_whole:
            return str(self.path)
        end = "the end" if self.end_s is None else f"{self.end_s:g} s"
        return f"{self.path} ({self.start_s:g} to {end})"

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the recording."""
        return self.start_s == 0 and self.end_s is None

    def span(self, num_samples: int, rate_hz: int) -> tuple[int, int]:
        """Its first sample and the one behind its last, times rounded to the nearest sample.

        Args:
            num_samples: of the recording.
            rate_hz: its sampling rate.

        Raises:
            DataError: it begins or ends behind the recording (by more than :data:`SAME_S`), or has no sample.
        """
        if self.is_whole:
            return 0, num_samples
        recording_s = num_samples / rate_hz
        end_s = recording_s if self.end_s is None else self.end_s
        if end_s > recording_s + SAME_S or self.start_s >= recording_s:
            raise DataError(
                f"{self}: is not in its recording, which lasts {recording_s:g} s; correct the times"
            )
        first, end = _sample(self.start_s, rate_hz), min(_sample(end_s, rate_hz), num_samples)
        if first >= end:
            raise DataError(f"{self}: has no sample; correct the times")
        return first, end

    def digest(self) -> str:
        """Of the bytes of the file, and of the times unless it is all of it."""
        digest = file_digest(self.path)
        if not self.is_whole:
            end_s = -1 if self.end_s is None else self.end_s
            digest = hashlib.sha256(f"{digest} {self.start_s:.6f} {end_s:.6f}".encode()).hexdigest()
        return digest[:16]


def _sample(time_s: float, rate_hz: int) -> int:
    return math.floor(time_s * rate_hz + 0.5)


def read_segments(path: Path) -> dict[str, SegmentLine]:
    """Read ``segments``.

    Returns:
        utterance -> its segment.

    Raises:
        DataError: it is no table, or a line is not as it must be; all problems at once.
    """
    return tables.convert(tables.read_table(path, made_by="stage 0"), path, _parse, _LINE)


def _parse(text: str) -> SegmentLine:
    recording, start, end = text.split()
    start_s, end_s = float(start), float(end)
    if not 0 <= start_s < math.inf or not (start_s < end_s < math.inf or end_s == -1):
        raise ValueError(text)
    return SegmentLine(recording, start_s, None if end_s == -1 else end_s)


def read_recordings(data: Path) -> dict[str, RecordingSegment]:
    """What each utterance of a data folder is made of, in the order of their keys.

    Raises:
        DataError: ``wav.scp`` or ``segments`` cannot be used, or a segment is of no recording of ``wav.scp``.
    """
    wavs = tables.read_table(data / "wav.scp", made_by="stage 0")
    path = data / SEGMENTS
    if not path.exists():
        return {utt: RecordingSegment(Path(place)) for utt, place in wavs.items()}
    segments = read_segments(path)
    if problems := unknown_recordings(segments, wavs, path):
        raise all_of(problems)
    return {
        utt: RecordingSegment(Path(wavs[item.recording]), item.start_s, item.end_s)
        for utt, item in segments.items()
    }


def unknown_recordings(segments: Mapping[str, SegmentLine], wavs: Mapping[str, str], path: Path) -> list[str]:
    """A message for each line of ``segments`` whose recording ``wav.scp`` does not have."""
    return [
        f"{path}:{number}: {utt}: wav.scp has no recording {item.recording}; add it there, or remove the line"
        for number, (utt, item) in enumerate(segments.items(), 1)
        if item.recording not in wavs
    ]


def keys_of(data: Path) -> Path:
    """The table whose keys are the utterances that have audio: ``segments``, or else ``wav.scp``."""
    return data / SEGMENTS if (data / SEGMENTS).exists() else data / "wav.scp"


def recording_tables(folder: Path) -> list[str]:
    """The names of the tables in ``folder`` that are keyed by recording: none without ``segments``."""
    if not (folder / SEGMENTS).exists():
        return []
    return sorted(path.name for path in folder.iterdir() if _RECORDING_TABLE.fullmatch(path.name))


def write_segments(out: Path, utterances: Sequence[Utterance]) -> None:
    """Write ``segments``, ``wav.scp`` and ``reco2dur``."""
    lines = {
        item.id: f"{item.recording_id} {seconds(item.start_s)} {seconds(item.end_s)}" for item in utterances
    }
    tables.write_table(out / SEGMENTS, lines)
    tables.write_table(out / "wav.scp", {item.recording_id: item.path for item in utterances})
    tables.write_table(
        out / "reco2dur", {item.recording_id: seconds(item.recording_s) for item in utterances}
    )


def write_views(source: Path, views: Mapping[Path, Sequence[str]]) -> None:
    """Write the tables that are keyed by recording into views, each with those of its utterances.

    Args:
        source: a data folder.
        views: folder -> its utterances.

    Raises:
        DataError: a table of ``source`` cannot be read, or lacks a recording.
    """
    names = recording_tables(source)
    segments = read_segments(source / SEGMENTS) if names else {}
    for name in names:
        entries = tables.read_table(source / name)
        tables.same_keys(entries, source / name, _recordings(segments.values()), source / SEGMENTS)
        for target, utterances in views.items():
            own = _recordings(segments[utt] for utt in utterances)
            tables.write_table(target / name, {recording: entries[recording] for recording in own})


def _recordings(segments: Iterable[SegmentLine]) -> set[str]:
    return {item.recording for item in segments}


class Overlap(NamedTuple):
    """Two utterances that share audio of a recording."""

    first: str
    second: str
    shared_s: float


def overlaps(recordings: Mapping[str, RecordingSegment]) -> Iterator[Overlap]:
    """The pairs of utterances whose segments of one file overlap, by more than :data:`SAME_S`.

    >>> a, b, c = (RecordingSegment(Path("x.wav"), *times) for times in ((0.0, 2.0), (1.5, 3.0), (2.0, None)))
    >>> [tuple(pair) for pair in overlaps({"a": a, "b": b, "c": c})]
    [('a', 'b', 0.5), ('b', 'c', 1.0)]
    """
    by_file: dict[Path, list[tuple[float, float, str]]] = defaultdict(list)
    for utt, (path, start_s, end_s) in recordings.items():
        by_file[path].append((start_s, math.inf if end_s is None else end_s, utt))
    for spans in by_file.values():
        open_spans: list[tuple[float, str]] = []  # end and utterance of those that may reach the next
        for start_s, end_s, utt in sorted(spans):
            open_spans = [(end, other) for end, other in open_spans if end > start_s + SAME_S]
            for end, other in open_spans:
                if min(end, end_s) - start_s > SAME_S:
                    yield Overlap(other, utt, min(end, end_s) - start_s)
            open_spans.append((end_s, utt))


def tell_overlaps(utterances: Sequence[Utterance], where: Path) -> None:
    """Warn of utterances of two speakers that share audio of a recording; ``where`` is what says so."""
    if all(item.is_whole for item in utterances):
        return
    speakers = {item.id: item.speaker for item in utterances}
    parts = {item.id: RecordingSegment.of(item) for item in utterances}
    pairs = [pair for pair in overlaps(parts) if speakers[pair.first] != speakers[pair.second]]
    if pairs:
        what = f"has {describe(pairs)} and are of two speakers"
        log.warning("%s: %s; a protocol that parts these tests on what it hears in training", where, what)


def describe(pairs: Sequence[Overlap]) -> str:
    """How many pairs there are, with the three that share most.

    >>> describe([Overlap("a", "b", 0.5), Overlap("a", "c", 1.25)])
    '2 pairs of utterances that share audio of a recording (a and c 1.25 s, a and b 0.5 s)'
    """
    longest = sorted(pairs, key=lambda pair: (-pair.shared_s, pair))[:3]
    named = ", ".join(f"{pair.first} and {pair.second} {round(pair.shared_s, 3):g} s" for pair in longest)
    number = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    listed = f"{named}{', ...' if len(pairs) > 3 else ''}"
    return f"{number} of utterances that share audio of a recording ({listed})"
