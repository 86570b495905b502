"""Does the attention matter?  Which frames a masking test replaces, and statistics of the outcomes.

The frames of some phones, a fixed share of an utterance's speech, are replaced by its mean frame:

top         those of the phones with the most attention a frame
bottom      those with the least
random      those of phones drawn at random
vowel       those of vowels drawn at random
consonant   those of consonants drawn at random

All replace the same number of frames; the last phone is cut to fit.  If attention matters, ``top`` lowers
the posterior of the decision most.  Integrated gradients (:mod:`ser.interpret.probing`) are a second opinion
on where the network looks.

Shapes: T frames, S segments, N utterances, D draws.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser.data.tsv import columns, format_interval, format_number, read_tsv, write_tsv
from ser.errors import DataError
from ser.interpret import nulls
from ser.interpret.groups import SIGNS
from ser.interpret.nulls import CONSONANT, VOWEL, Estimate
from ser.scoring.metrics import Floats

Ints = npt.NDArray[np.int64]
DRAWN = ("random", "vowel", "consonant")
CONDITIONS = ("top", "bottom", *DRAWN)
MASKING, GRADIENTS = "masking.tsv", "gradients.tsv"


class Masked(NamedTuple):
    """A row of ``masking.tsv``: one utterance under one condition, mean over draws."""

    utt: str
    speaker: str
    emotion: str
    hyp: str
    condition: str
    frames: int  # replaced
    posterior: float  # of the decision, before
    masked: float  # of the same class, after
    log_odds: float  # how far its log odds fall
    changed: float  # share of draws in which the decision is another


class Gradient(NamedTuple):
    """A row of ``gradients.tsv``: integrated gradients of the decision's logit, one utterance and kind."""

    utt: str
    speaker: str
    emotion: str
    hyp: str
    kind: str
    frames: int
    attention: float  # a frame, against uniform
    magnitude: float  # absolute attribution a frame, against the utterance's mean
    signed: float  # attribution a frame, likewise; above 0 it speaks for the decision
    correlation: float  # of attention and magnitude over the utterance's frames (Spearman)


def choose_frames(
    segments: Ints, weights: Floats, budget: int, num_draws: int, seed: int
) -> dict[str, list[Ints]] | None:
    """Choose the frames that each condition replaces.

    Args:
        segments: (S, 3): first frame, frames, VOWEL, CONSONANT or OTHER.
        weights: attention, (T,).
        budget: number of frames to replace.
        num_draws: D, of the conditions random, vowel and consonant.
        seed: of these draws.

    Returns:
        Condition -> ``budget`` frames for each draw (top and bottom have one draw); None if vowels or
        consonants have fewer frames than that, or the budget is 0.

    >>> segments = np.array([[0, 2, VOWEL], [2, 2, CONSONANT], [4, 1, VOWEL]])
    >>> chosen = choose_frames(segments, np.array([0.1, 0.1, 0.2, 0.2, 0.4]), 2, 1, 0)
    >>> {name: draws[0].tolist() for name, draws in chosen.items() if name != "random"}
    {'top': [2, 4], 'bottom': [0, 1], 'vowel': [0, 4], 'consonant': [2, 3]}
    """
    speech = segments[np.isin(segments[:, 2], (VOWEL, CONSONANT))]
    available = [int(speech[speech[:, 2] == sign, 1].sum()) for sign in SIGNS.values()]
    if budget < 1 or min(available) < budget:
        return None
    random = np.random.default_rng(seed)
    a_frame = np.array([weights[first : first + num].mean() for first, num, _ in speech])
    falling = np.argsort(-a_frame, kind="stable")
    chosen = {
        "top": [_first_frames(speech[falling], budget)],
        "bottom": [_first_frames(speech[falling[::-1]], budget)],
    }
    for condition in DRAWN:
        candidates = speech if condition == "random" else speech[speech[:, 2] == SIGNS[condition]]
        chosen[condition] = [_first_frames(random.permutation(candidates), budget) for _ in range(num_draws)]
    return chosen


