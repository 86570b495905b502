"""Subsets of any size for benchmarks, and trainers on them: many utterances that share a few archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser import systems
from ser.data import tables
from ser.data.labels import write_emotions
from ser.feats import cmvn
from ser.feats.subset import Subset
from ser.learn.loaders import Share
from ser.learn.models import sizes_of
from ser.learn.trainer import Trainer
from ser.learn.training import make_loader

EMOTIONS = ("ang", "hap", "neu", "sad")
NUM_FILTERS = 23
STORED = 1000  # utterances that are really stored; the others name the same places in the archive


def write_subset(folder: Path, utterances: int, num_filters: int = NUM_FILTERS) -> Path:
    """A data folder of random features, 143 to 898 frames an utterance as in EMO-DB, 10 speakers."""
    rng = np.random.default_rng(0)
    stored = min(STORED, utterances)
    lengths = np.clip(rng.lognormal(np.log(265), 0.35, size=stored), 143, 898).astype(int)
    names = [f"s{i % 10:02d}-{i // 10:07d}" for i in range(utterances)]
    with tables.ArkWriter(folder / "stored") as archive:
        for i, length in enumerate(lengths):
            archive.write(f"{i:07d}", rng.normal(size=(length, num_filters)).astype(np.float32))
    places = list(tables.ArkReader(folder / "stored.scp").places.values())
    tables.write_table(folder / "feats.scp", {name: places[i % stored] for i, name in enumerate(names)})
    tables.write_table(folder / "utt2num_frames", {name: lengths[i % stored] for i, name in enumerate(names)})
    tables.write_table(folder / "utt2spk", {name: name[:3] for name in names})
    tables.write_table(folder / "utt2emo", {name: EMOTIONS[i % 4] for i, name in enumerate(names)})
    statistics = cmvn.stats(rng.normal(size=(1000, num_filters)))
    with tables.ArkWriter(folder / "cmvn") as archive:
        for speaker in sorted({name[:3] for name in names}):
            archive.write(speaker, statistics)
    with tables.ArkWriter(folder / "cmvn_global") as archive:
        archive.write("global", statistics)
    write_emotions(folder / "emotions.txt", EMOTIONS)
    (folder / "feats.yaml").write_text(f"set: fbank\nsettings: {{num_mel_bins: {num_filters}}}\n")
    return folder


def make_trainer(conf: Path, subset: Subset, overrides: list[str], folder: Path) -> tuple[Trainer, Any]:
    """A trainer of the system of ``conf`` on a subset, on the CPU, and the system's settings."""
    system, settings = systems.load_settings(conf, overrides)
    torch.manual_seed(1)
    network = system.build(settings, sizes_of(subset, EMOTIONS))
    stats = {name: features.total_stats() for name, features in subset.inputs.items()}
    loader = make_loader(subset, settings, 1, Share(), stats)
    trainer = Trainer(
        folder, settings, 1, network, loader, None, EMOTIONS,
        loss=system.loss, identity={}, keep=print, device=torch.device("cpu"), share=Share(),
    )  # fmt: skip
    network.train()
    return trainer, settings
