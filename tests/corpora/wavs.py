"""Many small recordings in little time."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np


def write_wav(path: Path, seed: int, *, rate_hz: int = 16000, channels: int = 1) -> Path:
    """A twentieth of a second of noise, which the seed names, 16 bits a sample."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as stream:
        stream.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        size = rate_hz // 20 * channels
        stream.writeframes(np.random.default_rng(seed).integers(-3000, 3000, size, np.int16).tobytes())
    return path
