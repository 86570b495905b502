"""One recording as a whole, from a file or from memory, as a piece that a model takes.

Shapes: N samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ser.data.audio_meta import check_rate
from ser.data.corpus import ChannelChoice, channels_of
from ser.errors import DataError
from ser.feats.audio import stream_samples
from ser.feats.base import Floats
from ser.predict.pieces import make_piece, remedied
from ser.predict.result import Piece

MEMORY = "(samples)"  # what a recording in memory is called
_CHANNEL = 'name one with channel=0, 1, ..., or take the mean with channel="mix"'
Audio = str | Path | tuple[Floats, int]


def whole_piece(
    audio: Audio, *, target_hz: int, least_samples: int, channel: ChannelChoice, speaker: str
) -> Piece:
    """A recording as a whole.

    Args:
        audio: a file, or samples in [-1, 1], (N,) or (N, channels), and their sampling rate in Hz.
        target_hz: the model's.
        least_samples: what the model takes at least, at its rate.
        channel: of a recording with several, as ``audio.channel`` of a corpus.
        speaker: who speaks.

    Raises:
        DataError: it cannot be used.
    """
    if isinstance(audio, (str, Path)):
        name = str(audio)
        samples, rate_hz = _from_file(name, channel)
    else:
        name, rate_hz = MEMORY, audio[1]
        samples = _from_memory(*audio, channel)
    if samples.min() == samples.max():
        raise DataError(f"{name}: is silent, all of its samples are the same; {_CHANNEL}, or leave it out")
    try:
        return make_piece(
            samples, rate_hz, target_hz=target_hz, least_samples=least_samples, source=name, speaker=speaker
        )
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _from_file(name: str, channel: ChannelChoice) -> tuple[Floats, int]:
    """The samples of a file as one channel, (N,), N > 0, and their rate."""
    try:
        with stream_samples(Path(name), lambda number: _channels(channel, number, name)) as recording:
            try:
                return recording[0 : len(recording)], recording.rate_hz
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
    except DataError as error:
        raise DataError(remedied(str(error), "channel=")) from error


def _channels(choice: ChannelChoice, number: int, name: str) -> list[int]:
    try:
        return channels_of(choice, number)
    except ValueError as error:
        raise DataError(f"{name}: {str(error).partition(';')[0]}; {_CHANNEL}") from error


def _from_memory(values: Floats, rate_hz: int, channel: ChannelChoice) -> Floats:
    """Samples as one channel, (N,), N > 0, that are all numbers."""
    frames = np.asarray(values)
    if frames.ndim not in (1, 2) or frames.size == 0 or not np.issubdtype(frames.dtype, np.floating):
        raise DataError(
            f"{MEMORY}: have shape {frames.shape} and type {frames.dtype}; give floats in [-1, 1], (N,) or "
            "(N, channels)"
        )
    try:
        check_rate(Path(MEMORY), rate_hz)
    except DataError as error:
        raise DataError(remedied(str(error), "channel=")) from error
    if frames.ndim == 2:
        frames = frames[:, _channels(channel, frames.shape[1], MEMORY)].mean(axis=1)
    if not np.isfinite(frames).all():
        count = np.count_nonzero(~np.isfinite(frames))
        raise DataError(f"{MEMORY}: {count} of {len(frames)} samples are NaN or infinite; replace them")
    return frames.astype(np.float32)
