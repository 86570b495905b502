"""Training beside other loops: a plain PyTorch loop, SpeechBrain's Brain, Lightning; speed and memory.

Usage: python3 tests/bench/peers.py [--size NAME] [--rounds 3] [--utterances N]

All train the same network on the same data, in batches of the same size, with Adam, for as many epochs, each
in a process of its own with one thread; the epochs take turns.  The peers are written as their users write
them: the features are in memory, DataLoader shuffles and pads, nn.LSTM reads packed sequences, the loss is
read in each step; they keep no checkpoint and write no log, ours does the first.  "plain, not packed" is a
loop whose LSTM reads the padding: another network, whose results depend on the batch.  What is printed are
frames a second of processor time (median epoch), the median ratio of ours to each, and the most memory of the
process.  Peers that are not installed are named and left out (pip install speechbrain lightning).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ser.feats.subset import Subset  # noqa: E402
from ser.learn.memory import keep_freed  # noqa: E402
from tests.bench.subsets import EMOTIONS, make_trainer, write_subset  # noqa: E402
from tests.gpu.peers import Item, collate, plain_epochs, plain_items, plain_network  # noqa: E402

# what all compute alike: features as they are, nothing random but the order, Adam with one rate
SAME = (
    "features.norm=none optim.schedule=constant optim.clip_norm=null training.class_weights=none "
    "model.dropout=0.0 augmentation.time_masks=0 augmentation.freq_masks=0 augmentation.filter_gain=0"
).split()
BATCHES_16 = ("training.batch_size=16",)
SIZES: dict[str, tuple[str, tuple[str, ...], int]] = {  # name -> settings, overrides, utterances
    "blstmatt_64": ("egs/emodb/conf/blstmatt.yaml", ("model.frame_stack=1",), 339),
    "blstmatt_64_stacked": ("egs/emodb/conf/blstmatt.yaml", (), 339),  # as egs/emodb trains it
    "blstmatt_paper": ("conf/blstmatt.yaml", BATCHES_16, 32),
    "csa_small": ("egs/emodb/conf/csa.yaml", (), 339),
    "csa_paper": ("conf/csa.yaml", (), 100),
}
Between = Callable[[], None]  # called before the first epoch and after each


@dataclass(frozen=True)
class Job:
    """What one process trains."""

    size: str
    data: Path
    epochs: int
    folder: Path  # its own

    @property
    def overrides(self) -> list[str]:
        """Of the settings."""
        return [*SAME, *SIZES[self.size][1], f"training.epochs={self.epochs}"]

    def subset(self) -> Subset:
        """The data."""
        return Subset(self.data, ["fbank"], "none", emotions=EMOTIONS)


class Plain:
    """What the peers train: items of a subset in memory, the network, the size of a batch."""

    def __init__(self, job: Job, *, pack: bool = True) -> None:
        """Read the items and make the network."""
        from ser import systems

        system, settings = systems.load_settings(ROOT / SIZES[job.size][0], job.overrides)
        subset = job.subset()
        self.items: list[Item] = plain_items(subset, settings)
        self.network = plain_network(system, settings, subset, pack=pack)
        self.batch_size, self.lr = settings.training.batch_size, settings.optim.lr
        on_chunks = settings.unit != "utterance"
        self.frames = sum(len(x) for x, _ in self.items) if on_chunks else int(subset.num_frames.sum())

    def loader(self) -> Any:
        """As most write it."""
        return DataLoader(self.items, batch_size=self.batch_size, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]


def train_ours(job: Job, between: Between) -> nn.Module:
    """The recipe's own loop, with its checkpoint an epoch."""
    keep_freed()  # as ser train does
    trainer, _ = make_trainer(ROOT / SIZES[job.size][0], job.subset(), job.overrides, job.folder)
    trainer.keep = lambda _epoch: None
    between()
    trainer.run(lambda _row, _speed: between())
    return trainer.network


def train_plain(job: Job, between: Between, *, pack: bool = True) -> nn.Module:
    """DataLoader, a loop, ``loss.item()``."""
    plain = Plain(job, pack=pack)
    for _ in plain_epochs(plain.network, plain.items, plain.batch_size, plain.lr, job.epochs):
        between()
    return plain.network


def train_brain(job: Job, between: Between) -> nn.Module:
    """SpeechBrain: a Brain, a DynamicItemDataset, PaddedBatch."""
    import speechbrain
    from speechbrain.dataio.dataset import DynamicItemDataset

    class Recogniser(speechbrain.Brain):  # type: ignore[misc]  # has no types
        def compute_forward(self, batch: Any, stage: Any) -> Tensor:  # noqa: ARG002
            x, shares = batch.features
            logits: Tensor = self.modules.network(x, (shares * x.shape[1]).round().long())
            return logits

        def compute_objectives(self, predictions: Tensor, batch: Any, stage: Any) -> Tensor:  # noqa: ARG002
            return F.cross_entropy(predictions, batch.emotion.data.squeeze(1))

        def on_stage_end(self, stage: Any, stage_loss: Any, epoch: Any = None) -> None:  # noqa: ARG002
            between()

    plain = Plain(job)
    table = {
        f"{i:06d}": {"features": x, "emotion": torch.tensor([y])} for i, (x, y) in enumerate(plain.items)
    }
    dataset = DynamicItemDataset(table, output_keys=["id", "features", "emotion"])
    brain = Recogniser(
        {"network": plain.network}, lambda parameters: torch.optim.Adam(parameters, lr=plain.lr)
    )
    options = {"batch_size": plain.batch_size, "shuffle": True}
    between()
    brain.fit(range(job.epochs), dataset, train_loader_kwargs=options, progressbar=False)
    return plain.network


