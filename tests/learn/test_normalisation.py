"""``features.norm: auto`` in training and decoding: what is taken, kept, said, and refused."""

from __future__ import annotations

import json
import shutil
import string
from pathlib import Path

import pytest

from ser import config
from ser.data import tables
from ser.errors import ConfigError, StaleError
from ser.feats.speech import CmvnUse, SpeechUse
from ser.learn import fitting, models, tasks
from ser.learn.decoding import decode_folder
from ser.learn.tasks import Task
from ser.systems import build_settings
from tests.learn.conftest import EMOTIONS, MakePart
from tests.learn.speech import add_speech

SPEAKERS = string.ascii_lowercase + "012"  # 29


def timed(folder: Path, duration_s: float = 2.0) -> Path:
    """The same folder with durations."""
    tables.write_table(folder / "utt2dur", dict.fromkeys(tables.read_table(folder / "utt2spk"), duration_s))
    return folder


def confounded(folder: Path) -> Path:
    """The same folder, where 26 of 29 speakers show one class each, and three all."""
    utt2spk, utt2emo = tables.read_table(folder / "utt2spk"), tables.read_table(folder / "utt2emo")
    odd = {speaker: EMOTIONS[number % 4] for number, speaker in enumerate(string.ascii_lowercase)}
    tables.write_table(
        folder / "utt2emo", {utt: odd.get(utt2spk[utt], emotion) for utt, emotion in utt2emo.items()}
    )
    return timed(folder)


def task_of(train: Path, folder: Path, path: Path, norm: str, *overrides: str) -> Task:
    tree = config.resolve(path, [f"features.norm={norm}", *overrides])
    return Task(train, None, folder, 3, tree, str(path))


QUICK = ("training.epochs=1", "training.select=last", "optim.schedule=constant")


def decoded(task: Task, test: Path) -> Path:
    """Train and decode; the folder of posteriors."""
    fitting.train(task, use_gpu="no", tensorboard=False)
    out = task.folder.with_name(f"{task.folder.name}_decoded")
    decode_folder(task.folder, test, out, use_gpu="no")
    return out


@pytest.mark.parametrize("norm", ["speaker", "global"])
def test_what_auto_takes_is_the_same_as_if_it_were_named(
    make_part: MakePart, tmp_path: Path, system_yaml: Path, norm: str
) -> None:
    """To the byte; and the model folder alone decodes."""
    if norm == "speaker":
        train = timed(make_part("train", "abc"))
    else:
        train = confounded(make_part("train", SPEAKERS, longest=30))
    test = make_part("test", "45", seed=1)
    outs = {
        asked: decoded(task_of(train, tmp_path / asked, system_yaml, asked, *QUICK), test)
        for asked in ("auto", norm, {"speaker": "global", "global": "speaker"}[norm])
    }
    posts = {asked: (out / "post").read_bytes() for asked, out in outs.items()}
    assert posts["auto"] == posts[norm]
    assert len(set(posts.values())) == 2  # the other one differs
    assert tables.read_table(outs["auto"] / "notes")["normalisation"] == norm
    record = json.loads((tmp_path / "auto" / "model.json").read_text())
    assert record["settings"]["features"]["norm"] == norm
    assert config.read_yaml(tmp_path / "auto" / "config.yaml")["features"]["norm"] == "auto"
    shutil.rmtree(train)
    decode_folder(tmp_path / "auto", test, tmp_path / "again", use_gpu="no")
    assert (tmp_path / "again" / "post").read_bytes() == posts["auto"]


