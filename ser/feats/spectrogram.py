"""The extractor ``spectrogram``: lines of the short-time Fourier transform up to a frequency.

Satt, Rozenberg & Hoory (2017), Li et al. (2018) and Wu et al. (2019), references [42], [43] and [24] of the
paper, read 40 ms Hamming windows every 10 ms up to 4 kHz, in lines of 20 or 10 Hz.

Shapes: N samples, T frames, L lines up to the highest frequency, F = L / ``average_lines``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from ser.errors import DataError
from ser.feats.base import INT16_SCALE, Floats
from ser.feats.framing import Framing
from ser.ranges import Range

if TYPE_CHECKING:
    from ser.feats.audio import LongRecording

FLOOR = 1.0  # of the power, so that digital silence is not far below what 16 bits can say


@dataclass(frozen=True)
class SpectrogramSettings:
    """Which lines, of which frames."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME
    frame_length_ms: Annotated[float, Range(above=0, most=10000)]  # of the Hamming window
    frame_shift_ms: Annotated[float, Range(above=0, most=10000)]  # one sample or more
    line_hz: Annotated[float, Range(above=0, most=1000)]  # from one line to the next
    high_freq_hz: Annotated[float, Range(above=0, most=384000)]  # the lines below it are kept, from 0 Hz on
    average_lines: Annotated[int, Range(1, 1000)]  # neighbours whose mean power is one value; 1: each its own
    scale: Literal["log_power", "magnitude"]  # natural log of the power, or its root


class Spectrogram:
    """Frames that lie wholly inside the recording, of samples that reach 32768.

    The window is symmetric, and zeros fill it up to the length of the transform.
    """

    Settings: ClassVar[type[Any]] = SpectrogramSettings
    versions: ClassVar[dict[str, str]] = {}
    in_blocks: ClassVar[bool] = True  # takes a long recording from its file, block by block

    def __init__(self, settings: SpectrogramSettings, sampling_rate_hz: int) -> None:
        """Frames are whole samples, rounded down as Kaldi does.

        Raises:
            ValueError: the lines do not fit the frames or the sampling rate.
        """
        self._frames = Framing.of(settings.frame_length_ms, settings.frame_shift_ms, sampling_rate_hz)
        self._size = round(sampling_rate_hz / settings.line_hz)  # of the transform, in samples
        lines = round(settings.high_freq_hz / settings.line_hz)
        self._settings, self._lines = settings, lines
        self.dim = lines // settings.average_lines
        rules = (
            (
                "line_hz",
                self._size * settings.line_hz == sampling_rate_hz and self._size >= self._frames.length,
                f"divide the sampling rate, {sampling_rate_hz}, into a transform no shorter than a frame",
            ),
            (
                "high_freq_hz",
                lines * settings.line_hz == settings.high_freq_hz <= sampling_rate_hz / 2,
                f"be a multiple of line_hz, and at most {sampling_rate_hz / 2:g}, half the sampling rate",
            ),
            ("average_lines", lines % settings.average_lines == 0, f"divide the {lines} lines"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ValueError(f"{name} must {rule}, got {getattr(settings, name)}")
        self.min_samples, self.timing = self._frames.length, self._frames.timing

    def compute(self, samples: Floats | LongRecording, key: str) -> Floats:  # noqa: ARG002  (part of the contract)
        """The lines of one recording, (T, F).

        Raises:
            DataError: it is shorter than a frame.
        """
        length = self._frames.length
        if len(samples) < length:
            raise DataError(
                f"has {len(samples)} samples, fewer than a frame of {length}; leave it out where the corpus "
                "is prepared"
            )
        window = np.hamming(length) * INT16_SCALE
        values: Floats = np.empty((self._frames.count(len(samples)), self.dim), np.float32)
        for span, frames in self._frames.blocks(samples):
            spectrum = np.fft.rfft(frames * window, self._size)[:, : self._lines]
            power = (spectrum.real**2 + spectrum.imag**2).reshape(len(frames), self.dim, -1).mean(axis=2)
            log_power = self._settings.scale == "log_power"
            values[span] = np.log(np.maximum(power, FLOOR)) if log_power else np.sqrt(power)
        return values
