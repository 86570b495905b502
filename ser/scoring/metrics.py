"""Scores of a confusion matrix, each under a name that says what it is.

The field and the paper use UA and WA for different things (K classes, one hypothesis per utterance):

=============  ===========================================================================================
acc            share of right utterances; the field's WA
uar            mean of the classes' recalls; the field's UA
ua_eq6         the paper's UA (eq. 6): accuracy of each class against the rest, mean over the classes;
               always ``1 - (2 / K) (1 - acc)``
wa_eq6         the paper's WA (eq. 6): mean of recall and specificity of each class, mean over the classes
wa_eq6_micro   eq. 6's WA of the summed one-vs-rest counts; always ``(acc + 1 - (1 - acc) / (K - 1)) / 2``
macro_f1       mean of the classes' F1
=============  ===========================================================================================

A class that no reference has: its recall does not exist, so uar, wa_eq6 and macro_f1 are means over the
classes that the references have, and :attr:`Scores.n_classes_scored` says how many these are.  ua_eq6 and
wa_eq6_micro stay over all K classes, where both are defined.  A value that does not exist is NaN (wa_eq6,
when all references are of one class, has no specificity).

Shapes: K classes; every function takes matrices (..., K, K), rows = references, columns = hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def confusion_matrix(references: npt.ArrayLike, hypotheses: npt.ArrayLike, num_classes: int) -> Counts:
    """Count the pairs of reference and hypothesis.

    Args:
        references: class indices, (N,), each in 0 .. num_classes - 1.
        hypotheses: class indices, (N,).
        num_classes: K.

    Returns:
        (K, K), rows = references.
    """
    cells = np.asarray(references, np.int64) * num_classes + np.asarray(hypotheses, np.int64)
    counts: Counts = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts


def decide(posteriors: npt.ArrayLike) -> Counts:
    """The class of the highest value in each row of (..., K); of equal ones the lowest index."""
    labels: Counts = np.argmax(np.asarray(posteriors), axis=-1)
    return labels


def _ratio(counts: npt.NDArray[np.number], totals: npt.NDArray[np.number]) -> Floats:
    """``counts / totals``, NaN where the total is 0."""
    nothing = np.full(np.broadcast_shapes(counts.shape, totals.shape), np.nan)
    ratio: Floats = np.divide(counts, totals, out=nothing, where=totals > 0)
    return ratio


def _marginals(confusion: Counts) -> tuple[Counts, Counts, Counts, Counts]:
    """Right (..., K), references (..., K), hypotheses (..., K) of each class, and all (..., 1)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return right, confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))[..., None]


def _mean_of_present(values: Floats, references: Counts) -> Floats:
    present = references > 0
    return _ratio(np.where(present, values, 0.0).sum(-1), present.sum(-1))


def recalls(confusion: Counts) -> Floats:
    """Right share of each class's references, (..., K); NaN for a class without one."""
    right, references, _, _ = _marginals(confusion)
    return _ratio(right, references)


def precisions(confusion: Counts) -> Floats:
    """Right share of each class's hypotheses, (..., K); NaN for a class without one."""
    right, _, hypotheses, _ = _marginals(confusion)
    return _ratio(right, hypotheses)


def acc(confusion: Counts) -> Floats:
    """Accuracy, (...)."""
    right, _, _, total = _marginals(confusion)
    return _ratio(right.sum(-1), total[..., 0])


def uar(confusion: Counts) -> Floats:
    """Unweighted average recall, (...)."""
    return _mean_of_present(recalls(confusion), confusion.sum(-1))


def ua_eq6(confusion: Counts) -> Floats:
    """The paper's UA: mean over all classes of the one-vs-rest accuracy (TP + TN) / (P + N), (...)."""
    right, references, hypotheses, total = _marginals(confusion)
    mean: Floats = _ratio(total - references - hypotheses + 2 * right, total).mean(-1)
    return mean


def wa_eq6(confusion: Counts) -> Floats:
    """The paper's WA: mean over the classes of (TP / P + TN / N) / 2, (...)."""
    right, references, hypotheses, total = _marginals(confusion)
    negatives = total - references
    specificity = _ratio(negatives - hypotheses + right, negatives)
    return _mean_of_present((_ratio(right, references) + specificity) / 2, references)


def wa_eq6_micro(confusion: Counts) -> Floats:
    """(TP / P + TN / N) / 2 of the counts summed over the one-vs-rest problems, (...)."""
    right, references, hypotheses, total = _marginals(confusion)
    negatives = total - references
    true_negatives = negatives - hypotheses + right
    return (acc(confusion) + _ratio(true_negatives.sum(-1), negatives.sum(-1))) / 2


def macro_f1(confusion: Counts) -> Floats:
    """Mean over the classes of 2 TP / (references + hypotheses), (...)."""
    right, references, hypotheses, _ = _marginals(confusion)
    return _mean_of_present(_ratio(2 * right, references + hypotheses), references)


METRICS: dict[str, Callable[[Counts], Floats]] = {
    "acc": acc,
    "uar": uar,
    "ua_eq6": ua_eq6,
    "wa_eq6": wa_eq6,
    "wa_eq6_micro": wa_eq6_micro,
    "macro_f1": macro_f1,
}


@dataclass(frozen=True)
class Scores:
    """All scores of one confusion matrix: shares in [0, 1], NaN where one does not exist."""

    values: dict[str, float]  # by the names of METRICS
    recalls: tuple[float, ...]
    precisions: tuple[float, ...]
    n_scored: int
    n_classes_scored: int


def score(confusion: Counts) -> Scores:
    """All scores of one matrix (K, K)."""
    return Scores(
        values={name: float(metric(confusion)) for name, metric in METRICS.items()},
        recalls=tuple(map(float, recalls(confusion))),
        precisions=tuple(map(float, precisions(confusion))),
        n_scored=int(confusion.sum()),
        n_classes_scored=int((confusion.sum(-1) > 0).sum()),
    )
