"""Statistics of attention over phones and words, over utterances, speakers and seeds.

=====================  ==================================================================================
``vowel_consonant``    the paper's claim: vowels against consonants, each seed and all of them
``phone_stats``        mass a frame of every kind, phone and word: all, by emotion, by right or wrong decision
``phone_tests``        tests of phones, words and contrasts; p also after Holm's correction
=====================  ==================================================================================

Intervals are 95 %, speakers resampled.  Shapes: U utterances, K seeds, D draws.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ser.data import files
from ser.data.tsv import columns, format_interval, format_number, read_tsv, write_tsv
from ser.errors import DataError
from ser.interpret import nulls
from ser.interpret.groups import SIGNS, GroupStat, contrastable, group_stats, map_files, read_maps
from ser.interpret.nulls import OTHER, UtteranceAttention
from ser.interpret.phone_tests import PhoneTest, attention_tests
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
    ratio: float  # vowel / consonant; NaN if consonants have no attention
    effect: float  # Cohen's d of the paired differences
    effect_low: float
    effect_high: float
    p_speakers: float  # sign-flip test over speakers' means
    p_permutation: float
    p_rotation: float
    matched: float  # difference between vowels and consonants of like length in the same utterance
    matched_low: float
    matched_high: float
    p_duration: float  # of the matched difference


def write_statistics(
    folders: Sequence[Path], out: Path, *, num_draws: int, seed: int, min_segments: int
) -> str:
    """Write the three tables, unless they are up to date.

    Args:
        folders: of maps, one a seed.
        out: folder to write to.
        num_draws: D, of nulls and of speakers.
        seed: of these draws.
        min_segments: phones and words with fewer are not tested.

    Returns:
        Summary of the first table, for display.

    Raises:
        DataError: the maps cannot be used, or no utterance has both vowels and consonants.
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
    utterances = contrastable(maps)
    if not utterances:
        raise DataError(f"{folders[0]}: no utterance has both vowels and consonants; check conf/phones.yaml")
    (out / files.MADE).unlink(missing_ok=True)
    table = vowel_consonant(utterances, maps.names, num_draws, seed)
    write_tsv(path, VowelConsonant, table)
    outputs = [path, out / "phone_stats.tsv", out / "phone_tests.tsv"]
    write_tsv(outputs[1], GroupStat, group_stats(maps, num_draws))
    tests = attention_tests(maps, utterances, num_draws, seed, min_segments)
    write_tsv(outputs[2], PhoneTest, tests)
    files.write_made(out, settings, inputs, outputs)
    return summary(table)


# ---------------------------------------------------------------------------------- vowels against consonants


def vowel_consonant(
    utterances: Sequence[UtteranceAttention], names: Sequence[str], num_draws: int, seed: int
) -> list[VowelConsonant]:
    """The table that tests the paper's claim, see :mod:`ser.interpret.nulls`.

    Args:
        utterances: (U,), each with the attention of K seeds.
        names: of the seeds, (K,).
        num_draws: D, of nulls and of speakers.
        seed: of these draws.

    Returns:
        For all frames, then for speech: each seed, then (of several) their mean, called ``all``.
    """
    rows = []
    spoken = [utterance.speech() for utterance in utterances]
    for frames, chosen in (("all", list(utterances)), ("speech", spoken)):
        d = nulls.contrasts(chosen)  # (U, K)
        drawn = {kind: nulls.null(chosen, kind, num_draws, seed) for kind in nulls.NULLS}  # (D, K) each
        matched, exchanged, speakers = nulls.length_matched_contrast(chosen, num_draws, seed)
        relative = {
            name: np.stack([nulls.relative_mass(utterance, sign) for utterance in chosen])  # (U, K)
            for name, sign in (*SIGNS.items(), ("other", OTHER))
        }
        picks = [(name, [k]) for k, name in enumerate(names)]
        for name, k in [*picks, ("all", list(range(len(names))))] if len(names) > 1 else picks:
            means = {kind: _mean(values[:, k]) for kind, values in relative.items()}
            seeds = {kind: draws[:, k].mean(1) for kind, draws in drawn.items()}
            row = _row(name, frames, chosen, d[:, k].mean(1), means, seeds, seed)
            if len(matched):
                of_seeds = matched[:, k].mean(1)
                value, low, high = nulls.estimate(speakers, of_seeds, np.ones(len(of_seeds)), num_draws)
                p = nulls.p_value(value, exchanged[:, k].mean(1))
                row = row._replace(matched=value, matched_low=low, matched_high=high, p_duration=p)
            rows.append(row)
    return rows


def _mean(values: Floats) -> float:
    """The mean of the values that are not NaN; NaN if none is left."""
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if len(valid) else math.nan


def _row(
    name: str,
    frames: str,
    utterances: Sequence[UtteranceAttention],
    d: Floats,
    means: Mapping[str, float],
    drawn: Mapping[str, Floats],
    seed: int,
) -> VowelConsonant:
    """One row, of contrasts d (U,) and draws of their mean under each null, (D,)."""
    speakers = [utterance.speaker for utterance in utterances]
    num_draws = len(drawn["rotation"])
    difference = nulls.estimate(speakers, d, np.ones(len(d)), num_draws)
    effect = nulls.effect_size(speakers, d, num_draws)
    by_speaker = nulls.sums(speakers, d, np.ones(len(d)))
    return VowelConsonant(
        seed=name,
        frames=frames,
        utterances=len(utterances),
        speakers=len(by_speaker),
        **means,
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        ratio=means["vowel"] / means["consonant"] if means["consonant"] > 0 else math.nan,
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
    """Summary of the table, for display."""
    head = ("frames", "seed", "vowel", "cons.", "other", "diff.", "95 %", "p rot", "match", "p dur")
    lines: list[tuple[str, ...]] = [head]
    for row in table:
        levels = map(format_number, (row.vowel, row.consonant, row.other, row.difference))
        interval = format_interval(row.difference_low, row.difference_high)
        tests = map(format_number, (row.p_rotation, row.matched, row.p_duration))
        lines.append((row.frames, row.seed.removeprefix("seed"), *levels, interval, *tests))
    first = table[0]
    title = (
        f"Attention a frame against uniform: {first.utterances} utterances, {first.speakers} speakers\n"
        "diff.: vowels - consonants; match: of like length; p: rotation, duration null"
    )
    return "\n".join([title, *columns(lines)])
