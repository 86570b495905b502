"""Training: one loop for all networks, stopped and resumed anywhere without a trace.

Everything random in a step is a function of (seed, epoch, batch): the order of the batches, the masks, and
dropout, whose generator is seeded anew before every step.  So a training state is the model, the
optimiser, the plateau scheduler, and the position, and a killed run that goes on ends bit-identical.
"""

from __future__ import annotations

import bisect
import json
import math
import time
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ser.cli import log
from ser.data.files import differences, whole_file
from ser.errors import CheckpointError, DataError
from ser.feats.subset import Subset
from ser.learn import checkpoint
from ser.learn.inference import decode
from ser.learn.loaders import Batch, Loader, Share
from ser.learn.parallel import mixed_precision, sum_gradients, sum_over_processes
from ser.learn.tasks import CHECKPOINT, HISTORY
from ser.systems.base import Loss, Outputs
from ser.systems.settings import OptimSettings, Unit

RATE = "rate"  # of a group of parameters: what the learning rate is multiplied by
COUNT_EVERY = 64  # steps, after which their losses are added up
SAVE_EVERY_S = 300.0  # the training state is written at least this often, also within an epoch
MOMENTUM = 0.9  # of ``optim.algorithm: sgd``, Nesterov's
COLUMNS = ("epoch", "lr", "train_loss", "train_acc", "dev_loss", "dev_uar")


@dataclass
class Position:
    """Where a training is, and what it has seen of the current epoch."""

    epoch: int = 0  # the epoch at work, from 0
    batch: int = 0  # the next batch of it
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # loss, right, items
    best: float = -math.inf  # of the selection metric, higher is better
    kept: int = 0  # the epoch of the model, from 1
    history: list[dict[str, float]] = field(default_factory=list)  # a row an epoch


