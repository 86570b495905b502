"""A corpus of 500,000 utterances: how long until training starts, memory, and time per frame.

  python3 tests/bench/scale.py [--utterances 500000] [--batches 60]

Opens the subset as `ser train` does and trains BLSTMATT and CSA, of egs/emodb's sizes, for some batches; the
same on 500 utterances, in turns, so that the times per frame can be compared.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.feats.subset import Subset
from ser.learn.trainer import Trainer
from tests.bench.subsets import EMOTIONS, make_trainer, write_subset

ROOT = Path(__file__).resolve().parents[2]


def start(data: Path, system: str, out: Path) -> tuple[Trainer, float]:
    """A trainer with its first batch at hand, and the seconds that took."""
    begun = time.monotonic()
    subset = Subset(data, ["fbank"], "speaker", emotions=EMOTIONS)
    trainer, _ = make_trainer(ROOT / f"egs/emodb/conf/{system}.yaml", subset, ["features.norm=speaker"], out)
    trainer.loader.num_batches(0)
    next(iter(trainer.loader.batches(0)))
    return trainer, time.monotonic() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--utterances", type=int, default=500_000)
    parser.add_argument("--batches", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large, small = write_subset(folder / "large", args.utterances), write_subset(folder / "small", 500)
        for system in ("blstmatt", "csa"):
            trainers = [start(data, system, folder / "out") for data in (large, small)]
            print(f"{system}: {args.utterances:,} utterances start in {trainers[0][1]:.1f} s", flush=True)
            streams = [trainer.loader.batches(0) for trainer, _ in trainers]
            seconds, frames = [0.0, 0.0], [0, 0]
            for number in range(args.batches):
                for which, (trainer, _) in enumerate(trainers):
                    begun = time.monotonic()
                    batch = next(streams[which], None)
                    if batch is None:
                        streams[which] = trainer.loader.batches(1)
                        batch = next(streams[which])
                    trainer._step(batch, 0.5)
                    if number:
                        seconds[which] += time.monotonic() - begun
                        frames[which] += batch.num_frames
            rates = [n / s for n, s in zip(frames, seconds, strict=True)]
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{system}: {rates[0]:,.0f} frames/s, of 500 utterances {rates[1]:,.0f}: time per frame "
                f"{rates[1] / rates[0]:.3f} times; peak memory so far {memory:.2f} GiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
