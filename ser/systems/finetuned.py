"""The top layers of a pretrained encoder, trained further, under SUPERB's head.

What lies below them is frozen: its output, one layer of the encoder, is the feature set that the network
reads, made once.  The network begins with the encoder's own layers above that one, and keeps them as they are
in the end, so a model needs the encoder only to make features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import nn

from ser.feats.encoder_layers import LayerShape, read_layers
from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.transformer import TransformerLayer
from ser.systems.pooled import Pooled
from ser.systems.settings import Dropout, NetworkSettings


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the network, see :class:`FineTuned`."""

    heads: Annotated[int, Range(1, 1024)]  # of the attention of the encoder's layers
    feedforward: Annotated[int, Range(1, 65536)]  # values within the encoder's layers
    # whether they normalise what they read (Whisper), or what they add up (wav2vec 2.0 base)
    norm_first: bool
    projection: Annotated[int, Range(1, 16384)]  # values that each frame is projected to
    dropout: Dropout  # share dropped in training, in the layers and of the mean


@dataclass(frozen=True)
class TuningSettings:
    """Which layers are trained further, and how fast."""

    layers: Annotated[int, Range(1, 1000)]  # how many, above the one that the features are
    rate: Annotated[float, Range(0, 1)]  # of the topmost, times optim.lr, which is the rate of what is new
    decay: Annotated[
        float, Range(above=0, most=1)
    ]  # what the rate is multiplied by from a layer to that below


@dataclass(frozen=True)
class FineTunedSettings(NetworkSettings):
    """conf/finetuned_*.yaml."""

    unit: Literal["utterance"]  # what it is trained on
    model: ModelSettings
    tuning: TuningSettings

    def __post_init__(self) -> None:
        """Refuse features that are not as the encoder gave them."""
        if self.features.norm != "none" or self.features.level != "none":
            raise ValueError("features.norm and level must be none: the layers read what the encoder gives")


class FineTuned(nn.Module):
    """Transformer layers, then a linear layer over frames, their mean, a linear layer."""

    def __init__(self, *, num_values: int, num_classes: int, num_layers: int, model: ModelSettings) -> None:
        """Make the network, with random weights.

        Args:
            num_values: F.
            num_classes: K.
            num_layers: Transformer layers.
            model: their sizes and those of the head.
        """
        super().__init__()
        if num_values % model.heads:
            raise ValueError(f"model.heads must divide {num_values} values a frame, got {model.heads}")
        self.encoder = nn.ModuleList(
            TransformerLayer(
                num_values, model.heads, model.feedforward, model.dropout, norm_first=model.norm_first
            )
            for _ in range(num_layers)
        )
        self.head = Pooled(
            num_values=num_values,
            num_layers=1,
            num_classes=num_classes,
            projection=model.projection,
            dropout=model.dropout,
        )

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify utterances.

        Args:
            inputs: one feature set, (B, T, F); what stands behind its lengths does not matter.

        Returns:
            logits, (B, K).
        """
        x, num_frames = inputs.main
        real = torch.arange(x.shape[1], device=x.device) < num_frames.unsqueeze(1)  # (B, T)
        for layer in self.encoder:
            x = layer(x, real)
        outputs: Outputs = self.head(Inputs.of(x, num_frames))
        return outputs


def build(settings: FineTunedSettings, sizes: Sizes) -> FineTuned:
    """The network of some settings."""
    return FineTuned(
        num_values=sizes.features[settings.features.sets[0]],
        num_classes=sizes.num_classes,
        num_layers=settings.tuning.layers,
        model=settings.model,
    )


def begin(network: nn.Module, settings: FineTunedSettings, sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a new network the encoder's layers.

    Raises:
        ConfigError: the features are no layer of an encoder, or its layers are not those of the settings.
    """
    model = settings.model
    shape = LayerShape(model.heads, model.feedforward, model.norm_first)
    made = sets[settings.features.sets[0]].get("settings", {})
    assert isinstance(network, FineTuned)
    for layer, state in zip(network.encoder, read_layers(made, settings.tuning.layers, shape), strict=True):
        layer.load_state_dict(state)


def rates(settings: FineTunedSettings) -> dict[str, float]:
    """Beginning of a parameter's name -> what ``optim.lr`` is multiplied by for it."""
    tuning, top = settings.tuning, settings.tuning.layers - 1
    return {f"encoder.{n}.": tuning.rate * tuning.decay ** (top - n) for n in range(tuning.layers)}


SYSTEM = Network(FineTunedSettings, build, begin=begin, rates=rates)
