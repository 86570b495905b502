"""The extractor ``functionals``: openSMILE's statistics of a recording, one vector each.

Shapes: N samples, F functionals.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ser.errors import DataError, UsageError
from ser.feats.base import Floats
from ser.feats.energy import Energy, EnergySettings
from ser.feats.speech import kept_frames
from ser.feats.vad import VadConfig, decide
from ser.ranges import Range

SIZES = {"eGeMAPSv02": 88, "ComParE_2016": 6373}  # openSMILE's feature set -> F
_SHORTEST_MS = 60  # one frame of openSMILE's pitch; of less all functionals are NaN
_FRAMES = EnergySettings("energy", 25.0, 10.0, remove_dc_offset=True)  # conf/energy.yaml's
_INSTALL = (
    "install it with: utils/install.sh --extra baselines (its licence excludes commercial use, see NOTICE)"
)


@dataclass(frozen=True)
class TrimSettings:
    """How speech is found, and what else is kept."""

    # frames further below the loudest are no speech; the other rules are those of conf/vad.yaml
    below_loudest_db: Annotated[float, Range(above=0, most=1000)]
    margin_ms: Annotated[float, Range(0, 60000)]  # kept before and behind speech


@dataclass(frozen=True)
class FunctionalsSettings:
    """Which functionals are made, and of what."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME
    feature_set: Literal["eGeMAPSv02", "ComParE_2016"]  # openSMILE's name
    # what lies before and behind speech is left out; null, or no such key: nothing is
    trim: TrimSettings | None = None


def trimmed(samples: Floats, rate_hz: int, settings: TrimSettings) -> Floats:
    """Samples (N,) from the first frame of speech to the last, with a margin; all where there is none.

    >>> x = np.zeros(16000, np.float32)
    >>> x[8000:12000] = np.sin(np.arange(4000))
    >>> len(trimmed(x, 16000, TrimSettings(40.0, 0.0))), len(trimmed(x, 16000, TrimSettings(40.0, 100.0)))
    (5200, 8400)
    """
    energy = Energy(_FRAMES, rate_hz)
    rules = VadConfig("energy", 0.0, 0.0, settings.below_loudest_db, 5, 0.3)
    speech = decide(energy.compute(samples, "")[:, 0], rules)
    if not speech.any():
        return samples
    timing = energy.timing
    margin = round(settings.margin_ms / 1000 / timing.shift_s)
    kept = np.flatnonzero(kept_frames(speech, "trim", margin))
    shift = round(timing.shift_s * rate_hz)
    begin, end = kept[0] * shift, kept[-1] * shift + round(2 * timing.middle_s * rate_hz)
    if kept[-1] == len(speech) - 1:
        end = len(samples)  # with what is too short for a frame of its own
    return samples[begin:end]


class Functionals:
    """openSMILE's functionals; openSMILE is loaded by the first :meth:`compute`."""

    Settings: ClassVar[type[Any]] = FunctionalsSettings
    timing: ClassVar[None] = None

    def __init__(self, settings: FunctionalsSettings, sampling_rate_hz: int) -> None:
        self.min_samples = math.ceil(sampling_rate_hz * _SHORTEST_MS / 1000)
        self.dim = SIZES[settings.feature_set]
        self._settings, self._rate_hz = settings, sampling_rate_hz

    @property
    def versions(self) -> dict[str, str]:
        """OpenSMILE's.

        Raises:
            UsageError: it is not installed.
        """
        try:
            return {"opensmile": version("opensmile")}
        except PackageNotFoundError as error:
            raise UsageError(f"the Python package opensmile is missing; {_INSTALL}") from error

    def compute(self, samples: Floats, key: str) -> Floats:  # noqa: ARG002  (part of the contract)
        """The functionals of one recording, or of what is left of it, (F,).

        Raises:
            UsageError: openSMILE cannot be loaded.
            DataError: the recording is too short, which for openSMILE is less than 60 ms.
        """
        if self._settings.trim is not None:
            speech = trimmed(samples, self._rate_hz, self._settings.trim)
            samples = speech if len(speech) >= self.min_samples else samples  # too short for openSMILE
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Segment too short")
            frame = self._smile.process_signal(samples, self._rate_hz)
        vector: Floats = frame.to_numpy(dtype=np.float32)[0]
        if not np.isfinite(vector).all():
            raise DataError(
                "is too short for openSMILE's functionals; leave it out where the corpus is prepared, or do "
                "without this feature set"
            )
        return vector

    @cached_property
    def _smile(self) -> Any:
        try:
            import opensmile
        except ImportError as error:
            raise UsageError(
                f"the Python package opensmile cannot be loaded ({error}); {_INSTALL}"
            ) from error
        return opensmile.Smile(
            feature_set=opensmile.FeatureSet[self._settings.feature_set],
            feature_level=opensmile.FeatureLevel.Functionals,
        )
