"""Hidden Markov models of utterances: which sequences of phone states their transcripts allow.

Every phone is a chain of states, each of which repeats and then goes on to the next; a state's density is its
pdf, number ``phone * num_states + state``.  An utterance's words follow one another, each in one of its
pronunciations; silence may stand before, between and after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

NO_WORD = -1  # the word of a silence that the transcript does not have
END = -1  # the label of the arcs into the final state, as in k2


@dataclass(frozen=True)
class Graph:
    """An utterance's automaton, without epsilons.

    Attributes:
        arcs: (A, 3): state, next state, pdf or ``END``; sorted by state, the last state is final.
        transitions: (A,): which transition an arc is: 0 the start, ``1 + 2 * pdf`` stays in the state of that
            pdf, ``2 + 2 * pdf`` leaves it.
        segments: (A,): index into ``labels``, ``END`` for the arcs into the final state.
        labels: a phone and the index of its word (or ``NO_WORD``).
        min_frames: of the shortest path through it.
    """

    arcs: Ints
    transitions: Ints
    segments: Ints
    labels: list[tuple[str, int]]
    min_frames: int


@dataclass
class _Builder:
    """A graph under construction; an open end is a state with its pdf, or with None at the start."""

    pdfs: Mapping[str, int]  # phone -> its first pdf
    num_states: int
    rows: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    labels: list[tuple[str, int]] = field(default_factory=list)
    size: int = 1  # number of states so far; 0 is the start

    def phone(
        self, phone: str, word: int, ends: Sequence[tuple[int, int | None]]
    ) -> list[tuple[int, int | None]]:
        """Append the states of a phone to all open ends; its own end is open."""
        segment = len(self.labels)
        self.labels.append((phone, word))
        for pdf in range(self.pdfs[phone], self.pdfs[phone] + self.num_states):
            for state, before in ends:
                self.rows.append((state, self.size, pdf, _leave(before), segment))
            self.rows.append((self.size, self.size, pdf, 1 + 2 * pdf, segment))
            ends = [(self.size, pdf)]
            self.size += 1
        return list(ends)

    def finish(self, ends: Sequence[tuple[int, int | None]], min_frames: int) -> Graph:
        """Close the open ends."""
        self.rows += [(state, self.size, END, _leave(before), END) for state, before in ends]
        table = np.array(sorted(self.rows), np.int32)
        return Graph(table[:, :3], table[:, 3], table[:, 4], self.labels, min_frames)


def _leave(pdf: int | None) -> int:
    return 0 if pdf is None else 2 + 2 * pdf


def utterance_graph(
    words: Sequence[Sequence[tuple[str, ...]]],
    pdfs: Mapping[str, int],
    num_states: int,
    silence: str | None,
) -> Graph:
    """The automaton of an utterance.

    Args:
        words: the pronunciations of each word, one or more; one or more words.
        pdfs: phone -> number of its first pdf.
        num_states: states of a phone, S.
        silence: the phone that may stand before, between and after the words; None: only what ``words`` have.

    >>> graph = utterance_graph([[("a",)]], {"a": 0, "sil": 1}, 1, None)
    >>> graph.arcs.tolist(), graph.transitions.tolist(), graph.labels
    ([[0, 1, 0], [1, 1, 0], [1, 2, -1]], [0, 1, 2], [('a', 0)])
    """
    builder = _Builder(pdfs, num_states)
    ends: list[tuple[int, int | None]] = [(0, None)]
    for index, pronunciations in enumerate(words):
        if silence is not None:
            ends += builder.phone(silence, NO_WORD, ends)
        open_ends: list[tuple[int, int | None]] = []
        for pronunciation in pronunciations:
            branch = ends
            for phone in pronunciation:
                branch = builder.phone(phone, index, branch)
            open_ends += branch
        ends = open_ends
    if silence is not None:
        ends += builder.phone(silence, NO_WORD, ends)
    shortest = sum(min(map(len, pronunciations)) for pronunciations in words)
    return builder.finish(ends, shortest * num_states)


def uniform_path(phones: Sequence[str], pdfs: Mapping[str, int], num_states: int, num_frames: int) -> Ints:
    """The pdf of each frame, (T,), when all states of ``phones`` last equally long: the flat start.

    >>> uniform_path(["a", "b"], {"a": 0, "b": 2}, 2, 6).tolist()
    [0, 0, 1, 2, 2, 3]
    """
    states = np.array([pdfs[phone] + state for phone in phones for state in range(num_states)], np.int32)
    path: Ints = states[np.arange(num_frames) * len(states) // num_frames]
    return path


def log_transitions(paths: Sequence[Ints], num_pdfs: int) -> npt.NDArray[np.float32]:
    """Logarithms of the transition probabilities, (1 + 2P,) as in :class:`Graph`, from state paths (T,).

    A state that no path has stays and leaves with probability one half.
    """
    counts = np.ones((num_pdfs, 2))  # stays, leaves: one of each beforehand
    for path in paths:
        same = path[1:] == path[:-1]
        np.add.at(counts, (path[:-1][same], 0), 1)
        np.add.at(counts, (path[:-1][~same], 1), 1)
        counts[path[-1:], 1] += 1
    table = np.log(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.concatenate([np.zeros(1, np.float32), table.ravel()])
