"""Is it more than chance?  Tests of phones, words and contrasts: the rows of ``phone_tests.tsv``.

Shapes: N segments or utterances, U utterances, D draws, G groups.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser.interpret import nulls
from ser.interpret.groups import SIGNS, Maps
from ser.interpret.maps import Attended
from ser.interpret.nulls import UtteranceAttention
from ser.scoring.metrics import Floats
from ser.scoring.significance import holm

_NO_SPREAD = 1e-9  # of values about 1: what rounding leaves of equal ones


class PhoneTest(NamedTuple):
    """A row of ``phone_tests.tsv``."""

    level: str
    symbol: str
    test: str  # duration: against other phones of like length in the same utterance; emotion; decision
    segments: int
    utterances: int
    speakers: int
    value: float  # duration: difference in mass a frame; emotion: range of means; decision: right - wrong
    low: float
    high: float
    effect: (
        float  # duration: value over the standard deviation (NaN: 0); else the share of variance explained
    )
    p: float
    p_holm: float


def attention_tests(
    maps: Maps, utterances: Sequence[UtteranceAttention], num_draws: int, seed: int, min_segments: int
) -> list[PhoneTest]:
    """Test every phone, word and contrast; p-values are Holm-corrected over the phones (words) of one test.

    Args:
        maps: attention of all seeds.
        utterances: those of :func:`ser.interpret.groups.contrastable`.
        num_draws: D; the tests of emotions take ten times as many, so that corrected p-values can be small.
        seed: of the draws.
        min_segments: phones and words with fewer are not tested.
    """
    phones = _averaged(maps.phones, lambda row: row.kind in SIGNS)
    tests = _holm([_duration_test(symbol, phones, num_draws) for symbol in _frequent(phones, min_segments)])
    tests += _holm(_emotion_tests("phone", phones, 10 * num_draws, seed, min_segments))
    words = _averaged(maps.words, lambda row: row.kind == "word") if maps.words else None
    if words is not None:
        tests += _holm(_emotion_tests("word", words, 10 * num_draws, seed, min_segments))
    return tests + _contrast_tests(maps, utterances, num_draws, seed)


@dataclass(frozen=True)
class _Tokens:
    """Segments with their mass a frame against uniform among the utterance's speech, mean over seeds.

    They are 0 for the segments of an utterance whose speech has no attention at all.
    """

    utts: npt.NDArray[np.str_]  # (N,)
    speakers: npt.NDArray[np.str_]
    emotions: npt.NDArray[np.str_]
    symbols: npt.NDArray[np.str_]
    frames: npt.NDArray[np.int64]
    values: Floats


def _averaged(tier: Sequence[Sequence[Attended]], keep: Callable[[Attended], bool]) -> _Tokens:
    kept = [row for row in tier[0] if keep(row)]
    utts = np.array([row.utt for row in kept])
    frames = np.array([row.frames for row in kept])
    _, index = np.unique(utts, return_inverse=True)
    values = np.zeros(len(kept))
    for rows in tier:
        relative = np.array([row.relative for row in rows if keep(row)])
        mean = np.bincount(index, relative * frames) / np.bincount(index, frames)
        values += relative / np.where(mean > 0, mean, 1)[index] / len(tier)
    return _Tokens(
        utts,
        np.array([row.speaker for row in kept]),
        np.array([row.emotion for row in kept]),
        np.array([row.symbol for row in kept]),
        frames,
        values,
    )


def _frequent(tokens: _Tokens, least: int) -> list[str]:
    symbols, counts = np.unique(tokens.symbols, return_counts=True)
    return [str(symbol) for symbol, count in zip(symbols, counts, strict=True) if count >= least]


def stratified(
    values: Floats, member: npt.NDArray[np.bool_], strata: npt.NDArray[np.int64]
) -> tuple[Floats, float]:
    """Members against the others of their stratum, under random membership within each stratum.

    Args:
        values: (N,).
        member: (N,).
        strata: numbers from 0, (N,).

    Returns:
        Each member's value minus the mean of its stratum; and the exact variance of their sum under the null
        (drawing without replacement).
    """
    sizes = np.bincount(strata)
    means = np.bincount(strata, values) / sizes
    residuals = values - means[strata]
    members = np.bincount(strata, member, len(sizes))
    spread = np.bincount(strata, residuals**2) / np.maximum(sizes - 1, 1)  # S^2 of each stratum
    variance = float((spread * members * (1 - members / sizes)).sum())
    return residuals[member], variance


def normal_p(z: float) -> float:
    """Two-sided p of a standard normal value.

    >>> round(normal_p(1.959964), 6)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def _duration_test(symbol: str, tokens: _Tokens, num_draws: int) -> PhoneTest:
    """A phone against the others of like length in the same utterance; p is 1 where it has no others."""
    member = tokens.symbols == symbol
    place = np.char.add(np.char.add(tokens.utts, " "), nulls.length_bins(tokens.frames).astype(str))
    _, strata = np.unique(place, return_inverse=True)
    residuals, variance = stratified(tokens.values, member, strata)
    total = float(residuals.sum())
    all_residuals, _ = stratified(tokens.values, np.ones(len(member), bool), strata)
    mean = nulls.estimate(list(tokens.speakers[member]), residuals, np.ones(len(residuals)), num_draws)
    spread = float(all_residuals.std())
    p = normal_p(total / math.sqrt(variance)) if variance > _NO_SPREAD**2 else 1.0
    effect = mean.value / spread if spread > _NO_SPREAD else math.nan
    return PhoneTest(
        "phone",
        symbol,
        "duration",
        *_counts(tokens, member),
        *mean,
        effect,
        p,
        p,
    )


