"""Fusion of systems by their posteriors.

The paper says that the second system's posterior is "scaled by 0.4 then multiplied" with the first's.  A
constant factor changes no decision, so 0.4 is read as an exponent (``power``, the default):

    power     p ~ p_1 * p_2^w_2 * p_3^w_3 ...
    product   the same with all weights 1
    mean      the same with all weights 1 / M, the geometric mean
    linear    p ~ p_1 + w_2 p_2 + w_3 p_3 ...

renormalised for each utterance.  The first system has weight 1; with all other weights 0 its posteriors
come back as they are.  Weights by the criterion ``logistic`` (:mod:`ser.scoring.log_linear`) are those of all
systems, the first one's too.

An utterance that a system lists in ``not_scored`` is fused from the others.  The first of them then has
weight 1 (so a single one's posteriors come back as they are); in mode mean, and of weights by ``logistic``,
they are scaled to the sum that all have.  With none of a weight above 0 left it is not scored.

Shapes: N utterances, K classes, M systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.data import tables
from ser.errors import DataError
from ser.scoring.evaluate import Scored
from ser.scoring.log_linear import fit_weights, log_posteriors
from ser.scoring.metrics import Counts, Floats, confusion_matrix, decide, uar
from ser.scoring.posteriors import Posteriors

MODES = ("power", "product", "mean", "linear")
UNWEIGHTED = ("product", "mean")  # modes that take no weights
LOGISTIC = "logistic"
CRITERIA = (LOGISTIC, "nll", "uar")
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.67, 2.5, 5.0, 10.0)  # symmetric about 1
_SHARPNESS = np.geomspace(0.05, 5.0, 41)


def fuse_posteriors(posteriors: Sequence[Floats], weights: Sequence[float], mode: str) -> Floats:
    """Fuse the posteriors of M systems for the same utterances.

    Args:
        posteriors: M arrays (N, K) of probabilities.
        weights: M numbers of at least 0, one above 0; modes product and mean have their own.
        mode: one of :data:`MODES`.

    Returns:
        (N, K), rows sum to 1; the array itself of the only one with a weight above 0, if that is 1.
    """
    weights = _mode_weights(len(posteriors), weights, mode)
    used = [(p, w) for p, w in zip(posteriors, weights, strict=True) if w > 0]
    if len(used) == 1 and used[0][1] == 1:
        return used[0][0]
    if mode == "linear":
        fused = np.sum([w * p for p, w in used], axis=0)
    else:
        logs = np.sum([w * log_posteriors(p) for p, w in used], axis=0)
        fused = np.exp(logs - logs.max(-1, keepdims=True))
    normalised: Floats = fused / fused.sum(-1, keepdims=True)
    return normalised


def _mode_weights(number: int, weights: Sequence[float], mode: str) -> Sequence[float]:
    """The weights of so many systems: those given, or the mode's own."""
    return {"product": [1.0] * number, "mean": [1 / number] * number}.get(mode, weights)


@dataclass(frozen=True)
class Fused:
    """Result of a fusion."""

    posteriors: dict[str, Floats]  # utterance -> (K,), sums to 1
    not_scored: dict[str, str]  # utterance -> reason
    n_partial: int  # fused, but not from all systems


def fuse(
    outputs: Sequence[Posteriors], weights: Sequence[float], mode: str, *, keep_sum: bool = False
) -> Fused:
    """Fuse the posteriors of systems of the same classes and utterances.

    Args:
        outputs: of M systems.
        weights: M numbers of at least 0.
        mode: one of :data:`MODES`.
        keep_sum: where a system is missing, scale the weights of the others to the sum of all, as is right
            for weights of :data:`LOGISTIC`; else to 1 for the first of them.

    Raises:
        DataError: a system is about other utterances than the first.
    """
    for output in outputs[1:]:
        tables.same_keys(outputs[0].keys, outputs[0].name, output.keys, output.name)
    weights = _mode_weights(len(outputs), weights, mode)
    groups: dict[tuple[int, ...], list[str]] = {}  # systems that scored an utterance -> such utterances
    for utt in sorted(outputs[0].keys):
        scoring = (i for i, output in enumerate(outputs) if weights[i] > 0 and utt in output.posteriors)
        groups.setdefault(tuple(scoring), []).append(utt)
    lost = groups.pop((), [])
    posteriors: dict[str, Floats] = {}
    for members, utts in groups.items():
        stacked = [np.stack([outputs[i].posteriors[utt] for utt in utts]) for i in members]
        kept = [weights[i] for i in members]
        unit = sum(kept) / sum(weights) if keep_sum else kept[0]
        fused = fuse_posteriors(stacked, [weight / unit for weight in kept], mode)
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
    logs = log_posteriors(posteriors)  # (N, K)
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
        criterion: ``nll`` (lowest; it moves with every utterance, so that a few hundred are enough) or
            ``uar`` (highest; what is reported, but a step function of the weight that a handful of
            utterances decides).
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

    weights: list[float]  # M; of nll and uar the first is 1
    curves: list[list[Trial]]  # of nll and uar, one for each system after the first
    n_utts: int


def tune(scored: Sequence[Scored], mode: str, criterion: str) -> Tuning:
    """Find the weights on tuning data.

    By ``logistic`` those of all systems at once, for mode power; by ``nll`` and ``uar`` on a grid: the second
    system's first, then the third's beside the fused two ...

    Args:
        scored: M systems on the same tuning data; utterances that one did not score are left out.
        mode: ``power`` or ``linear``.
        criterion: one of :data:`CRITERIA`, see :func:`best_weight`.

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
    posteriors = [each.posteriors[row] for each, row in zip(scored, rows, strict=True)]
    if criterion == LOGISTIC:
        return Tuning(fit_weights(posteriors, truth), [], len(common))
    so_far, *others = posteriors
    weights, curves = [1.0], []
    for other in others:
        curves.append(try_weights(so_far, other, truth, mode))
        weight = best_weight(curves[-1], criterion)
        so_far = fuse_posteriors([so_far, other], [1.0, weight], mode)
        # a linear fusion was normalised: beside the others' sum of weights, not beside 1
        weights.append(weight * sum(weights) if mode == "linear" else weight)
    return Tuning(weights, curves, len(common))
