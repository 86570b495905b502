"""Pronunciation variants, learnt from the phone labels of a corpus: which phones, not when.

The usual pronunciations of an utterance's words are matched with its labels by the least costly edits, which
gives each word the phones that it was labelled with.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from ser.align.lexicon import Lexicon
from ser.data.phones import PhoneSet

_INSERT, _DELETE, _OTHER_KIND = 1.0, 1.0, 1.9  # another phone of the same kind costs 1, of another this


def learn_variants(
    words: Mapping[str, Sequence[str]],
    labels: Mapping[str, Sequence[str]],
    usual: Lexicon,
    phones: PhoneSet,
    max_variants: int,
) -> Lexicon:
    """Pronunciations of each word, the most frequent first.

    Args:
        words: utterance -> its words.
        labels: utterance -> its phones, silences and all; utterances without labels are passed over.
        usual: at least one pronunciation of each word, of which the first is matched with the labels.
        phones: tells vowels, consonants and silences.
        max_variants: the most that are kept of a word; variants seen once are kept only if none was seen
            more often.

    Returns:
        Word -> the pronunciations found in the labels, or its usual ones if there are none.
    """
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for name, line in words.items():
        spoken = [phone for phone in labels.get(name, ()) if phones.kind(phone) in ("vowel", "consonant")]
        if spoken:
            for word, variant in zip(
                line, split_phones([usual[word][0] for word in line], spoken, phones), strict=True
            ):
                counts[word][variant] += 1
    lexicon: Lexicon = {}
    for word in sorted({word for line in words.values() for word in line}):
        ranked = sorted(((-n, item) for item, n in counts[word].items() if item))
        kept = [item for n, item in ranked if n < -1] or [item for _, item in ranked]
        lexicon[word] = kept[:max_variants] or list(usual[word])
    return lexicon


def split_phones(
    usual: Sequence[tuple[str, ...]], spoken: Sequence[str], phones: PhoneSet
) -> list[tuple[str, ...]]:
    """Divide the phones of an utterance among its words; a phone between two words goes to the second.

    >>> german = PhoneSet("german", ("a", "U", "@"), ("d", "s", "n", "t"), (), (), {}, (), ())
    >>> split_phones([("d", "a", "s"), ("U", "n", "t")], ["d", "@", "s", "n", "t", "s"], german)
    [('d', '@', 's'), ('n', 't', 's')]
    """
    flat = [(phone, index) for index, word in enumerate(usual) for phone in word]
    owners = _owners(flat, spoken, phones)
    pieces = {
        index: tuple(spoken[i] for i, _ in group)
        for index, group in groupby(enumerate(owners), lambda x: x[1])
    }
    return [pieces.get(index, ()) for index in range(len(usual))]


def _owners(flat: Sequence[tuple[str, int]], spoken: Sequence[str], phones: PhoneSet) -> list[int]:
    """Index of the word that each spoken phone belongs to."""
    costs = edit_costs([phone for phone, _ in flat], spoken, phones)
    owners: list[int] = []
    i, j = len(flat), len(spoken)
    following = flat[-1][1]
    while j:
        if i and costs[i, j] == costs[i - 1, j - 1] + cost(flat[i - 1][0], spoken[j - 1], phones):
            i, j = i - 1, j - 1
            following = flat[i][1]
            owners.append(following)
        elif i and costs[i, j] == costs[i - 1, j] + _DELETE:
            i -= 1
        else:
            j -= 1
            owners.append(following)
    return owners[::-1]


def cost(one: str, other: str, phones: PhoneSet) -> float:
    """Cost of matching phone ``one`` with phone ``other``."""
    if one == other:
        return 0.0
    return 1.0 if phones.kind(one) == phones.kind(other) else _OTHER_KIND


def edit_costs(one: Sequence[str], other: Sequence[str], phones: PhoneSet) -> np.ndarray:  # type: ignore[type-arg]
    """The least cost of matching the first i of ``one`` with the first j of ``other``, (I + 1, J + 1)."""
    costs = np.zeros((len(one) + 1, len(other) + 1))
    costs[:, 0] = _DELETE * np.arange(len(one) + 1)
    costs[0] = _INSERT * np.arange(len(other) + 1)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            costs[i, j] = min(
                costs[i - 1, j - 1] + cost(a, b, phones), costs[i - 1, j] + _DELETE, costs[i, j - 1] + _INSERT
            )
    return costs
