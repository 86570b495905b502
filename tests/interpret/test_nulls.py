"""Nulls and intervals: against planted attention, other libraries and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ser.interpret import nulls
from ser.interpret.nulls import CONSONANT, OTHER, VOWEL, UtteranceAttention
from ser.interpret.phone_tests import permutation_test, stratified
from ser.scoring.significance import holm
from tests.interpret.conftest import planted_attention


def tiny_utterance() -> UtteranceAttention:
    weights = np.array([[0.05], [0.2], [0.3], [0.1], [0.05], [0.3]])
    return UtteranceAttention("u", "s", weights, np.array([[0, 1, OTHER], [1, 2, VOWEL], [3, 3, CONSONANT]]))


def test_contrast_by_hand() -> None:
    utterance = tiny_utterance()
    assert nulls.relative_mass(utterance, VOWEL) == pytest.approx([6 * 0.5 / 2])
    assert nulls.relative_mass(utterance, CONSONANT) == pytest.approx([6 * 0.45 / 3])
    assert nulls.contrasts([utterance]) == pytest.approx(np.array([[1.5 - 0.9]]))
    speech = utterance.speech()
    assert speech.weights[:, 0] == pytest.approx(np.array([0.2, 0.3, 0.1, 0.05, 0.3]) / 0.95)
    assert speech.segments.tolist() == [[0, 2, VOWEL], [2, 3, CONSONANT]]
    assert nulls.contrasts([speech]) == pytest.approx(np.array([[5 * (0.25 - 0.15) / 0.95]]))


def test_rotation_is_what_rolling_gives() -> None:
    utterance = tiny_utterance()
    drawn = nulls.null([utterance], "rotation", 2000, 0)[:, 0]
    rolled = [
        float(nulls.coefficients(utterance) @ np.roll(utterance.weights[:, 0], -shift)) for shift in range(6)
    ]
    assert sorted(set(drawn.round(9))) == pytest.approx(sorted(set(np.round(rolled, 9))))
    assert drawn.mean() == pytest.approx(np.mean(rolled), abs=0.05)


def test_permutation_has_the_mean_and_the_variance_of_all_orders() -> None:
    """Exact moments of a linear rank statistic: mean 0 since the coefficients sum to 0."""
    utterance = planted_attention(3, num=1)[0]
    drawn = nulls.null([utterance], "permutation", 20000, 0)[:, 0]
    c, a = nulls.coefficients(utterance), utterance.weights[:, 0]
    variance = c.var() * a.var() * len(a) ** 2 / (len(a) - 1)
    assert drawn.mean() == pytest.approx(0, abs=4 * np.sqrt(variance / 20000))
    assert drawn.var() == pytest.approx(variance, rel=0.05)


def test_a_planted_factor_is_found_as_it_is() -> None:
    utterances = [utterance.speech() for utterance in planted_attention(1, factor=1.5, num=200)]
    vowel = np.mean([nulls.relative_mass(utterance, VOWEL) for utterance in utterances])
    consonant = np.mean([nulls.relative_mass(utterance, CONSONANT) for utterance in utterances])
    assert vowel / consonant == pytest.approx(1.5, rel=0.02)
    d = float(nulls.contrasts(utterances).mean())
    for kind in nulls.NULLS:
        drawn = nulls.null(utterances, kind, 199, 0)[:, 0]
        assert drawn.mean() == pytest.approx(0, abs=0.02)
        assert nulls.p_value(d, drawn) == 1 / 200
    matched, drawn, speakers = nulls.length_matched_contrast(utterances, 199, 0)
    assert len(speakers) == len(matched) == 200
    assert matched.mean() == pytest.approx(d, rel=0.05)  # vowels and consonants are equally long here
    assert drawn.mean() == pytest.approx(0, abs=0.02)
    assert nulls.p_value(float(matched.mean()), drawn[:, 0]) == 1 / 200
    by_speaker = nulls.sums(
        [utterance.speaker for utterance in utterances], nulls.contrasts(utterances)[:, 0], np.ones(200)
    )
    assert nulls.sign_flip(by_speaker[:, 0] / by_speaker[:, 1], 99, 0) == 2 / 2**6


def test_matched_contrast_by_hand() -> None:
    """Lengths 2 2 2 and 8: one vowel against two consonants of like length; the long vowel has no partner."""
    lengths, kinds = [2, 2, 2, 8], [VOWEL, CONSONANT, CONSONANT, VOWEL]
    weights = np.repeat([0.15, 0.05, 0.1, 0.05], lengths)
    firsts = np.cumsum(lengths) - lengths
    utterance = UtteranceAttention("u", "s", weights[:, None], np.column_stack([firsts, lengths, kinds]))
    value, drawn, _ = nulls.length_matched_contrast([utterance], 500, 0)
    assert value[0, 0] == pytest.approx(14 * (0.15 - 0.075))
    possible = [14 * (x - (0.3 - x) / 2) for x in (0.15, 0.05, 0.1)]
    assert sorted(set(drawn[:, 0].round(9))) == pytest.approx(sorted(possible))
    alone = UtteranceAttention("u", "s", weights[:10, None], np.array([[0, 2, VOWEL], [2, 8, CONSONANT]]))
    assert len(nulls.length_matched_contrast([alone], 5, 0)[0]) == 0


@pytest.mark.parametrize("kind", [*nulls.NULLS, "duration"])
def test_p_is_uniform_when_attention_knows_nothing_of_phones(kind: str) -> None:
    """Kolmogorov-Smirnov over 150 corpora of 12 utterances; the seeds are fixed."""
    ps = []
    for seed in range(150):
        utterances = planted_attention(1000 + seed, num=12)
        value, drawn = nulls.contrasts(utterances), np.empty(0)
        if kind == "duration":
            value, drawn, _ = nulls.length_matched_contrast(utterances, 99, seed)
        else:
            drawn = nulls.null(utterances, kind, 99, seed)
        ps.append(nulls.p_value(float(value.mean()), drawn[:, 0]))
    assert stats.kstest(ps, "uniform").pvalue > 0.01


def test_smooth_attention_needs_rotation() -> None:
    """Weights that last as long as a phone: the permutation is far too sure, the rotation is not."""
    ps: dict[str, list[float]] = {"permutation": [], "rotation": []}
    for seed in range(100):
        utterances = planted_attention(5000 + seed, num=8, smooth=6)
        d = float(nulls.contrasts(utterances).mean())
        for kind, values in ps.items():
            values.append(nulls.p_value(d, nulls.null(utterances, kind, 99, seed)[:, 0]))
    share = {kind: float(np.mean(np.array(values) <= 0.05)) for kind, values in ps.items()}
    assert share["permutation"] > 0.15
    assert share["rotation"] < 0.12


def test_matching_takes_length_away() -> None:
    """Attention that grows with a segment's length, and vowels longer: no contrast is left of it."""
    utterances = []
    random = np.random.default_rng(0)
    for number in range(150):
        lengths = random.integers(3, 20, size=24)
        kinds = np.where(random.random(24) < lengths / 22, VOWEL, CONSONANT)
        firsts = np.cumsum(lengths) - lengths
        weights = np.repeat(lengths.astype(float), lengths)
        segments = np.column_stack([firsts, lengths, kinds])
        utterances.append(
            UtteranceAttention(f"u{number}", f"s{number % 5}", (weights / weights.sum())[:, None], segments)
        )
    assert all(utterance.has_both for utterance in utterances)
    d = float(nulls.contrasts(utterances).mean())
    assert d > 0.3
    assert nulls.p_value(d, nulls.null(utterances, "permutation", 299, 0)[:, 0]) == 1 / 300
    value, drawn, _ = nulls.length_matched_contrast(utterances, 299, 0)
    assert abs(float(value.mean())) < 0.1 * d


