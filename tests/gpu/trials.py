"""What could make small batches faster on a GPU, tried outside the recipe: graphs, trainings side by side."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.systems.base import Inputs, Sizes
from tests.gpu.cases import EMOTIONS, NUM_FILTERS, SET, Bench
from tests.gpu.peers import Steps
from tests.gpu.processes import keep_log, start, wait
from tests.gpu.rows import Rows
from tests.gpu.speed import open_subset, plain_settings, synchronizer

FRAMES = 265  # of the one utterance, EMO-DB's median
TRIED = (("blstmatt paper", 1), ("csa paper", 64))
TOGETHER = [("blstmatt paper", 1, count) for count in (1, 4, 8)] + [
    ("csa paper", 64, count) for count in (1, 4)
]


def measure_trials(bench: Bench, rows: Rows) -> None:
    """Forward and backward in a CUDA graph; several processes that train on one GPU at once."""
    for name, batch in TRIED:
        with rows.attempt(f"{name}: CUDA graph"):
            _measure_graph(bench, rows, name, batch)
    for name, batch, count in TOGETHER[:1] if bench.tiny else TOGETHER:
        with rows.attempt(f"{name}: {count} at once"):
            _measure_together(bench, rows, name, batch, count)


# ----------------------------------------------------------------------------------------------------- graphs


def _measure_graph(bench: Bench, rows: Rows, name: str, batch: int) -> None:
    case, device, synchronize = bench.case(name), bench.device, synchronizer(bench)
    system, settings = case.load()
    network = system.build(settings, Sizes({SET: NUM_FILTERS}, len(EMOTIONS), {})).to(device).train()
    frames = settings.unit.context if case.on_chunks else FRAMES
    lengths = torch.full((batch,), frames, device=device)
    inputs = Inputs.of(torch.randn(batch, frames, NUM_FILTERS, device=device), lengths, SET)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        torch.autograd.backward(network(inputs).logits.sum())

    eager = _time(step, synchronize, bench)
    title = f"{name}, batch {batch}: forward and backward"
    rows.note(f"{title}, as it is", 1000 * eager, "ms")
    if device.type != "cuda":
        return
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
            torch.autograd.backward(network(inputs).logits.sum())
    except RuntimeError as error:
        rows.note(f"{title}, in a CUDA graph", f"fails: {str(error).splitlines()[0]}")
        return
    replayed = _time(graph.replay, synchronize, bench)
    rows.note(f"{title}, in a CUDA graph", 1000 * replayed, "ms")
    rows.note(f"{title}, graph as fast as", eager / replayed, "times")


def _time(step: Callable[[], None], synchronize: Callable[[], None], bench: Bench) -> float:
    """Seconds a call."""
    count = 2 if bench.tiny else 50
    step()
    synchronize()
    started = time.perf_counter()
    for _ in range(count):
        step()
    synchronize()
    return (time.perf_counter() - started) / count


# ----------------------------------------------------------------------------------------------- side by side


def _measure_together(bench: Bench, rows: Rows, name: str, batch: int, count: int) -> None:
    """So many processes, which begin at the same time."""
    folder = bench.work / "together" / f"{name}_{count}"
    folder.mkdir(parents=True)
    open_subset(bench)
    words = [sys.executable, __file__, name, batch, folder, bench.work, *(["--cpu"] if bench.tiny else [])]
    processes = [start(words) for _ in range(count)]
    until = time.monotonic() + 100.0
    while len(list(folder.glob("*.ready"))) < count and time.monotonic() < until:
        time.sleep(0.01)
    (folder / "go").touch()
    ended = [wait(process, 60.0) for process in processes]
    for each in ended:
        keep_log(bench, f"{count} together", each)
    title = f"{name}, batch {batch}: {count} at once, together"
    failures = [each.error for each in ended if each.code != 0]
    if failures:
        rows.check(title, False, failures[0])
        return
    rows.note(title, sum(float(each.text.split()[-1]) for each in ended), "frames/s")


def main() -> None:
    """One of several: get ready, wait for the others, train for some seconds, print frames per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("batch", type=int)
    parser.add_argument("folder", type=Path, help="where the processes meet")
    parser.add_argument("work", type=Path)
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out:
        bench = Bench(args.cpu, args.work, Path(out))
        case, synchronize = bench.case(args.name), synchronizer(bench)
        overrides = plain_settings(args.batch)
        steps = Steps(case, open_subset(bench), bench.device, overrides, 1 if args.cpu else 10)
        steps.run()
        synchronize()
        (args.folder / f"{time.time_ns()}.ready").touch()
        while not (args.folder / "go").exists():
            time.sleep(0.001)
        started, frames = time.perf_counter(), 0
        while time.perf_counter() - started < (0.1 if args.cpu else 4.0):
            frames += steps.run()
            synchronize()
        print(frames / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
