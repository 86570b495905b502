"""Which utterances features can be made of is known to the sample, also of those that are resampled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from ser.data.alignment import seconds
from ser.data.corpus import AudioConfig
from ser.data.durations import Shortest, too_short
from ser.errors import DataError
from ser.feats.base import Floats
from ser.feats.extract import compute_file
from ser.feats.sets import load_set

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("overrides", [[], ["snip_edges=false"], ["frame_shift_ms=7.5", "snip_edges=false"]])
def test_one_sample_less_is_too_short(tmp_path: Path, rate_hz: int, overrides: list[str]) -> None:
    features = load_set(CONF / "fbank.yaml", AudioConfig(16000, None, "convert"), "none", overrides)
    shortest, extractor = features.shortest(), features.make()
    path = tmp_path / "a.wav"
    made = []
    near = round(shortest.num_samples * rate_hz / 16000)
    for num_samples in range(max(1, near - 3), near + 4):
        soundfile.write(path, 0.1 * np.ones(num_samples), rate_hz)
        fits = shortest.fits(float(seconds(num_samples / rate_hz)))
        try:
            compute_file(path, extractor, features.audio, "a")
            made.append(True)
        except DataError:
            made.append(False)
        assert fits == made[-1]
    assert (made[0], made[-1]) == (False, True)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_functionals_take_60_ms(tmp_path: Path, rate_hz: int) -> None:
    pytest.importorskip("opensmile")
    features = load_set(CONF / "egemaps.yaml", AudioConfig(rate_hz, None, "refuse"))
    shortest, extractor = features.shortest(), features.make()
    assert shortest == Shortest("egemaps", round(0.06 * rate_hz), rate_hz)
    noise = 0.1 * np.random.default_rng(0).standard_normal(shortest.num_samples)
    soundfile.write(tmp_path / "a.wav", noise, rate_hz)
    assert compute_file(tmp_path / "a.wav", extractor, features.audio, "a").shape == (88,)
    soundfile.write(tmp_path / "a.wav", noise[:-1], rate_hz)
    with pytest.raises(DataError, match="is too short for openSMILE's functionals"):
        compute_file(tmp_path / "a.wav", extractor, features.audio, "a")


@dataclass(frozen=True)
class LevelSettings:
    """Nothing but the extractor."""

    extractor: str


class Level:
    """The level of a recording."""

    Settings: ClassVar[type[Any]] = LevelSettings
    dim = 1
    timing = None
    versions: ClassVar[dict[str, str]] = {}

    def __init__(self, settings: LevelSettings, sampling_rate_hz: int) -> None:
        """Both are not needed."""

    def compute(self, samples: Floats, key: str) -> Floats:  # noqa: ARG002  (part of the contract)
        """The mean of the squares, (1,)."""
        return np.square(samples).mean(keepdims=True)


def test_an_extractor_that_names_no_length_takes_any(tmp_path: Path) -> None:
    (tmp_path / "levels.yaml").write_text("extractor: tests.data.test_durations:Level\n")
    features = load_set(tmp_path / "levels.yaml", AudioConfig(16000, None, "refuse"))
    assert features.shortest() == Shortest("levels", 1, 16000)
    assert too_short({"a": 1 / 16000}, [features.shortest()], tmp_path) == []


def test_the_first_three_are_named() -> None:
    durations = {name: 0.01 for name in "dcba"} | {"e": 1.0}
    assert too_short(durations, [Shortest("fbank", 400, 16000)], Path("x")) == [
        "x: 4 utterances are too short for the features fbank, which take 25 ms (a, b, c, ...); leave them "
        "out of the corpus"
    ]
