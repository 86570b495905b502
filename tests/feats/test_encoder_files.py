"""Which models of whose are used: from folders, by name, from the hub's cache; and what is refused."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ser.data.corpus import AudioConfig
from ser.errors import ConfigError, DataError, MissingPackageError, SerError
from ser.feats.sets import load_set, parse_set
from tests.feats.encoders import make_encoder, transformers

AUDIO = AudioConfig(16000, None, "refuse")
CONF = Path(__file__).resolve().parents[2] / "conf" / "whisper.yaml"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
INSTALL = "the Python package transformers is missing; install it with: utils/install.sh --extra pretrained"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny HuBERT."""
    return make_encoder(tmp_path / "hubert", "hubert")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no way to it."""
    monkeypatch.delenv("SER_PRETRAINED", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def load(model: object, *overrides: str, audio: AudioConfig = AUDIO) -> Any:
    texts = [f"model={model}", "layers=2", "chunk_s=2", "overlap_s=0.5", "device=cpu", *overrides]
    return load_set(CONF, audio, overrides=texts)


def refusal(model: object, *overrides: str, audio: AudioConfig = AUDIO) -> str:
    with pytest.raises(SerError) as error:
        load(model, *overrides, audio=audio).make().compute(np.zeros(4000, np.float32), "a")
    return str(error.value)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# ------------------------------------------------------------------------------------------- names and places


def put_into_cache(model: Path, cache: Path) -> None:
    """As the hub's library leaves a model there."""
    place = cache / "models--someone--hubert"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree(model, place / "snapshots" / COMMIT)


def test_a_name_is_looked_for_in_the_hubs_cache(model: Path, cache: Path) -> None:
    put_into_cache(model, cache)
    found = load("someone/hubert")
    assert (found.settings["model"], found.settings["revision"]) == ("someone/hubert", COMMIT)
    samples = np.sin(np.arange(3000, dtype=np.float32))
    expected = load(model).make().compute(samples, "a")
    np.testing.assert_array_equal(found.make().compute(samples, "a"), expected)
    received = parse_set("whisper", found.to_dict(), "model.json")
    np.testing.assert_array_equal(received.make().compute(samples, "a"), expected)
    assert load("someone/hubert", f"revision={COMMIT}") == found


def test_a_folder_of_the_variable_comes_before_the_hub(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path, model):
        monkeypatch.setenv("SER_PRETRAINED", str(place))
        found = load("someone/hubert", "revision=v1")
        assert (found.settings["model"], found.settings["revision"]) == ("someone/hubert", "v1")
    (tmp_path / "someone").mkdir()
    model.rename(tmp_path / "someone" / "hubert")
    monkeypatch.setenv("SER_PRETRAINED", f"{tmp_path / 'a'}:{tmp_path}")
    assert load("someone/hubert").settings["model"] == "someone/hubert"


