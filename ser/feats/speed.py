"""Recordings played slower or faster, as Kaldi's speed perturbation plays them: pitch and duration change.

A settings file of any feature set may have the key ``speed``; ``conf/fbank_sp09.yaml`` is one.  Systems train
on such sets beside those that they read, see ``features.copies`` in :mod:`ser.systems.settings`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ser.feats.base import ONE_SCALE, Extractor, Floats, Layout, Timing
from ser.ranges import Range

SPEED = "speed"  # the key


@dataclass(frozen=True)
class SpeedSettings:
    """What the settings of any feature set may have besides those of its extractor."""

    # how many times as fast the recording is played, pitch and duration changed; may be left out: 1
    speed: Annotated[float, Range(0.5, 2.0)] = 1.0


class Played:
    """An :class:`~ser.feats.base.Extractor` that hears recordings at another speed.

    Its frames stand for times of the recording as it is: of ten seconds at speed 0.9 the last one stands for
    10 s, not for 11.1 s.
    """

    Settings: ClassVar[type[Any]] = SpeedSettings

    def __init__(self, extractor: Extractor, speed: float, sampling_rate_hz: int) -> None:
        """``extractor`` takes samples at ``sampling_rate_hz``, as this does.

        Raises:
            ValueError: no whole number of hertz is ``speed`` times the sampling rate.
        """
        self._extractor, self._rate_hz = extractor, sampling_rate_hz
        self._played_hz = round(speed * sampling_rate_hz)  # at which the samples would have been taken
        if not math.isclose(self._played_hz, speed * sampling_rate_hz, rel_tol=1e-9):
            raise ValueError(f"speed {speed} of {sampling_rate_hz} Hz is no whole number of hertz")
        timing = extractor.timing
        self.timing = timing and Timing(round(timing.shift_s * speed, 12), round(timing.middle_s * speed, 12))
        self.dim, self.versions = extractor.dim, extractor.versions
        self.layout: Layout = getattr(extractor, "layout", ONE_SCALE)
        heard = getattr(extractor, "min_samples", 1)  # of ceil(N * rate / played) samples
        self.min_samples = (heard - 1) * self._played_hz // sampling_rate_hz + 1
        self.compress: Any = getattr(extractor, "compress", "none")

    def compute(self, samples: Floats, key: str) -> Floats:
        """The features of one recording (N,), played; see :class:`~ser.feats.base.Extractor`."""
        from ser.feats.audio import resample  # soundfile takes a while

        return self._extractor.compute(resample(samples, self._played_hz, self._rate_hz), key)
