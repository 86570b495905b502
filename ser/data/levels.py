"""Levels of recordings: how loud the samples of an utterance are, and a digest by which copies are found.

``levels.tsv``, beside the folder ``all``, keeps what was measured, a line for each piece of a file, with the
file's size and time: what has not changed is not read again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from ser import reading
from ser.cli import progress
from ser.data.audio_meta import audio_meta
from ser.data.corpus import ChannelChoice, channels_of
from ser.data.files import whole_file
from ser.data.segments import RecordingSegment
from ser.errors import DataError, all_of

LEVELS = "levels.tsv"
FULL_SCALE = 32768  # samples are compared as 16 bits, whatever the format has
CLIPPED_RUN = 3  # so many samples at full scale in a row are clipped
_BLOCK = 1 << 18  # frames that are in memory at a time
_COPY = "copy it again from the release"
_WIDE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")  # formats that 16 bits do not hold
_LOSSY = ("VORBIS", "OPUS", "MPEG")
Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]


class Piece(NamedTuple):
    """The audio of an utterance: what is read of a file, or of some seconds of it."""

    path: str
    channel: str = "null"  # audio.channel, as JSON
    start_s: float = 0.0
    end_s: float = -1.0  # -1: to the end of the file

    @classmethod
    def of(cls, segment: RecordingSegment, channel: ChannelChoice) -> Piece:
        """What is read of a recording or segment; its times are kept to the microsecond."""
        end_s = -1.0 if segment.end_s is None else round(segment.end_s, 6)
        return cls(str(segment.path), json.dumps(channel), round(segment.start_s, 6), end_s)

    @property
    def segment(self) -> RecordingSegment:
        """The recording or segment."""
        return RecordingSegment(Path(self.path), self.start_s, None if self.end_s < 0 else self.end_s)

    def channels(self, num_channels: int) -> list[int]:
        """The channels whose mean is taken, of so many.

        Raises:
            ValueError: it cannot be, see :func:`~ser.data.corpus.channels_of`.
        """
        choice = json.loads(self.channel)
        return channels_of(tuple(choice) if isinstance(choice, list) else choice, num_channels)


class Level(NamedTuple):
    """What the samples of a piece are like; at the sampling rate of the file."""

    sampling_rate_hz: int
    num_channels: int  # of the file
    format: str  # such as "WAV PCM_16"
    num_samples: int
    peak_dbfs: float  # of the largest sample; -inf: all are zero
    rms_dbfs: float  # without the mean, so -inf: all are the same
    other_rms_dbfs: float  # of the loudest other channel; -inf if there is none
    num_clipped: int  # samples at full scale with their neighbours, CLIPPED_RUN or more in a row
    digest: str  # of the samples as 16 bits: the same audio under another header has the same one

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return self.num_samples / self.sampling_rate_hz


def decibels(amplitude: float) -> float:
    """An amplitude in dB of full scale.

    >>> decibels(1.0), decibels(0.1), decibels(0.0)
    (0.0, -20.0, -inf)
    """
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def measure_all(pieces: Sequence[Piece], table: Path, num_jobs: int = 1) -> list[Level]:
    """The levels of many pieces; each is read once, and again only after its file changed.

    Args:
        pieces: what to measure.
        table: the file that keeps what was measured; made if need be.
        num_jobs: files read at a time.

    Returns:
        One for each piece, in their order.

    Raises:
        DataError: files that cannot be used, all of them in one message.
    """
    states = {path: _state(path) for path in {piece.path for piece in pieces}}
    known = _read(table)
    # a missing file does not count as changed: its features can be used without it
    levels = {
        piece: known[piece][1]
        for piece in pieces
        if piece in known and states[piece.path] in ("", known[piece][0])
    }
    missing = sorted({piece for piece in pieces if piece not in levels})
    if not missing:
        return [levels[piece] for piece in pieces]
    problems: list[str] = []
    with ThreadPoolExecutor(max(1, num_jobs)) as pool:
        results = pool.map(_attempt, missing)
        for piece, level in zip(missing, progress(results, "levels", len(missing)), strict=True):
            if isinstance(level, Level):
                levels[piece] = level
            else:
                problems.append(level)
    if problems:
        raise all_of(list(dict.fromkeys(problems)))
    _write(table, known | {piece: (states[piece.path], levels[piece]) for piece in missing})
    return [levels[piece] for piece in pieces]


def _state(path: str) -> str:
    """What tells a changed file from the one that was measured; empty if it is not there."""
    try:
        state = os.stat(path)
    except OSError:
        return ""
    return f"{state.st_size} {state.st_mtime_ns}"


def _attempt(piece: Piece) -> Level | str:
    try:
        return measure(piece)
    except DataError as error:
        return str(error)


def measure(piece: Piece) -> Level:
    """Read a piece, block by block.

    Raises:
        DataError: the file cannot be used, lacks the channel or the samples, or has some that are no numbers.
    """
    path = Path(piece.path)
    meta = audio_meta(path)
    first, end = piece.segment.span(meta.num_samples, meta.sampling_rate_hz)
    number = end - first
    try:
        channels = piece.channels(meta.num_channels)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    with reading.guarded(path, _COPY), soundfile.SoundFile(path) as sound:
        if first:
            sound.seek(first)
        meter = _Meter(channels, meta.num_channels)
        exact = not sound.subtype.startswith((*_WIDE, *_LOSSY))
        while meter.number < number:
            size = min(_BLOCK, number - meter.number)
            block = sound.read(size, dtype="int16" if exact else "float64", always_2d=True)  # (n, channels)
            if len(block) < size:
                raise DataError(
                    f"{path}: is cut short, it has {first + meter.number + len(block)} of "
                    f"{meta.num_samples} samples; {_COPY}"
                )
            if not exact and not np.isfinite(block).all():
                raise DataError(f"{path}: has samples that are NaN or infinite; {_COPY}")
            meter.add(block)
        kind = f"{sound.format} {sound.subtype}"
    return meter.level(meta.sampling_rate_hz, kind)


class _Meter:
    """Adds up the blocks of one piece."""

    def __init__(self, channels: list[int], num_channels: int) -> None:
        others = [[number] for number in range(num_channels) if number not in channels]
        self._signals = [channels, *others]  # the chosen one first, a mean of these channels
        self._num_channels = num_channels
        self._digest = hashlib.blake2b(digest_size=16)
        self._peak = 0.0
        self._sums: Numbers = np.zeros(len(self._signals))
        self._squares: Numbers = np.zeros(len(self._signals))
        self._full: list[npt.NDArray[np.int64]] = []  # places of samples at full scale
        self.number = 0

    def add(self, block: npt.NDArray[Any]) -> None:
        """Take in a block, (n, channels): 16 bits, or shares of full scale."""
        for row, channels in enumerate(self._signals):
            samples = np.ascontiguousarray(block[:, channels[0]])
            if len(channels) > 1:
                samples = block[:, channels].mean(axis=1)
            values = np.asarray(samples if block.dtype == np.int16 else samples * FULL_SCALE, np.float64)
            self._sums[row] += values.sum()
            self._squares[row] += np.dot(values, values)
            if row == 0:
                self._add_chosen(samples, values)
        self.number += len(block)

    def _add_chosen(self, samples: npt.NDArray[Any], values: Numbers) -> None:
        peak = float(max(values.max(), -values.min()))
        self._peak = max(self._peak, peak)
        if samples.dtype == np.int16:
            codes = samples
        else:
            codes = np.clip(np.rint(values), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        self._digest.update(codes.astype("<i2", copy=False).data)
        if peak >= FULL_SCALE - 1:
            self._full.append(np.flatnonzero(np.abs(values) >= FULL_SCALE - 1) + self.number)

    def level(self, rate_hz: int, kind: str) -> Level:
        """The level of all that was taken in."""
        means = self._sums / self.number
        rms = np.sqrt(np.maximum(0.0, self._squares / self.number - means**2)) / FULL_SCALE
        return Level(
            rate_hz,
            self._num_channels,
            kind,
            self.number,
            round(decibels(self._peak / FULL_SCALE), 2) + 0.0,  # no -0.0
            round(decibels(float(rms[0])), 2) + 0.0,  # no -0.0
            round(decibels(float(rms[1:].max(initial=0.0))), 2) + 0.0,  # no -0.0
            _count_in_runs(np.concatenate(self._full)) if self._full else 0,
            self._digest.hexdigest(),
        )


def _count_in_runs(places: npt.NDArray[np.int64]) -> int:
    """How many of some rising numbers stand in runs of :data:`CLIPPED_RUN` or more without a gap.

    >>> _count_in_runs(np.array([1, 2, 3, 7, 8, 20, 21, 22, 23]))
    7
    """
    lengths = np.diff(np.flatnonzero(np.diff(places, prepend=-2, append=np.iinfo(np.int64).max) != 1))
    return int(lengths[lengths >= CLIPPED_RUN].sum())


# ------------------------------------------------------------------------------------------------ on disk

_HEAD = (*Piece._fields, "state", *Level._fields)


def _write(table: Path, levels: dict[Piece, tuple[str, Level]]) -> None:
    with whole_file(table) as stream:
        stream.write("\t".join(_HEAD) + "\n")
        for piece, (state, level) in sorted(levels.items()):
            if reading.is_plain(piece.path) and "\t" not in piece.path:  # any other is measured every time
                stream.write("\t".join(map(str, (*piece, state, *level))) + "\n")


def _read(table: Path) -> dict[Piece, tuple[str, Level]]:
    """What was measured before; nothing if the table is not there or of another version."""
    if not table.exists():
        return {}
    head, *lines = reading.read_text(table, "remove it").split("\n")
    if tuple(head.split("\t")) != _HEAD:
        return {}
    with reading.guarded(table, "remove it"):
        return dict(_row(line.split("\t")) for line in lines if line)


def _row(fields: list[str]) -> tuple[Piece, tuple[str, Level]]:
    path, channel, start, end, state, rate, channels, kind, samples, *levels, clipped, digest = fields
    peak, rms, other = map(float, levels)
    level = Level(int(rate), int(channels), kind, int(samples), peak, rms, other, int(clipped), digest)
    return Piece(path, channel, float(start), float(end)), (state, level)
