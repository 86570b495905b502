"""Several trainings of one worker: the same models, logs, failures and ends as trainings alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ser.learn.status import read_log
from ser.learn.worker import share
from tests.learn.conftest import write_part

MINE = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from ser.systems.base import Estimator

@dataclass(frozen=True)
class Settings:
    system: str
    unit: str
    end: str

def fit(subset, settings, num_classes, seed):
    if settings.end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif settings.end == "bug":
        raise RuntimeError("a bug")
    elif settings.end != "well":
        Path(settings.end).write_text(str(os.getpid()))
        time.sleep(600)
    return {"shares": np.bincount(subset.labels, minlength=num_classes) / len(subset)}

SYSTEM = Estimator(Settings, fit, lambda model, settings, subset: None)
"""

# `ser` with a torch that has a GPU, and writes down which process asks for it: all of torch that reaches the
# driver is torch._C._cuda_*.  In a process forked from one that has asked, CUDA cannot be used.
WITH_GPU = """
import os, sys
import torch
from ser.__main__ import main

def tell(text):
    with open(os.environ["TOLD"], "a") as stream:
        stream.write(f"{os.getpid()} {text}\\n")

def driver(name):
    if not name.startswith("_cuda_"):
        raise AttributeError(name)
    def ask(*_):
        tell(name)
        return int(name == "_cuda_getDeviceCount")
    return ask

torch._C.__getattr__ = driver
for name in dir(torch._C):
    if name.startswith("_cuda_"):
        setattr(torch._C, name, driver(name))
torch.cuda.is_current_stream_capturing = lambda: False  # asked by optimisers; holds one of these already
tell("begins")
sys.exit(main())
"""


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("num_jobs", [1, 2, 3, 16])
def test_every_task_is_in_one_share(count: int, num_jobs: int) -> None:
    shares = [share(count, job, num_jobs) for job in range(1, num_jobs + 1)]
    assert sorted(number for each in shares for number in each) == list(range(1, count + 1))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_shares_go_to_and_fro() -> None:
    assert [share(8, job, 3) for job in (1, 2, 3)] == [[1, 6, 7], [2, 5, 8], [3, 4]]


def write_tasks(folder: Path, ends: Sequence[str]) -> Path:
    """A list of trainings of a system that ends so."""
    (folder / "mine.py").write_text(MINE)
    train = write_part(folder / "train", ["a", "b"])
    lines = []
    for number, end in enumerate(ends, 1):
        conf = folder / f"{number}.yaml"
        conf.write_text(f"system: mine:SYSTEM\nunit: utterance\nend: {end}\n")
        lines.append(f"{train}\t-\t{folder}/m{number}\t1\t{conf}\n")
    path = folder / "tasks" / "train.tsv"
    path.parent.mkdir()
    path.write_text("".join(lines))
    return path


