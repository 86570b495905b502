"""One recording as a whole, from a file or from memory, as samples that a model takes.

Shapes: N samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ser.data.audio_meta import check_rate
from ser.data.corpus import AudioConfig, ChannelChoice, channels_of
from ser.errors import DataError
from ser.feats.audio import load_samples, resample
from ser.feats.base import Floats

MEMORY = "(samples)"  # what a recording in memory is called


def read_whole(
    audio: str | Path | tuple[Floats, int], rate_hz: int, channel: ChannelChoice = None
) -> tuple[Floats, str]:
    """A recording as one channel at a model's rate, and its name.

    Args:
        audio: a file, or samples in [-1, 1], (N,) or (N, channels), and their sampling rate in Hz.
        rate_hz: of the samples that are wanted.
        channel: of a recording with several, as ``audio.channel`` of a corpus.

    Raises:
        DataError: it cannot be used.
    """
    if isinstance(audio, (str, Path)):
        samples = load_samples(Path(audio), AudioConfig(rate_hz, channel, "convert"))
        name = str(audio)
    else:
        samples, name = _from_memory(*audio, rate_hz, channel), MEMORY
    if len(samples) == 0:
        raise DataError(f"{name}: has no samples; leave it out")
    if samples.min() == samples.max():
        raise DataError(f"{name}: is silent, all of its samples are the same; check the channel")
    return samples, name


def _from_memory(values: Floats, rate_hz: int, target_hz: int, channel: ChannelChoice) -> Floats:
    frames = np.asarray(values)
    if frames.ndim not in (1, 2) or not np.issubdtype(frames.dtype, np.floating):
        raise DataError(
            f"{MEMORY}: are of shape {frames.shape} and type {frames.dtype}; give (N,) or (N, channels), "
            "floats in [-1, 1]"
        )
    check_rate(Path(MEMORY), rate_hz)
    if frames.ndim == 2:
        try:
            frames = frames[:, channels_of(channel, frames.shape[1])].mean(axis=1)
        except ValueError as error:
            raise DataError(f"{MEMORY}: {error}") from error
    if not np.isfinite(frames).all():
        count = np.count_nonzero(~np.isfinite(frames))
        raise DataError(f"{MEMORY}: {count} of {len(frames)} samples are NaN or infinite; replace them")
    return resample(frames.astype(np.float32), rate_hz, target_hz)
