"""Calibration: one temperature, fitted on held-out speakers, checked against where posteriors come from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ser.data import files, tables
from ser.data.labels import write_emotions
from ser.errors import DataError
from ser.learn.models import load_model
from ser.learn.temperature import calibrate, summary
from ser.plan import Plan, PlannedSystem, write_plan
from ser.scoring.calibration import fit_temperature, log_loss, temper
from ser.scoring.posteriors import Posteriors, pool_folders, write_posteriors
from tests.fuzz.readers import make_model

TRUE = 2.5  # the temperature that the posteriors were sharpened with
SPEAKERS = "abcdef"


def draw(seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors that are too sure by the temperature TRUE, and labels drawn from what they should be."""
    random = np.random.default_rng(seed)
    honest = random.dirichlet([1.2, 1.2], size=number)
    labels = (random.random(number) > honest[:, 0]).astype(np.int64)
    return temper(honest, 1 / TRUE), labels


def test_the_temperature_that_was_used_is_found() -> None:
    for seed in range(3):
        posteriors, labels = draw(seed, 20_000)
        found = fit_temperature(posteriors, labels)
        assert found == pytest.approx(TRUE, rel=0.06)
        losses = [log_loss(temper(posteriors, each), labels) for each in (found * 0.9, found, found * 1.1)]
        assert losses[1] == min(losses)
    assert math.isinf(fit_temperature(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([1, 1])))


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """An experiment of two folds, whose models are too sure of the speakers of the other fold."""
    posteriors, labels = draw(5, 600)
    keys = [f"{SPEAKERS[i % 6]}-{i:03d}" for i in range(600)]
    data, exp = tmp_path / "data", tmp_path / "exp"
    for name in ("all", "folds/1/train", "folds/2/train"):
        kept = [i for i in range(600) if name == "all" or (i % 6 < 3) == ("2" in name)]
        folder = data / name
        folder.mkdir(parents=True)
        tables.write_table(folder / "utt2spk", {keys[i]: keys[i][0] for i in kept})
        tables.write_table(folder / "utt2emo", {keys[i]: ("ang", "sad")[labels[i]] for i in kept})
        write_emotions(folder / "emotions.txt", ("ang", "sad"))
    for fold in "12":
        model = exp / fold / "csa_20" / "seed1"
        model.mkdir(parents=True)
        make_model(model)
        own = {keys[i]: posteriors[i] for i in range(600) if (i % 6 < 3) == (fold == "1")}
        write_posteriors(model / "decode_test", Posteriors("", ("ang", "sad"), own), {}, {})
    system = PlannedSystem("csa_20", "csa", 20, (1,), True, ("fbank",), "global", "csa", "csa.yaml", False)
    write_plan(
        Plan("toy", "two", exp, data / "folds", data / "all", (system,), (), (), "corpus", ("fbank",), ())
    )
    return exp


def members(exp: Path) -> list[Path]:
    return [exp / fold / "csa_20" / "seed1" / "decode_test" for fold in "12"]


def test_calibration_on_what_all_folds_held_out(exp: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, data = exp / "1" / "csa_20" / "seed1", exp.parent / "data" / "all"
    assert load_model(model).calibration is None
    made = calibrate(model, data, members(exp))
    assert caplog.messages == []
    assert made.temperature == pytest.approx(TRUE, rel=0.2)
    facts = json.loads((model / "calibration.json").read_text())
    assert (facts["utterances"], facts["speakers"]) == (600, 6)
    assert facts["posteriors"] == ["1/csa_20/seed1/decode_test", "2/csa_20/seed1/decode_test"]
    assert facts["ece"]["after"] < facts["ece"]["before"] - 0.05
    assert facts["log_loss"]["after"] < facts["log_loss"]["before"] - 0.05
    loaded = load_model(model).calibration
    assert loaded is not None
    assert loaded.temperature == made.temperature
    pooled = pool_folders(exp / "pooled", members(exp))
    assert calibrate(model, data, [exp / "pooled"]).temperature == made.temperature
    assert caplog.messages == []
    rows = np.stack(list(pooled.posteriors.values()))
    assert np.array_equal(loaded.apply(rows).argmax(1), rows.argmax(1))
    assert summary(model, made).splitlines()[:2] == [
        f"{model}/calibration.json",
        f"  temperature {made.temperature:.3f}, of 600 utterances of 6 speakers",
    ]


def test_posteriors_of_training_speakers_are_refused(exp: Path) -> None:
    """Of a fold's own training subset, alone or among what was pooled."""
    one, data = members(exp)[0], exp.parent / "data" / "all"
    seen = exp / "1" / "csa_20" / "seed1" / "decode_train"
    files_of_two = {path.name: path.read_bytes() for path in members(exp)[1].iterdir() if path.is_file()}
    seen.mkdir()
    for name, content in files_of_two.items():
        (seen / name).write_bytes(content)
    pool_folders(exp / "pooled", [one, seen])
    for folder in (seen, exp / "pooled"):
        with pytest.raises(DataError) as error:
            calibrate(one.parent, data, [folder])
        assert str(error.value) == (
            f"{folder}: its model was trained on 300 utterances of it (d-003, d-009, d-015, ...), of which "
            "it is too sure; name posteriors of held-out speakers"
        )
    assert not (one.parent / "calibration.json").exists()


def test_what_is_not_known_is_said(exp: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, data = members(exp)[0], exp.parent / "data" / "all"
    elsewhere = exp.parent / "elsewhere"
    one.rename(elsewhere)
    (elsewhere / files.MADE).unlink()
    calibrate(exp / "2" / "csa_20" / "seed1", data, [elsewhere])
    assert caplog.messages == [
        f"{elsewhere}: which model made it is not known, nor whether it was trained on these speakers; it "
        "must not have been"
    ]
    caplog.clear()
    path = exp / "1" / "csa_20" / "seed1" / "model.json"
    record = json.loads(path.read_text())
    record["settings"]["training"]["epochs"] = 7
    path.write_text(json.dumps(record))
    elsewhere.rename(one)
    calibrate(exp / "2" / "csa_20" / "seed1", data, [one])
    assert caplog.messages == [
        f"{one}: its model has other settings than {exp}/2/csa_20/seed1 (training.epochs: 100 -> 7); its "
        "posteriors may be surer or less so"
    ]


def test_posteriors_that_tell_nothing_are_refused(exp: Path) -> None:
    one, data = members(exp)[0], exp.parent / "data" / "all"
    labels = tables.read_table(data / "utt2emo")
    wrong = {
        key: np.array([0.1, 0.9] if labels[key] == "ang" else [0.9, 0.1])
        for key in tables.read_table(data / "utt2spk")
        if key[0] in "abc"
    }
    write_posteriors(one, Posteriors("", ("ang", "sad"), wrong), {}, {})
    with pytest.raises(DataError) as error:
        calibrate(one.parent, data, [one])
    assert str(error.value) == (
        f"{one}: the posteriors tell nothing of the labels, no temperature suits them; calibrate on those of "
        "a model that has learnt"
    )
    write_posteriors(one, Posteriors("", ("sad", "ang"), wrong), {}, {})
    with pytest.raises(DataError) as error:
        calibrate(one.parent, data, [one])
    assert str(error.value) == (f"{one}: is of other classes than {one.parent}; name posteriors of its kind")
