"""Long utterances in training: cut, split or left out, and said; one that cannot fit is named first."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ser import config
from ser.errors import ConfigError, DataError
from ser.feats.subset import Subset
from ser.learn import fitting, inference, memory, training
from ser.learn.loaders import Augmenter, Items, Share, UtteranceLoader, make_items, read_inputs
from ser.learn.tasks import Task
from ser.systems.settings import AugmentationSettings
from tests.learn.conftest import EMOTIONS, NUM_FILTERS, MakePart

FRAMES = np.array([5, 10, 11, 30, 31], np.int32)


def stretches(items: Items) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in items), strict=True))


@pytest.mark.parametrize(
    ("limit", "rule", "expected"),
    [
        (None, "split", [(0, 0, 5), (1, 0, 10), (2, 0, 11), (3, 0, 30), (4, 0, 31)]),
        (31, "drop", [(0, 0, 5), (1, 0, 10), (2, 0, 11), (3, 0, 30), (4, 0, 31)]),
        (10, "cut", [(0, 0, 5), (1, 0, 10), (2, 0, 10), (3, 0, 10), (4, 0, 10)]),
        (10, "drop", [(0, 0, 5), (1, 0, 10)]),
        (
            10,
            "split",
            [(0, 0, 5), (1, 0, 10), (2, 0, 5), (2, 5, 6), (3, 0, 10), (3, 10, 10), (3, 20, 10)]
            + [(4, 0, 7), (4, 7, 8), (4, 15, 8), (4, 23, 8)],
        ),
    ],
)
def test_items(limit: int | None, rule: str, expected: list[tuple[int, int, int]]) -> None:
    assert stretches(make_items(FRAMES, limit, rule)) == expected


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_pieces_are_all_of_the_utterance(limit: int) -> None:
    frames = np.random.default_rng(0).integers(1, 5000, 50).astype(np.int32)
    items = make_items(frames, limit, "split")
    assert items.lengths.min() >= 1
    assert items.lengths.max() <= limit
    sums: Any = np.bincount(items.utts, items.lengths)
    assert sums.tolist() == frames.tolist()


def test_a_second_set_is_cut_at_the_same_times() -> None:
    items = make_items(FRAMES, 10, "split")
    begins, ends = items.spans(np.array([2, 3, 4, 5, 6]), FRAMES * 3 + 1, FRAMES)
    assert (begins.tolist(), ends.tolist()) == ([0, 15, 0, 30, 60], [15, 34, 30, 60, 91])
    begins, ends = items.spans(np.array([2, 3]), np.array([1, 1, 1, 1, 1], np.int32), FRAMES)
    assert (begins.tolist(), ends.tolist()) == ([0, 0], [1, 1])


def test_batches_hold_the_pieces_of_the_features(make_part: MakePart) -> None:
    subset = Subset(make_part("train", "abc"), ["fbank"], "speaker", emotions=EMOTIONS)
    items = make_items(subset.num_frames, 20, "split")
    off = AugmentationSettings(0, 0, 0, 0, 0.0)
    augmenter = Augmenter(off, np.zeros(NUM_FILTERS, np.float32), 5)
    loader = UtteranceLoader(subset, 4, {"fbank": augmenter}, 7, Share(), items)
    assert loader.label_counts(4).sum() == len(items.utts) > len(subset)
    seen = 0
    for batch in loader.batches(0):
        x, lengths = batch.inputs.main
        assert x.shape[1] <= 20
        assert batch.num_frames == lengths.sum()
        seen += batch.num_frames
    assert loader.num_batches(0) == -(-len(items.utts) // 4)
    assert seen == subset.num_frames.sum()
    which = np.flatnonzero(items.utts == items.utts[items.starts > 0][0])
    pieces = read_inputs(subset, items.utts[which], items, which)
    rows = [row[:length] for row, length in zip(*pieces.main, strict=True)]
    whole = subset.main.read(int(items.utts[which[0]]))
    torch.testing.assert_close(torch.cat(rows), torch.from_numpy(whole), rtol=0, atol=0)


def train(task: Task) -> dict[str, Any]:
    fitting.train(task, use_gpu="no", tensorboard=False)
    facts: dict[str, Any] = json.loads((task.folder / "model.json").read_text())
    return facts


def make_task(make_part: MakePart, yaml: Path, out: Path, *overrides: str) -> Task:
    data = make_part("train", "abc") if not (yaml.parent / "train").exists() else yaml.parent / "train"
    texts = ["optim.plateau.metric=train_loss", "training.select=last", "training.epochs=1", *overrides]
    return Task(data, None, out, 1, config.resolve(yaml, texts), str(yaml))


@pytest.mark.parametrize(("rule", "done"), [("cut", "cut"), ("split", "split"), ("drop", "left out")])
def test_what_is_done_is_said_and_kept(
    make_part: MakePart,
    blstmatt_yaml: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    rule: str,
    done: str,
) -> None:
    overrides = ("training.max_frames=40", f"training.long_utterances={rule}")
    task = make_task(make_part, blstmatt_yaml, tmp_path / "out", *overrides)
    with caplog.at_level(logging.INFO, "ser"):
        facts = train(task)["long_utterances"]
    frames = Subset(task.train, ["fbank"], "none").num_frames
    long = int((frames > 40).sum())
    items = {"cut": len(frames), "split": len(frames) + long, "drop": len(frames) - long}[rule]
    assert facts == {"rule": rule, "utterances": long, "of": len(frames), "items": items}
    said = f"{long} of {len(frames)} utterances have more than 40 frames and are {done}, which leaves {items}"
    assert said in caplog.text


def test_a_limit_that_none_exceeds_changes_no_bit(
    make_part: MakePart, blstmatt_yaml: Path, tmp_path: Path
) -> None:
    train(make_task(make_part, blstmatt_yaml, tmp_path / "one"))
    train(make_task(make_part, blstmatt_yaml, tmp_path / "two", "training.max_frames=59"))
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_refusals(make_part: MakePart, blstmatt_yaml: Path, csa_yaml: Path, tmp_path: Path) -> None:
    overrides = ("training.max_frames=3", "training.long_utterances=drop")
    with pytest.raises(DataError, match=r"24 of 24 utterances have more than 3 frames, nothing is left"):
        train(make_task(make_part, blstmatt_yaml, tmp_path / "out", *overrides))
    with pytest.raises(ConfigError, match=r"max_frames is for systems that are trained on whole utterances"):
        train(make_task(make_part, csa_yaml, tmp_path / "out", *overrides[:1]))


def test_an_utterance_beyond_the_memory_is_named_before_training(
    make_part: MakePart, blstmatt_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LONG_FRAMES", 1)
    task = make_task(make_part, blstmatt_yaml, tmp_path / "out")
    train(task)  # what fits is trained
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000.0)
    task = make_task(make_part, blstmatt_yaml, tmp_path / "other")
    with pytest.raises(DataError) as error:
        train(task)
    subset = Subset(task.train, ["fbank"], "none")
    key, frames = subset.keys[int(subset.num_frames.argmax())], int(subset.num_frames.max())
    assert str(error.value) == (
        f"{task.train}: the utterance {key}, {frames} frames long and in a batch of 4, takes 0.0 GiB of "
        "memory or more, 0.0 are free; set training.max_frames, and training.long_utterances to cut, split "
        "or drop"
    )
    assert not (task.folder / "made.json").exists()


def test_decoding_names_what_is_beyond_the_memory(
    make_part: MakePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    subset = Subset(make_part("train", "a"), ["fbank"], "none")
    monkeypatch.setattr(memory, "LONG_FRAMES", 1)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 0.0)
    network = torch.nn.Sequential(Pooled())
    with pytest.raises(DataError, match=r"the utterance a-\d+, \d+ frames long, takes .* decode where there"):
        list(inference.decode(network, "utterance", subset, torch.device("cpu")))


class Pooled(torch.nn.Module):
    """A linear layer of every frame, and one that takes all pairs of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(NUM_FILTERS, 32)

    def forward(self, inputs: Any) -> torch.Tensor:
        h = self.layer(inputs.main[0])
        return (h @ h.transpose(1, 2)).square().sum()


