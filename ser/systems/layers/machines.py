"""Linear machines: hyperplanes between classes, by the SVM's hinge loss or by least squares.

The squared loss is that of Suykens & Vandewalle, "Least squares support vector machine classifiers" (Neural
Processing Letters 1999), of each class against the rest: ridge regression of +1 and -1, with penalty 1 / C.

Shapes: N utterances to train on, M to decide on, D values of an utterance, K classes, P pairs of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ser.errors import UsageError
from ser.systems.base import Arrays, Doubles

Labels = npt.NDArray[np.int64]
Loss = Literal["hinge", "squared"]


def fit_and_score(
    train: Doubles,
    labels: Labels,
    test: Doubles,
    costs: Sequence[float],
    num_classes: int,
    loss: Loss = "hinge",
) -> dict[float, Doubles]:
    """Scores of ``test`` (M, D) after training with each cost: cost -> (M, K), the larger the likelier.

    Classes have the same weight in all (``class_weight="balanced"``).  A class that is not in ``labels`` has
    the score -inf.  With more than two classes the scores are scikit-learn's sums over the machines of pairs,
    or with the squared loss what each class's own machine says.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    present = np.unique(labels)
    if loss == "hinge":
        train, test = train @ train.T, test @ train.T  # (N, N), (M, N): SVC takes products
    by_cost: dict[float, Doubles] = {}
    for cost in costs:
        scores = np.full((len(test), num_classes), -np.inf)
        if len(present) == 1:
            scores[:, present[0]] = 0.0
        else:
            machine = _machine(train, labels, cost, loss)
            decisions = machine.decision_function(test)  # (M, K), or (M,) if K = 2
            scores[:, present] = decisions if decisions.ndim == 2 else np.stack([-decisions, decisions], 1)
        by_cost[cost] = scores
    return by_cost


def _machine(rows: Doubles, labels: Labels, cost: float, loss: Loss) -> Any:
    """Trained on the features (N, D), or with the hinge loss on their products (N, N)."""
    try:
        from sklearn.linear_model import RidgeClassifier
        from sklearn.svm import SVC
    except ImportError as error:
        raise UsageError(missing_sklearn(error)) from error
    if loss == "squared":
        return RidgeClassifier(alpha=1 / cost, class_weight="balanced").fit(rows, labels)
    return SVC(C=cost, kernel="precomputed", class_weight="balanced").fit(rows, labels)


def separate(train: Doubles, labels: Labels, cost: float, loss: Loss = "hinge") -> Arrays:
    """Train on all of ``train`` (N, D): the hyperplanes of every pair of classes, or of each class.

    Returns:
        ``present``, the classes there are; ``weights`` (P, D) and ``intercepts`` (P,) in the order of their
        pairs: above 0 speaks for a pair's first class (with two classes in all for the second, as in
        scikit-learn).  With the squared loss ``weights`` (K, D) and ``intercepts`` (K,) of each class against
        the rest; of two classes one pair.
    """
    present = np.unique(labels)
    if len(present) == 1:
        return {"present": present, "weights": np.zeros((0, train.shape[1])), "intercepts": np.zeros(0)}
    if loss == "squared":
        machine = _machine(train, labels, cost, loss)
        weights = np.reshape(machine.coef_, (-1, train.shape[1])).copy()
        intercepts = np.reshape(machine.intercept_, -1).copy()
        return {"present": present, "weights": weights, "intercepts": intercepts}
    machine = _machine(train @ train.T, labels, cost, loss)
    ends = np.cumsum(machine.n_support_)
    own = [slice(end - count, end) for end, count in zip(ends, machine.n_support_, strict=True)]
    duals, support = machine.dual_coef_, train[machine.support_]  # (K - 1, S), (S, D)
    if len(present) == 2:
        rows = [duals[0] @ support]
    else:
        rows = [
            duals[b - 1, own[a]] @ support[own[a]] + duals[a, own[b]] @ support[own[b]]
            for a, b in combinations(range(len(present)), 2)
        ]
    return {"present": present, "weights": np.stack(rows), "intercepts": machine.intercept_.copy()}


def scores_of(model: Arrays, test: Doubles, num_classes: int, loss: Loss = "hinge") -> Doubles:
    """What :func:`fit_and_score` gives, of the hyperplanes of :func:`separate`, (M, K).

    With the hinge loss and more than two classes each pair votes; sums of distances, squeezed below half a
    vote, break ties (scikit-learn's ``decision_function`` of shape "ovr").
    """
    present = model["present"]
    scores: Doubles = np.full((len(test), num_classes), -np.inf)
    decisions = test @ model["weights"].T + model["intercepts"]  # (M, P)
    if len(present) == 1:
        scores[:, present[0]] = 0.0
    elif len(present) == 2:
        scores[:, present] = np.concatenate([-decisions, decisions], axis=1)
    elif loss == "squared":
        scores[:, present] = decisions
    else:
        votes, sums = np.zeros((2, len(test), len(present)))
        for pair, (a, b) in enumerate(combinations(range(len(present)), 2)):
            first = decisions[:, pair] >= 0
            votes[:, a] += first
            votes[:, b] += ~first
            sums[:, a] += decisions[:, pair]
            sums[:, b] -= decisions[:, pair]
        scores[:, present] = votes + sums / (3 * (np.abs(sums) + 1))
    return scores


def missing_sklearn(error: ImportError) -> str:
    """What is lacking, and how to get it."""
    return (
        f"the Python package scikit-learn cannot be loaded ({error}); "
        "install it with: utils/install.sh --extra baselines"
    )
