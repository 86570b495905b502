"""Convolutions over maps of time and frequency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Size = tuple[int, int]  # over time, over frequency


def convolution(
    inputs: int, outputs: int, kernel: Size, *, batch_norm: bool, pool: Size = (1, 1)
) -> nn.Module:
    """A convolution that keeps the size, then batch normalisation, ReLU and max-pooling.

    An even kernel needs one more position at the end of an axis.

    Args:
        inputs: channels of the map.
        outputs: channels that come out.
        kernel: over time and frequency.
        batch_norm: whether there is a normalisation.
        pool: positions that become one; (1, 1) is no pooling.

    Returns:
        From (B, inputs, T, F) to (B, outputs, T / pool, F / pool), rounded down.
    """
    layers: list[nn.Module] = []
    missing = [1 - size % 2 for size in kernel]
    if any(missing):
        layers.append(nn.ZeroPad2d((0, missing[1], 0, missing[0])))
    padding = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
    layers.append(nn.Conv2d(inputs, outputs, kernel, padding=padding))
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs))
    if pool != (1, 1):  # before the ReLU: the same values, and fewer of them to rectify
        layers.append(nn.MaxPool2d(pool))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def channels_last(module: nn.Module) -> None:
    """Lay out the weights of 2-D convolutions as CPUs compute faster with; values stay as they are."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.to(memory_format=torch.channels_last)


def real_steps(num_frames: Tensor, total: int, stride: int) -> Tensor:
    """Which steps of a pooled map begin in an utterance; the first always counts.

    Args:
        num_frames: real frames, (B,).
        total: steps of the map, S.
        stride: frames that became a step.

    Returns:
        (B, S).
    """
    first = torch.arange(total, device=num_frames.device) * stride  # (S,)
    return first < num_frames.unsqueeze(1)


def zero_padding(x: Tensor, num_frames: Tensor) -> Tensor:
    """Zeros in all of (B, T, F) that lies behind the ends (B,)."""
    frame = torch.arange(x.shape[1], device=x.device)  # (T,)
    return x.masked_fill((frame >= num_frames.unsqueeze(1)).unsqueeze(-1), 0.0)


def zero_steps(y: Tensor, lengths: Tensor) -> Tensor:
    """Zeros in all of a map (B, C, T, F) that lies behind the ends (B,)."""
    step = torch.arange(y.shape[2], device=y.device)  # (T,)
    return y.masked_fill((step >= lengths.unsqueeze(1))[:, None, :, None], 0.0)


def pooled(size: int, strides: Sequence[int]) -> int:
    """What max-pooling by each of the strides leaves of a size."""
    for stride in strides:
        size //= stride
    return size
