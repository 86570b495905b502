"""Statistics of log-Mel filters: against plain loops, another transform, and lengths at which they end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dct

from ser.data.corpus import AudioConfig
from ser.errors import ConfigError, DataError
from ser.feats.fbank import FbankSettings, log_mel
from ser.feats.mel_functionals import LAGS, PERCENTILES, MelFunctionals, cosines, statistics
from ser.feats.sets import FeatureSet, load_set
from ser.feats.trimming import TrimSettings, trimmed

CONF = Path(__file__).parents[2] / "conf"
AUDIO = AudioConfig(16000, None, "refuse")


def feature_set(*overrides: str) -> FeatureSet:
    return load_set(CONF / "mel_functionals.yaml", AUDIO, overrides=overrides)


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swell = np.sin(np.arange(num_samples) / 3000) ** 2
    return (0.1 * swell * rng.standard_normal(num_samples)).astype(np.float32)


def percentile(values: list[float], percent: float) -> float:
    """By a straight line between neighbours."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def in_loops(rows: np.ndarray) -> list[float]:
    """Of (T, F): the deviation of every column, then each percentile, then the change over each lag."""
    columns = [[float(x) for x in column] for column in rows.T]
    found = [(sum((x - sum(c) / len(c)) ** 2 for x in c) / len(c)) ** 0.5 for c in columns]
    for percent in PERCENTILES:
        found += [percentile(c, percent) for c in columns]
    for lag in LAGS:
        for c in columns:
            pairs = [abs(b - a) for a, b in zip(c, c[lag:], strict=False)]
            found.append(sum(pairs) / len(pairs) if pairs else 0.0)
    return found


@pytest.mark.parametrize("num_frames", [1, 2, 9, 33, 60])
def test_they_are_those_of_filters_and_cepstra(num_frames: int) -> None:
    samples = noise(400 + 160 * (num_frames - 1))
    made = feature_set("trim=null").make()
    assert isinstance(made, MelFunctionals)
    settings = FbankSettings(**{k: v for k, v in feature_set().settings.items() if k != "trim"})
    filters = log_mel(samples, settings).astype(np.float64)
    assert filters.shape == (num_frames, 40)
    cepstra = dct(filters, type=2, norm="ortho", axis=1)
    expected = [*filters.mean(axis=0), *in_loops(filters), *in_loops(cepstra)]
    found = made.compute(samples, "u")
    assert found.dtype == np.float32
    assert found.shape == (made.dim,) == (1000,)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_the_transform_is_orthonormal_and_scipys() -> None:
    np.testing.assert_allclose(cosines(40, 40) @ cosines(40, 40).T, np.eye(40), atol=1e-12)
    np.testing.assert_allclose(cosines(5, 5), dct(np.eye(5), type=2, norm="ortho", axis=0), atol=1e-12)


def test_a_constant_has_no_spread_and_no_change() -> None:
    found = statistics(np.full((50, 3), 7.0))
    assert found.reshape(12, 3).tolist() == [[0.0] * 3] + [[7.0] * 3] * 5 + [[0.0] * 3] * 6


def test_what_lies_before_and_behind_speech_is_left_out() -> None:
    samples = np.concatenate([np.zeros(16000, np.float32), noise(20000), np.zeros(9000, np.float32)])
    left = trimmed(samples, 16000, TrimSettings(40.0, 100.0))
    assert len(left) < 25000
    expected = feature_set("trim=null").make().compute(left, "u")
    np.testing.assert_array_equal(feature_set().make().compute(samples, "u"), expected)
    assert np.abs(feature_set("trim=null").make().compute(samples, "u") - expected).max() > 1


def test_the_level_moves_the_means_alone() -> None:
    samples, num = noise(20000), 40
    quiet, loud = (feature_set().make().compute(samples * np.float32(x), "u") for x in (0.1, 1.0))
    change = (loud - quiet).reshape(25, num)
    np.testing.assert_allclose(change[0], np.log(100.0), atol=1e-3)  # means of the filters
    np.testing.assert_allclose(change[1], 0.0, atol=1e-3)  # their deviations
    np.testing.assert_allclose(change[2:7], np.log(100.0), atol=1e-3)  # their percentiles
    np.testing.assert_allclose(change[7:14], 0.0, atol=1e-3)  # their changes, the cepstra's deviations
    np.testing.assert_allclose(change[14:19, 1:], 0.0, atol=1e-3)  # percentiles of all cepstra but the level
    np.testing.assert_allclose(change[19:], 0.0, atol=1e-3)  # their changes


def test_what_is_too_short_for_a_frame_is_refused() -> None:
    made = feature_set().make()
    assert made.min_samples == 400
    with pytest.raises(DataError) as error:
        made.compute(noise(399), "u")
    assert str(error.value) == (
        "has 399 samples, fewer than a frame of 400; leave it out where the corpus is prepared"
    )


def test_its_settings_are_those_of_the_filters_and_of_trimming() -> None:
    assert feature_set("num_mel_bins=23").make().dim == 575
    with pytest.raises(ConfigError) as error:
        feature_set("trim.margin_ms=-1")
    assert str(error.value).endswith("trim.margin_ms must be from 0 to 60000, got -1.0; correct it")
    assert feature_set().timing is None
