"""openSMILE's functionals: their numbers, what is left alone, what is refused."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.data import files, tables
from ser.data.corpus import AudioConfig
from ser.errors import ConfigError, DataError, StaleError, UsageError
from ser.feats import extract, functionals
from ser.feats.sets import FeatureSet, load_set
from ser.feats.trimming import TrimSettings, trimmed
from tests.feats.conftest import make, plain

opensmile = pytest.importorskip("opensmile", reason="utils/install.sh --extra baselines is not done")

REPO = Path(__file__).parents[2]
AUDIO = AudioConfig(16000, None, "refuse")


def feature_set(name: str = "egemaps", audio: AudioConfig = AUDIO, *overrides: str) -> FeatureSet:
    return load_set(REPO / "conf" / f"{name}.yaml", audio, overrides=overrides)


@pytest.fixture
def data(tmp_path: Path, emodb: Path) -> Path:
    """A data folder with the first half second of five real recordings."""
    wavs = {}
    for path in sorted((emodb / "wav").glob("03a0*.wav"))[:5]:
        wavs[path.stem] = tmp_path / path.name
        soundfile.write(wavs[path.stem], soundfile.read(path)[0][:8000], 16000)
    tables.write_table(tmp_path / "all" / "wav.scp", wavs)
    return tmp_path / "all"


def vectors(data: Path, name: str = "egemaps") -> dict[str, np.ndarray]:
    reader = tables.ArkReader(data / name / "feats.scp")
    return {key: reader.read(key) for key in reader.places}


@pytest.mark.parametrize(("name", "size"), [("egemaps", 88), ("compare", 6373)])
def test_they_are_what_opensmile_makes_of_the_file(data: Path, name: str, size: int) -> None:
    features = feature_set(name, AUDIO, "trim=null")
    assert features.make().dim == functionals.SIZES[features.settings["feature_set"]] == size
    make(data, features, 2)
    found = vectors(data, name)
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[features.settings["feature_set"]],
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    for key, path in tables.read_table(data / "wav.scp").items():
        assert found[key].shape == (size,)
        np.testing.assert_allclose(found[key], smile.process_file(path).to_numpy()[0], rtol=1e-5, atol=1e-5)


def energies(samples: np.ndarray) -> list[float]:
    """Log energies of frames of 25 ms every 10 ms, without their mean, in a plain loop."""
    frames = [samples[i : i + 400].astype(float) * 32768 for i in range(0, len(samples) - 399, 160)]
    return [math.log(max(((x - x.mean()) ** 2).sum(), 2.0**-23)) for x in frames]


def between(samples: np.ndarray, margin: int) -> np.ndarray:
    """What lies between the first frame of speech and the last by the rules of conf/vad.yaml, in loops."""
    values = energies(samples)
    high = [x > 0 and x >= max(values) - 4 * math.log(10) for x in values]  # 40 dB
    near = [high[max(t - 5, 0) : t + 6] for t in range(len(high))]
    speech = [t for t, around in enumerate(near) if sum(around) >= 0.3 * len(around)]
    first, last = max(speech[0] - margin, 0), min(speech[-1] + margin, len(high) - 1)
    return samples[first * 160 : last * 160 + 400 if last < len(high) - 1 else len(samples)]


def test_what_lies_before_and_behind_speech_is_left_out(emodb: Path) -> None:
    speech = soundfile.read(emodb / "wav" / "03a01Fa.wav", dtype="float32")[0]
    hiss = np.random.default_rng(1).normal(0, 1e-4, (2, 20000)).astype(np.float32)
    samples = np.concatenate([hiss[0], speech, hiss[1, :12345]])
    for margin_ms, margin in ((100.0, 10), (0.0, 0)):
        found = trimmed(samples, 16000, TrimSettings(40.0, margin_ms))
        np.testing.assert_array_equal(found, between(samples, margin))
        assert len(speech) - 4000 < len(found) < len(speech) + 5000
    extractor = feature_set().make()
    whole = feature_set("egemaps", AUDIO, "trim=null").make()
    expected = whole.compute(between(samples, 10), "u")
    np.testing.assert_array_equal(extractor.compute(samples, "u"), expected)
    assert np.abs(whole.compute(samples, "u") - expected).max() > 1


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_all_is_taken_where_there_is_no_speech(level: float) -> None:
    samples = np.full(16000, level, np.float32)  # digital silence, and a constant, which has no energy
    assert len(trimmed(samples, 16000, TrimSettings(40.0, 100.0))) == 16000


def test_all_is_taken_where_too_little_is_left() -> None:
    samples = np.zeros(16000, np.float32)
    samples[200:210] = 0.5  # a click in the first two of six frames, which makes the first one speech
    left = trimmed(samples, 16000, TrimSettings(40.0, 0.0))
    extractor = feature_set("egemaps", AUDIO, "trim.margin_ms=0").make()
    whole = feature_set("egemaps", AUDIO, "trim=null").make()
    assert len(left) == 400 < extractor.min_samples
    np.testing.assert_array_equal(extractor.compute(samples, "u"), whole.compute(samples, "u"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trim.below_loudest_db=0", "trim.below_loudest_db must be above 0 and at most 1000, got 0"),
        ("trim.margin_ms=-1", "trim.margin_ms must be from 0 to 60000, got -1"),
        ("trim.margin=1", "unknown key trim.margin; did you mean trim.margin_ms?"),
    ],
)
def test_settings_of_trimming_that_cannot_be_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        feature_set("compare", AUDIO, override)
    assert message in str(error.value)


def test_the_number_of_jobs_changes_nothing(data: Path) -> None:
    make(data, feature_set(), 3)
    three = vectors(data)
    assert sorted(path.name for path in (data / "egemaps").iterdir() if path.name[0] != ".") == [
        *(f"feats.{job}.{kind}" for job in (1, 2, 3) for kind in ("ark", "scp")),
        "feats.scp",
        "made.json",
        "settings.yaml",
        "utt2digest",
    ]
    stamp = (data / "egemaps" / "feats.scp").stat().st_mtime_ns
    make(data, feature_set(), 2)  # another number of jobs finds it up to date
    assert (data / "egemaps" / "feats.scp").stat().st_mtime_ns == stamp
    for path in (data / "egemaps").glob("*"):
        path.unlink()
    make(data, feature_set(), 1)
    assert vectors(data).keys() == three.keys()
    for key, vector in vectors(data).items():
        np.testing.assert_array_equal(vector, three[key])


def test_what_was_made_otherwise_is_refused(data: Path) -> None:
    make(data, feature_set(), 1)
    folder = data / "egemaps"
    remedy = f"choose another data folder, or have them made again: rm -r {folder}"
    with pytest.raises(StaleError) as error:
        make(data, feature_set(audio=AudioConfig(16000, 0, "convert")), 1)
    assert str(error.value) == (
        f"{folder}: was made differently: audio.channel: None -> 0; audio.resample: refuse -> convert; "
        f"{remedy}"
    )
    wavs = tables.read_table(data / "wav.scp")
    first, second = list(wavs)[:2]
    tables.write_table(data / "wav.scp", {**wavs, first: wavs[second]})
    with pytest.raises(StaleError) as error:
        make(data, feature_set(), 1)
    assert str(error.value) == (f"{folder}: was made differently: 1 recording changed: {first}; {remedy}")


def test_all_recordings_that_cannot_be_used_are_told(data: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.full(400, 0.1), 16000)
    wavs = tables.read_table(data / "wav.scp")
    tables.write_table(data / "wav.scp", {**wavs, "a": tmp_path / "short.wav", "b": tmp_path / "gone.wav"})
    with pytest.raises(DataError) as error:  # and no warning, which pytest would make an error
        make(data, feature_set(), 1)
    assert str(error.value) == (
        f"{tmp_path}/short.wav: is too short for openSMILE's functionals; leave it out where the corpus is "
        f"prepared, or do without this feature set\n"
        f"{tmp_path}/gone.wav: no such file; is the corpus where stage 0 found it? If not, run stage 0 again"
    )
    assert not list((data / "egemaps").rglob(files.MADE))


def test_another_opensmile_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(data, feature_set(), 1)
    monkeypatch.setattr(functionals, "version", lambda _name: "0.1")
    with pytest.raises(StaleError) as error:
        extract.make_shard(data, feature_set(), 1, 1, plain)
    assert str(error.value).startswith(
        f"{data}/egemaps: was made differently: versions.opensmile: {version('opensmile')} -> 0.1; "
    )


def test_without_opensmile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    extractor = feature_set().make()
    remedy = "install it with: utils/install.sh --extra baselines"
    with pytest.raises(UsageError, match=f"^the Python package opensmile cannot be loaded .*; {remedy}"):
        extractor.compute(np.zeros(16000, np.float32), "u")

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(functionals, "version", missing)
    with pytest.raises(UsageError, match=f"^the Python package opensmile is missing; {remedy}"):
        _ = extractor.versions


@pytest.mark.slow
def test_the_step(data: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    conf = REPO / "conf" / "egemaps.yaml"
    line = ["steps/extract.sh", "--nj", "2", "conf/corpus.yaml", str(data), str(conf)]
    recipe = REPO / "egs" / "emodb"
    done = subprocess.run(line, cwd=recipe, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(vectors(data)) == 5
    assert not (data / "feats.scp").exists()  # vectors are no main set
    wavs = tables.read_table(data / "wav.scp")
    tables.write_table(data / "wav.scp", {**wavs, "b": tmp_path / "gone.wav"})
    (data / "egemaps" / files.MADE).unlink()
    done = subprocess.run(line, cwd=recipe, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"ser: error: {tmp_path}/gone.wav: no such file" in done.stderr
    assert "the features egemaps were not made; the logs are" in done.stderr
    assert "Traceback" not in done.stderr
