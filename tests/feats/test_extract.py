"""Stage 1: parts, their merge, what is left alone, what is refused; and the script around them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser import config
from ser.data import files, tables
from ser.data.corpus import AudioConfig
from ser.errors import ConfigError, DataError, StaleError, UsageError
from ser.feats import extract
from ser.feats.fbank import FbankConfig, log_mel
from ser.verbs import make_fbank, merge_fbank

REPO = Path(__file__).parents[2]
FBANK = REPO / "conf" / "fbank.yaml"
CORPUS = """\
name: toy
classes: [a, b]
labels: {A: a, B: b}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse}
keep: {}
protocol: loso
protocols:
  loso: {group: speaker, test: each, dev: null, keep: {}}
checks: null
"""
SETTINGS = extract.FeatureSettings(
    config.load(FbankConfig, FBANK), AudioConfig(16000, None, "refuse"), "none"
)


def plain(items: Sequence[str], _what: str) -> Iterable[str]:
    return items


def noise(seed: int, num_samples: int) -> npt.NDArray[np.float64]:
    return 0.1 * np.random.default_rng(seed).standard_normal(num_samples)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with seven recordings, ``utt0`` to ``utt6``, and conf/corpus.yaml beside it."""
    folder = tmp_path / "data" / "all"
    folder.mkdir(parents=True)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "corpus.yaml").write_text(CORPUS)
    wavs = {}
    for i in range(7):
        wavs[f"utt{i}"] = tmp_path / "wav" / f"{i}.wav"
        wavs[f"utt{i}"].parent.mkdir(exist_ok=True)
        soundfile.write(wavs[f"utt{i}"], noise(i, 4000 + 500 * i), 16000)
    tables.write_table(folder / "wav.scp", wavs)
    return folder


