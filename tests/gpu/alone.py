"""One process in a process group trains as without one: gradients come back from NCCL as they were.

python3 tests/gpu/alone.py nccl|gloo
"""

from __future__ import annotations

import copy
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.learn.loaders import Share
from ser.learn.parallel import sum_gradients, sum_over_processes, wait_for_all

SEVERAL = Share(0, 2)  # a process of two, so that nothing is left out because there is but one


def step(network: nn.Module, x: Tensor, share: Share) -> None:
    """A step of the optimiser that the recipe trains with."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, fused=True)
    torch.autograd.backward(network(x).square().sum())
    sum_gradients(network, share)
    optimizer.step()


def main() -> None:
    """Step without a group; join one and step, leave."""
    backend = sys.argv[1]
    device = torch.device("cuda", 0) if backend == "nccl" else torch.device("cpu")
    torch.manual_seed(1)
    convolution = nn.Conv2d(3, 8, 3)
    convolution.weight.data = convolution.weight.data.to(memory_format=torch.channels_last)
    alone = nn.Sequential(convolution, nn.Flatten(), nn.Linear(8 * 8 * 8, 4)).to(device)
    grouped = copy.deepcopy(alone)
    x = torch.randn(4, 3, 10, 10, device=device)
    step(alone, x, Share())
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        step(grouped, x, SEVERAL)
        total = sum_over_processes(torch.ones(3, dtype=torch.float64, device=device), SEVERAL)
        wait_for_all(SEVERAL)
        dist.destroy_process_group()
    assert total.tolist() == [1.0, 1.0, 1.0]
    for name, value in alone.state_dict().items():
        gap = float((value - grouped.state_dict()[name]).abs().max())
        assert gap < 1e-6, f"{name} differs by {gap:.1e} from a step without a process group"


if __name__ == "__main__":
    main()
