"""Which differences between systems hold: paired tests over the same utterances and seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ser.reporting.study import CSA, NUM_DRAWS, OURS, SEED, Study
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


def pairs(study: Study) -> Iterator[tuple[Runs, Runs]]:
    """What is compared, the one that is subtracted first.

    All systems against BLSTMATT, other contexts and the fusion against the CSA that was fused, and the
    fusion against baselines.
    """
    ours = study.system("syscomb_dev") or study.system("syscomb")
    blstmatt, csa = study.system("blstmatt"), study.system(study.fused)
    for second in study.runs:
        if blstmatt is not None and second is not blstmatt:
            yield blstmatt, second
    for second in study.runs:
        if csa is not None and second is not csa and (second is ours or CSA.fullmatch(second.name)):
            yield csa, second
    for first in study.runs:
        if ours is not None and not OURS.fullmatch(first.name):
            yield first, ours


def compare(study: Study) -> list[Comparison]:
    """Answer them, with Holm's correction over all; a pair without a common seed is left out."""
    asked = [pair for pair in ((a, b, *_paired(a, b)) for a, b in pairs(study)) if pair[2]]
    gains = np.zeros((len(asked), len(study.test.utts)))
    found = []
    for row, (first, second, one, two) in enumerate(asked):
        both = first.scored & second.scored
        weights = _weights(study, both)
        right = [
            (runs.hypotheses[rows] == study.test.truth).mean(0)
            for runs, rows in ((first, one), (second, two))
        ]
        gains[row] = (right[1] - right[0]) * weights
        matrices = [runs.confusions(study.test, both)[rows] for runs, rows in ((first, one), (second, two))]
        interval = difference_interval(matrices[0], matrices[1], METRIC, NUM_DRAWS, SEED)
        means = [METRICS[METRIC](each.sum(1)).mean() for each in matrices]
        found.append((first.name, second.name, means[1] - means[0], interval, int(both.sum()), len(one)))
    if not found:
        return []
    p = randomisation(gains, NUM_SWAPS, SEED)
    return [
        Comparison(first, second, float(change), interval, float(raw), float(corrected), n_utts, n_runs)
        for (first, second, change, interval, n_utts, n_runs), raw, corrected in zip(
            found, p, holm(p), strict=True
        )
    ]


def _paired(first: Runs, second: Runs) -> tuple[list[int], list[int]]:
    """The runs of either that stand side by side: of the same seed, or the only one beside each."""
    if len(first.seeds) == 1 or len(second.seeds) == 1:
        most = max(len(first.seeds), len(second.seeds))
        return [i % len(first.seeds) for i in range(most)], [i % len(second.seeds) for i in range(most)]
    common = [seed for seed in first.seeds if seed in second.seeds]
    return [first.seeds.index(seed) for seed in common], [second.seeds.index(seed) for seed in common]


def _weights(study: Study, chosen: Bools) -> Floats:
    """What an utterance counts in UAR: 1 / (classes x utterances of its class); 0 where not chosen."""
    counts = np.bincount(study.test.truth[chosen], minlength=len(study.test.emotions))
    present = int((counts > 0).sum())
    weights: Floats = np.where(chosen, 1 / np.maximum(1, counts[study.test.truth] * present), 0.0)
    return weights
