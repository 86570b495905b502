"""Emotion over time: which stretches of a recording are classified, and what becomes of their posteriors.

A system that is trained on chunks gives the posteriors of its chunks, as decoding cuts them.  Any other
system, and one trained on chunks if a window is asked for, classifies sliding windows.  Features are made and
normalised once, of the whole piece, and then cut: a window has no statistics of its own.

Shapes: W windows of a track, T frames that are read of a piece, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser.feats.base import Timing
from ser.predict.result import Doubles, Track

Ints = npt.NDArray[np.int64]

WINDOW_S, HOPS = 2.0, 4  # the default window; hops in a window, where no hop is given
SHORTEST_S = 0.01  # of a window or a hop
LONGEST_SMOOTHING_S = 60.0  # standard deviation
_REACH = 4.0  # standard deviations beyond which a window counts nothing in smoothing
_CLOSE_S = 1e-9


@dataclass(frozen=True)
class TrackSettings:
    """How a track is made.

    Attributes:
        window_s: of sliding windows, in seconds; None: the chunks of a system that is trained on chunks, 2 s
            for any other.
        hop_s: from the start of a window to the next; None: a quarter of the window.
    """

    window_s: float | None = None
    hop_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a hop without a window to hop, and what leaves holes."""
        for name, value in (("window", self.window_s), ("hop", self.hop_s)):
            if value is not None and not SHORTEST_S <= value < np.inf:
                raise ValueError(f"the {name} of a track must be at least {SHORTEST_S} s, got {value:g}")
        if self.hop_s is not None and self.hop_s > self.window + _CLOSE_S:
            raise ValueError(
                f"the hop of a track must not exceed its window ({self.window:g} s), got {self.hop_s:g}"
            )

    @property
    def window(self) -> float:
        """The length of sliding windows, in seconds."""
        return WINDOW_S if self.window_s is None else self.window_s

    @property
    def hop(self) -> float:
        """From the start of a sliding window to the next, in seconds."""
        return self.window / HOPS if self.hop_s is None else self.hop_s

    def uses_chunks(self, on_chunks: bool) -> bool:
        """Whether the track of a system is that of its chunks; ``on_chunks``: it is trained on chunks."""
        return on_chunks and self.window_s is None and self.hop_s is None

    def describe(self, on_chunks: bool) -> str:
        """What a row of the track is, in words."""
        if self.uses_chunks(on_chunks):
            return "the system's own chunks"
        return (
            f"windows of {self.window:g} s, one every {self.hop:g} s, normalised as the whole piece that "
            "they are cut from"
        )


# -------------------------------------------------------------------------------------------- which windows


