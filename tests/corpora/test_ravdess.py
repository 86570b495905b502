from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ser import corpora
from ser.corpora import ravdess
from ser.corpora.ravdess import prepare_ravdess
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.folds import plan_folds
from ser.data.manifests import count_checks, read_manifests
from ser.data.tables import write_table
from ser.data.validate import validate
from ser.errors import DataError
from tests.corpora.wavs import write_wav


def sound(path: Path, seed: int, channels: int = 1) -> Path:
    return write_wav(path, seed, rate_hz=48000, channels=channels)


def names(actor: int) -> list[str]:
    """The 60 recordings of speech that the release has of an actor."""
    return [
        f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}.wav"
        for emotion in range(1, 9)
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    ]


def make_release(root: Path, actors: range, *, flat: bool = False) -> Path:
    """The release's layout, with noise; the first recording of an actor is stereo."""
    for actor in actors:
        for number, name in enumerate(names(actor)):
            folder = root if flat else root / f"Actor_{actor:02}"
            sound(folder / name, 100 * actor + number, channels=1 + (number == 0))
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 1,440 recordings, in folders."""
    return make_release(tmp_path_factory.mktemp("ravdess") / "release", range(1, 25))


def test_names_are_labels(release: Path) -> None:
    manifests = prepare_ravdess(release, num_jobs=2)
    found = {item.id: item for item in manifests["supervisions"]}
    assert len(found) == len(manifests["recordings"]) == 1440
    item = found["12_03-01-06-01-02-01-12"]
    assert (item.speaker, item.gender, item.text) == ("12", "f", "Dogs are sitting by the door.")
    assert item.custom == {
        "emotion": "fearful",
        "intensity": "normal",
        "statement": "02",
        "repetition": "01",
    }
    assert Counter(item.gender for item in found.values()) == {"f": 720, "m": 720}
    assert sorted(found) == sorted(found, key=lambda name: (found[name].speaker, name))


def test_the_flat_layout_is_the_same(release: Path, tmp_path: Path) -> None:
    flat = make_release(tmp_path / "flat", range(1, 3), flat=True)
    folders = prepare_ravdess(release)["supervisions"]
    assert list(prepare_ravdess(flat)["supervisions"]) == [i for i in folders if i.speaker in ("01", "02")]


def test_songs_and_videos_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ser")
    root = make_release(tmp_path / "release", range(1, 2))
    sound(root / "Actor_01" / "03-02-06-01-02-01-01.wav", 1)
    sound(root / "Actor_01" / "01-01-06-01-02-01-01.wav", 2)
    (root / "Actor_01" / "02-01-06-01-02-01-01.mp4").touch()
    sound(root / "audio_speech_actors_01-24" / "Actor_01" / names(1)[0], 3)  # one distribution has it twice
    assert len(prepare_ravdess(root)["supervisions"]) == 60
    assert f"{root}: 2 songs and sound tracks of videos are left out" in caplog.messages


def test_all_faults_are_listed(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release", range(1, 2))
    folder = root / "Actor_01"
    for name in (
        "hello.wav",
        "03-01-09-01-01-01-01.wav",
        "03-01-01-02-01-01-01.wav",
        "03-01-02-01-01-01-25.wav",
        "03-01-02-01-01-01-02.wav",
    ):
        sound(folder / name, 1)
    sound(root / names(1)[0], 1)
    (folder / names(1)[1]).write_bytes(b"")
    with pytest.raises(DataError) as error:
        prepare_ravdess(root)
    assert str(error.value).splitlines() == sorted(
        [
            f"{folder}/{names(1)[0]}: is the same utterance as {root}/{names(1)[0]}; keep one of them",
            f"{folder}/{names(1)[1]}: is empty (0 bytes); copy it again from the release",
            f"{folder}/03-01-01-02-01-01-01.wav: says neutral (01) with strong intensity (02), which RAVDESS "
            "does not have; rename or remove it",
            f"{folder}/03-01-02-01-01-01-02.wav: is named as actor 02's, but lies in Actor_01; "
            "move or rename it",
            f"{folder}/03-01-02-01-01-01-25.wav: 25 is no actor of RAVDESS (01 to 24); rename or remove it",
            f"{folder}/03-01-09-01-01-01-01.wav: 09 is no emotion of RAVDESS (01 to 08); rename or remove it",
            f"{folder}/hello.wav: is not named as RAVDESS's recordings are (03-01-06-01-02-01-12.wav); "
            "rename or remove it",
        ]
    )


def message(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare_ravdess(folder)
    return str(error.value)


def test_a_wrong_folder_is_told_from_the_right_one(release: Path, tmp_path: Path) -> None:
    give = "give the folder of RAVDESS's release, the one that holds Actor_01 or 03-01-01-*.wav"
    assert message(release.parent) == f"{release.parent}: is one folder too high; give {release}"
    assert message(release / "Actor_01") == f"{release}/Actor_01: is one folder too low; give {release}"
    assert message(tmp_path / "none") == f"{tmp_path}/none: no such folder; {give}"
    (tmp_path / "empty").mkdir()
    assert message(tmp_path / "empty") == f"{tmp_path}/empty: is empty; {give}"
    sound(tmp_path / "other" / "wav" / "03a01Fa.wav", 1)
    assert message(tmp_path / "other") == (
        f"{tmp_path}/other: is no copy of RAVDESS, it does not hold Actor_01 or 03-01-01-*.wav (it has wav); "
        f"{give}"
    )


@pytest.mark.parametrize("name", ["corpus", "corpus_4"])
def test_the_numbers_and_folds_that_are_expected(
    release: Path, repo: Path, tmp_path: Path, name: str
) -> None:
    config = load_corpus(repo / "egs" / "ravdess" / "conf" / f"{name}.yaml")
    corpora.prepare("ravdess", release, tmp_path / "manifests", num_jobs=2)
    lines = count_checks(read_manifests(tmp_path / "manifests"), config)
    assert [right for right, _ in lines] == [True] * 10
    lists = config.protocols["actors"].test
    assert isinstance(lists, dict)
    assert sorted(actor for actors in lists.values() for actor in actors) == sorted(ravdess.ACTORS)
    assert [Counter(ravdess.ACTORS[a] for a in actors) for actors in lists.values()] == [{"f": 2, "m": 2}] * 6
    assert ("cal" in config.classes) == (name == "corpus")
    assert set(config.labels) - {"calm", "disgust", "fearful", "surprised"} == {
        *("angry", "happy", "neutral", "sad"),
    }


@pytest.mark.parametrize("name", ["corpus", "corpus_4"])
def test_emobox_has_its_own_folds(repo: Path, name: str) -> None:
    """Its assignment of actors as its list of RAVDESS's test subsets says it; tuning as ``actors`` has it."""
    protocols = load_corpus(repo / "egs" / "ravdess" / "conf" / f"{name}.yaml").protocols
    emobox = protocols["emobox"]
    assert isinstance(emobox.test, dict)
    assert {
        fold: " ".join(str(int(actor)) for actor in actors) for fold, actors in emobox.listed.items()
    } == {
        "1": "1 11 20 21",
        "2": "4 10 12 14",
        "3": "8 9 19 23",
        "4": "3 5 7 24",
        "5": "2 15 16 18",
        "6": "6 13 17 22",
    }
    assert sorted(actor for actors in emobox.listed.values() for actor in actors) == sorted(ravdess.ACTORS)
    assert replace(emobox, test=protocols["actors"].test) == protocols["actors"]


