"""Which training items make a batch: those of like length, or of one speaker."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ser.feats.subset import Ints, Subset

BUCKET_BATCHES = 50  # batches whose utterances are sorted by length together


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
        members = order[begin : begin + bucket]
        if batch_size > 1:
            members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def number_speakers(subset: Subset) -> Ints:
    """A number for the speaker of each utterance, (N,)."""
    numbers = {name: number for number, name in enumerate(sorted(set(subset.speakers.values())))}
    return np.array([numbers[subset.speakers[key]] for key in subset.keys])


def speaker_batches(speakers: Ints, batch_size: int, rng: np.random.Generator) -> list[Ints]:
    """Random batches of one speaker each.

    Args:
        speakers: a number for the speaker of each item, (n,).
        batch_size: items a batch, about: those of a speaker are divided into batches of like size.
        rng: decides everything.

    Returns:
        Arrays of indices into ``speakers``, each index in just one of them.
    """
    batches: list[Ints] = []
    for speaker in np.unique(speakers):
        own = rng.permutation(np.flatnonzero(speakers == speaker))
        batches += np.array_split(own, count_speaker_batches(speakers[own], batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def count_speaker_batches(speakers: Ints, batch_size: int) -> int:
    """How many batches :func:`speaker_batches` makes."""
    counts = np.unique(speakers, return_counts=True)[1]
    return int(np.maximum(1, (2 * counts + batch_size) // (2 * batch_size)).sum())
