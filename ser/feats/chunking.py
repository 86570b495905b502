"""Utterances cut into chunks of a fixed number of frames, the context of a network that hears no more.

Shapes: T frames of an utterance, C frames of a chunk (the context), K chunks, U utterances, F values of
a frame.

The paper says "split into chunks with an overlap of 10 frames". The reading here is the literal one,
a hop of C - 10 frames, K = (T - C) // hop + 1; ``shift`` gives any other hop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

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
    # sliding: a chunk every hop; parts: the fewest parts of like length that are no longer than the context
    cut: Literal["sliding", "parts"] = "sliding"
    # the hop in decoding; null: that of training
    decoding_shift: Annotated[int, Range(1, 100000)] | None = None
    # what fills a chunk of fewer frames: its last frame, or zeros (of normalised features)
    fill: Literal["last", "zeros"] = "last"

    def __post_init__(self) -> None:
        """Refuse a hop of nothing, and parts with a rule for hops; ser.config adds the file's name."""
        if self.cut == "parts":
            if self.short_utt == "drop":
                raise ValueError("short_utt must be pad with cut parts, each of which is filled up")
            if self.decoding_shift is not None:
                raise ValueError("decoding_shift must be null with cut parts, which have no hop")
        elif self.shift is None and self.overlap >= self.context:
            raise ValueError(f"overlap must be below context ({self.context}), got {self.overlap}")

    @property
    def hop(self) -> int:
        """Frames from the start of one chunk to the start of the next."""
        return self.context - self.overlap if self.shift is None else self.shift

    @property
    def in_decoding(self) -> ChunkingConfig:
        """How utterances are cut to be decoded; those shorter than the context are filled up."""
        shift = self.shift if self.decoding_shift is None else self.decoding_shift
        return replace(self, shift=shift, short_utt="pad")


class Chunks(NamedTuple):
    """Chunks of many utterances, in order."""

    utts: Ints  # (K,) the utterance of each, rising
    starts: Ints  # (K,) its first frame
    lengths: Ints  # (K,) its frames, 1 to C; what is missing is filled

    def of(self, which: npt.NDArray[Any]) -> Chunks:
        """Some of them."""
        return Chunks(self.utts[which], self.starts[which], self.lengths[which])


def count_chunks(num_frames: npt.ArrayLike, config: ChunkingConfig) -> Ints:
    """Number of chunks of each utterance.

    Args:
        num_frames: frames of each utterance, (U,).
        config: how they are cut.

    Returns:
        Chunks of each utterance, (U,); 0 where it is shorter than the context and dropped.
    """
    frames = np.asarray(num_frames, np.int64)
    if config.cut == "parts":
        return -(-frames // config.context)
    whole = np.maximum(0, (frames - config.context) // config.hop + 1)
    if config.tail != "drop":
        rest = frames - ((whole - 1) * config.hop + config.context)  # behind the last whole chunk
        inside = frames > whole * config.hop  # a hop above the context can jump over the end
        whole = whole + ((whole > 0) & (rest > 0) & (inside | (config.tail == "shift_back")))
    if config.short_utt == "pad":
        whole = np.where((frames > 0) & (frames < config.context), 1, whole)
    return whole


def chunk_table(num_frames: npt.ArrayLike, config: ChunkingConfig) -> Chunks:
    """All chunks of many utterances.

    Args:
        num_frames: frames of each utterance, (U,).
        config: how they are cut.

    Returns:
        The chunks; with ``tail: pad``, ``short_utt: pad`` and ``cut: parts`` some have fewer than C frames.
    """
    frames = np.asarray(num_frames, np.int64)
    counts = count_chunks(frames, config)
    utts = np.repeat(np.arange(len(frames)), counts)  # (K,)
    number = np.arange(len(utts)) - (np.cumsum(counts) - counts)[utts]  # (K,) within the utterance
    total = frames[utts]
    if config.cut == "parts":
        starts, ends = (total * each // counts[utts] for each in (number, number + 1))
        return Chunks(utts, starts, ends - starts)
    starts = number * config.hop
    if config.tail == "shift_back":
        starts = np.minimum(starts, np.maximum(0, total - config.context))
    return Chunks(utts, starts, np.minimum(config.context, total - starts))


def chunk_frames(chunks: Chunks, context: int) -> Ints:
    """The frames of each chunk, within its utterance, (K, C); one of fewer than C repeats its last."""
    within = np.minimum(np.arange(context), chunks.lengths[:, None] - 1)  # (K, C)
    frames: Ints = chunks.starts[:, None] + within
    return frames


def take_chunks(
    features: npt.NDArray[Any], frames: Ints, lengths: Ints, config: ChunkingConfig
) -> npt.NDArray[Any]:
    """Copies of the frames of chunks.

    Args:
        features: (T, F), of one utterance, or of several side by side.
        frames: of :func:`chunk_frames`, (K, C), counted in ``features``.
        lengths: of the chunks, (K,).
        config: says what fills those of fewer than C.

    Returns:
        (K, C, F).
    """
    taken = features[frames]
    if config.fill == "zeros":
        taken[np.arange(config.context) >= lengths[:, None]] = 0
    return taken
