"""What is checked: systems in two sizes, subsets of random features they can learn, trainings on those."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser import config, systems
from ser.data import tables
from ser.data.labels import write_emotions
from ser.feats import cmvn
from ser.learn import fitting
from ser.learn.parallel import amp_refusal, choose_device
from ser.learn.tasks import Task

ROOT = Path(__file__).resolve().parents[2]
EMOTIONS = ("ang", "hap", "neu", "sad")
SET, NUM_FILTERS = "fbank", 23
SEED = 7


@dataclass(frozen=True)
class Case:
    """A system with settings."""

    name: str
    conf: Path
    overrides: tuple[str, ...] = ()

    def load(self, *more: str) -> tuple[Any, Any]:
        """The system and its settings, with further overrides."""
        return systems.load_settings(self.conf, [*self.overrides, *more])

    @property
    def on_chunks(self) -> bool:
        """Whether it is trained on chunks."""
        return bool(config.resolve(self.conf)["unit"] != "utterance")


@dataclass(frozen=True)
class Bench:
    """Where everything runs, and in which sizes."""

    tiny: bool  # sizes for a CPU, to check the checks
    work: Path  # scratch folder
    out: Path  # folder of the results

    @property
    def use_gpu(self) -> str:
        """The option of the verbs."""
        return "no" if self.tiny else "yes"

    @property
    def device(self) -> torch.device:
        """What is checked against the CPU, with the settings that ``ser`` gives it."""
        return choose_device(self.use_gpu)

    @property
    def amps(self) -> list[str]:
        """The mixed precisions that the device has."""
        return [kind for kind in ("bfloat16", "float16") if not amp_refusal(kind, self.device)]

    @property
    def threads(self) -> int:
        """Threads of a computation on the CPU that is only a reference."""
        return 1 if self.tiny else 8

    @property
    def cases(self) -> list[Case]:
        """Each network at the paper's size and at that for small corpora."""
        return [
            self.case(f"{system} {size}") for system in ("blstmatt", "csa") for size in ("paper", "small")
        ]

    def case(self, name: str) -> Case:
        """The case of a name: system and size."""
        system, size = name.split()
        conf = ROOT / "conf" / (f"{system}.yaml" if size == "paper" else f"{system}_small.yaml")
        # random features, in which there is no speech to look for
        read = ("features.norm=speaker", "features.vad.use=none", "features.cmvn.over=all")
        read = () if size == "paper" else read
        tiny = ["model.hidden=12", "model.attention_dim=8"]
        if system == "csa":
            tiny = ["model.channels=[4, 8, 8]", "model.attn_reduction=4"]
        return Case(name, conf, (*read, *tiny) if self.tiny else read)

    def subset(self, name: str) -> Path:
        """The data folder train, dev or test; it is made when it is first asked for."""
        folder = self.work / "data" / name
        if not folder.exists():
            utterances, seed = {"train": (32, 1), "dev": (12, 2), "test": (24, 3)}[name]
            shortest = 12 if name == "test" else 40  # shorter than a chunk
            write_subset(folder, utterances, shortest, 60 if self.tiny else 160, seed)
        return folder

    def task(self, case: Case, folder: Path, *overrides: str) -> Task:
        """A training of a case on the subset train."""
        tree = config.resolve(case.conf, [*case.overrides, *overrides])
        return Task(self.subset("train"), self.subset("dev"), folder, SEED, tree, str(case.conf))

    def command(self, case: Case, folder: Path, *overrides: str) -> list[str]:
        """The arguments of ``ser`` for the same training."""
        words = [
            "train",
            case.conf,
            self.subset("train"),
            folder,
            "--dev",
            self.subset("dev"),
            "--seed",
            SEED,
        ]
        words += ["--use-gpu", self.use_gpu, "--tensorboard", "false"]
        for override in (*case.overrides, *overrides):
            words += ["--set", override]
        return [str(word) for word in words]


def write_subset(folder: Path, utterances: int, shortest: int, longest: int, seed: int) -> Path:
    """A data folder, as stage 2 leaves them, of four speakers; the class shifts some filters."""
    rng = np.random.default_rng(seed)
    names = sorted(f"s{i % 4}-{i // 4:03d}" for i in range(utterances))
    labels = {name: int(name[3:]) % len(EMOTIONS) for name in names}
    sums: dict[str, Any] = {}
    frames = {}
    with tables.ArkWriter(folder / "feats") as archive:
        for name in names:
            features = rng.normal(size=(int(rng.integers(shortest, longest + 1)), NUM_FILTERS))
            features[:, 5 * labels[name] : 5 * labels[name] + 5] += 0.5
            archive.write(name, features.astype(np.float32))
            frames[name] = len(features)
            sums[name[:2]] = sums.get(name[:2], 0) + cmvn.stats(features)
    tables.write_table(folder / "utt2spk", {name: name[:2] for name in names})
    tables.write_table(folder / "utt2emo", {name: EMOTIONS[label] for name, label in labels.items()})
    tables.write_table(folder / "utt2num_frames", frames)
    with tables.ArkWriter(folder / "cmvn") as archive:
        for speaker, statistics in sorted(sums.items()):
            archive.write(speaker, statistics)
    with tables.ArkWriter(folder / "cmvn_global") as archive:
        archive.write("global", sum(sums.values()))
    write_emotions(folder / "emotions.txt", EMOTIONS)
    (folder / "feats.yaml").write_text(f"set: {SET}\nsettings: {{num_mel_bins: {NUM_FILTERS}}}\n")
    return folder


# -------------------------------------------------------------------------------------------------- trainings


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    folder: Path
    history: dict[str, list[float]]  # column -> a value an epoch
    peak_mib: float  # GPU memory that its tensors took at most; 0 on a CPU


def train(task: Task, use_gpu: str) -> Trained:
    """Train in this process, as ``ser train`` does."""
    on_gpu = use_gpu == "yes"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    fitting.train(task, use_gpu=use_gpu, tensorboard=False)
    peak = torch.cuda.max_memory_allocated() - before if on_gpu else 0
    return Trained(task.folder, read_history(task.folder), peak / 2**20)


def read_history(folder: Path) -> dict[str, list[float]]:
    """The learning curves of a model folder."""
    lines = [line.split("\t") for line in (folder / "history.tsv").read_text().splitlines()]
    return {name: [float(line[i]) for line in lines[1:]] for i, name in enumerate(lines[0])}


def differences(first: list[float], second: list[float]) -> float:
    """The largest difference of two curves."""
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


# --------------------------------------------------------------------------------------------------- numerics


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Allow or forbid the tensor cores' short float32, in which products keep 10 bits after the point."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = on
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """So many threads on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
