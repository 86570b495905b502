"""Cutting recordings into pieces: all of one, windows of one length, or stretches of speech.

Speech is found as the recipe finds it (:mod:`ser.feats.vad`), with the settings of ``conf/vad.yaml`` and
``conf/energy.yaml``, on the recording at its own sampling rate.  docs/use.md tells users the same rules:

1. A frame is speech by :func:`ser.feats.vad.decide`; the loudest thousandth of all frames counts as no louder
   than the quietest of them, so that a door that slams does not hide what is said.
2. A pause of :data:`PAUSE_S` or more parts two stretches of speech.
3. A stretch under :data:`CLICK_S` is a click, and left out where there are others.
4. A stretch is joined to the one before it if one of the two lasts less than :data:`SHORTEST_S`, the pause
   between them :data:`JOINED_PAUSE_S` or less, and both with it :data:`LONGEST_S` or less.
5. A stretch over :data:`LONGEST_S` is cut where the energy, averaged over :data:`QUIET_S`, is lowest between
   half of :data:`LONGEST_S` and :data:`LONGEST_S` behind its begin, but :data:`SHORTEST_S` before its end
   or sooner; so on with the rest.
6. Each piece gets :data:`MARGIN_S` at both ends, or half of the pause if that is less.

Shapes: N samples, S frames of 25 ms every 10 ms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from ser.errors import UsageError
from ser.feats.audio import LongRecording
from ser.feats.base import Floats
from ser.feats.energy import RECIPE as ENERGY
from ser.feats.energy import Energy
from ser.feats.speech import Bools
from ser.feats.vad import RECIPE as VAD
from ser.feats.vad import decide
from ser.ranges import Range

Span = tuple[int, int]  # the first sample or frame, and the one behind the last

WHOLE_S = 30.0  # recordings up to so long are taken whole where nothing else is asked for
PAUSE_S, CLICK_S, SHORTEST_S, JOINED_PAUSE_S, LONGEST_S = 0.5, 0.3, 1.0, 2.0, 15.0
QUIET_S, MARGIN_S = 0.2, 0.1
LOUDEST = 0.999  # quantile of the frames' energies; louder ones count as of this
WINDOW_S = Range(0.1, 86400)


@dataclass(frozen=True)
class SegmentRule:
    """How recordings are cut.

    Attributes:
        kind: ``auto``: whole up to :data:`WHOLE_S`, longer ones by speech activity; ``vad``: all by speech
            activity; ``whole``: none is cut; ``windows``: at every :attr:`window_s`.
        window_s: of ``windows``.
    """

    kind: Literal["auto", "vad", "whole", "windows"] = "auto"
    window_s: float = 0.0

    @classmethod
    def parse(cls, text: str) -> SegmentRule:
        """``auto``, ``vad``, ``whole`` or a number of seconds.

        Raises:
            UsageError: it is something else.

        >>> SegmentRule.parse("2.5")
        SegmentRule(kind='windows', window_s=2.5)
        """
        if text in ("auto", "vad", "whole"):
            return cls(text)  # type: ignore[arg-type]
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and WINDOW_S.holds(seconds)):
            raise UsageError(f"--segments must be auto, vad, whole or seconds {WINDOW_S}, got {text[:20]}")
        return cls("windows", seconds)

    def by_speech(self, duration_s: float) -> bool:
        """Whether a recording of a duration is cut by speech activity."""
        return self.kind == "vad" or (self.kind == "auto" and duration_s > WHOLE_S)

    def spans(self, recording: LongRecording) -> list[Span]:
        """The pieces of a recording, in samples of it, in order; none where there is no speech.

        It is read to its end where it is cut by speech activity.

        Raises:
            DataError: it cannot be read to the end; goes without the file's name.
        """
        total, rate = len(recording), recording.rate_hz
        if self.kind == "windows":
            return windows(total, max(1, round(self.window_s * rate)))
        if self.by_speech(total / rate):
            energy = Energy(ENERGY, rate)
            shift = round(energy.timing.shift_s * rate)
            begin = energy.timing.middle_s * rate - shift / 2  # of the stretch that frame 0 stands for
            frames = speech_spans(energy.compute(recording, "")[:, 0], 1 / energy.timing.shift_s)
            return in_samples(frames, shift, begin, total, round(MARGIN_S * rate))
        return [(0, total)]


def windows(total: int, length: int) -> list[Span]:
    """Windows of ``length`` samples; a rest of less than half of one belongs to the window before it.

    >>> windows(10, 4), windows(9, 4), windows(3, 4)
    ([(0, 4), (4, 8), (8, 10)], [(0, 4), (4, 9)], [(0, 3)])
    """
    starts = list(range(0, total, length))
    if len(starts) > 1 and 2 * (total - starts[-1]) < length:
        starts.pop()
    return list(zip(starts, [*starts[1:], total], strict=True))


def speech_spans(energies: Floats, rate_hz: float) -> list[Span]:
    """Stretches of speech, in frames: rules 1 to 5.

    Args:
        energies: of the frames, log, (S,).
        rate_hz: frames a second.

    Returns:
        Spans that rise and do not overlap.
    """
    capped = np.minimum(energies, np.quantile(energies, LOUDEST, method="lower"))
    longest, shortest = round(LONGEST_S * rate_hz), round(SHORTEST_S * rate_hz)
    spans = _runs(decide(capped, VAD), round(PAUSE_S * rate_hz))
    spoken = [(begin, end) for begin, end in spans if end - begin >= round(CLICK_S * rate_hz)] or spans
    joined: list[Span] = []
    for begin, end in spoken:
        if joined:
            first, last = joined[-1]
            brief = min(last - first, end - begin) < shortest
            if brief and begin - last <= round(JOINED_PAUSE_S * rate_hz) and end - first <= longest:
                joined[-1] = (first, end)
                continue
        joined.append((begin, end))
    quiet = max(1, round(QUIET_S * rate_hz))
    return [part for span in joined for part in _split(energies, span, longest, shortest, quiet)]


def _runs(speech: Bools, pause: int) -> list[Span]:
    """Runs of True, those with fewer than ``pause`` frames between them as one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], speech, [False]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    kept = begins[1:] - ends[:-1] >= pause
    begins = begins[np.concatenate([[True], kept])] if len(begins) else begins
    ends = ends[np.concatenate([kept, [True]])] if len(ends) else ends
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def _split(energies: Floats, span: Span, longest: int, shortest: int, quiet: int) -> list[Span]:
    """Cut a span at its quietest places until no part is longer than ``longest``."""
    begin, end = span
    parts = []
    while end - begin > longest:
        low, high = begin + longest // 2, min(begin + longest, end - shortest)
        nearby = energies[low - quiet // 2 : high + quiet - quiet // 2].astype(np.float64)
        sums = np.convolve(nearby, np.ones(quiet), "valid")[: high - low + 1]
        place = low + int(sums.argmin())
        parts.append((begin, place))
        begin = place
    return [*parts, (begin, end)]


def in_samples(frames: Sequence[Span], shift: int, begin: float, total: int, margin: int) -> list[Span]:
    """Spans of frames as spans of samples, with a margin: rule 6.

    Args:
        frames: spans that rise and do not overlap.
        shift: samples from a frame to the next.
        begin: the sample where the time that frame 0 stands for begins.
        total: samples of the recording, N.
        margin: samples that a span is widened by.

    >>> in_samples([(0, 10), (10, 20), (24, 30)], 10, 7.5, 320, 50)
    [(0, 108), (108, 228), (228, 320)]
    """
    if not frames:
        return []
    edges = [[min(total, round(begin + shift * frame)) for frame in span] for span in frames]
    plain = [(first, last) for first, last in edges]
    pauses = [later[0] - span[1] for span, later in pairwise(plain)]
    pauses = [2 * plain[0][0], *pauses, 2 * (total - plain[-1][1])]  # all of the outer ones may be taken
    return [
        (first - min(margin, before // 2), last + min(margin, behind // 2))
        for (first, last), before, behind in zip(plain, pauses, pauses[1:], strict=False)
    ]
