"""An experiment of 100,000 utterances, one of 400 folds: seconds of each verb, and of its up-to-date rerun.

  tests/bench/large.py [--utterances 100000] [--speakers 50] [--folds 400] [--folder DIR] [--tree DIR]

Recordings of a tenth of a second, features of random numbers, two tiny networks, one of them trained on
chunks, and their fusion: what is measured is the recipe's own work.  Then as many folds, with 24 trainings
each, as `ser plan --dry-run` lists them: none begun, and 5 of each fold finished.  --tree measures another
checkout that knows the same verbs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import wave
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ser import config  # noqa: E402
from ser.feats.base import Floats, Timing  # noqa: E402
from ser.feats.subset import Subset  # noqa: E402
from ser.learn import fitting, tasks  # noqa: E402
from ser.systems.base import Arrays, Doubles, Estimator  # noqa: E402
from ser.systems.settings import InputSettings  # noqa: E402

EMOTIONS = ("ang", "hap", "neu", "sad")
CORPUS = """\
name: large
module: csv
classes: [ang, hap, neu, sad]
labels: {ang: ang, hap: hap, neu: neu, sad: sad}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse, on_mixed_rate: warn, on_silent: warn}
keep: {}
protocol: halves
protocols:
  halves: {group: fold, test: each, dev: {speakers: 5, refit: true}, keep: {}}
  loso: {group: speaker, test: each, dev: null, keep: {}}
