"""Chunks of an utterance: what is decided on it, and where its attention lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ser.feats.chunking import ChunkingConfig, Chunks
from ser.feats.subset import Subset
from ser.learn.inference import decode, pool_attention
from ser.systems.base import Inputs, Outputs
from tests.learn.conftest import EMOTIONS, MakePart

CHUNKING = ChunkingConfig(20, 0, None, "pad", "pad", "mean", decoding_shift=7, fill="zeros")


class Peaks(nn.Module):
    """Weights by the first filter's square, logits of the weighted mean."""

    def forward(self, inputs: Inputs) -> Outputs:
        x, lengths = inputs.main
        real = torch.arange(x.shape[1]) < lengths[:, None]
        weights = x[:, :, 0].square() * real
        weights = weights / weights.sum(dim=1, keepdim=True)
        return Outputs((x * weights[:, :, None]).sum(dim=1)[:, : len(EMOTIONS)], weights)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def test_an_utterance_is_the_mean_of_its_chunks(make_part: MakePart) -> None:
    """A walk over every utterance: windows of 20 frames every 7, the last shorter, each counts the same."""
    subset = Subset(make_part("test"), ["fbank"], "none")
    for decision in decode(Peaks(), CHUNKING, subset, torch.device("cpu")):
        x = subset.main.read(decision.index).astype(np.float64)
        starts = [start for start in range(0, len(x), 7) if start == 0 or start + 20 - 7 < len(x)]
        posteriors, attention = [], np.zeros(len(x))
        for start in starts:
            chunk = x[start : start + 20]
            weights = chunk[:, 0] ** 2 / (chunk[:, 0] ** 2).sum()
            posteriors.append(softmax((weights @ chunk)[: len(EMOTIONS)]))
            attention[start : start + 20] += weights / len(starts)
        assert decision.chunks is not None
        assert decision.posterior is not None
        assert decision.attention is not None
        np.testing.assert_allclose(decision.chunks, posteriors, atol=1e-6)
        np.testing.assert_allclose(decision.posterior, np.mean(posteriors, axis=0), atol=1e-6)
        np.testing.assert_allclose(decision.attention, attention, atol=1e-6)
    assert decision.index == len(subset) - 1


@pytest.mark.parametrize("cut", ["sliding", "parts"])
def test_decoding_does_not_depend_on_the_batch(
    make_part: MakePart, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    subset = Subset(make_part("test"), ["fbank"], "none")
    chunking = ChunkingConfig(20, 5, None, "pad", "pad", "mean", cut=cut, fill="zeros")  # type: ignore[arg-type]
    expected = list(decode(Peaks(), chunking, subset, torch.device("cpu")))
    monkeypatch.setattr("ser.learn.inference.BATCH_FRAMES", 60)
    for one, two in zip(expected, decode(Peaks(), chunking, subset, torch.device("cpu")), strict=True):
        np.testing.assert_allclose(one.posterior, two.posterior, atol=1e-6)
        np.testing.assert_allclose(one.attention, two.attention, atol=1e-6)


def test_attention_of_chunks_that_overlap() -> None:
    chunks = Chunks(np.array([0, 0]), np.array([0, 2]), np.array([3, 2]))
    weights = np.array([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]], np.float32)
    assert pool_attention(weights, chunks, 5).tolist() == [0.25, 0.125, 0.5, 0.125, 0.0]
