"""What ``features.norm: auto`` takes for a training subset, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from ser import corpora
from ser.corpora.mini import design
from ser.data import tables
from ser.data.confounding import TrainingSpeaker, training_speakers
from ser.data.corpus import Protocol, load_corpus
from ser.data.corpus_tables import make_data_dir
from ser.data.durations import known_durations
from ser.data.folds import make_folds, plan_folds
from ser.data.labels import read_emotions, read_utt2emo, write_emotions
from ser.data.normalisation import (
    NormChoice,
    choose_norm,
    little_speech_text,
    norm_files,
    norm_of,
    norm_text,
    norm_warning,
)
from tests.corpora.test_ravdess import names
from tests.data.test_folds import config, make_data

SOUND = NormChoice("speaker", "speaker and class are not confounded, and training speakers say enough")
CONFOUNDED = NormChoice("global", "speaker and class are confounded")
LITTLE = NormChoice("global", "a typical training speaker has less than 10 s of speech")
FEW = NormChoice("global", "a typical training speaker has fewer than 8 utterances")
UNKNOWN = NormChoice("global", "how much speech a training speaker has is not known without utt2dur")
ONE = NormChoice("global", "there is 1 training speaker")
CLASSES = ("ang", "hap", "neu", "sad")


def speakers(*said: tuple[int, int, float]) -> list[TrainingSpeaker]:
    return [TrainingSpeaker(*each) for each in said]


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (speakers(*[(4, 8, 10.0)] * 2), SOUND),  # just enough
        (speakers(*[(4, 8, 9.99)] * 3), LITTLE),
        (speakers(*[(4, 7, 60.0)] * 3), FEW),
        (speakers((4, 7, 9.0), (4, 8, 10.0), (4, 8, 10.0)), SOUND),  # a typical one has, not each
        (speakers((4, 7, 9.0), (4, 7, 9.0), (4, 90, 99.0)), FEW),
        (speakers(*[(4, 20, 0.0)] * 3), UNKNOWN),
        (speakers((4, 100, 500.0)), ONE),
        (speakers(*[(1, 14, 60.0)] * 26, *[(4, 14, 60.0)] * 3), CONFOUNDED),
        (speakers(*[(2, 10, 60.0)] * 1, *[(4, 10, 60.0)] * 3), CONFOUNDED),  # a quarter of the utterances
        (speakers(*[(2, 10, 60.0)] * 1, *[(4, 10, 60.0)] * 4), SOUND),  # a fifth
        (speakers(*[(3, 10, 60.0)] * 4), SOUND),  # of four classes
    ],
)
def test_where_it_is_by_speaker(training: list[TrainingSpeaker], expected: NormChoice) -> None:
    assert choose_norm(training, 4) == expected


def make_tables(folder: Path, utts: Mapping[str, tuple[str, str, float]]) -> Path:
    """Utterance -> speaker, class, duration in seconds, as the tables of a data folder."""
    for number, name in enumerate(("utt2spk", "utt2emo", "utt2dur")):
        tables.write_table(folder / name, {utt: values[number] for utt, values in sorted(utts.items())})
    write_emotions(folder / "emotions.txt", CLASSES)
    return folder


def toy(folder: Path, duration_s: float = 2.0, number: int = 12) -> Path:
    return make_tables(
        folder,
        {f"{s}-{n:02}": (s, CLASSES[n % 4], duration_s) for s in ("a", "b", "c") for n in range(number)},
    )


def test_durations_are_those_of_the_recordings_else_of_their_frames(tmp_path: Path) -> None:
    train = toy(tmp_path / "train", 0.8)  # 9.6 s
    tables.write_table(train / "utt2num_frames", dict.fromkeys(tables.read_table(train / "utt2spk"), 100))
    (train / "frame_shift").write_text("0.01\n")
    assert norm_of(train) == LITTLE
    assert list(norm_files(train)) == ["utt2spk", "utt2emo", "utt2dur"]
    (train / "utt2dur").unlink()
    assert set(known_durations(train).values()) == {1.0}
    assert norm_of(train) == SOUND
    assert list(norm_files(train)) == ["utt2spk", "utt2emo", "utt2num_frames", "frame_shift"]
    (train / "frame_shift").unlink()
    assert norm_of(train) == UNKNOWN


def test_what_is_said_of_the_folds() -> None:
    alike = dict.fromkeys("abcd", SOUND)
    assert norm_text(alike) == (
        "features.norm auto takes speaker (speaker and class are not confounded, and training speakers say "
        "enough)"
    )
    assert norm_warning(alike) == ""
    assert norm_warning({"a": CONFOUNDED, "b": FEW}) == ""  # two reasons for one normalisation
    assert norm_text({"a": CONFOUNDED, "b": FEW, "c": FEW}) == (
        "features.norm auto takes global in 2 of 3 folds (b, c: a typical training speaker has fewer than 8 "
        "utterances); global in 1 of 3 folds (a: speaker and class are confounded)"
    )
    assert norm_warning(alike | {"a": CONFOUNDED}) == (
        "features.norm auto takes speaker in 3 of 4 folds (b, c, d: speaker and class are not confounded, "
        "and training speakers say enough); global in 1 of 4 folds (a: speaker and class are confounded): "
        "results over all folds are then of two normalisations; --set features.norm=global has one"
    )


def test_labels_of_the_tested_speaker_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One speaker of three shows one class; of the fold that tests on her only the others count."""
    people = {"S1_F": "1", "S1_M": "1", "S2_F": "2"}
    data = make_data(tmp_path / "all", people)
    utts = {f"{s}-{c}{i}": c for s in people for c in ("ang", "sad") for i in (1, 2)}
    tables.write_table(data / "utt2emo", {u: "ang" if u.startswith("S1_F") else c for u, c in utts.items()})
    protocol = config(loso=Protocol("speaker", "each", None, {}))
    with caplog.at_level(logging.INFO):
        make_folds(data, tmp_path / "folds", protocol)
    assert any(
        message.startswith(
            "features.norm auto takes global in 2 of 3 folds (S1_M, S2_F: speaker and class are confounded); "
            "global in 1 of 3 folds (S1_F: a typical training speaker has fewer than 8 utterances)"
        )
        for message in (text.partition("/folds: ")[2] for text in caplog.messages)
    )


