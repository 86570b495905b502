"""Which differences between systems hold: paired tests over the same utterances and seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ser.reporting.study import NUM_DRAWS, SEED, Study
from ser.scoring.metrics import METRICS, Floats
from ser.scoring.runs import Bools, Runs
from ser.scoring.significance import LEVEL, Interval, difference_interval, holm, randomisation

METRIC = "uar"
NUM_SWAPS = 10_000
SUPPORTED, HERE, UNSUPPORTED = "supported", "for these speakers only", "not supported"


@dataclass(frozen=True)
class Comparison:
    """The second system's mean UAR minus the first's, on the utterances that both scored in all runs."""

    first: str
    second: str
    difference: float
    interval: Interval | None  # 95 %, over speakers and seeds
    p: float  # approximate randomisation over utterances
    p_holm: float
    n_utts: int
    n_runs: int

    @property
    def verdict(self) -> str:
        """What may be said of the difference.

        ``supported``: the corrected p is below 0.05 and the interval over other speakers and seeds leaves 0
        out.  ``for these speakers only``: the p is, but the interval holds 0, or there is one speaker.
        """
        if self.p_holm >= 1 - LEVEL:
            return UNSUPPORTED
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return HERE
        return SUPPORTED


def pairs(study: Study) -> list[tuple[Runs, Runs]]:
    """The pairs of systems to compare, the one that is subtracted first; none twice.

    All systems against the plan's first; the other contexts of the system that was fused, and the fusion,
    against that system; the fusion against all that is not ours (see :attr:`Study.ours`); every fusion
    against its best member.
    """
    fusion = study.system(study.fusion.name) if study.fusion else None
    fused = study.system(study.fused) if study.fused else None
    asked = [(study.first, second) for second in study.runs]
    if fused and fusion:
        others = {*study.siblings(fused.name), fusion.name}
        asked += [(fused, second) for second in study.runs if second.name in others]
        asked += [(first, fusion) for first in study.runs if first.name not in study.ours]
    for each in study.plan.fusions:
        best, whole = study.best_member(each), study.system(each.name)
        asked += [(best, whole)] if best and whole else []
    unique: dict[frozenset[str], tuple[Runs, Runs]] = {}
    for first, second in asked:
        if first is not second:
            unique.setdefault(frozenset((first.name, second.name)), (first, second))
    return list(unique.values())


def compare(study: Study) -> list[Comparison]:
    """Test every pair; p-values are Holm-corrected.  A pair without a common seed is left out."""
    tested = [result for result in (_compare(study, *pair) for pair in pairs(study)) if result]
    if not tested:
        return []
    p = randomisation(np.stack([gains for _, gains in tested]), NUM_SWAPS, SEED)
    return [
        replace(comparison, p=float(raw), p_holm=float(corrected))
        for (comparison, _), raw, corrected in zip(tested, p, holm(p), strict=True)
    ]


def _compare(study: Study, first: Runs, second: Runs) -> tuple[Comparison, Floats] | None:
    """The comparison, its p-values still NaN, and what each utterance adds to the difference, (N,)."""
    rows = _paired(first, second)
    if not rows[0]:
        return None
    both = first.scored & second.scored
    right, matrices = [], []
    for runs, chosen in zip((first, second), rows, strict=True):
        right.append((runs.hypotheses[chosen] == study.test.truth).mean(0))
        matrices.append(runs.confusions(study.test, both)[chosen])
    means = [float(METRICS[METRIC](each.sum(1)).mean()) for each in matrices]
    interval = difference_interval(matrices[0], matrices[1], METRIC, NUM_DRAWS, SEED)
    comparison = Comparison(
        first.name, second.name, means[1] - means[0], interval, np.nan, np.nan, int(both.sum()), len(rows[0])
    )
    return comparison, (right[1] - right[0]) * _weights(study, both)


def _paired(first: Runs, second: Runs) -> tuple[list[int], list[int]]:
    """Indices of the runs to pair: same seed, or the single run against each."""
    if len(first.seeds) == 1 or len(second.seeds) == 1:
        most = max(len(first.seeds), len(second.seeds))
        return [i % len(first.seeds) for i in range(most)], [i % len(second.seeds) for i in range(most)]
    common = [seed for seed in first.seeds if seed in second.seeds]
    return [first.seeds.index(seed) for seed in common], [second.seeds.index(seed) for seed in common]


def _weights(study: Study, chosen: Bools) -> Floats:
    """Weight of each utterance in UAR, (N,): 1 / (classes x utterances of its class); 0 where not chosen."""
    counts = np.bincount(study.test.truth[chosen], minlength=len(study.test.emotions))
    present = int((counts > 0).sum())
    weights: Floats = np.where(chosen, 1 / np.maximum(1, counts[study.test.truth] * present), 0.0)
    return weights
