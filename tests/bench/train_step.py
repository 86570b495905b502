"""The whole training step, data included, against a bare LSTM on the same number of frames.

  python3 tests/bench/train_step.py [--data DIR] [--seconds 20]

Trains BLSTMATT as `ser train` does (loading, batching by length, padding, attention, loss, optimiser) and, in
turn with it, runs forward and backward of nn.LSTM, of the same sizes, on unpadded random input with the same
number of frames; prints frames per second of both, their ratio, and the share of padding. One thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.feats.subset import Subset
from ser.learn.loaders import Batch, UtteranceLoader
from tests.bench.subsets import EMOTIONS, make_trainer, write_subset

ROOT = Path(__file__).resolve().parents[2]


def forever(loader: UtteranceLoader) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def compare(name: str, conf: Path, subset: Subset, overrides: list[str], seconds: float) -> None:
    """Measure, in turns of one batch each, and print."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, settings = make_trainer(conf, subset, overrides, Path(folder))
        hidden, stack = settings.model.hidden, settings.model.frame_stack
        bare = nn.LSTM(subset.main.dim * stack, hidden, num_layers=2, bidirectional=True, batch_first=True)
        frames, padded, ours, theirs = 0, 0, 0.0, 0.0
        assert isinstance(trainer.loader, UtteranceLoader)
        batches = forever(trainer.loader)
        for index in range(len(subset)):
            subset.main.read(index)
        begun = time.monotonic()
        warm = False
        while time.monotonic() - begun < seconds or not frames:
            started = time.monotonic()
            batch = next(batches)
            trainer._step(batch, 0.5)
            middle = time.monotonic()
            size = len(batch.inputs)
            x = torch.randn(size, -(-batch.num_frames // (size * stack)), subset.main.dim * stack)
            drawn = time.monotonic()
            bare.zero_grad()
            bare(x)[0].sum().backward()
            ended = time.monotonic()
            if warm:
                frames += batch.num_frames
                padded += batch.inputs.main[0].shape[0] * batch.inputs.main[0].shape[1]
                ours += middle - started
                theirs += ended - drawn
            warm = True
        print(
            f"{name}: step {frames / ours:,.0f} frames/s, bare LSTM {frames / theirs:,.0f} frames/s, "
            f"ratio {theirs / ours:.3f}, padding {100 * (1 - frames / padded):.1f} % of {padded:,} frames"
        )


def main() -> None:
    """Measure at the paper's size and at that of egs/emodb."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="data folder with features; else random ones of EMO-DB's lengths"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="a measurement's length")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or write_subset(Path(folder) / "train", 339)
        subset = Subset(data, ["fbank"], "none", emotions=EMOTIONS)
        paper = ["training.batch_size=16"]
        compare("paper size, batch 16", ROOT / "conf/blstmatt.yaml", subset, paper, args.seconds)
        small, norm = ROOT / "egs/emodb/conf/blstmatt.yaml", "features.norm=none"
        compare("EMO-DB size, one frame a step", small, subset, [norm, "model.frame_stack=1"], args.seconds)
        compare("EMO-DB size, 3 frames stacked", small, subset, [norm], args.seconds)


if __name__ == "__main__":
    main()
