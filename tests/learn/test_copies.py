"""Copies of the training utterances in other feature sets, such as of recordings played faster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser import config
from ser.data import tables
from ser.data.turns import TurnUse
from ser.errors import ConfigError, DataError
from ser.feats import cmvn
from ser.feats.speech import CmvnUse, SpeechUse, VadUse
from ser.feats.stores import set_settings
from ser.feats.subset import Norm, Subset
from ser.learn import fitting
from ser.learn.decoding import decode_folder
from ser.learn.models import load_model
from ser.learn.tasks import Task
from tests.learn.conftest import EMOTIONS, MakePart
from tests.learn.speech import add_speech
from tests.learn.test_training import check_resuming, train

COPIES = "features.copies=[[slow]]"
TIMING = "timing: {shift_s: 0.009, middle_s: 0.01125}\n"
SVM = "system: svm\nfeatures: {sets: [functionals], norm: speaker}\nunit: utterance\n"


def add_slow(folder: Path, times: int = 2) -> None:
    """The set ``slow``: each frame so many times, and a little more of everything."""
    (folder / "slow").mkdir()
    reader = tables.ArkReader(folder / "feats.scp")
    frames = {}
    with (
        tables.ArkWriter(folder / "slow" / "feats") as archive,
        tables.ArkWriter(folder / "slow" / "cmvn_utt") as stats,
    ):
        for key in reader.places:
            features = np.repeat(reader.read(key), times, axis=0) * np.float32(1.25) + np.float32(0.5)
            archive.write(key, features)
            stats.write(key, cmvn.stats(features))
            frames[key] = len(features)
    tables.write_table(folder / "slow" / "utt2num_frames", frames)
    (folder / "slow" / "settings.yaml").write_text("settings: {extractor: fbank, speed: 0.9}\n" + TIMING)


def add_vectors(folder: Path) -> None:
    """The set ``louder``: the vectors of ``functionals``, a little more of everything."""
    (folder / "louder").mkdir()
    reader = tables.ArkReader(folder / "functionals" / "feats.scp")
    with tables.ArkWriter(folder / "louder" / "feats") as archive:
        for key in reader.places:
            archive.write(key, reader.read(key) * np.float32(1.5) - np.float32(0.1))
    (folder / "louder" / "settings.yaml").write_text("settings: {extractor: functionals}\n")


@pytest.fixture
def task(make_part: MakePart, tmp_path: Path) -> Task:
    folder = make_part("train", "abc")
    add_speech(folder)
    add_slow(folder)
    add_vectors(folder)
    return Task(folder, make_part("dev", "de", seed=1), tmp_path / "model", 7, {}, "")


@pytest.mark.parametrize("norm", ["none", "utterance", "speaker", "global"])
def test_copies_stand_behind_the_utterances(task: Task, norm: Norm) -> None:
    """Each with the labels of its utterance, a speaker of its own, and the statistics of these speakers."""
    plain, slow = (Subset(task.train, [name], norm, emotions=EMOTIONS) for name in ("fbank", "slow"))
    both = Subset(task.train, ["fbank"], norm, emotions=EMOTIONS, copies=[["slow"]])
    assert len(both) == 48
    assert both.keys == [*plain.keys, *(f"{key} (slow)" for key in plain.keys)]
    assert list(both.speakers.values()) == [*plain.people, *(f"{name} (slow)" for name in plain.people)]
    assert both.people == plain.people * 2
    np.testing.assert_array_equal(both.labels, np.tile(plain.labels, 2))
    np.testing.assert_array_equal(both.num_frames, np.concatenate([plain.num_frames, slow.num_frames]))
    total = plain.main.total_stats() + slow.main.total_stats()
    np.testing.assert_allclose(both.main.total_stats(), total, rtol=1e-6)
    if norm == "global":
        plain, slow = (
            Subset(task.train, [name], norm, emotions=EMOTIONS, global_stats={name: both.main.total_stats()})
            for name in ("fbank", "slow")
        )
    for index in range(24):
        np.testing.assert_allclose(both.main.read(index), plain.main.read(index), atol=1e-5)
        np.testing.assert_allclose(both.main.read(index + 24), slow.main.read(index), atol=1e-5)


def test_copies_are_trimmed_at_the_same_times(task: Task) -> None:
    use = SpeechUse(VadUse("trim", 18.0), CmvnUse("all"))
    plain = Subset(task.train, ["fbank"], "none", emotions=EMOTIONS, speech=use)
    both = Subset(task.train, ["fbank"], "none", emotions=EMOTIONS, speech=use, copies=[["slow"]])
    slow = Subset(task.train, ["slow"], "none", emotions=EMOTIONS, speech=use)
    np.testing.assert_array_equal(both.num_frames, np.concatenate([plain.num_frames, slow.num_frames]))
    assert (slow.num_frames < 2 * plain.num_frames).any()
    np.testing.assert_array_equal(both.main.read(30), slow.main.read(6))
    utts, starts = np.array([3, 27]), np.array([0, 0])
    expected = [plain.main.heard(utts[:1], starts[:1], 20)[0], slow.main.heard(utts[:1], starts[:1], 20)[0]]
    assert both.main.heard(utts, starts, 20).tolist() == expected


def test_networks_train_on_them_and_decode_without(task: Task, system_yaml: Path, tmp_path: Path) -> None:
    """The model names only what it reads; the data it decodes need no copies."""
    if "multimodal" in system_yaml.name:
        with pytest.raises(ConfigError, match="features.copies is for what is read of utterances by"):
            train(task, system_yaml, "features.copies=[[louder]]")
        return
    train(task, system_yaml, COPIES)
    model = load_model(task.folder)
    assert model.sets == {"fbank": set_settings(task.train, "fbank")}
    assert task.dev is not None
    add_speech(task.dev)
    decode_folder(task.folder, task.dev, tmp_path / "decoded", use_gpu="no")
    assert len(tables.read_table(tmp_path / "decoded" / "post")) > 0
    plain = replace(task, folder=tmp_path / "plain")
    train(plain, system_yaml)
    first, second = (load_model(folder).arrays for folder in (task.folder, plain.folder))
    assert any(not np.array_equal(first[name], second[name]) for name in first)


def test_killed_and_resumed_with_copies(
    task: Task, blstmatt_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blstmatt_yaml.write_text(
        blstmatt_yaml.read_text().replace("sets: [fbank]", "sets: [fbank], copies: [[slow]]")
    )
    check_resuming(task, blstmatt_yaml, tmp_path, monkeypatch, (1, 1))


def test_an_svm_trains_on_them(task: Task, tmp_path: Path) -> None:
    """As on a folder that holds the copies as utterances of other speakers, held out with their people."""
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    from ser.systems import svm

    yaml = tmp_path / "svm.yaml"
    yaml.write_text(SVM)
    tree = config.resolve(yaml, ["features.copies=[[louder]]"])
    fitting.train(replace(task, tree=tree, source="svm.yaml"))
    model = load_model(task.folder)
    first, second = (
        Subset(task.train, [name], "none", emotions=EMOTIONS) for name in ("functionals", "louder")
    )
    rows = [
        svm.standardise_speakers(np.stack([each.main.raw(i) for i in range(24)]).astype(float), each.people)
        for each in (first, second)
    ]
    labels = np.tile(first.labels, 2)
    choice = svm.choose([np.concatenate(rows)], labels, first.people * 2, 4, within=False)
    expected = svm.separate(np.concatenate(rows), labels, choice.cost)
    assert model.arrays["cost"] == choice.cost
    np.testing.assert_allclose(model.arrays["weights"], expected["weights"], atol=1e-9)
    assert list(model.sets) == ["functionals"]


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            ["features.copies=[[slow, louder]]"],
            ConfigError,
            "features.copies must be lists of as many sets as sets has (1), and of others, got slow, louder",
        ),
        (
            ["features.copies=[[fbank]]"],
            ConfigError,
            "features.copies must be lists of as many sets as sets has (1), and of others, got fbank",
        ),
        (
            ["features.copies=[[louder]]"],
            DataError,
            "the set 'louder' has vectors of 5 values, 'fbank' frames of 6 values; name sets of the same "
            "extractor in features.copies",
        ),
        (
            ["features.copies=[[fast]]"],
            DataError,
            "has no features of the set 'fast'; run stage 1 with a system that reads it, or ",
        ),
    ],
)
def test_copies_that_do_not_fit_are_refused(
    task: Task, blstmatt_yaml: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        train(task, blstmatt_yaml, *overrides)
    assert message in str(caught.value)


def test_copies_of_what_is_said_are_refused(task: Task) -> None:
    with pytest.raises(DataError) as caught:
        Subset(task.train, ["fbank"], "none", turns=TurnUse(min_count=1), copies=[["slow"]])
    assert str(caught.value) == (
        f"{task.train}: features.copies is for what is read of utterances by themselves, not of transcripts "
        "or dialogues; leave it out"
    )
