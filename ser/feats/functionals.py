"""The extractor ``functionals``: openSMILE's statistics of a recording, one vector each.

Shapes: N samples, F functionals.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal

import numpy as np

from ser.errors import DataError, UsageError
from ser.feats.base import Floats
from ser.feats.trimming import TrimSettings, trimmed

SIZES = {"eGeMAPSv02": 88, "ComParE_2016": 6373}  # openSMILE's feature set -> F
_SHORTEST_MS = 60  # one frame of openSMILE's pitch; of less all functionals are NaN
_INSTALL = (
    "install it with: utils/install.sh --extra baselines (its licence excludes commercial use, see NOTICE)"
)


@dataclass(frozen=True)
class FunctionalsSettings:
    """Which functionals are made, and of what."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME
    feature_set: Literal["eGeMAPSv02", "ComParE_2016"]  # openSMILE's name
    # what lies before and behind speech is left out; null, or no such key: nothing is
    trim: TrimSettings | None = None


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
            samples = trimmed(samples, self._rate_hz, self._settings.trim, self.min_samples)
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