def make(data: Path, num_jobs: int, settings: extract.FeatureSettings = SETTINGS) -> None:
    for job in range(1, num_jobs + 1):
        extract.make_part(data, settings, job, num_jobs, plain)
    extract.merge_parts(data, num_jobs)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its inode and date: what was written again differs."""
    stats = {
        path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"
    }
    return {str(path.relative_to(folder)): (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def names(folder: Path) -> list[str]:
    return sorted(tree(folder))


@given(st.integers(1, 60), st.integers(1, 12))
def test_parts_are_kaldis(length: int, num_jobs: int) -> None:
    keys = [f"u{i:02}" for i in range(length)]
    parts = [list(extract.part_of(keys, job, num_jobs)) for job in range(1, num_jobs + 1)]
    sizes = [len(part) for part in parts]
    assert [key for part in parts for key in part] == keys
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_features_are_those_of_each_recording(data: Path) -> None:
    make(data, 3)
    frames = tables.read_table(data / "utt2num_frames")
    reader = tables.ArkReader(data / "feats.scp")
    for i in range(7):
        num_frames = 1 + (4000 + 500 * i - 400) // 160
        assert frames[f"utt{i}"] == str(num_frames)
        samples, _ = soundfile.read(tables.read_table(data / "wav.scp")[f"utt{i}"], dtype="float32")
        np.testing.assert_array_equal(
            reader.read(f"utt{i}", num_frames, 23), log_mel(samples, SETTINGS.fbank, f"utt{i}")
        )
    assert (data / "frame_shift").read_text() == "0.01\n"
    assert extract.load_used_settings(data) == SETTINGS
    assert names(data) == [
        "fbank.yaml", "fbank/feats.1.ark", "fbank/feats.1.scp", "fbank/feats.2.ark", "fbank/feats.2.scp",
        "fbank/feats.3.ark", "fbank/feats.3.scp", "fbank/made.json", "fbank/utt2digest", "feats.scp",
        "frame_shift", "utt2num_frames", "wav.scp",
    ]  # fmt: skip


@pytest.mark.parametrize("dither", [0.0, 1.0])
def test_the_number_of_jobs_changes_nothing(data: Path, tmp_path: Path, dither: float) -> None:
    settings = extract.FeatureSettings(
        config.load(FbankConfig, FBANK, [f"dither={dither}"]), SETTINGS.audio, "none"
    )
    other = tmp_path / "other"
    shutil.copytree(data, other)
    make(data, 1, settings)
    make(other, 5, settings)
    for name in ("utt2num_frames", "frame_shift", "fbank.yaml", "fbank/made.json", "fbank/utt2digest"):
        assert (data / name).read_bytes() == (other / name).read_bytes()
    one, five = tables.ArkReader(data / "feats.scp"), tables.ArkReader(other / "feats.scp")
    for utt in one.places:
        np.testing.assert_array_equal(one.read(utt), five.read(utt))


def test_finished_features_are_left_alone_whatever_the_number_of_jobs(data: Path) -> None:
    make(data, 4)
    before = tree(data)
    for num_jobs in (4, 2, 8):
        make(data, num_jobs)
        assert tree(data) == before


def test_only_what_is_missing_is_made_again(data: Path) -> None:
    for job in (1, 3):
        extract.make_part(data, SETTINGS, job, 3, plain)
    before = tree(data)
    make(data, 3)
    after = tree(data)
    for job in (1, 3):
        assert after[f"fbank/feats.{job}.ark"] == before[f"fbank/feats.{job}.ark"]


@pytest.mark.parametrize("name", ["feats.scp", "utt2num_frames", "fbank.yaml", "fbank/feats.2.ark"])
def test_what_was_taken_away_is_made_again(data: Path, name: str) -> None:
    make(data, 2)
    (data / name).unlink()
    make(data, 2)
    assert (data / name).exists()
    tables.ArkReader(data / "feats.scp").read("utt6")


def test_the_parts_of_another_number_of_jobs_go(data: Path) -> None:
    for job in range(1, 6):
        extract.make_part(data, SETTINGS, job, 5, plain)
    (data / "fbank" / ".feats.5.ark.host.123.part").write_text("of a killed job")
    make(data, 2)
    assert [name for name in names(data) if name.startswith("fbank/feats")] == [
        "fbank/feats.1.ark", "fbank/feats.1.scp", "fbank/feats.2.ark", "fbank/feats.2.scp",
    ]  # fmt: skip
    assert sorted(path.name for path in (data / "fbank").glob("[!f]*")) == [
        ".lock",
        "made.json",
        "utt2digest",
    ]


def test_missing_parts_are_named(data: Path) -> None:
    extract.make_part(data, SETTINGS, 2, 3, plain)
    with pytest.raises(DataError) as error:
        extract.merge_parts(data, 3)
    assert str(error.value) == f"{data}/fbank: parts 1, 3 of 3 are missing; run stage 1 again"
    with pytest.raises(DataError) as error:
        extract.merge_parts(data, 2)  # the part of three jobs is none of two
    assert str(error.value) == f"{data}/fbank: parts 1, 2 of 2 are missing; run stage 1 again"
    extract.make_part(data, SETTINGS, 3, 3, plain)
    with pytest.raises(DataError) as error:
        extract.merge_parts(data, 3)
    assert str(error.value) == f"{data}/fbank: part 1 of 3 is missing; run stage 1 again"
    assert not (data / "feats.scp").exists()


def test_parts_with_different_settings_are_not_mixed(data: Path) -> None:
    extract.make_part(data, SETTINGS, 1, 2, plain)
    other = extract.FeatureSettings(
        config.load(FbankConfig, FBANK, ["num_mel_bins=40"]), SETTINGS.audio, "CM"
    )
    extract.make_part(data, other, 2, 2, plain)
    with pytest.raises(DataError) as error:
        extract.merge_parts(data, 2)
    assert str(error.value) == (
        f"{data}/fbank: parts 1 and 2 differ in compress: none -> CM; fbank.num_mel_bins: 23 -> 40; "
        "run stage 1 again"
    )
    make(data, 2)  # the second part is made again, the first one is not
    assert extract.load_used_settings(data) == SETTINGS


def test_other_settings_on_finished_features_are_refused(data: Path) -> None:
    make(data, 2)
    before = tree(data)
    other = extract.FeatureSettings(config.load(FbankConfig, FBANK, ["window=povey"]), SETTINGS.audio, "CM2")
    with pytest.raises(StaleError) as error:
        extract.make_part(data, other, 1, 2, plain)
    assert str(error.value) == (
        f"{data}/fbank: was made differently: compress: none -> CM2; fbank.window: hamming -> povey; "
        f"choose another data folder, or remove {data}/fbank to make them again"
    )
    assert tree(data) == before
    shutil.rmtree(data / "fbank")
    make(data, 2, other)
    assert extract.load_used_settings(data) == other


def test_other_recordings_under_finished_features_are_refused(data: Path) -> None:
    make(data, 2)
    wavs = tables.read_table(data / "wav.scp")
    os.utime(wavs["utt1"])  # another date is no other recording
    extract.make_part(data, SETTINGS, 1, 2, plain)
    soundfile.write(wavs["utt1"], noise(99, 4500), 16000)
    with pytest.raises(StaleError) as error:
        extract.make_part(data, SETTINGS, 1, 2, plain)
    remedy = f"choose another data folder, or remove {data}/fbank to make them again"
    assert str(error.value) == f"{data}/fbank: was made of other recordings: 1 differ, e.g. utt1; {remedy}"
    extract.make_part(data, SETTINGS, 2, 2, plain)  # not in this part
    tables.write_table(data / "wav.scp", {"new": "/x.wav", **wavs})
    with pytest.raises(StaleError) as error:
        extract.make_part(data, SETTINGS, 2, 2, plain)
    assert str(error.value) == f"{data}/fbank: was made of other recordings: 1 differ, e.g. new; {remedy}"


def test_finished_features_outlive_their_recordings(data: Path, tmp_path: Path) -> None:
    make(data, 2)
    before = tree(data)
    shutil.rmtree(tmp_path / "wav")
    make(data, 2)
    assert tree(data) == before


def test_a_changed_recording_is_read_again_before_the_merge(data: Path) -> None:
    extract.make_part(data, SETTINGS, 1, 1, plain)
    soundfile.write(tables.read_table(data / "wav.scp")["utt1"], noise(99, 9000), 16000)
    make(data, 1)
    assert tables.read_table(data / "utt2num_frames")["utt1"] == str(1 + (9000 - 400) // 160)


def test_all_faulty_recordings_are_told_and_nothing_is_written(data: Path) -> None:
    wavs = {utt: Path(path) for utt, path in tables.read_table(data / "wav.scp").items()}
    wavs["utt1"].write_bytes(b"")
    soundfile.write(wavs["utt3"], np.zeros(399), 16000)
    soundfile.write(wavs["utt4"], np.zeros(4000), 8000)
    wavs["utt5"].unlink()
    soundfile.write(wavs["utt6"], np.full(4000, 1e30), 16000, subtype="FLOAT")
    with pytest.raises(DataError) as error:
        extract.make_part(data, SETTINGS, 1, 1, plain)
    assert str(error.value).splitlines() == [
        f"{wavs['utt1']}: is empty (0 bytes); copy it again from the release",
        f"{wavs['utt3']}: has 399 samples, fewer than a frame of 400; "
        "leave it out where the corpus is prepared",
        f"{wavs['utt4']}: is sampled at 8000 Hz, audio.sampling_rate_hz says 16000; "
        "set audio.resample in conf/corpus.yaml to convert, or name the right rate",
        f"{wavs['utt5']}: no such file; is the corpus where stage 0 found it? If not, run stage 0 again",
        f"{wavs['utt6']}: has samples far beyond 1, its energies are infinite; "
        "copy it again from the release",
    ]
    assert names(data) == ["wav.scp"]


def test_a_part_that_fails_does_not_vouch_for_what_is_left(data: Path) -> None:
    extract.make_part(data, SETTINGS, 1, 1, plain)
    other = extract.FeatureSettings(config.load(FbankConfig, FBANK, ["window=povey"]), SETTINGS.audio, "none")

    def killed(items: Sequence[str], _what: str) -> Iterable[str]:
        yield items[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract.make_part(data, other, 1, 1, killed)
    assert not (data / "fbank" / "part.1" / files.MADE).exists()
    with pytest.raises(DataError, match="part 1 of 1 is missing"):
        extract.merge_parts(data, 1)


def test_compressed_features(data: Path) -> None:
    make(data, 2)
    exact = {
        utt: tables.ArkReader(data / "feats.scp").read(utt) for utt in tables.read_table(data / "feats.scp")
    }
    size = sum(path.stat().st_size for path in data.glob("fbank/*.ark"))
    shutil.rmtree(data / "fbank")
    make(data, 2, extract.FeatureSettings(SETTINGS.fbank, SETTINGS.audio, "CM"))
    assert sum(path.stat().st_size for path in data.glob("fbank/*.ark")) < 0.4 * size
    reader = tables.ArkReader(data / "feats.scp")
    for utt, features in exact.items():
        np.testing.assert_allclose(reader.read(utt), features, rtol=0, atol=0.15)


def test_no_more_parts_than_utterances(data: Path) -> None:
    make(data, 20)
    assert len(tables.read_table(data / "feats.scp")) == 7
    assert len(list(data.glob("fbank/*.ark"))) == 7


@pytest.mark.parametrize(("job", "num_jobs"), [(0, 3), (4, 3), (1, 0)])
def test_a_part_that_does_not_exist(data: Path, job: int, num_jobs: int) -> None:
    with pytest.raises(UsageError) as error:
        extract.make_part(data, SETTINGS, job, num_jobs, plain)
    assert str(error.value) == f"--job {job}: must be from 1 to --num-jobs ({num_jobs})"


def test_a_merge_of_no_parts(data: Path) -> None:
    with pytest.raises(UsageError) as error:
        extract.merge_parts(data, 0)
    assert str(error.value) == "--num-jobs 0: must be 1 or more"


def test_without_stage_0(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        make(tmp_path, 1)
    assert str(error.value) == f"{tmp_path}/wav.scp: no such file; run stage 0"


def test_one_sampling_rate(data: Path) -> None:
    corpus = data.parents[1] / "conf" / "corpus.yaml"
    with pytest.raises(ConfigError) as error:
        extract.load_settings(FBANK, corpus, "none", ["sampling_rate_hz=8000", "high_freq_hz=0.0"])
    assert str(error.value) == (
        f"{FBANK}: sampling_rate_hz is 8000, but audio.sampling_rate_hz in {corpus} is 16000; "
        "make them the same"
    )


def test_the_verbs(data: Path, tmp_path: Path) -> None:
    options = ["--corpus", str(tmp_path / "conf" / "corpus.yaml"), "--num-jobs", "2", "--compress", "CM2"]
    for job in ("1", "2"):
        words = [*options, "--job", job, "--set", "num_mel_bins=40", str(FBANK), str(data)]
        assert make_fbank.main(words) == 0
    assert merge_fbank.main(["--num-jobs", "2", str(data)]) == 0
    assert tables.ArkReader(data / "feats.scp").read("utt0").shape == (23, 40)
    used = extract.load_used_settings(data)
    assert (used.compress, used.fbank.num_mel_bins) == ("CM2", 40)


def test_the_merge_starts_without_torch_and_lhotse() -> None:
    heavy = "{'torch', 'lhotse', 'scipy'}"
    code = f"import sys, ser.make_fbank, ser.merge_fbank; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout == "set()\n"


# --------------------------------------------------------------------------------------------- the script

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(data: Path, tmp_path: Path) -> Script:
    """steps/make_fbank.sh in a recipe folder that holds the data folder."""
    for name in ("path.sh", "steps", "utils"):
        (tmp_path / name).symlink_to(REPO / name)
    (tmp_path / "conf" / "fbank.yaml").symlink_to(FBANK)
    assert data.relative_to(tmp_path) == Path("data/all")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["steps/make_fbank.sh", *words]
        environment = {**os.environ, "SER_PYTHON": sys.executable}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


ARGUMENTS = ("conf/fbank.yaml", "conf/corpus.yaml", "data/all")


@pytest.mark.slow
def test_the_script_makes_features_and_leaves_them(script: Script, data: Path) -> None:
    wavs = list(tables.read_table(data / "wav.scp").items())
    tables.write_table(data / "wav.scp", dict(wavs[:2]))
    done = script("--nj", "20", "--cmd", "run.pl", *ARGUMENTS, "--set", "num_mel_bins=40")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "data/all holds 2 utterances; --nj 20 becomes 2" in done.stderr
    assert tables.ArkReader(data / "feats.scp").read("utt0").shape == (23, 40)
    assert (data / "log" / "make_fbank.2.log").exists()
    assert not (data / "log" / "make_fbank.3.log").exists()
    before = {name: stat for name, stat in tree(data).items() if not name.startswith("log")}
    done = script("--nj", "1", *ARGUMENTS, "--set", "num_mel_bins=40")
    assert done.returncode == 0, done.stderr
    assert {name: stat for name, stat in tree(data).items() if not name.startswith("log")} == before


@pytest.mark.slow
def test_the_script_tells_what_the_jobs_complained_about(script: Script, data: Path) -> None:
    wavs = tables.read_table(data / "wav.scp")
    Path(wavs["utt0"]).unlink()
    Path(wavs["utt1"]).write_bytes(b"")
    Path(wavs["utt6"]).write_bytes(b"no audio")
    done = script("--nj", "2", *ARGUMENTS)
    assert done.returncode == 1
    assert f"ser: error: {wavs['utt0']}: no such file; is the corpus where" in done.stderr
    assert f"\n{wavs['utt1']}: is empty (0 bytes); copy it again from the release\n" in done.stderr
    assert f"ser: error: {wavs['utt6']}: is no audio" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "make_fbank.sh: error: data/all: features were not made; the logs are data/all/log/make_fbank.*.log"
    )
    assert not (data / "feats.scp").exists()


def test_the_script_needs_its_arguments(script: Script, data: Path) -> None:
    done = script("conf/fbank.yaml")
    assert done.returncode == 2
    assert "expected <fbank.yaml> <corpus.yaml> <data-dir>, got 1 arguments (try --help)" in done.stderr
    assert script("--nj", "0", *ARGUMENTS).returncode == 2
    (data / "wav.scp").unlink()
    done = script(*ARGUMENTS)
    assert done.returncode == 1
    assert "data/all/wav.scp: no such file, or empty; run stage 0" in done.stderr
    assert "Usage: steps/make_fbank.sh [options]" in script("--help").stdout
