"""How much memory a network takes at least for a long utterance, told before it runs out.

A network is tried on short inputs; what it keeps of them grows with the number of frames, or with its square,
and is carried on to the length asked for.  It will take more, so that nothing is refused which fits.
"""

from __future__ import annotations

import copy
import ctypes
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser.cli import log
from ser.feats.subset import Subset
from ser.systems.base import Inputs

LONG_FRAMES = 100_000  # batches of fewer frames are not looked at
_TRIED = (256, 512, 1024)  # frames
_USED = 0.25  # of the bytes that an LSTM asks for beside its values; a third was measured
_SHORTAGE = ("can't allocate memory", "could not create a primitive")  # of torch, and of its oneDNN
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_KEPT = 2**30  # bytes of a block that is kept when it is freed, and of all that are kept at the heap's end
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of glibc's mallopt


def keep_freed() -> bool:
    """Let the C library keep freed blocks for the next step instead of handing them to the kernel.

    Every page that comes back from the kernel is cleared and mapped anew, which is a fifth of a training step
    of a large LSTM on a CPU.  The process keeps what it took at most until it ends.

    Returns:
        Whether it does; only glibc can be asked to.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    kept = mallopt is not None and all(
        mallopt(option, _KEPT) for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)
    )
    if not kept:
        log.debug("the C library gives freed memory back at once, which makes large networks slower")
    return kept


def is_shortage(error: BaseException) -> bool:
    """Whether an error is one of too little memory; torch has no class of its own for that on the CPU."""
    classes = (MemoryError, torch.cuda.OutOfMemoryError)
    return isinstance(error, classes) or any(text in str(error) for text in _SHORTAGE)


def needed_bytes(network: nn.Module, subset: Subset, frames: int, *, training: bool) -> float:
    """Memory that one item of so many frames takes at least, in bytes.

    Args:
        network: is left as it is.
        subset: whose feature sets it reads.
        frames: of an item.
        training: what is kept for the gradient; false: the largest values that a layer takes and gives.
    """
    tried = copy.deepcopy(network).cpu().train(training)
    for module in tried.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # wants more than one item, or other processes
    with torch.random.fork_rng(devices=[]):
        sizes = [
            _kept(tried, subset, length) if training else _largest(tried, subset, length) for length in _TRIED
        ]
    square, linear, constant = np.polyfit(_TRIED, sizes, 2)
    return float(max(0.0, round(square, 3)) * frames**2 + linear * frames + constant)


def free_bytes(device: torch.device) -> float:
    """Memory of a device that may be had; infinite where nobody says."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    limits = [float(limit) for limit in resource.getrlimit(resource.RLIMIT_AS)[:1] if limit >= 0]
    with suppress(OSError, ValueError):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        limits.append(1024.0 * sum(int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree")))
    with suppress(OSError, ValueError):
        limits.append(float(_CGROUP.read_text("ascii")))
    return min(limits, default=float("inf"))


def shortage(
    network: nn.Module, subset: Subset, frames: int, items: int, device: torch.device, *, training: bool
) -> str:
    """That so many items of so many frames do not fit, in words; nothing if they may.

    Args:
        network: as for :func:`needed_bytes`.
        subset: as for :func:`needed_bytes`.
        frames: of the longest item.
        items: in its batch.
        device: where they are computed.
        training: as for :func:`needed_bytes`.
    """
    if frames * items < LONG_FRAMES:
        return ""
    needed = items * needed_bytes(network, subset, frames, training=training)
    free = free_bytes(device)
    if needed <= free:
        return ""
    return f"takes {needed / 2**30:.1f} GiB of memory or more, {free / 2**30:.1f} are free"


def _inputs(subset: Subset, frames: int) -> Inputs:
    """An item of zeros."""
    features, lengths = {}, {}
    for name, source in subset.inputs.items():
        if source.num_frames is None:
            features[name] = torch.zeros(1, source.dim)
        else:
            features[name] = torch.zeros(1, frames, source.dim)
            lengths[name] = torch.full((1,), frames)
    return Inputs(features, lengths)


def _kept(network: nn.Module, subset: Subset, frames: int) -> float:
    """Bytes that are kept of an item for the gradient, without the parameters."""
    known = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    sizes: dict[int, float] = {}
    held = []  # or another tensor might get the place of one that is gone

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            used = 1.0 if tensor.dtype != torch.uint8 else _USED
            sizes[storage.data_ptr()] = used * storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        network(_inputs(subset, frames))
    return sum(sizes.values())


def _largest(network: nn.Module, subset: Subset, frames: int) -> int:
    """Bytes that any one layer takes and gives of an item."""
    largest = 0

    def look(_: nn.Module, taken: Any, given: Any) -> None:
        nonlocal largest
        largest = max(largest, _bytes_of(taken) + _bytes_of(given))

    handles = [module.register_forward_hook(look) for module in network.modules()]
    with torch.inference_mode():
        network(_inputs(subset, frames))
    for handle in handles:
        handle.remove()
    return largest


def _bytes_of(values: Any) -> int:
    if isinstance(values, Tensor):
        return values.nbytes
    return sum(map(_bytes_of, values)) if isinstance(values, (tuple, list)) else 0
