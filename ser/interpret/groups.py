"""Attention by kind, phone and word, by emotion and decision; and what of it is more than chance.

Intervals are 95 %, over speakers drawn again.  Shapes: N segments or utterances, D draws, G groups.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser.data import tables
from ser.data.tsv import read_tsv
from ser.errors import DataError
from ser.interpret import nulls
from ser.interpret.maps import Attended
from ser.interpret.nulls import CONSONANT, OTHER, VOWEL, Case
from ser.scoring.metrics import Floats
from ser.scoring.significance import holm

SIGNS = {"vowel": VOWEL, "consonant": CONSONANT}


class GroupStat(NamedTuple):
    """A row of ``phone_stats.tsv``; values of all seeds together."""

    level: str  # kind, phone or word
    symbol: str
    split: str  # all, emotion or decision
    group: str
    segments: int  # of one seed
    utterances: int
    speakers: int
    frames: float  # mean length
    relative: float  # mass a frame against uniform: mean over the group's frames
    relative_low: float
    relative_high: float
    peak: float  # mean over segments
    position: float


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
    effect: float  # duration: value over the standard deviation; else the share of variance explained
    p: float
    p_holm: float


@dataclass(frozen=True)
class Maps:
    """The maps of one system's seeds, of the same utterances with the same alignment."""

    names: tuple[str, ...]  # of the seeds
    phones: tuple[list[Attended], ...]  # a list for each seed, in the same order
    words: tuple[list[Attended], ...]
    weights: dict[str, Floats]  # utterance -> (T, K)


def read_maps(folders: Sequence[Path]) -> Maps:
    """Read what :func:`ser.interpret.maps.map_attention` wrote, a folder for each seed.

    Raises:
        DataError: something is missing, or the folders are not about the same utterances and segments.
    """
    if lacking := [folder for folder in folders if not (folder / "phone_attn.tsv").exists()]:
        raise DataError(f"{lacking[0]}: has no phone_attn.tsv; the statistics need an alignment with phones")
    phones = tuple(read_tsv(folder / "phone_attn.tsv", Attended) for folder in folders)
    has_words = [(folder / "word_attn.tsv").exists() for folder in folders]
    words = tuple(read_tsv(folder / "word_attn.tsv", Attended) for folder in folders if all(has_words))
    for tier in (phones, words):
        for folder, rows in zip(folders, tier, strict=False):
            if [_place(row) for row in rows] != [_place(row) for row in tier[0]]:
                raise DataError(
                    f"{folder}: is not about the same utterances and segments as {folders[0]}; "
                    "map seeds with one alignment and the same folds"
                )
    readers = [tables.ArkReader(folder / "attn.scp", made_by="stage 5") for folder in folders]
    utts = dict.fromkeys(row.utt for row in phones[0])
    weights = {
        utt: np.stack([reader.read(utt) for reader in readers], axis=1).astype(np.float64) for utt in utts
    }
    for reader in readers:
        reader.close()
    return Maps(tuple(folder.name for folder in folders), phones, words, weights)


def map_files(folders: Sequence[Path]) -> dict[str, Path]:
    """The files of maps that something was made of, for ``made.json``: name -> path."""
    names = ("phone_attn.tsv", "word_attn.tsv", "attn.scp", "post")
    paths = {f"{folder.name}/{name}": folder / name for folder in folders for name in names}
    return {name: path for name, path in paths.items() if path.exists()}


def _place(row: Attended) -> tuple[object, ...]:
    return row.utt, row.symbol, row.first, row.frames


def cases(maps: Maps) -> list[Case]:
    """The utterances that have vowels and consonants."""
    spans: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    speakers = {}
    for row in maps.phones[0]:
        speakers[row.utt] = row.speaker
        if row.first >= 0:
            spans[row.utt].append((row.first, row.frames, SIGNS.get(row.kind, OTHER)))
    made = [Case(utt, speakers[utt], maps.weights[utt], np.array(rows)) for utt, rows in spans.items()]
    return [case for case in made if case.has_both]


