"""Tests over several runs: exact values, invariants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ser.scoring import significance
from ser.scoring.calibration import reliability
from ser.scoring.metrics import acc, uar


def confusions(right: list[list[tuple[int, int]]]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """(R, S, 2, 2) of class 0 and 1: right answers of 10 each."""
    return np.array([[[[a, 10 - a], [10 - b, b]] for a, b in run] for run in right], np.int64)


def test_holm_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7):
        p = rng.random(size) ** 3
        order = np.argsort(p)
        expected = np.empty(size)
        for place, index in enumerate(order):
            expected[index] = max(min(1, (size - k) * p[order[k]]) for k in range(place + 1))
        np.testing.assert_allclose(significance.holm(p), expected)
        assert (significance.holm(p) >= p).all()


def test_randomisation_is_the_exact_test_for_few_utterances() -> None:
    """All sign patterns of eight utterances, against ten thousand draws."""
    gains = np.array([0.2, 0.1, 0.3, -0.1, 0.25, 0.05, 0.15, 0.1])
    sums = [
        abs(sum(s * g for s, g in zip(signs, gains, strict=True)))
        for signs in itertools.product([-1, 1], repeat=8)
    ]
    exact = np.mean([value >= abs(gains.sum()) - 1e-12 for value in sums])
    p = significance.randomisation(np.stack([gains, -gains, np.zeros(8)]), 10_000, 0)
    assert p[0] == p[1]
    assert p[0] == pytest.approx(exact, abs=0.006)
    assert p[2] == 1
    np.testing.assert_array_equal(
        p, significance.randomisation(np.stack([gains, -gains, np.zeros(8)]), 10_000, 0)
    )


def test_the_interval_of_a_mean_over_runs_lies_between_its_speakers() -> None:
    counts = confusions([[(9, 8), (5, 4), (7, 7)], [(8, 8), (6, 5), (7, 6)]])
    low, high = significance.mean_bootstrap(counts, "uar", 2000, 0) or (0.0, 0.0)
    speakers = uar(counts).mean(0)
    assert speakers.min() <= low < uar(counts.sum(1)).mean() < high <= speakers.max()
    one = significance.mean_bootstrap(counts[:1], "acc", 500, 3)
    assert one == significance.bootstrap(counts[0], "acc", 500, 3)
    assert significance.mean_bootstrap(counts[:, :1], "acc", 500, 3) is None


def test_the_interval_of_a_difference() -> None:
    first = confusions([[(7, 7), (6, 6), (5, 5)], [(7, 7), (6, 6), (5, 5)]])
    second = first + np.array([[1, -1], [-1, 1]])  # every speaker and run better by one in ten
    assert significance.difference_interval(first, second, "acc", 500, 0) == pytest.approx((0.1, 0.1))
    assert significance.difference_interval(second, first, "acc", 500, 0) == pytest.approx((-0.1, -0.1))
    seeds = second.copy()
    seeds[1] = first[1] - np.array([[1, -1], [-1, 1]])  # one run better, one worse: the runs are drawn too
    low, high = significance.difference_interval(first, seeds, "acc", 500, 0) or (0.0, 0.0)
    assert (low, high) == pytest.approx((-0.1, 0.1))
    assert float(acc(seeds.sum(1)).mean() - acc(first.sum(1)).mean()) == pytest.approx(0)


def test_calibration_golden() -> None:
    posteriors = [[0.95, 0.05], [0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.35, 0.65]]
    binned = reliability(posteriors, [0, 0, 1, 0, 0])
    assert binned.counts.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 3]
    np.testing.assert_allclose(binned.confidence[[6, 9]], [0.65, 0.95])
    np.testing.assert_allclose(binned.accuracy[[6, 9]], [0.5, 2 / 3])
    assert binned.ece == pytest.approx((2 * 0.15 + 3 * (0.95 - 2 / 3)) / 5)
    assert reliability([[1.0, 0.0]], [0]).counts.tolist()[-1] == 1