def window_times(duration_s: float, settings: TrackSettings) -> Doubles:
    """Start and end of the sliding windows of a piece, (W, 2), in seconds from its start.

    The last window ends with the piece, so that it may begin less than a hop behind the one before; a piece
    shorter than a window is one window.

    >>> window_times(1.2, TrackSettings(0.5, 0.25)).tolist()
    [[0.0, 0.5], [0.25, 0.75], [0.5, 1.0], [0.7, 1.2]]
    """
    window, hop = settings.window, settings.hop
    if duration_s <= window + _CLOSE_S:
        return np.array([[0.0, duration_s]])
    starts = hop * np.arange(int((duration_s - window + _CLOSE_S) // hop) + 1)
    if starts[-1] + window < duration_s - _CLOSE_S:
        starts = np.append(starts, duration_s - window)
    return np.stack([starts, np.minimum(starts + window, duration_s)], axis=1)


def window_rows(times_s: Doubles, timing: Timing, frames: Ints) -> Ints:
    """The frames of each window: those whose middle lies in it, its end excluded.

    Args:
        times_s: start and end of each window, (W, 2), in seconds from the start of the piece.
        timing: of the frames.
        frames: which frames of the piece are read, rising, (T,).

    Returns:
        Of the frames that are read: the first of each window and the one behind its last, (W, 2).
    """
    middles = timing.middle_s + frames * timing.shift_s
    rows: Ints = np.searchsorted(middles, times_s - _CLOSE_S)
    return rows


def chunk_times(starts: Ints, lengths: Ints, timing: Timing, frames: Ints) -> Doubles:
    """Start and end of chunks, (W, 2), in seconds from the start of the piece.

    A frame stands for the time around its middle, as long as a shift.  What fills a chunk takes no time.

    Args:
        starts: first frame of each chunk, of those that are read, (W,).
        lengths: its frames, (W,).
        timing: of the frames.
        frames: which frames of the piece are read, rising, (T,).
    """
    first, last = frames[starts], frames[starts + lengths - 1]
    begin = timing.middle_s + (first - 0.5) * timing.shift_s
    end = timing.middle_s + (last + 0.5) * timing.shift_s
    return np.stack([np.maximum(begin, 0.0), end], axis=1)


def place(times_s: Doubles, posteriors: Doubles, start_s: float, end_s: float) -> Track:
    """A track on the recording's time line.

    Args:
        times_s: start and end of each window, (W, 2), in seconds from the start of the piece.
        posteriors: (W, K).
        start_s: where the piece begins.
        end_s: where it ends; nothing reaches beyond.
    """
    on_line = np.minimum(start_s + times_s, end_s)
    return Track(on_line[:, 0], on_line[:, 1], posteriors)


# ------------------------------------------------------------------------------------- what becomes of them


def join(tracks: Iterable[Track]) -> Track | None:
    """The track of a recording, of those of its pieces, by time; None where no piece has one."""
    parts = list(tracks)
    if not parts:
        return None
    start, end = (np.concatenate([getattr(part, name) for part in parts]) for name in ("start_s", "end_s"))
    order = np.lexsort((end, start))
    return Track(start[order], end[order], np.concatenate([part.posteriors for part in parts])[order])


def smooth(track: Track, seconds: float) -> Track:
    """A track whose posteriors are means over time, weighted by a Gaussian over the windows' middles.

    The weights of the windows that there are sum to 1, so that rows stay distributions, and neither the ends
    nor a pause count as anything; windows more than four standard deviations away count nothing.

    Args:
        track: to smooth; it is left as it is.
        seconds: standard deviation of the Gaussian; 0 changes nothing.

    Raises:
        ValueError: ``seconds`` is not from 0 to 60.
    """
    if not 0 <= seconds <= LONGEST_SMOOTHING_S:
        raise ValueError(f"a track is smoothed over 0 to {LONGEST_SMOOTHING_S:g} s, got {seconds:g}")
    if seconds == 0 or len(track.start_s) == 0:
        return track
    middles = (track.start_s + track.end_s) / 2
    order = np.argsort(middles, kind="stable")
    values, times = track.posteriors[order], middles[order]
    total, weights = values.copy(), np.ones(len(times))
    for offset in range(1, len(times)):
        distance = (times[offset:] - times[:-offset]) / seconds
        if distance.min() > _REACH:
            break
        weight = np.where(distance <= _REACH, np.exp(-0.5 * distance**2), 0.0)
        total[offset:] += weight[:, None] * values[:-offset]
        total[:-offset] += weight[:, None] * values[offset:]
        weights[offset:] += weight
        weights[:-offset] += weight
    smoothed = np.empty_like(values)
    smoothed[order] = total / weights[:, None]
    return Track(track.start_s, track.end_s, smoothed)


def stretches(track: Track) -> Doubles:
    """The time that each window stands for, (W, 2): windows that overlap share their overlap by halves.

    Where windows leave a gap, so do these.  Start and end rise; a window that lies within another may be left
    without any time.
    """
    edges = np.stack([track.start_s, track.end_s], axis=1)
    shared = edges[:-1, 1] > edges[1:, 0]
    middle = (edges[:-1, 1] + edges[1:, 0]) / 2
    edges[:-1, 1] = np.where(shared, middle, edges[:-1, 1])
    edges[1:, 0] = np.where(shared, middle, edges[1:, 0])
    rising: Doubles = np.maximum.accumulate(edges.ravel()).reshape(-1, 2)
    return rising


@dataclass(frozen=True)
class Interval:
    """A time in which one class is the likeliest.

    Attributes:
        emotion: the class.
        start_s, end_s: when, on the recording's time line.
        probability: its mean posterior there, each window by its time, 0 to 1.
    """

    emotion: str
    start_s: float
    end_s: float
    probability: float


def intervals(track: Track, emotions: Sequence[str]) -> list[Interval]:
    """The likeliest class over time, as intervals that share no time; of equally likely ones the first.

    Windows that follow each other without a gap and have the same likeliest class are one interval.
    """
    edges, best = stretches(track), track.posteriors.argmax(axis=1)
    keep = edges[:, 1] > edges[:, 0]
    edges, best, values = edges[keep], best[keep], track.posteriors[keep].max(axis=1)
    if not len(best):
        return []
    begins = (best[1:] != best[:-1]) | (edges[1:, 0] > edges[:-1, 1] + _CLOSE_S)
    firsts = np.concatenate([[0], np.flatnonzero(begins) + 1])
    lasts = np.append(firsts[1:], len(best)) - 1
    lengths = edges[:, 1] - edges[:, 0]
    means = np.add.reduceat(lengths * values, firsts) / np.add.reduceat(lengths, firsts)
    return [
        Interval(emotions[best[first]], float(edges[first, 0]), float(edges[last, 1]), float(mean))
        for first, last, mean in zip(firsts, lasts, means, strict=True)
    ]
