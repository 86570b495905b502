"""Training and decoding in float32 and in bfloat16, and with convolutions' weights in two layouts.

Usage: python3 tests/bench/precision.py [--seconds 30] [--only NAME]

Takes training steps as `ser train` does, then decodes as `ser decode` does, with autocast around it for
bfloat16; of CSA also with weights that are not laid out channels last.  All variants of a system take turns,
on the same random features of EMO-DB's lengths.  Prints real frames per second of processor time as ser is
set, how many times as fast each other variant is (the median over turns), and how far its posteriors lie from
those of the same weights as ser is set.  One thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ser.feats.subset import Subset  # noqa: E402
from ser.learn.inference import decode  # noqa: E402
from ser.learn.memory import keep_freed  # noqa: E402
from ser.learn.parallel import mixed_precision  # noqa: E402
from ser.learn.trainer import Trainer  # noqa: E402
from tests.bench.subsets import EMOTIONS, make_trainer, write_subset  # noqa: E402
from tests.bench.train_step import SIZES, forever  # noqa: E402

CPU = torch.device("cpu")
DECODED = 24  # utterances of a turn of decoding
STEPS = {"blstmatt_paper": 1, "csa_paper": 4}  # of a turn of training; others have 8


@dataclass(frozen=True)
class Variant:
    """How a network computes."""

    amp: str = "none"
    contiguous: bool = False

    def __str__(self) -> str:
        return ("float32" if self.amp == "none" else self.amp) + (", contiguous" if self.contiguous else "")


AS_SET = Variant()


def contestants(name: str, subset: Subset, folder: Path) -> dict[Variant, Trainer]:
    """A trainer of each variant of a system, all with the same weights."""
    conf, overrides = SIZES[name]
    layouts = (False, True) if name.startswith("csa") else (False,)
    made = {}
    for variant in (Variant(amp, layout) for layout in layouts for amp in ("none", "bfloat16")):
        more = ["features.norm=none", f"training.amp={variant.amp}", *overrides]
        made[variant] = make_trainer(ROOT / conf, subset, more, folder)[0]
        if variant.contiguous:
            for parameter in made[variant].network.parameters():
                parameter.data = parameter.data.contiguous()
    return made


def in_turns(work: Mapping[Variant, Callable[[], int]], seconds: float, title: str) -> None:
    """Let all work in turns, the first of which is not counted, and print."""
    spent: dict[Variant, list[float]] = {variant: [] for variant in work}
    frames, begun, turn = 0, time.monotonic(), 0
    while time.monotonic() - begun < seconds or turn < 4:
        for variant, run in work.items():
            started = time.process_time()
            count = run()
            if turn:
                spent[variant].append(time.process_time() - started)
        frames, turn = frames + (count if turn else 0), turn + 1
    print(f"{title}: {frames / sum(spent[AS_SET]):,.0f} frames/s, {turn - 1} turns", flush=True)
    for variant in list(work)[1:]:
        ratios = [a / b for a, b in zip(spent[AS_SET], spent[variant], strict=True)]
        print(f"  {variant}: {statistics.median(ratios):.2f} times as fast", flush=True)


def posteriors(trainer: Trainer, variant: Variant, subset: Subset) -> np.ndarray:  # type: ignore[type-arg]
    """What a network says of a subset, (N, K)."""
    with mixed_precision(variant.amp, CPU):
        decisions = list(decode(trainer.network, trainer.settings.unit, subset, CPU))
    return np.stack([each.posterior for each in decisions if each.posterior is not None])


def compare(name: str, train: Subset, test: Subset, seconds: float, folder: Path) -> None:
    """Measure all variants of a system."""
    trainers = contestants(name, train, folder)

    def stepping(trainer: Trainer) -> Callable[[], int]:
        batches = forever(trainer.loader)

        def run() -> int:
            trainer.network.train()
            given = [next(batches) for _ in range(STEPS.get(name, 8))]
            for batch in given:
                trainer._step(batch, 0.5)
            return sum(batch.num_frames for batch in given)

        return run

    in_turns({variant: stepping(each) for variant, each in trainers.items()}, seconds, f"{name}, training")
    for trainer in trainers.values():
        trainer.network.load_state_dict(trainers[AS_SET].network.state_dict())
    frames = int(test.num_frames.sum())

    def decoding(variant: Variant) -> Callable[[], int]:
        def run() -> int:
            posteriors(trainers[variant], variant, test)
            return frames

        return run

    in_turns({variant: decoding(variant) for variant in trainers}, seconds, f"{name}, decoding")
    exact = posteriors(trainers[AS_SET], AS_SET, test)
    for variant in list(trainers)[1:]:
        gap = np.abs(posteriors(trainers[variant], variant, test) - exact).max()
        print(f"  {variant}: posteriors differ by {gap:.1e} at most", flush=True)


def main() -> None:
    """Measure at the paper's sizes and at those of egs/emodb."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="a measurement's length")
    parser.add_argument("--only", action="append", choices=SIZES, help="may be repeated; default: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed()  # for all
    with tempfile.TemporaryDirectory() as folder:
        data = [
            write_subset(Path(folder) / name, count) for name, count in (("train", 339), ("test", DECODED))
        ]
        train, test = (Subset(each, ["fbank"], "none", emotions=EMOTIONS) for each in data)
        for subset in (train, test):
            for index in range(len(subset)):
                subset.main.read(index)
        for name in args.only or SIZES:
            compare(name, train, test, args.seconds, Path(folder))


if __name__ == "__main__":
    main()