def test_folds_that_differ_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    people = {"S1_F": "1", "S1_M": "1", "S2_F": "2"}
    data = make_data(tmp_path / "all", people)
    utt2spk = tables.read_table(data / "utt2spk")
    # 3.1 s of the one who says least, 40 s of the others: the median of two is below 10 s only with 3.1 s
    tables.write_table(data / "utt2dur", {u: 0.78 if s == "S1_F" else 10.0 for u, s in utt2spk.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ser.data.normalisation.LEAST_UTTERANCES", 4)
        patch.setattr("ser.data.normalisation.LEAST_S", 30.0)
        make_folds(data, tmp_path / "folds", config(loso=Protocol("speaker", "each", None, {})))
    assert caplog.messages[-1] == (
        "features.norm auto takes global in 2 of 3 folds (S1_M, S2_F: a typical training speaker has less "
        "than 30 s of speech); speaker in 1 of 3 folds (S1_F: speaker and class are not confounded, and "
        "training speakers say enough): results over all folds are then of two normalisations; --set "
        "features.norm=global has one"
    )
    assert (tmp_path / "folds" / "warnings.txt").read_text().endswith(f"{caplog.messages[-1]}\n")


def test_little_speech_is_counted(tmp_path: Path) -> None:
    utts = {f"a-{n}": ("a", "ang", 1.0) for n in range(5)}  # just enough
    assert little_speech_text(make_tables(tmp_path / "one", utts)) == ""
    utts |= {f"{s}-{n}": (s, "sad", 1.2) for s in "bcde" for n in range(4)} | {"f-0": ("f", "hap", 4.99)}
    folder = make_tables(tmp_path / "two", utts)
    assert little_speech_text(folder) == (
        f"{folder}: 5 of 6 speakers have less than 5 s of speech (b, c, d, ...), too little to normalise "
        "their 17 of 22 utterances by; features.norm global takes the training subset's statistics"
    )
    (folder / "utt2dur").unlink()
    assert little_speech_text(folder) == ""


def choices(data: Path, conf: Path, protocol: str | None = None) -> dict[str, NormChoice]:
    """Of all folds of a corpus, those that tune too."""
    emotions = read_emotions(data / "emotions.txt")
    utt2spk, utt2emo = tables.read_table(data / "utt2spk"), read_utt2emo(data / "utt2emo", emotions)
    return {
        fold.name: choose_norm(
            training_speakers(fold.subsets["train"], utt2spk, utt2emo, known_durations(data)), len(emotions)
        )
        for fold in plan_folds(data, load_corpus(conf), protocol)[0]
    }


def test_emodb(emodb: Path, repo: Path, tmp_path: Path) -> None:
    conf = repo / "egs" / "emodb" / "conf" / "corpus.yaml"
    corpora.prepare("emodb", emodb, tmp_path / "manifests")
    make_data_dir(tmp_path / "manifests", tmp_path / "all", load_corpus(conf))
    made = choices(tmp_path / "all", conf)
    assert len(made) == 20
    assert set(made.values()) == {SOUND}


def test_ravdess_of_four_classes(repo: Path, tmp_path: Path) -> None:
    """The names of the release, each with the duration of its shortest recording."""
    classes = {"01": "neu", "03": "hap", "04": "sad", "05": "ang"}
    utts = {
        f"{actor:02}_{name}": (f"{actor:02}", classes[name[6:8]], 2.9)
        for actor in range(1, 25)
        for name in names(actor)
        if name[6:8] in classes
    }
    assert len(utts) == 672
    made = choices(make_tables(tmp_path, utts), repo / "egs" / "ravdess" / "conf" / "corpus_4.yaml")
    assert len(made) == 12
    assert set(made.values()) == {SOUND}


@pytest.mark.parametrize(("scale", "expected"), [(1.0, SOUND), (0.1, FEW)])
def test_mini(repo: Path, tmp_path: Path, scale: float, expected: NormChoice) -> None:
    """Its turns take more than a second each; a tenth of them are too few."""
    conf = repo / "egs" / "mini" / "conf" / "corpus.yaml"
    labels = load_corpus(conf).labels
    turns = {
        turn.name: (turn.speaker, labels[turn.label], 1.0)
        for dialog in design.plan(0, scale)
        for turn in dialog.turns
        if turn.label in labels
    }
    data = make_tables(tmp_path, turns)
    tables.write_table(data / "utt2session", {name: name[4] for name in sorted(turns)})
    assert set(choices(data, conf, "session").values()) == {expected}
    assert set(choices(data, conf, "paper_dev").values()) == {expected}
