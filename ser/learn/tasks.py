"""Which trainings there are, what each is made from, and whether it is finished; starts without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser import config
from ser.data import files
from ser.errors import ConfigError, DataError, UsageError
from ser.learn.settings import Settings, learnt

CONFIG = "config.yaml"
REMEDY = "choose another --exp-dir, or remove the folder to train it again"


@dataclass(frozen=True)
class Task:
    """One training: its data, its seed, where it goes."""

    train: Path
    dev: Path | None
    folder: Path
    seed: int


def read_task(path: Path, number: int) -> tuple[Task, Path, list[str]]:
    """Line ``number`` (from 1) of a task list: the task, its settings file, overrides of settings.

    Its fields, tab-separated: train, dev or ``-``, model folder, seed, settings file, any ``KEY=VALUE``.

    Raises:
        DataError: there is no such line, or it is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; list the trainings, see steps/train.sh --help") from error
    if not 1 <= number <= len(lines):
        raise UsageError(f"--task {number}: {path} has {len(lines)} tasks")
    fields = lines[number - 1].split("\t")
    if len(fields) < 5 or not fields[3].isdigit():
        raise DataError(
            f"{path}:{number}: expected '<train><TAB><dev or -><TAB><model folder><TAB><seed><TAB>"
            f"<settings>' and overrides KEY=VALUE, got {lines[number - 1]!r}; correct the line"
        )
    train, dev, folder, seed, settings, *overrides = fields
    task = Task(Path(train), None if dev == "-" else Path(dev), Path(folder), int(seed))
    return task, Path(settings), overrides


def finished(task: Task, settings: Settings) -> bool:
    """Whether the task is done, with these settings (but for those of decoding) and data.

    Raises:
        ConfigError: settings ask for a dev part and there is none.
        DataError: the data is not there.
        StaleError: the folder holds a model of other settings or data.
    """
    wanted, inputs = _made_of(task, settings)
    return files.is_made(task.folder, wanted, inputs, remedy=REMEDY)


def described(task: Task, settings: Settings) -> bool:
    """Whether the model folder tells just these settings, those of decoding too."""
    path = task.folder / CONFIG
    return path.exists() and path.read_text(encoding="utf-8") == config.dump(config.to_dict(settings))


def write_made(task: Task, settings: Settings) -> None:
    """Record that the task is finished."""
    files.write_made(task.folder, *_made_of(task, settings))


def _made_of(task: Task, settings: Settings) -> tuple[Mapping[str, Any], Mapping[str, Path]]:
    """The settings and the files that a model depends on."""
    if needs_dev(settings) and task.dev is None:
        raise ConfigError(
            f"{task.train}: the fold has no dev part, which optim.plateau.metric dev_loss and "
            "training.select best_dev_* need; choose a --protocol with one, or train_loss and last"
        )
    inputs = {name: task.train / name for name in ("feats.scp", "utt2emo", "fbank.yaml")}
    if task.dev is not None and needs_dev(settings):
        inputs["dev/feats.scp"] = task.dev / "feats.scp"
    missing = [path for path in inputs.values() if not path.exists()]
    if missing:
        raise DataError(f"{missing[0]}: no such file; run stages 1 and 2")
    return {"system": learnt(settings), "seed": task.seed}, inputs


def needs_dev(settings: Settings) -> bool:
    """Whether the learning rate or the selection of the epoch looks at a dev part."""
    optim = settings.optim
    plateau = optim.schedule == "plateau" and optim.plateau.metric == "dev_loss"
    return plateau or settings.training.select != "last"
