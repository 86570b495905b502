"""BLSTMATT: the paper's size, and batches that are as good as single segments."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ser.systems.base import Inputs
from ser.systems.blstmatt import Blstmatt
from ser.systems.layers import blstm
from ser.systems.layers.blstm import Blstm

LENGTHS = torch.tensor([37, 5, 22, 1])


def make(frame_stack: int = 1, hidden: int = 16) -> Blstmatt:
    torch.manual_seed(3)
    return Blstmatt(
        num_values=23,
        num_classes=4,
        hidden=hidden,
        layers=2,
        attention_dim=8,
        frame_stack=frame_stack,
        dropout=0.0,
    )


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_at_the_papers_size() -> None:
    """The counts follow from the paper's sizes: 8,499,200 + 262,529 + 4,100."""
    model = Blstmatt(
        num_values=23, num_classes=4, hidden=512, layers=2, attention_dim=128, frame_stack=1, dropout=0.0
    )
    parts = (count(model.encoder), count(model.attention), count(model.classifier))
    assert parts == (8_499_200, 262_529, 4_100)
    assert count(model) == 8_765_829


def test_encoder_equals_torch_lstm_on_packed_sequences() -> None:
    """The oracle is torch's own bidirectional LSTM with packing."""
    torch.manual_seed(0)
    ours = Blstm(7, 5, 2, 0.0)
    theirs = nn.LSTM(7, 5, num_layers=2, bidirectional=True, batch_first=True)
    for layer, (ahead, back) in enumerate(zip(ours.ahead, ours.back, strict=True)):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            for source, suffix in ((ahead, ""), (back, "_reverse")):
                getattr(theirs, f"{name}_l{layer}{suffix}").data.copy_(getattr(source, f"{name}_l0").data)
    x = torch.randn(4, 37, 7)
    packed = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    expected = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)[0]
    got = ours(x, LENGTHS)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(got[row, :length], expected[row, :length], atol=1e-6, rtol=1e-5)


def test_a_long_segment_goes_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder, x, lengths = Blstm(7, 5, 2, 0.0), torch.randn(2, 50, 7), torch.tensor([50, 33])
    whole = encoder(x, lengths)
    monkeypatch.setattr(blstm, "BLOCK_STEPS", 16)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(x, lengths), whole.detach())
    steps: list[int] = []
    handle = encoder.ahead[0].register_forward_hook(lambda _, taken, __: steps.append(len(taken[0])))
    with torch.no_grad():
        encoder(x, lengths)
    encoder(x, lengths)
    handle.remove()
    assert steps == [16, 16, 16, 2, 50]


def run(model: Blstmatt, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    outputs = model(Inputs.of(x, lengths))
    assert outputs.attention is not None
    return outputs.logits, outputs.attention


def loss_of(model: Blstmatt, x: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(Inputs.of(x, lengths)).logits, labels, reduction="sum")


@pytest.mark.parametrize("frame_stack", [1, 3, 4])
def test_padded_batch_equals_batch_1(frame_stack: int) -> None:
    """Logits, attention and gradients agree to 1e-5, whatever is on the padding, whatever the remainder."""
    model = make(frame_stack)
    lengths, labels = torch.tensor([37, 5, 22, 1, 36, 7]), torch.tensor([0, 3, 1, 2, 0, 1])
    assert {int(length) % frame_stack for length in lengths} == set(range(frame_stack))
    x = torch.randn(6, 37, 23)
    for row, length in enumerate(lengths):
        x[row, length:] = 1e6
    logits, attention = run(model, x, lengths)
    loss_of(model, x, lengths, labels).backward()
    together = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    for row, length in enumerate(lengths):
        single = x[row : row + 1, :length]
        one, weights = run(model, single, lengths[row : row + 1])
        torch.testing.assert_close(logits[row : row + 1], one, atol=1e-5, rtol=0)
        torch.testing.assert_close(attention[row, :length], weights[0], atol=1e-5, rtol=0)
        assert attention[row, length:].eq(0).all()
        loss_of(model, single, lengths[row : row + 1], labels[row : row + 1]).backward()
    for batch, singles in zip(together, model.parameters(), strict=True):
        torch.testing.assert_close(batch, singles.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frame_stack", [1, 2, 3])
def test_attention_sums_to_1_over_frames(frame_stack: int) -> None:
    """Also with stacked frames, whose step shares its weight evenly."""
    attention = run(make(frame_stack), torch.randn(4, 37, 23), LENGTHS)[1]
    assert attention.shape == (4, 37)
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(4))
    steps = attention[0, : 36 // frame_stack * frame_stack].view(-1, frame_stack)
    assert steps.eq(steps[:, :1]).all()


@pytest.mark.parametrize("num_frames", range(1, 10))
def test_a_step_counts_by_its_real_frames(num_frames: int) -> None:
    """Where nothing tells steps apart, all frames have one weight: no spike in an incomplete last step."""
    model = make(frame_stack=3)
    for parameter in model.encoder.parameters():
        nn.init.zeros_(parameter)  # h is 0 everywhere
    attention = run(model, torch.randn(2, 9, 23), torch.tensor([num_frames, 9]))[1]
    torch.testing.assert_close(attention[0, :num_frames], torch.full((num_frames,), 1 / num_frames))
    torch.testing.assert_close(attention[1], torch.full((9,), 1 / 9))
    assert attention[0, num_frames:].eq(0).all()


def test_an_incomplete_step_is_as_much_of_one() -> None:
    """A step of which a third is real counts as a third of the same step: three of them as one."""
    attention = make().attention
    h = torch.randn(1, 4, 32)
    real = torch.tensor([[1.0, 1.0, 1.0, 1 / 3]])
    context, weights = attention(h, real)
    thirds = torch.cat([h[:, :3].repeat_interleave(3, dim=1), h[:, 3:]], dim=1)  # (1, 10, 32)
    expected, split = attention(thirds, torch.ones(1, 10))
    torch.testing.assert_close(context, expected)
    torch.testing.assert_close(weights[0, :3], split[0, :9].view(3, 3).sum(dim=1))
    torch.testing.assert_close(weights[0, 3], split[0, 9])


def test_order_of_the_batch_does_not_matter() -> None:
    model = make()
    x, order = torch.randn(4, 37, 23), torch.tensor([2, 0, 3, 1])
    logits = run(model, x, LENGTHS)[0]
    torch.testing.assert_close(run(model, x[order], LENGTHS[order])[0], logits[order], atol=1e-6, rtol=0)


def test_attention_is_the_formula_of_the_paper() -> None:
    """Weights a = softmax(w_h . (tanh(W h) * tanh(W_m mean h))), c = sum of a h, with loops."""
    attention = make().attention
    h = torch.randn(1, 6, 32)
    context, weights = attention(h, torch.ones(1, 6))
    mean = sum(h[0, t] for t in range(6)) / 6
    scores = []
    for t in range(6):
        u = torch.tanh(attention.frame.weight @ h[0, t] + attention.frame.bias)
        u = u * torch.tanh(attention.mean.weight @ mean + attention.mean.bias)
        scores.append(attention.score.weight[0] @ u)
    a = torch.stack(scores).softmax(dim=0)
    torch.testing.assert_close(weights[0], a)
    torch.testing.assert_close(context[0], sum(a[t] * h[0, t] for t in range(6)))
