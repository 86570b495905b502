"""Capsules: vectors whose length says how sure something is there, and routing by agreement.

Sabour, Frosst & Hinton, "Dynamic routing between capsules" (2017).

Shapes: B items, I capsules that are routed, J capsules that come out, D values of each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# beneath the root, so that a capsule of zeros has a gradient; TorchScript sees it as a default value only
SMALLEST = 1e-8


def length(s: Tensor, smallest: float = SMALLEST) -> Tensor:
    """Norms of capsules (..., D): (...)."""
    return (s.square().sum(dim=-1) + smallest).sqrt()


def squash(s: Tensor, smallest: float = SMALLEST) -> Tensor:
    """Capsules (..., D) in their direction, with a length in 0..1: |s|^2 / (1 + |s|^2) s / |s|."""
    square = s.square().sum(dim=-1, keepdim=True)
    return square / (1 + square) * s / (square + smallest).sqrt()


def route(predictions: Tensor, iterations: int, present: Tensor | None = None) -> Tensor:
    """Dynamic routing.

    With b = 0 at first, ``iterations`` times::

        c_ij = softmax over j of b_ij
        v_j  = squash(sum over i of c_ij u_j|i)
        b_ij = b_ij + u_j|i . v_j

    Only the last round has a gradient towards the predictions, as is usual; the values are the same.

    Args:
        predictions: what capsule i expects capsule j to be, u_j|i, (B, I, J, D).
        iterations: rounds, 1 or more.
        present: which capsules i are there, (B, I); None: all.

    Returns:
        v, (B, J, D).
    """
    here = None if present is None else present.to(predictions.dtype)[:, :, None]  # (B, I, 1)
    settled = predictions.detach()
    logits = torch.zeros(predictions.shape[:3], device=predictions.device)
    for _ in range(iterations - 1):
        logits = logits + torch.einsum("bijd,bjd->bij", settled, _gather(settled, logits, here))
    return _gather(predictions, logits, here)


def _gather(predictions: Tensor, logits: Tensor, here: Tensor | None) -> Tensor:
    shares = logits.softmax(dim=2)  # (B, I, J)
    if here is not None:
        shares = shares * here
    return squash(torch.einsum("bij,bijd->bjd", shares, predictions))


def margin_loss(lengths: Tensor, target: Tensor) -> Tensor:
    """How far lengths of K capsules are from 0.9 for the right class and 0.1 for the others (eq. 4 there).

    Args:
        lengths: (B, K), 0 to 1.
        target: class indices, (B,).

    Returns:
        (B,): max(0, 0.9 - l)^2 of the right class, and half of max(0, l - 0.1)^2 summed over the others.
    """
    right = F.one_hot(target, lengths.shape[1]).to(lengths.dtype)
    low, high = (0.9 - lengths).clamp(min=0).square(), (lengths - 0.1).clamp(min=0).square()
    return (right * low + 0.5 * (1 - right) * high).sum(dim=1)
