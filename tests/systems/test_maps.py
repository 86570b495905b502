"""CNN-LSTM and attention pooling: sizes, axes, padding, attention by its equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ser.systems.attention_pooling import AttentionPooling
from ser.systems.base import Inputs, Outputs
from ser.systems.cnn_lstm import CnnLstm
from ser.systems.layers.maps import convolution

SATT: dict[str, Any] = {
    "num_values": 200,
    "num_classes": 4,
    "context": 300,
    "channels": (16, 24, 32),
    "batch_norm": False,
    "head": "lstm",
    "hidden": 128,
    "bidirectional": True,
    "dense": 64,
    "dropout": 0.0,
}
LI: dict[str, Any] = {
    "num_classes": 4,
    "channels": (8, 32, 48, 64, 80),
    "scaling": "minmax",
    "mu_law": True,
    "pooling": "mean",
}
SMALL: dict[str, Any] = SATT | {
    "num_values": 16,
    "context": 64,
    "channels": (2, 3, 4),
    "hidden": 5,
    "dense": 6,
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def random_network(kind: type[nn.Module], options: dict[str, Any]) -> Any:
    """In evaluation mode, with statistics of batches that are not those of the start."""
    torch.manual_seed(3)
    network = kind(**options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def run(network: nn.Module, x: torch.Tensor, lengths: list[int] | None = None) -> Outputs:
    frames = torch.tensor([x.shape[1]] * len(x) if lengths is None else lengths)
    with torch.inference_mode():
        outputs: Outputs = network(Inputs.of(x, frames))
    return outputs


def test_parameters_of_the_papers_sizes() -> None:
    assert count(CnnLstm(**SATT)) == 1_035_916
    assert count(CnnLstm(**SATT | {"num_values": 400})) == 1_855_116
    one_way = CnnLstm(**SATT | {"bidirectional": False})
    assert isinstance(one_way.encoder, nn.LSTM)
    assert count(one_way.encoder) == 476_160
    assert count(CnnLstm(**SATT).blocks) == 3_088 + 36_888 + 26_912
    assert count(AttentionPooling(**LI)) == 93_573


@pytest.mark.parametrize("kernel", [(1, 1), (2, 10), (8, 2), (3, 5)])
def test_a_convolution_keeps_the_size(kernel: tuple[int, int]) -> None:
    block = convolution(1, 2, kernel, batch_norm=True)
    assert block(torch.randn(3, 1, 11, 12)).shape == (3, 2, 11, 12)
    assert convolution(1, 2, kernel, batch_norm=False, pool=(2, 4))(torch.randn(3, 1, 11, 12)).shape == (
        3,
        2,
        5,
        3,
    )


def test_the_sequence_axis_is_time() -> None:
    """Input that comes 8 frames later moves what the LSTM reads by one step; all channels are in each."""
    network = random_network(CnnLstm, SMALL | {"context": 256})
    x = torch.randn(1, 256, 16)
    x[:, :88] = x[:, -88:] = 0
    with torch.inference_mode():
        maps = [network.blocks(each.unsqueeze(1)) for each in (x, x.roll(8, dims=1))]
    steps, later = (network.steps(each) for each in maps)
    assert steps.shape == (1, 32, 4 * 2)
    torch.testing.assert_close(later[:, 7:-6], steps[:, 6:-7])  # beyond the reach of the edges
    shuffled = network.steps(maps[0][:, [2, 0, 3, 1]])
    assert shuffled.shape == steps.shape
    torch.testing.assert_close(shuffled.sum(dim=2), steps.sum(dim=2))


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_last_states_are_those_of_torchs_lstm(bidirectional: bool) -> None:
    network = random_network(CnnLstm, SMALL | {"bidirectional": bidirectional})
    x = torch.randn(1, 64, 16)
    reference = nn.LSTM(8, 5, batch_first=True, bidirectional=bidirectional)
    if bidirectional:
        state = {f"{name}": value for name, value in network.encoder.ahead[0].state_dict().items()}
        state |= {f"{name}_reverse": value for name, value in network.encoder.back[0].state_dict().items()}
        reference.load_state_dict(state)
    else:
        reference.load_state_dict(network.encoder.state_dict())
    with torch.inference_mode():
        _, (states, _) = reference(network.steps(network.blocks(x.unsqueeze(1))))
        expected = network.classifier(states.transpose(0, 1).flatten(1))
    torch.testing.assert_close(run(network, x).logits, expected)


def test_without_an_lstm_the_whole_map_is_classified() -> None:
    network = CnnLstm(**SATT | {"head": "convolutions"})
    assert network.encoder is None
    assert network.classifier[0].in_features == 48 * (300 // 32) * (200 // 32)
    assert run(network, torch.randn(2, 300, 200)).logits.shape == (2, 4)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(CnnLstm, SMALL), (CnnLstm, SMALL | {"bidirectional": False, "batch_norm": True}),
     (CnnLstm, SMALL | {"head": "convolutions", "num_values": 32}),
     (AttentionPooling, LI | {"channels": (2, 3, 4, 5, 6)})],
)  # fmt: skip
def test_what_stands_behind_an_end_changes_nothing(kind: type[nn.Module], options: dict[str, Any]) -> None:
    network = random_network(kind, options)
    x = torch.randn(3, 64, options.get("num_values", 16))
    lengths = [64, 37, 3]
    other = x.clone()
    for row, length in enumerate(lengths):
        other[row, length:] = 100.0
    expected, got = run(network, x, lengths), run(network, other, lengths)
    torch.testing.assert_close(got.logits, expected.logits)
    for row, length in enumerate(lengths):
        alone = run(network, other[row : row + 1], [length])
        torch.testing.assert_close(alone.logits[0], expected.logits[row])


def test_scaling_and_mu_law() -> None:
    """By the formulas, of the real values of each segment alone."""
    network = AttentionPooling(**LI)
    x = torch.randn(2, 9, 5) * 7 - 30
    scaled = network.scale(x, torch.tensor([9, 4])).numpy()
    for row, length in ((0, 9), (1, 4)):
        real = x[row, :length].numpy()
        linear = 2 * (real - real.min()) / (real.max() - real.min()) - 1
        expected = np.sign(linear) * np.log1p(255 * np.abs(linear)) / np.log(256)
        np.testing.assert_allclose(scaled[row, :length], expected, rtol=1e-4, atol=1e-6)
        assert (scaled[row].min(), scaled[row].max()) == (-1.0, 1.0)
        assert not scaled[row, length:].any()
    linear_only = AttentionPooling(**LI | {"mu_law": False})
    assert not linear_only.scale(torch.full((1, 4, 5), 3.0), torch.tensor([4])).any()
    torch.testing.assert_close(
        AttentionPooling(**LI | {"mu_law": False, "scaling": "none"}).scale(x, torch.tensor([9, 9])), x
    )


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_uniform_attention_is_the_average_of_the_class_maps(pooling: str) -> None:
    network = random_network(AttentionPooling, LI | {"pooling": pooling})
    nn.init.zeros_(network.score.weight)
    x = torch.randn(2, 40, 16)
    kept: list[torch.Tensor] = []
    network.class_maps.register_forward_hook(lambda _m, _i, out: kept.append(out))
    outputs = run(network, x)
    average = kept[0].mean(dim=(2, 3))
    torch.testing.assert_close(outputs.logits, average / (1 if pooling == "sum" else 10 * 4))
    assert outputs.attention is not None
    torch.testing.assert_close(outputs.attention, torch.full((2, 40), 1 / 40))


@pytest.mark.parametrize("length", [1, 4, 5, 18, 41, 43])
def test_attention_lies_on_real_frames(length: int) -> None:
    """It is the softmax over time and frequency, summed over frequency, the same in the frames of a step."""
    network = random_network(AttentionPooling, LI)
    x = torch.randn(1, 43, 16)
    scores: list[torch.Tensor] = []
    network.score.register_forward_hook(lambda _m, _i, out: scores.append(out))
    outputs = run(network, x, [length])
    assert outputs.attention is not None
    steps = min(-(-length // 4), 10)
    expected = scores[0][0, 0, :steps].flatten().softmax(dim=0).view(steps, -1).sum(dim=1)
    weights = outputs.attention[0]
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    assert not weights[length:].any()
    for step, weight in enumerate(expected):
        frames = weights[4 * step : min(4 * step + 4, length)]
        torch.testing.assert_close(frames, torch.full_like(frames, float(weight) / len(frames)))
