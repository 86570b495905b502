"""Settings that systems share: what they read, how networks are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ser.feats.chunking import ChunkingConfig
from ser.feats.subset import Norm

Unit = Literal["utterance"] | ChunkingConfig


@dataclass(frozen=True)
class InputSettings:
    """Which features of the data a system reads, and what is done to them first."""

    sets: tuple[str, ...]  # feature sets; the first is the one whose frames count
    norm: Norm  # mean and variance: none, per utterance, per speaker, or global (of the training subset)

    def __post_init__(self) -> None:
        """Refuse an empty or repeating list."""
        if not self.sets or len(set(self.sets)) < len(self.sets):
            raise ValueError(f"sets must name feature sets, each once, got {', '.join(self.sets) or 'none'}")


@dataclass(frozen=True)
class AugmentationSettings:
    """What is done to features in training only; all 0 in the paper's systems.

    Masks after SpecAugment (Park et al. 2019); gains after FilterAugment's linear kind (Nam et al. 2022).
    """

    time_masks: int  # masks over time in an utterance or chunk
    time_mask_frames: int  # longest mask over time, in frames
    freq_masks: int  # masks over frequency
    freq_mask_bins: int  # widest mask over frequency, in filters
    filter_gain: float  # standard deviation of a gain over the filters, in the (normalised) features' unit

    def __post_init__(self) -> None:
        """Refuse negative sizes."""
        masks = (self.time_masks, self.time_mask_frames, self.freq_masks, self.freq_mask_bins)
        if min(*masks, self.filter_gain) < 0:
            raise ValueError("time_masks and the others must not be negative")


@dataclass(frozen=True)
class PlateauSettings:
    """torch's ReduceLROnPlateau, once an epoch (paper §4.3)."""

    metric: Literal["train_loss", "dev_loss"]
    patience: int  # epochs without improvement that are forgiven
    factor: float  # what the rate is multiplied by


@dataclass(frozen=True)
class CosineSettings:
    """A linear rise to ``optim.lr``, then half a cosine down to 0 at the end of the last epoch."""

    warmup: float  # share of the training that the rise takes, 0..1


@dataclass(frozen=True)
class OptimSettings:
    """Adam and what guides it."""

    lr: float  # initial rate; with ``cosine`` the highest
    weight_decay: float  # decoupled (AdamW); 0 is plain Adam
    clip_norm: float | None  # largest norm of the gradient; null: no clipping
    schedule: Literal["plateau", "cosine", "constant"]
    plateau: PlateauSettings
    cosine: CosineSettings

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        if self.lr <= 0 or self.weight_decay < 0:
            raise ValueError("lr must be above 0 and weight_decay not below it")
        if not 0 < self.plateau.factor < 1:
            raise ValueError("plateau.factor must be between 0 and 1")
        if not 0 <= self.cosine.warmup < 1:
            raise ValueError("cosine.warmup must be from 0 up to, not including, 1")


@dataclass(frozen=True)
class TrainingSettings:
    """How long, on what batches, and which epoch is kept."""

    epochs: int
    batch_size: int  # units (utterances or chunks) a batch, over all processes
    class_weights: Literal["none", "balanced"]  # balanced: each class has the same share in the loss
    select: Literal["last", "best_dev_loss", "best_dev_uar"]  # which epoch becomes the model
    amp: Literal["none", "bfloat16", "float16"]  # mixed precision, on a GPU only

    def __post_init__(self) -> None:
        """Refuse empty trainings."""
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError("epochs and batch_size must be at least 1")


def check_dropout(share: float) -> None:
    """Refuse a share of dropped units outside 0..1; for ``__post_init__``."""
    if not 0 <= share < 1:
        raise ValueError("dropout must be from 0 up to, not including, 1")
