"""Feature sets of recordings that are played slower or faster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ser import config
from ser.data.corpus import AudioConfig
from ser.errors import ConfigError, DataError
from ser.feats import extract
from ser.feats.base import Timing
from ser.feats.sets import FeatureSet, load_set, parse_set
from ser.feats.speech import in_frames
from ser.feats.stores import set_settings
from tests.feats.conftest import make, noise

CONF = Path(__file__).parents[2] / "conf"
AUDIO = AudioConfig(16000, None, "refuse")


def tone(hertz: float, num_samples: int) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(num_samples) / 16000)).astype(np.float32)


@pytest.mark.parametrize("speed", ["0.9", "1.1"])
@pytest.mark.parametrize("hertz", [800.0, 2000.0])
def test_a_tone_is_played_higher_and_shorter_or_lower_and_longer(speed: str, hertz: float) -> None:
    """Away from the ends, where the resampling filter hears the tone begin."""
    name = f"fbank_sp{speed.replace('.', '')}"
    played, plain = load_set(CONF / f"{name}.yaml", AUDIO).make(), load_set(CONF / "fbank.yaml", AUDIO).make()
    got = played.compute(tone(hertz, 16000), "a")
    expected = plain.compute(tone(hertz * float(speed), int(np.ceil(16000 / float(speed)))), "a")
    assert got.shape == expected.shape == {"0.9": (109, 23), "1.1": (89, 23)}[speed]
    heard = expected[50] > expected[50].max() - 6  # the filters that hold the tone
    np.testing.assert_allclose(got[5:-5, heard], expected[5:-5, heard], atol=0.01)
    assert heard.sum() < 6
    assert got[50].argmax() == expected[50].argmax()


def test_frames_stand_for_times_of_the_recording_as_it_is() -> None:
    """A click after 0.7 s is where 0.7 s are, at any speed."""
    samples = np.zeros(16000, np.float32)
    samples[11200:11216] = 0.5
    for name, speed in (("fbank", 1.0), ("fbank_sp09", 0.9), ("fbank_sp11", 1.1)):
        extractor = load_set(CONF / f"{name}.yaml", AUDIO).make()
        timing = extractor.timing
        assert timing == Timing(pytest.approx(0.01 * speed), pytest.approx(0.0125 * speed))
        features = extractor.compute(samples, "a").mean(axis=1)
        loud = np.flatnonzero(features > features.max() - 3)
        times_s = timing.middle_s + loud * timing.shift_s
        np.testing.assert_allclose(times_s.mean(), 0.7, atol=0.006)
        speech = np.arange(98) >= 50  # of the set as it is, from 0.5125 s on
        there = in_frames(speech, Timing(0.01, 0.0125), len(features), timing)
        assert abs(np.flatnonzero(there)[0] * timing.shift_s + timing.middle_s - 0.5125) <= 0.006


@pytest.mark.parametrize("name", ["mel_functionals", "compare"])
def test_a_set_of_vectors_at_another_speed(name: str) -> None:
    if name == "compare":
        pytest.importorskip("opensmile", reason="utils/install.sh --extra baselines is not done")
    played, plain = (load_set(CONF / f"{stem}.yaml", AUDIO).make() for stem in (f"{name}_sp09", name))
    samples = noise(1, 16000).astype(np.float32)
    slow = np.interp(np.arange(0, 15999, 0.9), np.arange(16000), samples).astype(np.float32)
    got, near, far = played.compute(samples, "a"), plain.compute(slow, "a"), plain.compute(samples, "a")
    assert played.timing is None
    assert got.shape == (plain.dim,)
    assert np.abs(got - near).mean() < np.abs(got - far).mean()


def test_stage_1_makes_it_and_records_the_speed(data: Path) -> None:
    sets: list[FeatureSet] = [load_set(CONF / f"{name}.yaml", AUDIO) for name in ("fbank", "fbank_sp09")]
    for features in sets:
        make(data, features, 2)
    extract.make_main(data, "fbank")
    assert set_settings(data, "fbank_sp09")["settings"]["speed"] == 0.9
    assert "speed" not in set_settings(data, "fbank")["settings"]
    again = parse_set("fbank_sp09", sets[1].to_dict(), "x")
    assert again == sets[1]
    samples = noise(3, 5500).astype(np.float32)
    np.testing.assert_array_equal(again.make().compute(samples, "a"), sets[1].make().compute(samples, "a"))
    assert load_set(CONF / "fbank.yaml", AUDIO, "none", ["speed=1.0"]).make().timing == Timing(0.01, 0.0125)


def test_the_shortest_recording_is_that_of_the_frames_that_are_heard() -> None:
    shortest = {
        name: load_set(CONF / f"{name}.yaml", AUDIO).shortest().num_samples
        for name in ("fbank", "fbank_sp09", "fbank_sp11")
    }
    assert shortest == {"fbank": 400, "fbank_sp09": 360, "fbank_sp11": 439}
    for name, samples in shortest.items():
        extractor = load_set(CONF / f"{name}.yaml", AUDIO).make()
        assert len(extractor.compute(tone(500, samples), "a")) == 1
        with pytest.raises(DataError, match="fewer than a frame of 400"):
            extractor.compute(tone(500, samples - 1), "a")


@pytest.mark.parametrize(
    ("speed", "rate_hz", "message"),
    [
        ("3.0", 16000, "fbank.yaml: speed must be from 0.5 to 2.0, got 3.0; correct it"),
        ("fast", 16000, "fbank.yaml: speed must be a number, got 'fast'; correct it"),
        ("0.90001", 16000, "fbank.yaml: speed 0.90001 of 16000 Hz is no whole number of hertz; correct it"),
    ],
)
def test_speeds_that_cannot_be_are_refused(speed: str, rate_hz: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_set(CONF / "fbank.yaml", AudioConfig(rate_hz, None, "refuse"), "none", [f"speed={speed}"])
    assert str(caught.value).endswith(message)
    assert config.resolve(CONF / "fbank_sp11.yaml")["speed"] == 1.1
