"""Layers of an encoder that are trained further: they are the encoder's, learn at their rates, and resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser import config, systems
from ser.data import tables
from ser.data.corpus import AudioConfig
from ser.data.labels import write_emotions
from ser.errors import ConfigError
from ser.feats import cmvn
from ser.feats.sets import FeatureSet, load_set
from ser.learn import fitting, models, trainer
from ser.learn.decoding import decisions, open_subset
from ser.learn.tasks import Task
from ser.systems.base import Inputs, Sizes
from ser.systems.finetuned import SYSTEM, FineTuned

pytest.importorskip("transformers", reason="utils/install.sh --extra pretrained is not done")

from tests.feats.encoders import make_encoder  # noqa: E402

CONF = Path(__file__).resolve().parents[2] / "conf"
TINY = ["model.heads=2", "model.feedforward=32", "model.projection=6", "features.sets=[tiny]"]
POST_NORM = [*TINY, "model.norm_first=false"]


def the_set(folder: Path, family: str, layers: str) -> FeatureSet:
    overrides = [f"model={folder / family}", f"layers={layers}", "chunk_s=2", "overlap_s=0.5", "device=cpu"]
    path = folder / "tiny.yaml"
    path.write_text((CONF / "whisper.yaml").read_text())
    return load_set(path, AudioConfig(16000, None, "refuse"), overrides=overrides)


def begun(family: str, folder: Path, overrides: Sequence[str], layers: str = "1") -> FineTuned:
    """A network that begins with layers of a tiny encoder."""
    _, settings = systems.load_settings(CONF / "finetuned_whisper.yaml", overrides)
    network = SYSTEM.build(settings, Sizes({"tiny": 16}, 4, {}))
    assert SYSTEM.begin is not None
    SYSTEM.begin(network, settings, {"tiny": the_set(folder, family, layers).to_dict()})
    assert isinstance(network, FineTuned)
    return network.eval()


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("models")
    for family in ("whisper", "wav2vec2", "wav2vec2-large", "hubert", "data2vec-audio", "wavlm"):
        make_encoder(top / family, family)
    return top


@pytest.fixture(autouse=True)
def place(encoders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where models are looked for by name."""
    monkeypatch.setenv("SER_PRETRAINED", str(encoders))


