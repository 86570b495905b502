"""Decoding: posteriors, attention and chunks, from the model folder and the data folder alone."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ser import config, systems
from ser.data import tables
from ser.errors import CheckpointError, DataError
from ser.feats.subset import Subset
from ser.learn import fitting, inference, models, tasks
from ser.learn.decoding import decode_folder
from ser.learn.inference import pool_chunks
from ser.learn.status import is_decoded
from ser.learn.tasks import Task
from ser.systems.base import Arrays, Inputs
from tests.learn.conftest import EMOTIONS, MakePart
from tests.lost import check_made_again


def trained(make_part: MakePart, tmp_path: Path, yaml: Path) -> Path:
    tree = config.resolve(yaml, ["training.epochs=1"])
    task = Task(make_part("train"), make_part("dev", "cd", seed=1), tmp_path / "model", 7, tree, str(yaml))
    fitting.train(task, use_gpu="no", tensorboard=False)
    return task.folder


def rewrite(folder: Path, change: Callable[[Arrays], object]) -> None:
    """Save a model again with other weights."""
    model = models.load_model(folder)
    arrays = dict(model.arrays)
    change(arrays)
    models.save_model(
        folder,
        settings=model.settings,
        emotions=model.emotions,
        sets=model.sets,
        sizes=model.sizes,
        arrays=arrays,
        stats=model.stats,
        facts={"seed": 7},
    )


def test_what_must_be_said_of_a_subset_goes_with_its_posteriors(
    make_part: MakePart, tmp_path: Path, blstmatt_yaml: Path
) -> None:
    model, test = trained(make_part, tmp_path, blstmatt_yaml), make_part("test", "ef", seed=2)
    out = tmp_path / "decode_test"
    decode_folder(model, test, out, use_gpu="no")
    assert is_decoded(model, test, out)
    tables.write_table(test / "notes", {"sessions": "shared with training, by other speakers"})
    assert not is_decoded(model, test, out)
    decode_folder(model, test, out, use_gpu="no")
    assert tables.read_table(out / "notes") == {
        "normalisation": "speaker",
        "sessions": "shared with training, by other speakers",
    }


def test_blstmatt_writes_attention_of_every_utterance(
    make_part: MakePart, tmp_path: Path, blstmatt_yaml: Path
) -> None:
    model, test = trained(make_part, tmp_path, blstmatt_yaml), make_part("test", "ef", seed=2)
    out = tmp_path / "decode_test"
    decode_folder(model, test, out, use_gpu="no")
    posts = tables.read_vectors(out / "post", 4)
    frames = tables.read_table(test / "utt2num_frames")
    attention = tables.ArkReader(out / "attn.scp")
    assert list(posts) == list(frames) == list(attention.places)
    for key, posterior in posts.items():
        assert sum(posterior) == pytest.approx(1, abs=1e-12)
        weights = attention.read(key, int(frames[key]))
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        assert (weights >= 0).all()
    assert (out / "emotions.txt").read_text() == (model / "emotions.txt").read_text()
    hyp = tables.read_table(out / "hyp")
    assert hyp == {key: EMOTIONS[int(np.argmax(posterior))] for key, posterior in posts.items()}
    assert tables.read_table(out / "notes") == {"normalisation": "speaker"}
    assert not (out / "not_scored").exists()


def test_csa_writes_chunks_and_says_what_it_dropped(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path
) -> None:
    model, test = trained(make_part, tmp_path, csa_yaml), make_part("test", "ef", seed=2)
    out = tmp_path / "decode_test"
    decode_folder(model, test, out, use_gpu="no")
    posts = tables.read_vectors(out / "post", 4)
    frames = {key: int(n) for key, n in tables.read_table(test / "utt2num_frames").items()}
    dropped = tables.read_table(out / "not_scored")
    assert dropped == {key: f"{n} frames, context 20" for key, n in frames.items() if n < 20}
    assert dropped
    assert posts.keys() | dropped.keys() == frames.keys()
    chunks = tables.read_vectors(out / "chunks" / "post", 4)
    chunk2utt = tables.read_table(out / "chunks" / "chunk2utt")
    assert chunks.keys() == chunk2utt.keys()
    for key, posterior in posts.items():
        own = [chunks[chunk] for chunk, utt in chunk2utt.items() if utt == key]
        assert len(own) == (frames[key] - 20) // 10 + 1
        np.testing.assert_allclose(np.mean(own, axis=0), posterior, atol=1e-12)
    padded = tables.read_vectors(out / "padded" / "post", 4)
    assert padded.keys() == frames.keys()
    assert {key: padded[key] for key in posts} == posts
    assert not (out / "padded" / "not_scored").exists()
    assert tables.read_table(out / "padded" / "notes") == {
        "normalisation": "global",
        "short_utterances": "padded",
    }


def test_a_short_utterance_is_padded_with_its_last_frame(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path
) -> None:
    """padded/ scores it by one chunk: its frames, then the last one again up to the context."""
    model, test = trained(make_part, tmp_path, csa_yaml), make_part("test", "ef", seed=2)
    decode_folder(model, test, tmp_path / "out", use_gpu="no")
    loaded = models.load_model(model)
    subset = Subset(test, ["fbank"], loaded.norm, global_stats=loaded.stats)
    padded = tables.read_vectors(tmp_path / "out" / "padded" / "post", 4)
    short = [i for i in range(len(subset)) if subset.num_frames[i] < 20]
    assert short
    for index in short:
        frames = subset.main.read(index)
        chunk = np.concatenate([frames, np.repeat(frames[-1:], 20 - len(frames), axis=0)])
        with torch.inference_mode():
            logits = loaded.network(Inputs.of(torch.from_numpy(chunk[None]), torch.tensor([20]))).logits
        posterior = logits.double().softmax(1)[0].numpy()
        np.testing.assert_allclose(padded[subset.keys[index]], posterior, atol=1e-6)


def test_a_context_longer_than_every_utterance(make_part: MakePart, tmp_path: Path, csa_yaml: Path) -> None:
    """Nothing can be trained with it, nor can a model that needs longer utterances decode."""
    tree = config.resolve(csa_yaml, ["training.epochs=1", "unit.context=1000"])
    task = Task(make_part("train"), None, tmp_path / "none", 7, tree, str(csa_yaml))
    with pytest.raises(DataError) as error:
        fitting.train(task, use_gpu="no", tensorboard=False)
    assert str(error.value) == (
        f"{task.train}: every utterance is shorter than the context, 1000 frames; "
        "choose a shorter one (--contexts)"
    )
    test = make_part("short", "ef", seed=2, longest=19)
    (tmp_path / "train").rename(tmp_path / "before")
    model = trained(make_part, tmp_path, csa_yaml)
    with pytest.raises(DataError) as error:
        decode_folder(model, test, tmp_path / "out", use_gpu="no")
    assert str(error.value) == (
        f"{test}: every utterance is shorter than the context, 20 frames; choose a shorter one (--contexts)"
    )
    assert not (tmp_path / "out" / "post").exists()


def test_batches_do_not_matter(
    make_part: MakePart, tmp_path: Path, system_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One utterance at a time gives the same posteriors as many."""
    model, test = trained(make_part, tmp_path, system_yaml), make_part("test", "ef", seed=2)
    decode_folder(model, test, tmp_path / "many", use_gpu="no")
    monkeypatch.setattr(inference, "BATCH_FRAMES", 1)
    decode_folder(model, test, tmp_path / "single", use_gpu="no")
    many, single = (tables.read_vectors(tmp_path / name / "post") for name in ("many", "single"))
    assert many.keys() == single.keys()
    for key in many:
        np.testing.assert_allclose(many[key], single[key], atol=1e-6)


