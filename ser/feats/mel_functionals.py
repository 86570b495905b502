"""The extractor ``mel_functionals``: statistics of log-Mel filters and cepstra, one vector a recording.

Shapes: N samples, T frames, F filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ser.feats.base import Floats, Layout
from ser.feats.cepstra import cosines
from ser.feats.fbank import Fbank, FbankSettings
from ser.feats.trimming import TrimSettings, trimmed

Doubles = npt.NDArray[np.float64]

PERCENTILES = (5, 25, 50, 75, 95)
LAGS = (1, 2, 4, 8, 16, 32)  # frames between two values whose difference is taken
OF_EACH = 1 + len(PERCENTILES) + len(LAGS)  # statistics of a filter or cepstrum, besides the mean of a filter


@dataclass(frozen=True)
class MelFunctionalsSettings(FbankSettings):
    """The filterbank, and what it is of."""

    # what lies before and behind speech is left out; null, or no such key: nothing is
    trim: TrimSettings | None = None


class MelFunctionals:
    """The mean of every filter, and :func:`statistics` of all filters and of all cepstra."""

    Settings: ClassVar[type[Any]] = MelFunctionalsSettings
    timing: ClassVar[None] = None
    versions: ClassVar[dict[str, str]] = {}
    layout: ClassVar[Layout] = Layout(ordered=False)

    def __init__(self, settings: MelFunctionalsSettings, sampling_rate_hz: int) -> None:
        """``sampling_rate_hz`` is what ``settings`` say."""
        self._fbank, self._settings = Fbank(settings, sampling_rate_hz), settings
        self.min_samples = self._fbank.min_samples
        self.dim = (1 + 2 * OF_EACH) * settings.num_mel_bins

    def compute(self, samples: Floats, key: str) -> Floats:
        """The functionals of one recording, or of what is left of it, (F + 24 F,).

        Raises:
            DataError: it is shorter than a frame, or has samples whose energy is infinite.
        """
        settings = self._settings
        if settings.trim is not None:
            samples = trimmed(samples, settings.sampling_rate_hz, settings.trim, self.min_samples)
        log_mel = self._fbank.compute(samples, key).astype(np.float64)  # (T, F)
        cepstra = log_mel @ cosines(settings.num_mel_bins, settings.num_mel_bins).T  # (T, F)
        means = log_mel.mean(axis=0)  # those of the cepstra follow from them
        vector: Floats = np.concatenate([means, statistics(log_mel), statistics(cepstra)]).astype(np.float32)
        return vector


def statistics(values: Doubles) -> Doubles:
    """What the columns of (T, F) are like over time, (12 F,).

    The standard deviation; five percentiles; and the mean magnitude of the difference between values so many
    frames apart, for six lags, which tells how fast they change: 0 where there are no two such frames.

    >>> statistics(np.arange(4.0)[:, None]).round(3).tolist()
    [1.118, 0.15, 0.75, 1.5, 2.25, 2.85, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    """
    changes = [
        np.abs(values[lag:] - values[:-lag]).mean(axis=0) if len(values) > lag else np.zeros(values.shape[1])
        for lag in LAGS
    ]
    joined: Doubles = np.concatenate(
        [values.std(axis=0), *np.percentile(values, PERCENTILES, axis=0), *changes]
    )
    return joined
