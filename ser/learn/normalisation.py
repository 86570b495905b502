"""The normalisation of a training whose settings leave it to the training subset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ser.cli import log
from ser.data.normalisation import AUTO, norm_of
from ser.errors import ConfigError
from ser.learn.tasks import Task
from ser.systems.settings import InputSettings


def resolve_norm(task: Task, settings: Any) -> Any:
    """Settings with the normalisation that ``features.norm: auto`` takes for a training subset.

    Args:
        task: the training.
        settings: of its system; those that name a normalisation are returned as they are.

    Raises:
        ConfigError: other settings do not go with that normalisation.
        DataError: the training subset's tables cannot be read.
    """
    features = getattr(settings, "features", None)
    if not isinstance(features, InputSettings) or features.norm != AUTO:
        return settings
    choice = norm_of(task.train)
    log.info("%s: features.norm auto takes %s (%s)", task.folder, choice.norm, choice.reason)
    try:
        return replace(settings, features=replace(features, norm=choice.norm))
    except ValueError as error:
        raise ConfigError(
            f"{task.source}: features.{error}, or name another features.norm: auto takes {choice.norm} for "
            f"{task.train} ({choice.reason})"
        ) from error
