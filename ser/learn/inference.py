"""Posteriors and attention of a trained network over a data part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ser.feats.chunking import ChunkingConfig, chunk_starts, count_chunks, take_chunks
from ser.feats.subset import Floats, Part
from ser.learn.loaders import pad
from ser.learn.settings import CsaSettings, Settings

Doubles = npt.NDArray[np.float64]

BATCH_FRAMES = 20_000  # padded frames a batch in decoding
WINDOW = 512  # utterances whose order is free within a window, so that like lengths meet


@dataclass(frozen=True)
class Decoded:
    """What the network says of one utterance.

    Attributes:
        index: which of the part.
        posterior: (K,), sum 1; None when the utterance is not scored.
        attention: (T,), sum 1, of BLSTMATT.
        chunks: posteriors of its chunks (n, K) of CSA, in time.
        padded: (K,), of one padded chunk, where CSA does not score the utterance because it is too short.
        reason: why it is not scored.
    """

    index: int
    posterior: Doubles | None
    attention: Floats | None = None
    chunks: Doubles | None = None
    padded: Doubles | None = None
    reason: str = ""


def decode(network: nn.Module, settings: Settings, part: Part, device: torch.device) -> Iterator[Decoded]:
    """Posteriors of every utterance, in key order; the network is left in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        if isinstance(settings, CsaSettings):
            yield from _decode_chunks(network, settings, part, device)
        else:
            yield from _decode_segments(network, part, device)


def _decode_segments(network: nn.Module, part: Part, device: torch.device) -> Iterator[Decoded]:
    for begin in range(0, len(part), WINDOW):
        window = np.arange(begin, min(begin + WINDOW, len(part)))
        order = window[np.argsort(part.num_frames[window], kind="stable")]
        results: dict[int, Decoded] = {}
        for indices in _by_frames(order, part.num_frames):
            x = torch.from_numpy(pad([part.features(int(i)) for i in indices], part.num_filters))
            lengths = torch.from_numpy(part.num_frames[indices].astype(np.int64))
            logits, attention = network(x.to(device), lengths.to(device))
            posteriors = _softmax(logits)
            weights = attention.float().cpu().numpy()
            for row, index in enumerate(indices):
                span = int(part.num_frames[index])
                results[int(index)] = Decoded(int(index), posteriors[row], weights[row, :span].copy())
        yield from (results[int(i)] for i in window)


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
    network: nn.Module, settings: CsaSettings, part: Part, device: torch.device
) -> Iterator[Decoded]:
    chunking, rule = settings.chunking, settings.decode.csa_pool
    padding = replace(chunking, short_utt="pad")
    batch = max(1, BATCH_FRAMES // chunking.context)
    pending: list[tuple[int, int]] = []  # (utterance, chunks) waiting for a full batch
    waiting: list[Floats] = []
    for index in range(len(part)):
        chunks = _cut(part, index, padding)
        pending.append((index, len(chunks)))
        waiting.append(chunks)
        if sum(map(len, waiting)) >= batch or index == len(part) - 1:
            posteriors = _classify(network, np.concatenate(waiting), batch, device)
            counts = [count for _, count in pending]
            split = np.split(posteriors, np.cumsum(counts)[:-1])
            for (utt, _), rows in zip(pending, split, strict=True):
                frames = int(part.num_frames[utt])
                if count_chunks(frames, chunking):
                    yield Decoded(utt, pool_chunks(rows, rule), chunks=rows)
                else:
                    reason = f"{frames} frames, context {chunking.context}"
                    yield Decoded(utt, None, padded=pool_chunks(rows, rule), reason=reason)
            pending, waiting = [], []


def _cut(part: Part, index: int, chunking: ChunkingConfig) -> Floats:
    starts = chunk_starts(int(part.num_frames[index]), chunking)
    chunks: Floats = take_chunks(part.features(index), starts, chunking.context)
    return chunks


def _classify(network: nn.Module, chunks: Floats, batch: int, device: torch.device) -> Doubles:
    rows = [
        _softmax(network(torch.from_numpy(chunks[i : i + batch]).to(device))[0])
        for i in range(0, len(chunks), batch)
    ]
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
