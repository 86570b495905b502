"""The SVM: standardising, the search inside the training subset, its scores; checked by scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ser.errors import DataError, UsageError
from ser.systems import svm

pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")

from sklearn.metrics import recall_score  # noqa: E402
from sklearn.model_selection import GroupKFold, cross_val_predict  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

SPEAKERS = [f"s{number % 7}" for number in range(84)]


def material(num_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noisy classes, shifted differently for every speaker, on scales that differ."""
    random = np.random.default_rng(1)
    labels = np.arange(84) // 7 % num_classes
    features = random.normal(0, 1.0, (84, 6)) + 0.7 * np.eye(num_classes, 6)[labels]
    shift = random.normal(0, 0.5, (7, 6))[np.arange(84) % 7]
    return (features + shift) * np.array([1, 10, 100, 1, 0.1, 1]), labels


def test_standardised_features() -> None:
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_array_equal(svm.standardise(x, x), [[-1, 0], [1, 0]])
    np.testing.assert_array_equal(svm.standardise(np.array([[5.0, 9.0]]), x), [[3, 0]])
    both = svm.standardise_speakers(np.array([[1.0], [10.0], [3.0], [30.0]]), ["a", "b", "a", "b"])
    np.testing.assert_array_equal(both, [[-1], [-1], [1], [1]])


@pytest.mark.parametrize("within", [True, False])
def test_the_search_is_that_of_scikit_learn(within: bool) -> None:
    """For each cost the mean recall over held-out speakers, with statistics of the others alone."""
    features, labels = material()
    if not within:
        features = svm.standardise_speakers(features, SPEAKERS)
    choice = svm.choose(features, labels, SPEAKERS, 3, within=within)
    for cost, uar in choice.search.items():
        machine = SVC(C=cost, kernel="linear", class_weight="balanced", break_ties=True)
        steps = make_pipeline(StandardScaler(), machine) if within else machine
        hyp = cross_val_predict(steps, features, labels, groups=SPEAKERS, cv=GroupKFold(5))
        assert uar == pytest.approx(recall_score(labels, hyp, average="macro"), abs=1e-12)
    best = max(choice.search.values())
    assert choice.cost == min(cost for cost, uar in choice.search.items() if uar == best)
    assert len(set(choice.search.values())) > 1


@pytest.mark.parametrize("num_classes", [2, 3])
def test_scores_and_posteriors_agree(num_classes: int) -> None:
    features, labels = material(num_classes)
    features = svm.standardise(features, features)
    scores = svm.fit_and_score(features[:60], labels[:60], features[60:], [0.1], num_classes)[0.1]
    machine = SVC(C=0.1, kernel="linear", class_weight="balanced", break_ties=num_classes > 2)
    expected = machine.fit(features[:60], labels[:60]).predict(features[60:])
    np.testing.assert_array_equal(scores.argmax(axis=1), expected)
    posteriors = svm.softmax(scores, 2.0)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1.0)
    np.testing.assert_array_equal(posteriors.argmax(axis=1), expected)
    np.testing.assert_allclose(np.log(posteriors[:, 1] / posteriors[:, 0]), 2 * (scores[:, 1] - scores[:, 0]))


def test_a_class_that_an_inner_subset_lacks() -> None:
    features, labels = material(2)
    scores = svm.fit_and_score(features, 2 * labels, features[:3], [1.0], 3)[1.0]
    np.testing.assert_array_equal(np.isinf(scores), [[False, True, False]] * 3)
    np.testing.assert_array_equal(svm.softmax(scores, 1.0)[:, 1], 0)
    alone = svm.fit_and_score(features, np.ones(84, dtype=np.int64), features[:3], [1.0], 3)[1.0]
    np.testing.assert_array_equal(svm.softmax(alone, 1.0), [[0, 1, 0]] * 3)
    only = np.where(np.array(SPEAKERS) == "s0", 2, labels)  # a class of one speaker: some group lacks it
    choice = svm.choose(svm.standardise(features, features), only, SPEAKERS, 3, within=True)
    assert 0 < choice.search[choice.cost] < 1


@pytest.mark.parametrize("num_classes", [1, 2, 3, 4])
def test_hyperplanes_give_the_scores_of_the_machine(num_classes: int) -> None:
    """What is kept of a machine decides as scikit-learn's own, to rounding."""
    features, labels = material(num_classes)
    features = svm.standardise(features, features)
    model = svm.separate(features[:60], labels[:60], 0.1)
    got = svm.scores_of(model, features[60:], num_classes)
    expected = svm.fit_and_score(features[:60], labels[:60], features[60:], [0.1], num_classes)[0.1]
    np.testing.assert_allclose(got, expected, atol=1e-9)
    assert model["weights"].shape == (num_classes * (num_classes - 1) // 2, 6)


def test_hyperplanes_where_a_class_is_missing() -> None:
    features, labels = material(2)
    scores = svm.scores_of(svm.separate(features, 2 * labels, 1.0), features[:3], 3)
    np.testing.assert_array_equal(np.isinf(scores), [[False, True, False]] * 3)


def test_the_scale_is_the_one_of_least_cross_entropy() -> None:
    """Labels drawn from posteriors of a known scale lead back to it."""
    random = np.random.default_rng(0)
    scores = random.normal(0, 1, (4000, 3))
    posteriors = svm.softmax(scores, 3.0)
    labels = (random.random((4000, 1)) > posteriors.cumsum(axis=1)).sum(axis=1)
    best = min(svm.SCALES, key=lambda scale: svm._cross_entropy(scores, labels, scale))
    assert best == pytest.approx(3.0, rel=0.15)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = material()
    with pytest.raises(DataError) as error:
        svm.choose(features, labels, ["s"] * 84, 3, within=True)
    assert str(error.value) == (
        "there is 1 speaker to train on; the SVM's cost is chosen on held-out speakers, which takes two"
    )
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(
        UsageError,
        match="scikit-learn cannot be loaded .*; install it with: utils/install.sh --extra baselines$",
    ):
        svm.choose(features, labels, SPEAKERS, 3, within=True)
