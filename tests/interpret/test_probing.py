"""Masking and integrated gradients, on networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("captum", reason="utils/install.sh --extra interpret is not done")

from ser.interpret.maps import Attended
from ser.interpret.masking import CONDITIONS, choose
from ser.interpret.nulls import CONSONANT, VOWEL
from ser.interpret.probing import Probe
from ser.systems.blstmatt import Blstmatt


class Linear(nn.Module):
    """Logit 0 is the mean of filter 0 over frames, logit 1 is 0; attention is uniform."""

    def forward(self, x: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        assert num_frames.eq(x.shape[1]).all()
        mean = x[..., 0].mean(1)
        return torch.stack([8 * mean, 0 * mean], dim=1), torch.full(x.shape[:2], 1.0 / x.shape[1])


def rows(kinds: list[tuple[str, int]]) -> list[Attended]:
    made, first = [], 0
    for kind, frames in kinds:
        made.append(
            Attended("u", "s", "ang", "ang", "right", kind, kind[0], first, frames, 0.1, 1.0, 1.0, 0.5)
        )
        first += frames
    return made


KINDS = [("silence", 5), ("vowel", 6), ("consonant", 6), ("vowel", 6), ("consonant", 6), ("silence", 3)]


def features(seed: int = 0) -> np.ndarray:
    """Filter 0 is 1 in vowels and 0 elsewhere; the others are noise."""
    x = np.random.default_rng(seed).normal(size=(32, 4)).astype(np.float32)
    x[:, 0] = 0
    x[5:11, 0] = x[17:23, 0] = 1
    return x


def test_a_linear_network_is_explained_exactly() -> None:
    """Attribution of frame t to logit 0: 8 (x_t0 - mean x_0) / T."""
    x = features()
    by_frame, hyp = Probe(Linear(), ("ang", "sad"), 8).integrated_gradients(x)
    assert hyp == 0
    np.testing.assert_allclose(by_frame, 8 * (x[:, 0] - x[:, 0].mean()) / 32, atol=1e-6)


def test_attributions_sum_to_the_rise_of_the_logit() -> None:
    """Completeness, on a BLSTMATT."""
    torch.manual_seed(3)
    network = Blstmatt(
        num_filters=4, num_classes=3, hidden=8, layers=2, attention_dim=6, frame_stack=3, dropout=0.0
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    x = features(1)
    probe = Probe(network, ("ang", "hap", "sad"), 200)
    by_frame, hyp = probe.integrated_gradients(x)
    mean = np.tile(x.mean(0), (len(x), 1))
    lengths = torch.tensor([len(x)])
    with torch.inference_mode():
        rise = [float(network(torch.from_numpy(v)[None], lengths)[0][0, hyp]) for v in (x, mean)]
    assert abs(rise[0] - rise[1]) > 1e-3
    assert by_frame.sum() == pytest.approx(rise[0] - rise[1], rel=1e-3)


def test_masking_vowels_lowers_what_rests_on_vowels() -> None:
    probe = Probe(Linear(), ("ang", "sad"), 8)
    found = {row.condition: row for row in probe.mask(features(), rows(KINDS), 0.25, 5, 0)}
    assert tuple(found) == CONDITIONS
    assert {row.frames for row in found.values()} == {6}  # a quarter of 24
    mean = 12 / 32
    vowel = 8 * (12 - 6 + 6 * mean) / 32  # six vowel frames become the mean frame
    consonant = 8 * (12 + 6 * mean) / 32
    logistic = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    assert found["vowel"].posterior == pytest.approx(logistic(8 * mean))
    assert found["vowel"].masked == pytest.approx(logistic(vowel))
    assert found["consonant"].masked == pytest.approx(logistic(consonant))
    assert found["vowel"].log_odds == pytest.approx(8 * mean - vowel)
    assert found["vowel"].changed == 0


def test_kinds_in_gradients() -> None:
    found = {row.kind: row for row in Probe(Linear(), ("ang", "sad"), 8).attribute(features(), rows(KINDS))}
    assert {kind: row.frames for kind, row in found.items()} == {"consonant": 12, "silence": 8, "vowel": 12}
    expected = np.abs(features()[:, 0] - 12 / 32)
    assert found["vowel"].magnitude == pytest.approx((1 - 12 / 32) / expected.mean(), rel=1e-5)
    assert found["vowel"].attention == pytest.approx(1)
    assert np.isnan(found["vowel"].correlation)  # uniform attention has no ranks


def test_nothing_is_masked_where_there_is_too_little() -> None:
    few = rows([("vowel", 2), ("consonant", 28), ("silence", 2)])
    assert Probe(Linear(), ("ang", "sad"), 8).mask(features(), few, 0.25, 3, 0) == []


def test_frames_are_chosen_within_the_budget() -> None:
    random = np.random.default_rng(0)
    segments = np.array([(4 * i, 4, VOWEL if i % 2 else CONSONANT) for i in range(10)])
    weights = random.random(40)
    chosen = choose(segments, weights, 10, 4, 1)
    assert chosen is not None
    for condition, draws in chosen.items():
        assert len(draws) == (1 if condition in ("top", "bottom") else 4)
        for frames in draws:
            assert len(set(frames.tolist())) == 10
            kinds = {int(frame) // 4 % 2 for frame in frames}
            assert condition not in ("vowel", "consonant") or kinds == {int(condition == "vowel")}
    a_phone = weights.reshape(10, 4).mean(1)
    assert set((chosen["top"][0] // 4).tolist()) == set(np.argsort(-a_phone)[:3].tolist())
    assert set((chosen["bottom"][0] // 4).tolist()) == set(np.argsort(a_phone)[:3].tolist())
