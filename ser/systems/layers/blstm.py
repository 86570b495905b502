"""A bidirectional LSTM, or GRU, that padding never reaches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BLOCK_STEPS = 50_000  # steps at a time where there is no gradient


class Blstm(nn.Module):
    """A stack of bidirectional LSTM layers, exact on padded batches.

    Every layer is two one-directional LSTMs; the backward one reads each sequence reversed inside its own
    length.  So padding stands behind the data for both and never reaches it.  It equals
    ``nn.LSTM(bidirectional=True)`` on packed sequences, whose backward pass is 4-13 times slower on CPUs.
    """

    def __init__(
        self,
        input_dim: int,
        hidden: int,
        layers: int,
        dropout: float,
        cell: type[nn.LSTM] | type[nn.GRU] = nn.LSTM,
    ) -> None:
        """``hidden`` units per direction; ``dropout`` drops units of each layer's output.

        A dropped unit is dropped for the whole segment (Gal & Ghahramani 2016), which on a CPU also costs a
        tenth of drawing a mask for every frame.
        """
        super().__init__()
        sizes = [input_dim] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(cell(size, hidden) for size in sizes)
        self.back = nn.ModuleList(cell(size, hidden) for size in sizes)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F) and the lengths (B,) to (B, T, 2 hidden); rows behind the lengths mean nothing."""
        x = x.transpose(0, 1)  # (T, B, F), as LSTMs compute
        step = torch.arange(x.shape[0], device=x.device).unsqueeze(1)  # (T, 1)
        mirror = lengths - 1 - step  # (T, B)
        mirror = torch.where(mirror >= 0, mirror, step)  # padding stays where it is
        row = torch.arange(x.shape[1], device=x.device)  # (B,)
        mirror = (mirror * x.shape[1] + row).flatten()  # (T * B,)
        for ahead, back in zip(self.ahead, self.back, strict=True):
            right = _run(ahead, x)  # (T, B, H/2)
            left = _reorder(_run(back, _reorder(x, mirror)), mirror)  # (T, B, H/2)
            x = torch.cat([right, left], dim=-1)  # (T, B, H)
            if self.training and self.dropout.p > 0:
                x *= self.dropout(x.new_ones(*x.shape[1:], 1)).squeeze(-1)  # in place: what is kept, (B, H)
        return x.transpose(0, 1)

    @staticmethod
    def last_states(h: Tensor, lengths: Tensor) -> Tensor:
        """Of what :meth:`forward` gives, each direction's state at its own last step: (B, 2 hidden)."""
        half = h.shape[2] // 2
        return torch.cat([state_at(h, lengths - 1)[:, :half], h[:, 0, half:]], dim=1)


def state_at(h: Tensor, steps: Tensor) -> Tensor:
    """What stands in (B, T, H) at a step of each row, (B,): (B, H)."""
    return h.gather(1, steps[:, None, None].expand(-1, 1, h.shape[2])).squeeze(1)


def _run(lstm: nn.Module, x: Tensor) -> Tensor:
    """What an LSTM gives for ``x`` (T, B, F); without a gradient a long one goes through it in blocks.

    It wants much memory beside its output, and torch's on CPUs cannot take a million steps at once.  What is
    exported has no blocks.
    """
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # torch's
    if torch.is_grad_enabled() or traced or len(x) <= BLOCK_STEPS:
        given: Tensor = lstm(x)[0]
        return given
    blocks, state = [], None
    for block in torch.split(x, BLOCK_STEPS):
        given, state = lstm(block, state)
        blocks.append(given)
    return torch.cat(blocks)


class _Swap(torch.autograd.Function):
    """Rows in an order that is its own inverse, so that its gradient takes the same way back.

    The gradient of torch's index_select allows for rows that come twice, and costs three times as much.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return gradient.index_select(0, order), None


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    """The T * B rows of ``x`` (T, B, F) in the ``order`` (T * B,), which swaps them in pairs."""
    rows = x.flatten(0, 1)
    if not torch.is_grad_enabled():
        return rows.index_select(0, order).view_as(x)
    swapped: Tensor = _Swap.apply(rows, order)  # type: ignore[no-untyped-call]  # torch's
    return swapped.view_as(x)
