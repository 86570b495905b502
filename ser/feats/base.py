"""What an extractor of features is: the contract of the modules that make feature sets.

A feature set is a settings file, ``conf/<set>.yaml``, whose key ``extractor`` names a class with the pieces
of :class:`Extractor`: one of :data:`ser.feats.sets.EXTRACTORS`, or ``my_package.my_module:NAME``.  The class
need not inherit from anything here.

Shapes: N samples, T frames, F values of a frame or of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ser.ranges import Range

Floats = npt.NDArray[np.float32]
INT16_SCALE = 32768.0  # a sample of 1.0 in the unit of 16-bit samples, which is Kaldi's


@dataclass(frozen=True)
class Timing:
    """Which time of the recording each frame stands for: frame t is centred on ``middle_s + t * shift_s``."""

    shift_s: Annotated[float, Range(above=0)]  # from one frame to the next
    middle_s: Annotated[float, Range(0)]  # the middle of frame 0's window


@dataclass(frozen=True)
class Layout:
    """What the values of a frame, or of a vector, are to each other."""

    # numbers of an encoder's layers whose values stand side by side, equally many of each; none: no layers
    layers: tuple[int, ...] = ()
    ordered: bool = True  # whether neighbours lie beside each other on a scale, as filters do

    def __post_init__(self) -> None:
        """Refuse layers that stand there twice."""
        if len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers must be named once each, got {', '.join(map(str, self.layers))}")


ONE_SCALE = Layout()


class Extractor(Protocol):
    """Makes features from samples, in the recipe as for a single recording.

    Its constructor takes settings, an object of ``Settings``, and the rate of the samples.  It is called
    often, so large models are better loaded by the first ``compute``.  It raises ValueError for settings that
    cannot work.

    ``dim``, ``timing`` and ``versions`` may be attributes or properties; features that were made with other
    versions are refused.

    Attributes:
        in_blocks: may be left out; true: ``compute`` of a long recording gets no array but a
            :class:`ser.feats.audio.LongRecording`, whose samples it takes in slices that go forward.
        layout: may be left out; a :class:`Layout`, of values that are no one scale.
        device: no piece of it, but a setting of this name, if it is auto, becomes cuda or cpu with
            ``--use-gpu`` yes or no.
        min_samples: may be left out; the fewest samples that features can be made of.  Utterances of fewer
            are found before any features are made.
        compress: may be left out; CM or CM2, how the archives are compressed where nothing else is asked for.
        recorded: may be left out; the settings as they are kept with the features and in models, of which the
            constructor makes the same features wherever that is; without it they are those that were given.
        Settings: a frozen dataclass, what the YAML file must hold; has the field ``extractor``.  If it has a
            field ``sampling_rate_hz`` too, that must be the corpus's.
    """

    Settings: ClassVar[type[Any]]

    def __init__(self, settings: Any, sampling_rate_hz: int) -> None: ...

    @property
    def dim(self) -> int:
        """Values of a frame or of a vector, F."""
        ...

    @property
    def timing(self) -> Timing | None:
        """Of the frames; None if a recording becomes one vector."""
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Libraries that the values depend on, such as ``{"opensmile": "2.6.0"}``."""
        ...

    def compute(self, samples: Floats, key: str) -> Floats:
        """The features of one recording.

        Args:
            samples: one channel in [-1, 1], (N,), at the sampling rate of the constructor.
            key: the utterance's id; the only thing that noise may be seeded with.

        Returns:
            (T, F) with T > 0, or (F,) if there is no ``timing``.

        Raises:
            DataError: the recording cannot be used; the text goes without the file's name, which the caller
                puts before it.
        """
        ...