def test_stratified_moments_are_those_of_drawing_anew() -> None:
    random = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2, 3], [5, 8, 1, 3])
    values = random.normal(size=17)
    member = random.random(17) < 0.4
    residuals, variance = stratified(values, member, strata)
    drawn = []
    for _ in range(20000):
        keys = strata + random.random(17)
        drawn.append(float((values[member[np.argsort(keys)]]).sum()))
    means = np.bincount(strata, values) / np.bincount(strata)
    assert np.mean(drawn) == pytest.approx(float(means[strata][member].sum()), abs=0.03)
    assert np.var(drawn) == pytest.approx(variance, rel=0.05)
    assert residuals.sum() == pytest.approx(float(values[member].sum() - means[strata][member].sum()))


def test_sign_flip_is_scipys_exact_permutation_test() -> None:
    x = np.array([0.3, -0.1, 0.5, 0.2, 0.05, 0.4, -0.02])
    exact = stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert nulls.sign_flip(x, 9, 0) == pytest.approx(exact.pvalue)


def test_permutation_test_is_scipys_anova_by_permutation() -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=40) + np.repeat([0.0, 0.8], 20)
    groups = np.repeat(["x", "y"], 20)
    one = np.zeros(40).astype(str)
    result = permutation_test(values, groups, one, 9999, 0)
    assert result is not None
    slope = stats.pearsonr(values, groups == "y").statistic
    assert result.effect == pytest.approx(slope**2)
    reference = stats.permutation_test(
        (values[:20], values[20:]), lambda a, b: abs(a.mean() - b.mean()), n_resamples=9999,
        alternative="greater", rng=np.random.default_rng(0),
    )  # fmt: skip
    assert result.p == pytest.approx(reference.pvalue, abs=0.01)
    assert permutation_test(values, one, one, 9, 0) is None