# ----------------------------------------------------------------------------------------------------- groups


def group_stats(maps: Maps, num_draws: int) -> Iterator[GroupStat]:
    """Every kind, phone and word: all, by emotion, by decision."""
    for level, tier, key in (
        ("kind", maps.phones, _kind), ("phone", maps.phones, _symbol), ("word", maps.words, _symbol)
    ):  # fmt: skip
        stacked = [row for rows in tier for row in rows if level == "kind" or row.first >= 0]
        for split, group_of in (("all", _everything), ("emotion", _emotion), ("decision", _decision)):
            groups: dict[tuple[str, str], list[Attended]] = defaultdict(list)
            for row in stacked:
                groups[key(row), group_of(row)].append(row)
            for (symbol, group), rows in sorted(groups.items()):
                yield _group_stat((level, symbol, split, group), rows, len(maps.names), num_draws)


def _kind(row: Attended) -> str:
    return row.kind


def _symbol(row: Attended) -> str:
    return row.symbol


def _everything(_: Attended) -> str:
    return "all"


def _emotion(row: Attended) -> str:
    return row.emotion


def _decision(row: Attended) -> str:
    return row.decision


def _group_stat(
    head: tuple[str, str, str, str], rows: Sequence[Attended], num_seeds: int, num_draws: int
) -> GroupStat:
    speakers = [row.speaker for row in rows]
    relative = nulls.estimate(
        speakers, [row.relative for row in rows], [row.frames for row in rows], num_draws
    )
    positions = [row.position for row in rows if not math.isnan(row.position)]
    return GroupStat(
        *head,
        round(len(rows) / num_seeds),
        len({row.utt for row in rows}),
        len(set(speakers)),
        float(np.mean([row.frames for row in rows])),
        *relative,
        float(np.mean([row.peak for row in rows])),
        float(np.mean(positions)) if positions else math.nan,
    )


# ------------------------------------------------------------------------------------------------------ tests


def tests(
    maps: Maps, usable: Sequence[Case], num_draws: int, seed: int, min_segments: int
) -> list[PhoneTest]:
    """All tests; Holm's correction is over the phones (words) of one test, which take ten times the draws."""
    phones = _averaged(maps.phones, lambda row: row.kind in SIGNS)
    found = _holm([_duration_test(symbol, phones, num_draws) for symbol in _frequent(phones, min_segments)])
    found += _holm(_emotion_tests("phone", phones, 10 * num_draws, seed, min_segments))
    words = _averaged(maps.words, lambda row: row.kind == "word") if maps.words else None
    if words is not None:
        found += _holm(_emotion_tests("word", words, 10 * num_draws, seed, min_segments))
    return found + _contrast_tests(maps, usable, num_draws, seed)


