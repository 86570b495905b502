"""Which utterances features can be made of is known to the sample, also of those that are resampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from ser.data import tables
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
        "x: 4 utterances are too short for the features fbank, which take 25 ms (a: 10 ms, b: 10 ms, c: "
        "10 ms, ...); leave them out of the corpus"
    ]


def test_stage_0_and_the_validator_find_them(
    repo: Path, tmp_path: Path, run_verb: Callable[..., CompletedProcess[str]]
) -> None:
    """The same command works once the line is gone."""
    conf = repo / "egs" / "csv" / "conf" / "corpus.yaml"
    labels = ["angry", "happy", "neutral", "sad", "sad"]
    noise = 0.1 * np.random.default_rng(0).standard_normal((len(labels), 16000))
    lines = []
    for number, label in enumerate(labels):
        soundfile.write(tmp_path / f"{number}.wav", noise[number, : 320 if number == 4 else None], 16000)
        lines.append(f"{number}.wav,anna,{label}\n")
    table = tmp_path / "table.csv"
    out = tmp_path / "all"
    sets = [f"--features={repo}/conf/{name}.yaml" for name in ("fbank", "egemaps")]
    command = ["--config", conf, "--corpus-dir", table, *sets, tmp_path / "manifests", out]

    table.write_text("path,speaker,emotion\n" + "".join(lines))
    done = run_verb("prepare", *command)
    assert done.returncode == 1
    assert done.stderr.partition("ser: error: ")[2].splitlines() == [
        f"{tmp_path}/manifests/supervisions.jsonl.gz: 1 utterance is too short for the features {name}, "
        f"which take {least_ms} ms (anna_4: 20 ms of {tmp_path}/4.wav); leave it out of the corpus"
        for name, least_ms in (("fbank", 25), ("egemaps", 60))
    ]
    assert not out.exists()

    table.write_text("path,speaker,emotion\n" + "".join(lines[:4]))
    done = run_verb("prepare", *command)
    assert done.returncode == 0, done.stderr
    checked = run_verb("validate_data_dir", "--no-feats", "--config", conf, *sets, out)
    assert checked.stdout == f"{out}: valid, 4 utterances, 1 speakers\n"
    durations = tables.read_table(out / "utt2dur")
    first = next(iter(durations))
    tables.write_table(out / "utt2dur", durations | {first: 0.05})
    checked = run_verb("validate_data_dir", "--no-feats", "--config", conf, *sets, out)
    assert checked.stderr.endswith(
        f"{out}/utt2dur: 1 utterance is too short for the features egemaps, which take 60 ms ({first}: 50 "
        "ms); leave it out of the corpus\n"
    )