def test_the_variable_takes_absolute_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since recipes change their folder."""
    monkeypatch.setenv("SER_PRETRAINED", "/models:models")
    text = "SER_PRETRAINED: 'models' is no absolute path; write it with a leading /"
    assert refusal("someone/hubert") == text


def test_a_name_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = (
        "cannot be fetched{}; put config.json, preprocessor_config.json and model.safetensors of "
        "https://huggingface.co/someone/hubert into a folder hubert, and name that folder as model, or "
        "its parent in SER_PRETRAINED"
    )
    start = "model someone/hubert{}: is not in the hub's cache here and "
    assert refusal("someone/hubert") == (start + what).format("", "")
    assert refusal("someone/hubert", "revision=v1") == (start + what).format(" at revision v1", "")
    (tmp_path / "someone" / "hubert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    hint = " (there is a folder of that name; a folder is written ./someone/hubert)"
    assert refusal("someone/hubert") == (start + what).format("", hint)


def test_a_cache_that_lacks_weights_is_no_model(model: Path, cache: Path) -> None:
    (model / "model.safetensors").unlink()
    put_into_cache(model, cache)
    assert refusal("someone/hubert") == (
        f"{cache}/models--someone--hubert/snapshots/{COMMIT}: has no model.safetensors; put it there, or "
        "name a revision that has it"
    )


def test_what_is_neither_name_nor_folder() -> None:
    text = (
        "is neither a name, such as openai/whisper-base, nor a folder, which is written with a leading / or"
    )
    for name in ("a/b/c", "", "hu bert", "https://huggingface.co/a/b"):
        assert refusal(f'"{name}"') == f"model {name!r}: {text} ./; correct it"
    assert refusal("hubert") == (
        "model hubert: no folder of that name is in those that the variable SER_PRETRAINED names; name the "
        "folder that it lies in there"
    )


def test_a_received_set_names_no_path(model: Path) -> None:
    tree = load(model).to_dict()
    for path in ("/etc", "./hubert", "../hubert", "~/hubert", ".", ".."):
        tree["settings"]["model"] = path
        with pytest.raises(ConfigError) as error:
            parse_set("whisper", tree, "model.json")
        assert str(error.value) == (
            f"model.json: model must be a name where features or a model are received, got the path {path!r}"
            "; make them again"
        )


# -------------------------------------------------------------------------------------------- what is refused


def test_folders_that_cannot_be_used(model: Path, tmp_path: Path) -> None:
    needed = "a folder with config.json, preprocessor_config.json and model.safetensors"
    assert refusal(tmp_path / "no") == f"{tmp_path}/no: no such folder; name {needed}"
    assert refusal(CONF) == f"{CONF}: is a file, no folder; name {needed}"
    (model / "model.safetensors").rename(model / "elsewhere")
    assert refusal(model) == (
        f"{model}: has no model.safetensors; put it there, or name a revision that has it"
    )
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert refusal(model) == (
        f"{model}: its weights are in pytorch_model.bin, which may run code when it is read; name a revision "
        "or a copy of the model that has model.safetensors"
    )
    for name in ("preprocessor_config.json", "config.json"):
        (model / name).unlink()
        assert refusal(model) == f"{model}/{name}: no such file; name {needed}"


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_of_a_model_is_not_run(model: Path, name: str) -> None:
    change(model / name, auto_map={"AutoModel": "modeling_evil.Evil"})
    (model / "modeling_evil.py").write_text("raise SystemExit('it ran')\n")
    assert refusal(model) == (
        f"{model}/{name}: the model has code of its own (auto_map), which is never run; name a model that "
        "the library transformers knows"
    )
    (model / name).write_text("[1]")
    assert refusal(model) == f"{model}/{name}: is no mapping; copy it again from where the model is from"
    (model / name).write_text("{")
    assert refusal(model).startswith(f"{model}/{name}: is damaged (Expecting property name")


def test_models_that_are_not_of_audio(model: Path) -> None:
    remedy = "name a model of audio, such as openai/whisper-base or microsoft/wavlm-base-plus"
    (model / "config.json").write_text(json.dumps(transformers.BertConfig().to_dict()))
    assert refusal(model) == (
        f"{model}/config.json: is of a model of the type 'bert', which makes no frames of audio; {remedy}"
    )
    make_encoder(model, "hubert")
    change(model / "config.json", conv_stride=[5])
    assert refusal(model) == (
        f"{model}/config.json: does not say what its frames are made of (zip() argument 2 is shorter than "
        f"argument 1); {remedy}"
    )
    make_encoder(model, "hubert")
    change(model / "config.json", hidden_size="16")
    assert refusal(model) == (
        f"{model}/config.json: hidden_size must be a whole number above 0, got '16'; {remedy}"
    )
    change(model / "preprocessor_config.json", sampling_rate=None)
    change(model / "config.json", hidden_size=16)
    assert refusal(model).startswith(
        f"{model}/config.json: sampling_rate must be a whole number above 0, got"
    )


def test_weights_of_another_model(model: Path, tmp_path: Path) -> None:
    other = make_encoder(tmp_path / "other", "data2vec-audio")
    shutil.copy(other / "model.safetensors", model)
    assert refusal(model) == (
        f"{model}/config.json: its weights are of another model (encoder.pos_conv_embed.conv.bias is not "
        "among them); copy it again"
    )
    (model / "model.safetensors").write_bytes(b"no weights at all")
    assert refusal(model).startswith(f"{model}: cannot be loaded (")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("layers=4", "layers must be 0 to 3, which is what {name} has, got [4]; correct it"),
        ("layers=[1, 4]", "layers must be 0 to 3, which is what {name} has, got [1, 4]; correct it"),
        ("layers=[2, 1]", "layers must be a rising list of layers, got [2, 1]; correct it"),
        ("layers=[1, 1]", "layers must be a rising list of layers, got [1, 1]; correct it"),
        ("layers=[]", "layers must be a rising list of layers, got []; correct it"),
        ("padding=model", "padding must be none for {name}, which takes any length; correct it"),
        ("chunk_s=1", "chunk_s must be more than twice overlap_s, got 1 and 0.5; correct it"),
    ],
)
def test_settings_that_do_not_fit(model: Path, override: str, message: str) -> None:
    assert refusal(model, override) == f"{CONF}: {message.format(name='hubert')}"


def test_whispers_longest_piece(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "w", "whisper")
    assert refusal(folder, "chunk_s=2.1") == f"{CONF}: chunk_s must be 2 or less for w, got 2.1; correct it"


def test_another_sampling_rate(model: Path) -> None:
    assert refusal(model, audio=AudioConfig(8000, None, "refuse")) == (
        f"{CONF}: hubert takes recordings at 16000 Hz, audio.sampling_rate_hz is 8000: set that to 16000 and "
        "audio.resample to convert; correct it"
    )


def test_other_weights_than_those_that_are_known(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that was received, of a model that has changed; or settings that say which weights it must be."""
    known = load(model)
    make_encoder(model, "hubert", seed=1)
    now = load(model).settings["weights_sha256"]
    monkeypatch.setenv("SER_PRETRAINED", str(model.parent))
    with pytest.raises(ConfigError) as error:
        parse_set("whisper", known.to_dict(), "model.json").make()
    before = known.settings["weights_sha256"]
    message = (
        f"{model}: its weights have the sha256 {now[:16]}, expected {before[:16]} of hubert; name the folder "
        "of the model that the features were made with"
    )
    assert str(error.value) == message
    assert refusal(model, f"weights_sha256={before}") == message
    assert load(model, f"weights_sha256={now}") == load(model)


def test_no_gpu_here(model: Path) -> None:
    text = "device cuda: torch finds no GPU here; say cpu or auto, or use a machine with one"
    assert refusal(model, "device=cuda") == text
    features = load(model, "device=auto")
    assert features.make("no").compute(np.ones(900, np.float32), "a").shape == (43, 16)
    with pytest.raises(SerError) as error:
        features.make("yes").compute(np.ones(900, np.float32), "a")
    assert str(error.value) == text


def test_transformers_is_not_installed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, None)
    features = load(model)
    with pytest.raises(MissingPackageError) as error:
        features.make().compute(np.zeros(4000, np.float32), "a")
    assert str(error.value) == INSTALL
    with pytest.raises(MissingPackageError) as error:
        load("someone/hubert")
    assert str(error.value) == f"model someone/hubert: {INSTALL}"

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("ser.feats.encoder_files.version", version)
    with pytest.raises(MissingPackageError) as error:
        _ = features.make().versions
    assert str(error.value) == INSTALL


def test_nothing_else_is_raised_for_a_bad_model(model: Path) -> None:
    """The kinds of errors, where the messages above do not say them."""
    with pytest.raises(DataError):
        load(model / "no")
    with pytest.raises(ConfigError):
        load(model, "layers=9")
