"""Fusion of systems by their posteriors.

The paper says that the second system's posterior is "scaled by 0.4 then multiplied" with the first's.  A
constant factor changes no decision, so 0.4 is read as an exponent (``power``, the default):

    power     p ~ p_1 * p_2^w_2 * p_3^w_3 ...
    product   the same with all weights 1
    linear    p ~ p_1 + w_2 p_2 + w_3 p_3 ...

renormalised for each utterance.  The first system has weight 1; with all other weights 0 its posteriors
come back as they are.

An utterance that a system lists in ``not_scored`` is fused from the others, the first of which then has
weight 1 (so a single one's posteriors come back as they are); with none of a weight above 0 left it is
not scored.

Shapes: N utterances, K classes, M systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.data import tables
from ser.errors import DataError
from ser.scoring.evaluate import Scored
from ser.scoring.metrics import Counts, Floats, confusion_matrix, decide, uar
from ser.scoring.posteriors import Posteriors

MODES = ("power", "product", "linear")
CRITERIA = ("nll", "uar")
FLOOR = 1e-10  # probabilities below are raised to it before the logarithm
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.67, 2.5, 5.0, 10.0)  # symmetric about 1
_SHARPNESS = np.geomspace(0.05, 5.0, 41)


def fuse_posteriors(posteriors: Sequence[Floats], weights: Sequence[float], mode: str) -> Floats:
    """Fuse the posteriors of M systems for the same utterances.

    Args:
        posteriors: M arrays (N, K) of probabilities.
        weights: M numbers of at least 0, the first above 0.
        mode: one of :data:`MODES`.

    Returns:
        (N, K), rows sum to 1; the first array itself when no other has a weight above 0.
    """
    if mode == "product":
        weights = [1.0] * len(posteriors)
    used = [(p, w / weights[0]) for p, w in zip(posteriors, weights, strict=True) if w > 0]
    if len(used) == 1:
        return posteriors[0]
    if mode == "linear":
        fused = np.sum([w * p for p, w in used], axis=0)
    else:
        logs = np.sum([w * np.log(np.maximum(p, FLOOR)) for p, w in used], axis=0)
        fused = np.exp(logs - logs.max(-1, keepdims=True))
    normalised: Floats = fused / fused.sum(-1, keepdims=True)
    return normalised


@dataclass(frozen=True)
class Fused:
    """Result of a fusion."""

    posteriors: dict[str, Floats]  # utterance -> (K,), sums to 1
    not_scored: dict[str, str]  # utterance -> reason
    n_partial: int  # fused, but not from all systems


def fuse(outputs: Sequence[Posteriors], weights: Sequence[float], mode: str) -> Fused:
    """Fuse the posteriors of systems of the same classes and utterances.

    Args:
        outputs: of M systems.
        weights: M numbers of at least 0, the first is 1.
        mode: one of :data:`MODES`.

    Raises:
        DataError: a system is about other utterances than the first.
    """
    for output in outputs[1:]:
        tables.same_keys(outputs[0].keys, outputs[0].name, output.keys, output.name)
    if mode == "product":
        weights = [1.0] * len(outputs)
    groups: dict[tuple[int, ...], list[str]] = {}  # systems that scored an utterance -> such utterances
    for utt in sorted(outputs[0].keys):
        scoring = (i for i, output in enumerate(outputs) if weights[i] > 0 and utt in output.posteriors)
        groups.setdefault(tuple(scoring), []).append(utt)
    lost = groups.pop((), [])
    posteriors: dict[str, Floats] = {}
    for members, utts in groups.items():
        stacked = [np.stack([outputs[i].posteriors[utt] for utt in utts]) for i in members]
        fused = fuse_posteriors(stacked, [weights[i] for i in members], mode)
        posteriors |= dict(zip(utts, fused, strict=True))
    complete = tuple(i for i, weight in enumerate(weights) if weight > 0)
    return Fused(
        posteriors,
        {utt: next(each.not_scored[utt] for each in outputs if utt in each.not_scored) for utt in lost},
        len(posteriors) - len(groups.get(complete, [])),
    )


# --------------------------------------------------------------------------------------------- the weights


@dataclass(frozen=True)
class Trial:
    """What one weight gives on the tuning data."""

    weight: float
    uar: float  # [0, 1]
    nll: float  # nats, see balanced_nll


def balanced_nll(posteriors: Floats, references: Counts) -> float:
    """Mean over the classes of the mean -log p(reference), at the sharpness that suits best.

    How sharp posteriors are (``p^t``, renormalised) changes no decision, but a power fusion's sum of
    exponents grows with the weight.  The best of a grid of ``t`` is taken, so that what is compared between
    weights is what the systems say and not how boldly.

    Args:
        posteriors: (N, K).
        references: class indices, (N,).
    """
    logs = np.log(np.maximum(posteriors, FLOOR))  # (N, K)
    sharp = _SHARPNESS[:, None, None] * logs  # (G, N, K)
    sharp -= sharp.max(-1, keepdims=True)
    costs = np.log(np.exp(sharp).sum(-1)) - sharp[:, np.arange(len(references)), references]  # (G, N)
    means = [costs[:, references == label].mean(-1) for label in np.unique(references)]
    return float(np.mean(means, axis=0).min())


def try_weights(
    first: Floats, second: Floats, references: Counts, mode: str, grid: Sequence[float] = GRID
) -> list[Trial]:
    """Fuse two systems with every weight of a grid.

    Args:
        first: (N, K), weight 1.
        second: (N, K).
        references: class indices, (N,).
        mode: ``power`` or ``linear``.
        grid: rising weights.
    """
    trials = []
    for weight in grid:
        fused = fuse_posteriors([first, second], [1.0, weight], mode)
        confusion = confusion_matrix(references, decide(fused), fused.shape[1])
        trials.append(Trial(weight, float(uar(confusion)), balanced_nll(fused, references)))
    return trials


def best_weight(trials: Sequence[Trial], criterion: str) -> float:
    """The weight of the best trial; of equally good ones the middle of their longest run.

    Args:
        trials: by rising weight.
        criterion: ``nll`` (lowest; the default of the verb: it moves with every utterance, so that a few
            hundred are enough) or ``uar`` (highest; what is reported, but a step function of the weight
            that a handful of utterances decides).
    """
    values = [trial.nll if criterion == "nll" else -trial.uar for trial in trials]
    runs: list[list[float]] = [[]]
    for trial, value in zip(trials, values, strict=True):
        if value <= min(values) + 1e-12:
            runs[-1].append(trial.weight)
        elif runs[-1]:
            runs.append([])
    run = max(runs, key=len)
    return run[(len(run) - 1) // 2]


@dataclass(frozen=True)
class Tuning:
    """Weights found on tuning data, and how."""

    weights: list[float]  # M, the first is 1
    curves: list[list[Trial]]  # one for each system after the first
    n_utts: int


def tune(scored: Sequence[Scored], mode: str, criterion: str) -> Tuning:
    """Find the weights on tuning data: the second system's first, then the third's beside the fused two ...

    Args:
        scored: M systems on the same tuning data; utterances that one did not score are left out.
        mode: ``power`` or ``linear``.
        criterion: see :func:`best_weight`.

    Raises:
        DataError: no utterance is scored by all.
    """
    common = sorted(set.intersection(*(set(each.keys) for each in scored)))
    if not common:
        raise DataError(
            "--dev-decode: no utterance is scored by all systems; tune on systems of the same data"
        )
    places = [{utt: row for row, utt in enumerate(each.keys)} for each in scored]
    rows = [[place[utt] for utt in common] for place in places]
    truth = scored[0].references[rows[0]]
    so_far, *others = (each.posteriors[row] for each, row in zip(scored, rows, strict=True))
    weights, curves = [1.0], []
    for other in others:
        curves.append(try_weights(so_far, other, truth, mode))
        weight = best_weight(curves[-1], criterion)
        so_far = fuse_posteriors([so_far, other], [1.0, weight], mode)
        # a linear fusion was normalised: beside the others' sum of weights, not beside 1
        weights.append(weight * sum(weights) if mode == "linear" else weight)
    return Tuning(weights, curves, len(common))
