"""Recordings without what lies before and behind speech, for features that are one vector of the rest.

Shapes: N samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from ser.feats import energy as energies
from ser.feats import vad
from ser.feats.base import Floats
from ser.feats.energy import Energy
from ser.feats.speech import kept_frames
from ser.ranges import Range


@dataclass(frozen=True)
class TrimSettings:
    """How speech is found, and what else is kept."""

    # frames further below the loudest are no speech; the other rules are those of conf/vad.yaml
    below_loudest_db: Annotated[float, Range(above=0, most=1000)]
    margin_ms: Annotated[float, Range(0, 60000)]  # kept before and behind speech


def trimmed(samples: Floats, rate_hz: int, settings: TrimSettings, least: int = 1) -> Floats:
    """Samples (N,) from the first frame of speech to the last, with a margin.

    All are given where there is no speech, or fewer than ``least`` would be left.

    >>> x = np.zeros(16000, np.float32)
    >>> x[8000:12000] = np.sin(np.arange(4000))
    >>> len(trimmed(x, 16000, TrimSettings(40.0, 0.0))), len(trimmed(x, 16000, TrimSettings(40.0, 100.0)))
    (5200, 8400)
    """
    energy = Energy(energies.RECIPE, rate_hz)
    rules = replace(vad.RECIPE, below_loudest_db=settings.below_loudest_db)
    speech = vad.decide(energy.compute(samples, "")[:, 0], rules)
    if not speech.any():
        return samples
    timing = energy.timing
    margin = round(settings.margin_ms / 1000 / timing.shift_s)
    kept = np.flatnonzero(kept_frames(speech, "trim", margin))
    shift = round(timing.shift_s * rate_hz)
    begin, end = kept[0] * shift, kept[-1] * shift + round(2 * timing.middle_s * rate_hz)
    if kept[-1] == len(speech) - 1:
        end = len(samples)  # with what is too short for a frame of its own
    return samples[begin:end] if end - begin >= least else samples
