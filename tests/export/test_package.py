"""A package and its card: what is known, the same bytes each time, the hub's metadata."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from ser.data import tables
from ser.errors import SerError, UsageError
from ser.export import card
from ser.export.package import Said, export_package
from ser.learn.calibration import FILE
from ser.learn.models import load_model
from ser.plan import Plan, PlannedSystem, write_plan
from ser.predict.model import load
from ser.verbs import export
from tests.fuzz.readers import make_model

RESULT = {"acc": "0.8", "acc_boot_low": "0.7", "acc_boot_high": "0.9", "uar": "0.75", "uar_boot_low": "0.65",
          "uar_boot_high": "0.85", "recall_ang": "0.9", "recall_sad": "-", "n_scored": "40",
          "n_speakers": "4"}  # fmt: skip
CALIBRATION = {
    "format": 1, "temperature": 0.5, "emotions": ["ang", "sad"], "utterances": 40, "speakers": 4,
    "posteriors": ["x"], "ece": {"before": 0.2, "after": 0.05}, "log_loss": {"before": 0.6, "after": 0.5},
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of an experiment of two seeds."""
    exp = tmp_path / "exp"
    for seed, acc in ((1, "0.8"), (2, "0.9")):
        folder = exp / "1" / "csa_20" / f"seed{seed}"
        folder.mkdir(parents=True)
        make_model(folder)
        scores = exp / "pooled" / "csa_20" / f"seed{seed}" / "decode_test" / "score"
        scores.mkdir(parents=True)
        tables.write_table(scores / "result.txt", RESULT | {"acc": acc})
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / "folds.tsv").write_text("fold\ttune_fold\ttune_set\n1\t-\t-\n")
    system = PlannedSystem("csa_20", "csa", 20, (1, 2), True, ("fbank",), "global", "csa", "csa.yaml", False)
    write_plan(
        Plan("toy", "one", exp, tmp_path / "folds", tmp_path, (system,), (), (), "corpus", ("fbank",), ())
    )
    return exp / "1" / "csa_20" / "seed1"


def sections(text: str) -> dict[str, str]:
    parts = text.split("\n## ")
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts[1:]}


