"""openSMILE's functionals: their numbers, parts and their merge, what is left alone, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.data import files, tables
from ser.data.corpus import AudioConfig
from ser.errors import DataError, StaleError, UsageError
from ser.feats import functionals

opensmile = pytest.importorskip("opensmile", reason="utils/install.sh --extra baselines is not done")

AUDIO = AudioConfig(16000, None, "refuse")


def plain(items: Sequence[str], _what: str) -> Iterable[str]:
    return items


@pytest.fixture
def data(tmp_path: Path, emodb: Path) -> Path:
    """A data folder with the first half second of five real recordings."""
    wavs = {}
    for path in sorted((emodb / "wav").glob("03a0*.wav"))[:5]:
        wavs[path.stem] = tmp_path / path.name
        soundfile.write(wavs[path.stem], soundfile.read(path)[0][:8000], 16000)
    tables.write_table(tmp_path / "all" / "wav.scp", wavs)
    return tmp_path / "all"


def make(data: Path, num_jobs: int = 1, name: str = "egemaps", audio: AudioConfig = AUDIO) -> None:
    for job in range(1, num_jobs + 1):
        functionals.make_part(data, name, audio, job, num_jobs, plain)
    functionals.merge_parts(data, name, num_jobs)


def vectors(data: Path, name: str = "egemaps") -> dict[str, np.ndarray]:
    reader = tables.ArkReader(data / f"{name}.scp")
    return {key: reader.read(key) for key in reader.places}


@pytest.mark.parametrize(("name", "size"), [("egemaps", 88), ("compare", 6373)])
def test_they_are_what_opensmile_makes_of_the_file(data: Path, name: str, size: int) -> None:
    make(data, name=name)
    found = vectors(data, name)
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[functionals.SETS[name]],
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    for key, path in tables.read_table(data / "wav.scp").items():
        assert found[key].shape == (size,)
        np.testing.assert_allclose(found[key], smile.process_file(path).to_numpy()[0], rtol=1e-5, atol=1e-5)


def test_the_number_of_jobs_changes_nothing(data: Path) -> None:
    make(data, num_jobs=3)
    three = vectors(data)
    assert sorted(path.name for path in (data / "egemaps").iterdir() if path.name[0] != ".") == [
        *(f"functionals.{job}.{kind}" for job in (1, 2, 3) for kind in ("ark", "scp")),
        "made.json",
        "utt2digest",
    ]
    stamp = (data / "egemaps.scp").stat().st_mtime_ns
    make(data, num_jobs=2)  # another number of jobs finds it up to date
    assert (data / "egemaps.scp").stat().st_mtime_ns == stamp
    for path in (data / "egemaps").glob("*"):
        path.unlink()
    make(data)
    assert vectors(data).keys() == three.keys()
    for key, vector in vectors(data).items():
        np.testing.assert_array_equal(vector, three[key])


def test_a_killed_array_goes_on(data: Path) -> None:
    functionals.make_part(data, "egemaps", AUDIO, 1, 2, plain)
    stamp = (data / "egemaps" / "functionals.1.ark").stat().st_mtime_ns
    with pytest.raises(DataError) as error:
        functionals.merge_parts(data, "egemaps", 2)
    assert str(error.value) == (
        f"{data}/egemaps: part 2 of 2 is missing; run steps/make_functionals.sh again"
    )
    assert not (data / "egemaps.scp").exists()
    make(data, num_jobs=2)
    assert (data / "egemaps" / "functionals.1.ark").stat().st_mtime_ns == stamp
    assert len(vectors(data)) == 5


def test_what_was_made_otherwise_is_refused(data: Path) -> None:
    make(data)
    folder = data / "egemaps"
    remedy = f"choose another data folder, or remove {folder} to make them again"
    with pytest.raises(StaleError) as error:
        make(data, audio=AudioConfig(16000, 0, "convert"))
    assert str(error.value) == (
        f"{folder}: was made differently: audio.channel: None -> 0; audio.resample: refuse -> convert; "
        f"{remedy}"
    )
    wavs = tables.read_table(data / "wav.scp")
    first, second = list(wavs)[:2]
    tables.write_table(data / "wav.scp", {**wavs, first: wavs[second]})
    with pytest.raises(StaleError) as error:
        make(data)
    assert str(error.value) == (f"{folder}: was made of other recordings: 1 differ, e.g. {first}; {remedy}")


def test_all_recordings_that_cannot_be_used_are_told(data: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.full(400, 0.1), 16000)
    wavs = tables.read_table(data / "wav.scp")
    tables.write_table(data / "wav.scp", {**wavs, "a": tmp_path / "short.wav", "b": tmp_path / "gone.wav"})
    with pytest.raises(DataError) as error:  # and no warning, which pytest would make an error
        make(data)
    assert str(error.value) == (
        f"{tmp_path}/short.wav: is too short for openSMILE's functionals; leave it out where the corpus is "
        f"prepared, or do without these baselines\n"
        f"{tmp_path}/gone.wav: no such file; is the corpus where stage 0 found it? If not, run stage 0 again"
    )
    assert not (data / "egemaps.scp").exists()
    assert not list((data / "egemaps").rglob(files.MADE))


def test_wrong_usage(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="^--job 3: must be from 1 to --num-jobs \\(2\\)$"):
        functionals.make_part(data, "egemaps", AUDIO, 3, 2, plain)
    with pytest.raises(UsageError, match="^--set gemaps: unknown; take one of egemaps, compare$"):
        functionals.make_part(data, "gemaps", AUDIO, 1, 1, plain)
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(
        UsageError, match="opensmile cannot be loaded .*; install it with: utils/install.sh --extra baselines"
    ):
        functionals.extractor("egemaps", 16000)


@pytest.mark.slow
def test_the_step(data: Path, repo: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    line = ["steps/make_functionals.sh", "--nj", "2", "egemaps", "conf/corpus.yaml", str(data)]
    recipe = repo / "egs" / "emodb"
    done = subprocess.run(line, cwd=recipe, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(vectors(data)) == 5
    wavs = tables.read_table(data / "wav.scp")
    tables.write_table(data / "wav.scp", {**wavs, "b": tmp_path / "gone.wav"})
    (data / "egemaps" / files.MADE).unlink()
    done = subprocess.run(line, cwd=recipe, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"ser: error: {tmp_path}/gone.wav: no such file" in done.stderr
    assert "functionals were not made; the logs are" in done.stderr
    assert "Traceback" not in done.stderr
