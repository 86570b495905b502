"""Engine 2: additive formant synthesis in numpy alone, for where espeak-ng does not run.

Phones become tracks of formants, voicing and noise every 5 ms; the voiced part is a sum of harmonics
weighted by the formants' resonances, the noisy part is white noise with a band-pass per 10 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ser.corpora.mini.audio import RATE_HZ, Samples
from ser.corpora.mini.design import Speaker, Style
from ser.corpora.mini.phones import NO_WORD, SILENCE, VOWELS, Phone, read_lexicon, spelling

SOUNDS = Path(__file__).with_name("sounds.txt")
_HOP = 80  # samples between two control points: 5 ms
_TOP_HZ = 7600.0  # no harmonics above
_BANDWIDTHS_HZ = (80.0, 100.0, 140.0)
_FIXED = ((3500.0, 220.0), (4600.0, 300.0))  # formants 4 and 5 and their bandwidths, Hz
_CLOSED = {"stop": 0.6, "affricate": 0.4}  # the silent part of these


@dataclass(frozen=True)
class _Sound:
    """How a phone sounds; formants are empty where the neighbour's are taken."""

    kind: str
    ms: float
    start_hz: tuple[float, ...]
    end_hz: tuple[float, ...]
    voice: float
    noise: float
    centre_hz: float
    octaves: float


@dataclass(frozen=True)
class _Spoken:
    """One phone to be spoken."""

    symbol: str
    stressed: bool
    word: int

    @property
    def sound(self) -> _Sound:
        """Its entry in the table."""
        return _sounds()[self.symbol]


@dataclass(frozen=True)
class _Tracks:
    """Control points every 5 ms, each (n,), the formants (3, n)."""

    formants_hz: Samples
    voice: Samples
    noise: Samples
    centre_hz: Samples
    octaves: Samples


@cache
def _sounds() -> dict[str, _Sound]:
    sounds = {}
    for line in SOUNDS.read_text(encoding="ascii").splitlines():
        if line.startswith("#"):
            continue
        symbol, kind, ms, *formants = line.split()[:9]
        hz = tuple(float(text) for text in formants if text != "-")
        voice, noise, centre, octaves = map(float, line.split()[9:])
        sounds[symbol] = _Sound(kind, float(ms), hz[:3], hz[3:], voice, noise, centre, octaves)
    return sounds


class Formant:
    """The engine; it has no state."""

    name = "formant 1"

    def speak(
        self, words: Sequence[str], speaker: Speaker, style: Style, random: np.random.RandomState
    ) -> tuple[Samples, list[Phone]]:
        """Speak ``words`` (all of them in the lexicon): (N,) samples at 16 kHz and the phones."""
        spoken = _pronounce(words)
        edges = _edges(spoken, min(max(style.rate, 0.6), 1.7), random)
        tracks = _tracks(spoken, edges, np.array(speaker.formants))
        pitch = _pitch(spoken, edges, speaker, style, words[-1].endswith("?"), random)
        breath = 0.05 if speaker.breathy else 0.0
        samples = _voiced(tracks, pitch, speaker.formants[2]) / 4
        samples += 0.8 * _unvoiced(tracks, breath, random)
        phones = [
            Phone(edge * _HOP, phone.symbol, phone.word)
            for phone, edge in zip(spoken, edges[:-1].tolist(), strict=True)
        ]
        return samples, phones


def _pronounce(words: Sequence[str]) -> list[_Spoken]:
    """Look the words up; ``the`` and ``a`` take their second entry before a vowel."""
    lexicon = read_lexicon()
    entries = [spelling(word) for word in words]
    spoken = [_Spoken(SILENCE, False, NO_WORD)]
    for place, (word, entry) in enumerate(zip(words, entries, strict=True)):
        following = lexicon[entries[place + 1]][0] if place + 1 < len(words) else ""
        if entry in ("the", "a") and following.rstrip("1") in VOWELS:
            entry = f"{entry}(2)"
        for symbol in lexicon[entry]:
            spoken.append(_Spoken(symbol.rstrip("1"), symbol.endswith("1"), place))
        if word[-1] in ",:":
            spoken.append(_Spoken(SILENCE, False, NO_WORD))
    return spoken


def _edges(spoken: Sequence[_Spoken], rate: float, random: np.random.RandomState) -> Samples:
    """The control points at which the phones begin, and the end: (phones + 1,), whole numbers."""
    lengths = []
    for place, phone in enumerate(spoken):
        final = place + 3 >= len(spoken) and phone.sound.kind == "vowel"
        ms = phone.sound.ms * (1.25 if phone.stressed else 1) * (1.35 if final else 1)
        lengths.append(max(3, round(ms * np.exp(0.12 * random.randn()) / rate / 5)))
    return np.concatenate([[0], np.cumsum(lengths)])