class Trainer:
    """Trains one network into one model folder."""

    def __init__(
        self,
        folder: Path,
        settings: Any,
        seed: int,
        network: nn.Module,
        loader: Loader,
        dev: Subset | None,
        emotions: Sequence[str],
        *,
        loss: Loss | None,
        identity: dict[str, Any],
        keep: Callable[[int], None],
        device: torch.device,
        share: Share,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            folder: the model folder.
            settings: of the system.
            seed: decides everything random.
            network: freshly initialised, on ``device``.
            loader: batches of the training subset.
            dev: for the learning rate and the selection, where the settings ask for it.
            emotions: class order.
            loss: of each item, (B,); None is cross-entropy.
            identity: what must be the same for a stopped training to go on (settings, data).
            keep: writes the network as the model of an epoch.
            device: CPU or GPU.
            share: this process's share of each batch.
            rates: beginnings of parameters' names -> what the learning rate is multiplied by for them.
        """
        self.folder, self.settings, self.seed = folder, settings, seed
        self.network, self.loader, self.dev = network, loader, dev
        self.emotions, self.identity, self.keep = tuple(emotions), identity, keep
        self.loss, self.device, self.share = loss, device, share
        self.num_epochs: int = settings.training.num_epochs(loader.num_batches(0))
        optim = settings.optim
        self.optimizer = make_optimizer(network, optim, rates or {})
        self.plateau = ReduceLROnPlateau(
            self.optimizer, "min", patience=optim.plateau.patience, factor=optim.plateau.factor
        )
        counts = loader.label_counts(len(self.emotions))
        self.class_weights = self._class_weights(counts)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.training.amp == "float16")
        self.random = torch.default_generator  # what dropout draws from
        if device.type == "cuda":
            self.random = torch.cuda.default_generators[device.index]
        self.at = Position()
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)  # at.sums of this process, at work
        # losses, logits and labels of steps that are not yet in ``sums``: counting them one after the other
        # is ten times as fast as between steps, which leave nothing of it in the processor's caches
        self._uncounted: list[tuple[Tensor, Tensor, Tensor]] = []
        self._parameters = list(network.parameters())

    def _class_weights(self, counts: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        if not counts.all():
            missing = [name for name, count in zip(self.emotions, counts, strict=True) if not count]
            raise DataError(
                f"{self.loader.subset.folder}: no training item of {', '.join(missing)}; give the fold other "
                "speakers, shorten the context, or leave the class out of the settings of the corpus"
            )
        if self.settings.training.class_weights == "none":
            return torch.ones(len(counts), device=self.device)
        weights = counts.sum() / (len(counts) * counts)
        return torch.from_numpy(weights.astype(np.float32)).to(self.device)

    # ---------------------------------------------------------------------------------------- the loop

    def run(self, on_epoch: Callable[[dict[str, float], int], None]) -> None:
        """Train to the last epoch, from the state in the folder if there is one.

        Args:
            on_epoch: called after each epoch with its row of the history and its frames per second.
        """
        self._resume()
        while self.at.epoch < self.num_epochs:
            frames_per_s = self._epoch()
            row = self._finish_epoch()
            if self.share.rank == 0:
                on_epoch(row, frames_per_s)
        if self.settings.training.select == "last" and self.share.rank == 0:
            self._save_model(self.num_epochs)
        self._write_history()

    def _epoch(self) -> int:
        """Go through the rest of the current epoch; returns frames per second of this process."""
        self.network.train()
        at, started, saved, frames = self.at, time.monotonic(), time.monotonic(), 0
        self.sums.copy_(torch.tensor(at.sums, dtype=torch.float64))
        num_batches = self.loader.num_batches(at.epoch)
        for batch in self.loader.batches(at.epoch, at.batch):
            self._step(batch, (at.epoch + at.batch / num_batches) / self.num_epochs)
            at.batch += 1
            frames += batch.num_frames
            if time.monotonic() - saved > SAVE_EVERY_S:
                self._count()
                at.sums = self._read_sums(self.sums)
                self._save_state()
                saved = time.monotonic()
        return int(frames / max(time.monotonic() - started, 1e-9))

    def _step(self, batch: Batch, progress: float) -> None:
        optim = self.settings.optim
        if optim.schedule == "cosine":
            self._set_lr(optim.lr * cosine_factor(progress, optim.cosine.warmup))
        elif optim.schedule == "steps":
            self._set_lr(
                optim.lr * optim.steps.factor ** bisect.bisect_right(optim.steps.epochs, self.at.epoch)
            )
        self.random.manual_seed(_step_seed(self.seed, self.at.epoch, self.at.batch, self.share.rank))
        self.optimizer.zero_grad(set_to_none=True)
        inputs = batch.inputs.to(self.device)
        targets = {name: y.to(self.device, non_blocking=True) for name, y in batch.targets.items()}
        labels = targets["emotion"]
        if len(labels):
            with mixed_precision(self.settings.training.amp, self.device):
                outputs = self.network(inputs)
            losses = self._losses(outputs, targets)
            total = self.class_weights[torch.from_numpy(batch.all_labels).to(self.device)].sum()
            torch.autograd.backward(self.scaler.scale(losses.sum() / total))
            self._uncounted.append((losses.detach(), outputs.logits.detach(), labels))
            if len(self._uncounted) == COUNT_EVERY:
                self._count()
        sum_gradients(self.network, self.share)
        if optim.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, optim.clip_norm, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _losses(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> Tensor:
        """The loss of each item times the weight of its class, (B,)."""
        labels = targets["emotion"]
        if self.loss is None:
            logits = outputs.logits.float()
            return F.cross_entropy(logits, labels, weight=self.class_weights, reduction="none")
        return self.loss(outputs, targets) * self.class_weights[labels]

    def _count(self) -> None:
        """Add what is uncounted to the sums."""
        for losses, logits, labels in self._uncounted:
            self.sums[0] += (losses / self.class_weights[labels]).double().sum()
            self.sums[1] += (logits.argmax(dim=1) == labels).sum()
            self.sums[2] += len(labels)
        self._uncounted.clear()

    def _read_sums(self, sums: Tensor) -> list[float]:
        loss, right, items = sums.tolist()
        if not math.isfinite(loss):
            raise DataError(
                f"{self.folder}: the loss is {loss} in epoch {self.at.epoch + 1}; lower optim.lr, set "
                "optim.clip_norm, or choose features.norm"
            )
        return [loss, right, items]

    def _finish_epoch(self) -> dict[str, float]:
        at = self.at
        self._count()
        loss, right, items = self._read_sums(sum_over_processes(self.sums, self.share))
        row = {"epoch": float(at.epoch + 1), "lr": self.optimizer.param_groups[0]["lr"]}
        row |= {"train_loss": loss / items, "train_acc": right / items}
        if self.dev is not None:
            row |= evaluate(self.network, self.settings.unit, self.dev, len(self.emotions), self.device)
        optim, training = self.settings.optim, self.settings.training
        if optim.schedule == "plateau":
            self.plateau.step(row[optim.plateau.metric])
        at.history.append(row)
        at.epoch, at.batch, at.sums = at.epoch + 1, 0, [0.0, 0.0, 0.0]
        if training.select != "last":
            score = row["dev_uar"] if training.select == "best_dev_uar" else -row["dev_loss"]
            if score > at.best:
                at.best, at.kept = score, at.epoch
                if self.share.rank == 0:
                    self._save_model(at.epoch)
        self._save_state()
        return row

    def _set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get(RATE, 1.0)

    # ---------------------------------------------------------------------------------------- on disk

    def _save_state(self) -> None:
        if self.share.world > 1 and self.at.batch:
            return  # within an epoch every process has counts of its own
        if self.share.rank:
            return
        optimizer, moments = checkpoint.flatten_optimizer(self.optimizer.state_dict())
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in moments.items()}
        values = {
            "identity": self.identity,
            "optimizer": optimizer,
            "plateau": self.plateau.state_dict(),
            "scaler": self.scaler.state_dict(),
            "position": vars(self.at),
            "threads": torch.get_num_threads(),
        }
        checkpoint.save(self.folder / CHECKPOINT, values, tensors)
        self._write_history()

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        remedy = f"remove {path} to begin anew"
        state, tensors = checkpoint.load(path, remedy)
        if changed := differences(state.get("identity", {}), json.loads(json.dumps(self.identity))):
            raise CheckpointError(
                f"{path}: this training was started with other settings: {'; '.join(changed[:5])}; give the "
                f"old settings to go on, choose another folder, or {remedy}"
            )
        groups: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}}
        for key, tensor in tensors.items():
            group, _, name = key.partition(".")
            groups.setdefault(group, {})[name] = tensor
        try:
            self.network.load_state_dict(groups["network"])
            optimizer = checkpoint.unflatten_optimizer(state["optimizer"], groups["optimizer"])
            self.optimizer.load_state_dict(optimizer)
            self._lay_out_moments()
            self.plateau.load_state_dict(state["plateau"])
            self.scaler.load_state_dict(state["scaler"])
            self.at = Position(**state["position"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: is the state of another model; {remedy}") from error
        log.info("%s: goes on in epoch %d, batch %d", self.folder, self.at.epoch + 1, self.at.batch)
        before, now = state.get("threads"), torch.get_num_threads()
        if before not in (None, now):
            log.warning(
                "%s: was trained with %s threads so far, goes on with %d; last digits of the model differ "
                "from one that was not stopped",
                *(self.folder, before, now),
            )

    def _lay_out_moments(self) -> None:
        """Give the moments the memory layout of their parameters (channels last), which a file does not keep.

        torch's fused steps go through parameter and moments in the order of their memory.
        """
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value)

    def _save_model(self, epoch: int) -> None:
        self.at.kept = epoch
        self.keep(epoch)

    def _write_history(self) -> None:
        if self.share.rank:
            return
        columns = [name for name in COLUMNS if self.dev is not None or not name.startswith("dev_")]
        with whole_file(self.folder / HISTORY) as stream:
            stream.write("\t".join(columns) + "\n")
            for row in self.at.history:
                stream.write("\t".join(f"{row[name]:.8g}" for name in columns) + "\n")


def make_optimizer(
    network: nn.Module, optim: OptimSettings, rates: Mapping[str, float] = types.MappingProxyType({})
) -> torch.optim.Optimizer:
    """What ``optim.algorithm`` names, over all parameters; those with a rate of their own come last."""
    options: dict[str, Any] = {"lr": optim.lr, "weight_decay": optim.weight_decay, "fused": True}
    groups: dict[str, dict[str, Any]] = {"": {"params": []}}
    groups |= {name: {"params": [], "lr": optim.lr * rate, RATE: rate} for name, rate in rates.items()}
    for name, parameter in network.named_parameters():
        own = next((start for start in rates if name.startswith(start)), "")
        groups[own]["params"].append(parameter)
    if optim.algorithm == "sgd":
        return torch.optim.SGD(groups.values(), momentum=MOMENTUM, nesterov=True, **options)
    return torch.optim.AdamW(groups.values(), **options)


def cosine_factor(progress: float, warmup: float) -> float:
    """What the highest rate is multiplied by at ``progress`` (0..1) of the training.

    >>> [round(cosine_factor(p, 0.5), 3) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))


def _step_seed(*position: int) -> int:
    return int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0] >> 1)


def evaluate(
    network: nn.Module, unit: Unit, subset: Subset, num_classes: int, device: torch.device
) -> dict[str, float]:
    """Mean negative log-posterior and mean recall over the scored utterances of a dev subset."""
    loss, hits, seen = 0.0, np.zeros(num_classes), np.zeros(num_classes)
    for decision in decode(network, unit, subset, device):
        if decision.posterior is None:
            continue
        label = int(subset.labels[decision.index])
        loss -= math.log(max(float(decision.posterior[label]), 1e-10))
        seen[label] += 1
        hits[label] += int(decision.posterior.argmax()) == label
    if not seen.any():
        raise DataError(f"{subset.folder}: every utterance is shorter than unit.context; shorten that")
    present = seen > 0
    return {"dev_loss": loss / float(seen.sum()), "dev_uar": float((hits[present] / seen[present]).mean())}
