"""A linear support vector machine whose cost is chosen on speakers that are held out of its training part.

N utterances to train on, M to decide on, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser.errors import DataError, UsageError
from ser.scoring.metrics import confusion_matrix, decide, uar

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

COSTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the SVM
NUM_PARTS = 5  # of the search; fewer where there are fewer speakers
SCALES = tuple(float(scale) for scale in np.geomspace(0.05, 50.0, 61))
_SMALLEST = 1e-12  # probability of a class that an inner training part does not have


@dataclass(frozen=True)
class Choice:
    """What was chosen inside the training part."""

    cost: float
    scale: float  # posteriors are softmax(scale * scores)
    search: dict[float, float]  # cost -> mean recall over the held-out speakers


def standardise(features: Doubles, reference: Doubles) -> Doubles:
    """Features (N, D) minus the mean of ``reference`` (M, D), over its standard deviation.

    A feature that does not vary becomes 0.
    """
    deviation = reference.std(axis=0)
    result: Doubles = (features - reference.mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)
    return result


def standardise_speakers(features: Doubles, speakers: Sequence[str]) -> Doubles:
    """Features (N, D) with mean 0 and variance 1 for every speaker; uses all that the speaker said."""
    result = np.empty_like(features)
    names = np.array(speakers)
    for speaker in sorted(set(speakers)):
        own = names == speaker
        result[own] = standardise(features[own], features[own])
    return result


def choose(
    features: Doubles, labels: Labels, speakers: Sequence[str], num_classes: int, *, within: bool
) -> Choice:
    """Choose the cost with the best mean recall over held-out speakers, and the scale of its scores.

    The speakers are divided into five parts, each held out once.  Of costs that are equally good the smallest
    is taken; the scale is the one with which the held-out posteriors have the least cross-entropy.

    Args:
        features: (N, D).
        labels: class indices, (N,).
        speakers: N of them.
        num_classes: K.
        within: features are standardised by the statistics of each inner training part; False takes them as
            they are.

    Raises:
        DataError: there are fewer than two speakers.
        UsageError: scikit-learn is not installed.
    """
    groups = len(set(speakers))
    if groups < 2:
        raise DataError(
            "there is 1 speaker to train on; the SVM's cost is chosen on held-out speakers, which takes two"
        )
    try:
        from sklearn.model_selection import GroupKFold
    except ImportError as error:
        raise UsageError(_missing(error)) from error
    scores = {cost: np.empty((len(labels), num_classes)) for cost in COSTS}
    for train, held in GroupKFold(min(NUM_PARTS, groups)).split(features, labels, list(speakers)):
        known, other = features[train], features[held]
        if within:
            known, other = standardise(known, known), standardise(other, known)
        found = fit_and_score(known, labels[train], other, COSTS, num_classes)
        for cost, rows in found.items():
            scores[cost][held] = rows
    search = {
        cost: float(uar(confusion_matrix(labels, decide(rows), num_classes))) for cost, rows in scores.items()
    }
    best = max(COSTS, key=lambda cost: (round(search[cost], 9), -cost))
    return Choice(best, min(SCALES, key=lambda scale: _cross_entropy(scores[best], labels, scale)), search)


def fit_and_score(
    train: Doubles, labels: Labels, test: Doubles, costs: Sequence[float], num_classes: int
) -> dict[float, Doubles]:
    """Scores of ``test`` (M, D) after training with each cost: cost -> (M, K), the larger the likelier.

    Classes have the same weight in all (``class_weight="balanced"``).  A class that is not in ``labels`` has
    the score -inf.  With more than two classes the scores are scikit-learn's sums over the machines of pairs.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn.svm import SVC
    except ImportError as error:
        raise UsageError(_missing(error)) from error
    present = np.unique(labels)
    kernel, against = train @ train.T, test @ train.T  # (N, N), (M, N)
    found: dict[float, Doubles] = {}
    for cost in costs:
        scores = np.full((len(test), num_classes), -np.inf)
        if len(present) == 1:
            scores[:, present[0]] = 0.0
        else:
            machine = SVC(C=cost, kernel="precomputed", class_weight="balanced").fit(kernel, labels)
            decisions = machine.decision_function(against)  # (M, K), or (M,) with two classes
            scores[:, present] = decisions if decisions.ndim == 2 else np.stack([-decisions, decisions], 1)
        found[cost] = scores
    return found


def posteriors(scores: Doubles, scale: float) -> Doubles:
    """Softmax of the scaled scores, (M, K); the order of the classes stays that of the scores."""
    scaled = scale * (scores - scores.max(axis=1, keepdims=True))
    powers = np.exp(scaled)
    result: Doubles = powers / powers.sum(axis=1, keepdims=True)
    return result


def _cross_entropy(scores: Doubles, labels: Labels, scale: float) -> float:
    right = posteriors(scores, scale)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, _SMALLEST)).mean())


def _missing(error: ImportError) -> str:
    return (
        f"the Python package scikit-learn cannot be loaded ({error}); "
        "install it with: utils/install.sh --extra baselines"
    )
