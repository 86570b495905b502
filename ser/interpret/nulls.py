"""Vowels against consonants: the contrast of an utterance, and what it would be by chance.

An utterance's contrast is d = r_v - r_c, where r is attention mass a frame against uniform: T times the mean
weight of the vowels' (consonants') frames.  Its nulls, each drawn within the utterance:

permutation  the weights are put to other frames, all orders alike
rotation     the weights are turned round by a random number of frames: they stay as smooth as they are,
             which the permutation's do not, so that its null can be too narrow

Vowels are longer, and attention may go with length.  The matched contrast compares vowels with consonants of
like length (a quarter apart at most) in the same utterance, bin by bin; a bin of v vowels and c consonants
has the weight v c / (v + c).  Its null, ``duration``, lets the members of a bin change places.

Shapes: T frames, K seeds (systems), D draws, S segments, U utterances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser.scoring.metrics import Floats
from ser.scoring.significance import draw_speakers, percentiles

NULLS = ("permutation", "rotation")
VOWEL, CONSONANT, OTHER = 1, -1, 0
_SAME_LENGTH = 1.25  # segments of one bin differ by less than this factor


@dataclass(frozen=True)
class Case:
    """The attention of one utterance with its phones."""

    utt: str
    speaker: str
    weights: Floats  # (T, K), sums to 1 over T
    segments: npt.NDArray[np.int64]  # (S, 3): first frame, frames, VOWEL, CONSONANT or OTHER

    @property
    def frame_kinds(self) -> npt.NDArray[np.int64]:
        """VOWEL, CONSONANT or OTHER of each frame, (T,)."""
        kinds = np.zeros(len(self.weights), np.int64)
        for first, num, kind in self.segments:
            kinds[first : first + num] = kind
        return kinds

    @property
    def has_both(self) -> bool:
        """Whether there is a contrast: at least one vowel and one consonant."""
        return {VOWEL, CONSONANT} <= set(self.segments[:, 2].tolist())

    def speech(self) -> Case:
        """The vowels' and consonants' frames alone, one behind the other, the weights scaled to sum to 1."""
        kept = self.frame_kinds != OTHER
        weights = self.weights[kept]
        spoken = self.segments[self.segments[:, 2] != OTHER]
        firsts = np.cumsum(kept)[spoken[:, 0]] - 1
        return Case(
            self.utt, self.speaker, weights / weights.sum(0), np.column_stack([firsts, spoken[:, 1:]])
        )


def relative_mass(case: Case, kind: int) -> Floats:
    """Mass a frame of the vowels (consonants) against uniform, (K,); NaN without any."""
    mask = case.frame_kinds == kind
    if not mask.any():
        return np.full(case.weights.shape[1], np.nan)
    relative: Floats = case.weights[mask].mean(0) * len(case.weights)
    return relative


def coefficients(case: Case) -> Floats:
    """The contrast as a sum over frames, d = c . a: c is (T,)."""
    kinds = case.frame_kinds
    vowels, consonants = kinds == VOWEL, kinds == CONSONANT
    total = len(kinds)
    weights: Floats = total * (vowels / vowels.sum() - consonants / consonants.sum())
    return weights


def contrasts(cases: Sequence[Case]) -> Floats:
    """The contrast d of each utterance, (U, K)."""
    return np.stack([coefficients(case) @ case.weights for case in cases])


def null(cases: Sequence[Case], kind: str, num_draws: int, seed: int) -> Floats:
    """Draws of the mean contrast under one of :data:`NULLS`, (D, K); a draw is the same for all seeds."""
    draw = {"permutation": _permuted, "rotation": _rotated}[kind]
    random = np.random.default_rng(seed)
    total = np.zeros((num_draws, cases[0].weights.shape[1]))
    for case in cases:
        total += draw(case, num_draws, random)
    return total / len(cases)


def matched(cases: Sequence[Case], num_draws: int, seed: int) -> tuple[Floats, Floats, list[str]]:
    """The matched contrast and its null.

    Returns:
        The contrast of each utterance that has vowels and consonants of like length, (U, K); draws of its
        mean under the null ``duration``, (D, K); and the speakers of these utterances.
    """
    random = np.random.default_rng(seed)
    found, speakers = [], []
    total = np.zeros((num_draws, cases[0].weights.shape[1]))
    for case in cases:
        bins, coefficients, values = _like_lengths(case)
        if not coefficients.any():
            continue
        found.append(coefficients @ values)
        speakers.append(case.speaker)
        keys = bins + random.random(
            (num_draws, len(bins))
        )  # a bin stays in its place, its members change theirs
        total += coefficients[np.argsort(keys, axis=1)] @ values
    return np.array(found), total / max(1, len(found)), speakers


def _like_lengths(case: Case) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """The vowels and consonants of an utterance by length.

    Returns:
        Their bins, rising, (S,); the matched contrast's coefficients, (S,); and the values that these
        multiply, mass a frame against uniform, (S, K).
    """
    spoken = case.segments[case.segments[:, 2] != OTHER]
    spoken = spoken[np.argsort(length_bins(spoken[:, 1]), kind="stable")]
    _, bins = np.unique(length_bins(spoken[:, 1]), return_inverse=True)
    vowel = spoken[:, 2] == VOWEL
    v, c = np.bincount(bins, vowel), np.bincount(bins, ~vowel)
    weight = v * c / (v + c)
    share = weight / max(weight.sum(), 1e-12)
    coefficients = np.where(vowel, (share / np.maximum(v, 1))[bins], -(share / np.maximum(c, 1))[bins])
    ends = np.cumsum(np.vstack([np.zeros((1, case.weights.shape[1])), case.weights]), axis=0)
    mass = ends[spoken[:, 0] + spoken[:, 1]] - ends[spoken[:, 0]]
    return bins, coefficients, mass / spoken[:, 1:2] * len(case.weights)


def _permuted(case: Case, num_draws: int, random: np.random.Generator) -> Floats:
    shuffled = random.permuted(np.tile(coefficients(case), (num_draws, 1)), axis=1)  # (D, T)
    result: Floats = shuffled @ case.weights
    return result


def _rotated(case: Case, num_draws: int, random: np.random.Generator) -> Floats:
    total = len(case.weights)
    spectrum = np.fft.rfft(coefficients(case)).conj()[:, None] * np.fft.rfft(case.weights, axis=0)
    turned = np.fft.irfft(spectrum, total, axis=0)  # (T, K): d after turning the weights by 0 .. T - 1 frames
    result: Floats = turned[random.integers(total, size=num_draws)]
    return result


def length_bins(frames: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Which lengths count as alike.

    >>> length_bins([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).tolist()
    [0, 3, 4, 6, 7, 8, 8, 9, 9, 10]
    """
    bins: npt.NDArray[np.int64] = (
        np.log(np.asarray(frames, np.float64)) / np.log(_SAME_LENGTH) + 1e-9
    ).astype(np.int64)
    return bins


