"""The extractor ``energy``: the log energy of each frame, as Kaldi's ``--raw-energy`` has it.

Shapes: N samples, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ser.feats.base import INT16_SCALE, Floats
from ser.feats.framing import Framing
from ser.ranges import Range

if TYPE_CHECKING:
    from ser.feats.audio import LongRecording

SMALLEST = float(np.finfo(np.float32).eps)  # Kaldi's floor of an energy


@dataclass(frozen=True)
class EnergySettings:
    """Which frames the energy is of."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME
    frame_length_ms: Annotated[float, Range(above=0, most=10000)]  # two samples or more
    frame_shift_ms: Annotated[float, Range(above=0, most=10000)]  # one sample or more
    remove_dc_offset: bool  # subtract each frame's mean


# conf/energy.yaml's, where there is no conf/
RECIPE = EnergySettings("energy", frame_length_ms=25.0, frame_shift_ms=10.0, remove_dc_offset=True)


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
        self._frames = Framing.of(settings.frame_length_ms, settings.frame_shift_ms, sampling_rate_hz)
        self._remove_dc_offset, self.timing = settings.remove_dc_offset, self._frames.timing

    def compute(self, samples: Floats | LongRecording, key: str) -> Floats:  # noqa: ARG002  (part of the contract)
        """Natural log of the sum of squares of each frame, of samples that reach 32768, (T, 1)."""
        energies: Floats = np.empty((self._frames.count(len(samples)), 1), np.float32)
        for span, values in self._frames.blocks(samples):
            frames = values * INT16_SCALE
            if self._remove_dc_offset:
                frames -= frames.mean(axis=1, keepdims=True)
            energy = np.einsum("tn,tn->t", frames, frames)
            energies[span, 0] = np.log(np.maximum(energy, SMALLEST))
        return energies
