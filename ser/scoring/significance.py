"""How far a score, or the difference between two, could be chance.

Utterances of one speaker are alike, so the unit that is drawn again is the speaker: a bootstrap over
speakers says how a score would move with other speakers of the same kind.  With one speaker there is
nothing to draw, and the interval does not exist (None).  With few speakers (IEMOCAP's session 5 has
two) it is too narrow: it cannot show speakers unlike those that were recorded.

The binomial interval and McNemar's test take utterances as independent; they say what so many
utterances can show, for these speakers only.

Shapes: S speakers, K classes, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser.scoring.metrics import METRICS, Counts, Floats

LEVEL = 0.95
Interval = tuple[float, float]


def by_speaker(
    references: npt.ArrayLike, hypotheses: npt.ArrayLike, speakers: npt.ArrayLike, num_classes: int
) -> Counts:
    """One confusion matrix per speaker.

    Args:
        references: class indices, (N,).
        hypotheses: class indices, (N,).
        speakers: names, (N,).
        num_classes: K.

    Returns:
        (S, K, K), speakers in sorted order.
    """
    names, index = np.unique(np.asarray(speakers), return_inverse=True)
    counts = np.zeros((len(names), num_classes, num_classes), np.int64)
    np.add.at(counts, (index, np.asarray(references, np.int64), np.asarray(hypotheses, np.int64)), 1)
    return counts


def draw_speakers(num_speakers: int, num_draws: int, seed: int) -> Counts:
    """How often each speaker is in each draw, (D, S); S speakers are drawn, with replacement."""
    shares = np.full(num_speakers, 1.0 / num_speakers)
    return np.random.default_rng(seed).multinomial(num_speakers, shares, size=num_draws)


def percentiles(values: Floats) -> Interval:
    """The middle 95 % of values, NaN aside."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values[~np.isnan(values)], [tail, 1 - tail])
    return float(low), float(high)


def bootstrap(confusions: Counts, metric: str, num_draws: int, seed: int) -> Interval | None:
    """The 95 % percentile interval of a score over draws of speakers.

    Args:
        confusions: one matrix per speaker, (S, K, K).
        metric: a name in :data:`ser.scoring.metrics.METRICS`.
        num_draws: D; 0 asks for no interval.
        seed: the same seed draws the same speakers.

    Returns:
        Both ends in [0, 1]; None for one speaker, or no draws.
    """
    if len(confusions) < 2 or num_draws == 0:
        return None
    draws = draw_speakers(len(confusions), num_draws, seed)
    return percentiles(METRICS[metric](np.tensordot(draws, confusions, 1)))  # of (D, K, K)


def binomial(successes: int, trials: int) -> Interval:
    """The exact (Clopper-Pearson) 95 % interval of a share of independent trials."""
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    failures = trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test, 1 when the systems never differ.

    Args:
        only_first: utterances that only the first system has right.
        only_second: utterances that only the second system has right.
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


@dataclass(frozen=True)
class Difference:
    """A score of the second system minus that of the first."""

    value: float
    interval: Interval | None  # 95 %, over speakers
    p: float | None  # two-sided: how often a draw of speakers turns the sign


def paired_bootstrap(first: Counts, second: Counts, metric: str, num_draws: int, seed: int) -> Difference:
    """The difference of two systems on the same utterances, both seen with the same draws of speakers.

    Args:
        first: one matrix per speaker, (S, K, K).
        second: the same speakers in the same order, (S, K, K).
        metric: a name in :data:`ser.scoring.metrics.METRICS`.
        num_draws: D; 0 asks for the difference only.
        seed: the same seed draws the same speakers.
    """
    measure = METRICS[metric]
    value = float(measure(second.sum(0)) - measure(first.sum(0)))
    if len(first) < 2 or num_draws == 0:
        return Difference(value, None, None)
    draws = draw_speakers(len(first), num_draws, seed)
    changes = measure(np.tensordot(draws, second, 1)) - measure(np.tensordot(draws, first, 1))
    changes = changes[~np.isnan(changes)]
    # equal systems: rounding must not look like a direction
    below, above = int((changes <= 1e-12).sum()), int((changes >= -1e-12).sum())
    p = min(1.0, 2 * (1 + min(below, above)) / (1 + len(changes)))
    return Difference(value, percentiles(changes), p)
