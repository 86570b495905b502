"""Statistics of attention over phones and words, over utterances, speakers and seeds.

=====================  ==================================================================================
``vowel_consonant``    the paper's claim: vowels against consonants, each seed and all of them
``phone_stats``        mass a frame of every kind, phone and word: all, by emotion, by right or wrong decision
``phone_tests``        what of it is more than chance; p also after Holm's correction
=====================  ==================================================================================

Intervals are 95 %, over speakers drawn again.  Shapes: U utterances, K seeds, D draws.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ser.data import files
from ser.data.tsv import columns, ends, number, read_tsv, write_tsv
from ser.errors import DataError
from ser.interpret import nulls
from ser.interpret.groups import SIGNS, GroupStat, PhoneTest, cases, group_stats, map_files, read_maps, tests
from ser.interpret.nulls import OTHER, Case
from ser.scoring.metrics import Floats

log = logging.getLogger("ser")


class VowelConsonant(NamedTuple):
    """A row of ``vowel_consonant.tsv``."""

    seed: str  # a map's name, or all: the mean over them
    frames: str  # all, or speech: without silence, fillers and what is not aligned
    utterances: int
    speakers: int
    vowel: float  # mass a frame against uniform, mean over utterances
    consonant: float
    other: float  # silence, fillers and what is not aligned; NaN among speech frames
    difference: float  # vowel - consonant, mean over utterances
    difference_low: float
    difference_high: float
    ratio: float
    effect: float  # Cohen's d of the paired differences
    effect_low: float
    effect_high: float
    p_speakers: float  # signs of speakers' means turned
    p_permutation: float
    p_rotation: float
    matched: float  # difference between vowels and consonants of like length in the same utterance
    matched_low: float
    matched_high: float
    p_duration: float  # of the matched difference


def write_statistics(
    folders: Sequence[Path], out: Path, *, num_draws: int, seed: int, min_segments: int
) -> str:
    """Write the three tables, unless they are up to date; give the first one back as lines for people.

    Args:
        folders: of maps, one a seed.
        out: folder to write to.
        num_draws: D, of nulls and of speakers.
        seed: of these draws.
        min_segments: phones and words with fewer are not tested.

    Raises:
        DataError: maps that cannot be used, or no utterance with both vowels and consonants.
    """
    settings = {
        "draws": num_draws,
        "seed": seed,
        "min_segments": min_segments,
        "maps": [f.name for f in folders],
    }
    inputs = map_files(folders)
    path = out / "vowel_consonant.tsv"
    if files.is_made(out, settings, inputs):
        log.info("%s: up to date", out)
        return summary(read_tsv(path, VowelConsonant))
    maps = read_maps(folders)
    usable = cases(maps)
    if not usable:
        raise DataError(f"{folders[0]}: no utterance has both vowels and consonants; check conf/phones.yaml")
    (out / files.MADE).unlink(missing_ok=True)
    table = vowel_consonant(usable, maps.names, num_draws, seed)
    write_tsv(path, VowelConsonant, table)
    write_tsv(out / "phone_stats.tsv", GroupStat, group_stats(maps, num_draws))
    write_tsv(out / "phone_tests.tsv", PhoneTest, tests(maps, usable, num_draws, seed, min_segments))
    files.write_made(out, settings, inputs)
    return summary(table)


# ---------------------------------------------------------------------------------- vowels against consonants


def vowel_consonant(
    usable: Sequence[Case], names: Sequence[str], num_draws: int, seed: int
) -> list[VowelConsonant]:
    """The table that answers the paper's claim; see the module's text and :mod:`ser.interpret.nulls`.

    Args:
        usable: utterances, (U,), with the attention of K seeds.
        names: of the seeds, (K,).
        num_draws: D, of nulls and of speakers.
        seed: of these draws.

    Returns:
        For all frames, then for speech: each seed, then (of several) their mean, called ``all``.
    """
    rows = []
    for frames, chosen in (("all", list(usable)), ("speech", [case.speech() for case in usable])):
        d = nulls.contrasts(chosen)  # (U, K)
        drawn = {kind: nulls.null(chosen, kind, num_draws, seed) for kind in nulls.NULLS}  # (D, K) each
        like, exchanged, spoken_by = nulls.matched(chosen, num_draws, seed)
        relative = {
            name: np.stack([nulls.relative_mass(case, sign) for case in chosen])  # (U, K)
            for name, sign in (*SIGNS.items(), ("other", OTHER))
        }
        picks = [(name, [k]) for k, name in enumerate(names)]
        for name, k in [*picks, ("all", list(range(len(names))))] if len(names) > 1 else picks:
            means = {kind: _mean(values[:, k]) for kind, values in relative.items()}
            seeds = {kind: draws[:, k].mean(1) for kind, draws in drawn.items()}
            row = _row(name, frames, chosen, d[:, k].mean(1), means, seeds, seed)
            if len(like):
                of_seeds = like[:, k].mean(1)
                found = nulls.estimate(spoken_by, of_seeds, np.ones(len(of_seeds)), num_draws)
                p = nulls.p_value(found.value, exchanged[:, k].mean(1))
                row = row._replace(
                    matched=found.value, matched_low=found.low, matched_high=found.high, p_duration=p
                )
            rows.append(row)
    return rows


def _mean(values: Floats) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else math.nan


def _row(
    name: str,
    frames: str,
    chosen: Sequence[Case],
    d: Floats,
    means: Mapping[str, float],
    drawn: Mapping[str, Floats],
    seed: int,
) -> VowelConsonant:
    """One row, of contrasts d (U,) and draws of their mean under each null, (D,)."""
    speakers = [case.speaker for case in chosen]
    num_draws = len(drawn["rotation"])
    difference = nulls.estimate(speakers, d, np.ones(len(d)), num_draws)
    effect = nulls.effect_size(speakers, d, num_draws)
    by_speaker = nulls.sums(speakers, d, np.ones(len(d)))
    return VowelConsonant(
        seed=name,
        frames=frames,
        utterances=len(chosen),
        speakers=len(by_speaker),
        **means,
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        ratio=means["vowel"] / means["consonant"],
        effect=effect.value,
        effect_low=effect.low,
        effect_high=effect.high,
        p_speakers=nulls.sign_flip(by_speaker[:, 0] / by_speaker[:, 1], num_draws, seed),
        **{f"p_{kind}": nulls.p_value(difference.value, drawn[kind]) for kind in nulls.NULLS},
        matched=math.nan,
        matched_low=math.nan,
        matched_high=math.nan,
        p_duration=math.nan,
    )


def summary(table: Sequence[VowelConsonant]) -> str:
    """The most of the table, for people."""
    head = ("frames", "seed", "vowel", "cons.", "other", "diff.", "95 %", "p rot", "match", "p dur")
    lines: list[tuple[str, ...]] = [head]
    for row in table:
        levels = map(number, (row.vowel, row.consonant, row.other, row.difference))
        interval = ends(row.difference_low, row.difference_high)
        rest = map(number, (row.p_rotation, row.matched, row.p_duration))
        lines.append((row.frames, row.seed.removeprefix("seed"), *levels, interval, *rest))
    first = table[0]
    title = (
        f"Attention a frame against uniform: {first.utterances} utterances, {first.speakers} speakers\n"
        "diff.: vowels - consonants; match: of like length; p rot, p dur: of their nulls"
    )
    return "\n".join([title, *columns(lines)])
