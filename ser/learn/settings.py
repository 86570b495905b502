"""Settings of a system: conf/blstmatt.yaml, conf/csa.yaml and what users put beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ser import config
from ser.errors import ConfigError
from ser.feats.chunking import ChunkingConfig

Norm = Literal["none", "utterance", "speaker", "global"]


@dataclass(frozen=True)
class FeatureSettings:
    """What is done to the features of data/ before the network sees them."""

    norm: Norm  # mean and variance: none, per utterance, per speaker, or of the training part


@dataclass(frozen=True)
class AugmentationSettings:
    """What is done to features in training only; all 0 in the paper's systems.

    Masks after SpecAugment (Park et al. 2019); gains after FilterAugment's linear kind (Nam et al. 2022).
    """

    time_masks: int  # masks over time in a segment or chunk
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
    batch_size: int  # segments (BLSTMATT) or chunks (CSA) a batch, over all processes
    class_weights: Literal["none", "balanced"]  # balanced: each class has the same share in the loss
    select: Literal["last", "best_dev_loss", "best_dev_uar"]  # which epoch becomes model.pt
    amp: Literal["none", "bfloat16", "float16"]  # mixed precision, on a GPU only

    def __post_init__(self) -> None:
        """Refuse empty trainings."""
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError("epochs and batch_size must be at least 1")


@dataclass(frozen=True)
class BlstmattModel:
    """Sizes of BLSTMATT, see :class:`ser.systems.blstmatt.Blstmatt`."""

    hidden: int
    layers: int
    attention_dim: int
    frame_stack: int
    dropout: float

    def __post_init__(self) -> None:
        """Refuse empty networks."""
        if min(self.hidden, self.layers, self.attention_dim, self.frame_stack) < 1:
            raise ValueError("hidden, layers, attention_dim and frame_stack must be at least 1")
        _check_dropout(self.dropout)


@dataclass(frozen=True)
class CsaModel:
    """Sizes and readings of CSA, see :class:`ser.systems.csa.Csa`."""

    conv_dim: Literal[1, 2]
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    pool: tuple[int, ...]
    attn_reduction: int
    gamma_mode: Literal["scalar", "squared", "proj"]
    gamma_init: float
    softmax_axis: Literal["attended", "flattened"]
    head_pool: Literal["mean", "flatten"]
    dropout: float

    def __post_init__(self) -> None:
        """Refuse lists of different lengths and sizes that leave nothing."""
        if not len(self.channels) == len(self.kernels) == len(self.pool) > 0:
            raise ValueError("channels, kernels and pool must be equally long lists, an entry a block")
        if min(*self.channels, *self.kernels, *self.pool, self.attn_reduction) < 1:
            raise ValueError("channels, kernels, pool and attn_reduction must be at least 1")
        if self.channels[-1] < self.attn_reduction:
            raise ValueError("attn_reduction must not exceed the last of channels")
        _check_dropout(self.dropout)


@dataclass(frozen=True)
class DecodeSettings:
    """How chunk posteriors become an utterance's (the paper does not say)."""

    csa_pool: Literal["mean", "logmean", "vote"]


@dataclass(frozen=True)
class BlstmattSettings:
    """conf/blstmatt.yaml."""

    system: Literal["blstmatt"]
    features: FeatureSettings
    model: BlstmattModel
    augmentation: AugmentationSettings
    optim: OptimSettings
    training: TrainingSettings


@dataclass(frozen=True)
class CsaSettings:
    """conf/csa.yaml."""

    system: Literal["csa"]
    features: FeatureSettings
    chunking: ChunkingConfig
    model: CsaModel
    augmentation: AugmentationSettings
    optim: OptimSettings
    training: TrainingSettings
    decode: DecodeSettings


Settings = BlstmattSettings | CsaSettings


def _check_dropout(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError("dropout must be from 0 up to, not including, 1")


def learnt(settings: Settings) -> dict[str, object]:
    """The settings that a training depends on: all but those of decoding."""
    return {name: value for name, value in config.to_dict(settings).items() if name != "decode"}


def load(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read the settings of a system; its key ``system`` says which.

    Raises:
        ConfigError: as :func:`ser.config.load`, or no known ``system``.
    """
    system = config.read_yaml(path).get("system")
    if system == "csa":
        return config.load(CsaSettings, path, overrides)
    if system == "blstmatt":
        return config.load(BlstmattSettings, path, overrides)
    raise ConfigError(f"{path}: system must be blstmatt or csa, got {system!r}; correct it")


def from_dict(tree: dict[str, object], source: str) -> Settings:
    """The settings that :func:`ser.config.to_dict` wrote into a model folder."""
    if tree.get("system") == "csa":
        return config.build(CsaSettings, tree, source)
    return config.build(BlstmattSettings, tree, source)