def _first_frames(segments: Ints, budget: int) -> Ints:
    """The first ``budget`` frames of the segments in their order, sorted."""
    frames = np.concatenate([np.arange(first, first + num) for first, num, _ in segments])[:budget]
    return np.sort(frames)


# ------------------------------------------------------------------------------------------------ statistics


class MaskingStat(NamedTuple):
    """A row of ``masking_stats.tsv``."""

    seed: str
    condition: str
    utterances: int
    speakers: int
    frames: float  # replaced, mean
    fall: float  # of the decision's posterior
    fall_low: float
    fall_high: float
    log_odds: float
    changed: float  # share of decisions that become others
    against_random: float  # fall - that of random
    against_low: float
    against_high: float
    p_speakers: float  # of that difference, sign-flip test over speakers' means


class GradientStat(NamedTuple):
    """A row of ``gradient_stats.tsv``; means over utterances that have such frames."""

    seed: str
    kind: str  # vowel, consonant ..., or vowel-consonant: their differences
    utterances: int
    speakers: int
    attention: float
    attention_low: float
    attention_high: float
    magnitude: float
    magnitude_low: float
    magnitude_high: float
    signed: float
    correlation: float
    p_speakers: float  # of the magnitude's difference between vowels and consonants


def write_probe_statistics(
    groups: Mapping[str, Sequence[Path]], out: Path, *, num_draws: int, seed: int
) -> str:
    """Write the statistics of the masking test and the gradients over all folds.

    Args:
        groups: name of a seed -> folders with ``masking.tsv`` and ``gradients.tsv``, one a fold.
        out: gets ``masking_stats.tsv`` and ``gradient_stats.tsv``.
        num_draws: D, of speakers.
        seed: of these draws.

    Returns:
        Summary of both tables, for display.

    Raises:
        DataError: a table is missing, or no utterance could be masked.
    """
    masked = {
        name: [row for folder in folders for row in read_tsv(folder / MASKING, Masked)]
        for name, folders in groups.items()
    }
    attributed = {
        name: [read_tsv(folder / GRADIENTS, Gradient) for folder in folders]
        for name, folders in groups.items()
    }
    if not all(masked.values()):
        raise DataError(f"{out}: no utterance has enough vowels and consonants to mask; lower --fraction")
    if len(groups) > 1:
        masked["all"] = [row for rows in masked.values() for row in rows]
        attributed["all"] = [table for tables in attributed.values() for table in tables]
    masking = [row for name, rows in masked.items() for row in _masking_stats(name, rows, num_draws, seed)]
    gradients = [
        row for name, tables in attributed.items() for row in _gradient_stats(name, tables, num_draws, seed)
    ]
    write_tsv(out / "masking_stats.tsv", MaskingStat, masking)
    write_tsv(out / "gradient_stats.tsv", GradientStat, gradients)
    return _summary(masking, gradients)


def _masking_stats(name: str, outcomes: Sequence[Masked], num_draws: int, seed: int) -> Iterator[MaskingStat]:
    by_condition = {
        condition: [row for row in outcomes if row.condition == condition] for condition in CONDITIONS
    }
    random = np.array([row.posterior - row.masked for row in by_condition["random"]])
    for condition, rows in by_condition.items():
        speakers = [row.speaker for row in rows]
        fall = np.array([row.posterior - row.masked for row in rows])
        ones = np.ones(len(fall))
        is_random = condition == "random"
        against = nulls.estimate(speakers, fall - random, ones, num_draws)
        yield MaskingStat(
            name, condition, len({row.utt for row in rows}), len(set(speakers)),
            float(np.mean([row.frames for row in rows])),
            *nulls.estimate(speakers, fall, ones, num_draws),
            float(np.mean([row.log_odds for row in rows])),
            float(np.mean([row.changed for row in rows])),
            *(Estimate(math.nan, math.nan, math.nan) if is_random else against),
            math.nan if is_random else _speakers_p(speakers, fall - random, num_draws, seed),
        )  # fmt: skip


