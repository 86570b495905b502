"""What the recipe's steps are measured against: bare layers, a plain PyTorch loop, a packed LSTM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

from ser.feats.chunking import chunk_table
from ser.feats.subset import Subset
from ser.learn.loaders import Batch, Loader, Share
from ser.learn.models import sizes_of
from ser.learn.trainer import Trainer
from ser.learn.training import make_loader
from ser.systems.base import Inputs
from ser.systems.layers.attention import MultiplicativeAttention
from ser.systems.layers.blstm import Blstm
from tests.gpu.cases import EMOTIONS, Case

Item = tuple[Tensor, int]


class Steps:
    """The recipe's own training step, data included."""

    def __init__(
        self,
        case: Case,
        subset: Subset,
        device: torch.device,
        overrides: tuple[str, ...],
        count: int,
        numerics: Callable[[], AbstractContextManager[Any]] = nullcontext,
        change: Callable[[nn.Module], nn.Module] = lambda network: network,
    ) -> None:
        """A trainer as ``ser train`` makes it.

        Args:
            case: whose system and settings.
            subset: what it trains on.
            device: where.
            overrides: of the settings.
            count: batches a turn.
            numerics: what surrounds a turn.
            change: makes another network of the case's.
        """
        self.system, self.settings = case.load(*overrides)
        torch.manual_seed(1)
        network = change(self.system.build(self.settings, sizes_of(subset, EMOTIONS))).to(device)
        stats = {name: features.total_stats() for name, features in subset.inputs.items()}
        loader = make_loader(subset, self.settings, 1, Share(), stats)
        self.trainer = Trainer(
            Path(), self.settings, 1, network, loader, None, EMOTIONS,
            loss=self.system.loss, identity={}, keep=print, device=device, share=Share(),
        )  # fmt: skip
        if not case.on_chunks:  # chunks are cut from a pool that has read all of them
            for row in range(len(subset)):
                subset.main.read(row)
        network.train()
        self.count, self.numerics, self.network = count, numerics, network
        self.batches: list[Batch] = []  # of the last turn
        self._next = _forever(loader)

    def prepare(self) -> None:
        """Nothing: all of it is measured."""

    def run(self) -> int:
        """A turn: load and train; real frames."""
        with self.numerics():
            self.batches = []
            for batch in self._next:
                self.step(batch)
                self.batches.append(batch)
                if len(self.batches) == self.count:
                    break
        return sum(batch.num_frames for batch in self.batches)

    def step(self, batch: Batch) -> None:
        """One step."""
        self.trainer._step(batch, 0.5)


def _forever(loader: Loader) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


# ------------------------------------------------------------------------------------------------ bare layers


