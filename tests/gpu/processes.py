"""Trainings in processes of their own: killed and resumed, several together, out of memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from ser.errors import DataError
from ser.learn import checkpoint, models, tasks, trainer
from ser.learn.decoding import decode_folder
from ser.learn.loaders import Batch
from tests.gpu.agreement import POSTERIORS, posterior_gap, train_on_both
from tests.gpu.cases import ROOT, Bench, Case, train
from tests.gpu.rows import Rows

WAIT_S = 150.0  # for a process to end, and for a killed one to have begun
# `ser`, but the training state is written after every step.
EVERY_STEP = "import ser.learn.trainer as t; t.SAVE_EVERY_S = 0.0; from ser.__main__ import main; main()"


@dataclass(frozen=True)
class Ended:
    """A process that ended."""

    code: int | None  # None: it had to be killed
    text: str  # stdout and stderr
    seconds: float

    @property
    def error(self) -> str:
        """Its error line, or that it crashed, or hung."""
        if self.code is None:
            return f"hangs: killed after {self.seconds:.0f} s"
        found = re.findall(r"error: (.*)", self.text)
        crashes = re.findall(r"^(?:\[rank\d+\]: )?((?:\w+\.)*\w*Error\b.*)", self.text, re.MULTILINE)
        return str(found[0]) if found else f"crashes: {crashes[-1]}" if crashes else ""


def start(words: Sequence[object], **environment: str) -> subprocess.Popen[str]:
    """Start a command at the root of the checkout, in a session of its own."""
    return subprocess.Popen(
        [str(word) for word in words], cwd=ROOT, env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def wait(process: subprocess.Popen[str], seconds: float = WAIT_S) -> Ended:
    """Wait for a command; kill it with all it started when it takes too long."""
    begun = time.monotonic()
    code: int | None
    try:
        text, code = process.communicate(timeout=seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, code = process.communicate()[0], None
    return Ended(code, text, time.monotonic() - begun)


def python(code: str) -> list[str]:
    """Python running some code."""
    return [sys.executable, "-c", code]


def keep_log(bench: Bench, name: str, ended: Ended) -> None:
    """Add what a process printed to the log of all processes."""
    with open(bench.out / "processes.log", "a", encoding="utf-8") as stream:
        stream.write(f"=== {name}: code {ended.code}, {ended.seconds:.1f} s\n{ended.text}\n")


# -------------------------------------------------------------------------------------------- kill and resume


def check_resuming(bench: Bench, rows: Rows) -> None:
    """A killed and resumed training ends bit-identical; so does one stopped within an epoch, at full size."""
    kinds = [(bench.case(f"{system} small"), "none") for system in ("blstmatt", "csa")]
    if "float16" in bench.amps:
        kinds += [(case, "float16") for case, _ in kinds]
    for name in ("train", "dev"):
        bench.subset(name)
    with ThreadPoolExecutor(2 if bench.tiny else 4) as pool:
        for part in pool.map(lambda kind: _kill_and_resume(bench, *kind), kinds):
            rows += part
    mixed = [(bench.case("csa paper"), "bfloat16")] if "bfloat16" in bench.amps else []
    for case, kind in [(bench.case("blstmatt paper"), "none"), *mixed]:
        name = f"{case.name}, {'float32' if kind == 'none' else kind}: stopped in epoch 2, bit-identical"
        with rows.attempt(name):
            whole, stopped = (_stopped(bench, case, kind, at) for at in (None, (1, 1)))
            rows.check(name, *same_models(whole, stopped))


def _kill_and_resume(bench: Bench, case: Case, amp: str) -> Rows:
    """Train, and beside it train, send SIGKILL somewhere, and go on."""
    rows, name = Rows(), f"{case.name}, {'float32' if amp == 'none' else amp}"
    folders = [bench.work / "killed" / f"{case.name}_{amp}" / kind for kind in ("whole", "killed")]
    epochs = f"training.epochs={30 if bench.tiny else 60}"
    commands = [
        bench.command(case, folder, epochs, "training.batch_size=4", f"training.amp={amp}")
        for folder in folders
    ]
    whole = start([sys.executable, "-m", "ser", *commands[0]])
    position, ended = _kill(
        start([*python(EVERY_STEP), *commands[1]]), folders[1], after=0.1 if bench.tiny else 0.3
    )
    keep_log(bench, f"{name}, killed", ended)
    rows.check(f"{name}: killed by SIGKILL in", position != "", position or ended.error)
    for kind, done in {"whole": wait(whole), "resumed": _resume(commands[1])}.items():
        keep_log(bench, f"{name}, {kind}", done)
        if done.code != 0 or (kind == "resumed" and "goes on in epoch" not in done.text):
            rows.check(f"{name}: {kind} trains to the end", False, done.error or "it began anew")
            return rows
    rows.check(f"{name}: resumed is bit-identical", *same_models(*folders))
    return rows


def _resume(command: list[str]) -> Ended:
    return wait(start([sys.executable, "-m", "ser", *command]))


def _kill(process: subprocess.Popen[str], folder: Path, after: float) -> tuple[str, Ended]:
    """Kill a training some seconds after its first state is there; where it was, "" if it had ended."""
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < WAIT_S:
        if (folder / tasks.CHECKPOINT).exists():
            time.sleep(after)
            break
        time.sleep(0.01)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    ended = wait(process)
    if not alive or not (folder / tasks.CHECKPOINT).exists():
        return "", ended
    at = checkpoint.load(folder / tasks.CHECKPOINT, "")[0]["position"]
    return f"epoch {at['epoch'] + 1}, batch {at['batch'] + 1}", ended


class _Stop(Exception):  # noqa: N818  (not an error: stands for a kill)
    """The training is stopped here."""


def _stopped(bench: Bench, case: Case, amp: str, stop_at: tuple[int, int] | None) -> Path:
    """A training of two epochs in this process, stopped before a step and gone on with."""
    folder = bench.work / "stopped" / f"{case.name}_{amp}" / ("whole" if stop_at is None else "stopped")
    more = ("training.epochs=2", "training.batch_size=8", f"training.amp={amp}", "model.dropout=0.2")
    task = bench.task(case, folder, *more)
    real_step = trainer.Trainer._step

    def step(self: trainer.Trainer, batch: Batch, progress: float) -> None:
        if (self.at.epoch, self.at.batch) == stop_at:
            raise _Stop
        real_step(self, batch, progress)

    if stop_at is not None:
        with (
            mock.patch.object(trainer.Trainer, "_step", step),
            mock.patch.object(trainer, "SAVE_EVERY_S", 0.0),
            suppress(_Stop),
        ):
            train(task, bench.use_gpu)
    train(task, bench.use_gpu)
    return folder


def same_models(first: Path, second: Path) -> tuple[bool, str]:
    """Whether two model folders hold the same bits, and what differs."""
    one, two = (models.load_model(folder).arrays for folder in (first, second))
    other = [name for name in one if not np.array_equal(one[name], two[name])]
    if other:
        gap = max(float(np.abs(one[name] - two[name]).max()) for name in other)
        return False, f"{len(other)} of {len(one)} tensors differ, by {gap:.1e}"
    same = (first / "history.tsv").read_bytes() == (second / "history.tsv").read_bytes()
    return same, "all bits" if same else "history.tsv differs"


# ------------------------------------------------------------------------------------------- several together


def check_processes(bench: Bench, rows: Rows) -> None:
    """Two processes for one task, NCCL with one process, and the steps of the recipe."""
    gpus = 0 if bench.tiny else torch.cuda.device_count()
    case, short = bench.case("blstmatt small"), "training.epochs=1"
    case = replace(case, overrides=(*case.overrides, "model.pooled_norm=none"))  # which needs whole batches
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    ended = wait(start([*torchrun, "-m", "ser", *bench.command(case, bench.work / "torchrun", short)]))
    keep_log(bench, "torchrun", ended)
    _two_processes("torchrun, 2 processes", ended, gpus, rows)
    if not bench.tiny:  # there it is what ran above
        step = ["steps/train.sh", "--num-proc", 2, _train_list(bench, "two", [case])]
        ended = wait(start([*step, "--tensorboard", "false"]))
        keep_log(bench, "steps/train.sh --num-proc 2", ended)
        _two_processes("steps/train.sh --num-proc 2", ended, gpus, rows)
    ended = wait(start([sys.executable, ROOT / "tests/gpu/alone.py", "gloo" if bench.tiny else "nccl"]))
    keep_log(bench, "one process", ended)
    rows.check(
        "one process in a group (NCCL, on a CPU gloo) steps as alone",
        ended.code == 0,
        ended.error or "works",
        "works",
    )
    with rows.attempt("the steps of the recipe"):
        _check_steps(bench, rows)


def _two_processes(name: str, ended: Ended, gpus: int, rows: Rows) -> None:
    """With fewer GPUs than processes a refusal in words, else it works."""
    if gpus != 1:
        rows.check(name, ended.code == 0, ended.error or "works", "works")
        return
    refused = ended.code not in (0, None) and "GPU" in ended.error and not ended.error.startswith("crashes")
    rows.check(f"{name} on 1 GPU: refused in words", refused, ended.error or "it works")
    rows.note(f"{name}: until it ended", ended.seconds, "s")


def _train_list(bench: Bench, name: str, cases: list[Case]) -> Path:
    """A task list of short trainings."""
    path = bench.work / "lists" / f"{name}.tsv"
    path.parent.mkdir(exist_ok=True)
    lines = []
    for case in cases:
        task = bench.task(case, bench.work / name / case.name.replace(" ", "_"))
        fields = [
            task.train,
            task.dev,
            task.folder,
            task.seed,
            case.conf,
            *case.overrides,
            "training.epochs=2",
        ]
        lines.append("\t".join(map(str, fields)) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _check_steps(bench: Bench, rows: Rows) -> None:
    """steps/train.sh and steps/decode.sh, as the recipe calls them; the jobs that decode share a GPU."""
    cases = (
        [bench.case("csa small")] if bench.tiny else [bench.case(f"{s} small") for s in ("blstmatt", "csa")]
    )
    command = ["steps/train.sh", "--use-gpu", bench.use_gpu, _train_list(bench, "steps", cases)]
    ended = wait(start([*command, "--tensorboard", "false"]))
    keep_log(bench, "steps/train.sh", ended)
    rows.check("steps/train.sh: every training ends", ended.code == 0, ended.error or "works", "works")
    test = bench.subset("test")
    outs = {case.name: bench.work / "steps" / case.name.replace(" ", "_") for case in cases}
    path = bench.work / "lists" / "decode.tsv"
    path.write_text("".join(f"{out}\t{test}\t{out}/gpu\n" for out in outs.values()), encoding="utf-8")
    options = [
        "--cmd",
        "run.pl",
        "--nj",
        len(cases),
        "--use-gpu",
        bench.use_gpu,
        "--jobs-per-gpu",
        len(cases),
    ]
    ended = wait(start(["steps/decode.sh", *options, path]))
    keep_log(bench, "steps/decode.sh", ended)
    for log in sorted(path.parent.glob("log/*.log")):
        keep_log(bench, log.name, Ended(None, log.read_text(encoding="utf-8"), 0.0))
    rows.check("steps/decode.sh: every decoding ends", ended.code == 0, ended.error or "works", "works")
    for name, out in outs.items():
        if (out / "gpu" / "post").exists():
            decode_folder(out, test, out / "cpu", use_gpu="no")
            gap = posterior_gap(out / "cpu", out / "gpu")
            rows.at_most(f"{name}: posteriors of the steps, |GPU - CPU|", gap, POSTERIORS)


# ----------------------------------------------------------------------------------------------------- memory

SMALL_GPU = """
import torch
torch.cuda.set_per_process_memory_fraction(2e8 / torch.cuda.get_device_properties(0).total_memory)
from ser.__main__ import main
main()
"""
NO_MEMORY = """
import torch
from ser.learn.trainer import Trainer
def step(*_):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
Trainer._step = step
from ser.__main__ import main
main()
"""


def check_memory(bench: Bench, rows: Rows) -> None:
    """Out of memory ends in one line that names the setting to change."""
    case = bench.case("blstmatt paper")
    command = bench.command(case, bench.work / "memory", "training.batch_size=512")
    ended = wait(start([*python(NO_MEMORY if bench.tiny else SMALL_GPU), *command]))
    keep_log(bench, "out of memory", ended)
    one_line = ended.code == 1 and "Traceback" not in ended.text and "training.batch_size" in ended.error
    shown = ended.error.replace(str(bench.work), "...")
    rows.check("training: out of memory is one line of words", one_line, shown or "it was not out of memory")
    if bench.tiny:
        return
    model = train_on_both(bench, case)[1].folder
    torch.cuda.empty_cache()
    fraction = (torch.cuda.memory_reserved() + 5e7) / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(fraction)
    said = "it was not out of memory"
    try:
        decode_folder(model, bench.subset("test"), bench.work / "no_memory", use_gpu="yes")
    except (DataError, torch.cuda.OutOfMemoryError) as error:
        said = f"{type(error).__name__}: {error}".replace(str(bench.work), "...")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    rows.check("decoding: out of memory is one line of words", said.startswith("DataError"), said)
