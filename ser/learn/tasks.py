"""Which trainings there are, what each is made from, and whether it is finished; starts without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ser import config, reading
from ser.data import files
from ser.data.labels import EMOTIONS
from ser.data.normalisation import AUTO, norm_files
from ser.data.turns import turn_files, vector_files
from ser.errors import ConfigError, DataError, StaleError, UsageError, shown
from ser.feats.speech import asks_for_speech
from ser.feats.stores import feature_files

CONFIG, MODEL, WEIGHTS, CHECKPOINT = (
    "config.yaml",
    "model.json",
    "model.safetensors",
    "checkpoint.safetensors",
)
HISTORY = "history.tsv"  # of networks, the loss of every epoch
OLD_MODEL = "model.pt"  # of versions that kept pickles
REMEDY = "choose another --exp-dir, or remove the folder to train it again"
DECODING = ("pooling", "decoding_shift")  # keys of ``unit`` on which a training does not depend
PUBLISHED = "published"  # a key that only the report reads


@dataclass(frozen=True)
class Task:
    """One training: its data, its seed, where it goes, and the settings that its YAML file says."""

    train: Path
    dev: Path | None
    folder: Path
    seed: int
    tree: Mapping[str, Any]  # with the base's and the overrides' values, not yet checked
    source: str  # the settings file, for messages

    @property
    def sets(self) -> list[str]:
        """The feature sets that the system reads."""
        features = self.tree.get("features")
        sets = features.get("sets") if isinstance(features, Mapping) else None
        return [str(name) for name in sets] if isinstance(sets, list) else []

    @property
    def copies(self) -> list[list[str]]:
        """The sets that stand for them in copies of the training utterances."""
        features = self.tree.get("features")
        copies = features.get("copies") if isinstance(features, Mapping) else None
        return [[str(name) for name in copy] for copy in copies or []]

    @property
    def norm(self) -> str:
        """How they are normalised, as the settings say it."""
        features = self.tree.get("features")
        return str(features.get("norm", "none")) if isinstance(features, Mapping) else "none"


def read_task(path: Path, number: int) -> Task:
    """Line ``number`` (from 1) of a task list.

    Its fields, tab-separated: train, dev or ``-``, model folder, seed, settings file, any ``KEY=VALUE``.

    Raises:
        DataError: there is no such line, or it is none.
        ConfigError: its settings file cannot be read.
    """
    lines = _lines(path)
    if not 1 <= number <= len(lines):
        raise UsageError(f"--task {number}: {path} has {len(lines)} tasks")
    fields = lines[number - 1].split("\t")
    if len(fields) < 5 or not (fields[3].isdecimal() and len(fields[3]) < 20):
        raise DataError(
            f"{path}:{number}: expected '<train><TAB><dev or -><TAB><model folder><TAB><seed><TAB>"
            f"<settings>' and overrides KEY=VALUE, got {shown(lines[number - 1])}; correct the line"
        )
    train, dev, folder, seed, settings, *overrides = fields
    tree = config.resolve(Path(settings), overrides)
    return Task(Path(train), None if dev == "-" else Path(dev), Path(folder), int(seed), tree, settings)


def count_tasks(path: Path) -> int:
    """The tasks of a list."""
    return len(_lines(path))


def _lines(path: Path) -> list[str]:
    return reading.read_text(path, "list the trainings, see steps/train.sh --help").splitlines()


def finished(task: Task, *, thorough: bool = False) -> bool:
    """Whether the task is done, with these settings (but for those of decoding) and data.

    Args:
        task: the training.
        thorough: read the weights too, and say what is lost, as one who will train again.

    Raises:
        ConfigError: settings ask for a dev subset and there is none.
        DataError: the data is not there.
        StaleError: the folder holds a model of other settings or data, or of an older version.
    """
    if (task.folder / OLD_MODEL).exists() and not (task.folder / MODEL).exists():
        raise StaleError(f"{task.folder / OLD_MODEL}: {OLD_VERSION}; {REMEDY}")
    return files.is_made(task.folder, *_made_of(task), remedy=REMEDY, thorough=thorough, tell=thorough)


OLD_VERSION = "is a model of an older version of the recipe, a pickle, which is not read any more"


def config_changes(task: Task) -> list[str]:
    """What differs between the model folder's config.yaml and the task's settings, decoding included.

    What the report alone reads does not count.
    """
    try:
        known = config.read_yaml(task.folder / CONFIG)
    except ConfigError:
        return [f"{CONFIG} cannot be read"]
    old, new = ({**tree, PUBLISHED: None} for tree in (known, json.loads(json.dumps(task.tree))))
    return files.differences(old, new)


def config_is_current(task: Task) -> bool:
    """Whether the model folder's config.yaml equals the task's settings, decoding included."""
    return not config_changes(task)


def write_made(task: Task, *, but: Sequence[str] = ()) -> None:
    """Record that the task is finished, and what it left, but for some files that are about to change."""
    names = [name for name in (MODEL, WEIGHTS, EMOTIONS, HISTORY) if name not in but]
    outputs = [task.folder / name for name in names if (task.folder / name).exists()]
    files.write_made(task.folder, *_made_of(task), outputs, thorough=True)


def learnt(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a training depends on: all but those of decoding and of the report."""
    settings = {key: value for key, value in tree.items() if key != PUBLISHED}
    unit = tree.get("unit")
    if isinstance(unit, Mapping):
        settings["unit"] = {key: value for key, value in unit.items() if key not in DECODING}
    return settings


def _made_of(task: Task) -> tuple[dict[str, Any], dict[str, Path]]:
    """The settings and the files that a model depends on."""
    needed = needs_dev(task.tree)
    if needed and task.dev is None:
        raise ConfigError(
            f"{task.train}: the fold has no dev subset, which optim.plateau.metric dev_loss and "
            "training.select best_dev_* need; choose a --protocol with one, or train_loss and last"
        )
    if not task.train.is_dir():
        raise DataError(f"{task.train}: no such folder; run stages 1 and 2")
    speech = asks_for_speech(task.tree)
    sets = [*task.sets, *chain(*task.copies)]
    inputs = feature_files(task.train, sets, speech=speech) | {"utt2emo": task.train / "utt2emo"}
    if task.norm == AUTO:
        inputs |= norm_files(task.train)
    inputs |= turn_files(task.train, task.tree) | vector_files(task.tree)
    if task.dev is not None and needed:
        inputs |= {f"dev/{name}": path for name, path in turn_files(task.dev, task.tree).items()}
        inputs |= {f"dev/{name}": path for name, path in feature_files(task.dev, task.sets).items()}
    if missing := [path for path in inputs.values() if not path.exists()]:
        raise DataError(f"{missing[0]}: no such file; run stages 1 and 2")
    return {"system": learnt(task.tree), "seed": task.seed}, inputs


def needs_dev(tree: Mapping[str, Any]) -> bool:
    """Whether the learning rate or the selection of the epoch looks at a dev subset."""
    optim, training = tree.get("optim") or {}, tree.get("training") or {}
    plateau = optim.get("schedule") == "plateau" and (optim.get("plateau") or {}).get("metric") == "dev_loss"
    return bool(plateau or training.get("select", "last") != "last")
