"""Trainings whose length is given in updates (``training.steps``)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.learn.tasks import Task
from tests.learn.conftest import MakePart
from tests.learn.test_training import assert_same_models, check_resuming, train

COSINE = "optim.schedule=cosine"


@pytest.fixture
def task(make_part: MakePart, tmp_path: Path) -> Task:
    """16 utterances to train on."""
    return Task(make_part("train"), make_part("dev", "cd", seed=1), tmp_path / "model", 7, {}, "")


def num_epochs(folder: Path) -> int:
    return len((folder / "history.tsv").read_text().splitlines()) - 1


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"), [("null", 9, 2), ("null", 11, 3), ("null", 1, 1), (2, 11, 2), (4, 11, 3)]
)
def test_steps_become_whole_epochs(
    task: Task, blstmatt_yaml: Path, tmp_path: Path, epochs: object, steps: int, expected: int
) -> None:
    """Batches of 4 utterances: 4 updates an epoch, down to a rate of 0 at the end of the last one."""
    train(task, blstmatt_yaml, COSINE, f"training.epochs={epochs}", f"training.steps={steps}")
    assert num_epochs(task.folder) == expected
    alone = replace(task, folder=tmp_path / "epochs")
    train(alone, blstmatt_yaml, COSINE, f"training.epochs={expected}")
    assert_same_models(task.folder, alone.folder)


def test_steps_of_chunks(task: Task, csa_yaml: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Batches of 8 chunks of 20 frames, every 10 frames."""
    frames = np.array([int(n) for n in tables.read_table(task.train / "utt2num_frames").values()])
    chunks = int(np.maximum(0, (frames - 20) // 10 + 1).sum())
    updates = -(-chunks // 8)
    with caplog.at_level(logging.INFO, "ser"):
        train(task, csa_yaml, "training.epochs=null", f"training.steps={3 * updates}")
    assert num_epochs(task.folder) == 3
    assert caplog.messages.count(
        f"{task.folder}: trains for 3 epochs of {updates} updates (training.epochs null, training.steps "
        f"{3 * updates})"
    ) == 1  # fmt: skip
    assert any(message.startswith("epoch 3/3 lr ") for message in caplog.messages)


def test_killed_and_resumed_is_bit_identical(
    task: Task, blstmatt_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = (COSINE, "training.epochs=null", "training.steps=11")
    check_resuming(task, blstmatt_yaml, tmp_path, monkeypatch, (1, 2), *length)
    assert num_epochs(tmp_path / "whole") == 3


@pytest.mark.parametrize(
    ("length", "late"),
    [
        (("training.epochs=null", "training.steps=8"), "2, 9"),
        (("training.epochs=12", "training.steps=8"), "2, 9"),
        (("training.epochs=null", "training.steps=40"), None),
        (("training.epochs=2", "training.steps=40"), None),  # as short as was asked for
    ],
)
def test_falls_of_the_rate_behind_the_end(
    task: Task,
    blstmatt_yaml: Path,
    caplog: pytest.LogCaptureFixture,
    length: tuple[str, str],
    late: str | None,
) -> None:
    falls = ("optim.schedule=steps", "optim.steps={epochs: [1, 2, 9], factor: 0.1}")
    train(task, blstmatt_yaml, *falls, *length)
    said = (
        f"{task.folder}: training.steps ends the training with epoch 2, but the rate would fall behind "
        f"{late}; name earlier epochs in optim.steps.epochs"
    )
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ([said] if late else [])
