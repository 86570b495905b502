"""Posteriors and attention of a trained network over a subset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ser.data.turns import DIALOGUE
from ser.errors import DataError, plural
from ser.feats.chunking import ChunkingConfig, Chunks, chunk_frames, chunk_table, count_chunks, take_chunks
from ser.feats.subset import Floats, Ints, Subset
from ser.learn.dialogues import read_dialogues
from ser.learn.loaders import main_frames, read_inputs
from ser.learn.memory import shortage
from ser.systems.base import Decision, Doubles, Inputs
from ser.systems.settings import Unit

BATCH_FRAMES = 20_000  # padded frames a batch in decoding
CPU_CHUNK_FRAMES = 2_000  # frames of a batch of chunks on a CPU, whose caches more do not fit
WINDOW = 512  # utterances whose order is free within a window, so that like lengths meet


def decode(network: nn.Module, unit: Unit, subset: Subset, device: torch.device) -> Iterator[Decision]:
    """Posteriors of every utterance, in key order; the network is left in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        if isinstance(unit, ChunkingConfig):
            yield from _decode_chunks(network, unit, subset, device)
        elif unit == DIALOGUE:
            yield from _decode_dialogues(network, subset, device)
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
                    f"{subset.name_of(longest)}, {lengths[longest]} frames long, {lack}; decode where there "
                    f"is more, or {subset.cut_it}"
                )
            outputs = network(read_inputs(subset, indices).to(device))
            posteriors = _softmax(outputs.logits)
            weights = None if outputs.attention is None else outputs.attention.float().cpu().numpy()
            for row, index in enumerate(indices):
                span = int(lengths[index])
                attention = None if weights is None else subset.main.spread(int(index), weights[row, :span])
                decisions[int(index)] = Decision(int(index), posteriors[row], attention)
        yield from (decisions[int(i)] for i in window)


def _decode_dialogues(network: nn.Module, subset: Subset, device: torch.device) -> Iterator[Decision]:
    assert subset.turns is not None
    posteriors: dict[int, Doubles] = {}
    for number in range(len(subset.turns.dialogues)):
        inputs, rows = read_dialogues(subset, np.array([number]))
        posteriors |= zip(rows.tolist(), _softmax(network(inputs.to(device)).logits), strict=True)
    yield from (Decision(index, posteriors[index]) for index in range(len(subset)))


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


class _Waiting(NamedTuple):
    """An utterance whose chunks wait for a full batch."""

    utt: int  # of the subset
    chunks: Chunks
    x: Floats  # (n, C, F)


def _decode_chunks(
    network: nn.Module, chunking: ChunkingConfig, subset: Subset, device: torch.device
) -> Iterator[Decision]:
    most = min(CPU_CHUNK_FRAMES, BATCH_FRAMES) if device.type == "cpu" else BATCH_FRAMES
    batch = max(1, most // chunking.context)
    waiting: list[_Waiting] = []
    count = 0  # chunks that wait
    for index in range(len(subset)):
        waiting.append(_cut(subset, index, chunking))
        count += len(waiting[-1].x)
        if count >= batch or index == len(subset) - 1:
            yield from _decide(network, chunking, subset, waiting, batch, device)
            waiting, count = [], 0


def decoded_chunks(subset: Subset, index: int, chunking: ChunkingConfig) -> Chunks:
    """The chunks of an utterance that take part in its decision."""
    chunks = chunk_table([int(subset.num_frames[index])], chunking.in_decoding)
    utts = np.full(len(chunks.starts), index)
    return chunks.of(subset.main.heard(utts, chunks.starts, chunking.context))


def _cut(subset: Subset, index: int, chunking: ChunkingConfig) -> _Waiting:
    chunks = decoded_chunks(subset, index, chunking)
    frames = chunk_frames(chunks, chunking.context)
    return _Waiting(index, chunks, take_chunks(subset.main.read(index), frames, chunks.lengths, chunking))


def _decide(
    network: nn.Module,
    chunking: ChunkingConfig,
    subset: Subset,
    waiting: Sequence[_Waiting],
    batch: int,
    device: torch.device,
) -> Iterator[Decision]:
    """What is decided on utterances from all of their chunks."""
    lengths = np.concatenate([each.chunks.lengths for each in waiting])
    posteriors, weights = _classify(
        network, np.concatenate([each.x for each in waiting]), lengths, batch, device
    )
    ends = np.cumsum([len(each.x) for each in waiting])
    for each, end in zip(waiting, ends, strict=True):
        span, index = slice(end - len(each.x), end), each.utt
        frames = int(subset.num_frames[index])  # that are read
        pooled = pool_chunks(posteriors[span], chunking.pooling)
        if not count_chunks(frames, chunking):
            reason = f"{plural(frames, 'frame')}, context {chunking.context}"
            yield Decision(index, None, padded=pooled, reason=reason)
            continue
        attention = None
        if weights is not None:
            attention = subset.main.spread(index, pool_attention(weights[span], each.chunks, frames))
        yield Decision(index, pooled, attention, chunks=posteriors[span])


def _classify(
    network: nn.Module, chunks: Floats, lengths: Ints, batch: int, device: torch.device
) -> tuple[Doubles, Floats | None]:
    """Posteriors of chunks, (n, K), and the weights of their frames, (n, C), of networks that have some."""
    rows, weights = [], []
    for begin in range(0, len(chunks), batch):
        part = slice(begin, begin + batch)
        x, frames = torch.from_numpy(chunks[part]), torch.from_numpy(lengths[part])
        outputs = network(Inputs.of(x, frames).to(device))
        rows.append(_softmax(outputs.logits))
        if outputs.attention is not None:
            weights.append(outputs.attention.float().cpu().numpy())
    return np.concatenate(rows), np.concatenate(weights) if weights else None


def pool_attention(weights: Floats, chunks: Chunks, num_frames: int) -> Floats:
    """An utterance's attention from that of its chunks, each of which counts the same.

    Args:
        weights: of the frames of each chunk, (n, C), 0 behind its end.
        chunks: where they lie.
        num_frames: T.

    Returns:
        (T,), sum 1.
    """
    total = np.zeros(num_frames)
    np.add.at(total, chunk_frames(chunks, weights.shape[1]), weights)
    pooled: Floats = (total / total.sum()).astype(np.float32)
    return pooled


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
