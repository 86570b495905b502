"""The extractor ``fbank``: log-Mel filterbank energies with Kaldi's numerics, windows and filters by lhotse.

Shapes: N samples, T frames, L samples of a frame, S lines of a spectrum, F filters.
"""

from __future__ import annotations

import functools
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ser.errors import DataError
from ser.feats.base import INT16_SCALE, Floats, Timing
from ser.ranges import Range

if TYPE_CHECKING:
    from ser.feats.audio import LongRecording

_BLOCK_FRAMES = 512  # frames at a time: what fits the cache, and bounds the memory of a long recording
_LEAST = float(np.finfo(np.float32).eps)  # energy whose logarithm is the least that there is


@dataclass(frozen=True)
class FbankSettings:
    """What the filterbank is made with; the names and meanings are Kaldi's, the units are in the names."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME
    sampling_rate_hz: Annotated[int, Range(1, 768000)]  # the corpus's
    num_mel_bins: Annotated[int, Range(4, 4096)]  # F, number of triangular filters
    frame_length_ms: Annotated[float, Range(above=0, most=10000)]  # two samples or more
    frame_shift_ms: Annotated[float, Range(above=0, most=10000)]  # one sample or more
    window: Literal["povey", "hamming", "hanning", "rectangular"]  # of a frame
    preemphasis: Annotated[float, Range(0, 1)]  # 0 is none
    low_freq_hz: Annotated[float, Range(0, 384000)]  # lower edge of the first filter
    # upper edge of the last; 0 or less: counted from half the sampling rate
    high_freq_hz: Annotated[float, Range(-384000, 384000)]
    # standard deviation of the noise that is added, in the units of sample_scale
    dither: Annotated[float, Range(0, 32768)]
    remove_dc_offset: bool  # subtract each frame's mean
    snip_edges: bool  # true: only frames that lie wholly inside; false: the ends are reflected
    sample_scale: Literal["int16", "unit"]  # samples reach 32768 (Kaldi, HTK) or 1 (lhotse, icefall)
    use_power: bool  # energies of the power spectrum; false: of the magnitude spectrum

    def __post_init__(self) -> None:
        """Refuse values that cannot work; ser.config adds the file's name."""
        nyquist = self.sampling_rate_hz / 2
        rules = (
            ("frame_shift_ms", self.shift_samples >= 1, "be one sample or more"),
            ("frame_length_ms", self.length_samples >= 2, "be two samples or more"),
            ("low_freq_hz", self.low_freq_hz < nyquist, f"be below {nyquist:g}, half the sampling rate"),
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
        lines_hz = np.arange(self.fft_length // 2) * (self.sampling_rate_hz / self.fft_length)
        corners = np.linspace(_mel(self.low_freq_hz), _mel(self.band_end_hz), self.num_mel_bins + 2)
        first = np.searchsorted(_mel(lines_hz), corners[:-2], side="right")
        last = np.searchsorted(_mel(lines_hz), corners[2:], side="left")
        return int((first >= last).sum())

    @property
    def length_samples(self) -> int:
        """Samples in a frame, rounded down as Kaldi does."""
        return int(self.sampling_rate_hz * 0.001 * self.frame_length_ms)

    @property
    def fft_length(self) -> int:
        """Samples that are transformed, a power of two; zeros follow the frame."""
        return 1 << (self.length_samples - 1).bit_length()

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
    in_blocks: ClassVar[bool] = True  # takes a long recording from its file, block by block

    def __init__(self, settings: FbankSettings, sampling_rate_hz: int) -> None:
        """``sampling_rate_hz`` is what ``settings`` say."""
        assert settings.sampling_rate_hz == sampling_rate_hz
        self.settings = settings

    @property
    def dim(self) -> int:
        """Number of filters."""
        return self.settings.num_mel_bins

    @property
    def min_samples(self) -> int:
        """What makes a frame."""
        shift = self.settings.shift_samples
        return self.settings.length_samples if self.settings.snip_edges else shift - shift // 2

    @property
    def timing(self) -> Timing:
        """Of the frames, to the sample."""
        length, shift = self.settings.length_samples, self.settings.shift_samples
        middle = (
            length if self.settings.snip_edges else shift
        ) / 2  # else frame 0 is centred on half a shift
        return Timing(shift / self.settings.sampling_rate_hz, middle / self.settings.sampling_rate_hz)

    def compute(self, samples: Floats | LongRecording, key: str) -> Floats:
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


def log_mel(
    samples: npt.NDArray[Any] | LongRecording, settings: FbankSettings, utterance: str = ""
) -> Floats:
    """Log-Mel filterbank energies (paper, section 4.2).

    Besides the energies it holds no more than a block of samples, and noise for all of them if there is any.

    Args:
        samples: one channel in [-1, 1], (N,), at ``settings.sampling_rate_hz``.
        settings: frames, filters and the scale of the samples.
        utterance: seeds the noise if there is any, so that the values of an utterance depend on nothing
            but its samples and its id.

    Returns:
        Natural log energies, (T, F), none below ln(1.19e-7), which is what digital silence gives.
    """
    total, length, shift = num_frames(len(samples), settings), settings.length_samples, settings.shift_samples
    features: Floats = np.empty((total, settings.num_mel_bins), np.float32)
    noise = None
    if settings.dither > 0:
        rng = np.random.default_rng(zlib.crc32(utterance.encode()))
        noise = np.float32(settings.dither) * rng.standard_normal(len(samples), np.float32)
    start = 0 if settings.snip_edges else shift // 2 - length // 2  # of frame 0
    for first in range(0, total, _BLOCK_FRAMES):
        last = min(total, first + _BLOCK_FRAMES) - 1
        span = (start + first * shift, start + last * shift + length)
        block = np.asarray(_mirrored(samples, *span), np.float32)
        if settings.sample_scale == "int16":
            block = block * np.float32(INT16_SCALE)
        if noise is not None:
            block = block + _mirrored(noise, *span)
        features[first : last + 1] = _energies(block, settings)
    return features


def _mirrored(wave: npt.NDArray[Any] | LongRecording, begin: int, end: int) -> npt.NDArray[Any]:
    """Samples ``begin`` to ``end`` of a recording that goes on mirrored before its start and behind its end.

    Done here because lhotse's own padding is a sample off for an odd shift and fails on short input.
    """
    if begin >= 0 and end <= len(wave):
        return wave[begin:end]
    index = np.arange(begin, end) % (2 * len(wave))
    index = np.minimum(index, 2 * len(wave) - 1 - index)
    low = int(index.min())
    inside: npt.NDArray[Any] = wave[low : int(index.max()) + 1][index - low]
    return inside


def _energies(block: Floats, settings: FbankSettings) -> Floats:
    """Log energies of the frames that lie in a block of samples, (n, F).

    Power is the sum of two squares, as in Kaldi; lhotse's own layer squares the magnitude, whose root takes
    longer than the transform.
    """
    import torch

    windows, filters = _layers(settings)
    frames, _ = windows(torch.from_numpy(block)[None])  # (1, n, L)
    squares = torch.view_as_real(torch.fft.rfft(frames[0], settings.fft_length)).square_()  # (n, S, 2)
    lines = squares[..., 0] + squares[..., 1]
    if not settings.use_power:
        lines.sqrt_()
    energies = filters @ lines.T  # twice as fast as lines @ filters.T
    log_energies: Floats = energies.clamp_(min=_LEAST).log_().T.numpy()
    return log_energies


@functools.lru_cache(maxsize=8)
def _layers(settings: FbankSettings) -> tuple[Any, Any]:
    """Lhotse's layer that cuts and windows frames, and its filters, (F, S).

    Imported here because that takes seconds.
    """
    from lhotse.features.kaldi import layers
    from torch.nn.functional import pad

    rate = settings.sampling_rate_hz
    with warnings.catch_warnings():
        # It warns that snip_edges changes the number of frames, which is meant here; numpy warns of its code.
        warnings.filterwarnings("ignore", message=".*snip_edges")
        warnings.filterwarnings("ignore", message=".*__array_wrap__", category=DeprecationWarning)
        windows = layers.Wav2Win(
            sampling_rate=rate,
            # lhotse rounds seconds * rate down: half a sample more gives just our whole numbers
            frame_length=(settings.length_samples + 0.5) / rate,
            frame_shift=(settings.shift_samples + 0.5) / rate,
            remove_dc_offset=settings.remove_dc_offset,
            preemph_coeff=settings.preemphasis,
            window_type=settings.window,
            dither=0.0,
            snip_edges=True,
        )
        filters, _ = layers.get_mel_banks(
            settings.num_mel_bins, settings.fft_length, rate, settings.low_freq_hz, settings.band_end_hz
        )
    # the last line, half the sampling rate, is in no filter
    return windows, pad(filters, (0, 1))


def as_matrices(settings: FbankSettings) -> tuple[npt.NDArray[np.float64], Floats]:
    """The filterbank as two linear maps, for code that makes the same features elsewhere.

    Returns:
        The first takes a frame of L samples to the real, then the imaginary parts of the lines of its
        spectrum, (L, 2 S): mean, preemphasis and window are in it, the scale of the samples too.  The second
        takes the power of these lines (or its root, the magnitude) to the energies of the filters, (S, F).
    """
    import torch

    windows, filters = _layers(settings)
    frames = torch.eye(settings.length_samples, dtype=torch.float32)  # recordings of one frame, a sample each
    windowed = windows(frames)[0][:, 0].double().numpy()  # (L, L)
    spectrum = np.fft.rfft(windowed, settings.fft_length, axis=1)
    scale = INT16_SCALE if settings.sample_scale == "int16" else 1.0
    return scale * np.concatenate([spectrum.real, spectrum.imag], axis=1), filters.T.numpy().copy()