@dataclass(frozen=True)
class _Tokens:
    """Segments with their mass a frame against uniform among the utterance's speech, mean over seeds."""

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
        values += relative / mean[index] / len(tier)
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
    """Members against the others of their stratum, if who is a member were drawn anew in each.

    Args:
        values: (N,).
        member: (N,).
        strata: numbers from 0, (N,).

    Returns:
        Each member's value less the mean of its stratum; and the variance of their sum under the null, exact
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
    """A phone against the others of like length in the same utterance."""
    member = tokens.symbols == symbol
    place = np.char.add(np.char.add(tokens.utts, " "), nulls.length_bins(tokens.frames).astype(str))
    _, strata = np.unique(place, return_inverse=True)
    residuals, variance = stratified(tokens.values, member, strata)
    total = float(residuals.sum())
    all_residuals, _ = stratified(tokens.values, np.ones(len(member), bool), strata)
    mean = nulls.estimate(list(tokens.speakers[member]), residuals, np.ones(len(residuals)), num_draws)
    p = normal_p(total / math.sqrt(variance)) if variance > 0 else 1.0
    return PhoneTest(
        "phone",
        symbol,
        "duration",
        *_counts(tokens, member),
        *mean,
        mean.value / float(all_residuals.std()),
        p,
        p,
    )


def _counts(tokens: _Tokens, member: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    return int(member.sum()), len(set(tokens.utts[member])), len(set(tokens.speakers[member]))


def _emotion_tests(level: str, tokens: _Tokens, num_draws: int, seed: int, least: int) -> list[PhoneTest]:
    """Each phone or word: does its mass depend on the emotion it is said in?"""
    found = []
    for symbol in _frequent(tokens, least):
        member = tokens.symbols == symbol
        utts, first, index = np.unique(tokens.utts[member], return_index=True, return_inverse=True)
        values = np.bincount(index, tokens.values[member]) / np.bincount(
            index
        )  # mean of an utterance's tokens
        speakers, emotions = tokens.speakers[member][first], tokens.emotions[member][first]
        result = grouped(values, emotions, speakers, num_draws, seed)
        if result is not None:
            head = (level, symbol, "emotion", *_counts(tokens, member))
            found.append(
                PhoneTest(*head, result.value, math.nan, math.nan, result.effect, result.p, result.p)
            )
    return found


def _contrast_tests(maps: Maps, usable: Sequence[Case], num_draws: int, seed: int) -> list[PhoneTest]:
    """Does vowels' lead over consonants depend on the emotion, and on whether the decision is right?"""
    d = nulls.contrasts([case.speech() for case in usable]).mean(1)  # (U,)
    speakers = np.array([case.speaker for case in usable])
    emotion = {row.utt: row.emotion for row in maps.phones[0]}
    right = Counter(
        utt for rows in maps.phones for utt in {row.utt for row in rows if row.decision == "right"}
    )
    groups = {
        "emotion": np.array([emotion[case.utt] for case in usable]),
        "decision": np.array(
            ["right" if 2 * right[case.utt] > len(maps.names) else "wrong" for case in usable]
        ),
    }  # of several seeds: what most of them decide
    found = []
    for test, labels in groups.items():
        result = grouped(d, labels, speakers, num_draws, seed)
        if result is not None:
            head = ("kind", "vowel-consonant", test, len(d), len(d), len(set(speakers)))
            found.append(
                PhoneTest(*head, result.value, math.nan, math.nan, result.effect, result.p, result.p)
            )
    return found


class Grouped(NamedTuple):
    """How values differ between groups."""

    value: float  # range of the groups' means; of right and wrong: right - wrong
    effect: float  # share of the variance within strata that the groups explain
    p: float


def grouped(
    values: Floats, groups: npt.NDArray[np.str_], strata: npt.NDArray[np.str_], num_draws: int, seed: int
) -> Grouped | None:
    """Do values depend on the group?  The null: within a stratum (a speaker) any order of the values.

    Args:
        values: (N,).
        groups: names, (N,).
        strata: names, (N,).
        num_draws: D.
        seed: of the draws.

    Returns:
        None if there is nothing to compare: one group, or no stratum with different values.
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
    grid = np.argsort(stratum, kind="stable")  # places by stratum; a draw puts values to places of their own
    keys = stratum[grid] + np.random.default_rng(seed).random((num_draws, len(grid)))
    drawn = centred[grid][np.argsort(keys, axis=1)] @ one_hot[grid] / sizes  # (D, G)
    far = (sizes * drawn**2).sum(1) >= observed - 1e-12
    first_last = (
        float(means[0] - means[1]) if list(names) == ["right", "wrong"] else float(means.max() - means.min())
    )
    return Grouped(first_last, observed / total, float((1 + far.sum()) / (1 + num_draws)))


def _holm(found: list[PhoneTest]) -> list[PhoneTest]:
    corrected = holm([test.p for test in found])
    return [test._replace(p_holm=p) for test, p in zip(found, corrected, strict=True)]
