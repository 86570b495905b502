"""Convolutions over maps of time and frequency, or over time alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, ...]  # over time and frequency, or over time alone
_KINDS: dict[int, tuple[Any, Any, Any, Any]] = {  # number of axes -> torch's modules
    1: (nn.ZeroPad1d, nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
    2: (nn.ZeroPad2d, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
}


def convolution(
    inputs: int, outputs: int, kernel: Size, *, batch_norm: bool, pool: Size | None = None
) -> nn.Sequential:
    """A convolution that keeps the size, then batch normalisation, max-pooling and ReLU.

    An even kernel needs one more position at the end of an axis.

    Args:
        inputs: channels of the map.
        outputs: channels that come out.
        kernel: over time and frequency, or over time alone.
        batch_norm: whether there is a normalisation.
        pool: positions that become one, likewise; None, or 1 in all directions, is no pooling.

    Returns:
        From (B, inputs, T, F) to (B, outputs, T / pool, F / pool), rounded down; over time alone without F.
    """
    zero_pad, convolve, normalise, max_pool = _KINDS[len(kernel)]
    layers: list[nn.Module] = []
    missing = tuple(end for size in reversed(kernel) for end in (0, 1 - size % 2))  # torch's last axis first
    if any(missing):
        layers.append(zero_pad(missing))
    padding = tuple((size - 1) // 2 for size in kernel)
    layers.append(convolve(inputs, outputs, kernel, padding=padding))
    if batch_norm:
        layers.append(normalise(outputs))
    if pool is not None and max(pool) > 1:  # before the ReLU: the same values, and fewer of them to rectify
        layers.append(max_pool(pool))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def channels_last(module: nn.Module) -> None:
    """Lay out the weights of 2-D convolutions as some CPUs are a quarter faster with; values stay."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.to(memory_format=torch.channels_last)


def real_steps(lengths: Tensor, total: int, stride: int = 1) -> Tensor:
    """Which steps lie within an utterance.

    Args:
        lengths: real frames, (B,).
        total: steps, S.
        stride: frames that became a step, which counts if it begins in the utterance.

    Returns:
        (B, S).
    """
    first = torch.arange(total, device=lengths.device) * stride  # (S,)
    return first < lengths.unsqueeze(1)


def frames_of_steps(lengths: Tensor, total: int, stride: int) -> Tensor:
    """Real frames of each of ``total`` steps of ``stride`` frames, (B, total), of ``lengths`` (B,) in all."""
    first = torch.arange(total, device=lengths.device) * stride  # (S,)
    return (lengths.unsqueeze(1) - first).clamp(0, stride)


def spread(weights: Tensor, counts: Tensor, stride: int, real: Tensor) -> Tensor:
    """Weights of steps (B, S) as weights of frames (B, T): the real frames of a step share its weight evenly.

    Args:
        weights: of the steps.
        counts: their real frames, of :func:`frames_of_steps`.
        stride: frames of a step.
        real: which frames are, (B, T); frames behind the last step get nothing.
    """
    frames = (weights / counts.clamp(min=1)).repeat_interleave(stride, dim=1)[:, : real.shape[1]]
    return F.pad(frames, (0, real.shape[1] - frames.shape[1])).masked_fill(~real, 0.0)


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Zeros in all of (B, T, F) that lies behind the ends (B,)."""
    return x.masked_fill(~real_steps(lengths, x.shape[1]).unsqueeze(-1), 0.0)


def zero_steps(y: Tensor, lengths: Tensor) -> Tensor:
    """Zeros in all of a map (B, C, T, F) that lies behind the ends (B,)."""
    return y.masked_fill(~real_steps(lengths, y.shape[2])[:, None, :, None], 0.0)


def pooled(size: int, strides: Sequence[int]) -> int:
    """What max-pooling by each of the strides leaves of a size."""
    for stride in strides:
        size //= stride
    return size
