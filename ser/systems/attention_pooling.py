"""Attention pooling: convolutions whose map is pooled by attention over time and frequency.

Li, Song, McLoughlin, Guo & Dai, "An attention pooling based representation learning method for speech emotion
recognition" (Interspeech 2018), reference [43] of the paper.  It is read through notes on it: what they do
not say is marked (open) in conf/attention_pooling.yaml.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ser.feats.chunking import ChunkingConfig
from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.maps import (
    channels_last,
    convolution,
    frames_of_steps,
    pooled,
    real_steps,
    spread,
    zero_padding,
)
from ser.systems.settings import NetworkSettings

MU = 255.0  # of the mu-law
STRIDE = 4  # frames (and lines) that become a step: two poolings by 2
NUM_CHANNELS = 5


@dataclass(frozen=True)
class ModelSettings:
    """Sizes and readings of the network, see :class:`AttentionPooling`."""

    # of the first two convolutions (each), and of the four behind them
    channels: tuple[Annotated[int, Range(1, 4096)], ...]
    scaling: Literal["minmax", "none"]  # each segment's values to [-1, 1]
    mu_law: bool  # whether scaled values are expanded
    pooling: Literal["sum", "mean"]  # of the attended map over its positions

    def __post_init__(self) -> None:
        """Refuse another number of channels, and a mu-law of values that may be of any size."""
        if len(self.channels) != NUM_CHANNELS:
            raise ValueError(f"channels must be a list of {NUM_CHANNELS} numbers, got {len(self.channels)}")
        if self.mu_law and self.scaling == "none":
            raise ValueError("mu_law must be false with scaling none: it takes values from -1 to 1")


@dataclass(frozen=True)
class AttentionPoolingSettings(NetworkSettings):
    """conf/attention_pooling.yaml."""

    unit: ChunkingConfig
    model: ModelSettings

    def __post_init__(self) -> None:
        """Refuse segments of which pooling leaves nothing."""
        if self.unit.context < STRIDE:
            raise ValueError(f"unit.context must be {STRIDE} frames or more, got {self.unit.context}")


class AttentionPooling(nn.Module):
    """Six convolutions; class maps weighted by one attention map (93,573 parameters with the paper's sizes).

    With the last map, a class map t_k and a score s come out of convolutions of kernel 1, and::

        b = softmax of s over all positions            bottom-up attention
        logit_k = sum (or mean) over positions of b t_k  top-down attention times bottom-up

    ``mean`` is what the notes say; it makes the logits small, a 5000th at the paper's size.  ``sum`` is the
    average weighted by the attention.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: tuple[int, ...],
        scaling: Literal["minmax", "none"],
        mu_law: bool,
        pooling: Literal["sum", "mean"],
    ) -> None:
        """Make the network.

        Args:
            num_classes: K.
            channels: of the first two convolutions (each) and of the four behind them (paper: 8, 32, 48, 64,
                80).
            scaling: ``minmax`` maps the real values of each segment to [-1, 1], linearly.
            mu_law: sgn(x) ln(1 + 255 |x|) / ln 256 of scaled values.
            pooling: of the attended map.
        """
        super().__init__()
        self.scaling, self.mu_law, self.pooling = scaling, mu_law, pooling
        first, second, third, fourth, fifth = channels
        self.tall = convolution(1, first, (2, 10), batch_norm=True)  # 20 ms, 100 Hz
        self.wide = convolution(1, first, (8, 2), batch_norm=True)  # 80 ms, 20 Hz
        self.blocks = nn.Sequential(
            convolution(2 * first, second, (3, 3), batch_norm=True, pool=(2, 2)),
            convolution(second, third, (3, 3), batch_norm=True, pool=(2, 2)),
            convolution(third, fourth, (3, 3), batch_norm=True),
            convolution(fourth, fifth, (3, 3), batch_norm=True),
        )
        self.class_maps = nn.Conv2d(fifth, num_classes, 1)
        self.score = nn.Conv2d(fifth, 1, 1)
        channels_last(self)

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify segments.

        Args:
            inputs: one feature set, (B, T, F); what stands behind its lengths does not matter.

        Returns:
            logits, (B, K), and the bottom-up attention summed over frequency, (B, T): sum 1, the frames of
            a step share its weight evenly.  Steps behind an end get none (the paper pads and says nothing
            of it).
        """
        x, num_frames = inputs.main
        x = self.scale(x, num_frames).unsqueeze(1)  # (B, 1, T, F)
        y = self.blocks(torch.cat([self.tall(x), self.wide(x)], dim=1))  # (B, C, T / 4, F / 4)
        real = real_steps(num_frames, y.shape[2], STRIDE)  # (B, T / 4)
        scores = self.score(y).squeeze(1).float().masked_fill(~real.unsqueeze(-1), -torch.inf)
        attention = scores.flatten(1).softmax(dim=1).view_as(scores)  # (B, T / 4, F / 4)
        attended = self.class_maps(y) * attention.to(y.dtype).unsqueeze(1)  # (B, K, T / 4, F / 4)
        logits = attended.sum(dim=(2, 3)) if self.pooling == "sum" else attended.mean(dim=(2, 3))
        counts = frames_of_steps(num_frames, y.shape[2], STRIDE)
        frames = spread(attention.sum(dim=2), counts, STRIDE, real_steps(num_frames, x.shape[2]))
        return Outputs(logits, frames)

    def scale(self, x: Tensor, num_frames: Tensor) -> Tensor:
        """(B, T, F) scaled by each segment's real values; zeros behind the ends (B,)."""
        if self.scaling == "minmax":
            beyond = ~real_steps(num_frames, x.shape[1]).unsqueeze(-1)  # (B, T, 1)
            low = x.masked_fill(beyond, torch.inf).amin(dim=(1, 2), keepdim=True)
            high = x.masked_fill(beyond, -torch.inf).amax(dim=(1, 2), keepdim=True)
            span = torch.where(high > low, high - low, torch.inf)  # a segment of one value becomes zeros
            x = torch.where(span.isinf(), 0.0, 2 * (x - low) / span - 1)
        if self.mu_law:
            x = x.sign() * torch.log1p(MU * x.abs()) / math.log1p(MU)
        return zero_padding(x, num_frames)


def build(settings: AttentionPoolingSettings, sizes: Sizes) -> AttentionPooling:
    """The network of some settings."""
    num_values = sizes.features[settings.features.sets[0]]
    if not pooled(num_values, (2, 2)):
        raise ValueError(f"{num_values} values a frame are too few for two poolings by 2")
    return AttentionPooling(num_classes=sizes.num_classes, **asdict(settings.model))


SYSTEM = Network(AttentionPoolingSettings, build, frame_attention=True)
