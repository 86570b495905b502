"""Intervals and tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ser.scoring.significance import binomial, bootstrap, by_speaker, mcnemar, paired_bootstrap, spearman

PERFECT, WRONG = np.diag([5, 5]), np.array([[0, 5], [5, 0]])


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_binomial_is_clopper_pearson(counts: tuple[int, int]) -> None:
    reference = binomtest(*counts).proportion_ci(0.95, "exact")
    assert binomial(*counts) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_binomial_of_the_papers_size() -> None:
    low, high = binomial(747, 1241)  # 60.2 %
    assert (round(low, 4), round(high, 4)) == (0.5741, 0.6293)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_sign_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_by_speaker() -> None:
    counts = by_speaker([0, 1, 1, 0], [0, 1, 0, 0], ["b", "a", "a", "b"], 2)
    assert counts.tolist() == [[[0, 0], [1, 1]], [[2, 0], [0, 0]]]


def test_bootstrap_of_two_speakers_by_hand() -> None:
    # a draw has 0, 1 or 2 times the perfect speaker: acc 0, 0.5 or 1 with chances 1/4, 1/2, 1/4
    assert bootstrap(np.stack([PERFECT, WRONG]), "acc", 500, 0) == (0.0, 1.0)


def test_bootstrap_of_equal_speakers_is_a_point() -> None:
    speaker = np.array([[4, 1], [2, 3]])
    assert bootstrap(np.stack([speaker] * 6), "uar", 100, 0) == pytest.approx((0.7, 0.7))


def test_bootstrap_is_repeatable_and_covers_the_score() -> None:
    speakers = np.random.default_rng(1).integers(1, 30, (12, 4, 4))
    first = bootstrap(speakers, "acc", 1000, 3)
    assert first is not None
    assert first == bootstrap(speakers, "acc", 1000, 3)
    assert first != bootstrap(speakers, "acc", 1000, 4)
    total = speakers.sum(0)
    assert first[0] < np.trace(total) / total.sum() < first[1]


def test_bootstrap_width_is_that_of_the_normal_approximation() -> None:
    # 100 speakers of 10 utterances with accuracies of sd s: the mean's 95 % interval is +- 1.96 s / 10
    right = np.random.default_rng(0).integers(2, 9, 100)
    speakers = np.array([[[n, 10 - n], [0, 0]] for n in right])
    interval = bootstrap(speakers, "acc", 4000, 0)
    assert interval is not None
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 * right.std() / 10 / 10, rel=0.05)


def test_one_speaker_or_no_draws_has_no_interval() -> None:
    assert bootstrap(PERFECT[None], "acc", 100, 0) is None
    assert bootstrap(np.stack([PERFECT, WRONG]), "acc", 0, 0) is None
    difference = paired_bootstrap(PERFECT[None], WRONG[None], "acc", 100, 0)
    assert (difference.value, difference.interval, difference.p) == (-1.0, None, None)


def test_bootstrap_with_a_class_that_few_speakers_have() -> None:
    # draws without the second class score the first alone
    speakers = np.array([[[3, 1], [0, 0]], [[3, 1], [0, 0]], [[3, 1], [2, 2]]])
    interval = bootstrap(speakers, "uar", 500, 0)
    assert interval == pytest.approx((0.625, 0.75))


def test_paired_bootstrap_of_equal_systems() -> None:
    speakers = np.random.default_rng(0).integers(1, 9, (5, 3, 3))
    difference = paired_bootstrap(speakers, speakers, "uar", 200, 0)
    assert (difference.value, difference.interval, difference.p) == (0.0, (0.0, 0.0), 1.0)


def test_paired_bootstrap_of_a_system_better_for_all_speakers() -> None:
    first = np.array([[[2 + s, 8 - s], [0, 10]] for s in range(4)])
    second = np.array([[[3 + s, 7 - s], [0, 10]] for s in range(4)])
    difference = paired_bootstrap(first, second, "acc", 999, 0)
    assert difference.value == pytest.approx(0.05)
    assert difference.interval == pytest.approx((0.05, 0.05))
    assert difference.p == pytest.approx(2 / 1000)
    swapped = paired_bootstrap(second, first, "acc", 999, 0)
    assert (swapped.value, swapped.p) == pytest.approx((-0.05, 2 / 1000))


def test_spearman_gives_ties_their_mean_rank() -> None:
    random = np.random.default_rng(5)
    one, two = random.integers(0, 9, 60).astype(float), random.integers(0, 9, 60).astype(float)
    ranks = [[(x < v).sum() + ((x == v).sum() + 1) / 2 for v in x] for x in (one, two)]
    assert spearman(one, two) == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert np.isnan(spearman(np.ones(5), two[:5]))
