"""Do posteriors mean what they say: among decisions of confidence 0.8, are 80 % right?

Shapes: N decisions, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser.scoring.log_linear import CALIBRATION_UTTS, log_posteriors, penalised
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


def temper(posteriors: Floats, temperature: float) -> Floats:
    """Posteriors to the power of one over a temperature, renormalised.

    Args:
        posteriors: (..., K), rows sum to 1.
        temperature: above 0; above 1 it makes them less sure, 1 leaves them as they are.

    >>> temper(np.array([0.8, 0.2]), 0.5).round(4).tolist()
    [0.9412, 0.0588]
    """
    if temperature == 1.0:
        return np.asarray(posteriors, np.float64)
    logs = log_posteriors(np.asarray(posteriors, np.float64)) / temperature
    powers = np.exp(logs - logs.max(-1, keepdims=True))
    tempered: Floats = powers / powers.sum(-1, keepdims=True)
    return tempered


def fit_temperature(posteriors: Floats, references: Counts) -> float:
    """The temperature under which references are likeliest, drawn a little towards 1.

    Args:
        posteriors: (N, K), N > 0.
        references: class indices, (N,).

    Returns:
        It; infinite where the posteriors tell nothing of the references.
    """
    power = float(penalised(log_posteriors(posteriors)[None], references, CALIBRATION_UTTS)[0])
    return 1 / power if power > 0 else float("inf")
