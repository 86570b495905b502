"""Forced alignments as Sphinx-3 writes them: ``.phseg``, ``.wdseg`` and ``.syseg``.

Frames are 10 ms, both ends inclusive; a file covers its recording without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ser.corpora.mini.phones import FILLERS, NO_WORD, SILENCE, VOWELS, Phone

FRAME = 160  # samples
_CLUSTERS = frozenset(
    "B_L B_R D_R D_W F_L F_R G_L G_R HH_W HH_Y K_L K_R K_W K_Y P_L P_R P_Y S_K S_L S_M S_N S_P S_T S_W"
    " S_K_R S_K_W S_P_L S_P_R S_T_R SH_R T_R T_W TH_R B_Y F_Y M_Y V_Y".split()
)  # what an English syllable can begin with, besides a vowel or one consonant


@dataclass(frozen=True)
class Row:
    """One phone of an alignment: frames ``first`` to ``last``, its word and an acoustic score."""

    first: int
    last: int
    symbol: str
    word: int
    score: int


def rows(
    phones: Sequence[Phone], end: float, lead: int, num_samples: int, random: np.random.RandomState
) -> list[Row]:
    """Put phones into frames.

    Args:
        phones: in order, starts counted from the first sample of the speech.
        end: where the speech ends, likewise.
        lead: samples of the recording before the speech.
        num_samples: of the recording.
        random: draws the scores.

    Returns:
        rows without a gap from frame 0 to ``num_samples // 160 - 1``; silences beside one another are one.
    """
    num_frames = num_samples // FRAME
    framed: list[tuple[int, str, int]] = [(0, SILENCE, NO_WORD)]
    for phone in [*phones, Phone(end, SILENCE, NO_WORD)]:
        if phone.symbol == SILENCE and framed[-1][1] == SILENCE:
            continue
        first = max(int((lead + phone.start) / FRAME), framed[-1][0] + 1)
        assert first < num_frames, f"{phone} begins after frame {num_frames - 1}"
        framed.append((first, phone.symbol, phone.word))
    ends = [first - 1 for first, _, _ in framed[1:]] + [num_frames - 1]
    return [
        Row(first, last, symbol, word, -int((last - first + 1) * random.uniform(2500, 5500)))
        for (first, symbol, word), last in zip(framed, ends, strict=True)
    ]


def phseg(table: Sequence[Row]) -> str:
    """The text of a ``.phseg``: a phone stands with its neighbours and its place in the word."""
    lines = [f"\t{'SFrm':>5} {'EFrm':>5} {'SegAScr':>9} Phone"]
    for place, row in enumerate(table):
        name = row.symbol
        if row.symbol != SILENCE and row.symbol not in FILLERS:
            left, right = table[place - 1], table[place + 1]  # silence stands at both ends
            first, last = left.word != row.word, right.word != row.word
            where = {(True, True): "s", (True, False): "b", (False, True): "e"}.get((first, last), "i")
            name = f"{name} {_context(left)} {_context(right)} {where}"
        lines.append(f"\t{row.first:5d} {row.last:5d} {row.score:9d} {name}")
    return "\n".join([*lines, _total(table)])


def _context(row: Row) -> str:
    return SILENCE if row.symbol in FILLERS else row.symbol


def wdseg(table: Sequence[Row], words: Sequence[str]) -> str:
    """The text of a ``.wdseg``; ``words`` as they are to stand there."""
    lines = [f"\t{'SFrm':>5} {'EFrm':>5} {'SegAScr':>10} Word"]
    for word, group in _words(table):
        first, last = group[0].first, group[-1].last
        name = words[word] if word != NO_WORD else "<sil>"
        if word == NO_WORD and first == 0:
            name = "<s>"
        elif word == NO_WORD and last == table[-1].last:
            name = "</s>"
        score = sum(row.score for row in group)
        lines.append(f"\t{first:5d} {last:5d} {score:10d} {name}")
    return "\n".join([*lines, _total(table)])


def syseg(table: Sequence[Row]) -> str:
    """The text of a ``.syseg``: no scores, no silences, and no rows for a turn without words."""
    lines = [f"\t{'SFrm':>5} {'EFrm':>5} Syllable"]
    for _, group in _words(table):
        if group[0].symbol != SILENCE and group[0].symbol not in FILLERS:
            for syllable in _syllables(group):
                name = "_".join(row.symbol for row in syllable)
                lines.append(f"\t{syllable[0].first:5d} {syllable[-1].last:5d} {name}")
    return "\n".join(lines) + "\n"


def _words(table: Sequence[Row]) -> Iterator[tuple[int, list[Row]]]:
    for word, group in groupby(table, key=lambda row: row.word):
        yield word, list(group)


def _total(table: Sequence[Row]) -> str:
    return f" Total score: {sum(row.score for row in table):11d}\n"


def _syllables(word: Sequence[Row]) -> list[list[Row]]:
    """Cut a word before the longest run of consonants with which a syllable can begin."""
    nuclei = [place for place, row in enumerate(word) if row.symbol in VOWELS]
    cuts = [0]
    for before, nucleus in zip(nuclei, nuclei[1:], strict=False):
        cut = nucleus
        while cut - 1 > before and _can_begin(word[cut - 1 : nucleus]):
            cut -= 1
        cuts.append(cut)
    return [list(word[a:b]) for a, b in zip(cuts, [*cuts[1:], len(word)], strict=True)]


def _can_begin(consonants: Sequence[Row]) -> bool:
    symbols = [row.symbol for row in consonants]
    return symbols[0] != "NG" if len(symbols) == 1 else "_".join(symbols) in _CLUSTERS
