"""A linear layer over frames, their mean, a linear layer: what SUPERB puts on a pretrained encoder.

Yang et al., Interspeech 2021 (emotion recognition).  Layers of the encoder, where a feature set has several,
are summed with learnt weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import torch
from torch import nn

from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.layer_sum import LayerSum, layer_weights, num_layers
from ser.systems.settings import Dropout, NetworkSettings


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the network, see :class:`Pooled`."""

    projection: Annotated[int, Range(1, 16384)]  # values that each frame is projected to
    dropout: Dropout  # share of the mean's values dropped in training


@dataclass(frozen=True)
class PooledSettings(NetworkSettings):
    """conf/pooled_*.yaml."""

    unit: Literal["utterance"]  # what it is trained on
    model: ModelSettings


class Pooled(nn.Module):
    """Weighted layers, linear, mean over an utterance's frames, linear."""

    def __init__(
        self, *, num_values: int, num_layers: int, num_classes: int, projection: int, dropout: float
    ) -> None:
        """Make the network.

        Args:
            num_values: F, of each layer.
            num_layers: layers of an encoder that stand side by side in a frame; 1 of other features.
            num_classes: K.
            projection: values that each frame is projected to (SUPERB: 256).
            dropout: share of the mean's values dropped in training (SUPERB: 0).
        """
        super().__init__()
        self.layers = LayerSum(num_layers)
        self.projection = nn.Linear(num_values, projection)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(projection, num_classes)

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify utterances.

        Args:
            inputs: one feature set, (B, T, F), or layers side by side; what stands behind its lengths does
                not matter.

        Returns:
            logits, (B, K).
        """
        x, num_frames = inputs.main
        h = self.projection(self.layers(x))  # (B, T, H)
        beyond = torch.arange(x.shape[1], device=x.device) >= num_frames.unsqueeze(1)  # (B, T)
        mean = h.masked_fill(beyond.unsqueeze(-1), 0.0).sum(dim=1) / num_frames.unsqueeze(1)  # (B, H)
        return Outputs(self.classifier(self.dropout(mean)))


def build(settings: PooledSettings, sizes: Sizes) -> Pooled:
    """The network of some settings."""
    name = settings.features.sets[0]
    layers = num_layers(sizes, name)
    return Pooled(
        num_values=sizes.features[name] // layers,
        num_layers=layers,
        num_classes=sizes.num_classes,
        **asdict(settings.model),
    )


SYSTEM = Network(PooledSettings, build, summary=layer_weights)
