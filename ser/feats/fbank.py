"""The extractor ``fbank``: log-Mel filterbank energies with Kaldi's numerics, computed by lhotse.

Shapes: N samples, T frames, F filters.
"""

from __future__ import annotations

import functools
import warnings
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ser.errors import DataError
from ser.feats.base import Floats, Timing

INT16_SCALE = 32768.0  # a sample of 1.0 in Kaldi's units
_BLOCK_FRAMES = 512  # frames at a time: what fits the cache, and bounds the memory of a long recording


@dataclass(frozen=True)
class FbankSettings:
    """What the filterbank is made with; the names and meanings are Kaldi's, the units are in the names."""

    extractor: str
    sampling_rate_hz: int
    num_mel_bins: int  # F, number of triangular filters, 4 or more
    frame_length_ms: float
    frame_shift_ms: float
    window: Literal["povey", "hamming", "hanning", "rectangular"]
    preemphasis: float  # 0 to 1; 0 is none
    low_freq_hz: float  # lower edge of the first filter
    high_freq_hz: float  # upper edge of the last; 0 or less: counted from half the sampling rate
    dither: float  # standard deviation of the noise that is added, in the units of sample_scale
    remove_dc_offset: bool  # subtract each frame's mean
    snip_edges: bool  # true: only frames that lie wholly inside; false: the ends are reflected
    sample_scale: Literal["int16", "unit"]  # samples reach 32768 (Kaldi, HTK) or 1 (lhotse, icefall)
    use_power: bool  # energies of the power spectrum; false: of the magnitude spectrum

    def __post_init__(self) -> None:
        """Refuse values that cannot work; ser.config adds the file's name."""
        nyquist = self.sampling_rate_hz / 2
        rules = (
            ("sampling_rate_hz", self.sampling_rate_hz > 0, "be above 0"),
            ("num_mel_bins", self.num_mel_bins >= 4, "be 4 or more"),
            ("frame_shift_ms", self.shift_samples >= 1, "be one sample or more"),
            ("frame_length_ms", self.length_samples >= 2, "be two samples or more"),
            ("preemphasis", 0 <= self.preemphasis <= 1, "be from 0 to 1"),
            ("dither", self.dither >= 0, "be 0 or more"),
            ("low_freq_hz", 0 <= self.low_freq_hz < nyquist, f"be from 0 to below {nyquist:g}"),
            (
                "high_freq_hz",
                self.low_freq_hz < self.band_end_hz <= nyquist,
                f"lie above low_freq_hz and not above {nyquist:g}, half the sampling rate",
            ),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ValueError(f"{name} must {rule}, got {getattr(self, name)}")
        if empty := self._empty_filters():
            raise ValueError(
                f"num_mel_bins must be smaller than {self.num_mel_bins}, {empty} of the filters hold no line "
                "of the spectrum (or the frames must be longer)"
            )

    def _empty_filters(self) -> int:
        """How many filters fall between two lines of the spectrum, where Kaldi stops."""
        fft_length = 1 << (self.length_samples - 1).bit_length()
        lines_hz = np.arange(fft_length // 2) * (self.sampling_rate_hz / fft_length)
        corners = np.linspace(_mel(self.low_freq_hz), _mel(self.band_end_hz), self.num_mel_bins + 2)
        first = np.searchsorted(_mel(lines_hz), corners[:-2], side="right")
        last = np.searchsorted(_mel(lines_hz), corners[2:], side="left")
        return int((first >= last).sum())

    @property
    def length_samples(self) -> int:
        """Samples in a frame, rounded down as Kaldi does."""
        return int(self.sampling_rate_hz * 0.001 * self.frame_length_ms)

    @property
    def shift_samples(self) -> int:
        """Samples from one frame to the next, rounded down as Kaldi does."""
        return int(self.sampling_rate_hz * 0.001 * self.frame_shift_ms)

    @property
    def band_end_hz(self) -> float:
        """Upper edge of the last filter in Hz, with 0 and negative values resolved."""
        return self.high_freq_hz + (self.sampling_rate_hz / 2 if self.high_freq_hz <= 0 else 0.0)


class Fbank:
    """Log-Mel filterbank energies (paper, section 4.2).

    Its ``versions`` are empty: the numbers are Kaldi's, whatever lhotse's version, to which tests hold them.
    """

    Settings: ClassVar[type[Any]] = FbankSettings
    versions: ClassVar[dict[str, str]] = {}

    def __init__(self, settings: FbankSettings, sampling_rate_hz: int) -> None:
        """``sampling_rate_hz`` is what ``settings`` say."""
        assert settings.sampling_rate_hz == sampling_rate_hz
        self.settings = settings

    @property
    def dim(self) -> int:
        """Number of filters."""
        return self.settings.num_mel_bins

    @property
    def timing(self) -> Timing:
        """Of the frames, to the sample."""
        length, shift = self.settings.length_samples, self.settings.shift_samples
        middle = (
            length if self.settings.snip_edges else shift
        ) / 2  # else frame 0 is centred on half a shift
        return Timing(shift / self.settings.sampling_rate_hz, middle / self.settings.sampling_rate_hz)

    def compute(self, samples: Floats, key: str) -> Floats:
        """Energies of one recording, (T, F); see :func:`log_mel`.

        Raises:
            DataError: it is shorter than a frame, or has samples whose energy is infinite.
        """
        features = log_mel(samples, self.settings, key)
        if len(features) == 0:
            raise DataError(
                f"has {len(samples)} samples, fewer than a frame of {self.settings.length_samples}; "
                "leave it out where the corpus is prepared"
            )
        if not np.isfinite(features).all():
            raise DataError(
                "has samples far beyond 1, its energies are infinite; copy it again from the release"
            )
        return features


def _mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    mel: npt.NDArray[np.float64] = 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)
    return mel


def num_frames(num_samples: int, settings: FbankSettings) -> int:
    """Number of frames T of a recording of ``num_samples`` samples; 0 when it is too short for one."""
    length, shift = settings.length_samples, settings.shift_samples
    if settings.snip_edges:
        return 0 if num_samples < length else 1 + (num_samples - length) // shift
    return (num_samples + shift // 2) // shift


def log_mel(samples: npt.NDArray[Any], settings: FbankSettings, utterance: str = "") -> Floats:
    """Log-Mel filterbank energies (paper, section 4.2).

    Args:
        samples: one channel in [-1, 1], (N,), at ``settings.sampling_rate_hz``.
        settings: frames, filters and the scale of the samples.
        utterance: seeds the noise if there is any, so that the values of an utterance depend on nothing
            but its samples and its id.

    Returns:
        Natural log energies, (T, F), none below ln(1.19e-7), which is what digital silence gives.
    """
    total = num_frames(len(samples), settings)
    if total == 0:
        return np.empty((0, settings.num_mel_bins), np.float32)
    wave = np.asarray(samples, np.float32)
    if settings.sample_scale == "int16":
        wave = wave * np.float32(INT16_SCALE)
    if settings.dither > 0:
        rng = np.random.default_rng(zlib.crc32(utterance.encode()))
        wave = wave + np.float32(settings.dither) * rng.standard_normal(len(wave), np.float32)
    if not settings.snip_edges:
        wave = _reflected(wave, total, settings)
    extractor, shift = _extractor(settings), settings.shift_samples
    blocks = []
    for first in range(0, total, _BLOCK_FRAMES):
        last = min(total, first + _BLOCK_FRAMES) - 1
        block = wave[first * shift : last * shift + settings.length_samples]
        blocks.append(extractor.extract(block, settings.sampling_rate_hz))
    features: Floats = np.concatenate(blocks)
    return features


def _reflected(wave: Floats, total: int, settings: FbankSettings) -> Floats:
    """The samples under ``total`` frames that are centred on their shifts: the ends go on mirrored.

    Done here because lhotse's own padding is a sample off for an odd shift and fails on short input.
    """
    length, shift = settings.length_samples, settings.shift_samples
    start = shift // 2 - length // 2
    index = np.arange(start, start + (total - 1) * shift + length) % (2 * len(wave))
    mirrored: Floats = wave[np.minimum(index, 2 * len(wave) - 1 - index)]
    return mirrored


@functools.lru_cache(maxsize=8)
def _extractor(settings: FbankSettings) -> Any:
    """Lhotse's extractor for these settings; imported here because that takes seconds."""
    import lhotse

    rate = settings.sampling_rate_hz
    with warnings.catch_warnings():
        # It warns that snip_edges changes the number of frames, which is meant here; numpy warns of its code.
        warnings.filterwarnings("ignore", message=".*snip_edges")
        warnings.filterwarnings("ignore", message=".*__array_wrap__", category=DeprecationWarning)
        return lhotse.Fbank(
            lhotse.FbankConfig(
                sampling_rate=rate,
                # lhotse rounds seconds * rate down: half a sample more gives just our whole numbers
                frame_length=(settings.length_samples + 0.5) / rate,
                frame_shift=(settings.shift_samples + 0.5) / rate,
                remove_dc_offset=settings.remove_dc_offset,
                preemph_coeff=settings.preemphasis,
                window_type=settings.window,
                dither=0.0,
                snip_edges=True,
                use_fft_mag=not settings.use_power,
                low_freq=settings.low_freq_hz,
                high_freq=settings.band_end_hz,
                num_filters=settings.num_mel_bins,
            )
        )
