"""Training states on disk: one safetensors file, whose header holds what is no tensor, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ser import reading
from ser.data.files import whole_file
from ser.errors import CheckpointError

FORMAT = "1"


def save(path: Path, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and JSON values; the file appears whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": FORMAT, "values": json.dumps(values)}
    content = safetensors.torch.save(whole, header)
    with whole_file(path, "wb") as stream:
        stream.write(content)


def load(path: Path, remedy: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what :func:`save` wrote, onto the CPU.

    Raises:
        CheckpointError: missing, cut short, or of another format; ``remedy`` says what to do.
    """
    what = "is cut short, damaged, or no training state"
    with reading.guarded(path, remedy, CheckpointError, what=what, detail=False):
        reading.check_file(path)
        with safetensors.safe_open(path, framework="pt", device="cpu") as content:
            header = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118  (no mapping)
        values = json.loads(header["values"]) if header.get("format") == FORMAT else None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: was not written by this version of the recipe; {remedy}")
    return values, tensors


def flatten_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An optimiser's ``state_dict()`` as JSON values and named tensors."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for number, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                values.setdefault(str(number), {})[name] = value
    return {"groups": state["param_groups"], "values": values}, tensors


def unflatten_optimizer(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The ``state_dict()`` of which :func:`flatten_optimizer` was given."""
    state: dict[int, dict[str, Any]] = {int(number): dict(rest) for number, rest in values["values"].items()}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    return {"state": state, "param_groups": values["groups"]}
