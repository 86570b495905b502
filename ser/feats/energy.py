"""The extractor ``energy``: the log energy of each frame, as Kaldi's ``--raw-energy`` has it.

Shapes: N samples, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ser.feats.base import Floats, Timing
from ser.ranges import Range

if TYPE_CHECKING:
    from ser.feats.audio import LongRecording

INT16_SCALE = 32768.0  # a sample of 1.0 in Kaldi's units
SMALLEST = float(np.finfo(np.float32).eps)  # Kaldi's floor of an energy
_BLOCK_FRAMES = 512  # frames at a time, which bounds the memory of a long recording


@dataclass(frozen=True)
class EnergySettings:
    """Which frames the energy is of."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME
    frame_length_ms: Annotated[float, Range(above=0, most=10000)]  # two samples or more
    frame_shift_ms: Annotated[float, Range(above=0, most=10000)]  # one sample or more
    remove_dc_offset: bool  # subtract each frame's mean


class Energy:
    """Log energies of frames that lie wholly inside the recording; of a shorter one, of all of it."""

    Settings: ClassVar[type[Any]] = EnergySettings
    versions: ClassVar[dict[str, str]] = {}
    in_blocks: ClassVar[bool] = True  # takes a long recording from its file, block by block
    dim: ClassVar[int] = 1

    def __init__(self, settings: EnergySettings, sampling_rate_hz: int) -> None:
        """Frames are whole samples, rounded down as Kaldi does.

        Raises:
            ValueError: a frame or its shift is too short.
        """
        self._length = int(sampling_rate_hz * 0.001 * settings.frame_length_ms)
        self._shift = int(sampling_rate_hz * 0.001 * settings.frame_shift_ms)
        self._remove_dc_offset = settings.remove_dc_offset
        for name, samples, least in (("length", self._length, 2), ("shift", self._shift, 1)):
            if samples < least:
                words = {1: "one sample", 2: "two samples"}[least]
                value = getattr(settings, f"frame_{name}_ms")
                raise ValueError(f"frame_{name}_ms must be {words} or more, got {value}")
        self.timing = Timing(self._shift / sampling_rate_hz, self._length / 2 / sampling_rate_hz)

    def compute(self, samples: Floats | LongRecording, key: str) -> Floats:  # noqa: ARG002  (part of the contract)
        """Natural log of the sum of squares of each frame, of samples that reach 32768, (T, 1)."""
        length = min(self._length, len(samples))
        total = 1 + (len(samples) - length) // self._shift
        energies: Floats = np.empty((total, 1), np.float32)
        for first in range(0, total, _BLOCK_FRAMES):
            last = min(total, first + _BLOCK_FRAMES)
            block = samples[first * self._shift : (last - 1) * self._shift + length]
            scaled = np.asarray(block, np.float64) * INT16_SCALE
            frames = np.lib.stride_tricks.sliding_window_view(scaled, length)[:: self._shift]
            if self._remove_dc_offset:
                frames = frames - frames.mean(axis=1, keepdims=True)
            energy = np.einsum("tn,tn->t", frames, frames)
            energies[first:last, 0] = np.log(np.maximum(energy, SMALLEST))
        return energies
