"""utils/session.sh: locks of folders, steps and how they end, whoever is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.daemons import soon, until

PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


class Sessions:
    """Scripts that have sourced the session, each in a session of its own; the rest is ended after a test."""

    def __init__(self, repo: Path, folder: Path) -> None:
        """``folder`` is where they work."""
        self.head = f'SER_ROOT="{repo}"; . "{repo}/utils/log.sh"; . "{repo}/utils/session.sh"'
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def __call__(self, text: str) -> subprocess.Popen[str]:
        """Start one that runs ``text``."""
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"{self.head}\n{text}", "demo.sh"],
            cwd=self.folder,
            env={"PATH": PATH},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process


@pytest.fixture
def session(repo: Path, tmp_path: Path) -> Iterator[Sessions]:
    sessions = Sessions(repo, tmp_path)
    yield sessions
    for process in sessions.started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr without dates."""
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, re.sub(r"^\S+ demo.sh: ", "", stderr, flags=re.MULTILINE)


def is_alive(mark: str) -> bool:
    found = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout
    return any(
        mark in line and not line.startswith("Z") and "ps -eo" not in line for line in found.splitlines()
    )


def test_steps_run_and_their_status_is_the_script_s(session: Sessions) -> None:
    text = "lock a/b; [[ -e a/b/.lock ]]; step echo one; step bash -c 'exit 7'; step echo two"
    assert ended(session(text)) == (7, "one\n", "")


@pytest.mark.slow
def test_readers_share_and_a_writer_is_alone(session: Sessions, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    hold = session('lock data --shared; flock --shared "$lock_fd"; step sleep 60')
    until((tmp_path / "data" / ".lock").exists, 10, "the lock")
    assert ended(session("lock data --shared; echo in")) == (0, "in\n", "")
    busy = "data: another run is at work here; "
    refused = session("lock data; echo in")
    assert ended(refused) == (
        1,
        "",
        f"{busy}waiting 10 s for it to end\nerror: {busy}wait for it, or choose other folders (--data-dir, "
        "--exp-dir)\n",
    )
    hold.kill()
    hold.wait()
    assert ended(session("lock data; echo in"))[:2] == (0, "in\n")


def test_a_writer_lets_readers_in(session: Sessions) -> None:
    text = 'lock data; flock --shared "$lock_fd"; echo ready; step sleep 60'
    hold = session(text)
    assert hold.stdout is not None
    assert hold.stdout.readline() == "ready\n"
    assert ended(session("lock data --shared; echo in")) == (0, "in\n", "")
    hold.terminate()
    assert hold.wait() == 143


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_readers_need_not_write(session: Sessions, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    assert ended(session("lock data --shared; echo in")) == (0, "in\n", "")


@pytest.mark.parametrize("shared", ["", "--shared"])
def test_a_lock_that_is_a_link_is_refused(session: Sessions, tmp_path: Path, shared: str) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / ".lock").symlink_to("../victim")
    code, _, stderr = ended(session(f"lock exp {shared}"))
    assert (code, stderr) == (1, "error: exp/.lock: is a link or no file; remove it\n")
    assert not (tmp_path / "victim").exists()


def test_nothing_is_left_of_a_run_that_gives_up(session: Sessions, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    text = "lock new/deep/exp; lock old; lock new/data; touch new/data/x; give_up 2"
    assert ended(session(text)) == (2, "", "")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"old", "old/.lock", "new", "new/data", "new/data/x"}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_the_next_run_is_let_in_at_once(session: Sessions, tmp_path: Path, name: str) -> None:
    """A step that takes a second to end, and starts a child that its leader does not wait for."""
    mark = f"304.{os.getpid()}"
    slow = f"trap 'exec sleep 0.7' TERM\nsleep {mark} &\ntouch up\nwait\n"
    (tmp_path / "slow.sh").write_text(slow)
    process = session("lock exp; step bash -c 'bash slow.sh; true'")
    until((tmp_path / "up").exists, 10, "the step")
    number = signal.Signals[name]
    process.send_signal(number)
    if name == "SIGKILL":
        process.wait()
    else:
        code, _, stderr = ended(process)
        assert code == 128 + number
        assert f"stopped by {name}; the same command goes on from here\n" in stderr
        assert not is_alive(mark)
    start = time.monotonic()
    assert ended(session("lock exp; echo in"))[:2] == (0, "in\n")
    assert time.monotonic() - start < soon()
    until(lambda: not is_alive(mark), 5, "the end of all processes")


@pytest.mark.parametrize(
    ("threads", "nj", "shown"),
    [
        ("1", 9, "9 1 run.pl|run.pl|queue.pl --mem 4G"),
        ("2", 9, "3 2 run.pl --num-threads 2|run.pl --num-threads 2|queue.pl --mem 4G --num-threads 2"),
        ("3", 2, "2 3 run.pl --num-threads 3|run.pl --num-threads 3|queue.pl --mem 4G --num-threads 3"),
    ],
)
def test_jobs_have_no_more_threads_than_there_are_cores(
    session: Sessions, tmp_path: Path, threads: str, nj: int, shown: str
) -> None:
    code, stdout, stderr = ended(session(with_threads(tmp_path, "run.pl", nj, threads)))
    lowered = f"--num-threads 2 on 6 cores: --nj {nj} becomes 3\n" if threads == "2" else ""
    assert (code, stdout, stderr) == (0, f"{shown}\n", lowered)


def with_threads(folder: Path, runner: str, nj: int, threads: str) -> str:
    """A script that calls use_threads on a machine with 6 cores, and shows what came of it."""
    (folder / "nproc").write_text("#!/bin/sh\necho ${OMP_NUM_THREADS:-6}\n")
    (folder / "nproc").chmod(0o755)
    return (
        f'PATH={folder}:$PATH nj={nj}; train_cmd={runner} decode_cmd={runner} cuda_cmd="queue.pl --mem 4G"; '
        f'use_threads {threads}; echo "$nj $OMP_NUM_THREADS $train_cmd|$decode_cmd|$cuda_cmd"'
    )


def test_a_cluster_has_as_many_cores_as_it_has(session: Sessions, tmp_path: Path) -> None:
    code, stdout, stderr = ended(session(with_threads(tmp_path, "slurm.pl", 9, "8")))
    commands = "slurm.pl --num-threads 8|slurm.pl --num-threads 8|queue.pl --mem 4G --num-threads 8"
    assert (code, stdout, stderr) == (0, f"9 8 {commands}\n", "")


@pytest.mark.parametrize(
    ("threads", "said"),
    [
        ("7", "--num-threads 7: this machine has 6 cores"),
        ("0", "--num-threads 0: must be a whole number of 1 or more"),
        ("2,1", "--num-threads 2,1: must be a whole number of 1 or more"),
    ],
)
def test_threads_that_cannot_be_are_refused(
    session: Sessions, tmp_path: Path, threads: str, said: str
) -> None:
    code, stdout, stderr = ended(session(with_threads(tmp_path, "run.pl", 2, threads)))
    assert (code, stdout, stderr) == (2, "", f"error: {said} (try --help)\n")
