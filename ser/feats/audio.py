"""Recordings as samples: one channel at one rate, or a message that says what is wrong with the file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from ser import reading
from ser.data.audio_meta import check_kind, check_rate
from ser.data.corpus import AudioConfig, channels_of
from ser.data.segments import COMMAND, RecordingSegment
from ser.errors import DataError, short
from ser.feats.base import Floats

LONG_SAMPLES = 1 << 23  # a recording of so many is long: 9 minutes at 16 kHz
_SKIP_SAMPLES = 1 << 18  # that are read at a time where they are not asked for
_EXACT = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # kinds of samples that any way of reading leaves alone
_COPY, _NO_AUDIO = "copy it again from the release", "is no audio that can be read"


def load_samples(recording: Path | RecordingSegment, audio: AudioConfig) -> Floats:
    """Read a recording as one channel, in any format that libsndfile knows (WAV, FLAC, MP3, OGG, ...).

    Of a segment only its own samples are read; what it is converted to is that of a file of just these.

    Args:
        recording: a file, or a segment of one.
        audio: its rate, its channel, and whether other rates are converted.

    Returns:
        Samples in [-1, 1] at ``audio.sampling_rate_hz``, (N,).

    Raises:
        DataError: missing, empty, cut short, no audio, of another rate or number of channels than
            ``audio`` allows, or with values that are no numbers.
    """
    segment = _segment(recording)
    _check_file(segment.path)
    return _load(segment, audio)


def _load(segment: RecordingSegment, audio: AudioConfig) -> Floats:
    """What :func:`load_samples` gives of a file that is checked."""
    path = segment.path
    with reading.guarded(path, _COPY, what=_NO_AUDIO), soundfile.SoundFile(path) as sound:
        rate = sound.samplerate
        check_rate(path, rate)
        channels = _check_layout(path, rate, sound.channels, audio)
        first, end = segment.span(sound.frames, rate)
        if first:
            sound.seek(first)
        frames = _read(sound, end - first)
    if end == 0:
        raise DataError(f"{path}: has no samples; {_COPY}")
    if len(frames) < end - first:
        raise DataError(f"{path}: is cut short, it has {first + len(frames)} of {end} samples; {_COPY}")
    samples = _mean_of(frames, channels)
    if not np.isfinite(samples).all():
        count = np.count_nonzero(~np.isfinite(samples))
        raise DataError(f"{segment}: {count} of {len(samples)} samples are NaN or infinite; {_COPY}")
    return resample(samples, rate, audio.sampling_rate_hz)


def _read(sound: soundfile.SoundFile, number: int) -> Floats:
    """The next samples of a file, at most so many, (number, channels)."""
    frames: Floats
    if sound.subtype == "PCM_16":  # what libsndfile makes of them, in half its time
        whole = sound.read(number, dtype="int16", always_2d=True)
        frames = np.multiply(whole, np.float32(1 / 32768), dtype=np.float32)
    else:
        frames = sound.read(number, dtype="float32", always_2d=True)
    return frames


def _segment(recording: Path | RecordingSegment) -> RecordingSegment:
    return recording if isinstance(recording, RecordingSegment) else RecordingSegment(recording)


def _mean_of(frames: Floats, channels: list[int]) -> Floats:
    """One channel of frames (N, channels), or the mean of several, (N,)."""
    if len(channels) == 1:
        return np.ascontiguousarray(frames[:, channels[0]])
    mean: Floats = frames[:, channels].mean(axis=1)
    return mean


class LongRecording:
    """An open recording, or a segment of one, as one channel, of which little is in memory at a time.

    It is read in slices that go forward: none may begin before the one before last began.

    Attributes:
        rate_hz: the file's sampling rate, which the samples have.
        first: the file's sample that is the first here.
    """

    def __init__(self, sound: soundfile.SoundFile, channels: list[int], first: int, end: int) -> None:
        """The mean of ``channels`` is taken, of samples ``first`` to ``end - 1`` of the file."""
        self._sound, self._channels, self._length = sound, channels, end - first
        self.rate_hz, self.first = int(sound.samplerate), first
        self._held: Floats = np.empty(0, np.float32)
        self._start, self._asked = 0, 0  # of what is held; where the last slice began
        if first:
            sound.seek(first)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, span: slice) -> Floats:
        """The samples of a slice with a start and a stop, float32.

        Raises:
            DataError: they are cut short, or NaN or infinite; goes without the file's name.
        """
        self._skip(span.start)
        missing = span.stop - self._start - len(self._held)
        if missing > 0:
            kept = self._held[self._asked - self._start :]
            read = self._read(missing)
            self._start, self._held = self._asked, np.concatenate([kept, read]) if len(kept) else read
        self._asked = span.start
        assert span.start >= self._start
        return self._held[span.start - self._start : span.stop - self._start]

    def rewind(self) -> None:
        """Begin anew with the first sample."""
        self._sound.seek(self.first)
        self._start, self._asked, self._held = 0, 0, np.empty(0, np.float32)

    def _skip(self, start: int) -> None:
        """Read on, holding little, where the next slice begins far behind what is held."""
        while start - self._start - len(self._held) > _SKIP_SAMPLES:
            self._start += len(self._held)
            self._held, self._asked = self._read(_SKIP_SAMPLES), self._start

    def _read(self, number: int) -> Floats:
        try:
            frames = _read(self._sound, number)
        except soundfile.LibsndfileError as error:
            raise DataError(f"cannot be read on ({error.error_string.rstrip('. ')}); {_COPY}") from error
        if len(frames) < number:
            has = self._start + len(self._held) + len(frames)
            raise DataError(f"is cut short, it has {has} of {len(self)} samples; {_COPY}")
        samples = _mean_of(frames, self._channels)
        if not np.isfinite(samples).all():
            raise DataError(f"has samples that are NaN or infinite; {_COPY}")
        return samples


@contextmanager
def open_samples(
    recording: Path | RecordingSegment, audio: AudioConfig, *, in_blocks: bool
) -> Iterator[Floats | LongRecording]:
    """The samples of a recording, or of a segment of one, as :func:`load_samples` gives them.

    A long one that needs no resampling is read block by block where the reader takes that, unless it is of a
    format whose decoder gives other last digits then (MP3).

    Raises:
        DataError: as :func:`load_samples`.
    """
    segment = _segment(recording)
    path = segment.path
    _check_file(path)
    if in_blocks and path.stat().st_size > LONG_SAMPLES // 16:  # no codec makes less of them
        with reading.guarded(path, _COPY, what=_NO_AUDIO):
            sound = soundfile.SoundFile(path)
        with sound:
            exact = sound.subtype.startswith(_EXACT) and sound.samplerate == audio.sampling_rate_hz
            if exact and sound.frames >= LONG_SAMPLES:
                channels = _check_layout(path, sound.samplerate, sound.channels, audio)
                first, end = segment.span(sound.frames, sound.samplerate)
                if end - first >= LONG_SAMPLES:
                    yield LongRecording(sound, channels, first, end)
                    return
    yield _load(segment, audio)


@contextmanager
def stream_samples(
    recording: Path | RecordingSegment, channels: Callable[[int], list[int]]
) -> Iterator[LongRecording]:
    """A recording, or a segment of one, at its own sampling rate, to be read in slices.

    Args:
        recording: a file, or a segment of one.
        channels: gives those to take the mean of, of the number that there are.

    Raises:
        DataError: missing, empty, no audio, a rate that no recording has, or what ``channels`` raises; goes
            with the file's name.  What is wrong with the samples comes with the slices, without it.
    """
    segment = _segment(recording)
    path = segment.path
    _check_file(path)
    with reading.guarded(path, _COPY, what=_NO_AUDIO):
        sound = soundfile.SoundFile(os.fsencode(path))
    sound.seekable = lambda: False  # else a seek follows each block, behind which MP3 decodes otherwise
    with sound:
        check_rate(path, sound.samplerate)
        chosen = channels(sound.channels)
        if sound.frames < 1:
            raise DataError(f"{path}: has no samples; {_COPY}")
        yield LongRecording(sound, chosen, *segment.span(sound.frames, sound.samplerate))


def _check_file(path: Path) -> None:
    if str(path).endswith("|") or not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise DataError(f"{short(str(path), 1000)}: {_why_unreadable(path)}")
    if missing := check_kind(path):
        raise DataError(f"{path}: is cut short, {missing} bytes of its samples are not there; {_COPY}")


def _why_unreadable(path: Path) -> str:
    if str(path).endswith("|"):
        return COMMAND
    if os.path.islink(path) and not os.path.exists(path):
        return f"is a link to {os.readlink(path)}, which does not exist; repair the link"
    if not os.path.exists(path):  # unlike Path.exists, of whatever length a name is
        return "no such file; is the corpus where stage 0 found it? If not, run stage 0 again"
    if not path.is_file():
        return "is no file; name a recording"
    return "may not be read (no permission); change it with chmod"


def _check_layout(path: Path, rate: int, channels: int, audio: AudioConfig) -> list[int]:
    """The channels to take the mean of."""
    try:
        chosen = channels_of(audio.channel, channels)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if rate != audio.sampling_rate_hz and audio.resample == "refuse":
        raise DataError(
            f"{path}: is sampled at {rate} Hz, audio.sampling_rate_hz says {audio.sampling_rate_hz}; "
            "--set audio.resample=convert, or name the right rate"
        )
    return chosen


def resample(samples: Floats, rate_hz: int, target_hz: int) -> Floats:
    """Polyphase resampling, to ceil(N * target / rate) samples; nothing is done at the same rate."""
    if rate_hz == target_hz:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate_hz, target_hz)
    converted: Floats = resample_poly(samples, target_hz // common, rate_hz // common).astype(np.float32)
    return converted
