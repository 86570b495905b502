"""From data folders and settings to a finished model folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ser.cli import log
from ser.data import files, labels
from ser.errors import UsageError
from ser.feats.subset import Part, read_fbank_settings, read_global_stats
from ser.learn import checkpoint, tasks
from ser.learn.loaders import Augmenter, ChunkLoader, Loader, SegmentLoader, Share
from ser.learn.parallel import choose_device, process_group, wait_for_all
from ser.learn.settings import BlstmattSettings, CsaSettings, Settings, learnt
from ser.learn.tasks import Task
from ser.learn.trainer import Trainer
from ser.systems import create


def train(task: Task, settings: Settings, *, use_gpu: str = "auto", tensorboard: bool = True) -> None:
    """Train one system on one part into ``task.folder``; go on where a stopped training was.

    A finished folder with the same settings and data is left as it is.

    Raises:
        DataError: the data cannot be used, or another process trains in the folder.
        StaleError: the folder holds a model of other settings or data.
        CheckpointError: the training state cannot be used.
        ConfigError: settings ask for a dev part and there is none.
    """
    if tasks.finished(task, settings):
        if not tasks.described(task, settings):
            checkpoint.update_decoding(task.folder, settings)
            log.info("%s: given other settings of decoding", task.folder)
        return
    device = choose_device(use_gpu)
    with process_group(device) as share:
        if share.rank == 0:
            with files.locked(task.folder):
                _train(task, settings, device, share, tensorboard)
                (task.folder / checkpoint.CHECKPOINT).unlink()
                tasks.write_made(task, settings)
        else:
            _train(task, settings, device, share, tensorboard=False)
        wait_for_all(share)


def _train(task: Task, settings: Settings, device: torch.device, share: Share, tensorboard: bool) -> None:
    emotions = labels.read_emotions(task.train / "emotions.txt")
    fbank, stats = read_fbank_settings(task.train), read_global_stats(task.train)
    part = Part(task.train, settings.features.norm, emotions=emotions, global_stats=stats)
    dev = None
    if task.dev is not None and tasks.needs_dev(settings):
        dev = Part(task.dev, settings.features.norm, emotions=emotions, global_stats=stats)
    arguments = model_arguments(settings, part.num_filters, len(emotions))
    torch.manual_seed(task.seed)
    network = create(settings.system, arguments).to(device)
    network = _shared_batch_norm(network, settings, device, share)
    if share.rank == 0:
        _describe(task, settings, network, part, emotions)
    identity = {
        "system": learnt(settings),
        "seed": task.seed,
        "arguments": arguments,
        "emotions": list(emotions),
        "fbank": fbank,
        "global_stats": stats.tolist(),
        "utterances": len(part),
        "frames": int(part.num_frames.sum(dtype=np.int64)),
    }
    trainer = Trainer(
        task.folder,
        settings,
        task.seed,
        network,
        make_loader(part, settings, task.seed, share, stats),
        dev,
        emotions,
        identity=identity,
        device=device,
        share=share,
    )
    with _Board(task.folder if tensorboard else None) as board:
        trainer.run(lambda row, speed: _report(row, speed, settings.training.epochs, board))


def model_arguments(settings: Settings, num_filters: int, num_classes: int) -> dict[str, Any]:
    """The constructor arguments of a system's network."""
    arguments = {"num_filters": num_filters, "num_classes": num_classes, **asdict(settings.model)}
    if isinstance(settings, CsaSettings):
        arguments["context"] = settings.chunking.context
    return {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}


def make_loader(
    part: Part, settings: Settings, seed: int, share: Share, stats: np.ndarray[Any, np.dtype[np.float64]]
) -> Loader:
    """Batches for a system; masks are filled with the mean of the features as the network sees them."""
    fill = np.zeros(part.num_filters, dtype=np.float32)
    if settings.features.norm == "none":
        fill = (stats[0, :-1] / stats[0, -1]).astype(np.float32)
    augmenter = Augmenter(settings.augmentation, fill, seed)
    size = settings.training.batch_size
    if isinstance(settings, BlstmattSettings):
        return SegmentLoader(part, size, augmenter, seed, share)
    return ChunkLoader(part, settings.chunking, size, augmenter, seed, share)


def _shared_batch_norm(
    network: nn.Module, settings: Settings, device: torch.device, share: Share
) -> nn.Module:
    """Batch normalisation over all processes; torch has it on GPUs only."""
    if share.world == 1 or isinstance(settings, BlstmattSettings):
        return network
    if device.type != "cuda":
        raise UsageError(
            "several processes train CSA on GPUs only: torch's batch normalisation over processes needs "
            "them; use one process"
        )
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(network)


def _describe(
    task: Task, settings: Settings, network: nn.Module, part: Part, emotions: Sequence[str]
) -> None:
    """Write down what is trained before it is trained."""
    checkpoint.write_settings(task.folder, settings)
    labels.write_emotions(task.folder / "emotions.txt", emotions)
    size = sum(parameter.numel() for parameter in network.parameters())
    log.info(
        "%s: %s, %s parameters, %d utterances, %d frames, %s",
        task.folder,
        settings.system,
        f"{size:,}",
        len(part),
        int(part.num_frames.sum(dtype=np.int64)),
        "features in memory" if part.cached else "features read from disk",
    )


class _Board:
    """TensorBoard's event file, or nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __enter__(self) -> _Board:
        self._writer = None
        if self._folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder / "tb"))
        return self

    def add(self, values: dict[str, float], epoch: int) -> None:
        """Add a point to each curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, epoch)

    def __exit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.close()


def _report(row: dict[str, float], frames_per_s: int, epochs: int, board: _Board) -> None:
    epoch = int(row["epoch"])
    values = {name: value for name, value in row.items() if name != "epoch"}
    board.add({**values, "frames_per_s": float(frames_per_s)}, epoch)
    text = " ".join(f"{name} {value:.4g}" for name, value in values.items())
    log.info("epoch %d/%d %s, %d frames/s", epoch, epochs, text, frames_per_s)
