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

from collections.abc import Sequence
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


def spearman(one: Sequence[float] | Floats, two: Sequence[float] | Floats) -> float:
    """Rank correlation of two series of the same length, ties at their mean rank; NaN if one does not vary.

    >>> round(spearman([1, 2, 3, 4], [10, 20, 40, 30]), 3), spearman([1, 1, 1], [1, 2, 3])
    (0.8, nan)
    """
    from scipy.stats import spearmanr

    if min(np.ptp(one), np.ptp(two)) == 0:
        return float("nan")
    return float(spearmanr(one, two).statistic)


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


# --------------------------------------------------------------------------------- several runs of a system
#
# R runs (seeds) of a system; a system that has one run stands beside each of the other's.


def mean_bootstrap(confusions: Counts, metric: str, num_draws: int, seed: int) -> Interval | None:
    """The 95 % interval over draws of speakers of a score's mean over the runs.

    Args:
        confusions: a matrix for each run and speaker, (R, S, K, K).
        metric: a name in :data:`ser.scoring.metrics.METRICS`.
        num_draws: D; 0 asks for no interval.
        seed: the same seed draws the same speakers.

    Returns:
        Both ends in [0, 1]; None for one speaker, or no draws.
    """
    if confusions.shape[1] < 2 or num_draws == 0:
        return None
    return percentiles(_drawn(confusions, metric, num_draws, seed).mean(1))


def _drawn(confusions: Counts, metric: str, num_draws: int, seed: int) -> Floats:
    """A score of each run with each draw of speakers, (D, R)."""
    draws = draw_speakers(confusions.shape[1], num_draws, seed)
    values: Floats = METRICS[metric](np.tensordot(draws, confusions, (1, 1)))  # of (D, R, K, K)
    return values


def difference_interval(
    first: Counts, second: Counts, metric: str, num_draws: int, seed: int
) -> Interval | None:
    """The 95 % interval of the second system's mean score minus the first's, over draws of speakers and runs.

    Each draw takes S speakers and R runs with replacement, the same for both systems, so that the interval
    holds what other speakers and other seeds would change.

    Args:
        first: (R or 1, S, K, K).
        second: the same speakers, and runs of the same seeds, (R or 1, S, K, K).
        metric: a name in :data:`ser.scoring.metrics.METRICS`.
        num_draws: D.
        seed: the same seed draws the same speakers and runs.

    Returns:
        Both ends; None for one speaker, or no draws.
    """
    if first.shape[1] < 2 or num_draws == 0:
        return None
    changes = _drawn(second, metric, num_draws, seed) - _drawn(first, metric, num_draws, seed)  # (D, R)
    runs = changes.shape[1]
    weights = np.random.default_rng((seed, 1)).multinomial(runs, np.full(runs, 1 / runs), size=num_draws)
    return percentiles((changes * weights).sum(1) / runs)


def randomisation(gains: Floats, num_draws: int, seed: int) -> Floats:
    """The two-sided p of approximate randomisation, utterances as independent, for several comparisons.

    If two systems were alike, an utterance's outcomes could be swapped between them; all its runs are swapped
    together, since they are of one recording.

    Args:
        gains: what each utterance adds to the difference of the scores, (M, N): mean over the runs of right
            (1) or wrong (0) in the second minus that in the first, times the utterance's weight in the score.
        num_draws: D swaps.
        seed: the same seed swaps the same utterances.

    Returns:
        (M,): (1 + draws whose difference is as large) / (1 + D).
    """
    rng = np.random.default_rng(seed)
    observed = np.abs(gains.sum(1))  # (M,)
    large = np.zeros(len(gains))
    for begin in range(0, num_draws, _BLOCK):
        signs = rng.integers(0, 2, size=(min(_BLOCK, num_draws - begin), gains.shape[1]), dtype=np.int8)
        for some in np.array_split(signs, 1 + signs.size // _SIGNS):
            swapped = np.abs((2.0 * some - 1) @ gains.T)  # (draws, M)
            large += (swapped >= observed - 1e-12).sum(0)  # equal sums must not differ by rounding
    p: Floats = (1 + large) / (1 + num_draws)
    return p


_BLOCK = 500  # draws that are made at once
_SIGNS = 1 << 22  # of these, how many are numbers at once


def holm(p: Sequence[float] | Floats) -> list[float]:
    """Holm's step-down correction of several p values, so that one false finding among them stays rare.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
    return [float(value) for value in adjusted]
