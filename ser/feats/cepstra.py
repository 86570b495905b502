"""Mel cepstra of normalised log-Mel energies, first and second differences.

Shapes: T frames, F filters, C cepstra.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ser.feats.base import Floats
from ser.feats.cmvn import Doubles, normalise


def cepstra(log_mel: Floats, sums: Doubles, num_cepstra: int, window: int) -> Floats:
    """Cepstra and their differences.

    Args:
        log_mel: (T, F).
        sums: CMVN statistics (2, F + 1) of the speaker, with which every filter is normalised first.
        num_cepstra: C, the first of F that are kept, the one that is the level among them.
        window: frames either side over which a difference is taken.

    Returns:
        (T, 3C): cepstra, first and second differences; float32.
    """
    static = normalise(log_mel, sums) @ cosines(num_cepstra, log_mel.shape[1]).T
    first = differences(static, window)
    joined: Floats = np.concatenate([static, first, differences(first, window)], axis=1).astype(np.float32)
    return joined


def cosines(num_cepstra: int, num_filters: int) -> npt.NDArray[np.float64]:
    """The orthonormal discrete cosine transform (type 2), its first rows, (C, F)."""
    angles = np.pi * np.outer(np.arange(num_cepstra), np.arange(num_filters) + 0.5) / num_filters
    rows: npt.NDArray[np.float64] = np.sqrt(2 / num_filters) * np.cos(angles)
    rows[0] /= np.sqrt(2)
    return rows


def differences(values: npt.NDArray[Any], window: int) -> Doubles:
    """The slope of each column of (T, C) at each frame, by regression over ``window`` frames either side.

    >>> differences(np.arange(5.0)[:, None], 1).ravel().tolist()
    [0.5, 1.0, 1.0, 1.0, 0.5]
    """
    padded = np.pad(values, ((window, window), (0, 0)), "edge")
    T = len(values)
    slope = np.zeros(values.shape)
    for i in range(1, window + 1):
        slope += i * (padded[window + i : window + i + T] - padded[window - i : window - i + T])
    total: Doubles = slope / (2 * sum(i * i for i in range(1, window + 1)))
    return total
