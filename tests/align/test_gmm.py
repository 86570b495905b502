"""Gaussian mixtures: densities against scipy, estimation, the path from a flat start to known boundaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ser.align import gmm, hmm, phone_model
from ser.align.phone_model import AlignConfig, Example
from tests.align.viterbi import search

SETTINGS = AlignConfig(
    num_cepstra=13, delta_window=2, states=2, components=2, rounds=4, min_frames=5, variance_floor=0.01,
    optional_silence=True, max_minutes=60.0,
)  # fmt: skip


def test_likelihood_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    weights = rng.dirichlet(np.ones(3), size=2)
    mixtures = gmm.Mixtures(np.log(weights), rng.normal(size=(2, 3, 4)), rng.uniform(0.5, 2, size=(2, 3, 4)))
    frames = rng.normal(size=(7, 4)).astype(np.float32)
    expected = np.log(
        [
            sum(
                weights[p, k] * multivariate_normal.pdf(frames, mean, np.diag(variance))
                for k, (mean, variance) in enumerate(
                    zip(mixtures.means[p], mixtures.variances[p], strict=True)
                )
            )
            for p in range(2)
        ]
    ).T
    np.testing.assert_allclose(mixtures.log_likelihood(frames), expected, rtol=1e-4)


def test_one_component_takes_the_moments_of_its_frames() -> None:
    rng = np.random.default_rng(2)
    frames = rng.normal(3.0, 2.0, size=(500, 2)).astype(np.float32)
    pdfs = np.repeat([0, 2], 250).astype(np.int32)
    flat = gmm.flat(3, frames)
    updated = flat.reestimated(frames, pdfs, floor=np.full(2, 1e-3), min_frames=10)
    for pdf, part in ((0, frames[:250]), (2, frames[250:])):
        np.testing.assert_allclose(updated.means[pdf, 0], part.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(updated.variances[pdf, 0], part.var(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(updated.means[1], flat.means[1])  # no frame, no change
    floored = flat.reestimated(frames, pdfs, floor=np.full(2, 9.0), min_frames=10)
    np.testing.assert_array_equal(floored.variances[0], 9.0)


def test_splitting_keeps_the_density_and_estimation_raises_it() -> None:
    rng = np.random.default_rng(3)
    frames = np.concatenate([rng.normal(-2, 1, (300, 1)), rng.normal(2, 1, (100, 1))]).astype(np.float32)
    pdfs = np.zeros(400, np.int32)
    mixtures = gmm.flat(1, frames)
    before = mixtures.log_likelihood(frames).sum()
    mixtures = mixtures.split()
    scores = []
    for _ in range(30):
        mixtures = mixtures.reestimated(frames, pdfs, floor=np.full(1, 1e-3), min_frames=10)
        scores.append(mixtures.log_likelihood(frames).sum())
    assert scores[0] > before
    assert all(later > earlier - 0.5 for earlier, later in zip(scores[:-1], scores[1:], strict=True))
    assert sorted(mixtures.means.ravel()) == pytest.approx([-2, 2], abs=0.25)
    assert np.exp(mixtures.log_weights).sum() == pytest.approx(1)


def test_rare_components_stay_as_they_are() -> None:
    frames = np.zeros((3, 1), np.float32)
    mixtures = gmm.Mixtures(np.zeros((1, 1)), np.full((1, 1, 1), 5.0), np.full((1, 1, 1), 7.0))
    updated = mixtures.reestimated(frames, np.zeros(3, np.int32), floor=np.full(1, 0.1), min_frames=10)
    assert (updated.means.item(), updated.variances.item()) == (5.0, 7.0)


def synthetic(num: int) -> tuple[list[Example], list[list[int]]]:
    """Utterances of the phones a, b, c and silence, each with its own spectrum; where they really begin."""
    rng = np.random.default_rng(4)
    pdfs = phone_model.first_pdfs(["-", "a", "b", "c"], SETTINGS.states)
    means = {phone: rng.normal(0, 1.5, size=12) for phone in pdfs}
    examples, truths = [], []
    for number in range(num):
        phones = [str(phone) for phone in rng.permutation(["a", "b", "c", "a", "b", "c"])]
        phones = [phone for phone, after in zip(phones, [*phones[1:], ""], strict=True) if phone != after]
        sounds = ["-", *phones, "-"]
        lengths = rng.integers(6, 30, size=len(sounds))
        frames = np.concatenate(
            [rng.normal(means[s], 1.0, size=(n, 12)) for s, n in zip(sounds, lengths, strict=True)]
        ).astype(np.float32)
        graph = hmm.utterance_graph([[(phone,)] for phone in phones], pdfs, SETTINGS.states, "-")
        start = hmm.uniform_path(sounds, pdfs, SETTINGS.states, len(frames))
        examples.append(Example(f"u{number}", frames, graph, start))
        truths.append(np.cumsum(lengths)[:-1].tolist())
    return examples, truths


@pytest.mark.slow
def test_a_flat_start_finds_the_boundaries(tmp_path: Path) -> None:
    examples, truths = synthetic(40)
    train = phone_model.train
    model = train(examples, ["-", "a", "b", "c"], SETTINGS, search, lambda items, _what: items)
    again = train(examples, ["-", "a", "b", "c"], SETTINGS, search, lambda items, _what: items)
    np.testing.assert_array_equal(model.mixtures.means, again.mixtures.means)
    model.save(tmp_path / "model.npz")
    loaded = phone_model.load(tmp_path / "model.npz")
    assert (loaded.phones, loaded.num_states) == (model.phones, 2)
    np.testing.assert_array_equal(loaded.log_transitions, model.log_transitions)
    errors = []
    for example, truth in zip(examples, truths, strict=True):
        best = search(
            [example.graph], loaded.log_transitions, [loaded.mixtures.log_likelihood(example.frames)]
        )[0]
        assert best is not None
        edges = (np.flatnonzero(np.diff(best.segments)) + 1).tolist()
        assert len(edges) == len(truth)
        errors += [abs(edge - true) for edge, true in zip(edges, truth, strict=True)]
    assert np.mean(np.array(errors) <= 1) > 0.98
