"""Posteriors and attention of a trained network over a subset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ser.data.turns import DIALOGUE
from ser.errors import DataError, plural
from ser.feats import cmvn
from ser.feats.chunking import ChunkingConfig, Chunks, chunk_frames, chunk_table, count_chunks, take_chunks
from ser.feats.subset import Floats, Ints, Subset
from ser.learn.batches import number_speakers
from ser.learn.dialogues import read_dialogues
from ser.learn.loaders import main_frames, read_inputs
from ser.learn.memory import shortage
from ser.systems.base import Decision, Doubles, Inputs, Outputs
from ser.systems.layers.speaker_norm import speaker_norm
from ser.systems.settings import Unit

BATCH_FRAMES = 20_000  # padded frames a batch in decoding
CPU_CHUNK_FRAMES = 2_000  # frames of a batch of chunks on a CPU, whose caches more do not fit
WINDOW = 512  # utterances whose order is free within a window, so that like lengths meet


def decode(network: nn.Module, unit: Unit, subset: Subset, device: torch.device) -> Iterator[Decision]:
    """Posteriors of every utterance, in key order; the network is left in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        pooled = pooled_scales(network, unit, subset, device)
        if isinstance(unit, ChunkingConfig):
            yield from _decode_chunks(network, unit, subset, device, pooled)
        elif unit == DIALOGUE:
            yield from _decode_dialogues(network, subset, device)
        else:
            yield from _decode_utterances(network, subset, device, pooled)


class PooledScales(NamedTuple):
    """Mean and deviation of what a network pools from all that each speaker says."""

    values: Tensor  # (S, 2, H), a row a speaker
    rows: Ints  # of the speaker of each utterance, (N,)

    def of(self, indices: Ints) -> Tensor:
        """Those of the speakers of some utterances (B,), for ``Inputs.pooled``: (B, 2, H)."""
        return self.values[self.rows[indices]]


def pooled_scales(
    network: nn.Module, unit: Unit, subset: Subset, device: torch.device
) -> PooledScales | None:
    """Mean and deviation of what the network pools from all that each speaker of a subset says.

    Args:
        network: in evaluation mode.
        unit: what it is trained on.
        subset: its ``speaker_stats``, or itself, is all that its speakers say.
        device: where the network is.

    Returns:
        The scales; None of a network that does not normalise by speaker.
    """
    norm = speaker_norm(network)
    if norm is None:
        return None
    stats = subset.speaker_stats
    if stats is None:
        stats = pooled_stats(network, unit, subset, device)
    speakers = sorted(set(subset.speakers.values()))
    if missing := [speaker for speaker in speakers if speaker not in stats]:
        raise DataError(f"{subset.folder}: no statistics of the speaker {missing[0]}, which the model needs")
    return PooledScales(torch.stack([norm.scales(stats[each]) for each in speakers]), number_speakers(subset))


def pooled_stats(network: nn.Module, unit: Unit, subset: Subset, device: torch.device) -> dict[str, Doubles]:
    """Statistics of what a network pools from the utterances, or chunks, of each speaker.

    Args:
        network: that normalises by speaker, in evaluation mode.
        unit: what it is trained on.
        subset: whose utterances.
        device: where the network is.

    Returns:
        speaker -> sums (2, H + 1), see :meth:`SpeakerNorm.scales`, which are added up over subsets.
    """
    stats: dict[str, Doubles] = {}

    def add(index: int, vectors: Tensor) -> None:
        speaker, own = subset.speakers[subset.keys[index]], cmvn.stats(vectors.float().cpu().numpy())
        own[1, -1] = 1.0
        stats[speaker] = stats[speaker] + own if speaker in stats else own

    with torch.inference_mode():
        if isinstance(unit, ChunkingConfig):
            for index in range(len(subset)):
                cut = _cut(subset, index, unit)
                batches = _chunk_batches(cut.x, cut.chunks.lengths, _chunks_at_once(unit, device), None)
                add(index, torch.cat([network(each.to(device)).extra["pooled"] for each in batches]))
        else:
            for window in _windows(len(subset)):
                for indices, outputs in _outputs(network, subset, window, device, None):
                    for index, vector in zip(indices, outputs.extra["pooled"], strict=True):
                        add(int(index), vector.unsqueeze(0))
    return dict(sorted(stats.items()))


