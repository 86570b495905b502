"""Batches for training: which utterances or chunks, in which order, changed in which ways.

The plan of an epoch is a function of (seed, epoch) alone, so that a run can stop and go on anywhere, and
several processes agree on it without a word: process r of n takes every n-th item of each batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ser.errors import DataError
from ser.feats.chunking import ChunkingConfig, Chunks, chunk_frames, chunk_table, take_chunks
from ser.feats.subset import Floats, Ints, Subset
from ser.learn.batches import count_speaker_batches, length_buckets, number_speakers, speaker_batches
from ser.systems.base import Inputs
from ser.systems.settings import AugmentationSettings

Number = TypeVar("Number", np.int64, np.float64)

GAIN_KNOTS = 5  # filters between which a gain over the filters is a straight line
POOL_FRAMES = 4_000_000  # frames whose chunks are shuffled together when a subset is not held in memory


@dataclass(frozen=True)
class Batch:
    """What one process computes on in one step."""

    inputs: Inputs
    targets: dict[str, Tensor]  # "emotion" and the system's further targets, (B,) int64 each
    all_labels: Ints  # emotions of the whole batch, over all processes
    num_frames: int  # real frames of the main set in ``inputs``


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

    subset: Subset

    def num_batches(self, epoch: int) -> int:
        """How many batches the epoch has."""

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches from number ``first`` on."""

    def label_counts(self, num_classes: int) -> Ints:
        """Training items of each class, (K,)."""


def targets_of(subset: Subset, rows: Ints) -> dict[str, Tensor]:
    """The targets of some utterances, (B,) each."""
    columns = {"emotion": subset.labels, **subset.targets}
    return {name: torch.from_numpy(values[rows]) for name, values in columns.items()}


class Augmenter:
    """Random changes of training features of frames: gains over the filters, then masks.

    A gain is a curve over the filters, the same in all frames of an item: straight lines between
    ``GAIN_KNOTS`` filters, evenly spread, whose gains are normal, ``filter_gain`` their standard deviation.
    A mask sets a stretch of frames or of filters to a constant; over time never more than half the item.
    """

    def __init__(
        self, settings: AugmentationSettings, fill: Floats, seed: int, stream: tuple[int, ...] = ()
    ) -> None:
        """``fill`` (F,) stands where a mask is: the mean of the features.

        ``stream`` tells apart the random numbers of several feature sets.
        """
        self._settings, self._fill, self._seed, self._stream = settings, fill, seed, stream
        at = np.linspace(0.0, GAIN_KNOTS - 1, len(fill))  # (F,) of each filter, in knots
        distance = np.abs(at - np.arange(GAIN_KNOTS)[:, None])
        self._interpolation = np.maximum(0.0, 1.0 - distance)  # (GAIN_KNOTS, F) linear, from knots to filters

    def apply(self, x: Floats, lengths: Ints, share: Share, epoch: int, batch: int) -> None:
        """Change ``x`` (B, T, F), this process's share of a batch with the ``lengths`` of all its items."""
        settings = self._settings
        if settings.filter_gain:
            rng = np.random.default_rng((self._seed, 3, epoch, batch, *self._stream))
            knots = share.of(rng.normal(0.0, settings.filter_gain, (len(lengths), GAIN_KNOTS)))
            x += (knots @ self._interpolation).astype(np.float32)[:, None, :]
        rng = np.random.default_rng((self._seed, 1, epoch, batch, *self._stream))
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