def test_a_finished_training_is_left_alone_unless_who_speaks_changes(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path
) -> None:
    train = timed(make_part("train", "abc"))
    task = task_of(train, tmp_path / "model", csa_yaml, "auto", *QUICK)
    fitting.train(task, use_gpu="no", tensorboard=False)
    stamp = (task.folder / "model.safetensors").stat().st_mtime_ns
    assert tasks.config_is_current(task)
    fitting.train(task, use_gpu="no", tensorboard=False)
    assert (task.folder / "model.safetensors").stat().st_mtime_ns == stamp
    voting = task_of(train, tmp_path / "model", csa_yaml, "auto", *QUICK, "unit.pooling=vote")
    fitting.train(voting, use_gpu="no", tensorboard=False)  # settings of decoding
    assert (task.folder / "model.safetensors").stat().st_mtime_ns == stamp
    model = models.load_model(task.folder)
    assert (model.norm, model.settings.unit.pooling) == ("speaker", "vote")
    timed(train, 0.1)
    with pytest.raises(StaleError, match="model: was made differently: utt2dur has changed; "):
        fitting.train(voting, use_gpu="no", tensorboard=False)
    named = task_of(train, tmp_path / "named", csa_yaml, "speaker", *QUICK)
    fitting.train(named, use_gpu="no", tensorboard=False)
    timed(train)
    assert tasks.finished(named)  # which durations do not concern


@pytest.mark.parametrize("norm", ["speaker", "global"])
def test_statistics_over_speech_go_with_it(
    make_part: MakePart, tmp_path: Path, blstmatt_yaml: Path, norm: str
) -> None:
    train = timed(make_part("train", "abc"), 2.0 if norm == "speaker" else 0.5)
    test = make_part("test", "de", seed=1)
    for folder in (train, test):
        add_speech(folder)
    overrides = ("features.cmvn.over=speech", "features.vad={use: trim, margin_ms: 10.0}", *QUICK)
    one, two = (
        decoded(task_of(train, tmp_path / asked, blstmatt_yaml, asked, *overrides), test)
        for asked in ("auto", norm)
    )
    assert (one / "post").read_bytes() == (two / "post").read_bytes()
    assert tables.read_table(one / "notes") == {
        "normalisation": norm,
        "speech": "vad trim, cmvn over speech",
    }
    model = models.load_model(tmp_path / "auto")
    assert SpeechUse.of(model.settings).cmvn == CmvnUse("speech")


def test_settings_are_judged_on_what_it_takes(
    make_part: MakePart, tmp_path: Path, blstmatt_yaml: Path
) -> None:
    """A normalisation by speaker takes the level of a speaker away, that by the training subset does not."""
    train = timed(make_part("train", "abc"))
    add_speech(train)
    overrides = ("features.level=speaker", *QUICK)
    build_settings(config.resolve(blstmatt_yaml, ["features.norm=auto", *overrides]), "x")
    with pytest.raises(ConfigError) as error:
        fitting.train(task_of(train, tmp_path / "m", blstmatt_yaml, "auto", *overrides), use_gpu="no")
    assert str(error.value) == (
        f"{blstmatt_yaml}: features.level speaker is taken away by norm speaker; set level to none, or name "
        f"another features.norm: auto takes speaker for {train} (speaker and class are not confounded, and "
        "training speakers say enough)"
    )
    assert not (tmp_path / "m" / "model.json").exists()
    timed(train, 0.5)
    task = task_of(train, tmp_path / "m", blstmatt_yaml, "auto", *overrides)
    fitting.train(task, use_gpu="no", tensorboard=False)
    assert models.load_model(task.folder).norm == "global"


def test_a_tested_speaker_with_little_speech_is_warned_of(
    make_part: MakePart, tmp_path: Path, blstmatt_yaml: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = timed(make_part("train", "abc")), timed(make_part("test", "de", per_speaker=2, seed=1))
    warning = (
        f"{test}: 2 of 2 speakers have less than 5 s of speech (d, e), too little to normalise their 4 of 4 "
        "utterances by; features.norm global takes the training subset's statistics"
    )
    decoded(task_of(train, tmp_path / "auto", blstmatt_yaml, "auto", *QUICK), test)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [warning]
    caplog.clear()
    decoded(task_of(train, tmp_path / "global", blstmatt_yaml, "global", *QUICK), test)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []
