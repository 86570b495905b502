"""The search of the aligner in plain numpy, frame by frame: what k2 is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ser.align.hmm import END, Graph
from ser.align.phone_model import BestPath, Floats


def search(
    graphs: Sequence[Graph], log_transitions: Floats, scores: Iterable[Floats]
) -> list[BestPath | None]:
    return [best_path(graph, log_transitions, score) for graph, score in zip(graphs, scores, strict=True)]


def best_path(graph: Graph, log_transitions: Floats, score: Floats) -> BestPath | None:
    source, target, pdf = graph.arcs.T
    weight = log_transitions[graph.transitions].astype(np.float64)
    emitting = np.flatnonzero(pdf != END)
    closing = np.flatnonzero(pdf == END)
    value = np.full(int(target.max()) + 1, -np.inf)
    value[0] = 0.0
    back = []
    for frame in score:
        reached = value[source[emitting]] + weight[emitting] + frame[pdf[emitting]]
        order = np.argsort(reached, kind="stable")  # the best arc into a state is written last
        value = np.full_like(value, -np.inf)
        arc = np.full(len(value), -1)
        value[target[emitting[order]]] = reached[order]
        arc[target[emitting[order]]] = emitting[order]
        back.append(arc)
    ends = value[source[closing]] + weight[closing]
    if not np.isfinite(ends.max()):
        return None
    state = source[closing[ends.argmax()]]
    arcs = []
    for arc in reversed(back):
        arcs.append(arc[state])
        state = source[arc[state]]
    path = np.array(arcs[::-1])
    return BestPath(pdf[path], graph.segments[path], float(ends.max()))
