"""The maps of a system's seeds, and attention by kind, phone and word, by emotion and decision.

Intervals are 95 %, speakers resampled.  Shapes: T frames, K seeds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ser.data import tables
from ser.data.datadir import MAIN
from ser.data.tsv import read_tsv
from ser.errors import DataError
from ser.interpret import nulls
from ser.interpret.maps import Attended
from ser.interpret.nulls import CONSONANT, OTHER, VOWEL, UtteranceAttention
from ser.scoring.metrics import Floats

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
    """The files of maps that exist, to record as inputs in ``made.json``: name -> path."""
    names = ("phone_attn.tsv", "word_attn.tsv", "attn.scp", "post", MAIN)
    paths = {f"{folder.name}/{name}": folder / name for folder in folders for name in names}
    return {name: path for name, path in paths.items() if path.exists()}


def _place(row: Attended) -> tuple[object, ...]:
    return row.utt, row.symbol, row.first, row.frames


def contrastable(maps: Maps) -> list[UtteranceAttention]:
    """The attention of each utterance that has both vowels and consonants."""
    spans: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    speakers = {}
    for row in maps.phones[0]:
        speakers[row.utt] = row.speaker
        if row.first >= 0:
            spans[row.utt].append((row.first, row.frames, SIGNS.get(row.kind, OTHER)))
    utterances = [
        UtteranceAttention(utt, speakers[utt], maps.weights[utt], np.array(rows))
        for utt, rows in spans.items()
    ]
    return [utterance for utterance in utterances if utterance.has_both]


# ----------------------------------------------------------------------------------------------------- groups


def group_stats(maps: Maps, num_draws: int) -> Iterator[GroupStat]:
    """Statistics of every kind, phone and word: all together, by emotion, by decision."""
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