def test_up_to_date_is_left_alone_and_a_new_model_is_decoded(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path
) -> None:
    model, test, out = trained(make_part, tmp_path, csa_yaml), make_part("test", "ef"), tmp_path / "out"
    decode_folder(model, test, out, use_gpu="no")
    before = (out / "post").stat().st_mtime_ns
    decode_folder(model, test, out, use_gpu="no")
    assert (out / "post").stat().st_mtime_ns == before
    rewrite(model, lambda arrays: arrays.update({"classifier.bias": arrays["classifier.bias"] + 1}))
    decode_folder(model, test, out, use_gpu="no")
    assert (out / "post").stat().st_mtime_ns != before


def test_pooling_rules() -> None:
    chunks = np.array([[0.6, 0.4], [0.6, 0.4], [0.01, 0.99]])
    np.testing.assert_allclose(pool_chunks(chunks, "mean"), [1.21 / 3, 1.79 / 3])
    product = np.prod(chunks, axis=0) ** (1 / 3)
    np.testing.assert_allclose(pool_chunks(chunks, "logmean"), product / product.sum())
    np.testing.assert_allclose(pool_chunks(chunks, "vote"), [2 / 3, 1 / 3])


def test_features_of_other_settings_are_refused(make_part: MakePart, tmp_path: Path, csa_yaml: Path) -> None:
    model, test = trained(make_part, tmp_path, csa_yaml), make_part("test", "ef")
    (test / "feats.yaml").write_text("set: fbank\nsettings: {num_mel_bins: 6, preemphasis: 0.97}\n")
    with pytest.raises(DataError) as error:
        decode_folder(model, test, tmp_path / "out", use_gpu="no")
    assert str(error.value) == (
        f"{test}: its features 'fbank' were made with other settings than the model's: settings.preemphasis: "
        "(not set) -> 0.97; decode data made with the same conf/fbank.yaml"
    )
    assert not (tmp_path / "out").exists()


