"""End what a run has started when the run itself is gone, even by SIGKILL.

  utils/guard.py <descriptor>

reads lines ``+<process group>`` (started) and ``-<process group>`` (ended) from a descriptor until the last
process that can write to it has ended, then ends the groups that are left: SIGTERM, SIGKILL after a while.
Lines ``!<word>`` are the words of a command to run then, one that cancels the job of a cluster; ``!`` alone
takes it back.  The guard is in a session of its own, out of reach of the run's signals.

Python's standard library only: run.sh and run.pl start it without site-packages.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 8.0  # between SIGTERM and SIGKILL: more than run.pl gives its tasks
LAST_S = 2.0  # after SIGKILL


def guard(descriptor: int) -> None:
    """Wait for the run to end, then end its groups."""
    groups: set[int] = set()
    cancellation: list[str] = []
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            sign, word = line[0], line[1:].rstrip("\n")
            if sign == "!":
                cancellation = [*cancellation, word] if word else []
            else:
                groups = groups | {int(word)} if sign == "+" else groups - {int(word)}
    if cancellation:
        with contextlib.suppress(OSError):
            subprocess.run(cancellation, check=False, timeout=60)
    for signum, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, LAST_S)):
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, signum)
        deadline = time.monotonic() + patience_s
        while (groups := alive(groups)) and time.monotonic() < deadline:
            time.sleep(0.02)


def alive(groups: set[int]) -> set[int]:
    """The groups that have a process other than zombies, which may stay where nobody takes them away."""
    living = set()
    for path in Path("/proc").glob("[0-9]*/stat") if groups else ():
        with contextlib.suppress(OSError):
            state, _, group = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(group) in groups and state not in "ZX":
                living.add(int(group))
    return living


if __name__ == "__main__":
    pipe = os.dup(int(sys.argv[1]))
    with contextlib.suppress(OSError):
        os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in {0, 1, 2, int(sys.argv[1])}:  # not the run's: who reads those would wait for this program
        os.dup2(null, stream)
    guard(pipe)
