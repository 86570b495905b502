"""Alignments: which symbol is spoken when.  Times (``.ctm``) come in, frames (``.frames``) come out.

==============  =========================================================================================
``phone.ctm``   ``<utt> 1 <start s> <duration s> <symbol>``: Kaldi's CTM; also word.ctm, syllable.ctm
``phone.frames``  ``<utt> 1 <first frame> <frames> <symbol>``: frames of the features, each in one row at most
==============  =========================================================================================

Both are sorted by utterance in byte order, then by time.  :func:`to_frames` is the one place where seconds
become frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from ser import reading
from ser.data.files import whole_file
from ser.data.manifests import Segment
from ser.data.tables import check_key
from ser.errors import DataError, all_of, shown
from ser.ranges import Range

TIERS = ("phone", "word", "syllable")


class Span(NamedTuple):
    """A symbol and its frames, ``first`` to ``first + num - 1``."""

    symbol: str
    first: int
    num: int

    @property
    def end(self) -> int:
        """The frame behind the last."""
        return self.first + self.num


@dataclass(frozen=True)
class SourceConfig:
    """How the times of one source are to be read (``conf/alignment.yaml``)."""

    # audio: of the recording; a frame belongs to the segment in which the middle of its window lies.
    # frames: an aligner's count of its frames, times its shift (Sphinx's, so IEMOCAP's); the middle of its
    # first window is taken to be that of the features' first.
    times: Literal["audio", "frames"]
    shift_ms: Annotated[float, Range(above=0, most=10000)]  # of the aligner's frames
    # added to the times, in frames of shift_ms; 2 reads IEMOCAP's as (frame + 2) * 10 ms
    offset_frames: Annotated[int, Range(-100000, 100000)]
    # what lies behind the last frame of the features is cut off, up to this much
    max_longer_frames: Annotated[int, Range(0, 1000000)]
    # how many frames of the features the phones may leave at the end
    max_shorter_frames: Annotated[int, Range(0, 1000000)]


@dataclass(frozen=True)
class AlignmentConfig:
    """``conf/alignment.yaml``."""

    corpus: SourceConfig  # the corpus's own alignment
    other: SourceConfig  # the k2 aligner's, or a user's


@dataclass(frozen=True)
class Clock:
    """Which time of the recording each frame of the features stands for, to read times of one source."""

    shift_s: float  # of the features' frames
    middle_s: float  # the middle of frame 0's window
    source: SourceConfig

    def frame(self, time_s: float) -> int:
        """The first frame that stands for ``time_s`` or a later time; may be below 0.

        >>> sphinx = SourceConfig("frames", 10.0, 0, 0, 0)
        >>> [Clock(0.01, 0.0125, sphinx).frame(t) for t in (0.0, 0.43, 0.44)]
        [0, 43, 44]
        >>> [Clock(0.02, 0.0125, sphinx).frame(t) for t in (0.0, 0.43, 0.44)]
        [0, 22, 22]
        >>> audio = SourceConfig("audio", 10.0, 0, 0, 0)
        >>> [Clock(0.01, 0.0125, audio).frame(t) for t in (0.0125, 0.0126, 0.0226)]
        [0, 1, 2]
        """
        source_shift_s = self.source.shift_ms / 1000
        middle_s = self.middle_s if self.source.times == "audio" else source_shift_s / 2
        offset_s = self.source.offset_frames * source_shift_s
        return math.ceil((time_s + offset_s - middle_s) / self.shift_s - 1e-6)


# ------------------------------------------------------------------------------------------------- frames


def to_frames(
    segments: Sequence[Segment], num_frames: int, clock: Clock, where: str, *, covers: bool = True
) -> list[Span]:
    """Put the segments of one utterance into frames, each frame into one segment at most.

    Segments that no frame falls into, and frames outside, are dropped; gaps stay gaps.

    Args:
        segments: symbol, start and duration in seconds, in time order.
        num_frames: of the features, T.
        clock: which time a frame stands for.
        where: the file and the utterance, for messages.
        covers: the tier is to reach the end of the utterance (phones; words and syllables may leave silence).

    Returns:
        Spans within 0 .. T - 1, in time order.

    Raises:
        DataError: segments overlap by more than half a frame or are out of order, or their end is farther
            from that of the features than the source's settings allow.
    """
    spans: list[Span] = []
    last_start, last_end, done = -math.inf, -math.inf, 0
    for symbol, start, length in segments:
        if start < last_start:
            raise DataError(
                f"{where}: {symbol} at {start:g} s comes after {last_start:g} s; sort the rows by time"
            )
        if start < last_end - clock.shift_s / 2:
            raise DataError(
                f"{where}: {symbol} at {start:g} s begins before the one ahead of it ends ({last_end:g} s); "
                "a frame can belong to one segment only, correct the times"
            )
        first = max(clock.frame(start), done)
        end = clock.frame(start + length)
        if min(end, num_frames) > first:
            spans.append(Span(symbol, first, min(end, num_frames) - first))
        last_start, last_end, done = start, start + length, max(done, end)
    excess = done - num_frames
    limit = clock.source.max_longer_frames if excess > 0 else clock.source.max_shorter_frames
    if excess > limit or (covers and -excess > limit):
        key = "max_longer_frames" if excess > 0 else "max_shorter_frames"
        raise DataError(
            f"{where}: the alignment ends with frame {done}, the features with frame {num_frames}; "
            f"{key} is {limit}: is it of this recording? Otherwise raise {key} (conf/alignment.yaml)"
        )
    return spans


# ------------------------------------------------------------------------------------------------- tables


def write_ctm(path: Path, alignments: Mapping[str, Sequence[Segment]]) -> None:
    """Write times, sorted by utterance and time."""
    with whole_file(path) as stream:
        for name in sorted(alignments):
            rows = sorted(alignments[name], key=lambda row: row[1])
            stream.writelines(
                f"{name} 1 {seconds(start)} {seconds(length)} {symbol}\n" for symbol, start, length in rows
            )


def seconds(value: float) -> str:
    """A time in seconds to the microsecond, without trailing zeros.

    >>> seconds(1.89825), seconds(0.1 + 0.2), seconds(2)
    ('1.89825', '0.3', '2.0')
    """
    return repr(round(float(value), 6))


def read_ctm(path: Path) -> dict[str, list[Segment]]:
    """Read times: ours, or any CTM of one channel.

    Comments (``;;``) and a sixth field (confidence) are passed over; utterances may come in any order.

    Returns:
        utterance -> its segments in the file's order, without those of no duration.

    Raises:
        DataError: the file is missing, empty or not UTF-8, a row is of another form, a time is negative, an
            utterance has several channels; all problems at once.
    """
    alignments: dict[str, list[Segment]] = {}
    channels: dict[str, str] = {}
    problems: list[str] = []
    for number, line in _rows(path):
        fields = line.split()
        try:
            name, channel, start, length, symbol = fields[:5]
            segment = (symbol, float(start), float(length))
            if len(fields) > 6 or not (0 <= segment[1] < math.inf and 0 <= segment[2] < math.inf):
                raise ValueError(line)
        except ValueError:
            problems.append(
                f"{path}:{number}: expected '<utterance> <channel> <start s> <duration s> <symbol>', "
                f"got {shown(line)}; correct the row"
            )
            continue
        if channels.setdefault(name, channel) != channel:
            problems.append(
                f"{path}:{number}: {name} has the channels {channels[name]} and {channel}; keep one of them"
            )
        alignments.setdefault(name, [])
        if segment[2] > 0:
            alignments[name].append(segment)
    if problems:
        raise all_of(problems)
    return alignments


def write_frames(path: Path, alignments: Mapping[str, Sequence[Span]]) -> None:
    """Write frames, sorted by utterance and time."""
    with whole_file(path) as stream:
        for name in sorted(alignments):
            stream.writelines(
                f"{name} 1 {span.first} {span.num} {span.symbol}\n"
                for span in sorted(alignments[name], key=_first)
            )


def _first(span: Span) -> int:
    return span.first


def read_frames(path: Path, num_frames: Mapping[str, int]) -> dict[str, list[Span]]:
    """Read frames.

    Args:
        path: a ``.frames`` file.
        num_frames: utterance -> T, those of ``utt2num_frames``.

    Returns:
        utterance -> its spans in time order.

    Raises:
        DataError: as :func:`read_ctm`, or an unknown utterance, rows that are out of order, share a frame or
            lie outside the features.
    """
    alignments: dict[str, list[Span]] = {}
    problems: list[str] = []
    for number, line in _rows(path):
        fields = line.split(" ")
        try:
            name, _, first, num, symbol = fields
            span = Span(symbol, int(first), int(num))
            if span.first < 0 or span.num < 1:
                raise ValueError(line)
        except ValueError:
            problems.append(
                f"{path}:{number}: expected '<utterance> 1 <first frame> <frames> <symbol>', got "
                f"{shown(line)}; run steps/make_alignment.sh again"
            )
            continue
        spans = alignments.setdefault(check_key(name, f"{path}:{number}"), [])
        if name not in num_frames:
            problems.append(f"{path}:{number}: {name} is not in utt2num_frames; align this data")
        elif span.end > num_frames[name]:
            problems.append(
                f"{path}:{number}: {name} ends with frame {span.end}, its features with {num_frames[name]}; "
                "run steps/make_alignment.sh again"
            )
        elif spans and span.first < spans[-1].end:
            problems.append(
                f"{path}:{number}: frame {span.first} of {name} is in the row before too; "
                "run steps/make_alignment.sh again"
            )
        spans.append(span)
    if problems:
        raise all_of(problems)
    return alignments


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a table, without comments and empty ones."""
    text = reading.read_text(path, "name a CTM file", missing="name an alignment, or make it")
    if not text.strip():
        raise DataError(f"{path}: is empty; make it again")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith(";;"):
            yield number, line
