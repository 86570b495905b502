"""Fusion of posteriors and the search for weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ser.errors import DataError
from ser.scoring.evaluate import Scored
from ser.scoring.fusion import (
    GRID,
    Trial,
    balanced_nll,
    best_weight,
    fuse,
    fuse_posteriors,
    try_weights,
    tune,
)
from ser.scoring.log_linear import fit_weights
from ser.scoring.metrics import Floats
from ser.scoring.posteriors import Posteriors

from .conftest import EMOTIONS


def rows(num_classes: int = 4, num_utts: int = 5) -> st.SearchStrategy[Floats]:
    positive = hnp.arrays(np.float64, (num_utts, num_classes), elements=st.floats(1e-3, 1))
    return positive.map(lambda values: values / values.sum(-1, keepdims=True))


A = np.array([[0.6, 0.2, 0.1, 0.1]])
B = np.array([[0.1, 0.7, 0.1, 0.1]])


def test_power_by_hand() -> None:
    product = np.array([0.6 * 0.1**0.4, 0.2 * 0.7**0.4, 0.1 * 0.1**0.4, 0.1 * 0.1**0.4])
    assert fuse_posteriors([A, B], [1, 0.4], "power")[0] == pytest.approx(product / product.sum())


def test_linear_by_hand() -> None:
    assert fuse_posteriors([A, B], [1, 0.4], "linear")[0] == pytest.approx(
        np.array([0.64, 0.48, 0.14, 0.14]) / 1.4
    )


def test_product_is_power_of_weight_1() -> None:
    assert (fuse_posteriors([A, B], [1, 1], "power") == fuse_posteriors([A, B], [1, 0.3], "product")).all()


@given(rows(), rows(), st.sampled_from(["power", "linear"]))
def test_weight_0_is_the_first_system_exactly(first: Floats, second: Floats, mode: str) -> None:
    assert (fuse_posteriors([first, second], [1.0, 0.0], mode) == first).all()


@given(rows(), rows(), st.floats(0.1, 5), st.floats(0.01, 1))
def test_a_constant_factor_changes_nothing(
    first: Floats, second: Floats, weight: float, factor: float
) -> None:
    fused = fuse_posteriors([first, second], [1.0, weight], "power")
    assert fuse_posteriors([first, factor * second], [1.0, weight], "power") == pytest.approx(fused)


@given(rows(), rows(), rows(), st.sampled_from(["power", "linear", "product"]))
def test_fused_rows_are_probabilities_and_the_order_of_later_systems_is_nothing(
    a: Floats, b: Floats, c: Floats, mode: str
) -> None:
    fused = fuse_posteriors([a, b, c], [1, 0.4, 0.7], mode)
    assert fused.sum(-1) == pytest.approx(1)
    assert (fused >= 0).all()
    assert fuse_posteriors([a, c, b], [1, 0.7, 0.4], mode) == pytest.approx(fused)


@given(rows(), rows(), st.permutations(range(4)), st.sampled_from(["power", "linear"]))
def test_order_of_classes_changes_nothing(a: Floats, b: Floats, order: list[int], mode: str) -> None:
    fused = fuse_posteriors([a, b], [1, 0.4], mode)
    assert fuse_posteriors([a[:, order], b[:, order]], [1, 0.4], mode) == pytest.approx(fused[:, order])


def test_zeros_are_floored() -> None:
    # neither system may veto a class for good: 1e-10 * 1 on both sides
    fused = fuse_posteriors([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])], [1, 1], "power")
    assert fused[0] == pytest.approx([0.5, 0.5])


def output(name: str, table: Mapping[str, Sequence[float]], **not_scored: str) -> Posteriors:
    return Posteriors(name, EMOTIONS, {utt: np.array(row) for utt, row in table.items()}, not_scored)


def test_an_utterance_that_one_system_dropped() -> None:
    a = output("A", {"u1": A[0], "u2": A[0]}, u3="short", u4="broken")
    b = output("B", {"u1": B[0], "u3": B[0]}, u2="short", u4="short")
    fused = fuse([a, b], [1, 0.4], "power")
    assert (fused.posteriors["u1"] == fuse_posteriors([A, B], [1, 0.4], "power")[0]).all()
    assert (fused.posteriors["u2"] == A[0]).all()
    assert (fused.posteriors["u3"] == B[0]).all()
    assert (fused.not_scored, fused.n_partial) == ({"u4": "broken"}, 2)


def test_weights_of_what_is_left_are_relative_to_its_first() -> None:
    a, b, c = output("A", {}, u="short"), output("B", {"u": B[0]}), output("C", {"u": A[0]})
    fused = fuse([a, b, c], [1, 0.4, 0.2], "power")
    assert fused.posteriors["u"] == pytest.approx(fuse_posteriors([B, A], [1, 0.5], "power")[0])


def test_the_mean_of_two_seeds() -> None:
    by_hand = np.sqrt(A * B) / np.sqrt(A * B).sum()
    assert fuse_posteriors([A, B], [], "mean") == pytest.approx(by_hand)
    assert fuse_posteriors([A, A, A], [], "mean") == pytest.approx(A)
    a, b = output("A", {"u1": A[0], "u2": A[0]}), output("B", {"u1": B[0]}, u2="short")
    fused = fuse([a, b], [], "mean")
    assert fused.posteriors["u1"] == pytest.approx(by_hand[0])
    assert (fused.posteriors["u2"] == A[0]).all()


def test_tuned_weights_keep_their_sum_where_a_system_is_missing() -> None:
    """They are a temperature as well: what is left must not become less sure for want of a system."""
    a, b, c = (
        output("A", {"v": A[0]}, u="short"),
        output("B", {"u": B[0], "v": B[0]}),
        output("C", {"u": A[0], "v": A[0]}),
    )
    fused = fuse([a, b, c], [0.6, 0.3, 0.1], "power", keep_sum=True)
    assert fused.posteriors["u"] == pytest.approx(fuse_posteriors([B, A], [0.75, 0.25], "power")[0])
    assert fused.posteriors["v"] == pytest.approx(fuse_posteriors([A, B, A], [0.6, 0.3, 0.1], "power")[0])
    assert fused.n_partial == 1
    halved = fuse([a, b, c], [0.0, 0.5, 0.0], "power", keep_sum=True)
    assert halved.posteriors["u"] == pytest.approx(np.sqrt(B[0]) / np.sqrt(B[0]).sum())
    assert halved.n_partial == 0


def test_weight_0_takes_nothing_from_a_system_even_where_it_is_alone() -> None:
    a, b = output("A", {"u1": A[0]}, u2="short"), output("B", {"u1": B[0], "u2": B[0]})
    fused = fuse([a, b], [1, 0], "power")
    assert (fused.posteriors["u1"] == A[0]).all()
    assert (fused.not_scored, fused.n_partial) == ({"u2": "short"}, 0)


def test_other_utterances_are_refused() -> None:
    a, b = output("A", {"u1": A[0], "u2": A[0]}), output("B", {"u1": B[0], "v": B[0]})
    message = (
        "A: its keys are not those of B: 1 only in A (u2), 1 only in B (v); "
        "run the stage that makes the older of the two again"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        fuse([a, b], [1, 0.4], "power")


# --------------------------------------------------------------------------------------------- the weights


def test_balanced_nll_weighs_classes_not_utterances() -> None:
    posteriors = np.array([[0.5, 0.5]] * 9 + [[1.0, 0.0]])
    # at any sharpness the nine cost log 2 each, the tenth nothing in the limit: the mean over classes
    assert balanced_nll(posteriors, np.array([1] * 9 + [0])) == pytest.approx(np.log(2) / 2, abs=0.01)


def noisy(references: np.ndarray[tuple[int], np.dtype[np.int64]], strength: float, seed: int) -> Floats:
    """Posteriors of a system that sees the truth through Gaussian noise; higher strength is better."""
    seen = strength * np.eye(4)[references] + np.random.default_rng(seed).normal(size=(len(references), 4))
    shares: Floats = np.exp(strength * seen)
    normalised: Floats = shares / shares.sum(-1, keepdims=True)
    return normalised


@pytest.mark.parametrize("power", [0.5, 0.8, 1.25, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_balanced_nll_does_not_see_sharpness(power: float, seed: int) -> None:
    references = np.arange(80) % 4
    posteriors = noisy(references, 1.0, seed)
    sharper = posteriors**power / (posteriors**power).sum(-1, keepdims=True)
    # equal but for the grid of sharpnesses, which has steps of 12 %
    assert balanced_nll(sharper, references) == pytest.approx(balanced_nll(posteriors, references), abs=0.005)


TRUTH = np.random.default_rng(5).integers(0, 4, 2000)


@pytest.mark.parametrize(("strengths", "low", "high"), [((1.5, 1.5), 0.8, 1.25), ((2.0, 0.0), 0.0, 0.0)])
def test_nll_finds_the_weight(strengths: tuple[float, float], low: float, high: float) -> None:
    # posteriors are exact and independent: the best fusion multiplies them; one that knows nothing gets 0
    first, second = (noisy(TRUTH, strength, seed) for seed, strength in enumerate(strengths))
    if strengths[1] == 0:
        second = np.roll(noisy(TRUTH, 1.0, 9), 1, axis=0)
    assert low <= best_weight(try_weights(first, second, TRUTH, "power"), "nll") <= high


def test_fusion_of_independent_systems_beats_both() -> None:
    first, second = noisy(TRUTH, 1.5, 0), noisy(TRUTH, 1.5, 1)
    trials = {trial.weight: trial for trial in try_weights(first, second, TRUTH, "power")}
    assert tuple(trials) == GRID
    assert trials[1.0].uar > trials[0.0].uar + 0.05
    assert trials[1.0].nll < trials[0.0].nll
    assert trials[1.0].uar > trials[10.0].uar


@pytest.mark.parametrize(
    ("uars", "expected"),
    [
        ([0.5, 0.6, 0.6, 0.6, 0.5], 0.2),
        ([0.6, 0.5, 0.6, 0.6, 0.5], 0.2),
        ([0.6, 0.5, 0.5, 0.6, 0.5], 0.0),
        ([0.5, 0.5, 0.5, 0.5, 0.6], 0.4),
        ([0.6, 0.6, 0.6, 0.6, 0.6], 0.2),
    ],
)
def test_best_weight_takes_the_middle_of_the_longest_run(uars: list[float], expected: float) -> None:
    trials = [Trial(weight / 10, uar, nll=0.1 * weight) for weight, uar in enumerate(uars)]
    assert best_weight(trials, "uar") == expected
    assert best_weight(trials, "nll") == 0.0


def scored(posteriors: Floats, utts: list[int]) -> Scored:
    keys = [f"u{i:04d}" for i in utts]
    return Scored(keys, TRUTH[utts], posteriors[utts], ["s"] * len(utts), len(utts))


@pytest.mark.parametrize("mode", ["power", "linear"])
def test_tune_three_systems(mode: str) -> None:
    a, b, c = noisy(TRUTH, 1.5, 0), noisy(TRUTH, 1.0, 1), noisy(TRUTH, 1.2, 2)
    everything = list(range(len(TRUTH)))
    tuning = tune([scored(a, everything), scored(b, everything[:-50]), scored(c, everything)], mode, "nll")
    assert tuning.weights[0] == 1.0
    assert tuning.n_utts == len(TRUTH) - 50
    assert [len(curve) for curve in tuning.curves] == [len(GRID)] * 2
    # the weights fuse in one go to what was found one system at a time
    steps = [best_weight(curve, "nll") for curve in tuning.curves]
    stepwise = fuse_posteriors([fuse_posteriors([a, b], [1, steps[0]], mode), c], [1, steps[1]], mode)
    assert fuse_posteriors([a, b, c], tuning.weights, mode) == pytest.approx(stepwise, abs=1e-6)


def test_logistic_weights_of_common_utterances() -> None:
    a, b = noisy(TRUTH, 1.5, 0), noisy(TRUTH, 1.0, 1)
    everything = list(range(len(TRUTH)))
    tuning = tune([scored(a, everything), scored(b, everything[:-50])], "power", "logistic")
    assert (tuning.weights, tuning.curves, tuning.n_utts) == (
        fit_weights([a[:-50], b[:-50]], TRUTH[:-50]),
        [],
        len(TRUTH) - 50,
    )
    assert tuning.weights == pytest.approx([1, 1], abs=0.1)  # exact and independent


def test_tune_without_common_utterances() -> None:
    posteriors = noisy(TRUTH, 1.0, 0)
    message = "--dev-decode: no utterance is scored by all systems; tune on systems of the same data"
    with pytest.raises(DataError, match=f"^{message}$"):
        tune([scored(posteriors, [0, 1]), scored(posteriors, [2, 3])], "power", "nll")
