"""openSMILE's functionals: their numbers, what is left alone, what is refused."""

from __future__ import annotations

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
from ser.errors import DataError, StaleError, UsageError
from ser.feats import extract, functionals
from ser.feats.sets import FeatureSet, load_set
from tests.feats.conftest import make, plain

opensmile = pytest.importorskip("opensmile", reason="utils/install.sh --extra baselines is not done")

REPO = Path(__file__).parents[2]
AUDIO = AudioConfig(16000, None, "refuse")


def feature_set(name: str = "egemaps", audio: AudioConfig = AUDIO) -> FeatureSet:
    return load_set(REPO / "conf" / f"{name}.yaml", audio)


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
    features = feature_set(name)
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
