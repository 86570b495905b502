"""Scores: golden values, identities, invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ser.scoring import metrics
from ser.scoring.metrics import METRICS, Counts, confusion_matrix, decide, score

# IEMOCAP session 5, ang hap neu sad: a published confusion matrix of another system on the paper's test set
SESSION5 = np.array([[115, 26, 26, 3], [74, 149, 172, 47], [27, 31, 255, 71], [15, 36, 49, 145]])
EQ6_EXAMPLE = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]])


def square(num_classes: int) -> st.SearchStrategy[Counts]:
    return hnp.arrays(np.int64, (num_classes, num_classes), elements=st.integers(0, 500)).filter(np.any)


def always(label: int) -> Counts:
    """What always deciding for one class gives on session 5."""
    confusion = np.zeros((4, 4), np.int64)
    confusion[:, label] = SESSION5.sum(1)
    return confusion


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        (SESSION5, {"acc": 53.51, "uar": 56.74, "ua_eq6": 76.75, "wa_eq6": 70.44, "wa_eq6_micro": 69.00}),
        (always(1), {"acc": 35.62, "uar": 25.00, "ua_eq6": 67.81, "wa_eq6": 50.00}),
        (always(2), {"ua_eq6": 65.47, "wa_eq6": 50.00}),
        (np.diag(SESSION5.sum(1)), dict.fromkeys(METRICS, 100.0)),
        (EQ6_EXAMPLE, {"acc": 62.5, "uar": 62.5, "ua_eq6": 81.25, "wa_eq6": 75.0}),
    ],
    ids=["session 5", "always happy", "always neutral", "perfect", "worked example"],
)
def test_golden_values(confusion: Counts, expected: dict[str, float]) -> None:
    values = score(confusion).values
    assert {name: round(100 * values[name], 2) for name in expected} == expected


def test_scores_by_hand() -> None:
    # class a: TP 3, FN 1, FP 2; class b: TP 4, FN 2, FP 1
    scores = score(np.array([[3, 1], [2, 4]]))
    assert scores.recalls == pytest.approx((3 / 4, 4 / 6))
    assert scores.precisions == pytest.approx((3 / 5, 4 / 5))
    assert scores.values["macro_f1"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert scores.values["wa_eq6"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert (scores.n_scored, scores.n_classes_scored) == (10, 2)


def test_class_without_references() -> None:
    scores = score(np.array([[3, 0, 1], [0, 0, 0], [1, 1, 2]]))
    assert scores.values["uar"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert scores.values["acc"] == pytest.approx(5 / 8)
    assert scores.values["ua_eq6"] == pytest.approx(1 - 2 / 3 * 3 / 8)
    assert scores.values["wa_eq6"] == pytest.approx(((3 / 4 + 3 / 4) / 2 + (2 / 4 + 3 / 4) / 2) / 2)
    assert scores.values["macro_f1"] == pytest.approx((6 / 8 + 4 / 7) / 2)
    assert math.isnan(scores.recalls[1])
    assert scores.precisions[1] == 0
    assert scores.n_classes_scored == 2


def test_one_class_only_has_no_specificity() -> None:
    scores = score(np.array([[3, 1], [0, 0]]))
    assert scores.values["uar"] == 0.75
    assert math.isnan(scores.values["wa_eq6"])


def test_nothing_scored_gives_no_number() -> None:
    assert all(math.isnan(value) for value in score(np.zeros((3, 3), np.int64)).values.values())


@given(st.integers(2, 8).flatmap(square))
def test_identities_of_equation_6(confusion: Counts) -> None:
    values, classes = score(confusion).values, len(confusion)
    errors = 1 - values["acc"]
    assert values["ua_eq6"] == pytest.approx(1 - 2 / classes * errors)
    assert values["wa_eq6_micro"] == pytest.approx((values["acc"] + 1 - errors / (classes - 1)) / 2)


@given(square(4))
def test_four_classes_ua_eq6_is_half_of_one_plus_accuracy(confusion: Counts) -> None:
    values = score(confusion).values
    assert values["ua_eq6"] == pytest.approx((1 + values["acc"]) / 2)


@given(square(6))
def test_six_classes_ua_eq6(confusion: Counts) -> None:
    values = score(confusion).values
    assert values["ua_eq6"] == pytest.approx(1 - (1 - values["acc"]) / 3)


@given(square(4), st.permutations(range(4)))
def test_order_of_classes_changes_nothing(confusion: Counts, order: list[int]) -> None:
    before, after = score(confusion), score(confusion[np.ix_(order, order)])
    assert after.values == pytest.approx(before.values, nan_ok=True)
    assert after.recalls == pytest.approx([before.recalls[i] for i in order], nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1), st.randoms())
def test_order_of_utterances_changes_nothing(
    pairs: list[tuple[int, int]], random: np.random.Generator
) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    one, two = (confusion_matrix([r for r, _ in each], [h for _, h in each], 4) for each in (pairs, shuffled))
    assert (one == two).all()
    assert one.sum() == len(pairs)


@given(hnp.arrays(np.int64, (5, 3, 3), elements=st.integers(0, 9)))
def test_stacked_matrices_score_as_single_ones(confusions: Counts) -> None:
    for metric in METRICS.values():
        together = metric(confusions)
        assert together.shape == (5,)
        assert together == pytest.approx([float(metric(one)) for one in confusions], nan_ok=True)


def test_confusion_matrix_rows_are_references() -> None:
    assert confusion_matrix([0, 0, 1], [1, 1, 0], 3).tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 0]]


def test_ties_go_to_the_lowest_index() -> None:
    assert decide([[0.25, 0.25, 0.25, 0.25], [0.1, 0.4, 0.1, 0.4]]).tolist() == [0, 1]


def test_every_metric_is_documented() -> None:
    assert all(name in str(metrics.__doc__) for name in METRICS)