def test_each_fold_of_emobox_tests_on_its_actors(repo: Path, tmp_path: Path) -> None:
    """Two women and two men of the others tune in an extra fold; then all others are trained on."""
    config = load_corpus(repo / "egs" / "ravdess" / "conf" / "corpus.yaml")
    rows = [(f"{actor}_{emotion}", actor, emotion) for actor in ravdess.ACTORS for emotion in config.classes]
    write_table(tmp_path / "utt2spk", {name: actor for name, actor, _ in rows})
    write_table(tmp_path / "utt2emo", {name: emotion for name, _, emotion in rows})
    write_table(tmp_path / "spk2gender", ravdess.ACTORS)
    write_table(tmp_path / "emotions.txt", {name: index for index, name in enumerate(config.classes)})
    folds = {fold.name: fold for fold in plan_folds(tmp_path, config, "emobox")[0]}
    assert list(folds) == [f"{number}{kind}" for number in range(1, 7) for kind in ("", "-dev")]
    tested = config.protocols["emobox"].listed
    for name, actors in tested.items():
        others = set(ravdess.ACTORS) - set(actors)
        chosen = {subset: speakers(names) for subset, names in folds[name].subsets.items()}
        assert chosen == {"train": others, "test": set(actors)}
        tuning = {subset: speakers(names) for subset, names in folds[f"{name}-dev"].subsets.items()}
        assert tuning["train"] | tuning["test"] == others
        assert Counter(ravdess.ACTORS[actor] for actor in tuning["test"]) == {"f": 2, "m": 2}