def train_lightning(job: Job, between: Between) -> nn.Module:
    """Lightning: a LightningModule and its Trainer."""
    import lightning

    plain = Plain(job)

    class Recogniser(lightning.LightningModule):  # type: ignore[misc]  # has no types here
        def __init__(self) -> None:
            super().__init__()
            self.network = plain.network

        def training_step(self, batch: Any, index: int) -> Tensor:  # noqa: ARG002
            x, lengths, labels = batch
            return F.cross_entropy(self.network(x, lengths), labels)

        def on_train_epoch_end(self) -> None:
            between()

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=plain.lr)

    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = lightning.Trainer(max_epochs=job.epochs, accelerator="cpu", **quiet)
    between()
    trainer.fit(Recogniser(), plain.loader())
    return plain.network


NOT_PACKED = "plain, not packed"  # of networks that read whole utterances
PEERS: dict[str, tuple[str, Callable[[Job, Between], nn.Module]]] = {  # name -> package, training
    "ours": ("torch", train_ours),
    "plain": ("torch", train_plain),
    NOT_PACKED: ("torch", lambda job, between: train_plain(job, between, pack=False)),
    "speechbrain": ("speechbrain", train_brain),
    "lightning": ("lightning", train_lightning),
}


# ------------------------------------------------------------------------------------------- one process each


def work(peer: str, job: Job) -> None:
    """Train; tell the seconds of each epoch on stdout, and wait for a line on stdin before the next."""
    torch.set_num_threads(1)
    out, sys.stdout = sys.stdout, sys.stderr  # what the peers print is no answer
    begun: list[float] = []

    def between() -> None:
        seconds = [time.process_time() - begun.pop()] if begun else []
        out.write(json.dumps(seconds) + "\n")
        out.flush()
        if not sys.stdin.readline():
            sys.exit(1)  # the other side is gone
        begun.append(time.process_time())

    network = PEERS[peer][1](job, between)
    facts = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    out.write(json.dumps(facts) + "\n")
    out.flush()


class Contestant:
    """A process that trains an epoch whenever it is told."""

    def __init__(self, peer: str, job: Job) -> None:
        """Start it, and wait until it has what it needs."""
        words = [peer, job.size, str(job.data), str(job.epochs), str(job.folder)]
        command = [sys.executable, "-W", "ignore", __file__, "--worker", *words]
        self.peer, self.seconds = peer, [0.0]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.peer}: its process ended with code {self._process.wait()}")
        return json.loads(line)

    def epoch(self) -> None:
        """Let it train one."""
        self._go()
        self.seconds += self._read()

    def _go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> dict[str, float]:
        """Let it end; its facts."""
        self._go()
        facts: dict[str, float] = self._read()
        self._process.communicate()
        return facts


def compare(size: str, peers: list[str], rounds: int, utterances: int | None) -> None:
    """Measure and print one table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_subset(folder / "train", utterances or SIZES[size][2])
        jobs = {peer: Job(size, data, rounds + 1, folder / f"{n}") for n, peer in enumerate(peers)}
        plain = Plain(jobs["ours"])
        contestants = [Contestant(peer, job) for peer, job in jobs.items()]
        for _ in range(rounds + 1):  # the first is the warm-up
            for contestant in contestants:
                contestant.epoch()
        facts = {contestant.peer: contestant.finish() for contestant in contestants}
    if len({each["parameters"] for each in facts.values()}) > 1:
        raise SystemExit(f"{size}: the networks differ: {facts}")
    frames = plain.frames  # real ones, an epoch
    print(f"{size}: {frames:,} frames an epoch in batches of {plain.batch_size}, {rounds} epochs each")
    ours = contestants[0].seconds[2:]
    for contestant in contestants:
        seconds = contestant.seconds[2:]
        ratio = statistics.median(theirs / own for theirs, own in zip(seconds, ours, strict=True))
        print(
            f"  {contestant.peer:18} {frames / statistics.median(seconds):9,.0f} frames/s, "
            f"ours is {ratio:5.2f} times as fast, {facts[contestant.peer]['peak_mib']:6,.0f} MiB",
            flush=True,
        )


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", action="append", choices=SIZES, help="may be repeated; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="epochs that are measured")
    parser.add_argument("--utterances", type=int, help="of EMO-DB's lengths; default: as the size has")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measure and print."""
    args = get_parser().parse_args()
    if args.worker:
        peer, size, data, epochs, folder = args.worker
        work(peer, Job(size, Path(data), int(epochs), Path(folder)))
        return
    peers = []
    for peer, (package, _) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            print(f"NOT MEASURED: {peer}, which is not installed; pip install {package}")
        else:
            peers.append(peer)
    for size in args.size or SIZES:
        own = [peer for peer in peers if size.startswith("blstmatt") or peer != NOT_PACKED]
        compare(size, own, args.rounds, args.utterances)


if __name__ == "__main__":
    main()
