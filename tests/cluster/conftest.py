"""Real Slurm and Grid Engine, started once for all tests; skipped, and why, where they cannot be had."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .daemons import ClusterError, Daemons
from .grid_engine import GridEngine
from .slurm import Slurm

Start = Callable[[type[Daemons]], Daemons]


def unavailable(kind: type[Daemons]) -> str:
    """Why this scheduler cannot be started here; empty if it can.  Installs it where SER_CLUSTER says so."""
    missing = kind.missing()
    if os.getuid() != 0:
        return f"{kind.name}: its daemons are started by root"
    if missing and os.environ.get("SER_CLUSTER") != "install":
        return (
            f"{kind.name}: {', '.join(missing)} not found; apt-get install --no-install-recommends "
            f"{' '.join(kind.packages)}, or set SER_CLUSTER=install to have that done"
        )
    if missing:
        kind.install()
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        if os.environ.get("SER_CLUSTER") != "install":
            return f"{kind.name}: this machine's name, {socket.gethostname()}, is not in /etc/hosts"
        with open("/etc/hosts", "a", encoding="utf-8") as hosts:
            hosts.write(f"127.0.0.1 {socket.gethostname()}\n")
    return ""


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Starts a scheduler when it is first asked for, and ends all of them at the end."""
    running: dict[type[Daemons], Daemons] = {}

    def start_once(kind: type[Daemons]) -> Daemons:
        if kind not in running:
            if why := unavailable(kind):
                pytest.skip(why)
            daemons = kind()
            running[kind] = daemons
            try:
                daemons.start()
            except (ClusterError, AssertionError, subprocess.SubprocessError) as error:
                log = (daemons.folder / "daemons.log").read_text(errors="replace")[-2000:]
                pytest.fail(f"{kind.name} did not start: {error}\n{log}")
        return running[kind]

    yield start_once
    for daemons in running.values():
        daemons.stop()


def whole(daemons: Daemons) -> Iterator[Daemons]:
    """For one test: both daemons run before it, nothing of its jobs is left after it."""
    yield daemons
    if daemons.master is None or daemons.master.poll() is not None:
        daemons.start_master()
    daemons.end_jobs()
    if daemons.executor is None or daemons.executor.poll() is not None:
        daemons.start_executor()


@pytest.fixture(params=[Slurm, GridEngine], ids=lambda kind: kind.name)
def cluster(request: pytest.FixtureRequest, start: Start) -> Iterator[Daemons]:
    """Slurm, then Grid Engine."""
    yield from whole(start(request.param))


@pytest.fixture
def slurm(start: Start) -> Iterator[Daemons]:
    """Slurm."""
    yield from whole(start(Slurm))


@pytest.fixture
def sge(start: Start) -> Iterator[Daemons]:
    """Grid Engine."""
    yield from whole(start(GridEngine))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that jobs are submitted from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
