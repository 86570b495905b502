"""A system on a pretrained encoder's frames: from the recipe to a recording; other encoders are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser
from ser import config
from ser.data import tables
from ser.data.corpus import AudioConfig
from ser.data.datadir import make_views
from ser.data.labels import write_emotions
from ser.errors import CheckpointError, DataError
from ser.feats import cmvn, extract
from ser.feats.sets import FeatureSet, load_set
from ser.learn import fitting
from ser.learn.decoding import decode_folder
from ser.learn.tasks import Task
from ser.predict.result import Piece
from ser.scoring.posteriors import read_posteriors
from ser.verbs import export
from tests.feats.encoders import make_encoder

CLASSES = ("low", "high")
CONF = config.SHARED / "whisper.yaml"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny WavLM."""
    return make_encoder(tmp_path / "models" / "wavlm", "wavlm")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three speakers with eight hums each, low and high; a fold tests on s3."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "all"
    wavs, classes = {}, {}
    for speaker in ("s1", "s2", "s3"):
        for number in range(8):
            utt, hz = f"{speaker}-{number}", (200, 900)[number % 2] * rng.uniform(0.9, 1.1)
            hum = 0.3 * np.sin(2 * np.pi * hz * np.arange(rng.integers(2000, 4000)) / 16000)
            wavs[utt], classes[utt] = tmp_path / f"{utt}.wav", CLASSES[number % 2]
            soundfile.write(wavs[utt], hum + 0.01 * rng.standard_normal(len(hum)), 16000)
    tables.write_table(folder / "wav.scp", wavs)
    tables.write_table(folder / "utt2spk", {utt: utt[:2] for utt in wavs})
    tables.write_table(folder / "utt2emo", classes)
    tables.write_table(folder / "utt2dur", dict.fromkeys(wavs, 0.2))
    write_emotions(folder / "emotions.txt", CLASSES)
    test = [utt for utt in wavs if utt.startswith("s3")]
    make_views(folder, {tmp_path / "train": sorted(set(wavs) - set(test)), tmp_path / "test": test})
    return folder


def make_set(data: Path, model: Path) -> FeatureSet:
    overrides = [f"model={model}", "layers=2", "device=cpu"]
    features = load_set(CONF, AudioConfig(16000, None, "refuse"), overrides=overrides)
    extract.make_shard(data, features, 1, 1, lambda items, _: items)
    extract.merge_shards(data, features, 1)
    return features


def train(root: Path) -> Path:
    tree = {"system": "svm", "features": {"sets": ["whisper"], "norm": "global"}, "unit": "utterance"}
    task = Task(root / "train", None, root / "svm", 0, tree, "settings")
    fitting.train(task)
    return task.folder