def _speakers_p(speakers: Sequence[str], values: Floats, num_draws: int, seed: int) -> float:
    table = nulls.sums(speakers, values, np.ones(len(values)))
    return nulls.sign_flip(table[:, 0] / table[:, 1], num_draws, seed)


def _gradient_stats(
    name: str, tables: Sequence[Sequence[Gradient]], num_draws: int, seed: int
) -> Iterator[GradientStat]:
    by_kind: dict[str, list[Gradient]] = defaultdict(list)
    pairs: list[tuple[Gradient, Gradient]] = []
    for table in tables:
        consonants = {row.utt: row for row in table if row.kind == "consonant"}
        pairs += [
            (row, consonants[row.utt]) for row in table if row.kind == "vowel" and row.utt in consonants
        ]
        for row in table:
            by_kind[row.kind].append(row)
    for kind, rows in sorted(by_kind.items()):
        correlations = [row.correlation for row in rows if not math.isnan(row.correlation)]
        yield _gradient_stat(
            (name, kind), rows,
            [row.attention for row in rows], [row.magnitude for row in rows], [row.signed for row in rows],
            float(np.mean(correlations)) if correlations else math.nan, math.nan, num_draws,
        )  # fmt: skip
    if pairs:
        vowels = [vowel for vowel, _ in pairs]
        magnitude = [v.magnitude - c.magnitude for v, c in pairs]
        p = _speakers_p([row.speaker for row in vowels], np.array(magnitude), num_draws, seed)
        yield _gradient_stat(
            (name, "vowel-consonant"), vowels,
            [v.attention - c.attention for v, c in pairs], magnitude, [v.signed - c.signed for v, c in pairs],
            math.nan, p, num_draws,
        )  # fmt: skip


def _gradient_stat(
    head: tuple[str, str],
    rows: Sequence[Gradient],
    attention: Sequence[float],
    magnitude: Sequence[float],
    signed: Sequence[float],
    correlation: float,
    p: float,
    num_draws: int,
) -> GradientStat:
    speakers = [row.speaker for row in rows]
    ones = np.ones(len(rows))
    return GradientStat(
        *head, len({row.utt for row in rows}), len(set(speakers)),
        *nulls.estimate(speakers, attention, ones, num_draws),
        *nulls.estimate(speakers, magnitude, ones, num_draws),
        float(np.mean(signed)), correlation, p,
    )  # fmt: skip


def _summary(masking: Sequence[MaskingStat], gradients: Sequence[GradientStat]) -> str:
    """Summary of the last seed, or of all seeds together, for display."""
    last = masking[-1].seed
    masking_lines = [("masked", "fall", "95 %", "changed", "- random", "95 %", "p spk")]
    masking_lines += [
        (
            row.condition,
            f"{row.fall:.3f}", format_interval(row.fall_low, row.fall_high),
            f"{row.changed:.3f}",
            format_number(row.against_random), format_interval(row.against_low, row.against_high),
            format_number(row.p_speakers),
        )
        for row in masking if row.seed == last
    ]  # fmt: skip
    gradient_lines = [("kind", "attn", "95 %", "IG", "95 %", "corr.", "p spk")]
    gradient_lines += [
        (
            row.kind, f"{row.attention:.3f}", format_interval(row.attention_low, row.attention_high),
            f"{row.magnitude:.3f}", format_interval(row.magnitude_low, row.magnitude_high),
            format_number(row.correlation), format_number(row.p_speakers),
        )
        for row in gradients if row.seed == last
    ]  # fmt: skip
    first = masking[-1]
    return "\n".join(
        [
            f"Fall of the decision's posterior, {first.frames:.0f} frames masked "
            f"({first.utterances} utterances, {last})",
            *columns(masking_lines),
            "Attention and integrated gradients (IG) a frame, against the utterance's mean",
            *columns(gradient_lines),
        ]
    )