def test_no_model(make_part: MakePart, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        decode_folder(tmp_path / "none", make_part("test"), tmp_path / "out")
    path = tmp_path / "none" / "model.json"
    assert str(error.value) == f"{path}: no such file; train the model first (stage 3 or 4)"


class Evil:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize("name", ["model.pt", "model.json", "model.safetensors"])
@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_that_would_run_code_is_not_run(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path, how: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = trained(make_part, tmp_path, csa_yaml)
    if name == "model.pt":
        (model / "model.json").unlink()
    path = model / name
    if how == "torch":
        torch.save({"format": 1, "state": Evil()}, path)
    else:
        path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError) as error:
        decode_folder(model, make_part("test"), tmp_path / "out")
    remedy = "train it again (stage 3 or 4)"
    assert (
        str(error.value)
        == {
            "model.pt": f"{path}: is a model of an older version of the recipe, a pickle, which is not read "
            f"any more; remove the folder and {remedy}",
            "model.json": f"{path}: is cut short, damaged, or no model at all; {remedy}",
            "model.safetensors": f"{path}: is cut short, damaged, or not the weights of model.json beside "
            f"it; {remedy}",
        }[name]
    )
    assert not (tmp_path / "evil").exists()


def test_damaged_models(make_part: MakePart, tmp_path: Path, csa_yaml: Path) -> None:
    model, test = trained(make_part, tmp_path, csa_yaml), make_part("test")
    path, weights, remedy = model / "model.json", model / "model.safetensors", "train it again (stage 3 or 4)"
    record = json.loads(path.read_text())

    def refusal() -> str:
        with pytest.raises(CheckpointError) as error:
            decode_folder(model, test, tmp_path / "out")
        return str(error.value)

    whole = weights.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        weights.write_bytes(damaged)
        text = "is cut short, damaged, or not the weights of model.json beside it"
        assert refusal() == f"{weights}: {text}; {remedy}"
    weights.write_bytes(b"\xff" * 100)
    path.write_text(json.dumps(record | {"weights": hashlib.sha256(b"\xff" * 100).hexdigest()}))
    assert refusal().startswith(f"{weights}: is no safetensors file (")
    weights.unlink()
    assert refusal() == f"{weights}: no such file; {remedy}"
    weights.write_bytes(whole)
    path.write_text(json.dumps(record)[:-20])
    assert refusal() == f"{path}: is cut short, damaged, or no model at all; {remedy}"
    path.write_text(json.dumps(record | {"format": 1}))
    assert refusal() == f"{path}: was not written by this version of the recipe; {remedy}"
    path.write_text(json.dumps(record | {"format": 3}))
    assert refusal() == f"{path}: is of a newer version (format 3, this one reads 2); update ser"
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "emotions"}))
    assert refusal() == f"{path}: is not a model of this version (it has no 'emotions'); {remedy}"
    other = record | {
        "settings": record["settings"] | {"model": record["settings"]["model"] | {"conv_dim": 1}}
    }
    path.write_text(json.dumps(other))
    assert refusal().startswith(f"{weights}: are the weights of another network (")


