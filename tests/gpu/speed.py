"""How fast the recipe trains, in turn with what it is measured against, and what settings cost."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ser.feats.subset import Subset
from ser.learn.inference import decode
from ser.learn.models import sizes_of
from ser.learn.parallel import mixed_precision
from ser.systems.base import Sizes
from tests.bench.subsets import write_subset
from tests.gpu.agreement import LOGITS, sample_inputs
from tests.gpu.cases import EMOTIONS, NUM_FILTERS, SET, Bench, Case, tf32
from tests.gpu.peers import BareLstm, BareNetwork, PackedSteps, PlainLoop, Steps, packed
from tests.gpu.rows import Rows

SPEEDS = (
    ("blstmatt paper", 16),
    ("blstmatt paper", 1),
    ("blstmatt small", 16),
    ("csa paper", 64),
    ("csa small", 64),
)
PEAKS = (*SPEEDS, ("blstmatt paper", 64), ("blstmatt paper", 256), ("csa paper", 1024))


class Contestant(Protocol):
    """What takes turns."""

    def prepare(self) -> None:
        """Get ready for a turn; not measured."""

    def run(self) -> int:
        """A turn; the real frames in it."""


@dataclass
class Result:
    """The turns of a contestant."""

    rates: list[float] = field(default_factory=list)  # real frames per second, a turn each
    failure: str = ""

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)

    def times(self, other: Result) -> float:
        """How many times as fast as another: the median over turns, in each of which both ran."""
        return statistics.median(a / b for a, b in zip(self.rates, other.rates, strict=True))


def in_turns(
    contestants: Mapping[str, Contestant], seconds: float, synchronize: Callable[[], None]
) -> dict[str, Result]:
    """Measure all in turns for so many seconds; the first turn of each is a warm-up.

    One that fails drops out.
    """
    results = {name: Result() for name in contestants}
    begun, warm = 0.0, False
    while (
        not warm
        or time.monotonic() - begun < seconds
        or not all(r.rates or r.failure for r in results.values())
    ):
        for name, contestant in contestants.items():
            result = results[name]
            if result.failure:
                continue
            try:
                contestant.prepare()
                synchronize()
                started = time.perf_counter()
                frames = contestant.run()
                synchronize()
            except RuntimeError as error:  # no deterministic implementation, out of memory, ...
                result.failure = (str(error).splitlines() or [type(error).__name__])[0]
                continue
            if warm:
                result.rates.append(frames / (time.perf_counter() - started))
        begun = begun if warm else time.monotonic()
        warm = True
    return results


def synchronizer(bench: Bench) -> Callable[[], None]:
    """Waits until the device has done what it was told."""
    device = bench.device
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def open_subset(bench: Bench) -> Subset:
    """Random features of EMO-DB's lengths: 143 to 898 frames an utterance, 339 utterances."""
    folder = bench.work / "data" / "speed"
    if not folder.exists():
        write_subset(folder, 40 if bench.tiny else 339)
    return Subset(folder, [SET], "none", emotions=EMOTIONS)


def turn(bench: Bench, batch: int) -> int:
    """Batches a turn: some tenths of a second on a GPU."""
    return 1 if bench.tiny else 5 if batch == 16 else 20


def plain_settings(batch: int) -> tuple[str, ...]:
    """Overrides with which all contestants compute the same: no dropout, features as they are."""
    return (f"training.batch_size={batch}", "model.dropout=0.0", "features.norm=none")


# ------------------------------------------------------------------------------------------------ the systems


def measure_systems(bench: Bench, rows: Rows) -> None:
    """Frames per second of the training step, of bare layers, of a plain loop, and of a packed LSTM."""
    subset = open_subset(bench)
    _check_packed(bench, rows)
    for name, batch in SPEEDS:
        if not (bench.tiny and name.endswith("small")):
            with rows.attempt(f"{name}, batch {batch}"):
                _measure_system(bench, rows, subset, bench.case(name), batch)
            gc.collect()
    for case in bench.cases:
        with rows.attempt(f"{case.name}: decoding"):
            _measure_decoding(bench, rows, subset, case)
    for name, batch in PEAKS if not bench.tiny else ():
        with rows.attempt(f"{name}, batch {batch}: peak memory of training"):
            _measure_peak(bench, rows, subset, bench.case(name), batch)


def _measure_system(bench: Bench, rows: Rows, subset: Subset, case: Case, batch: int) -> None:
    device, overrides = bench.device, plain_settings(batch)
    count = turn(bench, batch)
    steps = Steps(case, subset, device, overrides, count)
    contestants: dict[str, Contestant] = {"step": steps}
    if case.on_chunks:
        contestants["bare layers"] = BareNetwork(steps, device)
        contestants["bare layers, contiguous"] = BareNetwork(steps, device, contiguous=True)
    else:
        contestants["bare nn.LSTM"] = BareLstm(steps, subset.main.dim, device)
        contestants["bare network"] = BareNetwork(steps, device)
        contestants["step with a packed LSTM"] = PackedSteps(
            case, subset, device, overrides, count, change=packed
        )
    contestants["plain loop"] = PlainLoop(subset, device, steps)
    results = in_turns(contestants, 0.1 if bench.tiny else 6.0, synchronizer(bench))
    title = f"{case.name}, batch {batch}"
    for name, result in results.items():
        if result.failure:
            rows.note(f"{title}: {name}", f"fails: {result.failure}")
            continue
        rows.note(f"{title}: {name}", result.rate, "frames/s")
        if name != "step":
            rows.note(f"{title}: step / {name}", results["step"].times(result))
    step_ms = 1000 * steps.run() / results["step"].rate / count
    rows.note(f"{title}: milliseconds a step", step_ms, "ms")
    if not bench.tiny:
        with rows.attempt(f"{title}: the profiler"):
            _profile(rows, title, steps, step_ms)