def _smooth(values: Samples, reach: int) -> Samples:
    kernel = np.hanning(2 * reach + 3)[1:-1]
    padded = np.pad(values, len(kernel) // 2, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), "valid")


def _tracks(spoken: Sequence[_Spoken], edges: Samples, factors: Samples) -> _Tracks:
    length = int(edges[-1])
    formants, voice, noise = np.zeros((3, length)), np.zeros(length), np.zeros(length)
    centre, octaves = np.full(length, 2000.0), np.ones(length)
    last: tuple[float, ...] = (500.0, 1500.0, 2500.0)
    for place, phone in enumerate(spoken):
        sound, part = phone.sound, slice(int(edges[place]), int(edges[place + 1]))
        start, end = sound.start_hz, sound.end_hz
        if not start:
            start = end = next((p.sound.start_hz for p in spoken[place + 1 :] if p.sound.start_hz), last)
        last = end
        ramp = np.linspace(0, 1, part.stop - part.start)
        formants[:, part] = np.array(start)[:, None] * (1 - ramp) + np.array(end)[:, None] * ramp
        opening = part.start + int((part.stop - part.start) * _CLOSED.get(sound.kind, 0))
        open_part = slice(opening, part.stop)
        voice[part], noise[open_part] = sound.voice, sound.noise
        if sound.kind in _CLOSED:
            voice[open_part] *= 0.5
        if sound.kind == "stop":
            noise[open_part] *= np.linspace(1, 0.3, part.stop - opening)
        if sound.centre_hz:
            centre[part], octaves[part] = sound.centre_hz, sound.octaves
    smooth = np.stack([_smooth(track, 5) for track in formants]) * factors[:, None]
    return _Tracks(smooth, _smooth(voice, 2), _smooth(noise, 1), centre, octaves)


def _pitch(
    spoken: Sequence[_Spoken],
    edges: Samples,
    speaker: Speaker,
    style: Style,
    question: bool,
    random: np.random.RandomState,
) -> Samples:
    """Fundamental frequency in Hz, (n,): a falling line, a hill at each stress, an end up or down."""
    length = int(edges[-1])
    points, time = np.arange(length), np.arange(length) / length
    hills = np.zeros(length)
    for place, phone in enumerate(spoken):
        if phone.stressed:
            middle = (edges[place] + edges[place + 1]) / 2
            hills += random.uniform(0.5, 1.2) * np.exp(-0.5 * ((points - middle) / 18) ** 2)
    ending = (1.8 if question else -0.6) * np.clip((time - 0.85) / 0.15, 0, 1)
    excursion = max(0.3, 3.5 * style.pitch_range / 48)
    jitter = (0.6 if speaker.rough else 0.25) * _smooth(random.randn(length), 1)
    semitones = style.pitch_semitones + excursion * (hills - 0.9 * time + 0.3 + ending) + jitter
    return np.asarray(sum(speaker.pitch_hz) / 2 * 2 ** (semitones / 12))


def _per_sample(track: Samples) -> Samples:
    """Control points as samples, linear in between: (n,) -> (n * 80,)."""
    padded = np.concatenate([track[:1], track, track[-1:]])
    middles = padded[:-1, None] + np.diff(padded)[:, None] * (np.arange(_HOP) / _HOP)
    return middles.ravel()[_HOP // 2 : _HOP // 2 + len(track) * _HOP]


def _resonance(hz: Samples, centre_hz: Samples | float, width_hz: float) -> Samples:
    squares = np.square(centre_hz)
    return np.asarray(squares / np.sqrt((squares - hz**2) ** 2 + (width_hz * hz) ** 2))


def _voiced(tracks: _Tracks, pitch_hz: Samples, higher: float) -> Samples:
    """The sum of harmonics, (n * 80,); ``higher`` scales formants 4 and 5."""
    numbers = np.arange(1, int(_TOP_HZ / pitch_hz.min()) + 1)[:, None]
    hz = numbers * pitch_hz[None, :]  # (harmonics, n)
    amplitudes = tracks.voice / numbers * (hz < _TOP_HZ)
    for formant, width_hz in zip(tracks.formants_hz, _BANDWIDTHS_HZ, strict=True):
        amplitudes = amplitudes * _resonance(hz, formant, width_hz)
    for centre_hz, width_hz in _FIXED:
        amplitudes = amplitudes * _resonance(hz, centre_hz * higher, width_hz)
    turn = np.exp(2j * np.pi * np.cumsum(_per_sample(pitch_hz)) / RATE_HZ)
    wave, power = np.zeros(len(turn)), np.ones(len(turn), dtype=complex)
    for amplitude in amplitudes:
        power *= turn  # a harmonic is a power of the first: no sine to compute
        wave += _per_sample(amplitude) * power.imag
    return wave


def _unvoiced(tracks: _Tracks, breath: float, random: np.random.RandomState) -> Samples:
    """White noise, shaped in overlapping blocks of 20 ms, (n * 80,)."""
    block, half = 320, 160
    length = len(tracks.voice) * _HOP
    starts = np.arange(0, length, half)
    points = np.minimum(len(tracks.voice) - 1, starts // _HOP + 1)
    loudness = tracks.noise[points] + breath * tracks.voice[points]
    octaves = np.log2(
        np.maximum(np.fft.rfftfreq(block, 1 / RATE_HZ), 50)[None, :] / tracks.centre_hz[points, None]
    )
    shape = loudness[:, None] * np.exp(-0.5 * (octaves / tracks.octaves[points, None]) ** 2)
    window = np.sqrt(np.hanning(block + 1)[:-1])
    white = np.lib.stride_tricks.sliding_window_view(random.randn(length + block), block)[starts]
    blocks = np.fft.irfft(np.fft.rfft(white * window) * shape, block) * window
    noise = np.zeros(length + block)
    for start, samples in zip(starts, blocks, strict=True):
        noise[start : start + block] += samples
    return noise[:length]