def start(repo: Path, folder: Path, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ser", "train", "--tasks", str(path), "--num-jobs", "1"]
    env = {**os.environ, "PYTHONPATH": f"{repo}:{folder}"}
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what was told."""
    _, err = process.communicate(timeout=240)
    return process.returncode, err


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended may still wait for its parent."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_a_failed_training_takes_no_other_with_it(repo: Path, tmp_path: Path) -> None:
    path = write_tasks(tmp_path, ["well", "killed", "bug", "well"])
    (tmp_path / "4.yaml").write_text("system: mine:SYSTEM\nunit: utterance\n")
    old = path.parent / "log" / "train.1.log"
    old.parent.mkdir()
    old.write_text("of another run\n# Ended (code 9)\n")
    code, err = finish(start(repo, tmp_path, path))
    assert code == 1
    missing = f"ser: error: {tmp_path}/4.yaml: missing key end; add it (a string)"
    begun = f"{tmp_path}/m2: mine:SYSTEM, 16 utterances"
    assert re.sub(r"\d{4}-\d\d-\d\dT[\d:]+ ", "", err).splitlines()[-3:] == [
        f"ser: error: {path.parent}/log/train.2.log: task 2 ended with code 137: {begun}",
        f"{path.parent}/log/train.3.log: task 3 ended with code 1: RuntimeError: a bug",
        f"{path.parent}/log/train.4.log: task 4 ended with code 1: {missing}",
    ]
    logs = {number: path.parent / "log" / f"train.{number}.log" for number in (1, 2, 3, 4)}
    assert [read_log(log)[0] for log in logs.values()] == [0, 137, 1, 1]
    assert [(tmp_path / f"m{number}" / "model.json").exists() for number in logs] == [True] + 3 * [False]
    text = logs[1].read_text()
    assert text.startswith(f"# ser train --tasks {path} --task 1\n# Started at ")
    assert re.search(r"\n# Ended \(code 0\) at .*, elapsed time \d+ seconds\n$", text)
    assert "another run" not in text
    assert read_log(logs[4])[1] == [missing]


def test_a_second_run_trains_what_is_missing(repo: Path, tmp_path: Path) -> None:
    path = write_tasks(tmp_path, ["well", "bug"])
    assert finish(start(repo, tmp_path, path))[0] == 1
    model = (tmp_path / "m1" / "model.json").stat()
    (tmp_path / "2.yaml").write_text("system: mine:SYSTEM\nunit: utterance\nend: well\n")
    assert finish(start(repo, tmp_path, path))[0] == 0
    assert (tmp_path / "m1" / "model.json").stat().st_mtime_ns == model.st_mtime_ns
    assert (tmp_path / "m2" / "model.json").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_training_ends_with_the_worker(repo: Path, tmp_path: Path, signum: signal.Signals) -> None:
    """However the worker ends; the worker alone gets the signal."""
    told = tmp_path / "pid"
    path = write_tasks(tmp_path, [str(told), "well"])
    process = start(repo, tmp_path, path)
    while not (told.exists() and told.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signum)
    code, _ = finish(process)
    assert code == (143 if signum == signal.SIGTERM else -signum)
    child = int(told.read_text())
    deadline = time.monotonic() + 60
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)
    assert not (tmp_path / "m2").exists()


def test_a_job_that_is_none_is_refused(repo: Path, tmp_path: Path) -> None:
    path = write_tasks(tmp_path, ["well"])
    command = [sys.executable, "-m", "ser", "train", "--tasks", str(path), "--job", "3", "--num-jobs", "2"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (
        2,
        "ser: error: --job 3: must be from 1 to --num-jobs (2) (try --help)\n",
    )


def write_networks(repo: Path, folder: Path) -> tuple[Path, list[Path]]:
    """A list of trainings of BLSTMATT and CSA, and their model folders."""
    train = write_part(folder / "train", ["a", "b"])
    words = ["training.epochs=2", "features.norm=none", "features.vad.use=none", "features.cmvn.over=all"]
    path = folder / "tasks" / "train.tsv"
    path.parent.mkdir()
    confs = [repo / "conf" / f"{name}_small.yaml" for name in ("blstmatt", "csa")]
    models = [folder / f"{number}" for number in range(len(confs))]
    lines = [
        [train, "-", model, 3, conf, *words, *([] if "blstmatt" in conf.name else ["model.pool=[2, 1, 1]"])]
        for model, conf in zip(models, confs, strict=True)
    ]
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
    return path, models


@pytest.mark.slow
def test_the_worker_leaves_the_gpu_to_its_trainings(repo: Path, tmp_path: Path) -> None:
    path, models = write_networks(repo, tmp_path)
    told = tmp_path / "told"
    words = ["train", "--tasks", str(path), "--num-jobs", "1", "--use-gpu", "no", "--tensorboard", "false"]
    done = subprocess.run(
        [sys.executable, "-c", WITH_GPU, *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(repo), "TOLD": str(told)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all((model / "model.safetensors").exists() for model in models)
    worker, *asked = (line.split() for line in told.read_text().splitlines())
    assert worker[1] == "begins"
    assert {name for _, name in asked} >= {"_cuda_getDeviceCount"}
    assert worker[0] not in {process for process, _ in asked}
    assert len({process for process, _ in asked}) == len(models)


@pytest.mark.slow
def test_networks_are_the_same_as_alone(repo: Path, tmp_path: Path) -> None:
    path, models = write_networks(repo, tmp_path)
    code, err = finish(start(repo, tmp_path, path))
    assert code == 0, err
    for number, folder in enumerate(models, 1):
        model = folder / "model.safetensors"
        together = model.read_bytes()
        for file in sorted(model.parent.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        command = [sys.executable, "-m", "ser", "train", "--tasks", str(path), "--task", str(number)]
        subprocess.run(command, cwd=repo, capture_output=True, check=True, timeout=240)
        assert model.read_bytes() == together
