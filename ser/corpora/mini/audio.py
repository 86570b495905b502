"""Sound: resampling, spectral tilt, the room, noise and non-speech sounds, all in numpy.

Samples are floats around [-1, 1] until :func:`to_pcm`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser.corpora.mini.design import Style, random_state

Samples = npt.NDArray[np.float64]

RATE_HZ = 16000
SPEECH_RMS = 0.06  # of neutral speech, before the style's and the room's level
ESPEAK_RATE_HZ = 22050
_UP, _DOWN = 320, 441  # 22050 * 320 / 441 = 16000
_HALF = 24  # half the length of the resampling filter, in input samples
_CENTRES_HZ = (300, 1500, 5000)  # of the room's three bumps
FILTER_HZ = np.fft.rfftfreq(512, 1 / RATE_HZ)  # (257,), where a filter's gains are given


def to_16k(position: float) -> float:
    """A position in samples at espeak's 22050 Hz, in samples at 16 kHz."""
    return position * _UP / _DOWN


def _filters() -> Samples:
    """The windowed-sinc filter for each of the ``_UP`` phases, (320, 48), each summing to 1."""
    offsets = np.arange(1 - _HALF, _HALF + 1)[None, :] - np.arange(_UP)[:, None] / _UP
    cutoff = 0.92 * _UP / _DOWN
    window = np.where(np.abs(offsets) < _HALF, 0.5 + 0.5 * np.cos(np.pi * offsets / _HALF), 0)
    filters = np.sinc(cutoff * offsets) * window
    return np.asarray(filters / filters.sum(axis=1, keepdims=True))


_FILTERS = _filters()


def resample(samples: Samples) -> Samples:
    """From 22050 Hz to 16 kHz: (N,) -> (N * 320 // 441,)."""
    length = len(samples) * _UP // _DOWN
    rounds = -(-length // _UP)
    padded = np.zeros(rounds * _DOWN + 2 * _HALF)
    padded[_HALF - 1 : _HALF - 1 + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HALF)
    result = np.empty((rounds, _UP))
    for phase in range(_UP):  # einsum, not BLAS: the same bytes with any number of threads
        first = phase * _DOWN // _UP
        fraction = phase * _DOWN % _UP
        rows = windows[first::_DOWN][:rounds]
        result[:, phase] = np.einsum("ij,j->i", rows, _FILTERS[fraction])
    return result.ravel()[:length]


@dataclass(frozen=True)
class Room:
    """Where a session was recorded.

    Attributes:
        bumps_db: gain at 300, 1500 and 5000 Hz.
        gain_db: of the microphone.
        noise_db: noise level, full scale = 0.
    """

    bumps_db: tuple[float, float, float]
    gain_db: float
    noise_db: float


def room_of(seed: int, session: int) -> Room:
    """The room of a session."""
    random = random_state(seed, "room", session)
    low, middle, high = random.uniform(-2, 2, 3).tolist()
    return Room((low, middle, high), random.uniform(-1.5, 1.5), random.uniform(-62, -54))


def tilt_filter(db_per_octave: float, room: Room) -> Samples:
    """A linear-phase filter, (129,): flat up to 500 Hz, then the slope, plus the room's bumps."""
    gain_db = db_per_octave * np.log2(np.maximum(FILTER_HZ, 500) / 500)
    for bump_db, centre in zip(room.bumps_db, _CENTRES_HZ, strict=True):
        octaves = np.log2(np.maximum(FILTER_HZ, 50) / centre)
        gain_db += bump_db * np.exp(-0.5 * (octaves / 0.8) ** 2)
    return linear_phase(gain_db)


def linear_phase(gain_db: Samples, length: int = 129) -> Samples:
    """A linear-phase filter, (length,), with about these gains, (257,), at ``FILTER_HZ``."""
    response = np.roll(np.fft.irfft(10 ** (gain_db / 20)), length // 2)[:length]
    return np.asarray(response * np.hanning(length))


def pink_noise(random: np.random.RandomState, length: int) -> Samples:
    """Noise falling 3 dB an octave above 60 Hz, root mean square 1."""
    padded = 1 << (length - 1).bit_length()  # a fast length
    hz = np.fft.rfftfreq(padded, 1 / RATE_HZ)
    spectrum = (random.randn(len(hz)) + 1j * random.randn(len(hz))) / np.sqrt(np.maximum(hz, 60))
    noise = np.fft.irfft(spectrum, padded)[:length]
    return np.asarray(noise / np.sqrt((noise**2).mean()))


def laughter(random: np.random.RandomState, pitch_hz: float) -> Samples:
    """Half a second of ha-ha: breathy voiced bursts, falling in pitch and strength."""
    bursts = []
    for number in range(random.randint(3, 6)):
        length = int(random.uniform(0.09, 0.13) * RATE_HZ)
        time = np.arange(length) / RATE_HZ
        phase = 2 * np.pi * pitch_hz * 1.5 * 0.94**number * time
        voice = sum(np.sin(k * phase) / k for k in range(1, 12))
        burst = (voice + pink_noise(random, length)) * np.hanning(length)
        bursts += [0.85**number * burst, np.zeros(int(0.06 * RATE_HZ))]
    return np.concatenate(bursts)


def breathing(random: np.random.RandomState) -> Samples:
    """A breath in: noise that swells for about a second."""
    length = int(random.uniform(0.8, 1.2) * RATE_HZ)
    return pink_noise(random, length) * np.hanning(length) ** 2


def scaled(samples: Samples, rms: float) -> Samples:
    """``samples`` at a root mean square of ``rms``."""
    return np.asarray(samples * (rms / np.sqrt((samples**2).mean() + 1e-12)))


def in_room(voice: Samples, style: Style, room: Room, random: np.random.RandomState) -> tuple[Samples, int]:
    """A voice as the microphone of its session heard it, without noise.

    Args:
        voice: (N,) speech without silence around it.
        style: its loudness, tilt and drive.
        room: the session's room.
        random: draws the pauses around the speech.

    Returns:
        the recording and the index in it of the first sample of ``voice``.
    """
    lead, tail = (int(random.uniform(0.10, 0.35) * RATE_HZ) for _ in range(2))
    voice = np.asarray(np.convolve(voice, tilt_filter(style.tilt_db_per_octave, room), "same"), np.float64)
    voice = scaled(voice, SPEECH_RMS)
    if style.drive > 0:
        gain = 1 + 6 * style.drive
        voice = np.tanh(gain * voice / 0.25) * 0.25 / gain**0.7
    voice = voice * 10 ** ((style.level_db + room.gain_db) / 20)
    return np.concatenate([np.zeros(lead), voice, np.zeros(tail)]), lead


def with_room_noise(samples: Samples, room: Room, random: np.random.RandomState) -> Samples:
    """A recording, (N,), with the noise of its room."""
    level_db = room.noise_db + 2 * random.randn()
    return samples + pink_noise(random, len(samples)) * 10 ** (level_db / 20)


def to_pcm(samples: Samples) -> npt.NDArray[np.int16]:
    """Samples in [-1, 1] as 16-bit integers, clipped."""
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