def test_the_card_says_what_is_known(model: Path, tmp_path: Path) -> None:
    path = model / "model.json"
    data = {"utterances": 80, "speakers": 8, "seconds": 90.0, "classes": {"ang": 50, "sad": 30}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training_data": data}))
    (model / FILE).write_text(json.dumps(CALIBRATION))
    line = ["--name", "toy model", "--license", "cc0-1.0", "--language", "de", "--limit", "Toys only."]
    line += ["--cite", "Somebody 2026", "--experiment", str(tmp_path / "exp")]
    out = tmp_path / "toy.zip"
    assert export.main([str(model), "--format", "package", "--out", str(out), *line]) == 0
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == [
            "README.md", "config.json", "model.safetensors", "calibration.json", "LICENSE",
        ]  # fmt: skip
        text = archive.read("README.md").decode()
        assert archive.read("LICENSE") == b"cc0-1.0\n"
        record = json.loads(archive.read("config.json"))
    assert (record["license"], record["limits"]) == ("cc0-1.0", ["Toys only."])
    _, metadata, body = text.split("---\n", 2)
    tree = yaml.safe_load(metadata)
    assert (tree["license"], tree["language"], tree["pipeline_tag"]) == (
        "cc0-1.0", ["de"], "audio-classification",
    )  # fmt: skip
    assert tree["model-index"][0]["results"][0]["metrics"] == [
        {"type": "accuracy", "name": "accuracy", "value": 0.85},
        {"type": "recall", "name": "unweighted average recall", "value": 0.75},
    ]
    told = sections(body)
    assert told["Limits"] == "- Toys only."
    assert told["Training data"] == "toy: 80 utterances of 8 speakers, 1.5 minutes (50 ang, 30 sad)."
    assert told["Results"].splitlines()[-1] == (
        "| toy | protocol one, 1 fold | 40 | 4 | 2 | 85.0 [70.0, 90.0] | 75.0 [65.0, 85.0] | "
        "ang 90.0, sad - |"
    )
    assert "temperature 0.500. It was fitted on 40 utterances of 4 speakers" in told["Calibration"]
    assert "20.0 % before, 5.0 % after; log loss 0.600 before, 0.500 after." in told["Calibration"]
    assert told["Normalisation"] == "Features are normalised by mean and variance of the training data."
    assert told["Licence"] == "cc0-1.0; see LICENSE."
    assert told["Citation"] == "- Somebody 2026"


def test_nothing_is_invented(model: Path, tmp_path: Path) -> None:
    export_package(model, tmp_path / "bare", Said("bare"))
    assert sorted(path.name for path in (tmp_path / "bare").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    text = (tmp_path / "bare" / "README.md").read_text()
    assert sections(text)["Training data"] == "toy"
    assert list(sections(text)) == ["Use", "Training data", "Normalisation", "Settings"]
    assert yaml.safe_load(text.split("---\n")[1]).keys() == {"library_name", "pipeline_tag", "tags"}


def test_a_package_is_the_same_each_time_and_a_model(model: Path, tmp_path: Path) -> None:
    (model / FILE).write_text(json.dumps(CALIBRATION))
    said = Said("toy", license="cc0-1.0", limits=("Toys only.",))
    for name in ("a.zip", "b.zip"):
        export_package(model, tmp_path / name, said)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    export_package(tmp_path / "a.zip", tmp_path / "again.zip", said)
    export_package(tmp_path / "a.zip", tmp_path / "folder", said)
    first = load_model(model)
    for place in ("a.zip", "again.zip", "folder"):
        packed = load_model(tmp_path / place)
        assert all(np.array_equal(packed.arrays[key], first.arrays[key]) for key in first.arrays)
        assert packed.calibration is not None
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def test_results_of_other_settings_are_refused(model: Path, tmp_path: Path) -> None:
    exp = tmp_path / "exp"
    path = model / "model.json"
    record = json.loads(path.read_text())
    record["settings"]["optim"]["lr"] = 0.5
    other = tmp_path / "other"
    other.mkdir()
    for name in ("model.json", "model.safetensors"):
        (other / name).write_bytes((model / name).read_bytes())
    (other / "model.json").write_text(json.dumps(record))
    with pytest.raises(UsageError) as error:
        card.of_experiment(exp, load_model(other))
    assert str(error.value) == (
        f"--experiment {exp}: no system of it has the settings of {other} (csa_20: optim.lr: 0.0001 -> 0.5)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "onnx", "--license", "mit"], "--format onnx: has no card; export a package with it"),
        (["--format", "onnx", "--cite", "x"], "--format onnx: has no card; export a package with it"),
        (["--format", "package", "--features", "outside"], "--features: a package makes its features; export "
         "a graph with it"),
        (["--format", "package", "--scores", "x"], "--scores x: write NAME=FOLDER, the name of the corpus "
         "and scored posteriors"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(model: Path, options: list[str], message: str) -> None:
    with pytest.raises(SerError) as error:
        export.main([str(model), *options, "--out", "x.zip"])
    assert str(error.value) == message


def test_the_model_that_comes_with_ser_is_exported_by_its_name(tmp_path: Path) -> None:
    assert export.main(["emodb", "--format", "package", "--out", str(tmp_path / "a.zip")]) == 0
    assert load(tmp_path / "a.zip", use_gpu="no").emotions == load("emodb", use_gpu="no").emotions


def test_the_card_of_a_model_that_asks_who_speaks_says_so(model: Path) -> None:
    path = model / "model.json"
    for norm, words in (("global", ""), ("speaker", " --speaker-of file")):
        record = json.loads(path.read_text())
        record["settings"]["features"]["norm"] = norm
        path.write_text(json.dumps(record))
        text = card.write_card(load_model(model), Said("a"), "")
        assert f"```\nser predict{words} <this file or folder> recording.wav\n```" in text


def test_the_card_names_the_encoder_that_a_package_lacks(model: Path) -> None:
    assert "Encoder" not in sections(card.write_card(load_model(model), Said("a"), ""))
    path = model / "model.json"
    record = json.loads(path.read_text())
    made = {"extractor": "pretrained", "revision": None, "weights_sha256": "ab12"}
    for more, named, places in (
        ({"model": "my-whisper"}, "my-whisper", "names"),
        ({"model": "openai/whisper-base", "revision": "c0de"}, "openai/whisper-base at revision c0de",
         "names, then in the hub"),
    ):  # fmt: skip
        next(iter(record["sets"].values()))["settings"] = made | more
        path.write_text(json.dumps(record))
        assert sections(card.write_card(load_model(model), Said("a"), ""))["Encoder"] == (
            f"Features are made by the encoder {named}, which is not in here. It is looked for in the "
            f"folders that the variable SER_PRETRAINED {places}; the sha256 of its weights must be ab12."
        )


def test_the_limits_of_a_package_are_the_models(tmp_path: Path) -> None:
    from tests.export.test_graphs import make

    export_package(make(tmp_path / "model", "whole"), tmp_path / "a.zip", Said("a", limits=("One.", "Two.")))
    assert load(tmp_path / "a.zip", use_gpu="no").limits == ("One.", "Two.")
