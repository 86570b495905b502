"""CSA: sizes, self-attention by its equations, every reading of the paper."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ser.systems.base import Inputs
from ser.systems.csa import Csa
from ser.systems.layers.attention import SelfAttention

PAPER: dict[str, Any] = {
    "num_values": 23,
    "num_classes": 4,
    "context": 30,
    "conv_dim": 2,
    "channels": [32, 64, 128],
    "kernels": [5, 4, 3],
    "pool": [2, 2, 1],
    "attn_reduction": 8,
    "gamma_mode": "scalar",
    "gamma_init": 0.0,
    "softmax_axis": "attended",
    "head_pool": "mean",
    "dropout": 0.0,
}


def run(model: Csa, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    outputs = model(Inputs.of(x, torch.full((len(x),), x.shape[1])))
    return outputs.logits, outputs.extra["self_attention"]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def attention(**changes: Any) -> SelfAttention:
    torch.manual_seed(5)
    options = {"gamma_mode": "scalar", "gamma_init": 0.3, "softmax_axis": "attended"} | changes
    return SelfAttention(16, 4, **options)


def test_parameters() -> None:
    """Counts by hand: attention 20,641, classifier 516, all 129,125 in 2-D and 151,717 in 1-D."""
    two = Csa(**PAPER)
    assert (count(two.attention), count(two.classifier), count(two)) == (20_641, 516, 129_125)
    assert count(Csa(**PAPER | {"conv_dim": 1, "channels": [128, 128, 128]})) == 151_717


@pytest.mark.parametrize("context", [20, 30, 70, 120])
@pytest.mark.parametrize("conv_dim", [1, 2])
@pytest.mark.parametrize("head_pool", ["mean", "flatten"])
def test_positions_of_the_map(context: int, conv_dim: int, head_pool: str) -> None:
    """The convolutions keep the size, also with even kernels; only pooling divides it."""
    model = Csa(**PAPER | {"context": context, "conv_dim": conv_dim, "head_pool": head_pool})
    logits, energy = run(model, torch.randn(3, context, 23))
    positions = (context // 4) * (5 if conv_dim == 2 else 1)
    assert logits.shape == (3, 4)
    assert energy.shape == (3, positions, positions)


@pytest.mark.parametrize(("conv_dim", "width"), [(1, 128), (2, 5 * 128)])
def test_the_mean_over_time_keeps_positions_in_frequency(conv_dim: int, width: int) -> None:
    torch.manual_seed(2)
    model = Csa(**PAPER | {"conv_dim": conv_dim, "head_pool": "mean_time", "gamma_init": 0.5}).eval()
    x = torch.randn(3, 30, 23)
    maps = model.blocks(x.unsqueeze(1) if conv_dim == 2 else x.transpose(1, 2))
    attended = model.attention(maps.flatten(2))[0].reshape(maps.shape)  # (B, C, T) or (B, C, T, F)
    pooled = attended.mean(dim=2).reshape(3, width)  # channel after channel, its filters side by side
    torch.testing.assert_close(run(model, x)[0], model.classifier(pooled))


def test_gamma_0_is_the_identity_and_can_be_learnt() -> None:
    layer = attention(gamma_init=0.0)
    y = torch.randn(2, 16, 9)
    out, _ = layer(y)
    torch.testing.assert_close(out, y)
    out.square().sum().backward()
    assert layer.gamma.grad is not None
    assert layer.gamma.grad.abs() > 0


def test_gamma_squared_cannot_be_learnt_from_0() -> None:
    """Why the literal reading of eqs. 1 and 5 is not the default."""
    layer = attention(gamma_init=0.0, gamma_mode="squared")
    layer(torch.randn(2, 16, 9))[0].square().sum().backward()
    assert layer.gamma.grad is not None
    assert layer.gamma.grad.item() == 0


def test_attention_is_the_equations_of_the_paper() -> None:
    """Eqs. 1-5 written out with loops over positions."""
    layer = attention()
    y = torch.randn(1, 16, 5)
    out, energy = layer(y)
    j, k, value = (conv(y)[0] for conv in (layer.j, layer.k, layer.l))  # (C', N), (C', N), (C, N)
    for o in range(5):
        column = torch.stack([j[:, i] @ k[:, o] for i in range(5)]).softmax(dim=0)
        torch.testing.assert_close(energy[0, :, o], column)
        attended = sum(value[:, i] * column[i] for i in range(5))
        torch.testing.assert_close(out[0, :, o], y[0, :, o] + layer.gamma * attended)


def test_weights_of_every_output_sum_to_1() -> None:
    weights = attention()(torch.randn(3, 16, 9))[1]
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, 9))
    flattened = attention(softmax_axis="flattened")(torch.randn(3, 16, 9))[1]
    torch.testing.assert_close(flattened.sum(dim=(1, 2)), torch.ones(3))


def test_constant_map_attends_to_itself() -> None:
    layer = attention()
    y = torch.randn(2, 16, 1).expand(2, 16, 9)
    torch.testing.assert_close(layer(y)[0], y + layer.gamma * layer.l(y), atol=1e-6, rtol=1e-5)


def test_readings_of_gamma() -> None:
    y = torch.randn(2, 16, 9)
    scalar, squared, proj = (attention(gamma_mode=mode) for mode in ("scalar", "squared", "proj"))
    squared.load_state_dict(scalar.state_dict())
    proj.load_state_dict(scalar.state_dict(), strict=False)
    added = scalar(y)[0] - y
    torch.testing.assert_close(squared(y)[0] - y, added * 0.3, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(proj(y)[0] - y, proj.proj(added), atol=1e-6, rtol=1e-5)


def test_chunks_of_a_batch_do_not_meet_in_evaluation() -> None:
    torch.manual_seed(1)
    model = Csa(**PAPER).eval()
    x = torch.randn(6, 30, 23)
    logits = run(model, x)[0]
    singles = torch.cat([run(model, chunk.unsqueeze(0))[0] for chunk in x])
    torch.testing.assert_close(logits, singles, atol=1e-5, rtol=0)