def _counts(tokens: _Tokens, member: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    return int(member.sum()), len(set(tokens.utts[member])), len(set(tokens.speakers[member]))


def _emotion_tests(level: str, tokens: _Tokens, num_draws: int, seed: int, least: int) -> list[PhoneTest]:
    """Each phone or word: does its mass depend on the emotion it is said in?"""
    tests = []
    for symbol in _frequent(tokens, least):
        member = tokens.symbols == symbol
        utts, first, index = np.unique(tokens.utts[member], return_index=True, return_inverse=True)
        values = np.bincount(index, tokens.values[member]) / np.bincount(index)  # mean of each utterance
        speakers, emotions = tokens.speakers[member][first], tokens.emotions[member][first]
        result = permutation_test(values, emotions, speakers, num_draws, seed)
        if result is not None:
            tests.append(_of_groups((level, symbol, "emotion", *_counts(tokens, member)), result))
    return tests


def _of_groups(head: tuple[str, str, str, int, int, int], result: GroupDifference) -> PhoneTest:
    """The row of a permutation test, which has no interval."""
    return PhoneTest(*head, result.value, math.nan, math.nan, result.effect, result.p, result.p)


def _contrast_tests(
    maps: Maps, utterances: Sequence[UtteranceAttention], num_draws: int, seed: int
) -> list[PhoneTest]:
    """Does the contrast depend on the emotion, and on whether the decision is right?"""
    d = nulls.contrasts([utterance.speech() for utterance in utterances]).mean(1)  # (U,)
    speakers = np.array([utterance.speaker for utterance in utterances])
    emotion = {row.utt: row.emotion for row in maps.phones[0]}
    right = Counter(
        utt for rows in maps.phones for utt in {row.utt for row in rows if row.decision == "right"}
    )
    groups = {
        "emotion": np.array([emotion[utterance.utt] for utterance in utterances]),
        "decision": np.array(
            ["right" if 2 * right[item.utt] > len(maps.names) else "wrong" for item in utterances]
        ),  # of several seeds: the majority
    }
    tests = []
    for test, labels in groups.items():
        result = permutation_test(d, labels, speakers, num_draws, seed)
        if result is not None:
            head = ("kind", "vowel-consonant", test, len(d), len(d), len(set(speakers)))
            tests.append(_of_groups(head, result))
    return tests


class GroupDifference(NamedTuple):
    """How values differ between groups."""

    value: float  # range of the groups' means; of right and wrong: right - wrong
    effect: float  # share of the variance within strata that the groups explain
    p: float


def permutation_test(
    values: Floats, groups: npt.NDArray[np.str_], strata: npt.NDArray[np.str_], num_draws: int, seed: int
) -> GroupDifference | None:
    """Do values depend on the group?  The null: values are exchangeable within a stratum (a speaker).

    Args:
        values: (N,).
        groups: names, (N,).
        strata: names, (N,).
        num_draws: D.
        seed: of the draws.

    Returns:
        None if nothing can be compared: one group, or all values of a stratum are equal.
    """
    names, group = np.unique(groups, return_inverse=True)
    _, stratum = np.unique(strata, return_inverse=True)
    centred = values - (np.bincount(stratum, values) / np.bincount(stratum))[stratum]
    total = float((centred**2).sum())
    if len(names) < 2 or total < 1e-12:
        return None
    one_hot = (group[:, None] == np.arange(len(names))).astype(np.float64)  # (N, G)
    sizes = one_hot.sum(0)
    means = centred @ one_hot / sizes
    observed = float((sizes * means**2).sum())
    grid = np.argsort(stratum, kind="stable")  # places by stratum; a draw permutes within each
    keys = stratum[grid] + np.random.default_rng(seed).random((num_draws, len(grid)))
    drawn = centred[grid][np.argsort(keys, axis=1)] @ one_hot[grid] / sizes  # (D, G)
    extreme = (sizes * drawn**2).sum(1) >= observed - 1e-12
    is_decision = list(names) == ["right", "wrong"]
    value = float(means[0] - means[1] if is_decision else means.max() - means.min())
    return GroupDifference(value, observed / total, float((1 + extreme.sum()) / (1 + num_draws)))


def _holm(tests: list[PhoneTest]) -> list[PhoneTest]:
    corrected = holm([test.p for test in tests])
    return [test._replace(p_holm=p) for test, p in zip(tests, corrected, strict=True)]
