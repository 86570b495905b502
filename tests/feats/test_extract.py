"""Stage 1: shards, their merge, what is left alone and what refused, the main set; the script around them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser import config
from ser.data import files, tables
from ser.data.corpus import AudioConfig
from ser.data.datadir import main_set, make_view
from ser.data.shards import shard_of
from ser.errors import DataError, StaleError, UsageError
from ser.feats import extract
from ser.feats.fbank import FbankSettings, log_mel
from ser.feats.sets import Compress, FeatureSet, load_set, read_set
from ser.verbs import extract as verb
from tests.feats.conftest import make, noise, plain, tree
from tests.lost import check_made_again

REPO = Path(__file__).parents[2]
FBANK = REPO / "conf" / "fbank.yaml"
AUDIO = AudioConfig(16000, None, "refuse")
SETTINGS = load_set(FBANK, AUDIO)


def changed(*overrides: str, compress: Compress = "none") -> FeatureSet:
    """The paper's filterbank with other settings."""
    return load_set(FBANK, AUDIO, compress, overrides)


def names(folder: Path) -> list[str]:
    return sorted(tree(folder))


@given(st.integers(1, 60), st.integers(1, 12))
def test_shards_are_kaldis(length: int, num_jobs: int) -> None:
    keys = [f"u{i:02}" for i in range(length)]
    shards = [list(shard_of(keys, job, num_jobs)) for job in range(1, num_jobs + 1)]
    sizes = [len(shard) for shard in shards]
    assert [key for shard in shards for key in shard] == keys
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_features_are_those_of_each_recording(data: Path) -> None:
    make(data, SETTINGS, 3)
    folder = data / "fbank"
    frames = tables.read_table(folder / "utt2num_frames")
    reader = tables.ArkReader(folder / "feats.scp")
    for i in range(7):
        num_frames = 1 + (4000 + 500 * i - 400) // 160
        assert frames[f"utt{i}"] == str(num_frames)
        samples, _ = soundfile.read(tables.read_table(data / "wav.scp")[f"utt{i}"], dtype="float32")
        np.testing.assert_array_equal(
            reader.read(f"utt{i}", num_frames, 23),
            log_mel(samples, config.load(FbankSettings, FBANK), f"utt{i}"),
        )
    assert (folder / "frame_shift").read_text() == "0.01\n"
    assert read_set(data, "fbank") == SETTINGS
    assert config.read_yaml(folder / "settings.yaml") == {
        "settings": config.read_yaml(FBANK),  # the values as they are typed there
        "audio": {"sampling_rate_hz": 16000, "channel": None, "resample": "refuse"},
        "compress": "none",
        "timing": {"shift_s": 0.01, "middle_s": 0.0125},
    }
    assert names(data) == [
        "fbank/feats.1.ark", "fbank/feats.1.scp", "fbank/feats.2.ark", "fbank/feats.2.scp",
        "fbank/feats.3.ark", "fbank/feats.3.scp", "fbank/feats.scp", "fbank/frame_shift", "fbank/made.json",
        "fbank/settings.yaml", "fbank/utt2digest", "fbank/utt2num_frames", "wav.scp",
    ]  # fmt: skip


@pytest.mark.parametrize("dither", [0.0, 1.0])
def test_the_number_of_jobs_changes_nothing(data: Path, tmp_path: Path, dither: float) -> None:
    features = changed(f"dither={dither}")
    other = tmp_path / "other"
    shutil.copytree(data, other)
    make(data, features, 1)
    make(other, features, 5)
    for name in ("utt2num_frames", "frame_shift", "settings.yaml", "utt2digest"):
        assert (data / "fbank" / name).read_bytes() == (other / "fbank" / name).read_bytes()
    one, five = (
        tables.ArkReader(data / "fbank" / "feats.scp"),
        tables.ArkReader(other / "fbank" / "feats.scp"),
    )
    for utt in one.places:
        np.testing.assert_array_equal(one.read(utt), five.read(utt))


def test_finished_features_are_left_alone_whatever_the_number_of_jobs(data: Path) -> None:
    make(data, SETTINGS, 4)
    extract.make_main(data, "fbank")
    before = tree(data)
    for num_jobs in (4, 2, 8):
        make(data, SETTINGS, num_jobs)
        extract.make_main(data, "fbank")
        assert tree(data) == before


