"""Weights of a log-linear fusion: against a grid, other solvers and what they must not depend on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser.scoring.fusion import fuse_posteriors
from ser.scoring.log_linear import FLOOR, PRIOR_UTTS, fit_weights, log_posteriors, penalised
from ser.scoring.metrics import Counts, Floats

K = 4


def noisy(references: Counts, skill: float, sharpness: float, seed: int) -> Floats:
    """Posteriors of a system that sees the truth through Gaussian noise; of sharpness 1 they are exact."""
    seen = skill * np.eye(K)[references] + np.random.default_rng(seed).normal(size=(len(references), K))
    scores = sharpness * skill * seen
    shares: Floats = np.exp(scores - scores.max(-1, keepdims=True))
    normalised: Floats = shares / shares.sum(-1, keepdims=True)
    return normalised


def truth(num_utts: int, seed: int = 7) -> Counts:
    return np.random.default_rng(seed).integers(0, K, num_utts)


def solve(posteriors: list[Floats], references: Counts, prior_utts: float) -> Floats:
    """The weights without calibration before."""
    return penalised(log_posteriors(np.stack(posteriors)), references, prior_utts)


def cost(weights: Floats, posteriors: list[Floats], references: Counts, prior_utts: float) -> float:
    """The criterion, negated, as the module's text has it."""
    fused = np.prod([p**w for p, w in zip(posteriors, weights, strict=True)], axis=0)
    fused /= fused.sum(-1, keepdims=True)
    likelihood = np.log(fused[np.arange(len(references)), references]).sum()
    return float(prior_utts / 2 * np.sum((weights - 1 / len(weights)) ** 2) - likelihood)


@pytest.mark.parametrize(
    ("skills", "prior_utts"), [((1.5, 1.0), PRIOR_UTTS), ((1.5, 1.0), 1.0), ((2.0, 0.3), 5.0)]
)
def test_two_systems_against_a_grid(skills: tuple[float, float], prior_utts: float) -> None:
    references = truth(150)
    posteriors = [noisy(references, skill, 0.8, seed) for seed, skill in enumerate(skills)]
    found = solve(posteriors, references, prior_utts)
    step = 0.05
    grid = np.arange(0, 3, step)
    best = min(
        itertools.product(grid, grid), key=lambda w: cost(np.array(w), posteriors, references, prior_utts)
    )
    assert found == pytest.approx(best, abs=step)
    least = cost(found, posteriors, references, prior_utts)
    assert least < cost(np.array(best), posteriors, references, prior_utts)


@pytest.mark.parametrize(("num_systems", "num_utts"), [(2, 60), (5, 300), (20, 60)])
def test_against_a_solver_of_another_kind(num_systems: int, num_utts: int) -> None:
    from scipy.optimize import minimize

    references = truth(num_utts)
    skills = np.linspace(0.3, 1.5, num_systems)
    posteriors = [noisy(references, skill, 1.5, seed) for seed, skill in enumerate(skills)]
    solved = minimize(
        cost,
        np.full(num_systems, 0.5),
        (posteriors, references, PRIOR_UTTS),
        method="SLSQP",
        bounds=[(0, None)] * num_systems,
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert solve(posteriors, references, PRIOR_UTTS) == pytest.approx(solved.x, abs=2e-4)


def test_two_classes_are_logistic_regression() -> None:
    """On differences of log posteriors, without an intercept; the priors differ, so almost none is taken."""
    linear = pytest.importorskip("sklearn.linear_model")
    references = truth(400) % 2
    posteriors = []
    for seed, skill in enumerate((1.5, 1.0, 0.7)):
        pair = noisy(references, skill, 1.0, seed)[:, :2]
        posteriors.append(pair / pair.sum(-1, keepdims=True))
    features = np.stack([np.log(p[:, 1] / p[:, 0]) for p in posteriors], 1)
    other = linear.LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10, max_iter=1000)
    other.fit(features, references)
    assert (other.coef_ > 0).all()
    assert solve(posteriors, references, 1e-9) == pytest.approx(other.coef_[0], abs=2e-4)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**31))
def test_no_order_matters(order: list[int], seed: int) -> None:
    references = truth(120)
    posteriors = [noisy(references, skill, 1.0, number) for number, skill in enumerate((1.5, 1.2, 0.8, 0.4))]
    found = fit_weights(posteriors, references)
    assert fit_weights([posteriors[i] for i in order], references) == pytest.approx(
        [found[i] for i in order], abs=2e-4
    )
    shuffled = np.random.default_rng(seed).permutation(len(references))
    assert fit_weights([p[shuffled] for p in posteriors], references[shuffled]) == pytest.approx(
        found, abs=2e-4
    )
    classes = np.array(order)  # class c stands at place classes[c] now
    assert fit_weights([p[:, np.argsort(classes)] for p in posteriors], classes[references]) == (
        pytest.approx(found, abs=2e-4)
    )


