"""Training of any system: what is finished is left alone; networks go to :mod:`ser.learn.training`."""

from __future__ import annotations

from typing import Any

from ser import systems
from ser.cli import log
from ser.data import files, labels
from ser.feats.stores import set_settings
from ser.feats.subset import Subset
from ser.learn import models, tasks
from ser.learn.normalisation import resolve_norm
from ser.learn.tasks import Task
from ser.systems.base import Estimator


def train(task: Task, *, use_gpu: str = "auto", tensorboard: bool = True) -> None:
    """Train one system on one training subset into ``task.folder``; go on where a stopped training was.

    A finished folder with the same settings and data is left as it is.  Where its model is gone or damaged,
    that is said, and it is trained again from the start.

    Raises:
        DataError: the data cannot be used, or another process trains in the folder.
        StaleError: the folder holds a model of other settings or data.
        CheckpointError: the training state cannot be used.
        ConfigError: settings that do not fit the system, or ask for a dev subset where there is none.
    """
    done = tasks.finished(task, thorough=True)
    if done and tasks.config_is_current(task):
        log.info("%s: up to date", task.folder)
        return
    system, asked = systems.build_settings(task.tree, task.source)
    settings = resolve_norm(task, asked)
    if done:
        with files.locked(task.folder):
            tasks.write_made(task, but=[tasks.MODEL])  # so that a stop in between damages nothing
            models.update_decoding(task.folder, settings)
            tasks.write_made(task)
            models.write_settings(task.folder, task.tree)
        log.info("%s: given other settings of decoding", task.folder)
    elif isinstance(system, Estimator):
        with files.locked(task.folder):
            (task.folder / files.MADE).unlink(missing_ok=True)
            _fit(task, system, settings)
            tasks.write_made(task)
    else:
        from ser.learn.training import train_network  # torch takes two seconds

        train_network(task, system, settings, use_gpu=use_gpu, tensorboard=tensorboard)


def _fit(task: Task, system: Estimator, settings: Any) -> None:
    """Fit an estimator on features as they were made."""
    emotions = labels.read_emotions(task.train / labels.EMOTIONS)
    subset = Subset(task.train, task.sets, "none", emotions=emotions, copies=task.copies)
    sizes = models.sizes_of(subset, emotions)
    models.describe(task, emotions)
    log.info("%s: %s, %d utterances", task.folder, settings.system, len(subset))
    arrays = system.fit(subset, settings, len(emotions), task.seed)
    facts = models.summary_of(system, arrays, sizes)
    models.tell_summary(task.folder, facts)
    models.save_model(
        task.folder,
        settings=settings,
        emotions=emotions,
        sets={name: set_settings(task.train, name) for name in task.sets},
        sizes=sizes,
        arrays=arrays,
        stats={},
        facts={"seed": task.seed} | models.feature_facts(task.train, settings, task.sets) | facts,
    )