def p_value(observed: float, draws: Floats) -> float:
    """Two-sided: the share of draws, the observed one among them, as far from the draws' mean as it is."""
    centre = draws.mean()
    far = np.abs(draws - centre) >= abs(observed - centre) - 1e-12
    return float((1 + far.sum()) / (1 + len(draws)))


# --------------------------------------------------------------------------------------------------- speakers


class Estimate(NamedTuple):
    """A value with its 95 % interval over draws of speakers; NaN ends with one speaker."""

    value: float
    low: float
    high: float


def sums(speakers: Sequence[str], *columns: npt.ArrayLike) -> Floats:
    """Sums of columns (N,) for each speaker, (speakers, columns)."""
    names, index = np.unique(np.asarray(speakers), return_inverse=True)
    table = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    totals = np.zeros((len(names), table.shape[1]))
    np.add.at(totals, index, table)
    return totals


def estimate(
    speakers: Sequence[str], values: npt.ArrayLike, weights: npt.ArrayLike, num_draws: int
) -> Estimate:
    """A weighted mean; speakers are drawn again with all they said."""
    w = np.asarray(weights, np.float64)
    table = sums(speakers, np.asarray(values, np.float64) * w, w)
    value = float(table[:, 0].sum() / table[:, 1].sum())
    if len(table) < 2 or num_draws == 0:
        return Estimate(value, np.nan, np.nan)
    drawn = draw_speakers(len(table), num_draws, 0) @ table  # (D, 2)
    return Estimate(value, *percentiles(drawn[:, 0] / drawn[:, 1]))


def effect_size(speakers: Sequence[str], values: npt.ArrayLike, num_draws: int) -> Estimate:
    """Cohen's d of paired differences: their mean over their standard deviation."""
    x = np.asarray(values, np.float64)
    table = sums(speakers, np.ones_like(x), x, x * x)

    def effect(total: Floats) -> Floats:
        n, mean = total[..., 0], total[..., 1] / total[..., 0]
        variance = np.maximum(total[..., 2] / n - mean**2, 0) * n / np.maximum(n - 1, 1)
        result: Floats = mean / np.sqrt(np.where(variance > 0, variance, np.nan))
        return result

    value = float(effect(table.sum(0)))
    if len(table) < 2 or num_draws == 0:
        return Estimate(value, np.nan, np.nan)
    return Estimate(value, *percentiles(effect(draw_speakers(len(table), num_draws, 0) @ table)))


def sign_flip(values: npt.ArrayLike, num_draws: int, seed: int) -> float:
    """Two-sided p of speakers' values against a mean of 0 by turning signs: all ways up to 2^14, or draws."""
    x = np.asarray(values, np.float64)
    observed = abs(x.mean())
    if len(x) <= 14:
        signs = 1 - 2 * ((np.arange(2 ** len(x))[:, None] >> np.arange(len(x))) & 1)
        return float((np.abs(signs @ x / len(x)) >= observed - 1e-12).mean())
    signs = np.random.default_rng(seed).choice([-1, 1], size=(num_draws, len(x)))
    return float((1 + (np.abs(signs @ x / len(x)) >= observed - 1e-12).sum()) / (1 + num_draws))
