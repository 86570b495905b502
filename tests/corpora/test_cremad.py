from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ser import corpora
from ser.corpora.cremad import SENTENCES, prepare_cremad
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.manifests import count_checks, read_manifests
from ser.data.validate import validate
from ser.errors import DataError
from tests.corpora.wavs import write_wav

HEADER = '"ActorID","Age","Sex","Race","Ethnicity"\n'


def names(actor: int) -> list[str]:
    """The 82 recordings that each actor was asked for."""
    eleven = [
        f"{actor}_{sentence}_{emotion}_XX.wav"
        for sentence in SENTENCES
        if sentence != "IEO"
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    ]
    levels = [
        f"{actor}_IEO_{emotion}_{level}.wav"
        for emotion in ("ANG", "DIS", "FEA", "HAP", "SAD")
        for level in ("LO", "MD", "HI")
    ]
    return [*eleven, *levels, f"{actor}_IEO_NEU_XX.wav"]


# Of the 7,462 recordings that were asked for, as many of each emotion as the release does not have.
LACKING = {"ANG": 3, "DIS": 3, "FEA": 3, "HAP": 3, "NEU": 5, "SAD": 3}


def make_release(root: Path, actors: range) -> Path:
    for actor in actors:
        for number, name in enumerate(names(actor)):
            write_wav(root / "AudioWAV" / name, 100 * actor + number)
    rows = [f'{actor},30,"{"Male" if actor % 2 else "Female"}","Unknown","Unknown"\n' for actor in actors]
    (root / "VideoDemographics.csv").write_text(HEADER + "".join(rows))
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_release(tmp_path / "release", range(1001, 1004))


def test_names_are_labels(small: Path) -> None:
    manifests = prepare_cremad(small, num_jobs=2)
    found = {item.id: item for item in manifests["supervisions"]}
    assert len(found) == len(manifests["recordings"]) == 3 * 82
    item = found["1002_IEO_HAP_MD"]
    assert (item.speaker, item.gender, item.text) == ("1002", "f", "It's eleven o'clock.")
    assert item.custom == {"emotion": "HAP", "sentence": "IEO", "level": "medium"}
    assert found["1001_DFA_ANG_XX"].custom["level"] == "unspecified"
    assert found["1001_DFA_ANG_XX"].gender == "m"
    assert Counter(item.custom["emotion"] for item in found.values()) == {
        **dict.fromkeys(("ANG", "DIS", "FEA", "HAP", "SAD"), 42),
        "NEU": 36,
    }


def test_the_one_file_with_an_odd_level_is_taken(small: Path) -> None:
    write_wav(small / "AudioWAV" / "1040_ITH_SAD_X.wav", 1)
    with open(small / "VideoDemographics.csv", "a") as stream:
        stream.write('1040,42,"Male","Caucasian","Not Hispanic"\n')
    found = {item.id: item for item in prepare_cremad(small)["supervisions"]}
    assert found["1040_ITH_SAD_X"].custom == {"emotion": "SAD", "sentence": "ITH", "level": "unspecified"}


