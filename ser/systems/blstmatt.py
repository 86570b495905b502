"""BLSTMATT: a bidirectional LSTM with attention over the whole segment (paper §3.1, §4.3.1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser.systems.layers.attention import MultiplicativeAttention


class Blstm(nn.Module):
    """A stack of bidirectional LSTM layers, exact on padded batches.

    Every layer is two one-directional LSTMs; the backward one reads each sequence reversed inside its own
    length.  So padding stands behind the data for both and never reaches it.  It equals
    ``nn.LSTM(bidirectional=True)`` on packed sequences, whose backward pass is 4-13 times slower on CPUs.
    """

    def __init__(self, input_dim: int, hidden: int, layers: int, dropout: float) -> None:
        """``hidden`` units per direction; ``dropout`` drops units of each layer's output.

        A dropped unit is dropped for the whole segment (Gal & Ghahramani 2016), which on a CPU also costs a
        tenth of drawing a mask for every frame.
        """
        super().__init__()
        sizes = [input_dim] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(size, hidden) for size in sizes)
        self.back = nn.ModuleList(nn.LSTM(size, hidden) for size in sizes)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F) and the lengths (B,) to (B, T, 2 hidden); rows behind the lengths mean nothing."""
        x = x.transpose(0, 1)  # (T, B, F), as LSTMs compute
        step = torch.arange(len(x), device=x.device).unsqueeze(1)  # (T, 1)
        mirror = lengths - 1 - step  # (T, B)
        mirror = torch.where(mirror >= 0, mirror, step)  # padding stays where it is
        row = torch.arange(x.shape[1], device=x.device)  # (B,)
        mirror = (mirror * x.shape[1] + row).flatten()  # (T * B,)
        for ahead, back in zip(self.ahead, self.back, strict=True):
            right = ahead(x)[0]  # (T, B, H/2)
            left = _reorder(back(_reorder(x, mirror))[0], mirror)  # (T, B, H/2)
            x = torch.cat([right, left], dim=-1)  # (T, B, H)
            x = self.dropout(x.permute(1, 2, 0)).permute(2, 0, 1)
        return x.transpose(0, 1)


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
    swapped: Tensor = _Swap.apply(x.flatten(0, 1), order)  # type: ignore[no-untyped-call]  # torch's
    return swapped.view_as(x)


class Blstmatt(nn.Module):
    """BLSTM, multiplicative attention, one linear layer (8,765,829 parameters at the paper's size, K = 4)."""

    def __init__(
        self,
        *,
        num_filters: int,
        num_classes: int,
        hidden: int,
        layers: int,
        attention_dim: int,
        frame_stack: int,
        dropout: float,
    ) -> None:
        """Make the network.

        Args:
            num_filters: F.
            num_classes: K.
            hidden: LSTM units per direction (paper: 512).
            layers: bidirectional layers (paper: 2).
            attention_dim: inner size of the attention (paper: 128).
            frame_stack: frames joined into one step of the BLSTM (paper: 1); more is faster.
            dropout: share of the BLSTM's units dropped in training (paper: 0).
        """
        super().__init__()
        self.frame_stack = frame_stack
        self.encoder = Blstm(num_filters * frame_stack, hidden, layers, dropout)
        self.attention = MultiplicativeAttention(2 * hidden, attention_dim)
        self.classifier = nn.Linear(2 * hidden, num_classes)

    def forward(self, x: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Classify segments.

        Args:
            x: features, (B, T, F); what stands behind ``num_frames`` does not matter.
            num_frames: true lengths, (B,), 1 <= each <= T.

        Returns:
            logits, (B, K), and attention over frames, (B, T): sum 1, 0 on padding.  With stacked frames
            the frames of a step share its weight evenly.
        """
        frame = torch.arange(x.shape[1], device=x.device)  # (T,)
        beyond = frame >= num_frames.unsqueeze(1)  # (B, T)
        x = x.masked_fill(beyond.unsqueeze(-1), 0.0)
        steps, lengths = self._stack(x), -(-num_frames // self.frame_stack)
        h = self.encoder(steps, lengths)  # (B, S, H)
        padding = frame[: steps.shape[1]] >= lengths.unsqueeze(1)  # (B, S)
        context, weights = self.attention(h, padding)  # (B, H), (B, S)
        return self.classifier(context), self._spread(weights, num_frames, beyond)

    def _stack(self, x: Tensor) -> Tensor:
        """(B, T, F) to (B, S, frame_stack * F), S = ceil(T / frame_stack), zeros at the end."""
        if self.frame_stack == 1:
            return x
        missing = -x.shape[1] % self.frame_stack
        return F.pad(x, (0, 0, 0, missing)).reshape(len(x), -1, self.frame_stack * x.shape[2])

    def _spread(self, weights: Tensor, num_frames: Tensor, beyond: Tensor) -> Tensor:
        """Weights of steps (B, S) to weights of frames (B, T)."""
        if self.frame_stack == 1:
            return weights
        first = torch.arange(weights.shape[1], device=weights.device) * self.frame_stack  # (S,)
        frames = (num_frames.unsqueeze(1) - first).clamp(1, self.frame_stack)  # (B, S) real frames a step
        spread = (weights / frames).repeat_interleave(self.frame_stack, dim=1)  # (B, S * frame_stack)
        return spread[:, : beyond.shape[1]].masked_fill(beyond, 0.0)  # (B, T)
