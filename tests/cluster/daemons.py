"""Slurm and Grid Engine of one's own: one node, real daemons, everything below one folder.

They are Debian's packages; the daemons need root, no systemd, no cgroups, and touch neither /etc/slurm nor
/var/lib/gridengine.  A machine of two processors says it has many, so that arrays run at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SYSTEM = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALL = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]


class ClusterError(Exception):
    """No scheduler here, and why."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(condition: Callable[[], object], timeout_s: float, what: str) -> float:
    """Wait until it holds; the seconds that took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(0.05)
    return time.monotonic() - start


def soon(seconds: float = 5.0) -> float:
    """So many seconds, and what twenty starts of an interpreter take here now (0.4 s on an idle machine)."""
    start = time.monotonic()
    for _ in range(4):
        subprocess.run(["/usr/bin/env", "-S", "python3", "-SE", "-c", "import subprocess"], check=True)
    return seconds + 5 * (time.monotonic() - start)


class Daemons(ABC):
    """A controller and an execution daemon; `env` is what clients need."""

    name: str
    program: str  # of utils/
    packages: list[str]
    needs: list[str]  # programs

    def __init__(self) -> None:
        """Nothing runs yet.  The folder is none of pytest's, which removes its own before the daemons end."""
        self.folder = folder = Path(tempfile.mkdtemp(prefix=f"ser-{self.name}-"))
        self.host = socket.gethostname()
        self.env = {"PATH": f"{Path(sys.executable).parent}:{SYSTEM}", "LC_ALL": "C", "HOME": str(folder)}
        self.master: subprocess.Popen[bytes] | None = None
        self.executor: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> list[str]:
        """The programs that are not installed."""
        return [name for name in cls.needs if not shutil.which(name, path=f"{SYSTEM}:/usr/lib/gridengine")]

    @classmethod
    def install(cls) -> None:
        """Install the packages; root's part of CI."""
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300)
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*INSTALL, *cls.packages], check=True, env=quiet, timeout=300)

    @abstractmethod
    def start(self) -> None:
        """Configure and start both daemons; returns when jobs can be submitted."""

    @abstractmethod
    def start_master(self) -> None:
        """Start the controller (again)."""

    @abstractmethod
    def start_executor(self) -> None:
        """Start the execution daemon (again); returns when jobs can run."""

    @abstractmethod
    def end_jobs(self) -> None:
        """Cancel all jobs and wait until they are gone."""

    @abstractmethod
    def forget_jobs(self) -> None:
        """Cancel all jobs without waiting for them."""

    @abstractmethod
    def jobs(self) -> str:
        """What waits and runs, as the scheduler tells it; empty if nothing does."""

    def stop(self) -> None:
        """End the daemons and whatever of their jobs is left, and remove the folder."""
        try:
            if self.master and self.master.poll() is None:
                self.forget_jobs()
        finally:
            for daemon in (self.executor, self.master):
                if daemon and daemon.poll() is None:
                    daemon.kill()
                    daemon.wait()
            self.kill_rest()
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill_rest(self) -> None:
        """Kill the processes of jobs, which outlive their daemons."""
        mark = self.mark()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended

    @abstractmethod
    def mark(self) -> bytes:
        """A variable of the environment that all our processes have and no others."""

    def ask(self, *words: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a client."""
        return subprocess.run(
            words, env=self.env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=timeout
        )

    def do(self, *words: str) -> str:
        """Run a client that must not fail; what it says."""
        done = self.ask(*words)
        if done.returncode:
            raise ClusterError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def daemon(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a daemon that stays in the foreground."""
        with open(self.folder / "daemons.log", "ab") as log:
            return subprocess.Popen(
                words, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def command(self, *args: object) -> list[str]:
        """queue.pl or slurm.pl."""
        return [str(REPO / "utils" / self.program), *map(str, args)]
