"""The whole training step, data included, against a bare LSTM on the same number of frames.

  python3 tests/bench/train_step.py [--emodb DIR] [--seconds 20]

Trains BLSTMATT as ser.train does (loading, batching by length, padding, attention, loss, optimiser) and, in
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

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.feats.subset import Part
from ser.learn import settings
from ser.learn.loaders import Batch, SegmentLoader, Share
from ser.learn.parallel import choose_device
from ser.learn.trainer import Trainer
from ser.learn.training import make_loader, model_arguments
from ser.systems import create
from tests.bench.parts import EMOTIONS, write_part

ROOT = Path(__file__).resolve().parents[2]


def make_trainer(conf: Path, part: Part, overrides: list[str], folder: Path) -> tuple[Trainer, int, int]:
    """A trainer on ``part``, and the layers and units of its LSTM."""
    loaded = settings.load(conf, overrides)
    assert isinstance(loaded, settings.BlstmattSettings)
    torch.manual_seed(1)
    device = choose_device("no")
    network = create("blstmatt", model_arguments(loaded, part.num_filters, len(EMOTIONS))).to(device)
    loader = make_loader(part, loaded, 1, Share(), np.ones((2, part.num_filters + 1)))
    trainer = Trainer(
        folder, loaded, 1, network, loader, None, EMOTIONS, identity={}, device=device, share=Share()
    )
    network.train()
    return trainer, loaded.model.hidden, loaded.model.frame_stack


def forever(loader: SegmentLoader) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def compare(name: str, conf: Path, part: Part, overrides: list[str], seconds: float) -> None:
    """Measure, in turns of one batch each, and print."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, hidden, stack = make_trainer(conf, part, overrides, Path(folder))
        bare = nn.LSTM(part.num_filters * stack, hidden, num_layers=2, bidirectional=True, batch_first=True)
        frames, padded, ours, theirs = 0, 0, 0.0, 0.0
        assert isinstance(trainer.loader, SegmentLoader)
        batches = forever(trainer.loader)
        for _ in range(len(part)):
            part.features(_)
        begun = time.monotonic()
        warm = False
        while time.monotonic() - begun < seconds or not frames:
            started = time.monotonic()
            batch = next(batches)
            trainer._step(batch, 0.5)
            middle = time.monotonic()
            size = len(batch.labels)
            x = torch.randn(size, -(-batch.num_frames // (size * stack)), part.num_filters * stack)
            drawn = time.monotonic()
            bare.zero_grad()
            bare(x)[0].sum().backward()
            ended = time.monotonic()
            if warm:
                frames += batch.num_frames
                padded += batch.inputs[0].shape[0] * batch.inputs[0].shape[1]
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
        data = args.data or write_part(Path(folder) / "part", 339)
        part = Part(data, "none", emotions=EMOTIONS)
        paper = ["training.batch_size=16"]
        compare("paper size, batch 16", ROOT / "conf/blstmatt.yaml", part, paper, args.seconds)
        small, norm = ROOT / "egs/emodb/conf/blstmatt.yaml", "features.norm=none"
        compare("EMO-DB size, one frame a step", small, part, [norm, "model.frame_stack=1"], args.seconds)
        compare("EMO-DB size, 3 frames stacked", small, part, [norm], args.seconds)


if __name__ == "__main__":
    main()
