"""What steps/train.sh and steps/decode.sh make of GPUs: how many jobs at once, and which GPU each gets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

SMI = """#!/bin/sh
[ "$*" = -L ] || exit 1
echo "GPU 0: NVIDIA H200 (UUID: GPU-0)"
echo "  MIG 1g.18gb     Device  0: (UUID: MIG-0)"
echo "GPU 1: NVIDIA H200 (UUID: GPU-1)"
"""
# Instead of `ser` it says which GPUs it may use, and its arguments.
PYTHON = f"""#!/bin/sh
[ "$1" = -m ] || exec {sys.executable} "$@"
echo "${{CUDA_VISIBLE_DEVICES-unset}} $*"
"""
RUNNER = """#!/bin/sh
echo "$*"
"""


class Steps:
    """Runs steps on task lists, with a Python that runs none of them."""

    def __init__(self, repo: Path, folder: Path) -> None:
        """On a machine with two GPUs."""
        self.repo, self.folder = repo, folder
        for name, text in (("nvidia-smi", SMI), ("python3", PYTHON), ("queue.pl", RUNNER)):
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def __call__(self, step: str, count: int, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a step on a list of ``count`` tasks."""
        path = self.folder / "tasks" / "list.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("model\tdata\tout\n" * count)
        known = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        bin_folder = self.folder / "bin"
        known |= {"SER_PYTHON": f"{bin_folder}/python3", "PATH": f"{bin_folder}:/usr/bin:/bin"}
        return subprocess.run(
            [f"steps/{step}.sh", *options, str(path)],
            cwd=self.repo, env=known | env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def jobs(self, step: str, count: int, *options: str, **env: str) -> list[str]:
        """The GPUs of each job, and its arguments."""
        done = self(step, count, *options, **env)
        assert done.returncode == 0, done.stderr
        logs = sorted((self.folder / "tasks" / "log").glob("*.log"))
        said = [
            line for log in logs for line in log.read_text().splitlines() if line and not line.startswith("#")
        ]
        return [line.replace(f"{self.folder}/", "") for line in said]


@pytest.fixture
def steps(repo: Path, tmp_path: Path) -> Steps:
    return Steps(repo, tmp_path)


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a step said, without dates and the runner's counts."""
    lines = (re.sub(r"^\S+T\S+ ", "", line) for line in done.stderr.splitlines())
    return [line for line in lines if not line.startswith("run.pl:")]


@pytest.mark.parametrize("step", ["train", "decode"])
@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        ([], "01"),  # --nj is 4
        (["--nj", "1"], "0"),
        (["--jobs-per-gpu", "2"], "0101"),
        (["--jobs-per-gpu", "2", "--nj", "3"], "010"),
        (["--jobs-per-gpu", "3", "--nj", "9"], "010101"),
        (["--jobs-per-gpu", "2", "--cmd", "run.pl --max-jobs-run 4"], "0101"),
    ],
)
def test_jobs_of_this_machine(steps: Steps, step: str, options: Sequence[str], gpus: str) -> None:
    assert [line[0] for line in steps.jobs(step, 12, *options)] == list(gpus)


@pytest.mark.parametrize("step", ["train", "decode"])
def test_a_job_is_told_where_to_run(steps: Steps, step: str) -> None:
    assert steps.jobs(step, 2, "--use-gpu", "yes", "--nj", "1") == [
        f"0 -m ser {step} --tasks tasks/list.tsv --job 1 --num-jobs 1 --use-gpu yes"
        if step == "train"
        else f"0 -m ser {step} --use-gpu yes --tasks tasks/list.tsv --job 1 --num-jobs 1"
    ]


@pytest.mark.parametrize("step", ["train", "decode"])
@pytest.mark.parametrize("visible", ["1", "1,-1", "MIG-0"])
def test_gpus_that_the_user_allows(steps: Steps, step: str, visible: str) -> None:
    jobs = steps.jobs(step, 6, "--jobs-per-gpu", "2", CUDA_VISIBLE_DEVICES=visible)
    assert [line.split()[0] for line in jobs] == [visible.partition(",")[0]] * 2


@pytest.mark.parametrize("step", ["train", "decode"])
@pytest.mark.parametrize(
    ("options", "env", "device"),
    [(["--use-gpu", "no"], {}, "unset"), ([], {"CUDA_VISIBLE_DEVICES": ""}, "-m")],
)
def test_jobs_without_a_gpu(
    steps: Steps, step: str, options: Sequence[str], env: dict[str, str], device: str
) -> None:
    """As many as --nj says."""
    jobs = steps.jobs(step, 6, *options, "--nj", "3", **env)
    assert [line.split()[0] for line in jobs] == [device] * 3
    done = steps(step, 6, *options, "--jobs-per-gpu", "2", **env)
    assert told(done) == [f"{step}.sh: no GPU is used, so --jobs-per-gpu 2 has no effect"]


@pytest.mark.parametrize("step", ["train", "decode"])
@pytest.mark.parametrize(
    ("cmd", "use_gpu", "asked"),
    [
        ("queue.pl --mem 2G", "yes", "--mem 2G --gpu 1 "),
        ("queue.pl --gpu 2", "yes", "--gpu 2 "),
        ("queue.pl --mem 2G", "auto", "--mem 2G "),
        ("queue.pl --mem 2G", "no", "--mem 2G "),
    ],
)
def test_a_cluster_is_asked_for_gpus(steps: Steps, step: str, cmd: str, use_gpu: str, asked: str) -> None:
    runner, _, options = cmd.partition(" ")
    cmd = f"{steps.folder}/bin/{runner} {options}"
    done = steps(step, 6, "--cmd", cmd, "--use-gpu", use_gpu)
    share = "--max-jobs-run 4 JOB=1:6 " if step == "train" else "JOB=1:4 "
    assert done.stdout.startswith(f"{asked}{share}")


@pytest.mark.parametrize("step", ["train", "decode"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs-per-gpu", "0"], "--jobs-per-gpu 0: must be 1 or more"),
        (
            ["--jobs-per-gpu", "2", "--cmd", "queue.pl"],
            "--jobs-per-gpu 2: a cluster gives a job GPUs of its own; leave it out",
        ),
    ],
)
def test_what_is_refused(steps: Steps, step: str, options: Sequence[str], message: str) -> None:
    done = steps(step, 6, *options)
    assert (done.returncode, told(done)) == (2, [f"{step}.sh: error: {message} (try --help)"])


def test_several_processes_share_gpus_with_others(steps: Steps) -> None:
    jobs = steps.jobs("train", 3, "--num-proc", "2", "--jobs-per-gpu", "2")
    assert [line.split()[0] for line in jobs] == ["0,1"] * 3
    done = steps("train", 3, "--num-proc", "3")
    assert (done.returncode, told(done)) == (
        2,
        ["train.sh: error: --num-proc 3: this machine has 2 GPUs (try --help)"],
    )
