"""What could make small batches faster on a GPU, tried outside the recipe: steps in CUDA graphs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from ser.systems.base import Inputs, Sizes
from tests.gpu.cases import EMOTIONS, NUM_FILTERS, SET, Bench
from tests.gpu.rows import Rows
from tests.gpu.speed import synchronizer

FRAMES = 265  # of the one utterance, EMO-DB's median
TRIED = (("blstmatt paper", 1), ("csa paper", 64))
Call = Callable[[], object]


def measure_graphs(bench: Bench, rows: Rows) -> None:
    """Forward and backward, and the whole step of the optimiser, as they are and in a CUDA graph."""
    for name, batch in TRIED:
        for optimised in (False, True):
            with rows.attempt(f"{name}: CUDA graph"):
                _measure_graph(bench, rows, name, batch, optimised=optimised)


def _measure_graph(bench: Bench, rows: Rows, name: str, batch: int, *, optimised: bool) -> None:
    case, device, synchronize = bench.case(name), bench.device, synchronizer(bench)
    system, settings = case.load()
    network = system.build(settings, Sizes({SET: NUM_FILTERS}, len(EMOTIONS), {})).to(device).train()
    frames = settings.unit.context if case.on_chunks else FRAMES
    lengths = torch.full((batch,), frames, device=device)
    inputs = Inputs.of(torch.randn(batch, frames, NUM_FILTERS, device=device), lengths, SET)
    finish = _optimiser_step(network, device) if optimised else lambda: None

    def step() -> None:
        network.zero_grad(set_to_none=True)
        torch.autograd.backward(network(inputs).logits.sum())
        finish()

    eager = _time(step, synchronize, bench)
    title = f"{name}, batch {batch}: {'whole step' if optimised else 'forward and backward'}"
    rows.note(f"{title}, as it is", 1000 * eager, "ms")
    rows.note(f"{title}, as it is", batch * frames / eager, "frames/s")
    if device.type != "cuda":
        return
    replay = _captured(step, network)
    if isinstance(replay, str):
        rows.note(f"{title}, in a CUDA graph", f"fails: {replay}")
        return
    replayed = _time(replay, synchronize, bench)
    rows.note(f"{title}, in a CUDA graph", 1000 * replayed, "ms")
    rows.note(f"{title}, in a CUDA graph", batch * frames / replayed, "frames/s")
    rows.note(f"{title}, graph as fast as", eager / replayed, "times")


def _optimiser_step(network: nn.Module, device: torch.device) -> Call:
    """A step of the optimiser that the recipe trains with."""
    on_gpu = device.type == "cuda"
    return torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True, capturable=on_gpu).step


def _captured(step: Call, network: nn.Module) -> Call | str:
    """What plays a step again from a CUDA graph, or why it cannot be captured."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    network.zero_grad(set_to_none=True)
    try:
        with torch.cuda.graph(graph):
            step()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return graph.replay


def _time(step: Call, synchronize: Callable[[], None], bench: Bench) -> float:
    """Seconds a call."""
    count = 2 if bench.tiny else 50
    step()
    synchronize()
    started = time.perf_counter()
    for _ in range(count):
        step()
    synchronize()
    return (time.perf_counter() - started) / count
