"""How far the boundaries of one alignment lie from those of another, by the kinds of phones on either side.

The phones of an utterance are matched by the least costly edits, as in ser.align.variants; a boundary of
the reference is matched when the phones on both its sides are, with neighbours.  Times are in seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ser.align.variants import cost, edit_costs
from ser.data.manifests import Segment
from ser.data.phones import PhoneSet

WITHIN_MS = (10, 20, 50)
_SAME_S = 0.001  # a gap shorter than this is none


class Boundary(NamedTuple):
    """A boundary of the reference."""

    left: str  # kind of the phone before it: vowel, consonant, silence or filler
    right: str
    error_s: float | None  # how much later the other alignment has it; None: it has no such boundary


def compare_utterance(
    reference: Sequence[Segment], other: Sequence[Segment], phones: PhoneSet
) -> list[Boundary]:
    """The boundaries of the reference, including those between silence and speech.

    Args:
        reference: phones in time order; gaps are silence, parts of phones are merged.
        other: likewise, of the other alignment.
        phones: the phone set.

    >>> german = PhoneSet("german", ("a",), ("t",), ("-",), (), {}, (), ())
    >>> compare_utterance([("t", 0.0, 0.5), ("a", 0.5, 0.5)], [("t", 0.0, 0.75), ("a", 0.75, 0.25)], german)
    [Boundary(left='consonant', right='vowel', error_s=0.25)]
    """
    end = max(start + length for start, length in ((row[1], row[2]) for row in (*reference, *other)))
    one, two = fill_gaps(reference, end, phones), fill_gaps(other, end, phones)
    matched = _matched([row[0] for row in one], [row[0] for row in two], phones)
    boundaries = []
    for i, (left, right) in enumerate(zip(one[:-1], one[1:], strict=True)):
        j = matched.get(i)
        same = j is not None and matched.get(i + 1) == j + 1
        error = two[j + 1][1] - right[1] if same and j is not None else None
        boundaries.append(Boundary(phones.kind(left[0]), phones.kind(right[0]), error))
    return boundaries


def fill_gaps(segments: Sequence[Segment], end: float, phones: PhoneSet) -> list[Segment]:
    """Fill gaps from 0 to ``end`` with silence; merge parts of phones, join neighbouring silences."""
    filled: list[Segment] = []
    last = 0.0
    for phone, start, length in [*phones.merge(segments), ("", end, 0.0)]:
        if start - last > _SAME_S:
            filled.append((phones.silence[0], last, start - last))
        if phone:
            filled.append((phone, start, length))
        last = start + length
    joined: list[Segment] = []
    for phone, start, length in filled:
        if joined and phone in phones.silence and joined[-1][0] in phones.silence:
            silence, first, _ = joined.pop()
            joined.append((silence, first, start + length - first))
        else:
            joined.append((phone, start, length))
    return joined


def _matched(one: Sequence[str], two: Sequence[str], phones: PhoneSet) -> dict[int, int]:
    """Index in ``one`` -> index in ``two`` of the phones that are matched."""
    costs = edit_costs(one, two, phones)
    i, j = len(one), len(two)
    pairs = {}
    while i and j:
        if costs[i, j] == costs[i - 1, j - 1] + cost(one[i - 1], two[j - 1], phones):
            i, j = i - 1, j - 1
            pairs[i] = j
        elif costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs


def compare(
    reference: Mapping[str, Sequence[Segment]], other: Mapping[str, Sequence[Segment]], phones: PhoneSet
) -> list[Boundary]:
    """All boundaries of the utterances that are in both."""
    return [
        boundary
        for name in sorted(reference.keys() & other.keys())
        if reference[name] and other[name]
        for boundary in compare_utterance(reference[name], other[name], phones)
    ]


HEADER = ("boundary", "n", "matched", *(f"within_{ms}ms" for ms in WITHIN_MS), "median_ms", "bias_ms")


def table(boundaries: Iterable[Boundary]) -> list[tuple[str, ...]]:
    """Rows under :data:`HEADER`: each pair of kinds, then ``all``.

    ``matched`` and ``within`` are per cent of the ``n`` boundaries of the reference, so that one that is not
    matched counts as missed; ``median_ms`` is of the absolute errors, ``bias_ms`` the median of the signed
    ones (above 0: too late), both of the matched.
    """
    groups: dict[str, list[float | None]] = defaultdict(list)
    for boundary in boundaries:
        for name in (f"{boundary.left}-{boundary.right}", "all"):
            groups[name].append(boundary.error_s)
    return [_row(name, groups[name]) for name in sorted(groups, key=lambda name: (name == "all", name))]


def _row(name: str, errors: Sequence[float | None]) -> tuple[str, ...]:
    matched = 1000 * np.array([error for error in errors if error is not None])
    size = np.abs(matched)
    percent = [100 * len(matched) / len(errors)]
    percent += [100 * float((size <= ms + 1e-6).sum()) / len(errors) for ms in WITHIN_MS]
    medians = [f"{float(np.median(values)):.1f}" if len(matched) else "-" for values in (size, matched)]
    return (name, str(len(errors)), *(f"{value:.1f}" for value in percent), *medians)
