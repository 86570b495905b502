"""What goes into a trained model and what comes out, whoever asks: the verb, Python, a page.

Shapes: N samples, T frames, K classes, W windows of a track.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser.feats.base import Floats, Timing

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """What is classified as one: a recording or a part of one.

    Attributes:
        source: the recording, as whoever asked named it.
        speaker: who speaks; "" where that is not known.
        start_s: where it begins on the recording's time line.
        end_s: where it ends.
        samples: one channel in [-1, 1], (N,), at the model's sampling rate.
        notes: what must be known of it, which goes on into :attr:`Result.notes`.
    """

    source: str
    speaker: str
    start_s: float
    end_s: float
    samples: Floats
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Track:
    """Emotion over time: posteriors of windows, on the recording's time line.

    Attributes:
        start_s: where each window begins, (W,), rising.
        end_s: where it ends, (W,).
        posteriors: (W, K), rows sum to 1.
    """

    start_s: Doubles
    end_s: Doubles
    posteriors: Doubles


@dataclass(frozen=True)
class Result:
    """What a model says of a piece.

    Attributes:
        source, speaker, start_s, end_s: of the piece.
        emotions: the classes, in the model's order.
        posterior: (K,), sum 1, as decoding gives it (stage 5).
        calibrated: (K,), sum 1, after the model's calibration; None where it has none.
        attention: a weight for every frame, (T,), sum 1; None of systems without.
        timing: of the frames; None where there are none.
        track: emotion over time, where that was asked for.
        notes: what must be known with it, such as "padded: shorter than the context".
    """

    source: str
    speaker: str
    start_s: float
    end_s: float
    emotions: tuple[str, ...]
    posterior: Doubles
    calibrated: Doubles | None = None
    attention: Floats | None = None
    timing: Timing | None = None
    track: Track | None = None
    notes: tuple[str, ...] = ()

    @property
    def emotion(self) -> str:
        """The likeliest class; of equally likely ones the first."""
        return self.emotions[int(self.posterior.argmax())]

    @property
    def confidence(self) -> float:
        """How sure the model is of :attr:`emotion`, 0 to 1: calibrated, where it has a calibration."""
        sure = self.posterior if self.calibrated is None else self.calibrated
        return float(sure[self.posterior.argmax()])
