"""CSA: convolutions with self-attention over a fixed context (paper §3.2, §4.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from ser.feats.chunking import ChunkingConfig
from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.attention import GammaMode, SelfAttention, SoftmaxAxis
from ser.systems.layers.layer_sum import LayerSum, layer_weights, num_layers
from ser.systems.layers.maps import channels_last, convolution, pooled
from ser.systems.layers.speaker_norm import SpeakerNorm
from ser.systems.settings import Dropout, NetworkSettings, PooledNorm, network_options

MAX_BLOCKS = 32
HeadPool = Literal["mean", "mean_time", "flatten"]


@dataclass(frozen=True)
class ModelSettings:
    """Sizes and readings of the network, see :class:`Csa`."""

    conv_dim: Literal[1, 2]  # 2: over time and frequency, 1: over time, filters as channels
    channels: tuple[Annotated[int, Range(1, 4096)], ...]  # output channels of each block
    kernels: tuple[Annotated[int, Range(1, 64)], ...]  # kernel size of each block
    pool: tuple[Annotated[int, Range(1, 64)], ...]  # max-pooling behind each block; 1 is none
    attn_reduction: Annotated[int, Range(1, 4096)]  # divisor of the channels of j and k
    gamma_mode: GammaMode  # how the attention is added
    gamma_init: float  # gamma at the start
    softmax_axis: SoftmaxAxis  # what the attention's weights sum to 1 over
    # mean over positions; over time alone, positions in frequency side by side; or all side by side
    head_pool: HeadPool
    dropout: Dropout  # share of the pooled vector dropped in training
    # speaker: the pooled vector has mean 0 and variance 1 over each speaker, where features.norm is (or
    # becomes) speaker, too; may be left out: none
    pooled_norm: PooledNorm = "none"

    def __post_init__(self) -> None:
        """Refuse lists of different lengths and sizes that leave nothing."""
        if not len(self.channels) == len(self.kernels) == len(self.pool) > 0:
            raise ValueError("channels, kernels and pool must be equally long lists, an entry a block")
        if len(self.channels) > MAX_BLOCKS:
            raise ValueError(f"channels must have {MAX_BLOCKS} blocks at most, got {len(self.channels)}")
        if self.channels[-1] < self.attn_reduction:
            raise ValueError("attn_reduction must not exceed the last of channels")


@dataclass(frozen=True)
class CsaSettings(NetworkSettings):
    """conf/csa.yaml."""

    unit: ChunkingConfig
    model: ModelSettings

    def __post_init__(self) -> None:
        """Refuse pooling that leaves nothing of a chunk."""
        if not pooled(self.unit.context, self.model.pool):
            raise ValueError(
                f"model.pool leaves nothing of chunks of {self.unit.context} frames (unit.context)"
            )


class Csa(nn.Module):
    """Three convolution blocks, self-attention, one linear layer.

    The paper leaves open: convolutions over time and frequency or over time alone (``conv_dim``), the
    channels before the last, which kernels of 2-6, pooling, and how the map becomes one vector
    (``head_pool``).  All are arguments; conf/csa.yaml says which reading the recipe takes.
    """

    def __init__(
        self,
        *,
        num_values: int,
        num_classes: int,
        context: int,
        conv_dim: Literal[1, 2],
        channels: Sequence[int],
        kernels: Sequence[int],
        pool: Sequence[int],
        attn_reduction: int,
        gamma_mode: GammaMode,
        gamma_init: float,
        softmax_axis: SoftmaxAxis,
        head_pool: HeadPool,
        dropout: float,
        num_layers: int = 1,
        speaker_norm: bool = False,
    ) -> None:
        """Make the network.

        Args:
            num_values: F; of each layer, where there are several.
            num_classes: K.
            context: frames a chunk, T; the head depends on it only with ``head_pool="flatten"``.
            conv_dim: 2: one input channel over time x frequency; 1: F input channels over time.
            channels: output channels of each block; the last is the paper's 128.
            kernels: kernel size of each block, all dimensions alike.
            pool: max-pooling behind each block, all dimensions alike; 1 is none.
            attn_reduction: divisor of the channels of j and k.
            gamma_mode: see :class:`~ser.systems.layers.attention.SelfAttention`.
            gamma_init: gamma at the start (0: the attention fades in).
            softmax_axis: see :class:`~ser.systems.layers.attention.SelfAttention`.
            head_pool: mean over positions, over time alone, or all positions side by side.
            dropout: share of the pooled vector dropped in training (paper: 0).
            num_layers: layers of an encoder that stand side by side in a frame.
            speaker_norm: whether the pooled vector is normalised by speaker (paper: no).
        """
        super().__init__()
        self.layers = LayerSum(num_layers)
        self.conv_dim, self.head_pool = conv_dim, head_pool
        two = conv_dim == 2
        blocks: list[nn.Module] = []
        size = 1 if two else num_values
        for channel, kernel, stride in zip(channels, kernels, pool, strict=True):
            kernel_size, strides = ((kernel, kernel), (stride, stride)) if two else ((kernel,), (stride,))
            blocks += convolution(size, channel, kernel_size, batch_norm=True, pool=strides)
            size = channel
        self.blocks = nn.Sequential(*blocks)
        self.attention = SelfAttention(
            size, attn_reduction, gamma_mode=gamma_mode, gamma_init=gamma_init, softmax_axis=softmax_axis
        )
        self.dropout = nn.Dropout(dropout)
        self.filters = pooled(num_values, pool) if two else 1  # positions in frequency
        sides = {"mean": 1, "mean_time": self.filters, "flatten": pooled(context, pool) * self.filters}
        vector = size * sides[head_pool]
        self.speaker_norm = SpeakerNorm(vector) if speaker_norm else None
        self.classifier = nn.Linear(vector, num_classes)
        channels_last(self.blocks)

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify chunks.

        Args:
            inputs: one feature set, (B, T, F), or layers side by side, T the context.

        Returns:
            logits, (B, K); ``extra`` has the self-attention E, (B, N, N), as ``self_attention``, and where
            it is normalised by speaker the pooled vector, as ``pooled``.
        """
        x = self.layers(inputs.main[0])
        x = x.unsqueeze(1) if self.conv_dim == 2 else x.transpose(1, 2)  # (B, 1, T, F) or (B, F, T)
        y = self.blocks(x).flatten(2)  # (B, C, N)
        y, weights = self.attention(y)  # (B, C, N), (B, N, N)
        if self.head_pool == "mean":
            vector = y.mean(dim=2)  # (B, C)
        elif self.head_pool == "mean_time":
            vector = y.unflatten(2, (-1, self.filters)).mean(dim=2).flatten(1)  # (B, C * filters)
        else:
            vector = y.flatten(1)  # (B, C * N)
        extra = {"self_attention": weights}
        if self.speaker_norm is not None:
            extra["pooled"] = vector
            vector = self.speaker_norm(vector, inputs)
        return Outputs(self.classifier(self.dropout(vector)), extra=extra)


def build(settings: CsaSettings, sizes: Sizes) -> Csa:
    """The network of some settings."""
    name = settings.features.sets[0]
    layers = num_layers(sizes, name)
    num_values = sizes.features[name] // layers
    if settings.model.conv_dim == 2 and not sizes.layout(name).ordered:
        raise ValueError(
            f"model.conv_dim must be 1 (over time), the values of the set '{name}' have no order, got 2"
        )
    if settings.model.conv_dim == 2 and not pooled(num_values, settings.model.pool):
        raise ValueError(f"model.pool leaves nothing of {num_values} values a frame")
    return Csa(
        num_values=num_values,
        num_classes=sizes.num_classes,
        context=settings.unit.context,
        num_layers=layers,
        speaker_norm=settings.by_speaker,
        **network_options(settings.model),
    )


SYSTEM = Network(CsaSettings, build, summary=layer_weights)
