"""Utterances cut into chunks of a fixed number of frames, the context of a network that hears no more.

Shapes: T frames of an utterance, C frames of a chunk (the context), K chunks, U utterances, F filters.

The paper says "split into chunks with an overlap of 10 frames". The reading here is the literal one,
a hop of C - 10 frames, K = (T - C) // hop + 1; ``shift`` gives any other hop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

from ser.ranges import Range

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ChunkingConfig:
    """How utterances become chunks; all lengths in frames."""

    context: Annotated[int, Range(1, 100000)]  # C, frames of a chunk
    overlap: Annotated[
        int, Range(0, 100000)
    ]  # frames that two neighbours share; the hop is context - overlap
    shift: Annotated[int, Range(1, 100000)] | None  # the hop itself; overlap is not used then
    tail: Literal["drop", "pad", "shift_back"]  # frames behind the last whole chunk
    short_utt: Literal["drop", "pad"]  # an utterance of fewer frames than the context
    pooling: Literal["mean", "logmean", "vote"]  # of chunks' posteriors; the paper does not say

    def __post_init__(self) -> None:
        """Refuse a hop of nothing; ser.config adds the file's name."""
        if self.shift is None and self.overlap >= self.context:
            raise ValueError(f"overlap must be below context ({self.context}), got {self.overlap}")

    @property
    def hop(self) -> int:
        """Frames from the start of one chunk to the start of the next."""
        return self.context - self.overlap if self.shift is None else self.shift


def count_chunks(num_frames: npt.ArrayLike, config: ChunkingConfig) -> Ints:
    """Number of chunks of each utterance.

    Args:
        num_frames: frames of each utterance, (U,).
        config: how they are cut.

    Returns:
        Chunks of each utterance, (U,); 0 where it is shorter than the context and dropped.
    """
    frames = np.asarray(num_frames, np.int64)
    whole = np.maximum(0, (frames - config.context) // config.hop + 1)
    if config.tail != "drop":
        rest = frames - ((whole - 1) * config.hop + config.context)  # behind the last whole chunk
        inside = frames > whole * config.hop  # a hop above the context can jump over the end
        whole = whole + ((whole > 0) & (rest > 0) & (inside | (config.tail == "shift_back")))
    if config.short_utt == "pad":
        whole = np.where((frames > 0) & (frames < config.context), 1, whole)
    return whole


def chunk_starts(num_frames: int, config: ChunkingConfig) -> Ints:
    """First frame of each chunk of one utterance, rising, (K,)."""
    return chunk_table([num_frames], config)[1]


def chunk_table(num_frames: npt.ArrayLike, config: ChunkingConfig) -> tuple[Ints, Ints]:
    """All chunks of many utterances, in order.

    Args:
        num_frames: frames of each utterance, (U,).
        config: how they are cut.

    Returns:
        The index of each chunk's utterance and its first frame, (K,) each.  With ``tail: pad`` and
        ``short_utt: pad`` the last chunk of an utterance may reach beyond its end; see :func:`take_chunks`.
    """
    frames = np.asarray(num_frames, np.int64)
    counts = count_chunks(frames, config)
    utterance = np.repeat(np.arange(len(frames)), counts)  # (K,)
    first = np.repeat(np.cumsum(counts) - counts, counts)  # (K,) row of the utterance's first chunk
    start = (np.arange(len(utterance)) - first) * config.hop
    if config.tail == "shift_back":
        start = np.minimum(start, np.maximum(0, frames - config.context)[utterance])
    return utterance, start


def chunk_frames(starts: npt.ArrayLike, num_frames: npt.ArrayLike, context: int) -> Ints:
    """The frames of each chunk; a chunk that goes beyond its utterance repeats the last frame.

    Args:
        starts: first frame of each chunk, (K,).
        num_frames: frames of each chunk's utterance, (K,), or one number for all.
        context: frames of a chunk, C.

    Returns:
        Frame numbers within the utterance, (K, C).
    """
    frames = np.asarray(starts, np.int64)[:, None] + np.arange(context)  # (K, C)
    last = np.asarray(num_frames, np.int64)[..., None] - 1  # (K, 1) or (1,)
    clipped: Ints = np.minimum(frames, last)
    return clipped


def take_chunks(features: npt.NDArray[Any], starts: npt.ArrayLike, context: int) -> npt.NDArray[Any]:
    """Cut chunks out of one utterance; a chunk that goes beyond its end repeats the last frame.

    Args:
        features: (T, F), T > 0.
        starts: first frame of each chunk, (K,).
        context: frames of a chunk, C.

    Returns:
        A copy of the frames, (K, C, F).
    """
    return features[chunk_frames(starts, len(features), context)]  # (K, C, F)
