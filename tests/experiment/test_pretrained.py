"""Experiments on pretrained encoders: where paths are seen from, what is installed and checked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from ser.errors import ConfigError, DataError
from ser.feats.sets import load_set
from ser.verbs import plan as plan_verb
from tests.feats.encoders import make_encoder


@pytest.fixture
def work(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a tiny WavLM; everything else is seen from a recipe's folder, as run.sh does."""
    make_encoder(tmp_path / "mine" / "models" / "wavlm", "wavlm")
    monkeypatch.chdir(repo / "egs" / "emodb")
    monkeypatch.delenv("SER_PRETRAINED", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "mine"


def plan(work: Path, *options: str) -> Path:
    """What run.sh asks first of all; the folder of the experiment."""
    where = ["--corpus-conf", "conf/corpus.yaml", "--data-dir", str(work / "data"), "--from", str(work)]
    plan_verb.main([*where, "--exp-dir", str(work / "exp"), *options])
    return work / "exp"


def test_a_relative_path_is_the_users(work: Path) -> None:
    options = ["systems=svm_whisper", "set=whisper_all:model=./models/wavlm", "set=whisper_all:chunk_s=20"]
    exp = plan(work, *options)
    tree = yaml.safe_load((exp / "conf" / "whisper_all.yaml").read_text())
    assert (tree["model"], tree["chunk_s"]) == (str(work / "models" / "wavlm"), 20)
    assert (exp / "tasks" / "extras").read_text() == "baselines\npretrained\n"
    found = load_set(exp / "conf" / "whisper_all.yaml", Path("conf/corpus.yaml"))
    assert (found.settings["model"], found.settings["layers"]) == ("wavlm", [0, 1, 2, 3])
    assert found.layout.layers == (0, 1, 2, 3)


def test_a_relative_path_in_a_file_is_the_files(work: Path) -> None:
    (work / "conf").mkdir()
    (work / "conf" / "wavlm.yaml").write_text("base: whisper.yaml\nmodel: ../models/wavlm\nlayers: 2\n")
    (work / "conf" / "own.yaml").write_text("base: svm_egemaps.yaml\nfeatures:\n  sets: [wavlm]\n")
    exp = plan(work, "systems=conf/own.yaml")
    tree = yaml.safe_load((exp / "conf" / "wavlm.yaml").read_text())
    assert tree["model"] == str(work / "models" / "wavlm")


def test_a_model_is_looked_at_before_anything_is_written(work: Path) -> None:
    with pytest.raises(ConfigError) as error:
        plan(work, "systems=csa_whisper_20", "set=whisper:model=./models/wavlm", "set=whisper:layers=4")
    assert str(error.value).endswith(
        "conf/whisper.yaml: layers must be 0 to 3, which is what wavlm has, got [4]; correct it"
    )
    with pytest.raises(DataError) as missing:
        plan(work, "systems=csa_whisper_20", "set=whisper:model=./wavlm")
    assert str(missing.value) == (
        f"{work}/wavlm: no such folder; name a folder with config.json, preprocessor_config.json and "
        "model.safetensors"
    )
    assert not (work / "exp").exists()


def test_the_library_is_installed_after_the_plan(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the hub cannot be looked at before; stage 0 does."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    exp = plan(work, "systems=csa_whisper_20 majority")
    assert (exp / "tasks" / "extras").read_text() == "pretrained\n"
    assert f"{exp}/conf/whisper.yaml" in (exp / "tasks" / "features").read_text().split()
