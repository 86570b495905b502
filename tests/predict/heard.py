"""Results made by hand, of recordings whose sound is known to the sample."""

from __future__ import annotations

import numpy as np

from ser.feats.base import Floats, Timing
from ser.predict.recordings import Collector, Recording
from ser.predict.result import Piece, Result
from ser.predict.track import TrackSettings, place, window_times

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
RATE_HZ = 16000
SETTINGS = TrackSettings(1.0, 0.25)
TIMING = Timing(0.01, 0.0125)
HOSTILE = "<script>alert(1)</script>\"'&]]>{{ 7*7 }}</title>" + "long" * 60 + ".wav"


def beeps(duration_s: float, *starts_s: float) -> Floats:
    """Silence with a tone of 0.2 s from each of some times on."""
    time = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    on = np.any([(time >= start) & (time < start + 0.2) for start in starts_s], axis=0)
    return np.where(on, 0.5 * np.sin(2 * np.pi * 440 * time), 0).astype(np.float32)


def result(source: str, start_s: float, duration_s: float, seed: int, attention: bool = True) -> Result:
    """Of a piece: windows of 1 s whose posteriors wander, attention of frames of 10 ms."""
    rng = np.random.default_rng(seed)
    times = window_times(duration_s, SETTINGS)
    posteriors = rng.dirichlet(np.full(4, 0.6), len(times))
    weights = rng.gamma(1.0, size=int(100 * duration_s) - 2).astype(np.float32)
    return Result(
        source,
        "",
        start_s,
        start_s + duration_s,
        EMOTIONS,
        posteriors.mean(axis=0),
        attention=weights / weights.sum() if attention else None,
        timing=TIMING,
        track=place(times, posteriors, start_s, start_s + duration_s),
    )


def recordings(
    *pieces: tuple[Piece, Result], audio_s: float = 60.0, smooth_s: float = 0.0
) -> list[Recording]:
    """Recordings of pieces with their results."""
    collector = Collector(RATE_HZ, sound=True, audio_s=audio_s, smooth_s=smooth_s)
    list(collector.watch(piece for piece, _ in pieces))
    whole = [collector.add(result) for _, result in pieces]
    return [each for each in (*whole, collector.finish()) if each is not None]


def spoken(source: str, duration_s: float, seed: int, start_s: float = 0.0) -> tuple[Piece, Result]:
    """A piece with a tone at its start and in its middle, and its result."""
    samples = beeps(duration_s, 0.1, duration_s / 2)
    piece = Piece(source, "", start_s, start_s + duration_s, samples)
    return piece, result(source, start_s, duration_s, seed)
