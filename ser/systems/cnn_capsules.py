"""Convolutions with a GRU, with capsules, or with both, after Wu et al.

Wu, Liu, Cao, Li, Yu, Dai, Ma, Hu, Wu, Liu & Meng, "Speech emotion recognition using capsule networks" (ICASSP
2019), reference [24] of the paper: CNN_GRU, CNN_SeqCap, CNN_GRU-SeqCap and CNN_RecCap.  It is read through
notes and code that says it follows it; what is guessed is marked (open) in conf/cnn_gru_seqcap.yaml.

Shapes: W windows, I primary capsules of a window, D values of a capsule, O = K (D + 1) values of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.blstm import Blstm
from ser.systems.layers.capsules import length, margin_loss, route, squash
from ser.systems.layers.maps import channels_last, convolution, pooled, zero_padding, zero_steps
from ser.systems.settings import Dropout, NetworkSettings

FRAMES_A_STEP = 4  # two poolings by 2 over time
POOLS = ((1, 2), (2, 2), (2, 8))  # over time and frequency, behind the convolutions
LINES = tuple(lines for _, lines in POOLS)
SHIFT = 5  # steps from one window to the next: 20 frames
WINDOW = 2 * SHIFT  # steps of a window


@dataclass(frozen=True)
class ModelSettings:
    """Sizes and readings of the network, see :class:`CnnCapsules`."""

    branches: Literal["gru", "capsules", "both"]  # what reads the map
    channels: Annotated[
        int, Range(1, 4096)
    ]  # of each of the first two convolutions; the others have twice that
    batch_norm: bool  # whether each convolution is followed by batch normalisation
    hidden: Annotated[int, Range(1, 16384)]  # GRU units per direction
    dense: Annotated[int, Range(1, 65536)]  # units of the layer behind the GRU
    dropout: Dropout  # share of them dropped in training
    primary_values: Annotated[int, Range(1, 4096)]  # values of a primary capsule, a divisor of 2 * channels
    capsule_values: Annotated[int, Range(1, 4096)]  # values of an emotion's capsule, D
    routings: Annotated[int, Range(1, 100)]  # rounds of dynamic routing
    recurrent: Literal[
        "none", "shared", "full"
    ]  # whether a window sees the one before; weights a capsule or shared
    capsule_loss: Literal[
        "margin", "cross_entropy"
    ]  # of the lengths, or of a dense layer behind the capsules
    capsule_weight: Annotated[float, Range(0, 1)]  # of the capsules' posterior, with both branches

    def __post_init__(self) -> None:
        """Refuse primary capsules that do not divide the channels."""
        if 2 * self.channels % self.primary_values:
            raise ValueError(
                f"primary_values must divide the {2 * self.channels} channels of the map, got "
                f"{self.primary_values}"
            )


@dataclass(frozen=True)
class CnnCapsulesSettings(NetworkSettings):
    """conf/cnn_gru.yaml and the like."""

    unit: Literal["utterance"]  # what it is trained on
    model: ModelSettings


class CapsuleBranch(nn.Module):
    """Windows of a map, each routed to an emotion's capsules; the windows routed to those of the utterance.

    A window's K capsules v_j and their lengths are one vector, o = [v_1 ... v_K, |v_1| ... |v_K|].  With
    ``recurrent`` (CNN_RecCap) the predictions of window t have a part of the window before::

        u_j|i = W_ij u_i + R_ij o_(t-1) + b_ij,   o_(-1) = 0

    ``shared`` takes one R_j and b_j for all i, which is how the paper is read here: R_ij would have more
    weights than all the rest.
    """

    def __init__(
        self,
        *,
        num_lines: int,
        num_classes: int,
        channels: int,
        primary_values: int,
        capsule_values: int,
        routings: int,
        recurrent: Literal["none", "shared", "full"],
        dense: bool,
    ) -> None:
        """``num_lines`` and ``channels`` are the map's; ``dense`` adds a layer that classifies."""
        super().__init__()
        self.primary_values, self.routings = primary_values, routings
        primary = WINDOW * num_lines * (channels // primary_values)  # I
        size = num_classes * (capsule_values + 1)  # O
        self.weights = _weights(primary, num_classes, capsule_values, primary_values)
        self.over_windows = _weights(1, num_classes, capsule_values, size)
        self.before: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if recurrent != "none":
            rows = 1 if recurrent == "shared" else primary
            self.before = _weights(rows, num_classes, capsule_values, size)
            self.bias = nn.Parameter(torch.zeros(rows, num_classes, capsule_values))
        self.classifier = nn.Linear(num_classes * capsule_values, num_classes) if dense else None

    def forward(self, y: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and lengths of the utterance's capsules.

        Args:
            y: the map, (B, C, T, F), zeros behind the ends.
            lengths: its steps, (B,).

        Returns:
            (B, K) each; without a dense layer, softmax of the logits is the lengths' shares.
        """
        windows, present = _windows(y, lengths)  # (B, W, C, WINDOW, F), (B, W)
        primary = squash(self._primary(windows))  # (B, W, I, P)
        predictions = torch.einsum("bwip,ikdp->bwikd", primary, self.weights)  # (B, W, I, K, D)
        vectors = self._vectors(predictions)  # (B, W, O)
        utterance = torch.einsum("bwo,kdo->bwkd", vectors, self.over_windows[0])
        capsules = route(utterance, self.routings, present)  # (B, K, D)
        if self.classifier is not None:
            return self.classifier(capsules.flatten(1)), length(capsules)
        return length(capsules).log(), length(capsules)

    def _primary(self, windows: Tensor) -> Tensor:
        """The channels of each position of a window, as capsules: (B, W, I, P)."""
        values = windows.permute(0, 1, 3, 4, 2)  # (B, W, WINDOW, F, C)
        return values.reshape(*windows.shape[:2], -1, self.primary_values)

    def _vectors(self, predictions: Tensor) -> Tensor:
        """What each window says, (B, W, O)."""
        if self.before is None or self.bias is None:
            vectors = _vector(route(predictions.flatten(0, 1), self.routings))
            return vectors.view(*predictions.shape[:2], -1)
        return _recurrent(predictions, self.before, self.bias, self.routings)


def _weights(*sizes: int) -> nn.Parameter:
    """Normal, with a deviation that keeps what is multiplied by them in size."""
    return nn.Parameter(torch.randn(sizes) * sizes[-1] ** -0.5)


def _vector(capsules: Tensor) -> Tensor:
    """Capsules (B, K, D) and their lengths side by side, (B, O)."""
    return torch.cat([capsules.flatten(1), length(capsules)], dim=1)


def _one_after_another(predictions: Tensor, before: Tensor, bias: Tensor, routings: int) -> Tensor:
    """The vectors (B, W, O) of windows whose predictions (B, W, I, K, D) have a part of the window before."""
    rows: list[Tensor] = []
    o = torch.zeros(
        [predictions.shape[0], before.shape[3]], dtype=predictions.dtype, device=predictions.device
    )
    for number in range(predictions.shape[1]):
        given = torch.einsum("bo,ikdo->bikd", o, before) + bias  # (B, 1 or I, K, D)
        o = _vector(route(predictions[:, number] + given, routings))
        rows.append(o)
    return torch.stack(rows, dim=1)


# so that what is exported has a loop, too, not the windows of an example
_recurrent: Callable[[Tensor, Tensor, Tensor, int], Tensor] = torch.jit.script_if_tracing(  # type: ignore[no-untyped-call]  # torch's
    _one_after_another
)


def count_windows(lengths: Tensor) -> Tensor:
    """Windows of maps of some steps, (B,): the first, and each that has steps the one before has not."""
    return ((lengths + SHIFT - 1) // SHIFT - 1).clamp(min=1)


def _windows(y: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Windows of a map (B, C, T, F), filled with zeros, and which of them are there."""
    blocks = y.shape[2] // SHIFT + 2  # as many as any length needs
    y = F.pad(y, (0, 0, 0, WINDOW))[:, :, : blocks * SHIFT].transpose(1, 2)  # (B, W SHIFT + SHIFT, C, F)
    y = y.reshape(y.shape[0], -1, SHIFT, *y.shape[2:]).transpose(2, 3)  # (B, W + 1, C, SHIFT, F)
    windows = torch.cat([y[:, :-1], y[:, 1:]], dim=3)  # (B, W, C, WINDOW, F)
    number = torch.arange(windows.shape[1], device=y.device)
    return windows, number < count_windows(lengths).unsqueeze(1)


class CnnCapsules(nn.Module):
    """Four convolutions; behind them a GRU, capsules, or both.

    With the paper's sizes, 200 lines and K = 4: 83,828 parameters with the GRU, 78,896 with capsules, 149,620
    with both, 83,312 with recurrent capsules.
    """

    def __init__(
        self,
        *,
        num_values: int,
        num_classes: int,
        branches: Literal["gru", "capsules", "both"],
        channels: int,
        batch_norm: bool,
        hidden: int,
        dense: int,
        dropout: float,
        primary_values: int,
        capsule_values: int,
        routings: int,
        recurrent: Literal["none", "shared", "full"],
        capsule_loss: Literal["margin", "cross_entropy"],
        capsule_weight: float,
    ) -> None:
        """Make the network; :class:`ModelSettings` says what the arguments are, F and K come before them."""
        super().__init__()
        self.margin, self.capsule_weight = capsule_loss == "margin", capsule_weight
        both = 2 * channels
        self.tall = convolution(1, channels, (2, 8), batch_norm=batch_norm, pool=POOLS[0])
        self.wide = convolution(1, channels, (8, 2), batch_norm=batch_norm, pool=POOLS[0])
        self.second = convolution(both, both, (5, 5), batch_norm=batch_norm, pool=POOLS[1])
        self.third = convolution(both, both, (5, 5), batch_norm=batch_norm, pool=POOLS[2])
        lines = pooled(num_values, LINES)
        self.gru: Blstm | None = None
        self.capsules: CapsuleBranch | None = None
        if branches != "capsules":
            self.gru = Blstm(both * lines, hidden, 1, 0.0, cell=nn.GRU)
            self.classifier = nn.Sequential(
                nn.Linear(2 * hidden, dense), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dense, num_classes)
            )
        if branches != "gru":
            self.capsules = CapsuleBranch(
                num_lines=lines,
                num_classes=num_classes,
                channels=both,
                primary_values=primary_values,
                capsule_values=capsule_values,
                routings=routings,
                recurrent=recurrent,
                dense=not self.margin,
            )
        channels_last(self)

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify utterances.

        Args:
            inputs: one feature set, (B, T, F); what stands behind its lengths does not matter.

        Returns:
            logits, (B, K): of both branches, the logarithm of their posteriors' weighted mean.  ``extra`` has
            what each is trained by: ``gru`` and ``capsules``, logits, and ``lengths`` of capsules, (B, K).
        """
        y, lengths = self._map(*inputs.main)
        extra: dict[str, Tensor] = {}
        if self.gru is not None:
            h = self.gru(y.transpose(1, 2).flatten(2), lengths)  # (B, T / 4, H)
            extra["gru"] = self.classifier(Blstm.last_states(h, lengths))
        if self.capsules is not None:
            extra["capsules"], found = self.capsules(y, lengths)
            if self.margin:
                extra["lengths"] = found
        if self.gru is None or self.capsules is None:
            return Outputs(next(iter(extra.values())), extra=extra)
        shares = [extra[name].float().softmax(dim=1) for name in ("capsules", "gru")]
        mean = self.capsule_weight * shares[0] + (1 - self.capsule_weight) * shares[1]
        return Outputs(mean.clamp(min=1e-12).log(), extra=extra)

    def _map(self, x: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """The map that both branches read, (B, C, T / 4, F / 32), and its steps (B,), at least one.

        Behind the ends zeros stand before every convolution, so that padding changes nothing.
        """
        x = F.pad(zero_padding(x, num_frames), (0, 0, 0, FRAMES_A_STEP - 1))  # room for a step
        x = x.unsqueeze(1)  # (B, 1, T, F)
        num_frames = num_frames.clamp(min=FRAMES_A_STEP)
        y = zero_steps(torch.cat([self.tall(x), self.wide(x)], dim=1), num_frames)
        y = zero_steps(self.second(y), num_frames // 2)
        return zero_steps(self.third(y), num_frames // FRAMES_A_STEP), num_frames // FRAMES_A_STEP


def loss(outputs: Outputs, targets: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of the GRU, and margin loss (or cross-entropy) of the capsules, summed, (B,)."""
    emotion, extra = targets["emotion"], outputs.extra
    total = torch.zeros(len(emotion), device=emotion.device)
    if "gru" in extra:
        total = total + F.cross_entropy(extra["gru"], emotion, reduction="none")
    if "lengths" in extra:
        return total + margin_loss(extra["lengths"], emotion)
    if "capsules" in extra:
        total = total + F.cross_entropy(extra["capsules"], emotion, reduction="none")
    return total


def build(settings: CnnCapsulesSettings, sizes: Sizes) -> CnnCapsules:
    """The network of some settings."""
    num_values = sizes.features[settings.features.sets[0]]
    if not pooled(num_values, LINES):
        raise ValueError(f"{num_values} values a frame are too few, poolings need 32")
    return CnnCapsules(num_values=num_values, num_classes=sizes.num_classes, **asdict(settings.model))


SYSTEM = Network(CnnCapsulesSettings, build, loss)
