"""Normalisation of pooled vectors by speaker, against loops in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser.systems.base import Inputs
from ser.systems.layers.speaker_norm import EPSILON, PRIOR_UTTERANCES, SpeakerNorm, speaker_norm

SPEAKERS = [2, 0, 2, 2, 0, 5]


def inputs_of(speakers: list[int] | None, pooled: torch.Tensor | None = None) -> Inputs:
    numbers = None if speakers is None else torch.tensor(speakers)
    return Inputs({}, {}, speakers=numbers, pooled=pooled)


def vectors(seed: int = 0) -> torch.Tensor:
    return torch.randn((6, 3), generator=torch.Generator().manual_seed(seed)) * 4 + 2


def test_items_of_a_batch_are_normalised_by_those_of_their_speaker() -> None:
    x = vectors()
    expected = np.empty((6, 3))
    for speaker in set(SPEAKERS):
        own = np.array(SPEAKERS) == speaker
        rows = x.numpy()[own].astype(np.float64)
        expected[own] = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + EPSILON)
    given = SpeakerNorm(3)(x, inputs_of(SPEAKERS))
    assert given.numpy() == pytest.approx(expected, abs=1e-5)
    assert (given[5] == 0).all()  # the only one of its speaker


def test_without_speakers_a_batch_is_of_one() -> None:
    given = SpeakerNorm(3)(vectors(), inputs_of(None))
    torch.testing.assert_close(given, SpeakerNorm(3)(vectors(), inputs_of([4] * 6)))
    torch.testing.assert_close(given.mean(dim=0), torch.zeros(3), atol=1e-6, rtol=0)


def test_the_prior_is_the_mean_over_the_batches() -> None:
    layer = SpeakerNorm(3)
    means, variances = [], []
    for seed in range(3):
        x = vectors(seed).numpy().astype(np.float64)
        layer(torch.from_numpy(x).float(), inputs_of([1] * 6))
        means.append(x.mean(axis=0))
        variances.append(x.var(axis=0))
    assert layer.mean.numpy() == pytest.approx(np.mean(means, axis=0), rel=1e-5)
    assert layer.variance.numpy() == pytest.approx(np.mean(variances, axis=0), rel=1e-5)
    layer.eval()(vectors(9), inputs_of([1] * 6))
    assert layer.batches == 3
    assert layer.mean.numpy() == pytest.approx(np.mean(means, axis=0), rel=1e-5)


@pytest.mark.parametrize("utterances", [1, 3, 500])
def test_scales_are_those_of_the_speaker_mixed_with_the_prior(utterances: int) -> None:
    """As if PRIOR_UTTERANCES utterances of vectors with the prior's mean and variance were among them."""
    layer = SpeakerNorm(1)
    layer.mean.fill_(3.0)
    layer.variance.fill_(4.0)
    said = np.random.default_rng(1).normal(10.0, 5.0, size=7 * utterances)
    sums = np.array([[said.sum(), len(said)], [np.square(said).sum(), utterances]])
    prior = np.tile([3.0 - 2.0, 3.0 + 2.0], int(7 * PRIOR_UTTERANCES))  # mean 3, variance 4
    weight = np.concatenate([np.ones(len(said)), np.full(len(prior), 0.5)])
    every = np.concatenate([said, prior])
    mean = np.average(every, weights=weight)
    deviation = np.sqrt(np.average(np.square(every - mean), weights=weight) + EPSILON)
    assert layer.scales(sums)[:, 0].tolist() == pytest.approx([mean, deviation], rel=1e-6)


def test_in_decoding_the_given_scales_are_taken() -> None:
    x, pooled = vectors(), torch.stack([vectors(1), vectors(2).abs() + 1], dim=1)
    given = SpeakerNorm(3).eval()(x, inputs_of(None, pooled))
    torch.testing.assert_close(given, (x - pooled[:, 0]) / pooled[:, 1])


def test_it_is_found_in_a_network() -> None:
    layer = SpeakerNorm(3)
    assert speaker_norm(torch.nn.Sequential(torch.nn.Linear(2, 3), layer)) is layer
    assert speaker_norm(torch.nn.Linear(2, 3)) is None
