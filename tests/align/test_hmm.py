"""Graphs of utterances, transitions, the flat start."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ser.align import hmm
from tests.align.viterbi import best_path

PDFS = {"a": 0, "b": 2, "sil": 4}


def sequences(graph: hmm.Graph, num_frames: int) -> set[tuple[str, ...]]:
    """The phones of each path of that length."""
    follow: dict[int, list[tuple[int, int, int]]] = {}
    for (state, target, pdf), segment in zip(graph.arcs.tolist(), graph.segments.tolist(), strict=True):
        follow.setdefault(state, []).append((target, pdf, segment))
    ways: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for _ in range(num_frames):
        ways = [
            (target, (*way, segment))
            for state, way in ways
            for target, pdf, segment in follow.get(state, [])
            if pdf != hmm.END
        ]
    closed = [way for state, way in ways if any(pdf == hmm.END for _, pdf, _ in follow.get(state, []))]
    return {tuple(graph.labels[key][0] for key, _ in itertools.groupby(way)) for way in closed}


def test_variants_and_silences_are_ways_through() -> None:
    words = [[("a",), ("b", "a")], [("b",)]]
    graph = hmm.utterance_graph(words, {"a": 0, "b": 1, "sil": 2}, 1, "sil")
    assert sequences(graph, 2) == {("a", "b")}
    plain = {("a", "b"), ("b", "a", "b")}
    one = {("sil", "a", "b"), ("a", "sil", "b"), ("a", "b", "sil")}
    assert sequences(graph, 3) == plain | one
    assert ("sil", "b", "a", "sil", "b", "sil") in sequences(graph, 6)
    assert graph.min_frames == 2
    silent = hmm.utterance_graph(words, {"a": 0, "b": 1, "sil": 2}, 1, None)
    assert sequences(silent, 4) == plain


def test_every_state_is_passed_and_arcs_are_sorted() -> None:
    graph = hmm.utterance_graph([[("a", "b")]], PDFS, 2, None)
    assert graph.arcs.tolist() == [
        [0, 1, 0], [1, 1, 0], [1, 2, 1], [2, 2, 1], [2, 3, 2], [3, 3, 2], [3, 4, 3], [4, 4, 3], [4, 5, -1],
    ]  # fmt: skip
    assert graph.transitions.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert graph.segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, -1]
    assert graph.labels == [("a", 0), ("b", 0)]
    assert graph.min_frames == 4
    score = np.zeros((4, 6), np.float32)
    best = best_path(graph, hmm.log_transitions([], 6), score)
    assert best is not None
    assert best.pdfs.tolist() == [0, 1, 2, 3]
    assert best.score == pytest.approx(4 * np.log(0.5))
    assert best_path(graph, hmm.log_transitions([], 6), score[:3]) is None


def test_transition_probabilities_are_counted() -> None:
    path = np.array([0, 0, 0, 1, 2, 2], np.int32)
    table = np.exp(hmm.log_transitions([path, path], 4))
    assert table[0] == 1
    # pdf 0 stays 4 times and leaves twice, pdf 1 leaves twice, pdf 2 stays twice and leaves at the two ends
    expected = [5 / 8, 3 / 8, 1 / 4, 3 / 4, 3 / 6, 3 / 6, 1 / 2, 1 / 2]
    np.testing.assert_allclose(table[1:], expected, rtol=1e-6)


def test_flat_start_is_even() -> None:
    path = hmm.uniform_path(["sil", "a", "sil"], PDFS, 2, 60)
    assert path.dtype == np.int32
    values, counts = np.unique(path, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {0: 10, 1: 10, 4: 20, 5: 20}
    assert path[:20].tolist() == [4] * 10 + [5] * 10
