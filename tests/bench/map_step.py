"""The whole training step of the CNN-LSTM and of attention pooling, data included, against their bare layers.

Usage: python3 tests/bench/map_step.py [--seconds 60] [--batch 16]

Trains at the papers' sizes as `ser train` does (loading, cutting, normalising, masking, loss, optimiser) and,
in turn with it, runs forward and backward of the same layers, written down in plain torch with the same
layout in memory, on random input of the same shape.  Prints items per second of processor time of both and
their ratio.  One thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ser.feats.subset import Subset  # noqa: E402
from ser.learn.loaders import Batch, Loader  # noqa: E402
from ser.learn.memory import keep_freed  # noqa: E402
from tests.bench.subsets import EMOTIONS, make_trainer, write_subset  # noqa: E402


class BareCnnLstm(nn.Module):
    """The layers of Satt et al.: three convolutions, an LSTM of two directions, two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(1, 16, (16, 12)), (16, 24, (12, 8)), (24, 32, (7, 5))]
        self.convolutions = nn.ModuleList(nn.Conv2d(*size, padding="same") for size in sizes)
        self.lstm = nn.LSTM(32 * 25, 128, bidirectional=True, batch_first=True)
        self.dense = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 4) of spectrograms (B, 300, 200)."""
        y = x.unsqueeze(1)
        for convolution in self.convolutions:
            y = F.relu(F.max_pool2d(convolution(y), 2))
        h = self.lstm(y.transpose(1, 2).flatten(2))[0]  # (B, 37, 256)
        logits: Tensor = self.dense(torch.cat([h[:, -1, :128], h[:, 0, 128:]], dim=1))
        return logits


class BareAttentionPooling(nn.Module):
    """The layers of Li et al.: six convolutions with batch normalisation, two of kernel 1."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(1, 8, (2, 10)), (1, 8, (8, 2)), (16, 32, 3), (32, 48, 3), (48, 64, 3), (64, 80, 3)]
        self.convolutions = nn.ModuleList(nn.Conv2d(*size, padding="same") for size in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size[1]) for size in sizes)
        self.class_maps, self.score = nn.Conv2d(80, 4, 1), nn.Conv2d(80, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 4) of spectrograms (B, 200, 400)."""
        tall, wide, *rest = zip(self.convolutions, self.norms, strict=True)
        y = torch.cat([F.relu(norm(layer(x.unsqueeze(1)))) for layer, norm in (tall, wide)], dim=1)
        for number, (layer, norm) in enumerate(rest):
            y = norm(layer(y))
            y = F.relu(F.max_pool2d(y, 2) if number < 2 else y)
        attention = self.score(y).flatten(1).softmax(dim=1)  # (B, 5000)
        return (self.class_maps(y).flatten(2) * attention.unsqueeze(1)).mean(dim=2)


def forever(loader: Loader) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def compare(name: str, bare: nn.Module, shape: tuple[int, int], batch: int, seconds: float) -> None:
    """Measure a system at its paper's size, in turns of one batch each, and print."""
    for weight in bare.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        data = write_subset(Path(folder) / "train", 60, shape[1])
        subset = Subset(data, ["fbank"], "none", emotions=EMOTIONS)
        overrides = ["features.sets=[fbank]", f"training.batch_size={batch}"]
        trainer, _ = make_trainer(ROOT / f"conf/{name}.yaml", subset, overrides, Path(folder))
        sizes = [sum(each.numel() for each in network.parameters()) for network in (trainer.network, bare)]
        assert sizes[0] == sizes[1], sizes
        items, ours, theirs = 0, 0.0, 0.0
        batches = forever(trainer.loader)
        begun = time.monotonic()
        warm = False
        while time.monotonic() - begun < seconds or not items:
            started = time.process_time()
            given = next(batches)
            trainer._step(given, 0.5)
            middle = time.process_time()
            size = len(given.inputs)
            x, target = torch.randn(size, *shape), torch.randint(4, (size,))
            drawn = time.process_time()
            bare.zero_grad()
            F.cross_entropy(bare(x), target).backward()  # type: ignore[no-untyped-call]  # torch's
            ended = time.process_time()
            if warm:
                items, ours, theirs = items + size, ours + middle - started, theirs + ended - drawn
            warm = True
    print(
        f"{name}, {sizes[0]:,} parameters, batch {batch}: step {items / ours:.1f} items/s, bare layers "
        f"{items / theirs:.1f} items/s, ratio {theirs / ours:.3f} over {items} items"
    )


def main() -> None:
    """Measure both systems."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="a measurement's length")
    parser.add_argument("--batch", type=int, default=16, help="items a batch")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed()  # for both
    compare("cnn_lstm", BareCnnLstm(), (300, 200), args.batch, args.seconds)
    compare("attention_pooling", BareAttentionPooling(), (200, 400), args.batch, args.seconds)


if __name__ == "__main__":
    main()
