"""Capsules after Wu et al.: routing against loops written from the equations, windows, sizes, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from ser.systems.base import Inputs, Outputs
from ser.systems.cnn_capsules import CapsuleBranch, CnnCapsules, count_windows, loss
from ser.systems.layers.blstm import Blstm
from ser.systems.layers.capsules import length, margin_loss, route, squash

WU: dict[str, Any] = {
    "num_values": 200,
    "num_classes": 4,
    "branches": "both",
    "batch_norm": False,
    "channels": 8,
    "hidden": 64,
    "dense": 64,
    "dropout": 0.0,
    "primary_values": 8,
    "capsule_values": 16,
    "routings": 3,
    "recurrent": "none",
    "capsule_loss": "margin",
    "capsule_weight": 0.6,
}
SMALL: dict[str, Any] = WU | {"num_values": 32, "channels": 4, "hidden": 5, "dense": 6, "primary_values": 4,
                              "capsule_values": 3}  # fmt: skip


def make(**changes: Any) -> CnnCapsules:
    torch.manual_seed(4)
    return CnnCapsules(**SMALL | changes).eval()


def run(network: nn.Module, x: torch.Tensor, lengths: list[int] | None = None) -> Outputs:
    frames = torch.tensor([x.shape[1]] * len(x) if lengths is None else lengths)
    with torch.inference_mode():
        outputs: Outputs = network(Inputs.of(x, frames))
    return outputs


Doubles = npt.NDArray[np.float64]


def squashed(s: Doubles) -> Doubles:
    norm = np.linalg.norm(s)
    result: Doubles = norm**2 / (1 + norm**2) * s / norm
    return result


def routed(predictions: Doubles, rounds: int, there: list[int]) -> Doubles:
    """Sabour et al., procedure 1, for one item: predictions (I, J, D)."""
    num_in, num_out, size = predictions.shape
    b = np.zeros((num_in, num_out))
    v = np.zeros((num_out, size))
    for _ in range(rounds):
        for j in range(num_out):
            s = np.zeros(size)
            for i in there:
                s += np.exp(b[i, j]) / np.exp(b[i]).sum() * predictions[i, j]
            v[j] = squashed(s)
        for i in there:
            for j in range(num_out):
                b[i, j] += predictions[i, j] @ v[j]
    return v


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_of_the_papers_sizes() -> None:
    assert count(CnnCapsules(**WU | {"branches": "gru"})) == 83_828
    assert count(CnnCapsules(**WU)) == 83_828 + 61_440 + 4_352
    assert count(CnnCapsules(**WU | {"branches": "capsules"})) == 13_104 + 61_440 + 4_352
    recurrent = CnnCapsules(**WU | {"branches": "capsules", "recurrent": "shared"})
    assert count(recurrent) == 13_104 + 61_440 + 2 * 4_352 + 64
    full = CnnCapsules(**WU | {"branches": "capsules", "recurrent": "full"})
    assert count(full) == 13_104 + 61_440 + 4_352 + 522_240 + 7_680


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_routing_is_sabours(rounds: int) -> None:
    predictions = torch.randn(3, 7, 4, 5, generator=torch.Generator().manual_seed(rounds))
    present = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [True] + [False] * 6])
    for each, here, got in zip(predictions, present, route(predictions, rounds, present), strict=True):
        there = np.flatnonzero(here.numpy()).tolist()
        np.testing.assert_allclose(got, routed(each.double().numpy(), rounds, there), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(route(predictions, rounds)[0], route(predictions, rounds, present)[0])


def test_one_capsule_that_comes_out_gets_everything() -> None:
    predictions = torch.randn(2, 5, 1, 3)
    torch.testing.assert_close(route(predictions, 3), squash(predictions.sum(dim=1)))


def test_the_gradient_goes_through_the_last_round_alone() -> None:
    """So it is the one with the shares held fixed."""
    predictions = torch.randn(1, 4, 3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(route(predictions, 2).sum(), predictions)
    with torch.no_grad():
        first = route(predictions, 1)
        shares = torch.einsum("bijd,bjd->bij", predictions, first).softmax(dim=2)
    s = torch.einsum("bij,bijd->bjd", shares, predictions)
    (expected,) = torch.autograd.grad(squash(s).sum(), predictions)
    torch.testing.assert_close(gradient, expected)


def test_squash_keeps_the_direction() -> None:
    s = torch.randn(50, 6) * torch.logspace(-3, 2, 50)[:, None]
    v = squash(s)
    assert bool(((length(v) > 0) & (length(v) < 1)).all())
    torch.testing.assert_close(nn.functional.cosine_similarity(s[10:], v[10:]), torch.ones(40))
    torch.testing.assert_close(squash(torch.tensor([3.0, 4.0])), 25 / 26 * torch.tensor([0.6, 0.8]))
    zero = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(squash(zero).sum() + length(squash(zero)), zero)
    assert bool(gradient.isfinite().all())


def test_margin_loss_by_hand() -> None:
    lengths = torch.tensor([[0.5, 0.3, 0.05], [0.95, 0.1, 0.0]])
    expected = [0.4**2 + 0.5 * 0.2**2, 0.0]
    torch.testing.assert_close(margin_loss(lengths, torch.tensor([0, 0])), torch.tensor(expected))


def test_windows_cover_every_step() -> None:
    """10 steps every 5: one window for up to 10 steps, then one more for each 5 begun."""
    counts = count_windows(torch.tensor([1, 5, 9, 10, 11, 15, 16, 100]))
    assert counts.tolist() == [1, 1, 1, 1, 2, 2, 3, 19]


def branch(recurrent: str = "none") -> CapsuleBranch:
    torch.manual_seed(9)
    made = CapsuleBranch(
        num_lines=1, num_classes=3, channels=4, primary_values=2, capsule_values=3, routings=3,
        recurrent=recurrent, dense=False,  # type: ignore[arg-type]
    )  # fmt: skip
    if made.bias is not None:
        nn.init.normal_(made.bias)
    return made.eval()


@pytest.mark.parametrize("recurrent", ["none", "shared", "full"])
def test_capsules_by_loops(recurrent: str) -> None:
    """Windows, primary capsules, predictions, routing and what a window says, one after the other."""
    capsules = branch(recurrent)
    y = torch.randn(1, 4, 17, 1)
    parameters = {name: value.detach().double().numpy() for name, value in capsules.named_parameters()}
    padded = np.zeros((4, 20))
    padded[:, :17] = y[0, :, :, 0].double().numpy()
    before = np.zeros(3 * 4)
    said = []
    for start in (0, 5, 10):
        primary = [
            squashed(padded[2 * half : 2 * half + 2, step]) if padded[:, step].any() else np.zeros(2)
            for step in range(start, start + 10)
            for half in (0, 1)
        ]
        predictions = np.einsum("ip,ikdp->ikd", np.array(primary), parameters["weights"])
        if recurrent != "none":
            predictions = predictions + parameters["before"] @ before + parameters["bias"]
        v = routed(predictions, 3, list(range(20)))
        before = np.concatenate([v.ravel(), np.linalg.norm(v, axis=1)])
        said.append(before)
    utterance = np.einsum("wo,kdo->wkd", np.array(said), parameters["over_windows"][0])
    expected = np.linalg.norm(routed(utterance, 3, [0, 1, 2]), axis=1)
    with torch.inference_mode():
        logits, lengths = capsules(y, torch.tensor([17]))
    np.testing.assert_allclose(lengths[0], expected, rtol=1e-4)
    np.testing.assert_allclose(logits.softmax(dim=1)[0], expected / expected.sum(), rtol=1e-4)


def test_the_order_of_windows_matters_to_the_recurrent_ones_alone() -> None:
    """Two windows that share no step, and their swap; those between them are zeros in both."""
    y = torch.zeros(2, 4, 25, 1)
    one, two = torch.randn(4, 5, 1), torch.randn(4, 5, 1)
    y[0, :, 0:5], y[0, :, 20:25] = one, two
    lengths = torch.tensor([25, 25])
    y[1] = y[0].flip(1)
    y[1, :, 0:5], y[1, :, 20:25] = two, one
    for recurrent, same in (("none", True), ("shared", False)):
        capsules = branch(recurrent)
        # a window whose first half speaks equals one whose second half does only if positions share weights
        with torch.no_grad():
            capsules.weights[10:] = capsules.weights[:10]
        found = capsules(y, lengths)[1].detach()
        assert torch.allclose(found[0], found[1], atol=1e-6) == same


@pytest.mark.parametrize("branches", ["gru", "capsules", "both"])
@pytest.mark.parametrize("recurrent", ["none", "shared"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_padding_and_the_batch_change_nothing(branches: str, recurrent: str, batch_norm: bool) -> None:
    network = make(branches=branches, recurrent=recurrent, batch_norm=batch_norm)
    for module in network.modules():  # as if trained: zeros would not stay zeros
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.7)
    lengths = [90, 61, 40, 7, 1]
    x = torch.full((5, 101, 32), 100.0)
    single = [torch.randn(1, length, 32) for length in lengths]
    for row, each in zip(x, single, strict=True):
        row[: each.shape[1]] = each[0]
    together = run(network, x, lengths).logits
    for row, each in enumerate(single):
        torch.testing.assert_close(run(network, each).logits[0], together[row], rtol=1e-4, atol=1e-5)


def test_the_posterior_of_both_is_their_weighted_mean() -> None:
    network = make()
    outputs = run(network, torch.randn(2, 80, 32))
    lengths = outputs.extra["lengths"]
    shares = 0.6 * lengths / lengths.sum(dim=1, keepdim=True) + 0.4 * outputs.extra["gru"].softmax(dim=1)
    torch.testing.assert_close(outputs.logits.softmax(dim=1), shares)


@pytest.mark.parametrize("branches", ["gru", "capsules", "both"])
@pytest.mark.parametrize("capsule_loss", ["margin", "cross_entropy"])
def test_each_branch_has_its_loss(branches: str, capsule_loss: str) -> None:
    outputs = run(make(branches=branches, capsule_loss=capsule_loss), torch.randn(2, 80, 32))
    emotion = torch.tensor([1, 3])
    expected = torch.zeros(2)
    for name in {"gru": ["gru"], "capsules": ["capsules"], "both": ["gru", "capsules"]}[branches]:
        if name == "capsules" and capsule_loss == "margin":
            expected = expected + margin_loss(outputs.extra["lengths"], emotion)
        else:
            expected = expected - outputs.extra[name].log_softmax(dim=1)[[0, 1], emotion]
    torch.testing.assert_close(loss(outputs, {"emotion": emotion}), expected)


def test_a_gru_that_padding_never_reaches() -> None:
    """Torch's own on packed sequences."""
    torch.manual_seed(0)
    ours, theirs = Blstm(6, 5, 1, 0.0, cell=nn.GRU), nn.GRU(6, 5, batch_first=True, bidirectional=True)
    state = {name: value for name, value in ours.ahead[0].state_dict().items()}
    state |= {f"{name}_reverse": value for name, value in ours.back[0].state_dict().items()}
    theirs.load_state_dict(state)
    x, lengths = torch.randn(3, 9, 6), torch.tensor([9, 4, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    _, states = theirs(packed)
    got = Blstm.last_states(ours(x, lengths), lengths)
    torch.testing.assert_close(got, states.transpose(0, 1).flatten(1))