def test_a_recording_is_classified_as_in_the_recipe(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_set(data, model)
    folder = train(tmp_path)
    decode_folder(folder, tmp_path / "test", tmp_path / "out")
    expected = read_posteriors(tmp_path / "out").posteriors
    monkeypatch.setenv("SER_PRETRAINED", str(model.parent))
    trained = ser.load(folder)
    for utt, posterior in expected.items():
        result = trained.predict(tmp_path / f"{utt}.wav")
        np.testing.assert_allclose(result.posterior, posterior, atol=1e-9)
        assert result.emotion == CLASSES[int(utt[-1]) % 2]


def absent(digest: str) -> str:
    """What is said where no folder has the encoder of a model."""
    return (
        f"model wavlm: no folder of that name with weights of the sha256 {digest} is in those that the "
        "variable SER_PRETRAINED names; name the folder that it lies in there"
    )


def test_a_package_finds_its_encoder_or_says_what_it_lacks(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by its digest: there, absent, and another one under its name."""
    digest = make_set(data, model).settings["weights_sha256"]
    package = str(tmp_path / "packed.zip")
    assert export.main([str(train(tmp_path)), "--format", "package", "--out", package]) == 0
    monkeypatch.setenv("SER_PRETRAINED", str(model.parent))
    assert ser.load(package).predict(tmp_path / "s3-1.wav").emotion == "high"
    monkeypatch.delenv("SER_PRETRAINED")
    with pytest.raises(DataError) as error:
        ser.load(package)
    assert str(error.value) == absent(digest)
    other = load_set(CONF, AudioConfig(16000, None, "refuse"), overrides=[
        f"model={make_encoder(tmp_path / 'others' / 'wavlm', 'wavlm', seed=1)}", "layers=2"
    ]).settings["weights_sha256"]  # fmt: skip
    monkeypatch.setenv("SER_PRETRAINED", str(tmp_path / "others"))
    with pytest.raises(CheckpointError) as refused:
        ser.load(package)
    assert str(refused.value) == (
        f"{tmp_path}/others/wavlm: its weights have the sha256 {other[:16]}, expected {digest[:16]} of "
        "wavlm; name the folder of the model that the features were made with"
    )


TINY = ["training.epochs=2", "training.batch_size=4", "features.sets=[whisper]"]
SYSTEMS = {
    "svm_whisper": (["features.norm=speaker", "features.sets=[whisper]"], "all"),
    "svm_whisper_means": (["features.norm=global", "features.sets=[whisper]"], "all"),
    "svm_whisper_squares": (["features.norm=global", "features.sets=[whisper]"], "all"),
    "pooled_whisper": ([*TINY, "features.norm=speaker"], "all"),
    "csa_whisper": ([*TINY, "features.vad.use=none", "features.cmvn.over=all", "features.norm=global",
                     "unit.context=4", "unit.overlap=2", "model.channels=[8,8,8]"], "[1,2]"),
    "blstmatt_whisper": ([*TINY, "features.vad.use=none", "features.cmvn.over=all", "features.norm=global",
                          "model.hidden=4"], "[1,2]"),
    "finetuned_whisper": ([*TINY, "model.heads=2", "model.feedforward=32", "model.projection=4"], "1"),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_says_of_recordings_what_it_says_in_the_recipe(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of all layers, too, whose archives are compressed; by speaker with all that the speaker says."""
    overrides, layers = SYSTEMS[name]
    encoder = make_encoder(tmp_path / "models" / "whisper", "whisper")
    monkeypatch.setenv("SER_PRETRAINED", str(encoder.parent))
    chosen = [f"model={encoder}", f"layers={layers}", "device=cpu", "chunk_s=2", "overlap_s=0.5"]
    features = load_set(CONF, AudioConfig(16000, None, "refuse"), overrides=chosen)
    extract.make_shard(data, features, 1, 1, lambda items, _: items)
    extract.merge_shards(data, features, 1)
    cmvn.compute(data, "whisper", lambda items, _: items)
    conf = config.SHARED / f"{name}.yaml"
    task = Task(tmp_path / "train", None, tmp_path / name, 1, config.resolve(conf, overrides), str(conf))
    fitting.train(task, use_gpu="no", tensorboard=False)
    decode_folder(task.folder, tmp_path / "test", tmp_path / "out", use_gpu="no")
    expected = read_posteriors(tmp_path / "out").posteriors
    assert len(expected) == 8
    trained = ser.load(task.folder)
    pieces = [
        Piece(utt, "s3", 0.0, 1.0, soundfile.read(tmp_path / f"{utt}.wav", dtype="float32")[0])
        for utt in expected
    ]
    speakers = trained.speakers(pieces) if trained.needs_speakers else None
    for result in trained.results(pieces, speakers):
        np.testing.assert_allclose(result.posterior, expected[result.source], atol=1e-5)


def test_other_encoders_are_refused(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where features of another one are decoded, and where another one lies under the name."""
    before = make_set(data, model).settings["weights_sha256"]
    folder = train(tmp_path)
    monkeypatch.setenv("SER_PRETRAINED", str(tmp_path / "nowhere"))
    with pytest.raises(DataError) as error:
        ser.load(folder)
    assert str(error.value) == absent(before)
    make_encoder(model, "wavlm", seed=1)
    shutil.rmtree(data / "whisper")
    after = make_set(data, model).settings["weights_sha256"]
    with pytest.raises(DataError) as error:
        decode_folder(folder, tmp_path / "test", tmp_path / "out")
    assert str(error.value) == (
        f"{tmp_path / 'test'}: its features 'whisper' were made with other settings than the model's: "
        f"settings.weights_sha256: {before} -> {after}; decode data made with the same conf/whisper.yaml"
    )
    monkeypatch.setenv("SER_PRETRAINED", str(model))
    with pytest.raises(CheckpointError) as refused:
        ser.load(folder)
    assert str(refused.value) == (
        f"{model}: its weights have the sha256 {after[:16]}, expected {before[:16]} of wavlm; name the "
        "folder of the model that the features were made with"
    )
