"""Posteriors and attention of a trained network over a subset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ser.errors import DataError
from ser.feats.chunking import ChunkingConfig, chunk_frames, chunk_table, count_chunks, take_chunks
from ser.feats.subset import Floats, Ints, Subset
from ser.learn.loaders import main_frames, read_inputs
from ser.learn.memory import shortage
from ser.systems.base import Decision, Doubles, Inputs
from ser.systems.settings import Unit

BATCH_FRAMES = 20_000  # padded frames a batch in decoding
WINDOW = 512  # utterances whose order is free within a window, so that like lengths meet


def decode(network: nn.Module, unit: Unit, subset: Subset, device: torch.device) -> Iterator[Decision]:
    """Posteriors of every utterance, in key order; the network is left in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        if isinstance(unit, ChunkingConfig):
            yield from _decode_chunks(network, unit, subset, device)
        else:
            yield from _decode_utterances(network, subset, device)


def _decode_utterances(network: nn.Module, subset: Subset, device: torch.device) -> Iterator[Decision]:
    lengths = main_frames(subset)
    for begin in range(0, len(subset), WINDOW):
        window = np.arange(begin, min(begin + WINDOW, len(subset)))
        order = window[np.argsort(lengths[window], kind="stable")]
        decisions: dict[int, Decision] = {}
        for indices in _by_frames(order, lengths):
            longest = int(indices[-1])
            if lack := shortage(network, subset, int(lengths[longest]), 1, device, training=False):
                raise DataError(
                    f"{subset.folder}: the utterance {subset.keys[longest]}, {lengths[longest]} frames long, "
                    f"{lack}; decode where there is more, or cut it into several where the corpus is prepared"
                )
            outputs = network(read_inputs(subset, indices).to(device))
            posteriors = _softmax(outputs.logits)
            weights = None if outputs.attention is None else outputs.attention.float().cpu().numpy()
            for row, index in enumerate(indices):
                span = int(lengths[index])
                attention = None if weights is None else subset.main.spread(int(index), weights[row, :span])
                decisions[int(index)] = Decision(int(index), posteriors[row], attention)
        yield from (decisions[int(i)] for i in window)


def _by_frames(
    order: npt.NDArray[np.int64], num_frames: npt.NDArray[np.int32]
) -> Iterator[npt.NDArray[np.int64]]:
    """Cut ``order``, sorted by length, into batches of at most BATCH_FRAMES padded frames."""
    begin = 0
    for end in range(1, len(order) + 1):
        full = end == len(order) or (end + 1 - begin) * int(num_frames[order[end]]) > BATCH_FRAMES
        if full:
            yield order[begin:end]
            begin = end


def _decode_chunks(
    network: nn.Module, chunking: ChunkingConfig, subset: Subset, device: torch.device
) -> Iterator[Decision]:
    batch = max(1, BATCH_FRAMES // chunking.context)
    pending: list[tuple[int, int]] = []  # (utterance, chunks) waiting for a full batch
    waiting: list[tuple[Floats, Ints]] = []
    for index in range(len(subset)):
        chunks, lengths = _cut(subset, index, chunking.in_decoding)
        pending.append((index, len(chunks)))
        waiting.append((chunks, lengths))
        counts = [count for _, count in pending]
        if sum(counts) >= batch or index == len(subset) - 1:
            every, frames = (np.concatenate(column) for column in zip(*waiting, strict=True))
            posteriors = _classify(network, every, frames, batch, device)
            split = np.split(posteriors, np.cumsum(counts)[:-1])
            for (utt, _), rows in zip(pending, split, strict=True):
                frames = int(subset.num_frames[utt])  # that are read
                pooled = pool_chunks(rows, chunking.pooling)
                if count_chunks(frames, chunking):
                    yield Decision(utt, pooled, chunks=rows)
                else:
                    reason = f"{frames} frames, context {chunking.context}"
                    yield Decision(utt, None, padded=pooled, reason=reason)
            pending, waiting = [], []


def _cut(subset: Subset, index: int, chunking: ChunkingConfig) -> tuple[Floats, Ints]:
    """The chunks of an utterance that take part, (n, C, F), and their frames, (n,)."""
    chunks = chunk_table([int(subset.num_frames[index])], chunking)
    utts = np.full(len(chunks.starts), index)
    chunks = chunks.of(subset.main.heard(utts, chunks.starts, chunking.context))
    frames = chunk_frames(chunks, chunking.context)
    return take_chunks(subset.main.read(index), frames, chunks.lengths, chunking), chunks.lengths


def _classify(network: nn.Module, chunks: Floats, lengths: Ints, batch: int, device: torch.device) -> Doubles:
    rows = []
    for begin in range(0, len(chunks), batch):
        part = slice(begin, begin + batch)
        x, frames = torch.from_numpy(chunks[part]), torch.from_numpy(lengths[part])
        rows.append(_softmax(network(Inputs.of(x, frames).to(device)).logits))
    return np.concatenate(rows)


def _softmax(logits: torch.Tensor) -> Doubles:
    posteriors: Doubles = logits.double().softmax(dim=1).cpu().numpy()
    return posteriors


def pool_chunks(posteriors: Doubles, rule: str) -> Doubles:
    """An utterance's posterior from its chunks' (the paper does not say how).

    Args:
        posteriors: (n, K), n > 0.
        rule: ``mean`` of the posteriors; ``logmean``: of their logarithms, renormalised; ``vote``: the share
            of chunks that each class wins.

    Returns:
        (K,), sum 1.
    """
    if rule == "mean":
        pooled: Doubles = posteriors.mean(axis=0)
    elif rule == "logmean":
        logs = np.log(np.maximum(posteriors, 1e-10)).mean(axis=0)
        pooled = np.exp(logs - logs.max())
    else:
        pooled = np.bincount(posteriors.argmax(axis=1), minlength=posteriors.shape[1]).astype(np.float64)
    result: Doubles = pooled / pooled.sum()
    return result
