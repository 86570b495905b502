"""Devices and processes: where a network runs, and how several processes make one step together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ser.errors import UsageError
from ser.learn.loaders import Share

_CPU = Path("/proc/cpuinfo")
_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # flags of CPUs that compute in it
_PRECISIONS = {"none": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(use_gpu: str) -> torch.device:
    """The device for ``--use-gpu auto|yes|no``; under torchrun each process takes its own GPU.

    Raises:
        UsageError: a GPU is wanted and there is none.
    """
    found = torch.cuda.is_available()
    if use_gpu == "yes" and not found:
        raise UsageError("--use-gpu yes: torch finds no GPU here; say no or auto, or use a machine with one")
    if use_gpu == "no" or not found:
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may differ between runs
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # torch's default: float32 with 10 bits after the point
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def amp_refusal(amp: str, device: torch.device) -> str:
    """Why a device cannot compute in a mixed precision, in words; nothing if it can.

    Args:
        amp: none, bfloat16 or float16.
        device: CPU or GPU.
    """
    if amp == "none" or device.type == "cuda":
        return ""
    flags: set[str] = set()
    with suppress(OSError):
        lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", _CPU.read_text("ascii"), re.MULTILINE)
        flags = set(" ".join(lines[:1]).split())
    able = not flags.isdisjoint(_BFLOAT16)
    if amp == "bfloat16":
        known = " or ".join(_BFLOAT16)
        return (
            ""
            if able
            else f"bfloat16 needs a GPU or a CPU with {known}, this one has neither; set it to none"
        )
    return f"{amp} needs a GPU, there is none; set it to {'bfloat16 or ' if able else ''}none"


def mixed_precision(amp: str, device: torch.device) -> torch.autocast:
    """The context in which a network computes in a mixed precision: none, bfloat16 or float16."""
    return torch.autocast(device.type, _PRECISIONS[amp], enabled=amp != "none")


@contextmanager
def process_group(device: torch.device) -> Iterator[Share]:
    """Join the processes that torchrun started; WORLD_SIZE in the environment says how many they are.

    Yields:
        This process's share of every batch.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Share()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Share(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def sum_gradients(model: nn.Module, share: Share) -> None:
    """Add up the gradients of all processes, in place."""
    if share.world == 1:
        return
    gradients = [
        p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters() if p.requires_grad
    ]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for parameter, part in zip((p for p in model.parameters() if p.requires_grad), parts, strict=True):
        # in the parameter's memory layout (channels last): fused optimisers go through both in that order
        parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))


def sum_over_processes(values: Tensor, share: Share) -> Tensor:
    """Add up a small tensor over all processes."""
    if share.world > 1:
        dist.all_reduce(values)
    return values


def wait_for_all(share: Share) -> None:
    """Let no process go on before all are here."""
    if share.world > 1:
        dist.barrier()
