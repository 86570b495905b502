"""Attention over the frames of a segment and over the positions of a feature map."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

GammaMode = Literal["scalar", "squared", "proj"]
SoftmaxAxis = Literal["attended", "flattened"]


class MultiplicativeAttention(nn.Module):
    """Weights over time from every step and the segment's mean (paper §3.1, after its [36]).

    With h_t the encoder's output and m its mean over the segment::

        u_t = tanh(W h_t + b) * tanh(W_m m + b_m)      elementwise, ``attention_dim`` values
        s_t = w_h . u_t + b_h
        a   = softmax over t of s_t + log r_t
        c   = sum over t of a_t h_t

    r_t is the share of step t that is real: 1, 0 on padding, and between them in the last of steps that stack
    several frames.  m is the mean weighted by it.  So a step counts by its frames.

    The paper's "context vector of size 128, projected to 1024" is read as: u_t has 128 values, and its
    scalar weight is broadcast over the 1024 outputs (facts the authors' earlier system supports).
    """

    def __init__(self, input_dim: int, attention_dim: int) -> None:
        """``input_dim`` is H, ``attention_dim`` the size of u_t."""
        super().__init__()
        self.frame = nn.Linear(input_dim, attention_dim)  # W
        self.mean = nn.Linear(input_dim, attention_dim)  # W_m
        self.score = nn.Linear(attention_dim, 1)  # w_h

    def forward(self, h: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Pool a batch of segments.

        Args:
            h: encoder outputs, (B, T, H); any finite value may stand on padding.
            real: the share of each step that is real, r, (B, T), 0..1: 0 behind a segment's end.

        Returns:
            c, (B, H), and the weights a, (B, T): sum 1, exactly 0 on padding.
        """
        mean = _weighted(h, real / real.sum(dim=1, keepdim=True))  # (B, H)
        u = self.frame(h).tanh() * self.mean(mean).tanh().unsqueeze(1)  # (B, T, A)
        s = self.score(u).squeeze(-1).float()  # (B, T)
        weights = (s + real.log()).softmax(dim=1)  # (B, T)
        return _weighted(h, weights), weights


def _weighted(h: Tensor, weights: Tensor) -> Tensor:
    """Sum over t of ``weights`` (B, T) times ``h`` (B, T, H): (B, H)."""
    return torch.bmm(weights.to(h.dtype).unsqueeze(1), h).squeeze(1)


class SelfAttention(nn.Module):
    """Every position of a feature map attends to all of them (paper eqs. 1-5, after SAGAN).

    With y of C channels and N positions, and W convolutions of kernel 1::

        j = W_j(y), k = W_k(y)    C / reduction channels     (eq. 2)
        E = softmax(j^T k)        (N, N)                     (eq. 3)
        l = W_l(y)                C channels                 (eq. 4)
        A = l E                   (C, N)                     (eq. 5, without its gamma)
        y + gamma A                                          (eq. 1)

    The paper writes gamma in eq. 1 and in eq. 5.  ``gamma_mode`` says how that is read: ``scalar`` is one
    factor in all (the default: the literal product has no gradient at 0); ``squared`` is the literal
    gamma * gamma; ``proj`` takes eq. 1's as a convolution of kernel 1 and eq. 5's as the factor.

    ``softmax_axis`` ``attended`` makes the weights by which each output position gathers the others sum to
    1; ``flattened`` normalises the whole N x N map at once.
    """

    def __init__(
        self,
        channels: int,
        reduction: int,
        *,
        gamma_mode: GammaMode,
        gamma_init: float,
        softmax_axis: SoftmaxAxis,
    ) -> None:
        """``reduction`` divides the channels of j and k (paper §4.3.2: "down-sampled")."""
        super().__init__()
        self.gamma_mode, self.softmax_axis = gamma_mode, softmax_axis
        self.j = nn.Conv1d(channels, channels // reduction, 1)
        self.k = nn.Conv1d(channels, channels // reduction, 1)
        self.l = nn.Conv1d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.full((1,), gamma_init))
        self.proj = nn.Conv1d(channels, channels, 1) if gamma_mode == "proj" else nn.Identity()

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within each feature map.

        Args:
            y: (B, C, N).

        Returns:
            the map, (B, C, N), and E, (B, N, N): E[b, i, o] is the weight of position i in output o.
        """
        energy = torch.einsum("bci,bco->bio", self.j(y), self.k(y)).float()  # (B, N, N)
        if self.softmax_axis == "attended":
            weights = energy.softmax(dim=1)  # (B, N, N), columns sum to 1
        else:
            weights = energy.flatten(1).softmax(dim=1).view_as(energy)  # (B, N, N), all sum to 1
        attended = torch.einsum("bci,bio->bco", self.l(y), weights.to(y.dtype))  # (B, C, N)
        gamma = self.gamma**2 if self.gamma_mode == "squared" else self.gamma
        return y + self.proj(gamma * attended), weights