def speakers(utterances: Iterable[str]) -> set[str]:
    return {name[:2] for name in utterances}


def test_the_settings_differ_in_their_classes_alone(repo: Path) -> None:
    eight, four = (
        load_corpus(repo / "egs" / "ravdess" / "conf" / f"{name}.yaml") for name in ("corpus", "corpus_4")
    )
    assert (eight.audio, eight.protocols, eight.checks) == (four.audio, four.protocols, four.checks)


@pytest.mark.slow
def test_the_script_makes_a_data_folder(release: Path, repo: Path, tmp_path: Path) -> None:
    data = tmp_path / "all"
    line = ["local/prepare.sh", "--strict", "true", "--config", "conf/corpus_4.yaml"]
    result = subprocess.run(
        [*line, str(tmp_path / "manifests"), str(data)],
        cwd=repo / "egs" / "ravdess",
        env={**os.environ, "SER_PYTHON": sys.executable, "RAVDESS": str(release)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout.count("ok: ")) == (0, 10), result.stderr
    emotions = tables.read_table(data / "utt2emo")
    assert Counter(emotions.values()) == {"ang": 192, "hap": 192, "neu": 96, "sad": 192}
    assert validate(data, need=["wav.scp"]) == (672, 24)


def test_the_script_needs_a_corpus(repo: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAVDESS"}
    result = subprocess.run(
        ["local/prepare.sh"],
        cwd=repo / "egs" / "ravdess",
        env={**environment, "SER_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "ser: error: give --corpus-dir <folder of RAVDESS>, or set RAVDESS (try --help)\n"
    )


@pytest.mark.slow
def test_the_recipe_makes_features_and_folds(release: Path, repo: Path, tmp_path: Path) -> None:
    """Stages 0 to 2: 48 kHz, one or two channels; no actor is in two parts of a fold."""
    line = ["./run.sh", "--corpus", "ravdess", "--corpus-dir", str(release), "--stop-stage", "2", "--nj", "1"]
    result = subprocess.run(
        [*line, "--data-dir", str(tmp_path / "data"), "--exp-dir", str(tmp_path / "exp")],
        cwd=repo,
        env={**os.environ, "SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    folds = tmp_path / "data" / "folds"
    header, *rows = [line.split("\t") for line in (folds / "checks.tsv").read_text().splitlines()]
    assert header[2:] == ["utterances", "speakers", "recordings", "shared_speakers", "shared_recordings"]
    assert rows[:4] == [
        ["1", "train", "1200", "20", "1200", "0", "0"],
        ["1", "test", "240", "4", "240", "0", "0"],
        ["1-dev", "train", "960", "16", "960", "0", "0"],
        ["1-dev", "test", "240", "4", "240", "0", "0"],
    ]
    assert len(rows) == 24
    assert len(tables.read_table(folds / "pooled" / "utt2spk")) == 1440
