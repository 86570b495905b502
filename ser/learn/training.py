"""From data folders and settings to a finished model folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ser.cli import log
from ser.data import files, labels
from ser.errors import ConfigError, DataError, UsageError
from ser.learn import checkpoint
from ser.learn.loaders import ChunkLoader, Loader, Masker, SegmentLoader, Share
from ser.learn.parallel import choose_device, process_group, wait_for_all
from ser.learn.part import Part, read_fbank_settings, read_global_stats
from ser.learn.settings import BlstmattSettings, CsaSettings, Settings, learnt
from ser.learn.trainer import Trainer
from ser.models import create

REMEDY = "choose another --exp-dir, or remove the folder to train it again"


@dataclass(frozen=True)
class Task:
    """One training: its data, its seed, where it goes."""

    train: Path
    dev: Path | None
    folder: Path
    seed: int


def read_task(path: Path, number: int) -> Task:
    """Line ``number`` (from 1) of a task list: train, dev or ``-``, model folder, seed; tab-separated.

    Raises:
        DataError: there is no such line, or it is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; steps/train.sh makes it") from error
    if not 1 <= number <= len(lines):
        raise UsageError(f"--task {number}: {path} has {len(lines)} tasks")
    fields = lines[number - 1].split("\t")
    if len(fields) != 4 or not fields[3].isdigit():
        raise DataError(
            f"{path}:{number}: expected '<train><TAB><dev or -><TAB><model folder><TAB><seed>', "
            f"got {lines[number - 1]!r}; correct the line"
        )
    train, dev, folder, seed = fields
    return Task(Path(train), None if dev == "-" else Path(dev), Path(folder), int(seed))


def train(task: Task, settings: Settings, *, use_gpu: str = "auto", tensorboard: bool = True) -> None:
    """Train one system on one part into ``task.folder``; go on where a stopped training was.

    A finished folder with the same settings and data is left as it is.

    Raises:
        DataError: the data cannot be used, or another process trains in the folder.
        StaleError: the folder holds a model of other settings or data.
        CheckpointError: the training state cannot be used.
        ConfigError: settings ask for a dev part and there is none.
    """
    check_dev(settings, task)
    wanted = {"system": learnt(settings), "seed": task.seed}
    inputs = {"feats.scp": task.train / "feats.scp", "utt2emo": task.train / "utt2emo"}
    inputs["fbank.yaml"] = task.train / "fbank.yaml"
    if task.dev is not None and needs_dev(settings):
        inputs["dev/feats.scp"] = task.dev / "feats.scp"
    missing = [path for path in inputs.values() if not path.exists()]
    if missing:
        raise DataError(f"{missing[0]}: no such file; run stages 1 and 2")
    if files.is_made(task.folder, wanted, inputs, remedy=REMEDY):
        if checkpoint.update_decoding(task.folder, settings):
            log.info("%s: up to date but for its settings of decoding, which are changed", task.folder)
        else:
            log.info("%s: up to date", task.folder)
        return
    device = choose_device(use_gpu)
    with process_group(device) as share:
        if share.rank == 0:
            with files.locked(task.folder):
                _train(task, settings, device, share, tensorboard)
                (task.folder / checkpoint.CHECKPOINT).unlink()
                files.write_made(task.folder, wanted, inputs)
        else:
            _train(task, settings, device, share, tensorboard=False)
        wait_for_all(share)


def needs_dev(settings: Settings) -> bool:
    """Whether the learning rate or the selection of the epoch looks at a dev part."""
    optim = settings.optim
    plateau = optim.schedule == "plateau" and optim.plateau.metric == "dev_loss"
    return plateau or settings.training.select != "last"


def check_dev(settings: Settings, task: Task) -> None:
    """Refuse settings that look at a dev part where there is none."""
    if needs_dev(settings) and task.dev is None:
        raise ConfigError(
            f"{task.train}: the fold has no dev part, which optim.plateau.metric dev_loss and "
            "training.select best_dev_* need; choose a --protocol with one, or train_loss and last"
        )


def _train(task: Task, settings: Settings, device: torch.device, share: Share, tensorboard: bool) -> None:
    emotions = labels.read_emotions(task.train / "emotions.txt")
    fbank, stats = read_fbank_settings(task.train), read_global_stats(task.train)
    part = Part(task.train, settings.features.norm, emotions=emotions, global_stats=stats)
    dev = None
    if task.dev is not None and needs_dev(settings):
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
    masker = Masker(settings.masking, fill, seed)
    size = settings.training.batch_size
    if isinstance(settings, BlstmattSettings):
        return SegmentLoader(part, size, masker, seed, share)
    return ChunkLoader(part, settings.chunking, size, masker, seed, share)


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
