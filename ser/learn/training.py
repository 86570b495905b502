"""Networks: from data folders and settings to a finished model folder."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ser import systems
from ser.cli import log
from ser.data import files, labels
from ser.data.normalisation import AUTO
from ser.data.turns import DIALOGUE, Turns, TurnUse
from ser.errors import ConfigError, DataError, UsageError, plural
from ser.feats.chunking import ChunkingConfig
from ser.feats.speech import SpeechUse
from ser.feats.stores import set_settings
from ser.feats.subset import Doubles, Subset
from ser.learn import models, tasks
from ser.learn.batches import BUCKET_BATCHES
from ser.learn.dialogues import DialogueLoader
from ser.learn.loaders import (
    Augmenter,
    ChunkLoader,
    Loader,
    Share,
    UtteranceLoader,
    main_frames,
    make_items,
)
from ser.learn.memory import is_shortage, keep_freed, shortage
from ser.learn.parallel import amp_refusal, choose_device, process_group, wait_for_all
from ser.learn.tasks import Task
from ser.learn.trainer import Trainer
from ser.systems.base import Network
from ser.systems.layers.speaker_norm import speaker_norm


def train_network(
    task: Task, system: Network, settings: Any, *, use_gpu: str = "auto", tensorboard: bool = True
) -> None:
    """Train a network on one training subset into ``task.folder``; go on where a stopped training was.

    Raises:
        DataError: the data cannot be used, another process trains in the folder, or a batch is too large
            for the GPU.
        CheckpointError: the training state cannot be used.
        ConfigError: settings that do not fit each other, or the device.
        UsageError: more processes than GPUs.
    """
    device = choose_device(use_gpu)
    _check_gpus(device)
    if refusal := amp_refusal(settings.training.amp, device):
        raise ConfigError(f"{task.source}: training.amp: {refusal}")
    if device.type == "cpu":
        keep_freed()
    with process_group(device) as share, _memory(task, settings):
        if share.rank == 0:
            with files.locked(task.folder):
                (task.folder / files.MADE).unlink(missing_ok=True)
                _train(task, system, settings, device, share, tensorboard)
                models.tell_summary(task.folder, models.read_facts(task.folder))
                (task.folder / tasks.CHECKPOINT).unlink()
                tasks.write_made(task)
        else:
            _train(task, system, settings, device, share, tensorboard=False)
        wait_for_all(share)


def load() -> None:
    """Import what the first optimiser and the first event import, so that forked processes have it."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    importlib.import_module("torch.utils.tensorboard")


def _check_gpus(device: torch.device) -> None:
    """Refuse more processes than GPUs, which would crash one of them and leave the others waiting."""
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if device.type == "cuda" and processes > gpus:
        raise UsageError(
            f"{processes} processes train together, but torch finds {gpus} GPUs here; start one for each GPU "
            "at most, or say --use-gpu no"
        )


@contextmanager
def _memory(task: Task, settings: Any) -> Iterator[None]:
    """Say in words that the memory does not hold a batch."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        whose, more = "", "or set training.max_frames"
        if isinstance(error, torch.cuda.OutOfMemoryError):
            whose, more = "GPU's ", "free the GPU (see nvidia-smi), or say --use-gpu no"
        raise DataError(
            f"{task.folder}: the {whose}memory is too small for a batch; lower training.batch_size "
            f"({settings.training.batch_size}), {more}"
        ) from error


# ------------------------------------------------------------------------------------------------ networks


def _train(
    task: Task, system: Network, settings: Any, device: torch.device, share: Share, tensorboard: bool
) -> None:
    emotions = labels.read_emotions(task.train / labels.EMOTIONS)
    subset, dev, stats = _read_subsets(task, settings, emotions)
    sizes = models.sizes_of(subset, emotions)
    systems.check_network(system, settings, sizes, task.source)
    torch.manual_seed(task.seed)
    sets = {name: set_settings(task.train, name) for name in task.sets}
    network = _begin(task, system, settings, system.build(settings, sizes), sets).to(device)
    network = _shared_batch_norm(network, device, share)
    if share.rank == 0:
        models.describe(task, emotions)
        _log_network(task, settings, network, subset)
    made = models.feature_facts(task.train, settings, task.sets)
    identity = _identity(task, settings, subset, stats, {"emotions": list(emotions), "sets": sets, **made})

    def keep(epoch: int) -> None:
        state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        models.save_model(
            task.folder,
            settings=settings,
            emotions=emotions,
            sets=sets,
            sizes=sizes,
            arrays=state,
            stats=stats,
            facts={
                "seed": task.seed,
                "epoch": epoch,
                **made,
                **facts,
                **models.summary_of(system, state, sizes),
            },
        )

    loader = make_loader(subset, settings, task.seed, share, stats)
    facts = _long_utterances(task, settings, loader)
    _refuse_too_long(task, settings, network, loader, device, share)
    trainer = Trainer(
        task.folder, settings, task.seed, network, loader, dev, emotions,
        loss=system.loss, identity=identity, keep=keep, device=device, share=share,
        rates=system.rates and system.rates(settings),
    )  # fmt: skip
    with _Board(task.folder if tensorboard else None) as board:
        trainer.run(lambda row, speed: _report(row, speed, settings.training.epochs, board))


def _identity(
    task: Task, settings: Any, subset: Subset, stats: Mapping[str, Doubles], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What must be the same when a training is gone on with."""
    return {
        "system": tasks.learnt(task.tree),
        "seed": task.seed,
        **facts,
        **({"norm": settings.features.norm} if task.norm == AUTO else {}),
        "stats": {name: values.tolist() for name, values in stats.items()},
        "utterances": len(subset),
        "frames": _count_frames(subset),
        **({"words": list(subset.turns.vocabulary)} if subset.turns else {}),
    }


