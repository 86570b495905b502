"""Run by the Python that has k2: its search against the plain one on random graphs; prints the differences.

Usage: python3 k2_search.py, with the checkout on PYTHONPATH.
"""

from __future__ import annotations

import json

import numpy as np

from ser.align import hmm, k2_align
from tests.align import viterbi

PHONES = ("a", "b", "c", "-")


def _variants(rng: np.random.Generator) -> list[tuple[str, ...]]:
    """One to three different pronunciations: of two that are the same, either would be right."""
    pronunciations = [
        tuple(rng.choice(PHONES[:3], size=rng.integers(1, 4)).tolist()) for _ in range(rng.integers(1, 4))
    ]
    return list(dict.fromkeys(pronunciations))


def main() -> None:
    """Compare on words with variants, some too long for their frames; more than one batch."""
    rng = np.random.default_rng(0)
    pdfs = {phone: 2 * index for index, phone in enumerate(PHONES)}
    graphs, scores = [], []
    for number in range(30):
        words = [_variants(rng) for _ in range(rng.integers(1, 5))]
        graphs.append(hmm.utterance_graph(words, pdfs, 2, "-" if number % 3 else None))
        scores.append(rng.normal(0, 3, size=(rng.integers(2, 60), 8)).astype(np.float32))
    path = [np.array(rng.integers(0, 8, size=200), np.int32)]
    transitions = hmm.log_transitions(path, 8)
    k2_align.BATCH_ARCS = 5000
    ours = k2_align.search(graphs, transitions, scores)
    plain = viterbi.search(graphs, transitions, scores)
    both = [(a, b) for a, b in zip(ours, plain, strict=True) if a is not None and b is not None]
    print(
        json.dumps(
            {
                "num": len(ours),
                "impossible": [a is None for a in ours].count(True),
                "agree_on_impossible": [a is None for a in ours] == [b is None for b in plain],
                "other_segments": sum(not np.array_equal(a.segments, b.segments) for a, b in both),
                "other_pdfs": sum(not np.array_equal(a.pdfs, b.pdfs) for a, b in both),
                "largest_difference": max(abs(a.score - b.score) for a, b in both),
            }
        )
    )


if __name__ == "__main__":
    main()