@pytest.mark.parametrize(
    ("family", "overrides"),
    [
        ("whisper", TINY),
        ("wav2vec2", POST_NORM),
        ("wav2vec2-large", TINY),
        ("hubert", POST_NORM),
        ("data2vec-audio", POST_NORM),
    ],
)
def test_it_begins_as_the_encoder_goes_on(encoders: Path, family: str, overrides: list[str]) -> None:
    """Of one layer's output it makes the next one's, in a padded batch too."""
    rng = np.random.default_rng(3)
    samples = rng.normal(0, 0.2, 12000).astype(np.float32)
    x = torch.from_numpy(the_set(encoders, family, "[1, 2]").make().compute(samples, "a"))  # (T, 2 * 16)
    network = begun(family, encoders, overrides)
    lengths = torch.tensor([len(x), len(x) - 5])
    batch = torch.stack([x[:, :16], x[:, :16]])
    seen: list[torch.Tensor] = []
    network.encoder[0].register_forward_hook(lambda _layer, _given, output: seen.append(output))
    logits = network(Inputs.of(batch, lengths)).logits
    torch.testing.assert_close(seen[0][0], x[:, 16:], atol=1e-4, rtol=0)
    batch[1, -5:] = 1e4
    torch.testing.assert_close(network(Inputs.of(batch, lengths)).logits, logits)
    alone = network(Inputs.of(batch[1:, :-5], lengths[1:])).logits
    torch.testing.assert_close(alone, logits[1:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("family", "overrides", "layers", "message"),
    [
        (
            "whisper",
            [*TINY, "model.heads=4", "model.norm_first=false"],
            "1",
            "the layers of whisper are others; set model.heads=2, model.norm_first=true",
        ),
        (
            "whisper",
            [*TINY, "tuning.layers=3"],
            "1",
            "tuning.layers must be 2 or less: whisper has 3 layers, and the features are layer 1",
        ),
        (
            "whisper",
            TINY,
            "[1, 2]",
            "features.sets must name a set with one layer of a pretrained encoder",
        ),
        (
            "wavlm",
            POST_NORM,
            "1",
            "the layers of wavlm cannot be tuned: they have attention.gru_rel_pos_const, which the layers of "
            "Whisper, wav2vec 2.0, HuBERT and data2vec have not",
        ),
    ],
)
def test_refusals(encoders: Path, family: str, overrides: list[str], layers: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        begun(family, encoders, overrides, layers)
    assert str(error.value) == message


def test_features_must_be_the_encoders() -> None:
    path = CONF / "finetuned_whisper.yaml"
    with pytest.raises(ConfigError) as error:
        systems.load_settings(path, ["features.norm=speaker"])
    assert str(error.value) == (
        f"{path}: features.norm and level must be none: the layers read what the encoder gives; correct it"
    )


def test_lower_layers_learn_more_slowly() -> None:
    overrides = [*TINY, "tuning={layers: 2, rate: 0.5, decay: 0.1}", "optim.lr=0.01"]
    _, settings = systems.load_settings(CONF / "finetuned_whisper.yaml", overrides)
    network = SYSTEM.build(settings, Sizes({"tiny": 16}, 4, {}))
    assert SYSTEM.rates is not None
    optimizer = trainer.make_optimizer(network, settings.optim, SYSTEM.rates(settings))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        expected = {"encoder.0": 0.0005, "encoder.1": 0.005}.get(name[:9], 0.01)
        assert rates[id(parameter)] == pytest.approx(expected), name


@pytest.fixture
def task(encoders: Path, tmp_path: Path) -> Task:
    """A training on random frames whose class shifts a value."""
    folder, rng = tmp_path / "train", np.random.default_rng(0)
    folder.mkdir()
    keys = [f"s{number % 2}-{number:02d}" for number in range(16)]
    frames: dict[str, int] = {}
    stats = []
    with tables.ArkWriter(folder / "feats") as archive:
        for key in sorted(keys):
            x = rng.normal(size=(int(rng.integers(5, 20)), 16)).astype(np.float32)
            x[:, int(key[-2:]) // 2 % 2] += 1.5
            archive.write(key, x)
            frames[key] = len(x)
            stats.append(cmvn.stats(x))
    with tables.ArkWriter(folder / "cmvn_global") as archive:
        archive.write("global", sum(stats))
    tables.write_table(folder / "utt2num_frames", frames)
    tables.write_table(folder / "utt2spk", {key: key[:2] for key in sorted(keys)})
    tables.write_table(folder / "utt2emo", {key: "ab"[int(key[-2:]) // 2 % 2] for key in sorted(keys)})
    write_emotions(folder / "emotions.txt", ("a", "b"))
    made = the_set(encoders, "whisper", "1").to_dict()
    (folder / "feats.yaml").write_text(config.dump({"set": "tiny", **made}))
    overrides = [*TINY, "training.epochs=3", "training.batch_size=4", "tuning.layers=2", "optim.lr=0.01"]
    path = CONF / "finetuned_whisper.yaml"
    return Task(folder, None, tmp_path / "model", 7, config.resolve(path, overrides), str(path))


class Stop(Exception):  # noqa: N818  (not an error: stands for a kill)
    """The process is killed here."""


def arrays_of(folder: Path) -> dict[str, Any]:
    return models.load_model(folder).arrays


@pytest.mark.parametrize("stop_at", [(0, 1), (1, 0), (2, 2)])
def test_killed_and_resumed_is_bit_identical(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: tuple[int, int]
) -> None:
    torch.set_num_threads(1)
    whole = replace(task, folder=tmp_path / "whole")
    fitting.train(whole, use_gpu="no", tensorboard=False)
    real_step = trainer.Trainer._step

    def step_or_die(self: trainer.Trainer, *args: Any) -> None:
        if (self.at.epoch, self.at.batch) == stop_at:
            raise Stop
        real_step(self, *args)

    monkeypatch.setattr(trainer, "SAVE_EVERY_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_step", step_or_die)
        with pytest.raises(Stop):
            fitting.train(task, use_gpu="no", tensorboard=False)
    fitting.train(task, use_gpu="no", tensorboard=False)
    one, two = arrays_of(whole.folder), arrays_of(task.folder)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert (whole.folder / "history.tsv").read_text() == (task.folder / "history.tsv").read_text()


def test_a_model_holds_its_layers(task: Task, encoders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They began as the encoder's and have changed; to decode, nothing of the encoder is read."""
    torch.set_num_threads(1)
    fitting.train(task, use_gpu="no", tensorboard=False)
    began = begun("whisper", encoders, [*TINY, "tuning.layers=2"]).encoder.state_dict()
    learnt = {name.removeprefix("encoder."): values for name, values in arrays_of(task.folder).items()}
    moved = {name: float(np.abs(learnt[name] - began[name].numpy()).max()) for name in began}
    assert all(0 < moved[name] < 0.2 for name in began if "bias" not in name), moved
    monkeypatch.setenv("SER_PRETRAINED", "/nowhere")
    model = models.load_model(task.folder)
    subset = open_subset(model, task.train)
    rows = np.stack([decision.posterior for decision in decisions(model, subset, "no")])
    labels = [int(key[-2:]) // 2 % 2 for key in subset.keys]
    assert (rows.argmax(axis=1) == labels).mean() > 0.8