def test_permutation_test_moves_values_within_a_speaker_only() -> None:
    """One speaker is high and always angry, the other low and always sad: nothing can be said."""
    values = np.array([5.0, 5.1, 4.9, 1.0, 1.1, 0.9])
    result = permutation_test(
        values, np.array(["ang"] * 3 + ["sad"] * 3), np.array(["a"] * 3 + ["b"] * 3), 99, 0
    )
    assert result is not None
    assert (result.p, result.value) == (1.0, pytest.approx(0, abs=1e-12))


def test_holm_agrees_with_statsmodels() -> None:
    """Golden: statsmodels 0.15.0, multipletests(p, method="holm")."""
    p = [0.0011, 0.04, 0.013, 0.62, 0.0049, 0.013, 0.9]
    assert holm(p) == pytest.approx([0.0077, 0.12, 0.065, 1.0, 0.0294, 0.065, 1.0])
    assert holm([]) == []


def test_estimate_and_effect() -> None:
    speakers = ["a", "a", "b", "c", "c", "c"]
    x = np.array([1.0, 3.0, 2.0, 0.0, 1.0, 5.0])
    weights = np.array([1.0, 1.0, 2.0, 1.0, 1.0, 1.0])
    result = nulls.estimate(speakers, x, weights, 2000)
    assert result.value == pytest.approx(float(np.average(x, weights=weights)))
    assert result.low == 2.0  # any draw of speakers whose mean is 2 has it; all three speakers' are
    assert result.high == 2.0
    effect = nulls.effect_size(speakers, x, 2000)
    assert effect.value == pytest.approx(float(x.mean() / x.std(ddof=1)))
    equal = nulls.effect_size(["a", "b"], [1.0, 1.0], 100)
    assert np.isnan(equal).all()
    alone = nulls.estimate(["a", "a"], [1.0, 2.0], [1.0, 1.0], 100)
    assert (alone.value, np.isnan(alone.low)) == (1.5, True)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """95 % over 20 speakers: 88 .. 99 % of 300 corpora; the percentile bootstrap is a little narrow."""
    random = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        speakers = [f"s{n}" for n in range(20) for _ in range(5)]
        values = np.repeat(random.normal(0.3, 0.5, 20), 5) + random.normal(0, 0.5, 100)
        result = nulls.estimate(speakers, values, np.ones(100), 500)
        held += result.low <= 0.3 <= result.high
    assert 0.88 <= held / 300 <= 0.99