class Items(NamedTuple):
    """What is trained on: utterances, or stretches of long ones."""

    utts: Ints  # (n,) of the subset
    starts: Ints  # (n,) first frame, of the main set
    lengths: npt.NDArray[np.int32]  # (n,) frames of the main set

    def spans(
        self, which: Ints, frames: npt.NDArray[np.int32], main: npt.NDArray[np.int32]
    ) -> tuple[Ints, Ints]:
        """Begin and end of some items in the frames of a set.

        Args:
            which: (m,) items.
            frames: (N,) frames of the set, of all utterances of the subset.
            main: (N,) frames of the main set.

        Returns:
            (m,) each; at least a frame lies between.
        """
        utts, starts = self.utts[which], self.starts[which]
        frames, main = frames[utts], main[utts]
        begins: Ints = np.minimum(starts * frames // main, frames - 1)
        ends: Ints = np.maximum((starts + self.lengths[which]) * frames // main, begins + 1)
        return begins, ends


def make_items(frames: npt.NDArray[np.int32], max_frames: int | None, rule: str) -> Items:
    """What of each utterance is trained on.

    Args:
        frames: (N,) of the main set.
        max_frames: longest utterance that is taken as it is; None: any.
        rule: what becomes of longer ones: ``cut`` takes the beginning, ``split`` all in pieces of like
            length, ``drop`` nothing.
    """
    utts: Ints = np.arange(len(frames))
    if max_frames is None or frames.max(initial=0) <= max_frames:
        return Items(utts, np.zeros_like(utts), frames)
    if rule == "cut":
        return Items(utts, np.zeros_like(utts), np.minimum(frames, max_frames).astype(np.int32))
    if rule == "drop":
        utts = np.flatnonzero(frames <= max_frames)
        return Items(utts, np.zeros_like(utts), frames[utts])
    pieces: Ints = -(-frames.astype(np.int64) // max_frames)
    utts = np.repeat(utts, pieces)
    number = np.arange(len(utts)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts, ends = (frames[utts] * each // pieces[utts] for each in (number, number + 1))
    return Items(utts, starts, (ends - starts).astype(np.int32))


class UtteranceLoader:
    """Utterances, batched with others of like length, padded with zeros."""

    def __init__(
        self,
        subset: Subset,
        batch_size: int,
        augmenters: Mapping[str, Augmenter],
        seed: int,
        share: Share,
        items: Items | None = None,
        *,
        by_speaker: bool = False,
    ) -> None:
        """Batches of ``batch_size`` items over all processes; an augmenter for each set of frames.

        ``items`` is what of the utterances is trained on; None is all.  ``by_speaker`` is for batches of one
        speaker each.
        """
        self.subset, self._size, self._augmenters = subset, batch_size, augmenters
        self._seed, self._share = seed, share
        self.items = make_items(main_frames(subset), None, "") if items is None else items
        self._speakers = number_speakers(subset)[self.items.utts] if by_speaker else None

    def num_batches(self, epoch: int) -> int:  # noqa: ARG002  (the same in all epochs)
        """How many batches the epoch has."""
        if self._speakers is not None:
            return count_speaker_batches(self._speakers, self._size)
        return -(-len(self.items.utts) // self._size)

    def label_counts(self, num_classes: int) -> Ints:
        """Items of each class, (K,)."""
        return np.bincount(self.subset.labels[self.items.utts], minlength=num_classes)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches from number ``first`` on."""
        rng = np.random.default_rng((self._seed, 0, epoch))
        if self._speakers is not None:
            plan = speaker_batches(self._speakers, self._size, rng)
        else:
            plan = length_buckets(self.items.lengths, self._size, rng)
        for number, indices in enumerate(plan[first:], first):
            yield self._load(indices, epoch, number)

    def _load(self, indices: Ints, epoch: int, number: int) -> Batch:
        own = self._share.of(indices)
        inputs = read_inputs(self.subset, self.items.utts[own], self.items, own)
        main = main_frames(self.subset)
        for name, augmenter in self._augmenters.items():
            frames = self.subset.inputs[name].num_frames
            assert frames is not None
            begins, ends = self.items.spans(indices, frames, main)
            x = inputs.features[name].numpy()
            augmenter.apply(x, (ends - begins).astype(np.int64), self._share, epoch, number)
        if self._speakers is not None:
            inputs = replace(inputs, speakers=torch.from_numpy(self._speakers[own]))
        utts = self.items.utts
        labels = self.subset.labels[utts[indices]]
        targets = targets_of(self.subset, utts[own])
        return Batch(inputs, targets, labels, int(self.items.lengths[own].sum()))


def main_frames(subset: Subset) -> npt.NDArray[np.int32]:
    """Frames of each utterance's main set, (N,); 1 of one vector an utterance, or where no set is read."""
    frames = subset.main.num_frames if subset.inputs else None
    return np.ones(len(subset), dtype=np.int32) if frames is None else frames


def read_inputs(subset: Subset, rows: Ints, items: Items | None = None, which: Ints | None = None) -> Inputs:
    """All feature sets of some utterances, or of those items ``which`` are of them; padded with zeros."""
    features, num_frames = {}, {}
    for name, source in subset.inputs.items():
        values = [source.read(int(row)) for row in rows]
        if source.num_frames is None:
            features[name] = torch.from_numpy(np.stack(values) if values else np.zeros((0, source.dim), "f4"))
            continue
        if items is not None and which is not None:
            begins, ends = items.spans(which, source.num_frames, main_frames(subset))
            values = [value[begin:end] for value, begin, end in zip(values, begins, ends, strict=True)]
        features[name] = torch.from_numpy(pad(values, source.dim))
        num_frames[name] = torch.tensor([len(value) for value in values], dtype=torch.int64)
    said = None if subset.turns is None else subset.turns.words
    return Inputs(features, num_frames, None if said is None else pad_words([said[row] for row in rows]))


def pad_words(utterances: list[Ints]) -> Tensor:
    """Numbers of words (W_i,) as one tensor (B, W), W the largest but at least 1, zeros behind each."""
    words = torch.zeros(len(utterances), max([1, *map(len, utterances)]), dtype=torch.int64)
    for row, numbers in zip(words, utterances, strict=True):
        row[: len(numbers)] = torch.from_numpy(numbers)
    return words


def pad(utterances: list[Floats], dim: int) -> Floats:
    """Utterances (T_i, F) as one array (B, max T_i, F), zeros behind each."""
    longest = max(map(len, utterances), default=1)
    x = np.empty((len(utterances), longest, dim), dtype=np.float32)
    for row, utterance in zip(x, utterances, strict=True):
        row[: len(utterance)] = utterance
        row[len(utterance) :] = 0.0
    return x


class ChunkLoader:
    """Chunks of a fixed context, shuffled over the whole subset, or over large pools of it."""

    def __init__(
        self,
        subset: Subset,
        chunking: ChunkingConfig,
        batch_size: int,
        augmenter: Augmenter,
        seed: int,
        share: Share,
        *,
        by_speaker: bool = False,
    ) -> None:
        """Batches of ``batch_size`` chunks over all processes; ``by_speaker``: each of one speaker."""
        self.subset, self._chunking, self._size = subset, chunking, batch_size
        self._augmenter, self._seed, self._share = augmenter, seed, share
        chunks = chunk_table(subset.num_frames, chunking)
        self._chunks = chunks.of(subset.main.heard(chunks.utts, chunks.starts, chunking.context))
        if not len(self._chunks.utts):
            raise DataError(
                f"{subset.folder}: every utterance is shorter than the context, {chunking.context} frames; "
                "choose a shorter one (--contexts)"
            )
        first = np.searchsorted(self._chunks.utts, np.arange(len(subset) + 1))
        self._first: Ints = first.astype(np.int64)  # chunks of utterance u are first[u] .. first[u + 1]
        self._speakers = number_speakers(subset)[self._chunks.utts] if by_speaker else None  # of the chunks
        self._whole = Pool(subset, np.arange(len(subset))) if subset.main.cached else None
        subset.main.forget()

    def label_counts(self, num_classes: int) -> Ints:
        """Chunks of each class, (K,)."""
        return np.bincount(self.subset.labels[self._chunks.utts], minlength=num_classes)

    def num_batches(self, epoch: int) -> int:
        """How many batches the epoch has."""
        pools = [self._chunks_of(utts) for utts in self._pools(epoch)]
        if self._speakers is not None:
            return sum(count_speaker_batches(self._speakers[chunks], self._size) for chunks in pools)
        return sum(-(-len(chunks) // self._size) for chunks in pools)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches from number ``first`` on."""
        number = 0
        for pool_number, utts in enumerate(self._pools(epoch)):
            rng = np.random.default_rng((self._seed, 2, epoch, pool_number))
            batches = self._batches_of(self._chunks_of(utts), rng)
            if number + len(batches) <= first:
                number += len(batches)
                continue
            pool = self._whole or Pool(self.subset, utts)
            for batch in batches:
                if number >= first:
                    yield self._load(pool, batch, epoch, number)
                number += 1

    def _chunks_of(self, utts: Ints) -> Ints:
        """The chunks of some utterances."""
        return np.concatenate([np.arange(self._first[u], self._first[u + 1]) for u in utts])

    def _batches_of(self, chunks: Ints, rng: np.random.Generator) -> list[Ints]:
        """Random batches of some chunks."""
        if self._speakers is not None:
            return [chunks[own] for own in speaker_batches(self._speakers[chunks], self._size, rng)]
        rng.shuffle(chunks)
        return [chunks[begin : begin + self._size] for begin in range(0, len(chunks), self._size)]

    def _pools(self, epoch: int) -> list[Ints]:
        if self._whole is not None:
            return [np.arange(len(self.subset))]
        order = np.random.default_rng((self._seed, 0, epoch)).permutation(len(self.subset))
        ends = np.cumsum(self.subset.num_frames[order], dtype=np.int64) // POOL_FRAMES
        return [utts for utts in np.split(order, np.flatnonzero(np.diff(ends)) + 1) if len(utts)]

    def _load(self, pool: Pool, which: Ints, epoch: int, number: int) -> Batch:
        own = self._chunks.of(self._share.of(which))
        x = pool.chunks(own, self._chunking)
        lengths = self._chunks.lengths[which]
        self._augmenter.apply(x, lengths, self._share, epoch, number)
        inputs = Inputs.of(torch.from_numpy(x), torch.from_numpy(own.lengths), self.subset.main.name)
        if self._speakers is not None:
            speakers = self._speakers[self._share.of(which)]
            inputs = replace(inputs, speakers=torch.from_numpy(speakers))
        labels = self.subset.labels[self._chunks.utts[which]]
        return Batch(inputs, targets_of(self.subset, own.utts), labels, int(own.lengths.sum()))


class Pool:
    """Features of some utterances side by side, from which chunks are cut."""

    def __init__(self, subset: Subset, utts: Ints) -> None:
        """Read the features of the utterances with the indices ``utts``."""
        self._subset = subset
        self._features = np.concatenate([subset.main.read(int(u)) for u in utts])  # (sum of T, F)
        ends = np.cumsum(subset.num_frames[utts], dtype=np.int64)
        self._offset = np.zeros(len(subset), dtype=np.int64)
        self._offset[utts] = ends - subset.num_frames[utts]

    def chunks(self, chunks: Chunks, chunking: ChunkingConfig) -> Floats:
        """Some chunks of them, (B, C, F)."""
        frames = chunk_frames(chunks, chunking.context)  # (B, C) of the utterance
        taken: Floats = take_chunks(
            self._features, frames + self._offset[chunks.utts][:, None], chunks.lengths, chunking
        )
        return taken