def test_only_what_is_missing_is_made_again(data: Path) -> None:
    for job in (1, 3):
        extract.make_shard(data, SETTINGS, job, 3, plain)
    before = tree(data)
    make(data, SETTINGS, 3)
    after = tree(data)
    for job in (1, 3):
        assert after[f"fbank/feats.{job}.ark"] == before[f"fbank/feats.{job}.ark"]


@pytest.mark.parametrize(
    "name", ["feats.scp", "utt2num_frames", "frame_shift", "settings.yaml", "feats.2.ark"]
)
def test_what_was_taken_away_is_made_again(data: Path, name: str) -> None:
    make(data, SETTINGS, 2)
    (data / "fbank" / name).unlink()
    make(data, SETTINGS, 2)
    assert (data / "fbank" / name).exists()
    tables.ArkReader(data / "fbank" / "feats.scp").read("utt6")


def test_damaged_features_are_made_again(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(data, SETTINGS, 2)
    names = {"feats.scp", "utt2num_frames", "frame_shift", "settings.yaml", "utt2digest"}
    names |= {f"feats.{job}.{kind}" for job in (1, 2) for kind in ("ark", "scp")}
    check_made_again(data / "fbank", names, lambda: make(data, SETTINGS, 2), caplog)


def test_copies_of_the_main_set_that_differ_are_told(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(data, SETTINGS, 2)
    extract.make_main(data, "fbank")
    assert caplog.messages == []
    (data / "utt2num_frames").write_text("")
    extract.make_main(data, "fbank")
    assert caplog.messages == [
        f"{data}: its copies of the tables of fbank are gone or others; copying them again"
    ]
    assert (data / "utt2num_frames").read_bytes() == (data / "fbank" / "utt2num_frames").read_bytes()


def test_the_shards_of_another_number_of_jobs_go(data: Path) -> None:
    for job in range(1, 6):
        extract.make_shard(data, SETTINGS, job, 5, plain)
    (data / "fbank" / ".feats.5.ark.host.123.part").write_text("of a killed job")
    make(data, SETTINGS, 2)
    assert sorted(path.name for path in (data / "fbank").iterdir()) == [
        ".lock", "feats.1.ark", "feats.1.scp", "feats.2.ark", "feats.2.scp", "feats.scp", "frame_shift",
        "made.json", "settings.yaml", "utt2digest", "utt2num_frames",
    ]  # fmt: skip


def test_missing_shards_are_named(data: Path) -> None:
    extract.make_shard(data, SETTINGS, 2, 3, plain)
    with pytest.raises(DataError) as error:
        extract.merge_shards(data, SETTINGS, 3)
    assert str(error.value) == f"{data}/fbank: shards 1, 3 of 3 are missing; run stage 1 again"
    with pytest.raises(DataError) as error:
        extract.merge_shards(data, SETTINGS, 2)  # the shard of three jobs is none of two
    assert str(error.value) == f"{data}/fbank: shards 1, 2 of 2 are missing; run stage 1 again"
    extract.make_shard(data, SETTINGS, 3, 3, plain)
    with pytest.raises(DataError) as error:
        extract.merge_shards(data, SETTINGS, 3)
    assert str(error.value) == f"{data}/fbank: shard 1 of 3 is missing; run stage 1 again"
    assert not (data / "fbank" / "feats.scp").exists()


def test_shards_with_different_settings_are_not_mixed(data: Path) -> None:
    extract.make_shard(data, SETTINGS, 1, 2, plain)
    extract.make_shard(data, changed("num_mel_bins=40", compress="CM"), 2, 2, plain)
    with pytest.raises(DataError) as error:
        extract.merge_shards(data, SETTINGS, 2)
    assert str(error.value) == (
        f"{data}/fbank: shard 2 was made differently: compress: CM -> none; settings.num_mel_bins: 40 -> 23; "
        "run stage 1 again"
    )
    before = tree(data)
    make(data, SETTINGS, 2)  # the second shard is made again, the first one is not
    assert tree(data)["fbank/feats.1.ark"] == before["fbank/feats.1.ark"]
    assert read_set(data, "fbank") == SETTINGS


def test_other_settings_on_finished_features_are_refused(data: Path) -> None:
    make(data, SETTINGS, 2)
    before = tree(data)
    other = changed("window=povey", compress="CM2")
    with pytest.raises(StaleError) as error:
        extract.make_shard(data, other, 1, 2, plain)
    assert str(error.value) == (
        f"{data}/fbank: was made differently: compress: none -> CM2; settings.window: hamming -> povey; "
        f"choose another data folder, or have them made again: rm -r {data}/fbank"
    )
    assert tree(data) == before
    shutil.rmtree(data / "fbank")
    make(data, other, 2)
    assert read_set(data, "fbank") == other


def test_other_recordings_under_finished_features_are_refused(data: Path) -> None:
    make(data, SETTINGS, 2)
    wavs = tables.read_table(data / "wav.scp")
    os.utime(wavs["utt1"])  # another date is no other recording
    extract.make_shard(data, SETTINGS, 1, 2, plain)
    soundfile.write(wavs["utt1"], noise(99, 4500), 16000)
    with pytest.raises(StaleError) as error:
        extract.make_shard(data, SETTINGS, 1, 2, plain)
    remedy = f"choose another data folder, or have them made again: rm -r {data}/fbank"
    assert str(error.value) == f"{data}/fbank: was made differently: 1 recording changed: utt1; {remedy}"
    extract.make_shard(data, SETTINGS, 2, 2, plain)  # not in this shard
    tables.write_table(data / "wav.scp", {"new": "/x.wav", **wavs})
    with pytest.raises(StaleError) as error:
        extract.make_shard(data, SETTINGS, 2, 2, plain)
    assert str(error.value) == f"{data}/fbank: was made differently: 1 utterance more: new; {remedy}"


def test_finished_features_outlive_their_recordings(data: Path, tmp_path: Path) -> None:
    make(data, SETTINGS, 2)
    before = tree(data)
    shutil.rmtree(tmp_path / "wav")
    make(data, SETTINGS, 2)
    assert tree(data) == before


def test_a_changed_recording_is_read_again_before_the_merge(data: Path) -> None:
    extract.make_shard(data, SETTINGS, 1, 1, plain)
    soundfile.write(tables.read_table(data / "wav.scp")["utt1"], noise(99, 9000), 16000)
    make(data, SETTINGS, 1)
    assert tables.read_table(data / "fbank" / "utt2num_frames")["utt1"] == str(1 + (9000 - 400) // 160)


def test_a_merge_of_other_recordings_is_refused(data: Path) -> None:
    extract.make_shard(data, SETTINGS, 1, 1, plain)
    wavs = tables.read_table(data / "wav.scp")
    tables.write_table(data / "wav.scp", {**wavs, "utt7": "/x.wav"})
    with pytest.raises(DataError) as error:
        extract.merge_shards(data, SETTINGS, 1)
    assert str(error.value) == (
        f"{data}/fbank/utt2digest: its keys are not those of {data}/wav.scp: 1 only in {data}/wav.scp (utt7)"
        "; run the stage that makes the older of the two again"
    )


def test_all_faulty_recordings_are_told_and_nothing_is_written(data: Path) -> None:
    wavs = {utt: Path(path) for utt, path in tables.read_table(data / "wav.scp").items()}
    wavs["utt1"].write_bytes(b"")
    soundfile.write(wavs["utt3"], np.zeros(399), 16000)
    soundfile.write(wavs["utt4"], np.zeros(4000), 8000)
    wavs["utt5"].unlink()
    soundfile.write(wavs["utt6"], np.full(4000, 1e30), 16000, subtype="FLOAT")
    with pytest.raises(DataError) as error:
        extract.make_shard(data, SETTINGS, 1, 1, plain)
    assert str(error.value).splitlines() == [
        f"{wavs['utt1']}: is empty (0 bytes); copy it again from the release",
        f"{wavs['utt3']}: has 399 samples, fewer than a frame of 400; "
        "leave it out where the corpus is prepared",
        f"{wavs['utt4']}: is sampled at 8000 Hz, audio.sampling_rate_hz says 16000; "
        "--set audio.resample=convert, or name the right rate",
        f"{wavs['utt5']}: no such file; is the corpus where stage 0 found it? If not, run stage 0 again",
        f"{wavs['utt6']}: has samples far beyond 1, its energies are infinite; "
        "copy it again from the release",
    ]
    assert names(data) == ["wav.scp"]


def test_a_shard_that_fails_does_not_vouch_for_what_is_left(data: Path) -> None:
    extract.make_shard(data, SETTINGS, 1, 1, plain)
    other = changed("window=povey")

    def killed(items: Sequence[str], _what: str) -> Iterable[str]:
        yield items[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract.make_shard(data, other, 1, 1, killed)
    assert not (data / "fbank" / "shard.1" / files.MADE).exists()
    with pytest.raises(DataError, match="shard 1 of 1 is missing"):
        extract.merge_shards(data, SETTINGS, 1)


def test_compressed_features(data: Path) -> None:
    make(data, SETTINGS, 2)
    reader = tables.ArkReader(data / "fbank" / "feats.scp")
    exact = {utt: reader.read(utt) for utt in reader.places}
    size = sum(path.stat().st_size for path in data.glob("fbank/*.ark"))
    shutil.rmtree(data / "fbank")
    make(data, changed(compress="CM"), 2)
    assert sum(path.stat().st_size for path in data.glob("fbank/*.ark")) < 0.4 * size
    reader = tables.ArkReader(data / "fbank" / "feats.scp")
    for utt, features in exact.items():
        np.testing.assert_allclose(reader.read(utt), features, rtol=0, atol=0.15)


def test_no_more_shards_than_utterances(data: Path) -> None:
    make(data, SETTINGS, 20)
    assert len(tables.read_table(data / "fbank" / "feats.scp")) == 7
    assert len(list(data.glob("fbank/*.ark"))) == 7


@pytest.mark.parametrize(("job", "num_jobs"), [(0, 3), (4, 3), (1, 0)])
def test_a_shard_that_does_not_exist(data: Path, job: int, num_jobs: int) -> None:
    with pytest.raises(UsageError) as error:
        extract.make_shard(data, SETTINGS, job, num_jobs, plain)
    assert str(error.value) == f"--job {job}: must be from 1 to --num-jobs ({num_jobs})"


def test_a_merge_of_no_shards(data: Path) -> None:
    with pytest.raises(UsageError) as error:
        extract.merge_shards(data, SETTINGS, 0)
    assert str(error.value) == "--num-jobs 0: must be 1 or more"


def test_without_stage_0(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        make(tmp_path, SETTINGS, 1)
    assert str(error.value) == f"{tmp_path}/wav.scp: no such file; run stage 0"


# ------------------------------------------------------------------------------------------- the main set


def test_the_main_set_stands_where_kaldi_looks(data: Path) -> None:
    make(data, SETTINGS, 2)
    extract.make_main(data, "fbank")
    for name in ("feats.scp", "utt2num_frames", "frame_shift"):
        assert (data / name).read_bytes() == (data / "fbank" / name).read_bytes()
    assert (data / "feats.yaml").read_text() == "set: fbank\n" + (data / "fbank/settings.yaml").read_text()
    assert (main_set(data), read_set(data)) == ("fbank", SETTINGS)


def test_what_was_taken_from_the_main_set_is_copied_again(data: Path) -> None:
    make(data, SETTINGS, 2)
    extract.make_main(data, "fbank")
    for name in ("feats.scp", "utt2num_frames", "frame_shift", "feats.yaml"):
        before = tree(data / "fbank")
        (data / name).unlink()
        make(data, SETTINGS, 2)
        extract.make_main(data, "fbank")
        assert (data / name).exists()
        assert tree(data / "fbank") == before


def test_another_main_set(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "slow.yaml").write_text("base: fbank.yaml\nframe_shift_ms: 20.0\n")
    slow = load_set(tmp_path / "slow.yaml", AUDIO)
    make(data, SETTINGS, 2)
    extract.make_main(data, "fbank")
    before = tree(data / "fbank")
    make(data, slow, 2)
    assert main_set(data) == "fbank"  # a set that is made beside it changes nothing
    caplog.set_level("INFO")
    extract.make_main(data, "slow")
    assert f"{data}: the main set is now slow, it was fbank" in caplog.messages
    assert (data / "frame_shift").read_text() == "0.02\n"
    assert (data / "feats.scp").read_bytes() == (data / "slow" / "feats.scp").read_bytes()
    assert read_set(data) == slow
    assert read_set(data, "fbank") == SETTINGS
    assert tree(data / "fbank") == before


def test_a_main_set_that_is_not_there(data: Path) -> None:
    with pytest.raises(DataError) as error:
        extract.make_main(data, "fbank")
    assert str(error.value) == (
        f"{data}/fbank/utt2num_frames: no such file; make the set of frames fbank (stage 1)"
    )


def test_features_are_not_made_in_a_view(data: Path, tmp_path: Path) -> None:
    tables.write_table(data / "utt2spk", {f"utt{i}": "s" for i in range(7)})
    make_view(data, tmp_path / "view", ["utt1", "utt2"])
    with pytest.raises(DataError) as error:
        extract.make_shard(tmp_path / "view", SETTINGS, 1, 1, plain)
    assert str(error.value) == f"{tmp_path}/view: is a view on {data}; make features there"


# ------------------------------------------------------------------------------------ the verb, the script


def test_the_verb(data: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "wide.yaml").write_text("base: fbank.yaml\nnum_mel_bins: 40\n")
    words = [str(path) for path in (tmp_path / "conf/corpus.yaml", data, tmp_path / "conf/wide.yaml", FBANK)]
    options = ["--num-jobs", "2", "--compress", "CM2"]
    for job in ("1", "2"):
        assert verb.main([*options, "--job", job, *words]) == 0
    assert verb.main([*options, "--merge", "--main", *words]) == 0
    assert tables.ArkReader(data / "feats.scp").read("utt0").shape == (23, 40)
    assert tables.ArkReader(data / "fbank" / "feats.scp").read("utt0").shape == (23, 23)
    assert (main_set(data), read_set(data).compress) == ("wide", "CM2")


def test_the_verb_starts_without_torch_and_lhotse() -> None:
    heavy = "{'torch', 'lhotse', 'scipy', 'opensmile'}"
    code = (
        "import sys, ser.verbs.extract; from ser.feats.sets import load_set; from pathlib import Path;"
        "from ser.data.corpus import AudioConfig; audio = AudioConfig(16000, None, 'refuse');"
        "sets = [load_set(Path(f'conf/{name}.yaml'), audio) for name in ('fbank', 'egemaps', 'compare')];"
        f"print([features.make().dim for features in sets], {heavy} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout == "[23, 88, 6373] set()\n"


Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(data: Path, tmp_path: Path) -> Script:
    """steps/extract.sh in a recipe folder that holds the data folder."""
    for name in ("path.sh", "steps", "utils"):
        (tmp_path / name).symlink_to(REPO / name)
    (tmp_path / "conf" / "wide.yaml").write_text("base: fbank.yaml\nnum_mel_bins: 40\n")
    (tmp_path / "conf" / "fbank.yaml").symlink_to(FBANK)
    assert data.relative_to(tmp_path) == Path("data/all")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["steps/extract.sh", *words]
        environment = {**os.environ, "SER_PYTHON": sys.executable}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


ARGUMENTS = ("conf/corpus.yaml", "data/all", "conf/wide.yaml")


@pytest.mark.slow
def test_the_script_makes_features_and_leaves_them(script: Script, data: Path) -> None:
    wavs = list(tables.read_table(data / "wav.scp").items())
    tables.write_table(data / "wav.scp", dict(wavs[:2]))
    done = script("--nj", "20", "--cmd", "run.pl", *ARGUMENTS, "conf/fbank.yaml")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "data/all holds 2 utterances; --nj 20 becomes 2" in done.stderr
    assert main_set(data) == "wide"
    assert tables.ArkReader(data / "feats.scp").read("utt0").shape == (23, 40)
    assert tables.ArkReader(data / "fbank" / "feats.scp").read("utt0").shape == (23, 23)
    for name in ("wide", "fbank"):
        assert (data / "log" / f"extract_{name}.2.log").exists()
        assert not (data / "log" / f"extract_{name}.3.log").exists()
    before = {name: stat for name, stat in tree(data).items() if not name.startswith("log")}
    done = script("--nj", "1", "--main", "false", "conf/corpus.yaml", "data/all", "conf/fbank.yaml")
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
        "extract.sh: error: data/all: the features wide were not made; "
        "the logs are data/all/log/extract_wide.*.log"
    )
    assert not (data / "feats.scp").exists()


def test_the_script_needs_its_arguments(script: Script, data: Path) -> None:
    done = script("conf/corpus.yaml", "data/all")
    assert done.returncode == 2
    assert "expected <corpus.yaml> <data-dir> <set.yaml> ..., got 2 arguments (try --help)" in done.stderr
    assert script("--nj", "0", *ARGUMENTS).returncode == 2
    (data / "wav.scp").unlink()
    done = script(*ARGUMENTS)
    assert done.returncode == 1
    assert "data/all/wav.scp: no such file, or empty; run stage 0" in done.stderr
    assert "Usage: steps/extract.sh [options]" in script("--help").stdout
