"""Vowels against consonants: the contrast of an utterance and its distributions under null hypotheses.

An utterance's contrast is d = r_v - r_c, where r is attention mass a frame against uniform: T times the mean
weight of the vowels' (consonants') frames.  The nulls, each drawn within the utterance:

permutation  the weights in random order
rotation     the weights shifted by a random number of frames, circularly: they stay as smooth as they are,
             which permuted ones do not, so that the null of the permutation can be too narrow

Vowels are longer, and attention may depend on length.  The length-matched contrast compares vowels with
consonants of like length (a quarter apart at most) in the same utterance, bin by bin; a bin of v vowels and c
consonants has the weight v c / (v + c).  Its null, ``duration``, exchanges the members of a bin at random.

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
class UtteranceAttention:
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

    def speech(self) -> UtteranceAttention:
        """The frames of vowels and consonants only, concatenated, the weights scaled to sum to 1.

        Weights that are all 0 stay so: there is no contrast then.
        """
        kept = self.frame_kinds != OTHER
        weights = self.weights[kept]
        spoken = self.segments[self.segments[:, 2] != OTHER]
        firsts = np.cumsum(kept)[spoken[:, 0]] - 1
        total = weights.sum(0)
        scaled = weights / np.where(total > 0, total, 1)
        return UtteranceAttention(self.utt, self.speaker, scaled, np.column_stack([firsts, spoken[:, 1:]]))


def relative_mass(utterance: UtteranceAttention, kind: int) -> Floats:
    """Mass a frame of the vowels (consonants) against uniform, (K,); NaN without any."""
    mask = utterance.frame_kinds == kind
    if not mask.any():
        return np.full(utterance.weights.shape[1], np.nan)
    relative: Floats = utterance.weights[mask].mean(0) * len(utterance.weights)
    return relative


def coefficients(utterance: UtteranceAttention) -> Floats:
    """The contrast as a sum over frames, d = c . a: c is (T,)."""
    kinds = utterance.frame_kinds
    vowels, consonants = kinds == VOWEL, kinds == CONSONANT
    total = len(kinds)
    weights: Floats = total * (vowels / vowels.sum() - consonants / consonants.sum())
    return weights


def contrasts(utterances: Sequence[UtteranceAttention]) -> Floats:
    """The contrast d of each utterance, (U, K)."""
    return np.stack([coefficients(utterance) @ utterance.weights for utterance in utterances])


def null(utterances: Sequence[UtteranceAttention], kind: str, num_draws: int, seed: int) -> Floats:
    """Draws of the mean contrast under one of :data:`NULLS`, (D, K); all seeds share the draws."""
    draw = {"permutation": _permuted, "rotation": _rotated}[kind]
    random = np.random.default_rng(seed)
    total = np.zeros((num_draws, utterances[0].weights.shape[1]))
    for utterance in utterances:
        total += draw(utterance, num_draws, random)
    return total / len(utterances)


def length_matched_contrast(
    utterances: Sequence[UtteranceAttention], num_draws: int, seed: int
) -> tuple[Floats, Floats, list[str]]:
    """The length-matched contrast and its null.

    Returns:
        The contrast of each utterance that has vowels and consonants of like length, (U, K); draws of its
        mean under the null ``duration``, (D, K); and the speakers of these utterances.
    """
    random = np.random.default_rng(seed)
    matched, speakers = [], []
    total = np.zeros((num_draws, utterances[0].weights.shape[1]))
    for utterance in utterances:
        bins, coefficients, values = _like_lengths(utterance)
        if not coefficients.any():
            continue
        matched.append(coefficients @ values)
        speakers.append(utterance.speaker)
        keys = bins + random.random((num_draws, len(bins)))  # sorting them permutes within each bin
        total += coefficients[np.argsort(keys, axis=1)] @ values
    return np.array(matched), total / max(1, len(matched)), speakers


def _like_lengths(utterance: UtteranceAttention) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Bin the vowels and consonants of an utterance by length.

    Returns:
        Their bins in rising order, (S,); the coefficients of the length-matched contrast, (S,); and the
        values that these multiply, mass a frame against uniform, (S, K).
    """
    spoken = utterance.segments[utterance.segments[:, 2] != OTHER]
    spoken = spoken[np.argsort(length_bins(spoken[:, 1]), kind="stable")]
    _, bins = np.unique(length_bins(spoken[:, 1]), return_inverse=True)
    vowel = spoken[:, 2] == VOWEL
    v, c = np.bincount(bins, vowel), np.bincount(bins, ~vowel)
    weight = v * c / (v + c)
    share = weight / max(weight.sum(), 1e-12)
    coefficients = np.where(vowel, (share / np.maximum(v, 1))[bins], -(share / np.maximum(c, 1))[bins])
    ends = np.cumsum(np.vstack([np.zeros((1, utterance.weights.shape[1])), utterance.weights]), axis=0)
    mass = ends[spoken[:, 0] + spoken[:, 1]] - ends[spoken[:, 0]]
    return bins, coefficients, mass / spoken[:, 1:2] * len(utterance.weights)