class BareLstm:
    """Forward and backward of nn.LSTM on random input without padding, as many frames as a turn of ours."""

    def __init__(self, steps: Steps, dim: int, device: torch.device) -> None:
        """The same sizes as the system of ``steps``, whose features have ``dim`` values."""
        model = steps.settings.model
        self.steps, self.device, self.stack, self.dim = (
            steps,
            device,
            model.frame_stack,
            dim * model.frame_stack,
        )
        self.lstm = nn.LSTM(self.dim, model.hidden, model.layers, bidirectional=True).to(device)
        self.inputs: list[Tensor] = []

    def prepare(self) -> None:
        """Draw the input of a turn."""
        sizes = [(len(batch.inputs), batch.num_frames) for batch in self.steps.batches]
        self.inputs = [
            torch.randn(-(-frames // (size * self.stack)), size, self.dim, device=self.device)
            for size, frames in sizes
        ]

    def run(self) -> int:
        """A turn."""
        for x in self.inputs:
            self.lstm.zero_grad()
            torch.autograd.backward(self.lstm(x)[0].sum())
        return sum(batch.num_frames for batch in self.steps.batches)


class BareNetwork:
    """Forward and backward of a system's whole network on the batches of a turn of ours."""

    def __init__(self, steps: Steps, device: torch.device, *, contiguous: bool = False) -> None:
        """A fresh network of the same system; ``contiguous``: weights not laid out channels last."""
        sizes = sizes_of(steps.trainer.loader.subset, EMOTIONS)
        self.network = steps.system.build(steps.settings, sizes).to(device).train()
        if contiguous:
            for parameter in self.network.parameters():
                parameter.data = parameter.data.contiguous()
        self.steps, self.device = steps, device
        self.inputs: list[Inputs] = []

    def prepare(self) -> None:
        """Move the batches of a turn to the device."""
        self.inputs = [batch.inputs.to(self.device) for batch in self.steps.batches]

    def run(self) -> int:
        """A turn."""
        for inputs in self.inputs:
            self.network.zero_grad()
            torch.autograd.backward(self.network(inputs).logits.sum())
        return sum(batch.num_frames for batch in self.steps.batches)


# ------------------------------------------------------------------------------------------------ plain loops


class PlainBlstm(nn.Module):
    """BLSTM and attention as most public code writes them: a packed nn.LSTM."""

    def __init__(self, dim: int, model: Any, *, pack: bool = True) -> None:
        """``model`` is the section of the settings; without ``pack`` the LSTM reads the padding, too."""
        super().__init__()
        self.pack = pack
        self.lstm = nn.LSTM(dim, model.hidden, model.layers, batch_first=True, bidirectional=True)
        self.attention = MultiplicativeAttention(2 * model.hidden, model.attention_dim)
        self.classifier = nn.Linear(2 * model.hidden, len(EMOTIONS))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, T, F) and their lengths (B,), on the CPU, to logits."""
        if self.pack:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            h = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        else:
            h = self.lstm(x)[0]
        real = torch.arange(h.shape[1], device=h.device) < lengths.to(h.device).unsqueeze(1)
        logits: Tensor = self.classifier(self.attention(h, real.float())[0])
        return logits


class PlainChunks(nn.Module):
    """A system's network, with features alone as its argument."""

    def __init__(self, network: nn.Module) -> None:
        """Of a system trained on chunks."""
        super().__init__()
        self.network = network
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Chunks (B, T, F) to logits."""
        logits: Tensor = self.network(Inputs.of(x, lengths)).logits
        return logits


def plain_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, lengths: Tensor, labels: Tensor
) -> float:
    """A step as most public code has it; its loss."""
    optimizer.zero_grad()
    loss = F.cross_entropy(network(x, lengths), labels)
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


class PlainLoop:
    """DataLoader, a network, Adam, ``loss.item()``: the loop that most public code has."""

    def __init__(self, subset: Subset, device: torch.device, steps: Steps) -> None:
        """The same data, batch size and sizes of the network as ``steps``."""
        settings = steps.settings
        self.stack = frame_stack(settings)
        items, network = plain_items(subset, settings), plain_network(steps.system, settings, subset)
        self.network, self.device, self.count = network.to(device).train(), device, steps.count
        self.optimizer = torch.optim.Adam(network.parameters(), lr=settings.optim.lr)
        self.loader: Any = DataLoader(
            items,  # type: ignore[arg-type]  # a list is a dataset, too
            batch_size=settings.training.batch_size,
            shuffle=True,
            collate_fn=collate,
        )
        self._iterator: Iterator[Any] = iter(())

    def prepare(self) -> None:
        """Nothing: all of it is measured."""

    def run(self) -> int:
        """A turn; real frames."""
        frames, loss_sum = 0, 0.0
        for _ in range(self.count):
            x, lengths, labels = self._batch()
            x, labels = x.to(self.device), labels.to(self.device)
            loss_sum += plain_step(self.network, self.optimizer, x, lengths, labels)
            frames += int(lengths.sum()) * self.stack
        return frames

    def _batch(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration:
            self._iterator = iter(self.loader)
            return next(self._iterator)


def plain_epochs(
    network: nn.Module, items: list[Item], batch_size: int, lr: float, epochs: int
) -> Iterator[None]:
    """The same loop for whole epochs, on items in memory; yields before each epoch, and at the end."""
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    loader: Any = DataLoader(items, batch_size=batch_size, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    network.train()
    for _ in range(epochs):
        yield
        total = 0.0
        for x, lengths, labels in loader:
            total += plain_step(network, optimizer, x, lengths, labels)
    yield


def frame_stack(settings: Any) -> int:
    """Frames of a step of a system's network."""
    stack: int = getattr(settings.model, "frame_stack", 1)
    return stack


def plain_items(subset: Subset, settings: Any) -> list[Item]:
    """What the loop is trained on: all utterances, their frames stacked, or all chunks; and their classes."""
    if settings.unit != "utterance":
        return _chunks(subset, settings)
    stack = frame_stack(settings)
    return [(_stacked(subset, row, stack), int(subset.labels[row])) for row in range(len(subset))]


def plain_network(system: Any, settings: Any, subset: Subset, *, pack: bool = True) -> nn.Module:
    """The network of a system, for the items of :func:`plain_items`."""
    if settings.unit != "utterance":
        return PlainChunks(system.build(settings, sizes_of(subset, EMOTIONS)))
    return PlainBlstm(subset.main.dim * frame_stack(settings), settings.model, pack=pack)


def collate(items: list[Item]) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: features (B, T, F), lengths and classes (B,)."""
    lengths = torch.tensor([len(x) for x, _ in items])
    return pad_sequence([x for x, _ in items], batch_first=True), lengths, torch.tensor([y for _, y in items])


def _stacked(subset: Subset, row: int, stack: int) -> Tensor:
    x = subset.main.read(row)
    x = np.pad(x, ((0, -len(x) % stack), (0, 0))).copy()
    return torch.from_numpy(x.reshape(-1, stack * x.shape[1]))


def _chunks(subset: Subset, settings: Any) -> list[Item]:
    utts, starts, _ = chunk_table(subset.num_frames, settings.unit)
    context, read = settings.unit.context, subset.main.read
    return [
        (torch.from_numpy(read(int(u))[s : s + context].copy()), int(subset.labels[u]))
        for u, s in zip(utts, starts, strict=True)
    ]


# -------------------------------------------------------------------------------------------------- a variant


class PackedBlstm(nn.Module):
    """:class:`~ser.systems.layers.blstm.Blstm` with the same weights in one packed bidirectional nn.LSTM.

    ``lengths_on_cpu`` are the lengths of the batch at work, which a packed sequence needs on the CPU.
    """

    def __init__(self, blstm: Blstm) -> None:
        """Take the weights of another; its dropout is left out."""
        super().__init__()
        first = blstm.ahead[0]
        assert isinstance(first, nn.LSTM)
        self.lstm = nn.LSTM(first.input_size, first.hidden_size, len(blstm.ahead), bidirectional=True)
        state = {}
        for side, suffix in ((blstm.ahead, ""), (blstm.back, "_reverse")):
            for number, layer in enumerate(side):
                for name, value in layer.state_dict().items():  # weight_ih_l0 ...
                    state[f"{name[:-1]}{number}{suffix}"] = value
        self.lstm.load_state_dict(state)
        self.lengths_on_cpu: Tensor | None = None

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F) and the lengths (B,) to (B, T, 2 hidden)."""
        known = lengths.cpu() if self.lengths_on_cpu is None else self.lengths_on_cpu
        packed = pack_padded_sequence(x.transpose(0, 1), known, enforce_sorted=False)
        h = pad_packed_sequence(self.lstm(packed)[0], total_length=x.shape[1])[0]
        return h.transpose(0, 1)


def packed(network: nn.Module) -> nn.Module:
    """A network with its BLSTM packed."""
    assert isinstance(network.encoder, Blstm)
    network.encoder = PackedBlstm(network.encoder)
    return network


class PackedSteps(Steps):
    """Steps of a packed network that is told the lengths where they are, on the CPU."""

    def step(self, batch: Batch) -> None:
        """One step."""
        encoder = self.network.encoder
        assert isinstance(encoder, PackedBlstm)
        encoder.lengths_on_cpu = -(-batch.inputs.main[1] // self.settings.model.frame_stack)
        super().step(batch)
