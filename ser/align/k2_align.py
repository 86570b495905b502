"""The search: k2 intersects the graphs of utterances with their scores and takes the shortest path.

The only module that imports k2, and torch with it; it runs in the aligner's own environment
(utils/install_k2.sh).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import k2
import numpy as np
import torch

from ser.align.gmm import Floats
from ser.align.hmm import Graph
from ser.align.phone_model import BestPath

BATCH_ARCS = 8_000_000  # arcs times frames that are searched together; about 100 bytes each
_BEAM = 1.0  # of the lattice, of which only the best path is wanted


def search(
    graphs: Sequence[Graph], log_transitions: Floats, scores: Iterable[Floats]
) -> list[BestPath | None]:
    """The best path through each graph.

    Args:
        graphs: of the utterances.
        log_transitions: (1 + 2P,), see :class:`ser.align.hmm.Graph`.
        scores: log-likelihoods of each utterance, (T, P).

    Returns:
        A path for each graph; None where no path is as long as the utterance.
    """
    paths: list[BestPath | None] = []
    for batch in _batches(graphs, scores):
        paths += _search_together(
            [graph for graph, _ in batch], log_transitions, [score for _, score in batch]
        )
    return paths


def _batches(graphs: Sequence[Graph], scores: Iterable[Floats]) -> Iterator[list[tuple[Graph, Floats]]]:
    batch: list[tuple[Graph, Floats]] = []
    size = 0
    for graph, score in zip(graphs, scores, strict=True):
        arcs = len(graph.arcs) * len(score)
        if batch and size + arcs > BATCH_ARCS:
            yield batch
            batch, size = [], 0
        batch.append((graph, score))
        size += arcs
    if batch:
        yield batch


def _search_together(
    graphs: Sequence[Graph], log_transitions: Floats, scores: Sequence[Floats]
) -> list[BestPath | None]:
    order = sorted(range(len(scores)), key=lambda i: -len(scores[i]))  # k2 wants the longest first
    tensors = [torch.from_numpy(scores[i]) for i in order]
    spans = torch.tensor([[row, 0, len(tensor)] for row, tensor in enumerate(tensors)], dtype=torch.int32)
    dense = k2.DenseFsaVec(torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), spans)
    fsas = k2.create_fsa_vec([_fsa(graphs[i], log_transitions) for i in order])
    best = k2.shortest_path(k2.intersect_dense(fsas, dense, output_beam=_BEAM), use_double_scores=True)
    totals = best.get_tot_scores(use_double_scores=True, log_semiring=False).tolist()
    paths: list[BestPath | None] = [None] * len(order)
    for row, i in enumerate(order):
        path = best[row]
        pdfs, segments = path.labels.numpy()[:-1], path.segments.numpy()[:-1]
        if len(pdfs) == len(scores[i]):
            paths[i] = BestPath(pdfs, segments, totals[row])
    return paths


def _fsa(graph: Graph, log_transitions: Floats) -> k2.Fsa:
    arcs = np.concatenate([graph.arcs, np.zeros((len(graph.arcs), 1), np.int32)], axis=1)
    fsa = k2.Fsa(torch.from_numpy(arcs))
    fsa.scores = torch.from_numpy(log_transitions[graph.transitions])
    fsa.segments = torch.from_numpy(np.ascontiguousarray(graph.segments))
    return fsa