def test_a_duplicate_shares_its_weight() -> None:
    references = truth(200)
    one, two = noisy(references, 1.5, 1.0, 0), noisy(references, 1.0, 1.0, 1)
    first, second, other = solve([one, one, two], references, 1e-3)
    assert first == pytest.approx(second, abs=1e-6)
    assert [first + second, other] == pytest.approx(solve([one, two], references, 1e-3), abs=1e-3)
    first, second, other = fit_weights([one, one, two], references)
    assert first == second
    assert first < other < first + second


def test_a_system_that_says_nothing_does_no_harm() -> None:
    references = truth(500)
    one, two = noisy(references, 1.5, 1.0, 0), noisy(references, 1.0, 1.0, 1)
    even = np.full((len(references), K), 1 / K)
    *weights, nothing = fit_weights([one, two, even], references)
    assert nothing == pytest.approx(1 / 3, abs=1e-4)  # the prior's: its weight changes nothing
    with_it = fuse_posteriors([one, two, even], [*weights, nothing], "power")
    assert with_it == pytest.approx(fuse_posteriors([one, two], weights, "power"))
    assert weights == pytest.approx(fit_weights([one, two], references), abs=0.02)


def test_a_system_that_is_wrong_gets_nothing() -> None:
    references = truth(500)
    wrong = np.roll(noisy(references, 1.5, 1.0, 1), 1, axis=-1)
    weights = fit_weights([noisy(references, 1.5, 1.0, 0), wrong], references)
    assert weights[1] == 0.0
    assert weights[0] > 0.8


def test_systems_that_are_all_wrong_get_equal_weights() -> None:
    """With none above 0 no utterance would have a decision."""
    references = truth(50)
    wrong = np.roll(noisy(references, 1.5, 1.0, 1), 1, axis=-1)
    assert fit_weights([wrong, wrong], references) == [0.5, 0.5]


def test_sharpness_matters_to_nothing() -> None:
    """A system that is too modest, or too sure, is fused as if it were not."""
    references = truth(400)
    one, two = noisy(references, 1.2, 1.0, 0), noisy(references, 1.0, 1.0, 1)
    fused = fuse_posteriors([one, two], fit_weights([one, two], references), "power")
    for power in (0.2, 3.0):
        other = two**power / (two**power).sum(-1, keepdims=True)
        weights = fit_weights([one, other], references)
        assert fuse_posteriors([one, other], weights, "power") == pytest.approx(fused, abs=0.02)


def test_separable_data_have_an_end() -> None:
    """Without the prior the weights would grow for ever."""
    references = truth(100)
    sure = np.full((100, K), 0.02)
    sure[np.arange(100), references] = 1 - 0.02 * (K - 1)
    weak, strong = (solve([sure, sure], references, prior) for prior in (1e-3, 100.0))
    assert weak[0] == pytest.approx(weak[1], abs=1e-6)
    assert 0.5 < strong[0] < weak[0] < 3
    weights = fit_weights([sure, sure], references)
    assert weights[0] == weights[1] < 3
    zeros = np.eye(K)[references]
    assert zeros.min() == 0
    assert fit_weights([zeros, zeros], references) == pytest.approx([0.5, 0.5], abs=1e-4)


def test_zeros_are_no_veto() -> None:
    references = truth(200)
    good = noisy(references, 1.5, 1.0, 0)
    vetoing = np.eye(K)[np.where(np.arange(200) % 10 == 0, (references + 1) % K, references)]
    weights = fit_weights([good, vetoing], references)
    fused = fuse_posteriors([good, vetoing], weights, "power")
    assert np.isfinite(weights).all()
    assert fused[np.arange(200), references].min() > FLOOR


def test_weights_are_the_temperature_too() -> None:
    """Posteriors three times too sure come back as sure as they may be."""
    references = truth(5000)
    exact, too_sure = noisy(references, 1.2, 1.0, 0), noisy(references, 1.2, 3.0, 0)
    weights = fit_weights([too_sure, too_sure], references)
    assert sum(weights) == pytest.approx(1 / 3, abs=0.02)
    assert fuse_posteriors([too_sure, too_sure], weights, "power") == pytest.approx(exact, abs=0.03)


def test_weights_of_few_utterances_are_near_equal() -> None:
    """Two systems of one kind, twenty utterances, fifty times: the prior takes most of the noise away."""
    spreads = []
    for prior_utts in (0.1, PRIOR_UTTS):
        found = []
        for seed in range(50):
            references = truth(20, seed)
            pair = [noisy(references, 1.2, 1.0, 100 + 2 * seed + i) for i in range(2)]
            one, two = solve(pair, references, prior_utts)
            found.append(one - two)
        spreads.append(float(np.std(found)))
    assert spreads[1] < spreads[0] / 2
