"""The pooled network and the learnt sum of layers, by formulas written out anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ser.feats.base import Layout
from ser.systems.base import Inputs, Sizes
from ser.systems.blstmatt import Blstmatt
from ser.systems.csa import Csa
from ser.systems.layers.layer_sum import LayerSum, layer_weights, num_layers
from ser.systems.pooled import Pooled
from tests.systems.test_csa import PAPER

BLSTMATT: dict[str, Any] = {
    "num_classes": 4,
    "hidden": 6,
    "layers": 2,
    "attention_dim": 4,
    "frame_stack": 2,
    "dropout": 0.0,
}


def batch(num_values: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(3, 9, num_values), torch.tensor([9, 4, 1])


def set_logits(layers: LayerSum, values: list[float]) -> None:
    layers.logits.data = torch.tensor(values)


def test_the_network_is_its_equation() -> None:
    """SUPERB: sum_l w_l x_l, a linear layer, the mean over real frames, a linear layer; with loops."""
    network = Pooled(num_values=5, num_layers=3, num_classes=4, projection=7, dropout=0.0).eval()
    set_logits(network.layers, [0.5, -1.0, 2.0])
    x, lengths = batch(15)
    logits = network(Inputs.of(x, lengths)).logits.detach().double().numpy()
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    powers = [np.exp(0.5), np.exp(-1.0), np.exp(2.0)]
    for row, length in enumerate(lengths.tolist()):
        total = np.zeros(7)
        for t in range(length):
            frame = x[row, t].double().numpy()
            summed = sum(p / sum(powers) * frame[5 * i : 5 * i + 5] for i, p in enumerate(powers))
            total += state["projection.weight"] @ summed + state["projection.bias"]
        expected = state["classifier.weight"] @ (total / length) + state["classifier.bias"]
        np.testing.assert_allclose(logits[row], expected, atol=1e-5)


def test_padding_and_batches_change_nothing() -> None:
    network = Pooled(num_values=5, num_layers=1, num_classes=4, projection=7, dropout=0.5).eval()
    x, lengths = batch(5)
    logits = network(Inputs.of(x, lengths)).logits
    loud = x.clone()
    loud[1, 4:], loud[2, 1:] = 1e6, -1e6
    torch.testing.assert_close(network(Inputs.of(loud, lengths)).logits, logits)
    for row, length in enumerate(lengths):
        alone = network(Inputs.of(x[row : row + 1, :length], length[None])).logits
        torch.testing.assert_close(alone[0], logits[row])


def test_weights_start_equal_and_are_learnt() -> None:
    layers = LayerSum(3)
    x, _ = batch(15)
    torch.testing.assert_close(layers(x), x.reshape(3, 9, 3, 5).mean(dim=2))
    layers(x).square().sum().backward()
    assert layers.logits.grad is not None
    assert layers.logits.grad.abs().min() > 0
    assert LayerSum(1)(x) is x
    assert list(LayerSum(1).parameters()) == []


@pytest.mark.parametrize("kind", ["blstmatt", "csa"])
def test_other_networks_sum_layers_first(kind: str) -> None:
    """The same network without layers, given the sum, says the same."""
    torch.manual_seed(1)
    x = torch.randn(2, 30, 3 * 23)
    lengths = torch.tensor([30, 30])

    def make(layers: int) -> Blstmatt | Csa:
        if kind == "csa":
            return Csa(**PAPER | {"conv_dim": 1, "num_layers": layers}).eval()
        return Blstmatt(num_values=23, num_layers=layers, **BLSTMATT).eval()

    layered, plain = make(3), make(1)
    set_logits(layered.layers, [0.5, -1.0, 2.0])
    missing = plain.load_state_dict(layered.state_dict(), strict=False)
    assert (missing.missing_keys, missing.unexpected_keys) == ([], ["layers.logits"])
    expected = plain(Inputs.of(layered.layers(x), lengths)).logits
    torch.testing.assert_close(layered(Inputs.of(x, lengths)).logits, expected)


def test_the_weights_are_told() -> None:
    sizes = Sizes({"whisper": 15}, 4, {}, {"whisper": Layout((2, 3, 4), ordered=False)})
    assert (num_layers(sizes, "whisper"), num_layers(Sizes({"fbank": 23}, 4, {}), "fbank")) == (3, 1)
    logits = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    told = layer_weights({"layers.logits": logits}, sizes)
    assert told == {"weight of layer 2": 0.2, "weight of layer 3": 0.5, "weight of layer 4": 0.3}
    assert layer_weights({}, sizes) == {}
