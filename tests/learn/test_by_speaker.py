"""Training and decoding of networks that normalise what they pool by speaker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ser.errors import DataError, UsageError
from ser.feats.subset import Subset
from ser.learn import inference, trainer, training
from ser.learn.batches import count_speaker_batches, number_speakers, speaker_batches
from ser.learn.decoding import open_subset
from ser.learn.loaders import ChunkLoader, Share, UtteranceLoader
from ser.learn.models import TrainedModel, load_model
from ser.learn.tasks import Task
from ser.systems.layers.speaker_norm import SpeakerNorm, speaker_norm
from tests.learn.conftest import EMOTIONS, MakePart
from tests.learn.test_loaders import CHUNKING, make_augmenter
from tests.learn.test_training import Stop, assert_same_models, train

CPU = torch.device("cpu")
BY_SPEAKER = "model.pooled_norm=speaker"
OVERRIDES = {
    "blstmatt": [BY_SPEAKER],
    "csa": [BY_SPEAKER, "features.norm=speaker", "model.head_pool=mean_time"],
}


@pytest.fixture(params=["blstmatt", "csa"])
def case(request: pytest.FixtureRequest) -> tuple[Path, list[str]]:
    """A settings file and what is changed in it."""
    return request.getfixturevalue(f"{request.param}_yaml"), OVERRIDES[request.param]


@pytest.fixture
def task(make_part: MakePart, tmp_path: Path) -> Task:
    return Task(make_part("train"), make_part("dev", "cd", seed=1), tmp_path / "model", 7, {}, "")


@pytest.mark.parametrize("size", [1, 5, 16])
def test_batches_are_of_one_speaker_and_hold_every_item_once(size: int) -> None:
    speakers = np.repeat([0, 1, 2, 3], [40, 1, 7, 23])
    np.random.default_rng(3).shuffle(speakers)
    batches = speaker_batches(speakers, size, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(71))
    assert all(len(set(speakers[batch])) == 1 for batch in batches)
    assert len(batches) == count_speaker_batches(speakers, size)
    by_hand = {1: 71, 5: 8 + 1 + 1 + 5, 16: 3 + 1 + 1 + 1}  # 40 / 16 = 2.5 rounds up, 23 / 16 down
    assert len(batches) == by_hand[size]
    sizes = [len(batch) for batch in batches if speakers[batch[0]] == 0]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("unit", ["utterance", "chunk"])
def test_loaders_give_batches_of_one_speaker(make_part: MakePart, unit: str) -> None:
    subset = Subset(make_part("train", "abc"), ["fbank"], "speaker", emotions=EMOTIONS)
    augmenter = make_augmenter()

    def batches(first: int = 0) -> Iterator[tuple[list[int], list[float]]]:
        if unit == "chunk":
            loader = ChunkLoader(subset, CHUNKING, 4, augmenter, 7, Share(), by_speaker=True)
        else:
            loader = UtteranceLoader(subset, 3, {"fbank": augmenter}, 7, Share(), by_speaker=True)
        made = list(loader.batches(2, first))
        assert len(made) == loader.num_batches(2) - first
        for batch in made:
            assert batch.inputs.speakers is not None
            yield batch.inputs.speakers.tolist(), batch.inputs.main[0].sum(dim=(1, 2)).tolist()

    whole = list(batches())
    assert all(len(set(speakers)) == 1 for speakers, _ in whole)
    assert {speakers[0] for speakers, _ in whole} == {0, 1, 2}
    assert list(batches(first=3)) == whole[3:]


def test_speakers_are_numbered_by_key(make_part: MakePart) -> None:
    subset = Subset(make_part("train", "ba", per_speaker=2), ["fbank"], "none")
    assert subset.keys == ["a-00", "a-01", "b-00", "b-01"]
    assert number_speakers(subset).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("stop_at", [(0, 1), (2, 2)])
def test_killed_and_resumed_is_bit_identical(
    task: Task,
    case: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: tuple[int, int],
) -> None:
    """The running statistics are part of the state."""
    settings, overrides = case
    whole, stopped = replace(task, folder=tmp_path / "whole"), replace(task, folder=tmp_path / "stopped")
    train(whole, settings, *overrides)
    real_step = trainer.Trainer._step

    def step_or_die(self: trainer.Trainer, *args: object) -> None:
        if (self.at.epoch, self.at.batch) == stop_at:
            raise Stop
        real_step(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "SAVE_EVERY_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_step", step_or_die)
        with pytest.raises(Stop):
            train(stopped, settings, *overrides)
    train(stopped, settings, *overrides)
    assert_same_models(whole.folder, stopped.folder)
    norm = speaker_norm(load_model(whole.folder).network)
    assert norm is not None
    assert norm.batches > 4


def trained(task: Task, case: tuple[Path, list[str]]) -> TrainedModel:
    settings, overrides = case
    train(task, settings, *overrides)
    return load_model(task.folder)


def test_decoding_takes_all_that_a_speaker_says(
    task: Task, case: tuple[Path, list[str]], make_part: MakePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against classifying by hand what the network pools, one utterance or chunk at a time."""
    model = trained(task, case)
    network, unit = model.network.eval(), model.settings.unit
    subset = open_subset(model, make_part("test", "ef", seed=2))
    norm = speaker_norm(network)
    assert isinstance(norm, SpeakerNorm)
    pooled: dict[str, list[list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]]] = {}
    with torch.inference_mode():
        for index, key in enumerate(subset.keys):
            if unit == "utterance":
                batches = [inference.read_inputs(subset, np.array([index]))]
            else:
                cut = inference._cut(subset, index, unit)
                batches = list(inference._chunk_batches(cut.x, cut.chunks.lengths, 1, None))
            rows = [network(batch).extra["pooled"][0].double().numpy() for batch in batches]
            pooled.setdefault(subset.speakers[key], []).append(rows)
    prior = [norm.mean.double().numpy(), norm.variance.double().numpy()]
    weight, bias = (values.detach().double().numpy() for values in network.classifier.parameters())
    expected = []
    for utterances in pooled.values():
        every, share = np.concatenate(utterances), 4 / (4 + len(utterances))
        mean = (1 - share) * every.mean(axis=0) + share * prior[0]
        square = (1 - share) * np.square(every).mean(axis=0) + share * (prior[1] + prior[0] ** 2)
        deviation = np.sqrt(square - mean**2 + 1e-4)
        for rows in utterances:
            powers = np.exp(((np.array(rows) - mean) / deviation) @ weight.T + bias)
            expected.append((powers / powers.sum(axis=1, keepdims=True)).mean(axis=0))
    for frames in (20_000, 60):
        monkeypatch.setattr(inference, "BATCH_FRAMES", frames)
        decided = list(inference.decode(network, unit, subset, CPU))
        rows = [each.padded if each.posterior is None else each.posterior for each in decided]
        assert np.stack([row for row in rows if row is not None]) == pytest.approx(
            np.stack(expected), abs=1e-5
        )