def test_code_outside_is_refused_unless_it_is_allowed(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model folder from a stranger names a module of the reader's: nothing is imported unasked."""
    model, test = trained(make_part, tmp_path, csa_yaml), make_part("test")
    (tmp_path / "stranger.py").write_text(
        "from pathlib import Path\nPath('evil').touch()\nfrom ser.systems.csa import SYSTEM\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = model / "model.json"
    record = json.loads(path.read_text())
    code = "stranger:SYSTEM"
    settings = record["settings"] | {"system": code}
    path.write_text(json.dumps(record | {"settings": settings}))
    with pytest.raises(CheckpointError) as error:
        decode_folder(model, test, tmp_path / "out")
    assert str(error.value) == (
        f"{path}: its system is code outside this package, stranger:SYSTEM, which loading would run; if you "
        "trust it, allow it by name: --allow-code stranger:SYSTEM"
    )
    assert not (tmp_path / "evil").exists()
    decode_folder(model, test, tmp_path / "out", use_gpu="no", allow=[code])
    assert (tmp_path / "evil").exists()
    assert (tmp_path / "out" / "post").exists()


def test_class_order_of_another_data_folder(make_part: MakePart) -> None:
    folder = make_part("train")
    with pytest.raises(DataError) as error:
        Subset(folder, ["fbank"], "none", emotions=("neu", "ang", "hap", "sad"))
    assert str(error.value) == (
        f"{folder / 'emotions.txt'}: its classes are ang hap neu sad, the model's are neu ang hap sad; use "
        "data made with the same classes in the settings of the corpus"
    )


def test_decoding_settings_change_without_training(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path
) -> None:
    """They are no part of what was learnt: the model is kept, and its chunks are pooled otherwise.

    Nor is what the paper of a system prints.
    """
    model, test, out = trained(make_part, tmp_path, csa_yaml), make_part("test", "ef"), tmp_path / "out"
    weights = models.load_model(model).arrays
    decode_folder(model, test, out, use_gpu="no")
    before = (out / "chunks" / "post").read_bytes()
    overrides = ["training.epochs=1", "published={acc: 60.0, uar: null, of: x}", "unit.pooling=vote"]
    tree = config.resolve(csa_yaml, overrides[:2])
    assert tasks.config_is_current(Task(tmp_path / "train", None, model, 7, tree, str(csa_yaml)))
    tree = config.resolve(csa_yaml, overrides)
    task = Task(tmp_path / "train", tmp_path / "dev", model, 7, tree, str(csa_yaml))
    assert tasks.finished(task)
    fitting.train(task, use_gpu="no", tensorboard=False)
    _, changed = systems.load_settings(csa_yaml, overrides)
    assert models.load_model(model).settings == changed == systems.load_settings(model / "config.yaml")[1]
    for name, value in models.load_model(model).arrays.items():
        assert np.array_equal(value, weights[name])
    decode_folder(model, test, out, use_gpu="no")
    assert (out / "chunks" / "post").read_bytes() == before
    chunk2utt = tables.read_table(out / "chunks" / "chunk2utt")
    chunks = tables.read_vectors(out / "chunks" / "post", 4)
    for key, posterior in tables.read_vectors(out / "post", 4).items():
        won = [int(np.argmax(row)) for chunk, row in chunks.items() if chunk2utt[chunk] == key]
        np.testing.assert_allclose(posterior, np.bincount(won, minlength=4) / len(won))


@pytest.mark.parametrize(
    ("yaml", "more"),
    [
        ("blstmatt_yaml", {"attn.ark", "attn.scp"}),
        (
            "csa_yaml",
            {
                *(
                    f"chunks/{name}"
                    for name in ("post", "hyp", "emotions.txt", "notes", "chunk2utt", "made.json")
                ),
                *(f"padded/{name}" for name in ("post", "hyp", "emotions.txt", "notes", "made.json")),
                "not_scored",
            },
        ),
    ],
)
def test_lost_posteriors_are_made_again(
    make_part: MakePart,
    tmp_path: Path,
    yaml: str,
    more: set[str],
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, test = trained(make_part, tmp_path, request.getfixturevalue(yaml)), make_part("test", "e", seed=2)
    out = tmp_path / "decode_test"
    decode_folder(model, test, out, use_gpu="no")
    names = {"post", "hyp", "emotions.txt", "notes"} | more
    check_made_again(out, names, lambda: decode_folder(model, test, out, use_gpu="no"), caplog)


@pytest.mark.parametrize("yaml", ["blstmatt_yaml", "csa_yaml"])
def test_features_that_are_no_numbers_are_not_decoded(
    make_part: MakePart, tmp_path: Path, yaml: str, request: pytest.FixtureRequest
) -> None:
    model, test = trained(make_part, tmp_path, request.getfixturevalue(yaml)), make_part("test", "e", seed=2)
    content = (test / "feats.ark").read_bytes()
    (test / "feats.ark").write_bytes(content[:-4] + np.float32(np.nan).tobytes())
    place = tables.read_table(test / "feats.scp")["e-07"]
    with pytest.raises(DataError) as error:
        decode_folder(model, test, tmp_path / "decode_test", use_gpu="no")
    assert str(error.value) == (
        f"{test}/feats.scp: e-07: {place}: holds NaN or infinite values; run stages 1 and 2 again"
    )
    assert not list((tmp_path / "decode_test").glob("**/made.json"))
    assert not (tmp_path / "decode_test" / "post").exists()