def _begin(
    task: Task, system: Network, settings: Any, network: nn.Module, sets: Mapping[str, Mapping[str, Any]]
) -> nn.Module:
    """Give a new network what it begins with, where that is not random weights."""
    if system.begin is not None:
        try:
            system.begin(network, settings, sets)
        except ConfigError as error:
            raise ConfigError(f"{task.source}: {error}; correct it") from error
    return network


def _read_subsets(
    task: Task, settings: Any, emotions: Sequence[str]
) -> tuple[Subset, Subset | None, dict[str, Doubles]]:
    """The training subset, the dev subset where the settings need one, and statistics of the first."""
    sets, norm = settings.features.sets, settings.features.norm
    if isinstance(settings.unit, ChunkingConfig) and len(sets) > 1:
        raise ConfigError(
            f"{task.source}: features.sets names {len(sets)} sets, but a system that is trained on "
            "chunks reads one; name one"
        )
    targets, speech, turns = getattr(settings, "targets", ()), SpeechUse.of(settings), TurnUse.of(settings)
    subset = Subset(
        task.train, sets, norm,
        emotions=emotions, targets=targets, speech=speech, turns=turns, copies=settings.features.copies,
    )  # fmt: skip
    stats = {name: features.total_stats() for name, features in subset.inputs.items()}
    dev = None
    if task.dev is not None and tasks.needs_dev(task.tree):
        words = subset.turns.vocabulary if subset.turns else None
        dev = Subset(
            task.dev, sets, norm,
            emotions=emotions, global_stats=stats, speech=speech, turns=turns, vocabulary=words,
        )  # fmt: skip
    return subset, dev, stats


def _count_frames(subset: Subset) -> int:
    return int(main_frames(subset).sum(dtype=np.int64))


def make_loader(
    subset: Subset, settings: Any, seed: int, share: Share, stats: Mapping[str, Doubles]
) -> Loader:
    """Batches for a network; masks are filled with the mean of the features as the network sees them."""
    augmenters = {}
    for number, (name, features) in enumerate(subset.inputs.items()):
        if features.num_frames is None:
            continue
        fill = np.zeros(features.dim, dtype=np.float32)
        if settings.features.norm == "none":
            fill = (stats[name][0, :-1] / stats[name][0, -1]).astype(np.float32)
        stream = (number,) if number else ()
        augmenters[name] = Augmenter(settings.augmentation, fill, seed, stream)
    size, by_speaker = settings.training.batch_size, getattr(settings, "by_speaker", False)
    if isinstance(settings.unit, ChunkingConfig):
        main = augmenters[subset.main.name]
        return ChunkLoader(subset, settings.unit, size, main, seed, share, by_speaker=by_speaker)
    if settings.unit == DIALOGUE:
        return DialogueLoader(subset, size, seed, share)
    training = settings.training
    items = make_items(main_frames(subset), training.max_frames, training.long_utterances)
    return UtteranceLoader(subset, size, augmenters, seed, share, items, by_speaker=by_speaker)


