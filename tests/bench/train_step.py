"""The whole training step, data included, against bare layers on the same number of frames.

Usage: python3 tests/bench/train_step.py [--data DIR] [--seconds 20] [--only NAME]

Trains as `ser train` does (loading, batching by length, padding, masks, attention, loss, optimiser).  In turn
with a step of BLSTMATT it runs forward and backward of nn.LSTM, of the same sizes, on unpadded random input
with the same number of frames; in turn with one of CSA forward and backward of its network on the same batch.
Prints frames per second of processor time of both, the median ratio of sums over twenty turns, and the share
of padding.  One thread.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ser.feats.subset import Subset  # noqa: E402
from ser.learn.loaders import Batch, Loader  # noqa: E402
from ser.learn.memory import keep_freed  # noqa: E402
from tests.bench.subsets import EMOTIONS, make_trainer, write_subset  # noqa: E402

SIZES = {  # name -> settings, overrides
    "blstmatt_paper": ("conf/blstmatt.yaml", ["training.batch_size=16"]),
    "blstmatt_64": ("egs/emodb/conf/blstmatt.yaml", ["model.frame_stack=1"]),
    "blstmatt_64_stacked": ("egs/emodb/conf/blstmatt.yaml", []),  # 3 frames a step, as egs/emodb has it
    "csa_paper": ("conf/csa.yaml", []),
    "csa_small": ("egs/emodb/conf/csa.yaml", []),
}
TURNS = 20  # steps that are summed up for one ratio


class BareLstm:
    """nn.LSTM of a system's sizes."""

    def __init__(self, model: Any, dim: int) -> None:
        """``model`` is the section of the settings, ``dim`` the values of a frame."""
        self.dim, self.stack = dim * model.frame_stack, model.frame_stack
        self.lstm = nn.LSTM(
            self.dim, model.hidden, num_layers=model.layers, bidirectional=True, batch_first=True
        )

    def input_of(self, batch: Batch) -> torch.Tensor:
        """Random values, as many as the batch has real ones."""
        size = len(batch.inputs)
        return torch.randn(size, -(-batch.num_frames // (size * self.stack)), self.dim)

    def run(self, x: torch.Tensor) -> None:
        """Forward and backward."""
        self.lstm.zero_grad()
        torch.autograd.backward(self.lstm(x)[0].sum())


class BareNetwork:
    """A system's own network."""

    def __init__(self, network: nn.Module) -> None:
        """A copy of it."""
        self.network = copy.deepcopy(network).train()

    def input_of(self, batch: Batch) -> Any:
        """The batch's own."""
        return batch.inputs

    def run(self, inputs: Any) -> None:
        """Forward and backward."""
        self.network.zero_grad()
        torch.autograd.backward(self.network(inputs).logits.sum())


def forever(loader: Loader) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def compare(name: str, subset: Subset, seconds: float) -> None:
    """Measure, in turns of one batch each, and print."""
    conf, overrides = SIZES[name]
    ours, theirs, frames = [], [], []
    padded = 0
    with tempfile.TemporaryDirectory() as folder:
        overrides = ["features.norm=none", *overrides]
        trainer, settings = make_trainer(ROOT / conf, subset, overrides, Path(folder))
        bare = (
            BareLstm(settings.model, subset.main.dim)
            if settings.unit == "utterance"
            else BareNetwork(trainer.network)
        )
        for index in range(len(subset)):
            subset.main.read(index)
        batches = forever(trainer.loader)
        begun = time.monotonic()
        while time.monotonic() - begun < seconds or len(frames) < 3:
            started = time.process_time()
            batch = next(batches)
            trainer._step(batch, 0.5)
            ours.append(time.process_time() - started)
            x = bare.input_of(batch)
            started = time.process_time()
            bare.run(x)
            theirs.append(time.process_time() - started)
            frames.append(batch.num_frames)
            padded += batch.inputs.main[0].shape[0] * batch.inputs.main[0].shape[1]
    padding = 1 - sum(frames) / padded
    ours, theirs, frames = ours[1:], theirs[1:], frames[1:]  # the first are warm-up
    turns = range(0, len(ours), TURNS)
    ratios = [sum(theirs[i : i + TURNS]) / sum(ours[i : i + TURNS]) for i in turns]
    print(
        f"{name}: step {sum(frames) / sum(ours):,.0f} frames/s, bare {sum(frames) / sum(theirs):,.0f}, "
        f"ratio {statistics.median(ratios):.3f}, padding {100 * padding:.1f} %, {len(ours)} steps",
        flush=True,
    )


def main() -> None:
    """Measure at the paper's sizes and at those of egs/emodb."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="data folder with features; else random ones of EMO-DB's lengths"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="a measurement's length")
    parser.add_argument("--only", action="append", choices=SIZES, help="may be repeated; default: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed()  # for both
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or write_subset(Path(folder) / "train", 339)
        subset = Subset(data, ["fbank"], "none", emotions=EMOTIONS)
        for name in args.only or SIZES:
            compare(name, subset, args.seconds)


if __name__ == "__main__":
    main()
