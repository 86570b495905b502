"""BLSTMATT: a bidirectional LSTM with attention over the whole utterance (paper §3.1, §4.3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.attention import MultiplicativeAttention
from ser.systems.layers.blstm import Blstm
from ser.systems.layers.layer_sum import LayerSum, layer_weights, num_layers
from ser.systems.layers.maps import frames_of_steps, real_steps, spread
from ser.systems.layers.speaker_norm import SpeakerNorm
from ser.systems.settings import Dropout, NetworkSettings, PooledNorm, network_options


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the network, see :class:`Blstmatt`."""

    hidden: Annotated[int, Range(1, 16384)]  # LSTM units per direction
    layers: Annotated[int, Range(1, 64)]  # bidirectional ones
    attention_dim: Annotated[int, Range(1, 16384)]  # inner size of the attention
    frame_stack: Annotated[int, Range(1, 1000)]  # frames joined into one step of the BLSTM
    dropout: Dropout  # share of the BLSTM's units dropped in training
    # speaker: the pooled vector has mean 0 and variance 1 over each speaker, where features.norm is (or
    # becomes) speaker, too; may be left out: none
    pooled_norm: PooledNorm = "none"


@dataclass(frozen=True)
class BlstmattSettings(NetworkSettings):
    """conf/blstmatt.yaml."""

    unit: Literal["utterance"]  # what it is trained on
    model: ModelSettings


class Blstmatt(nn.Module):
    """BLSTM, multiplicative attention, one linear layer (8,765,829 parameters at the paper's size, K = 4)."""

    def __init__(
        self,
        *,
        num_values: int,
        num_classes: int,
        hidden: int,
        layers: int,
        attention_dim: int,
        frame_stack: int,
        dropout: float,
        num_layers: int = 1,
        speaker_norm: bool = False,
    ) -> None:
        """Make the network.

        Args:
            num_values: F; of each layer, where there are several.
            num_classes: K.
            hidden: LSTM units per direction (paper: 512).
            layers: bidirectional layers (paper: 2).
            attention_dim: inner size of the attention (paper: 128).
            frame_stack: frames joined into one step of the BLSTM (paper: 1); more is faster.
            dropout: share of the BLSTM's units dropped in training (paper: 0).
            num_layers: layers of an encoder that stand side by side in a frame.
            speaker_norm: whether the pooled vector is normalised by speaker (paper: no).
        """
        super().__init__()
        self.layers = LayerSum(num_layers)
        self.frame_stack = frame_stack
        self.encoder = Blstm(num_values * frame_stack, hidden, layers, dropout)
        self.attention = MultiplicativeAttention(2 * hidden, attention_dim)
        self.speaker_norm = SpeakerNorm(2 * hidden) if speaker_norm else None
        self.classifier = nn.Linear(2 * hidden, num_classes)

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify utterances.

        Args:
            inputs: one feature set, (B, T, F), or layers side by side; what stands behind its lengths does
                not matter.

        Returns:
            logits, (B, K), and attention over frames, (B, T): sum 1, 0 on padding.  With stacked frames
            the frames of a step share its weight evenly, and the last step counts by its real frames.
        """
        x, num_frames = inputs.main
        real = real_steps(num_frames, x.shape[1])  # (B, T)
        x = self.layers(x).masked_fill(~real.unsqueeze(-1), 0.0)
        steps, lengths = self._stack(x), (num_frames + self.frame_stack - 1) // self.frame_stack
        h = self.encoder(steps, lengths)  # (B, S, H)
        counts = frames_of_steps(num_frames, steps.shape[1], self.frame_stack)  # (B, S)
        context, weights = self.attention(h, counts / self.frame_stack)  # (B, H), (B, S)
        if self.frame_stack > 1:
            weights = spread(weights, counts, self.frame_stack, real)  # (B, T)
        if self.speaker_norm is None:
            return Outputs(self.classifier(context), weights)
        return Outputs(self.classifier(self.speaker_norm(context, inputs)), weights, {"pooled": context})

    def _stack(self, x: Tensor) -> Tensor:
        """(B, T, F) to (B, S, frame_stack * F), S = ceil(T / frame_stack), zeros at the end."""
        if self.frame_stack == 1:
            return x
        missing = -x.shape[1] % self.frame_stack
        return F.pad(x, (0, 0, 0, missing)).reshape(x.shape[0], -1, self.frame_stack * x.shape[2])


def build(settings: BlstmattSettings, sizes: Sizes) -> Blstmatt:
    """The network of some settings."""
    name = settings.features.sets[0]
    layers = num_layers(sizes, name)
    return Blstmatt(
        num_values=sizes.features[name] // layers,
        num_classes=sizes.num_classes,
        num_layers=layers,
        speaker_norm=settings.by_speaker,
        **network_options(settings.model),
    )


SYSTEM = Network(BlstmattSettings, build, frame_attention=True, summary=layer_weights)
