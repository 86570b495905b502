"""Do posteriors mean what they say: among decisions of confidence 0.8, are 80 % right?

Shapes: N decisions, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser.scoring.log_linear import log_posteriors
from ser.scoring.metrics import Counts, Floats

NUM_BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Decisions sorted into bins of equal width by their confidence, the highest posterior."""

    confidence: Floats  # (B,) mean; NaN where a bin is empty
    accuracy: Floats  # (B,) share of right ones; NaN where a bin is empty
    counts: Counts  # (B,)

    @property
    def ece(self) -> float:
        """The expected calibration error: |accuracy - confidence|, mean over the decisions; in [0, 1]."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled] * self.counts[filled]
        return float(gaps.sum() / self.counts.sum())


def reliability(
    posteriors: npt.ArrayLike, references: npt.ArrayLike, num_bins: int = NUM_BINS
) -> Reliability:
    """Compare confidence with accuracy.

    Args:
        posteriors: (N, K), N > 0.
        references: class indices, (N,).
        num_bins: B; bin b holds confidences from b / B to below (b + 1) / B, the last one also 1.
    """
    rows = np.asarray(posteriors, np.float64)
    confidence = rows.max(-1)
    right = rows.argmax(-1) == np.asarray(references)
    bins = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    counts: Counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, values, num_bins) / counts for values in (confidence, right)]
    return Reliability(means[0], means[1], counts)


def log_loss(posteriors: Floats, references: Counts) -> float:
    """Mean of -log p(reference), nats, of (N, K) with N > 0; a probability is floored before the logarithm.

    It is least where posteriors are both right and as sure as they may be; even posteriors have log K.
    """
    return float(-log_posteriors(posteriors)[np.arange(len(references)), references].mean())
