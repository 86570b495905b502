"""Whole dialogues, for systems that read an utterance in its context.

A batch is some dialogues; its items, which are classified and counted, are their utterances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ser.feats.subset import Ints, Subset
from ser.learn.batches import length_buckets
from ser.learn.loaders import Batch, Share, read_inputs, targets_of
from ser.systems.base import Inputs


class DialogueLoader:
    """Whole dialogues, batched with others of like length; the items are their utterances."""

    def __init__(self, subset: Subset, batch_size: int, seed: int, share: Share) -> None:
        """Batches of ``batch_size`` dialogues over all processes."""
        assert subset.turns is not None
        self.subset, self._size, self._seed, self._share = subset, batch_size, seed, share
        self._dialogues = subset.turns.dialogues

    def num_batches(self, epoch: int) -> int:  # noqa: ARG002  (the same in all epochs)
        """How many batches the epoch has."""
        return -(-len(self._dialogues) // self._size)

    def label_counts(self, num_classes: int) -> Ints:
        """Utterances of each class, (K,)."""
        return np.bincount(self.subset.labels, minlength=num_classes)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches from number ``first`` on."""
        lengths = np.array([len(rows) for rows in self._dialogues], dtype=np.int32)
        plan = length_buckets(lengths, self._size, np.random.default_rng((self._seed, 0, epoch)))
        for which in plan[first:]:
            inputs, rows = read_dialogues(self.subset, self._share.of(which))
            every = np.concatenate([self._dialogues[number] for number in which])
            yield Batch(inputs, targets_of(self.subset, rows), self.subset.labels[every], len(rows))


def read_dialogues(subset: Subset, which: Ints) -> tuple[Inputs, Ints]:
    """All utterances of some dialogues, one dialogue after another; and their rows in the subset."""
    assert subset.turns is not None
    dialogues = [subset.turns.dialogues[number] for number in which]
    rows = np.concatenate([np.empty(0, dtype=np.int64), *dialogues])
    lengths = torch.tensor([len(each) for each in dialogues], dtype=torch.int64)
    roles = torch.from_numpy(subset.turns.roles[rows])
    return replace(read_inputs(subset, rows), dialogues=lengths, roles=roles), rows
