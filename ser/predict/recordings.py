"""What is shown of a recording that was classified in pieces: waveform, audio, track, attention, decisions.

Pieces are looked at on their way into the model, so that nothing is read twice and standard input can be
shown too.  What is kept of a recording is bounded: a waveform of few points, audio up to a limit.

Shapes: N samples, T frames, K classes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import soundfile

from ser.feats.base import Floats
from ser.predict.result import Doubles, Piece, Result, Track
from ser.predict.track import join, smooth, stretches

Ints = npt.NDArray[np.int64]

MAX_BINS = 2048  # of a waveform
MP3_RATES_HZ = {16000, 32000, 44100, 48000}  # at which its constant bit rate keeps times to the sample
_SEEN = 1e-3  # of the length of a recording: a shorter gap is not drawn
_PLACES = 200  # of a curve that are tried for a name
_BLOCK = 1 << 16  # samples that an encoder takes at once


class Waveform:
    """The lowest and highest sample of equal bins of a recording, whose number stays bounded.

    Attributes:
        low, high: (n,), 0 where nothing was added.
        bin_samples: samples of a bin.
        first: number of the first bin's first sample, within the recording.
    """

    def __init__(self) -> None:
        self.low: Floats = np.zeros(0, np.float32)
        self.high: Floats = np.zeros(0, np.float32)
        self.bin_samples, self.first = 16, 0

    def add(self, first: int, samples: Floats) -> None:
        """Add samples (N,), N > 0, of which the first is number ``first`` of the recording."""
        if not len(self.low):
            self.first = first
        begin, end = min(first, self.first), max(first + len(samples), self.end)
        while (end - begin) // self.bin_samples >= MAX_BINS:
            self._halve()
        before = -(-(self.first - begin) // self.bin_samples)
        self.first -= before * self.bin_samples
        after = -(-(end - self.end) // self.bin_samples) - before
        room = (before, max(0, after))
        self.low, self.high = np.pad(self.low, room), np.pad(self.high, room)
        bins = (first - self.first + np.arange(len(samples))) // self.bin_samples
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        own = slice(int(bins[0]), int(bins[-1]) + 1)
        self.low[own] = np.minimum(self.low[own], np.minimum.reduceat(samples, starts))
        self.high[own] = np.maximum(self.high[own], np.maximum.reduceat(samples, starts))

    @property
    def end(self) -> int:
        """Number of the sample behind the last bin."""
        return self.first + len(self.low) * self.bin_samples

    def _halve(self) -> None:
        """Make two bins one."""
        odd = len(self.low) % 2
        self.low = np.pad(self.low, (0, odd)).reshape(-1, 2).min(axis=1)
        self.high = np.pad(self.high, (0, odd)).reshape(-1, 2).max(axis=1)
        self.bin_samples *= 2


@dataclass(frozen=True)
class Audio:
    """Encoded audio, as a page plays it."""

    kind: str  # audio/mpeg, audio/ogg
    content: bytes


@dataclass(frozen=True)
class Recording:
    """A recording and what a model says of it.

    Attributes:
        source: as whoever asked named it.
        results: of its pieces; their own tracks are those before smoothing.
        track: of all pieces, smoothed; None where there is none.
        waveform: None where it was not asked for.
        sampling_rate_hz: of the waveform.
        audio: None where it was not asked for, or is too long.
    """

    source: str
    results: tuple[Result, ...]
    track: Track | None
    waveform: Waveform | None
    sampling_rate_hz: int
    audio: Audio | None

    @property
    def start_s(self) -> float:
        """Where the first piece begins."""
        return min(result.start_s for result in self.results)

    @property
    def end_s(self) -> float:
        """Where the last piece ends."""
        return max(result.end_s for result in self.results)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes, in order."""
        return self.results[0].emotions

    @property
    def notes(self) -> list[str]:
        """What must be known with the results, each once."""
        return list(dict.fromkeys(note for result in self.results for note in result.notes))

    def attention(self, points: int) -> list[tuple[Doubles, Doubles]]:
        """Times and attention against uniform, for each time without a gap; means where there are too many.

        Args:
            points: of all pieces together, about.
        """
        spans, times, weights = [], [], []
        for each in self.results:
            if each.attention is not None and each.timing is not None:
                spans.append((each.start_s, each.end_s))
                frames = np.arange(len(each.attention))
                times.append(each.start_s + each.timing.middle_s + frames * each.timing.shift_s)
                weights.append(each.attention.astype(np.float64) * len(frames))
        if not spans:
            return []
        group = -(-sum(map(len, times)) // points)
        ends = np.append(_breaks(np.array(spans)), len(spans))
        drawn, first = [], 0
        for end in ends:
            one, two = (_means(np.concatenate(column[first:end]), group) for column in (times, weights))
            drawn.append((one, two))
            first = end
        return drawn


def _breaks(spans: Doubles) -> Ints:
    """Where spans (n, 2) follow a gap that can be seen, of a thousandth of the whole or more."""
    least = max(1e-9, (spans[-1, 1] - spans[0, 0]) * _SEEN) if len(spans) else 0.0
    places: Ints = np.flatnonzero(spans[1:, 0] > spans[:-1, 1] + least) + 1
    return places


def _means(values: Doubles, group: int) -> Doubles:
    """Means of every ``group`` values; the last may be of fewer."""
    starts = np.arange(0, len(values), group)
    counts = np.diff(starts, append=len(values))
    means: Doubles = np.add.reduceat(values, starts) / counts.reshape(-1, *[1] * (values.ndim - 1))
    return means


def curves(track: Track, points: int) -> list[tuple[Doubles, Doubles]]:
    """What is drawn of a track: for each time without a gap, times (P,) and posteriors (P, K).

    The posteriors of a window stand at its middle; they stay as they are before the first and behind the
    last.  Of a long track as many neighbours are averaged as it takes; gaps too short to be seen are none.

    Args:
        track: of a recording.
        points: of all curves together, about.
    """
    edges = stretches(track)
    keep = edges[:, 1] > edges[:, 0]
    edges, values = edges[keep], track.posteriors[keep]
    middles = np.clip((track.start_s + track.end_s)[keep] / 2, edges[:, 0], edges[:, 1])
    breaks = _breaks(edges)
    group = max(1, -(-len(edges) // points))
    drawn = []
    for part, times, rows in zip(*(np.split(x, breaks) for x in (edges, middles, values)), strict=True):
        if len(part):
            means = _means(rows, group)
            times = np.concatenate([part[:1, 0], _means(times, group), part[-1:, 1]])
            drawn.append((times, np.concatenate([means[:1], means, means[-1:]])))
    return drawn


def label_place(
    drawn: Sequence[tuple[Doubles, Doubles]], index: int, length_s: float, thickness: float
) -> tuple[float, float] | None:
    """Where the name of a class goes in its area: where most room is above and below it, along all of it.

    Args:
        drawn: of :func:`curves`.
        index: of the class.
        length_s: how long the name is, on the time axis.
        thickness: of the area that it needs, as a probability.

    Returns:
        The middle of the name, in seconds, and of the area there, as a sum of posteriors; None without room.
    """
    best, spot = thickness, None
    for times, values in drawn:
        floors, roofs = (values[:, :end].sum(axis=1) for end in (index, index + 1))
        first, last = times[0] + length_s / 2, times[-1] - length_s / 2
        if first > last:
            continue
        for middle in np.clip(times[:: -(-len(times) // _PLACES)], first, last):
            ends = np.array([middle - length_s / 2, middle + length_s / 2])
            within = slice(*np.searchsorted(times, ends))
            floor = max(*np.interp(ends, times, floors), *floors[within])
            roof = min(*np.interp(ends, times, roofs), *roofs[within])
            if roof - floor > best:
                best, spot = float(roof - floor), (float(middle), float(floor + roof) / 2)
    return spot


@dataclass
class _Sound:
    """What is kept of the samples of a recording."""

    waveform: Waveform = field(default_factory=Waveform)
    parts: list[tuple[int, npt.NDArray[np.int16]]] | None = field(default_factory=list)  # None: too long
    first: int = 0  # number of the first sample
    end: int = 0  # and of the one behind the last


class Collector:
    """Puts the results of pieces together, recording by recording; those of one must follow each other."""

    def __init__(
        self, sampling_rate_hz: int, *, sound: bool, audio_s: float = 0.0, smooth_s: float = 0.0
    ) -> None:
        """Make one.

        Args:
            sampling_rate_hz: of the pieces' samples.
            sound: whether the waveform is kept.
            audio_s: how much audio is kept, of all recordings together, in seconds; a recording is kept whole
                or not at all.
            smooth_s: how tracks are smoothed, see :func:`ser.predict.track.smooth`.
        """
        self._rate, self._sound, self._smooth_s = sampling_rate_hz, sound, smooth_s
        self._left = round(audio_s * sampling_rate_hz)  # samples of audio that may still be kept
        self._sounds: dict[str, _Sound] = {}
        self._results: list[Result] = []

    def watch(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces; keeps what is shown of their samples."""
        for piece in pieces:
            if self._sound and len(piece.samples):
                self._keep(piece)
            yield piece

    def _keep(self, piece: Piece) -> None:
        sound = self._sounds.setdefault(piece.source, _Sound())
        first = round(piece.start_s * self._rate)
        sound.waveform.add(first, piece.samples)
        if sound.parts is None:
            return
        before = sound.end - sound.first
        sound.first = min(first, sound.first) if before else first
        sound.end = max(first + len(piece.samples), sound.end)
        self._left -= sound.end - sound.first - before  # pauses between pieces are audio too
        if self._left < 0:
            self._left += sound.end - sound.first
            sound.parts = None
            return
        sound.parts.append((first, np.round(np.clip(piece.samples, -1, 1) * 32767).astype(np.int16)))

    def _take(self, source: str) -> _Sound | None:
        """What is kept of a recording; earlier ones, which gave no results, are let go of."""
        if source not in self._sounds:
            return None
        while (name := next(iter(self._sounds))) != source:
            del self._sounds[name]
        return self._sounds.pop(source)

    def add(self, result: Result) -> Recording | None:
        """Add a result; gives the recording before, which is whole once a result of another comes."""
        before = self.finish() if self._results and self._results[0].source != result.source else None
        self._results.append(result)
        return before

    def finish(self) -> Recording | None:
        """The last recording, whose results are all there."""
        if not self._results:
            return None
        results, self._results = self._results, []
        results.sort(key=lambda result: (result.start_s, result.end_s))
        track = join(result.track for result in results if result.track is not None)
        sound = self._take(results[0].source)
        return Recording(
            results[0].source,
            tuple(results),
            None if track is None else smooth(track, self._smooth_s),
            sound.waveform if sound else None,
            self._rate,
            encode(sound.parts, self._rate) if sound and sound.parts else None,
        )


def encode(parts: Iterable[tuple[int, npt.NDArray[np.int16]]], rate_hz: int) -> Audio:
    """Audio for a page: MP3, which every browser plays, or Vorbis at rates at which MP3 moves it.

    MP3 has a constant bit rate, so that browsers find the right place when they are sent to a time.

    Args:
        parts: number of the first sample, and samples (N,); between parts there is silence.
        rate_hz: of the samples.
    """
    mp3 = rate_hz in MP3_RATES_HZ
    kind, subtype = ("MP3", "MPEG_LAYER_III") if mp3 else ("OGG", "VORBIS")
    stream = io.BytesIO()
    rate = (
        {"bitrate_mode": "CONSTANT", "compression_level": 0.8} if mp3 else {}
    )  # the mode alone does nothing
    with soundfile.SoundFile(stream, "w", rate_hz, 1, subtype, format=kind, **rate) as sound:
        ordered = sorted(parts, key=lambda part: part[0])
        done = ordered[0][0]
        for first, samples in ordered:
            for size in _blocks(first - done):
                sound.write(np.zeros(size, np.int16))
            done = max(done, first)
            fresh = samples[done - first :]  # what another piece has not brought
            for begin in range(0, len(fresh), _BLOCK):
                sound.write(fresh[begin : begin + _BLOCK])
            done += len(fresh)
    return Audio("audio/mpeg" if mp3 else "audio/ogg", stream.getvalue())


def _blocks(number: int) -> Iterator[int]:
    """Sizes of blocks that make ``number`` samples; none if that is below 1."""
    for begin in range(0, number, _BLOCK):
        yield min(_BLOCK, number - begin)