def _outputs(
    network: nn.Module, subset: Subset, window: Ints, device: torch.device, pooled: PooledScales | None
) -> Iterator[tuple[Ints, Outputs]]:
    """What the network says of the utterances of a window, in batches by length.

    Raises:
        DataError: the memory is too small for an utterance.
    """
    lengths = main_frames(subset)
    for indices in _by_frames(window, lengths):
        longest = int(indices[-1])
        if lack := shortage(network, subset, int(lengths[longest]), 1, device, training=False):
            raise DataError(
                f"{subset.name_of(longest)}, {lengths[longest]} frames long, {lack}; decode where there is "
                f"more, or {subset.cut_it}"
            )
        inputs = read_inputs(subset, indices)
        if pooled is not None:
            inputs = replace(inputs, pooled=pooled.of(indices))
        yield indices, network(inputs.to(device))


def _windows(total: int) -> Iterator[Ints]:
    """Indices, in order, a window of them at a time."""
    for begin in range(0, total, WINDOW):
        yield np.arange(begin, min(begin + WINDOW, total))


def _decode_utterances(
    network: nn.Module, subset: Subset, device: torch.device, pooled: PooledScales | None
) -> Iterator[Decision]:
    lengths = main_frames(subset)
    for window in _windows(len(subset)):
        decisions: dict[int, Decision] = {}
        for indices, outputs in _outputs(network, subset, window, device, pooled):
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


def _by_frames(window: Ints, num_frames: npt.NDArray[np.int32]) -> Iterator[Ints]:
    """Batches of the utterances of a window, by length, of at most BATCH_FRAMES padded frames."""
    order = window[np.argsort(num_frames[window], kind="stable")]
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


def _chunks_at_once(chunking: ChunkingConfig, device: torch.device) -> int:
    """Chunks of a batch."""
    most = min(CPU_CHUNK_FRAMES, BATCH_FRAMES) if device.type == "cpu" else BATCH_FRAMES
    return max(1, most // chunking.context)


def _decode_chunks(
    network: nn.Module,
    chunking: ChunkingConfig,
    subset: Subset,
    device: torch.device,
    pooled: PooledScales | None,
) -> Iterator[Decision]:
    batch = _chunks_at_once(chunking, device)
    waiting: list[_Waiting] = []
    count = 0  # chunks that wait
    for index in range(len(subset)):
        waiting.append(_cut(subset, index, chunking))
        count += len(waiting[-1].x)
        if count >= batch or index == len(subset) - 1:
            yield from _decide(network, chunking, subset, waiting, batch, device, pooled)
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
    scales: PooledScales | None,
) -> Iterator[Decision]:
    """What is decided on utterances from all of their chunks."""
    lengths = np.concatenate([each.chunks.lengths for each in waiting])
    x = np.concatenate([each.x for each in waiting])
    own = None
    if scales is not None:
        own = scales.of(np.repeat([each.utt for each in waiting], [len(each.x) for each in waiting]))
    posteriors, weights = _classify(network, _chunk_batches(x, lengths, batch, own), device)
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


def _chunk_batches(chunks: Floats, lengths: Ints, batch: int, pooled: Tensor | None) -> Iterator[Inputs]:
    """Chunks (n, C, F) of some lengths (n,), and the scales of their speakers, (n, 2, H), in batches."""
    for begin in range(0, len(chunks), batch):
        part = slice(begin, begin + batch)
        inputs = Inputs.of(torch.from_numpy(chunks[part]), torch.from_numpy(lengths[part]))
        yield inputs if pooled is None else replace(inputs, pooled=pooled[part])


def _classify(
    network: nn.Module, batches: Iterator[Inputs], device: torch.device
) -> tuple[Doubles, Floats | None]:
    """Posteriors of chunks, (n, K), and the weights of their frames, (n, C), of networks that have some."""
    rows, weights = [], []
    for inputs in batches:
        outputs = network(inputs.to(device))
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


def _softmax(logits: Tensor) -> Doubles:
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
