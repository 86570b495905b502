"""The check for GPUs, on the CPU in tiny sizes; and what a GPU can refuse, without one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from ser.errors import DataError, UsageError
from ser.learn import fitting, training
from ser.learn.decoding import decode_folder
from ser.learn.tasks import Task
from ser.systems.blstmatt import Blstmatt
from tests.gpu.cases import Bench
from tests.gpu.rows import WIDTH, Report, Rows

SECTIONS = "outputs losses amp decoding resuming processes memory speed sharing graphs settings".split()


@pytest.mark.slow
def test_everything_on_the_cpu(repo: Path, tmp_path: Path) -> None:
    command = [str(repo / "tests/gpu/run.sh"), "--cpu", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    tree = json.loads((tmp_path / "check.json").read_text())
    assert (done.returncode, tree["failed"], tree["tracebacks"]) == (0, [], {}), done.stderr
    assert list(tree) == ["machine", "failed", "seconds", "sections", "tracebacks"]
    assert list(tree["sections"]) == list(tree["seconds"]) == SECTIONS
    rows = [row for name in SECTIONS for row in tree["sections"][name]]
    assert all(list(row) == ["name", "value", "unit", "limit", "passed"] for row in rows)
    gaps = [row["value"] for row in rows if "GPU - CPU|" in row["name"]]
    assert len(gaps) > 20
    assert max(gaps) == 0.0  # here both are the CPU
    assert not [row["name"] for row in rows if str(row["value"]).startswith("fails")]
    table = (tmp_path / "check.txt").read_text()
    assert table == done.stdout
    assert max(map(len, table.splitlines())) <= WIDTH


def test_a_folder_without_wheels_is_refused(repo: Path, tmp_path: Path) -> None:
    command = [str(repo / "tests/gpu/run.sh"), "--wheels", f"{tmp_path}/none", "--out", f"{tmp_path}/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    text = f"{tmp_path}/none: no such folder; download wheels into it, or leave --wheels out"
    assert text in done.stderr


def test_the_table(tmp_path: Path) -> None:
    report = Report(tmp_path, {"card": "none"})
    rows = report.sections["section"] = Rows()
    rows.at_most("small", 2.5e-6, 1e-4)
    rows.at_most("not a number", float("nan"), 1e-4)
    rows.note("speed", 12345.6, "frames/s")
    rows.check("said", False, "far too many words for the column of values, which is narrow")
    report.seconds["section"] = 3.2
    report.write()
    assert report.failed == ["section: not a number", "section: said"]
    lines = (tmp_path / "check.txt").read_text().splitlines()
    assert [line.rstrip() for line in lines[:4]] == ["card: none", "", "section, 3 s", lines[3]]
    assert lines[3].split() == ["small", "2.5e-06", "<=", "0.0001", "ok"]
    assert lines[4].split()[-4:] == ["nan", "<=", "0.0001", "FAILED"]
    assert lines[5].split() == ["speed", "12,346", "frames/s"]
    assert lines[6:8] == [
        "  said FAILED",
        "      far too many words for the column of values, which is narrow",
    ]
    assert json.loads((tmp_path / "check.json").read_text())["sections"]["section"][1]["value"] == "nan"


# ---------------------------------------------------------------------------- what a GPU refuses, without one


@pytest.fixture
def task(tmp_path: Path) -> Task:
    bench = Bench(True, tmp_path, tmp_path)
    return bench.task(bench.case("blstmatt paper"), tmp_path / "model", "training.epochs=1")


def no_memory(*_: object) -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")


def test_training_without_memory_names_the_batch_size(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blstmatt, "forward", no_memory)
    with pytest.raises(DataError) as error:
        fitting.train(task, use_gpu="no", tensorboard=False)
    assert str(error.value) == (
        f"{task.folder}: the GPU's memory is too small for a batch; lower training.batch_size (1), free the "
        "GPU (see nvidia-smi), or say --use-gpu no"
    )
    monkeypatch.undo()
    fitting.train(task, use_gpu="no", tensorboard=False)  # the folder is as good as new


def test_decoding_without_memory(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitting.train(task, use_gpu="no", tensorboard=False)
    monkeypatch.setattr(Blstmatt, "forward", no_memory)
    with pytest.raises(DataError) as error:
        decode_folder(task.folder, task.train, tmp_path / "out", use_gpu="no")
    assert str(error.value) == (
        f"{task.train}: the GPU's memory is too small to decode it; free the GPU (see nvidia-smi), or say "
        "--use-gpu no"
    )


def test_more_processes_than_gpus_are_refused(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the processes join, so that none waits for one that is not there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(training, "process_group", no_memory)
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "deterministic", cudnn.deterministic)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    for rank in "01":
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(UsageError) as error:
            fitting.train(task, use_gpu="yes", tensorboard=False)
        assert str(error.value) == (
            "2 processes train together, but torch finds 1 GPUs here; start one for each GPU at most, or say "
            "--use-gpu no"
        )
