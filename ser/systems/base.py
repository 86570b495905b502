"""What a system is: its settings, and either a network or an estimator of its own.

Shapes are written with one legend::

    B  utterances (or chunks) in a batch     H  values a step that an encoder gives out
    T  frames, or steps of stacked frames    C  channels of a convolution
    F  values of a frame                     N  positions of a feature map; utterances of a subset
    K  classes

A file of this folder, or a module of the reader's own, ends with ``SYSTEM``, a :class:`Network` or an
:class:`Estimator`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser.feats.base import ONE_SCALE, Layout
from ser.feats.subset import Subset

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Doubles = npt.NDArray[np.float64]
MAX_SIZE = 1_000_000  # values of a frame (or an utterance's vector), classes
Arrays = dict[str, npt.NDArray[Any]]  # a model that is no network: name -> numbers


@dataclass(frozen=True)
class System:
    """What all systems say of themselves."""

    settings: type[Any]  # the dataclass that conf/<name>.yaml fits; has the field ``system``
    seeded: bool = field(default=True, kw_only=True)  # whether the random seed changes anything
    frame_attention: bool = field(default=False, kw_only=True)  # whether it gives a weight for every frame
    # what of a model people want to know, from what was learnt and its sizes; shown, and kept in model.json
    summary: Callable[[Arrays, Sizes], dict[str, Any]] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Sizes:
    """What a network must fit: known only once the data is there."""

    features: dict[str, int]  # feature set -> F
    num_classes: int  # K
    targets: dict[str, int]  # further target -> its number of classes
    # feature set -> layout of its F values, of sets that are no one scale
    layouts: dict[str, Layout] = field(default_factory=dict)
    # words of the training subset, in the order of their numbers, of systems that read transcripts
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse sizes that no data has, such as those of a damaged model."""
        for name, size in {**self.features, **self.targets, "num_classes": self.num_classes}.items():
            if not 1 <= size <= MAX_SIZE:
                raise ValueError(f"{name} must be from 1 to {MAX_SIZE}, got {size}")
        for name, layout in self.layouts.items():
            size, layers = self.features.get(name, 0), len(layout.layers)
            if size % max(1, layers):
                raise ValueError(f"{name} has {size} values, no multiple of {layers} layers")

    def layout(self, name: str) -> Layout:
        """Of the values of a feature set."""
        return self.layouts.get(name, ONE_SCALE)


@dataclass(frozen=True)
class Decision:
    """What a system says of one utterance.

    Attributes:
        index: which of the subset.
        posterior: (K,), sum 1; None when the utterance is not scored.
        attention: (T,), sum 1, of a system with a weight for every frame.
        chunks: posteriors of its chunks (n, K), in time, of a system trained on chunks.
        padded: (K,), of one padded chunk, where the utterance is not scored because it is too short.
        reason: why it is not scored.
    """

    index: int
    posterior: Doubles | None
    attention: npt.NDArray[np.float32] | None = None
    chunks: Doubles | None = None
    padded: Doubles | None = None
    reason: str = ""


@dataclass(frozen=True)
class Inputs:
    """What a network reads of B utterances or chunks."""

    features: dict[str, Tensor]  # feature set -> (B, T, F), anything finite behind an end; or (B, F)
    num_frames: dict[str, Tensor]  # feature set of frames -> true lengths, (B,), 1 <= each <= T
    # numbers of each utterance's words, (B, W), W > 0: 0 behind the last, 1 of an unknown one; of systems
    # that read transcripts
    words: Tensor | None = None
    # of systems whose unit is a dialogue: utterances of each dialogue, (D,), sum B, which stand one after
    # another; and who of it speaks, (B,), from 0
    dialogues: Tensor | None = None
    roles: Tensor | None = None
    speakers: Tensor | None = None  # a number for each item's speaker, (B,), in training by speaker
    # mean and deviation of the vectors pooled from all that each item's speaker says, (B, 2, H), in decoding
    pooled: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, num_frames: Tensor, name: str = "features") -> Inputs:
        """One feature set: ``x`` (B, T, F) and its ``num_frames`` (B,)."""
        return cls({name: x}, {name: num_frames})

    @property
    def main(self) -> tuple[Tensor, Tensor]:
        """Features and lengths of the first set."""
        name = next(iter(self.features))
        return self.features[name], self.num_frames[name]

    def __len__(self) -> int:
        return len(next(iter([*self.features.values(), *([] if self.words is None else [self.words])])))

    def to(self, device: torch.device) -> Inputs:
        """The same on a device."""
        rest = (
            None if each is None else each.to(device, non_blocking=True)
            for each in (self.words, self.dialogues, self.roles, self.speakers, self.pooled)
        )
        return Inputs(
            {name: x.to(device, non_blocking=True) for name, x in self.features.items()},
            {name: lengths.to(device, non_blocking=True) for name, lengths in self.num_frames.items()},
            *rest,
        )


@dataclass(frozen=True)
class Outputs:
    """What a network says of a batch."""

    logits: Tensor  # (B, K)
    attention: Tensor | None = None  # a weight for every frame, (B, T): sum 1, 0 behind the end
    # whatever the system's own loss needs; "pooled": the vectors (B, H) that are normalised by speaker
    extra: dict[str, Tensor] = field(default_factory=dict)


Loss = Callable[[Outputs, Mapping[str, "Tensor"]], "Tensor"]


@dataclass(frozen=True)
class Network(System):
    """A network that is trained by gradient, in the one loop of :mod:`ser.learn.trainer`.

    ``settings`` has the fields ``system features unit augmentation optim training``, and any others;
    ``build`` makes the network, whose ``forward`` takes :class:`Inputs` and gives :class:`Outputs`.
    ``loss`` gives the loss of each item, (B,), from the outputs and the targets (``emotion`` and what the
    setting ``targets`` names, class indices (B,)); None is cross-entropy.  Class weights are applied to it.

    ``begin`` gives a new network what it begins with instead of random weights; it gets the network, the
    settings and those of its feature sets, by name.  ``rates`` gives, from the settings, beginnings of
    parameters' names and what the learning rate is multiplied by for them; it is 1 for all others.
    """

    build: Callable[[Any, Sizes], nn.Module]
    loss: Loss | None = None
    begin: Callable[[nn.Module, Any, Mapping[str, Mapping[str, Any]]], None] | None = None
    rates: Callable[[Any], dict[str, float]] | None = None


@dataclass(frozen=True)
class Estimator(System):
    """Anything else that learns: fitted in one go, its model some arrays.

    ``fit`` takes the training subset (with labels; features as they were made, not normalised), the
    settings, the number of classes and the seed.  ``posteriors`` takes what ``fit`` gave, the settings and a
    subset without labels, and gives probabilities (N, K), rows sum to 1.

    What ``posteriors`` says of an utterance must not depend on others, but for what ``speaker_stats`` takes
    of a speaker's.  It gets the settings and a subset and gives speaker -> sums, which are added up over
    subsets (such as :func:`ser.feats.cmvn.stats`).  Those over all that a speaker says are then in
    ``subset.speaker_stats``; where that is None, the subset is all of it.
    """

    fit: Callable[[Subset, Any, int, int], Arrays]
    posteriors: Callable[[Arrays, Any, Subset], Doubles]
    speaker_stats: Callable[[Any, Subset], dict[str, Doubles]] | None = None
