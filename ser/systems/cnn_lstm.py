"""CNN-LSTM on spectrograms.

Satt, Rozenberg & Hoory, "Efficient emotion recognition from speech using deep learning on spectrograms"
(Interspeech 2017), reference [42] of the paper.  It is read through re-implementations: what they disagree on
is marked (open) in conf/cnn_lstm.yaml.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from ser.feats.chunking import ChunkingConfig
from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.blstm import Blstm, state_at
from ser.systems.layers.maps import channels_last, convolution, pooled, zero_padding
from ser.systems.settings import Dropout, NetworkSettings

KERNELS = ((16, 12), (12, 8), (7, 5))  # time x frequency, of the convolutions before the LSTM
MORE_KERNELS = ((5, 3), (3, 1))  # of those that stand in the LSTM's place
MORE_CHANNELS = (40, 48)
POOLED = 2  # frames and lines that each pooling makes one of


@dataclass(frozen=True)
class ModelSettings:
    """Sizes and readings of the network, see :class:`CnnLstm`."""

    channels: tuple[Annotated[int, Range(1, 4096)], ...]  # of the three convolutions
    batch_norm: bool  # whether each convolution is followed by batch normalisation
    head: Literal["lstm", "convolutions"]  # what reads their map
    hidden: Annotated[int, Range(1, 16384)]  # LSTM units per direction
    bidirectional: bool  # whether there is a second LSTM, from the end to the beginning
    dense: Annotated[int, Range(1, 65536)]  # units of the dense layer
    dropout: Dropout  # share of them dropped in training

    def __post_init__(self) -> None:
        """Refuse another number of convolutions."""
        if len(self.channels) != len(KERNELS):
            raise ValueError(f"channels must be a list of {len(KERNELS)} numbers, got {len(self.channels)}")


@dataclass(frozen=True)
class CnnLstmSettings(NetworkSettings):
    """conf/cnn_lstm.yaml."""

    unit: ChunkingConfig
    model: ModelSettings

    def __post_init__(self) -> None:
        """Refuse parts of which pooling leaves nothing."""
        least = POOLED ** len(_kernels(self.model.head))
        if self.unit.context < least:
            raise ValueError(f"unit.context must be {least} frames or more, got {self.unit.context}")


class CnnLstm(nn.Module):
    """Three convolutions, an LSTM over time, two dense layers.

    1,035,916 parameters with the paper's sizes, 200 lines, K = 4 and two directions; 1,855,116 with 400.

    The map of C channels and F / 8 lines becomes one vector a step of time, C F / 8 values: what goes through
    the LSTM is time.  The LSTM's states at a part's last real step (of the second direction, its first) are
    classified; the paper fills parts with zeros and says nothing of it.
    """

    def __init__(
        self,
        *,
        num_values: int,
        num_classes: int,
        context: int,
        channels: tuple[int, ...],
        batch_norm: bool,
        head: Literal["lstm", "convolutions"],
        hidden: int,
        bidirectional: bool,
        dense: int,
        dropout: float,
    ) -> None:
        """Make the network.

        Args:
            num_values: F.
            num_classes: K.
            context: frames of a part, T; only ``head="convolutions"`` depends on it.
            channels: of the three convolutions (paper: 16, 24, 32).
            batch_norm: whether each convolution is followed by batch normalisation.
            head: ``lstm``, or ``convolutions``: two more, whose whole map is classified.
            hidden: LSTM units per direction (paper: 128).
            bidirectional: whether there is a second LSTM, from the end to the beginning.
            dense: units of the dense layer.
            dropout: share of them dropped in training.
        """
        super().__init__()
        sizes = [*channels, *(MORE_CHANNELS if head == "convolutions" else ())]
        kernels = _kernels(head)
        self.blocks = nn.Sequential(
            *(
                convolution(inputs, outputs, kernel, batch_norm=batch_norm, pool=(POOLED, POOLED))
                for inputs, outputs, kernel in zip([1, *sizes[:-1]], sizes, kernels, strict=True)
            )
        )
        strides = [POOLED] * len(kernels)
        values = sizes[-1] * pooled(num_values, strides)  # of a step
        self.encoder: Blstm | nn.LSTM | None = None
        if head == "convolutions":
            values *= pooled(context, strides)
        elif bidirectional:
            self.encoder, values = Blstm(values, hidden, 1, 0.0), 2 * hidden
        else:
            self.encoder, values = nn.LSTM(values, hidden, batch_first=True), hidden
        self.classifier = nn.Sequential(
            nn.Linear(values, dense), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dense, num_classes)
        )
        channels_last(self)

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify parts of utterances.

        Args:
            inputs: one feature set, (B, T, F), T the context; what stands behind its lengths does not matter.

        Returns:
            logits, (B, K).
        """
        x, num_frames = inputs.main
        y = self.blocks(zero_padding(x, num_frames).unsqueeze(1))  # (B, C, T / 8, F / 8)
        steps = self.steps(y)  # (B, T / 8, C F / 8)
        if self.encoder is None:
            return Outputs(self.classifier(steps.flatten(1)))
        stride = POOLED ** len(KERNELS)
        lengths = ((num_frames + stride - 1) // stride).clamp(1, steps.shape[1])  # (B,)
        if isinstance(self.encoder, Blstm):
            states = Blstm.last_states(self.encoder(steps, lengths), lengths)
        else:
            states = state_at(self.encoder(steps)[0], lengths - 1)
        return Outputs(self.classifier(states))

    @staticmethod
    def steps(y: Tensor) -> Tensor:
        """A map (B, C, T, F) as one vector a step of time, (B, T, C * F)."""
        return y.transpose(1, 2).flatten(2)


def _kernels(head: str) -> tuple[tuple[int, int], ...]:
    return KERNELS + (MORE_KERNELS if head == "convolutions" else ())


def build(settings: CnnLstmSettings, sizes: Sizes) -> CnnLstm:
    """The network of some settings."""
    num_values = sizes.features[settings.features.sets[0]]
    if not pooled(num_values, [POOLED] * len(_kernels(settings.model.head))):
        raise ValueError(
            f"{num_values} values a frame are too few for the poolings of model.head {settings.model.head}"
        )
    return CnnLstm(
        num_values=num_values,
        num_classes=sizes.num_classes,
        context=settings.unit.context,
        **asdict(settings.model),
    )


SYSTEM = Network(CnnLstmSettings, build)