def _long_utterances(task: Task, settings: Any, loader: Loader) -> dict[str, Any]:
    """Say what becomes of utterances beyond ``training.max_frames``; what the model says of it, if anything.

    Raises:
        ConfigError: the system is trained on chunks.
        DataError: no utterance is left.
    """
    limit, rule = settings.training.max_frames, settings.training.long_utterances
    if limit is None:
        return {}
    if not isinstance(loader, UtteranceLoader):
        raise ConfigError(
            f"{task.source}: training.max_frames is for systems that are trained on whole utterances; "
            "chunks are as long as unit.context says, dialogues are read as a whole; set it to null"
        )
    frames, left = main_frames(loader.subset), len(loader.items.utts)
    long = int((frames > limit).sum())
    text = f"{long} of {len(frames)} utterances have more than {limit} frames"
    if not left:
        raise DataError(f"{task.train}: {text}, nothing is left to train on; raise training.max_frames")
    done = {"cut": "cut", "split": "split", "drop": "left out"}[rule]
    log.info("%s: %s and are %s, which leaves %d items to train on", task.folder, text, done, left)
    return {"long_utterances": {"rule": rule, "utterances": long, "of": len(frames), "items": left}}


def _refuse_too_long(
    task: Task, settings: Any, network: nn.Module, loader: Loader, device: torch.device, share: Share
) -> None:
    """Name the longest utterance if its batch cannot fit into the memory.

    Raises:
        DataError: it cannot.
    """
    if not isinstance(loader, UtteranceLoader):
        return
    items, size = loader.items, settings.training.batch_size
    number, longest = len(items.utts), int(items.lengths.argmax())
    # among few items it is in the last batch, which may be smaller
    batch = min(size, number) if number > BUCKET_BATCHES * size else (number - 1) % size + 1
    together, frames = -(-batch // share.world), int(items.lengths[longest])
    if lack := shortage(network, loader.subset, frames, together, device, training=True):
        among = f" and in a batch of {together}" if together > 1 else ""
        raise DataError(
            f"{task.train}: the utterance {loader.subset.keys[items.utts[longest]]}, {frames} frames long"
            f"{among}, {lack}; set training.max_frames, and training.long_utterances to cut, split or drop"
        )


def _shared_batch_norm(network: nn.Module, device: torch.device, share: Share) -> nn.Module:
    """Batch normalisation over all processes; torch has it on GPUs only.

    Raises:
        UsageError: several processes cannot train the network.
    """
    if share.world > 1 and speaker_norm(network) is not None:
        raise UsageError(
            "several processes cannot train a network that normalises by speaker within a batch; use one "
            "process, or set model.pooled_norm to none"
        )
    kind = nn.modules.batchnorm._BatchNorm
    if share.world == 1 or not any(isinstance(module, kind) for module in network.modules()):
        return network
    if device.type != "cuda":
        raise UsageError(
            "several processes train networks with batch normalisation on GPUs only: torch's batch "
            "normalisation over processes needs them; use one process"
        )
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(network)


# ------------------------------------------------------------------------------------------------- telling


def _log_network(task: Task, settings: Any, network: nn.Module, subset: Subset) -> None:
    size = sum(parameter.numel() for parameter in network.parameters())
    log.info(
        "%s: %s, %s parameters, %d utterances, %d frames, %s",
        task.folder,
        settings.system,
        f"{size:,}",
        len(subset),
        _count_frames(subset),
        "features in memory" if all(x.cached for x in subset.inputs.values()) else "features read from disk",
    )
    if subset.turns is not None:
        _log_turns(task, subset.turns)


def _log_turns(task: Task, turns: Turns) -> None:
    """Say what of transcripts and dialogues is trained on."""
    if turns.words is not None:
        silent = sum(not len(words) for words in turns.words)
        text = f", {plural(silent, 'utterance')} without a transcript" if silent else ""
        log.info("%s: vocabulary of %s%s", task.folder, plural(len(turns.vocabulary), "word"), text)
    if turns.dialogues:
        lengths = [len(rows) for rows in turns.dialogues]
        number = plural(len(lengths), "dialogue")
        log.info("%s: %s of %d to %d turns", task.folder, number, min(lengths), max(lengths))


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