def test_a_speaker_of_whom_nothing_is_known(task: Task, blstmatt_yaml: Path, make_part: MakePart) -> None:
    model = trained(task, (blstmatt_yaml, [BY_SPEAKER]))
    subset = open_subset(model, make_part("test", "ef", seed=2))
    stats = inference.pooled_stats(model.network.eval(), "utterance", subset, CPU)
    assert list(stats) == ["e", "f"]
    subset.speaker_stats = {"e": stats["e"]}
    with pytest.raises(DataError) as refusal:
        inference.pooled_scales(model.network, "utterance", subset, CPU)
    assert str(refusal.value) == f"{subset.folder}: no statistics of the speaker f, which the model needs"


def test_other_normalisations_leave_what_is_pooled_alone(task: Task, blstmatt_yaml: Path) -> None:
    model = trained(task, (blstmatt_yaml, [BY_SPEAKER, "features.norm=global"]))
    assert speaker_norm(model.network) is None


def test_several_processes_are_refused() -> None:
    with pytest.raises(UsageError) as refusal:
        training._shared_batch_norm(torch.nn.Sequential(SpeakerNorm(2)), CPU, Share(0, 2))
    assert str(refusal.value) == (
        "several processes cannot train a network that normalises by speaker within a batch; use one "
        "process, or set model.pooled_norm to none"
    )