checks: null
"""
FEATURES = "extractor: tests.bench.large:Noise\n"
RANDOM = "system: tests.bench.large:SYSTEM\nfeatures: {sets: [fbank], norm: none}\n"
WHOLE = """\
base: blstmatt.yaml
model: {hidden: 2, layers: 1, attention_dim: 2}
training: {epochs: 1, batch_size: 250}
"""
CHUNKS = """\
base: csa.yaml
unit: {context: 10, overlap: 5}
model: {channels: [2, 2], kernels: [3, 3], pool: [2, 2], attn_reduction: 1}
training: {epochs: 1, batch_size: 1000}
"""
SETTINGS = {"corpus": CORPUS, "fbank": FEATURES, "random": RANDOM, "whole": WHOLE, "chunks": CHUNKS}


# --------------------------------------------------------------------------- features and a system of numbers


@dataclass(frozen=True)
class NoiseSettings:
    """conf/fbank.yaml of this experiment."""

    extractor: str


class Noise:
    """20 frames of 8 random numbers."""

    Settings: ClassVar[type[Any]] = NoiseSettings
    versions: ClassVar[dict[str, str]] = {}
    dim = 8
    timing = Timing(0.01, 0.0125)

    def __init__(self, settings: NoiseSettings, sampling_rate_hz: int) -> None:
        """Nothing is needed of either."""

    def compute(self, samples: Floats, key: str) -> Floats:  # noqa: ARG002  (an extractor's)
        """Other numbers for each key."""
        return np.random.default_rng(zlib.crc32(key.encode())).normal(size=(20, 8)).astype(np.float32)


@dataclass(frozen=True)
class RandomSettings:
    """conf/random.yaml of this experiment."""

    system: str
    features: InputSettings


def fit(train: Subset, settings: RandomSettings, num_classes: int, seed: int) -> Arrays:  # noqa: ARG001
    """The seed."""
    return {"seed": np.array([seed, num_classes])}


def posteriors(model: Arrays, settings: RandomSettings, subset: Subset) -> Doubles:  # noqa: ARG001
    """Random posteriors."""
    seed, num_classes = model["seed"]
    rows = np.random.default_rng(int(seed)).random((len(subset), int(num_classes)))
    shares: Doubles = rows / rows.sum(1, keepdims=True)
    return shares


SYSTEM = Estimator(RandomSettings, fit, posteriors)


# ------------------------------------------------------------------------------------------------- measuring


class Bench:
    """Runs verbs of a checkout in a folder, and prints what each takes."""

    def __init__(self, folder: Path, tree: Path) -> None:
        """``folder`` is the recipe's."""
        self.folder = folder
        path = os.pathsep.join([str(tree), str(ROOT)])
        self.environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "LC_ALL": "C"}

    def run(self, label: str, *commands: Sequence[object]) -> str:
        """Run commands of `ser` one after another; what the last prints."""
        text, before, begun = "", resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "ser", *map(str, command)],
                cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                sys.exit(f"ser {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
            text = done.stdout
        seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        memory = after.ru_maxrss / 1024
        print(f"{label:<24}{seconds:7.1f} s {used:7.1f} s CPU, {memory:.0f} MiB at most so far", flush=True)
        return text


def write_recipe(folder: Path, utterances: int, speakers: int) -> None:
    """Settings, a table of recordings, and the recordings; the first half of the speakers is fold 1."""
    (folder / "conf").mkdir(parents=True)
    for name, text in SETTINGS.items():
        (folder / "conf" / f"{name}.yaml").write_text(text)
    lines = ["path,speaker,emotion,fold\n"]
    rng = np.random.default_rng(0)
    for number in range(utterances):
        speaker = number % speakers
        path = Path("wav", f"s{speaker:03d}", f"s{speaker:03d}_{number:06d}.wav")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(folder / path), "wb") as stream:
            stream.setparams((1, 2, 16000, 0, "NONE", ""))
            stream.writeframes(rng.integers(-9999, 9999, 1600, np.int16).tobytes())
        emotion = EMOTIONS[number // speakers % 4]
        lines.append(f"{path},s{speaker:03d},{emotion},{1 + 2 * speaker // speakers}\n")
    (folder / "table.csv").write_text("".join(lines))


def plan(*options: str) -> list[str]:
    """The command line of `ser plan`."""
    places = ["--corpus-conf", "conf/corpus.yaml", "--data-dir", "data", "--exp-dir", "exp"]
    return ["plan", *places, *options]


def prepare(bench: Bench, asked: list[str], folds: str, protocol: str) -> None:
    """Stages 0 to 2."""
    conf = ("exp/conf/corpus.yaml", "data/all", "exp/conf/fbank.yaml")
    bench.run("plan", asked)
    bench.run("0 prepare", ["prepare", "--corpus-dir", "table.csv", "--config", conf[0]])
    bench.run("1 extract", ["extract", *conf], ["extract", "--merge", "--main", *conf])
    bench.run("2 cmvn", ["compute_cmvn", "data/all"])
    options = ["--config", conf[0], "--protocol", protocol]
    bench.run("2 folds", ["make_folds", "data/all", folds, *options])
    bench.run("2 plan", [*asked, "--stage", "5"])


def stages(bench: Bench) -> None:
    """All stages but that of interpretation."""
    asked = plan("systems=whole chunks_10", "seeds=1", "fuse=both=whole chunks_10")
    prepare(bench, asked, "data/folds", "halves")
    tasks = len((bench.folder / "exp/tasks/train.tsv").read_text().splitlines())
    train = ["train", "--tasks", "exp/tasks/train.tsv", "--task"]
    bench.run(f"3, 4 train ({tasks})", *([*train, number] for number in range(1, tasks + 1)))
    bench.run("5 decode", ["decode", "--tasks", "exp/tasks/decode.tsv"])
    bench.run("6 score", ["score", "--plan", "exp"])
    bench.run("7 fuse", ["fuse", "--plan", "exp"])
    bench.run("7 tabulate", ["tabulate", "--plan", "exp", "--out", "exp/results.tsv"])
    bench.run("9 report", ["report", "exp"])


def lists(bench: Bench) -> None:
    """A dry run of a protocol of many folds, before and after trainings."""
    seeds = [str(seed) for seed in range(1, 13)]
    asked = plan(
        "protocol=loso", "systems=one=conf/random.yaml two=conf/random.yaml", f"seeds={' '.join(seeds)}"
    )
    prepare(bench, asked, "data/folds_loso", "loso")
    print(bench.run("dry run", [*asked, "--dry-run"]).count("to do"), "tasks to do")
    for line in (bench.folder / "exp/tasks/train_3.tsv").read_text().splitlines():
        train, _, folder, seed, settings = line.split("\t")
        if int(seed) <= 5:
            tree = config.resolve(bench.folder / settings)
            task = tasks.Task(bench.folder / train, None, bench.folder / folder, int(seed), tree, settings)
            fitting.train(task)
    text = bench.run("dry run, some done", [*asked, "--dry-run", "--stage", "3", "--stop-stage", "4"])
    print(text.splitlines()[0])


def main() -> None:
    """Make the folders in a temporary place, then measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=100_000)
    parser.add_argument("--speakers", type=int, default=50)
    parser.add_argument("--folds", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to measure (this one)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        bench = Bench(Path(name, "large"), args.tree.resolve())
        write_recipe(bench.folder, args.utterances, args.speakers)
        for when in ("first", "again"):
            print(f"{args.utterances:,} utterances, {when}; load {os.getloadavg()[0]:.1f}")
            begun = time.monotonic()
            stages(bench)
            print(f"{'all':<24}{time.monotonic() - begun:7.1f} s")
        bench = Bench(Path(name, "folds"), args.tree.resolve())
        write_recipe(bench.folder, 20 * args.folds, args.folds)
        print(f"{args.folds} folds; load {os.getloadavg()[0]:.1f}")
        lists(bench)


if __name__ == "__main__":
    main()