def test_recordings_alone_are_enough(small: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ser")
    (small / "VideoDemographics.csv").unlink()
    assert {item.gender for item in prepare_cremad(small)["supervisions"]} == {None}
    assert (
        f"{small}/VideoDemographics.csv: not there, so the actors' genders are not known" in caplog.messages
    )


def message(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare_cremad(folder)
    return str(error.value)


def test_all_faults_are_listed(small: Path) -> None:
    wav = small / "AudioWAV"
    for name in ("hello", "1092_DFA_ANG_XX", "1001_XYZ_ANG_XX", "1001_DFA_JOY_XX", "1001_DFA_ANG_X"):
        write_wav(wav / f"{name}.wav", 1)
    write_wav(wav / "1001_DFA_ANG_XX.flac", 1)
    (wav / "1002_DFA_ANG_XX.wav").write_bytes(b"")
    (small / "VideoDemographics.csv").write_text(f'{HEADER}1001,51,"Male",x,x\n1002,21,"?",x,x\n')
    rename = "rename or remove it"
    assert message(small).splitlines() == [
        f"{wav}/1001_DFA_ANG_X.wav: X is no level of CREMA-D (LO MD HI XX); {rename}",
        f"{wav}/1001_DFA_ANG_XX.wav: is the same utterance as 1001_DFA_ANG_XX.flac; keep one of them",
        f"{wav}/1001_DFA_JOY_XX.wav: JOY is no emotion of CREMA-D (ANG DIS FEA HAP NEU SAD); {rename}",
        f"{wav}/1001_XYZ_ANG_XX.wav: XYZ is no sentence of CREMA-D ({' '.join(SENTENCES)}); {rename}",
        f"{wav}/1002_DFA_ANG_XX.wav: is empty (0 bytes); copy it again from the release",
        f"{wav}/1092_DFA_ANG_XX.wav: 1092 is no actor of CREMA-D (1001 to 1091); {rename}",
        f"{wav}/hello.wav: is not named as CREMA-D's recordings are (1001_DFA_ANG_XX.wav); {rename}",
        f"{small}/VideoDemographics.csv:3: Sex is Male or Female, not '?'; copy it again from the release",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Actor,Sex\n1001,Male\n", ":1: has no column ActorID; copy it again from the release"),
        (
            f"{HEADER}1002,21,Female,x,x\n",
            ": has no line for actor 1001, 1003; copy it again from the release",
        ),
    ],
)
def test_demographics_that_cannot_be_used(small: Path, text: str, expected: str) -> None:
    (small / "VideoDemographics.csv").write_text(text)
    assert message(small) == f"{small}/VideoDemographics.csv{expected}"


def test_a_wrong_folder_is_told_from_the_right_one(small: Path, tmp_path: Path) -> None:
    give = "give the folder of CREMA-D's release, the one that holds AudioWAV/1001_DFA_ANG_XX.wav and others"
    assert message(tmp_path) == f"{tmp_path}: is one folder too high; give {small}"
    assert message(small / "AudioWAV") == f"{small}/AudioWAV: is one folder too low; give {small}"
    assert message(tmp_path / "none") == f"{tmp_path}/none: no such folder; {give}"


@pytest.mark.slow
def test_the_numbers_and_folds_that_are_expected(repo: Path, tmp_path: Path) -> None:
    release = make_release(tmp_path / "release", range(1001, 1092))
    for emotion, number in LACKING.items():
        for actor in range(1001, 1001 + number):
            (release / "AudioWAV" / f"{actor}_DFA_{emotion}_XX.wav").unlink()
    corpora.prepare("cremad", release, tmp_path / "manifests", num_jobs=2)
    utterances = read_manifests(tmp_path / "manifests")
    six, four = (
        load_corpus(repo / "egs" / "cremad" / "conf" / f"{name}.yaml") for name in ("corpus", "corpus_4")
    )
    for config in (six, four):
        assert [right for right, _ in count_checks(utterances, config)] == [True] * 8
    assert (six.audio, six.protocols, six.checks) == (four.audio, four.protocols, four.checks)
    assert four.classes == ("ang", "hap", "neu", "sad")
    lists = six.protocols["actors"].test
    assert isinstance(lists, dict)
    assert sorted(actor for actors in lists.values() for actor in actors) == [
        str(n) for n in range(1001, 1092)
    ]
    assert [len(actors) for actors in lists.values()] == [16, 15, 15, 15, 15, 15]


@pytest.mark.slow
def test_the_script_makes_a_data_folder(small: Path, repo: Path, tmp_path: Path) -> None:
    data = tmp_path / "all"
    line = ["local/prepare.sh", "--config", "conf/corpus_4.yaml", str(tmp_path / "manifests"), str(data)]
    result = subprocess.run(
        line,
        cwd=repo / "egs" / "cremad",
        env={**os.environ, "SER_PYTHON": sys.executable, "CREMAD": str(small)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout.count("differs: ")) == (0, 8), result.stderr
    assert Counter(tables.read_table(data / "utt2emo").values()) == {
        "ang": 42,
        "hap": 42,
        "neu": 36,
        "sad": 42,
    }
    assert tables.read_table(data / "spk2gender") == {"1001": "m", "1002": "f", "1003": "m"}
    assert validate(data, need=["wav.scp"]) == (162, 3)