def _permuted(utterance: UtteranceAttention, num_draws: int, random: np.random.Generator) -> Floats:
    shuffled = random.permuted(np.tile(coefficients(utterance), (num_draws, 1)), axis=1)  # (D, T)
    result: Floats = shuffled @ utterance.weights
    return result


def _rotated(utterance: UtteranceAttention, num_draws: int, random: np.random.Generator) -> Floats:
    total = len(utterance.weights)
    spectrum = np.fft.rfft(coefficients(utterance)).conj()[:, None] * np.fft.rfft(utterance.weights, axis=0)
    rotated = np.fft.irfft(spectrum, total, axis=0)  # (T, K): d after a rotation by 0 .. T - 1 frames
    result: Floats = rotated[random.integers(total, size=num_draws)]
    return result


def length_bins(frames: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Bins of lengths; two lengths count as alike if they share one.

    >>> length_bins([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).tolist()
    [0, 3, 4, 6, 7, 8, 8, 9, 9, 10]
    """
    bins: npt.NDArray[np.int64] = (
        np.log(np.asarray(frames, np.float64)) / np.log(_SAME_LENGTH) + 1e-9
    ).astype(np.int64)
    return bins


def p_value(observed: float, draws: Floats) -> float:
    """Two-sided p-value around the mean of the draws; the observation counts as one draw."""
    centre = draws.mean()
    far = np.abs(draws - centre) >= abs(observed - centre) - 1e-12
    return float((1 + far.sum()) / (1 + len(draws)))


# --------------------------------------------------------------------------------------------------- speakers


class Estimate(NamedTuple):
    """A value with its 95 % interval, speakers resampled; the ends are NaN with a single speaker."""

    value: float
    low: float
    high: float


def sums(speakers: Sequence[str], *columns: npt.ArrayLike) -> Floats:
    """Sums of columns (N,) over the rows of each speaker, (speakers, columns)."""
    names, index = np.unique(np.asarray(speakers), return_inverse=True)
    table = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    totals = np.zeros((len(names), table.shape[1]))
    np.add.at(totals, index, table)
    return totals


def estimate(
    speakers: Sequence[str], values: npt.ArrayLike, weights: npt.ArrayLike, num_draws: int
) -> Estimate:
    """A weighted mean and its interval; speakers are resampled with all their rows."""
    w = np.asarray(weights, np.float64)
    table = sums(speakers, np.asarray(values, np.float64) * w, w)
    value = float(table[:, 0].sum() / table[:, 1].sum())
    if len(table) < 2 or num_draws == 0:
        return Estimate(value, np.nan, np.nan)
    drawn = draw_speakers(len(table), num_draws, 0) @ table  # (D, 2)
    return Estimate(value, *percentiles(drawn[:, 0] / drawn[:, 1]))


def effect_size(speakers: Sequence[str], values: npt.ArrayLike, num_draws: int) -> Estimate:
    """Cohen's d of paired differences: their mean over their standard deviation; NaN if all are equal."""
    x = np.asarray(values, np.float64)
    table = sums(speakers, np.ones_like(x), x, x * x)

    def effect(total: Floats) -> Floats:
        n, mean = total[..., 0], total[..., 1] / total[..., 0]
        variance = np.maximum(total[..., 2] / n - mean**2, 0) * n / np.maximum(n - 1, 1)
        result: Floats = mean / np.sqrt(np.where(variance > 0, variance, np.nan))
        return result

    value = float(effect(table.sum(0)))
    if len(table) < 2 or num_draws == 0 or np.isnan(value):
        return Estimate(value, np.nan, np.nan)
    return Estimate(value, *percentiles(effect(draw_speakers(len(table), num_draws, 0) @ table)))


def sign_flip(values: npt.ArrayLike, num_draws: int, seed: int) -> float:
    """Two-sided sign-flip test of speakers' values against a mean of 0: exact up to 14 speakers."""
    x = np.asarray(values, np.float64)
    observed = abs(x.mean())
    if len(x) <= 14:
        signs = 1 - 2 * ((np.arange(2 ** len(x))[:, None] >> np.arange(len(x))) & 1)
        return float((np.abs(signs @ x / len(x)) >= observed - 1e-12).mean())
    signs = np.random.default_rng(seed).choice([-1, 1], size=(num_draws, len(x)))
    return float((1 + (np.abs(signs @ x / len(x)) >= observed - 1e-12).sum()) / (1 + num_draws))