def test_the_estimate_grows_as_the_network_does(make_part: MakePart) -> None:
    subset = Subset(make_part("train", "a"), ["fbank"], "none")
    network, frames = Pooled(), 50_000
    state, generator = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    kept = memory.needed_bytes(network, subset, frames, training=True)
    # kept: the input, the 32 values of a frame (two uses, one storage), and a number for each pair of frames
    expected = 4 * frames * (NUM_FILTERS + 32) + 4 * frames**2
    assert kept == pytest.approx(expected, rel=0.01)
    largest = memory.needed_bytes(network, subset, frames, training=False)
    assert largest == pytest.approx(4 * frames * (NUM_FILTERS + 32), rel=0.01)
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_errors_of_memory() -> None:
    text = (
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    )
    assert memory.is_shortage(RuntimeError(text))
    assert memory.is_shortage(RuntimeError("could not create a primitive"))
    assert memory.is_shortage(MemoryError())
    assert not memory.is_shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert 2**20 < memory.free_bytes(torch.device("cpu")) < 2**60


def test_running_out_is_one_line(make_part: MakePart, blstmatt_yaml: Path, tmp_path: Path) -> None:
    task = make_task(make_part, blstmatt_yaml, tmp_path / "out")

    settings = SimpleNamespace(training=SimpleNamespace(batch_size=8))
    text = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    expected = r"memory is too small for a batch; lower training.batch_size \(8\), or set training.max_frames"
    with pytest.raises(DataError, match=expected), training._memory(task, settings):
        raise RuntimeError(text)
