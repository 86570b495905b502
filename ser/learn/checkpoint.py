"""Models and training states on disk: whole files, plain tensors and values, nothing that runs code."""

from __future__ import annotations

import pickle
import platform
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import ser
from ser import config
from ser.data.files import whole_file
from ser.errors import CheckpointError, ConfigError
from ser.learn import settings as system_settings
from ser.learn.status import CHECKPOINT as CHECKPOINT
from ser.learn.status import MODEL as MODEL
from ser.learn.tasks import CONFIG
from ser.systems import MODELS, create

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values; the file appears whole or not at all."""
    with whole_file(path, "wb") as stream:
        torch.save({"format": FORMAT, **content}, stream)


def load(path: Path, remedy: str) -> dict[str, Any]:
    """Read what :func:`save` wrote, onto the CPU.

    Raises:
        CheckpointError: missing, cut short, of another format, or holding anything but tensors and plain
            values (a pickle that would run code is never run); ``remedy`` says what to do.
    """
    damaged = CheckpointError(f"{path}: is cut short, damaged, or no model at all; {remedy}")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise damaged
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; {remedy}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds something else than tensors and plain values, which may run code; {remedy}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise damaged from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: was not written by this version of the recipe; {remedy}")
    return content


def versions() -> dict[str, str]:
    """What made a model."""
    return {
        "ser": ser.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


@dataclass(frozen=True)
class TrainedModel:
    """A model folder's ``model.pt``: all that decoding needs.

    Attributes:
        network: in evaluation mode, on the CPU.
        settings: those it was trained with.
        emotions: class order.
        fbank: settings of the features it was trained on.
        global_stats: statistics of its training part, (2, F + 1) float64.
        epoch: the epoch that was kept.
    """

    network: nn.Module
    settings: system_settings.Settings
    emotions: tuple[str, ...]
    fbank: dict[str, Any]
    global_stats: np.ndarray[Any, np.dtype[np.float64]]
    epoch: int


def load_model(folder: Path) -> TrainedModel:
    """Read a model folder.

    Raises:
        CheckpointError: there is no usable model in it.
    """
    path = folder / MODEL
    remedy = "train it again (stage 3 or 4)"
    content = load(path, remedy)
    try:
        settings = system_settings.from_dict(content["settings"], f"{path} (settings)")
        if content["system"] not in MODELS:
            raise KeyError(content["system"])
        network = create(content["system"], content["arguments"])
        network.load_state_dict(content["state"])
    except (KeyError, TypeError, RuntimeError, ConfigError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: is not a model of this version ({reason}); {remedy}") from error
    return TrainedModel(
        network.eval(),
        settings,
        tuple(content["emotions"]),
        content["fbank"],
        content["global_stats"].numpy(),
        content["epoch"],
    )


def write_settings(folder: Path, settings: system_settings.Settings) -> None:
    """Write the settings into a model folder as YAML."""
    with whole_file(folder / CONFIG) as stream:
        stream.write(config.dump(config.to_dict(settings)))


def update_decoding(folder: Path, settings: system_settings.Settings) -> None:
    """Give a trained model other settings of decoding, on which its training did not depend.

    Raises:
        CheckpointError: there is no usable model in the folder.
    """
    path = folder / MODEL
    content = load(path, "train it again (stage 3 or 4)")
    del content["format"]
    save(path, {**content, "settings": config.to_dict(settings)})
    write_settings(folder, settings)
