"""Settings that systems share: what they read, how networks are trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from ser.data.published import Published
from ser.feats.chunking import ChunkingConfig
from ser.feats.level import Level
from ser.feats.speech import ALL_FRAMES, OVER_ALL, CmvnUse, VadUse
from ser.ranges import Range

Dropout = Annotated[float, Range(least=0, below=1)]  # share of the units that training drops
NormSetting = Literal["none", "utterance", "speaker", "global", "auto"]
Unit = Literal["utterance", "dialogue"] | ChunkingConfig
PooledNorm = Literal["none", "speaker"]


@dataclass(frozen=True)
class InputSettings:
    """Which features of the data a system reads, and what is done to them first."""

    may_be_none: ClassVar[bool] = False  # whether a system may read no set

    sets: tuple[str, ...]  # feature sets; the first is the one whose frames count
    # mean and variance: none, per utterance, per speaker, or global (of the training subset); auto: per
    # speaker where the training speakers make that sound, else global
    norm: NormSetting
    vad: VadUse = ALL_FRAMES  # may be left out: all frames are read
    cmvn: CmvnUse = OVER_ALL  # may be left out: statistics are of all frames
    # whose mean over frames and filters is subtracted first; may be left out: nobody's
    level: Level = "none"
    # trained on besides, in place of sets each: such as [[fbank_sp09], [fbank_sp11]], the recordings played
    # slower and faster; decoding reads sets alone; may be left out: none
    copies: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse an empty or repeating list, and statistics that nothing uses."""
        for copy in self.copies:
            if len(copy) != len(self.sets) or set(copy) & set(self.sets):
                raise ValueError(
                    f"copies must be lists of as many sets as sets has ({len(self.sets)}), and of others, "
                    f"got {', '.join(copy) or 'none'}"
                )
        if not (self.sets or self.may_be_none) or len(set(self.sets)) < len(self.sets):
            raise ValueError(f"sets must name feature sets, each once, got {', '.join(self.sets) or 'none'}")
        if self.norm == self.level == "none" and self.cmvn.over == "speech":
            raise ValueError("cmvn.over must be all with norm and level none, which take no statistics")
        if self.norm == "none" and self.cmvn.values == "together":
            raise ValueError("cmvn.values must be each with norm none, which takes no statistics")
        if self.norm == "utterance" and self.level != "none" or self.norm == self.level == "speaker":
            raise ValueError(f"level {self.level} is taken away by norm {self.norm}; set level to none")


@dataclass(frozen=True)
class AugmentationSettings:
    """What is done to features in training only; all 0 in the paper's systems.

    Masks after SpecAugment (Park et al. 2019); gains after FilterAugment's linear kind (Nam et al. 2022).
    """

    time_masks: Annotated[int, Range(0, 1000)]  # masks over time in an utterance or chunk
    time_mask_frames: Annotated[int, Range(0, 100000)]  # longest mask over time, in frames
    freq_masks: Annotated[int, Range(0, 1000)]  # masks over frequency
    freq_mask_bins: Annotated[int, Range(0, 10000)]  # widest mask over frequency, in filters
    # standard deviation of a gain over the filters, in the (normalised) features' unit
    filter_gain: Annotated[float, Range(0, 100)]


@dataclass(frozen=True)
class PlateauSettings:
    """torch's ReduceLROnPlateau, once an epoch (paper §4.3)."""

    metric: Literal["train_loss", "dev_loss"]  # what should fall
    patience: Annotated[int, Range(0, 100000)]  # epochs without improvement that are forgiven
    factor: Annotated[float, Range(above=0, below=1)]  # what the rate is multiplied by


@dataclass(frozen=True)
class CosineSettings:
    """A linear rise to ``optim.lr``, then half a cosine down to 0 at the end of the last epoch."""

    warmup: Annotated[float, Range(least=0, below=1)]  # share of the training that the rise takes


@dataclass(frozen=True)
class StepsSettings:
    """The rate falls after some epochs."""

    epochs: tuple[Annotated[int, Range(1, 100000)], ...]  # behind which it falls, rising
    factor: Annotated[float, Range(above=0, below=1)]  # what the rate is multiplied by each time

    def __post_init__(self) -> None:
        """Refuse an order that means nothing."""
        if list(self.epochs) != sorted(set(self.epochs)):
            raise ValueError(f"epochs must rise, got {', '.join(map(str, self.epochs))}")


@dataclass(frozen=True)
class OptimSettings:
    """The optimiser and what guides it."""

    lr: Annotated[float, Range(above=0, most=10)]  # initial rate; with ``cosine`` the highest
    # adam: decoupled (AdamW), 0 is plain Adam; sgd: added to the gradient
    weight_decay: Annotated[float, Range(0, 1000)]
    clip_norm: Annotated[float, Range(above=0)] | None  # largest norm of the gradient; null: no clipping
    schedule: Literal["plateau", "cosine", "constant", "steps"]  # of the rate
    plateau: PlateauSettings
    cosine: CosineSettings
    steps: StepsSettings | None = None  # may be left out but with schedule steps
    # sgd: with Nesterov's momentum of 0.9; may be left out: adam
    algorithm: Literal["adam", "sgd"] = "adam"

    def __post_init__(self) -> None:
        """Refuse a schedule that is not there."""
        if self.schedule == "steps" and self.steps is None:
            raise ValueError("steps must be there with schedule steps: epochs and factor")


@dataclass(frozen=True)
class TrainingSettings:
    """How long, on what batches, and which epoch is kept."""

    epochs: Annotated[int, Range(1, 100000)]  # passes through the training subset
    batch_size: Annotated[int, Range(1, 65536)]  # utterances, chunks or dialogues a batch, over all processes
    class_weights: Literal["none", "balanced"]  # balanced: each class has the same share in the loss
    select: Literal["last", "best_dev_loss", "best_dev_uar"]  # which epoch becomes the model
    amp: Literal["none", "bfloat16", "float16"]  # mixed precision: on a GPU, or bfloat16 on CPUs that have it
    max_frames: Annotated[int, Range(1)] | None  # longest utterance that is trained on as it is; null: any
    long_utterances: Literal[
        "cut", "split", "drop"
    ]  # longer ones: their beginning, all in pieces, not at all


@dataclass(frozen=True)
class NetworkSettings:
    """What every system has that is trained by gradient; beside it its own ``unit`` and ``model``."""

    system: str  # the code: a word of ser/systems, or my_package.my_module:SYSTEM
    features: InputSettings
    augmentation: AugmentationSettings
    optim: OptimSettings
    training: TrainingSettings
    # what its paper prints, for the report alone; may be left out
    published: Published | None = field(default=None, kw_only=True)

    @property
    def by_speaker(self) -> bool:
        """Whether what is pooled is normalised by each speaker, as the features are."""
        model = getattr(self, "model", None)
        return getattr(model, "pooled_norm", "none") == self.features.norm == "speaker"


def network_options(model: Any) -> dict[str, Any]:
    """What a network is made with: its settings without ``pooled_norm``."""
    return {name: value for name, value in asdict(model).items() if name != "pooled_norm"}
