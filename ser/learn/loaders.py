"""Batches for training: which utterances or chunks, in which order, changed in which ways.

The plan of an epoch is a function of (seed, epoch) alone, so that a run can stop and go on anywhere, and
several processes agree on it without a word: process r of n takes every n-th item of each batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ser.errors import DataError
from ser.feats.chunking import ChunkingConfig, chunk_frames, chunk_table
from ser.feats.subset import Floats, Part
from ser.learn.settings import AugmentationSettings

Ints = npt.NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)

GAIN_KNOTS = 5  # filters between which a gain over the filters is a straight line
BUCKET_BATCHES = 50  # batches whose segments are sorted by length together
POOL_FRAMES = 4_000_000  # frames whose chunks are shuffled together when a part is not held in memory


@dataclass(frozen=True)
class Batch:
    """What one process computes on in one step."""

    inputs: tuple[Tensor, ...]  # arguments of the model
    labels: Tensor  # (B,) int64
    all_labels: Ints  # labels of the whole batch, over all processes
    num_frames: int  # real frames in ``inputs``


@dataclass(frozen=True)
class Share:
    """Which items of a batch are this process's."""

    rank: int = 0
    world: int = 1

    def of(self, items: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Every ``world``-th item from ``rank`` on."""
        return items[self.rank :: self.world]


class Loader(Protocol):
    """Batches of an epoch."""

    part: Part

    def num_batches(self, epoch: int) -> int:
        """How many batches the epoch has."""

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches from number ``first`` on."""

    def label_counts(self, num_classes: int) -> Ints:
        """Training items of each class, (K,)."""


class Augmenter:
    """Random changes of training features: gains over the filters, then masks.

    A gain is a curve over the filters, the same in all frames of an item: straight lines between
    ``GAIN_KNOTS`` filters, evenly spread, whose gains are normal, ``filter_gain`` their standard deviation.
    A mask sets a stretch of frames or of filters to a constant; over time never more than half the segment.
    """

    def __init__(self, settings: AugmentationSettings, fill: Floats, seed: int) -> None:
        """``fill`` (F,) stands where a mask is: the mean of the features."""
        self._settings, self._fill, self._seed = settings, fill, seed
        at = np.linspace(0.0, GAIN_KNOTS - 1, len(fill))  # (F,) of each filter, in knots
        distance = np.abs(at - np.arange(GAIN_KNOTS)[:, None])
        self._interpolation = np.maximum(0.0, 1.0 - distance)  # (GAIN_KNOTS, F) linear, from knots to filters

    def apply(self, x: Floats, lengths: Ints, share: Share, epoch: int, batch: int) -> None:
        """Change ``x`` (B, T, F), this process's share of a batch with the ``lengths`` of all its items."""
        settings = self._settings
        if settings.filter_gain:
            rng = np.random.default_rng((self._seed, 3, epoch, batch))
            knots = share.of(rng.normal(0.0, settings.filter_gain, (len(lengths), GAIN_KNOTS)))
            x += (knots @ self._interpolation).astype(np.float32)[:, None, :]
        rng = np.random.default_rng((self._seed, 1, epoch, batch))
        times, bins = np.arange(x.shape[1]), np.arange(x.shape[2])
        filters = np.full(len(lengths), x.shape[2])
        frames = np.zeros(x.shape[:2], dtype=np.bool_)
        for _ in range(settings.time_masks):
            widest = np.minimum(settings.time_mask_frames, lengths // 2)
            frames |= _stretch(rng, lengths, widest, times, share)
        masked = np.zeros((len(x), x.shape[2]), dtype=np.bool_)
        for _ in range(settings.freq_masks):
            masked |= _stretch(rng, filters, np.minimum(settings.freq_mask_bins, filters - 1), bins, share)
        x[frames] = self._fill
        np.copyto(x, self._fill, where=masked[:, None, :])


def _stretch(
    rng: np.random.Generator, sizes: Ints, widest: Ints, axis: Ints, share: Share
) -> npt.NDArray[np.bool_]:
    """One random stretch for each item of a share, (B, len(axis))."""
    width = rng.integers(0, widest + 1)
    start = rng.integers(0, sizes - width + 1)
    width, start = share.of(width)[:, None], share.of(start)[:, None]
    return (axis >= start) & (axis < start + width)


def length_buckets(lengths: npt.NDArray[np.int32], batch_size: int, rng: np.random.Generator) -> list[Ints]:
    """Random batches of items of like length.

    Args:
        lengths: (n,).
        batch_size: items a batch; the last may be smaller.
        rng: decides everything.

    Returns:
        Arrays of indices into ``lengths``, each index in just one of them.
    """
    order = rng.permutation(len(lengths))
    bucket = BUCKET_BATCHES * batch_size
    batches: list[Ints] = []
    for begin in range(0, len(order), bucket):
        some = order[begin : begin + bucket]
        if batch_size > 1:
            some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[i : i + batch_size] for i in range(0, len(some), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


class SegmentLoader:
    """Whole segments for BLSTMATT, batched with others of like length, padded with zeros."""

    def __init__(self, part: Part, batch_size: int, augmenter: Augmenter, seed: int, share: Share) -> None:
        """Batches of ``batch_size`` segments over all processes."""
        self.part, self._size, self._augmenter = part, batch_size, augmenter
        self._seed, self._share = seed, share

    def num_batches(self, epoch: int) -> int:  # noqa: ARG002  (the same in all epochs)
        """How many batches the epoch has."""
        return -(-len(self.part) // self._size)

    def label_counts(self, num_classes: int) -> Ints:
        """Segments of each class, (K,)."""
        return np.bincount(self.part.labels, minlength=num_classes)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches from number ``first`` on."""
        rng = np.random.default_rng((self._seed, 0, epoch))
        plan = length_buckets(self.part.num_frames, self._size, rng)
        for number, indices in enumerate(plan[first:], first):
            yield self._load(indices, epoch, number)

    def _load(self, indices: Ints, epoch: int, number: int) -> Batch:
        part, own = self.part, self._share.of(indices)
        x = pad([part.features(i) for i in own], part.num_filters)
        self._augmenter.apply(x, part.num_frames[indices].astype(np.int64), self._share, epoch, number)
        lengths = torch.from_numpy(part.num_frames[own].astype(np.int64))
        return Batch(
            (torch.from_numpy(x), lengths),
            torch.from_numpy(part.labels[own]),
            part.labels[indices],
            int(lengths.sum()),
        )


def pad(segments: list[Floats], num_filters: int) -> Floats:
    """Segments (T_i, F) as one array (B, max T_i, F), zeros behind each."""
    longest = max(map(len, segments), default=1)
    x = np.zeros((len(segments), longest, num_filters), dtype=np.float32)
    for row, segment in zip(x, segments, strict=True):
        row[: len(segment)] = segment
    return x


class ChunkLoader:
    """Fixed contexts for CSA, shuffled over the whole part, or over large pools of it."""

    def __init__(
        self,
        part: Part,
        chunking: ChunkingConfig,
        batch_size: int,
        augmenter: Augmenter,
        seed: int,
        share: Share,
    ) -> None:
        """Batches of ``batch_size`` chunks over all processes."""
        self.part, self._chunking, self._size = part, chunking, batch_size
        self._augmenter, self._seed, self._share = augmenter, seed, share
        self._utts, self._starts = chunk_table(part.num_frames, chunking)
        if not len(self._utts):
            raise DataError(
                f"{part.folder}: every utterance is shorter than the context, {chunking.context} frames; "
                "choose a shorter one (--contexts)"
            )
        first = np.searchsorted(self._utts, np.arange(len(part) + 1))
        self._first: Ints = first.astype(np.int64)  # chunks of utterance u are first[u] .. first[u + 1]
        self._whole = Pool(part, np.arange(len(part))) if part.cached else None
        part.forget()

    def label_counts(self, num_classes: int) -> Ints:
        """Chunks of each class, (K,)."""
        return np.bincount(self.part.labels[self._utts], minlength=num_classes)

    def num_batches(self, epoch: int) -> int:
        """How many batches the epoch has."""
        counts = np.diff(self._first)
        return sum(-(-int(counts[utts].sum()) // self._size) for utts in self._pools(epoch))

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches from number ``first`` on."""
        number = 0
        for pool_number, utts in enumerate(self._pools(epoch)):
            spans = [np.arange(self._first[u], self._first[u + 1]) for u in utts]
            chunks = np.concatenate(spans)
            np.random.default_rng((self._seed, 2, epoch, pool_number)).shuffle(chunks)
            batches = range(0, len(chunks), self._size)
            if number + len(batches) <= first:
                number += len(batches)
                continue
            pool = self._whole or Pool(self.part, utts)
            for begin in batches:
                if number >= first:
                    yield self._load(pool, chunks[begin : begin + self._size], epoch, number)
                number += 1

    def _pools(self, epoch: int) -> list[Ints]:
        if self._whole is not None:
            return [np.arange(len(self.part))]
        order = np.random.default_rng((self._seed, 0, epoch)).permutation(len(self.part))
        ends = np.cumsum(self.part.num_frames[order], dtype=np.int64) // POOL_FRAMES
        return [utts for utts in np.split(order, np.flatnonzero(np.diff(ends)) + 1) if len(utts)]

    def _load(self, pool: Pool, chunks: Ints, epoch: int, number: int) -> Batch:
        own, context = self._share.of(chunks), self._chunking.context
        x = pool.chunks(self._utts[own], self._starts[own], context)
        lengths = np.full(len(chunks), context)
        self._augmenter.apply(x, lengths, self._share, epoch, number)
        labels = self.part.labels
        return Batch(
            (torch.from_numpy(x),),
            torch.from_numpy(labels[self._utts[own]]),
            labels[self._utts[chunks]],
            x.shape[0] * x.shape[1],
        )


class Pool:
    """Features of some utterances side by side, from which chunks are cut."""

    def __init__(self, part: Part, utts: Ints) -> None:
        """Read the features of the utterances with the indices ``utts``."""
        self._part = part
        self._features = np.concatenate([part.features(int(u)) for u in utts])  # (sum of T, F)
        ends = np.cumsum(part.num_frames[utts], dtype=np.int64)
        self._offset = np.zeros(len(part), dtype=np.int64)
        self._offset[utts] = ends - part.num_frames[utts]

    def chunks(self, utts: Ints, starts: Ints, context: int) -> Floats:
        """Chunks (B, context, F); one that goes beyond its utterance repeats the last frame."""
        rows = chunk_frames(starts, self._part.num_frames[utts], context)  # (B, C) frames of the utterance
        chunks: Floats = self._features[rows + self._offset[utts][:, None]]  # (B, C, F)
        return chunks