class Decoding:
    """The recipe's decoding of a subset by a fresh network."""

    def __init__(self, case: Case, subset: Subset, device: torch.device, amp: str) -> None:
        """In a mixed precision, or none."""
        system, self.settings = case.load("features.norm=none")
        torch.manual_seed(1)
        self.network = system.build(self.settings, sizes_of(subset, EMOTIONS)).to(device)
        self.subset, self.device, self.amp = subset, device, amp

    def prepare(self) -> None:
        """Nothing: all of it is measured."""

    def run(self) -> int:
        """A turn; frames of the utterances."""
        with mixed_precision(self.amp, self.device):
            for _ in decode(self.network, self.settings.unit, self.subset, self.device):
                pass
        return int(self.subset.num_frames.sum())


def _measure_decoding(bench: Bench, rows: Rows, subset: Subset, case: Case) -> None:
    kinds = ["none", *(kind for kind in bench.amps if kind == "bfloat16")]
    contestants = {kind: Decoding(case, subset, bench.device, kind) for kind in kinds}
    results = in_turns(contestants, 0.1 if bench.tiny else 2.0, synchronizer(bench))
    rows.note(f"{case.name}: decoding", results["none"].rate, "frames/s")
    for kind in kinds[1:]:
        rows.note(f"{case.name}: decoding in {kind}", results[kind].times(results["none"]), "x as set")


def _check_packed(bench: Bench, rows: Rows) -> None:
    """The packed variant computes the same."""
    case = bench.case("blstmatt paper")
    system, settings = case.load()
    torch.manual_seed(1)
    network = system.build(settings, Sizes({SET: NUM_FILTERS}, len(EMOTIONS), {})).eval()
    device = bench.device
    inputs = sample_inputs(case, bench).to(device)
    with torch.no_grad(), tf32(False):
        ours = network.to(device)(inputs).logits
        theirs = packed(network).to(device)(inputs).logits
    gap = float((ours - theirs).abs().max())
    rows.at_most("blstmatt paper: logits of the packed LSTM, gap to ours", gap, LOGITS)


def _profile(rows: Rows, title: str, steps: Steps, step_ms: float) -> None:
    """How long the GPU is busy in a step, and with how many kernels."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        steps.run()
        torch.cuda.synchronize()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type.name == "CUDA" and not event.name.startswith("Optimizer.")  # no kernel
    )
    busy, reached = 0.0, 0.0
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    rows.note(f"{title}: kernels and copies a step", len(spans) / steps.count)
    rows.note(f"{title}: share of the time the GPU is busy", busy / 1000 / steps.count / step_ms)


def _measure_peak(bench: Bench, rows: Rows, subset: Subset, case: Case, batch: int) -> None:
    """GPU memory that a training's tensors take at most, over five steps."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    steps = Steps(case, subset, bench.device, plain_settings(batch), 5)
    steps.run()
    peak = torch.cuda.max_memory_allocated() - before
    rows.note(f"{case.name}, batch {batch}: peak memory of training", peak / 2**20, "MiB")


# --------------------------------------------------------------------------------------------------- settings


@contextmanager
def _cudnn_free() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before, cudnn.deterministic = cudnn.deterministic, False
    try:
        yield
    finally:
        cudnn.deterministic = before


@contextmanager
def _all_deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


VARIANTS: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
    "as ser sets it": ("none", nullcontext),
    "cudnn.deterministic off": ("none", _cudnn_free),
    "use_deterministic_algorithms": ("none", _all_deterministic),
    "TF32 off": ("none", lambda: tf32(False)),
    "TF32 on, matrix products too": ("none", lambda: tf32(True)),
    "amp bfloat16": ("bfloat16", nullcontext),
    "amp float16": ("float16", nullcontext),
}


def measure_settings(bench: Bench, rows: Rows) -> None:
    """What determinism, TF32 and mixed precision change in the time of a step."""
    subset = open_subset(bench)
    for name, batch in (("blstmatt paper", 16), ("blstmatt paper", 1), ("csa paper", 64)):
        if not (bench.tiny and batch == 1):
            with rows.attempt(f"{name}, batch {batch}"):
                _measure_settings(bench, rows, subset, bench.case(name), batch)
            gc.collect()


def _measure_settings(bench: Bench, rows: Rows, subset: Subset, case: Case, batch: int) -> None:
    device, count = bench.device, turn(bench, batch)
    contestants: dict[str, Contestant] = {}
    for variant, (amp, numerics) in VARIANTS.items():
        if amp not in ("none", *bench.amps):
            continue
        overrides = (*plain_settings(batch), f"training.amp={amp}")
        contestants[variant] = Steps(case, subset, device, overrides, count, numerics)
    results = in_turns(contestants, 0.1 if bench.tiny else 6.0, synchronizer(bench))
    base = results["as ser sets it"]
    for variant, result in results.items():
        title = f"{case.name}, batch {batch}: {variant}"
        if result.failure:
            rows.note(title, f"fails: {result.failure}")
        elif variant == "as ser sets it":
            rows.note(title, result.rate, "frames/s")
        else:
            rows.note(title, result.times(base), "x as set")
