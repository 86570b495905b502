"""Recordings cut into frames that lie wholly inside them.

Shapes: N samples, T frames, L samples of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser.feats.base import Floats, Timing

if TYPE_CHECKING:
    from ser.feats.audio import LongRecording

Doubles = npt.NDArray[np.float64]
BLOCK_FRAMES = 512  # frames at a time, which bounds the memory of a long recording


@dataclass(frozen=True)
class Framing:
    """Frames of whole samples."""

    length: int  # of a frame, in samples, L
    shift: int  # from one to the next, in samples
    timing: Timing

    @classmethod
    def of(cls, frame_length_ms: float, frame_shift_ms: float, sampling_rate_hz: int) -> Framing:
        """Frames of settings, rounded down to samples as Kaldi does.

        Raises:
            ValueError: a frame or its shift is too short.
        """
        length = int(sampling_rate_hz * 0.001 * frame_length_ms)
        shift = int(sampling_rate_hz * 0.001 * frame_shift_ms)
        if length < 2:
            raise ValueError(f"frame_length_ms must be two samples or more, got {frame_length_ms}")
        if shift < 1:
            raise ValueError(f"frame_shift_ms must be one sample or more, got {frame_shift_ms}")
        return cls(length, shift, Timing(shift / sampling_rate_hz, length / 2 / sampling_rate_hz))

    def count(self, num_samples: int) -> int:
        """Frames of a recording, T; one of fewer samples than a frame has one, of all its samples."""
        return 1 + max(0, num_samples - self.length) // self.shift

    def blocks(self, samples: Floats | LongRecording) -> Iterator[tuple[slice, Doubles]]:
        """Frames in turn, a block of them at a time.

        Args:
            samples: (N,), N > 0.

        Yields:
            Which of the T frames they are, and their samples, a view, (n, L).
        """
        length, total = min(self.length, len(samples)), self.count(len(samples))
        for first in range(0, total, BLOCK_FRAMES):
            last = min(total, first + BLOCK_FRAMES)
            block = samples[first * self.shift : (last - 1) * self.shift + length]
            frames = np.lib.stride_tricks.sliding_window_view(np.asarray(block, np.float64), length)
            yield slice(first, last), frames[:: self.shift]
