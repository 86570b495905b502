"""Kills in all stages, by several signals, of several victims: what is left goes on to the same numbers.

More kills, other moments:  python3 -m pytest tests/chaos --kills 100 --chaos-seed 2
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.recipe import ENVIRONMENT, RESULTS, command, contents

pytestmark = pytest.mark.slow

SIGNALS = ("TERM", "INT", "HUP", "KILL", "STOP")  # what is stopped is then killed
VICTIMS = ("run.sh", "runner", "verb", "step", "all")
STAGES = 10
LONGEST_S = 1.5  # from the beginning of a stage to the kill


class Process(NamedTuple):
    """A process of a run."""

    pid: int
    parent: int
    group: int
    words: str


def started_by(pid: int) -> list[Process]:
    """A process and all that it has started, and these have started."""
    listing = subprocess.run(
        ["ps", "-eo", "pid,ppid,pgid,stat,args"], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 4) for line in listing.stdout.splitlines()[1:]]
    known = [Process(*map(int, row[:3]), row[4]) for row in rows if not row[3].startswith("Z")]
    found = [process for process in known if process.pid == pid]
    for process in found:
        found += [child for child in known if child.parent == process.pid]
    return found


def victims(kind: str, run: int) -> list[int]:
    """Whom to signal: process ids, of a group negative; run.sh if there is no other at the moment."""
    processes = started_by(run)
    patterns = {"runner": r"python3 -SE \S*run\.pl ", "verb": r"^\S*python3 -m ser ", "run.sh": "$^"}
    if kind == "all":
        return [process.pid for process in processes] or [run]
    if kind == "step":
        groups = {process.group for process in processes if process.parent == run}
        own = {process.group for process in processes if process.pid == run}
        return [-group for group in groups - own] or [run]
    found = [process.pid for process in processes if re.search(patterns[kind], process.words)]
    return found[:1] or [run]


def kill(pids: list[int], name: str) -> None:
    """Send a signal; who is stopped is killed a moment later."""
    for each in (name, "KILL") if name == "STOP" else (name,):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.Signals[f"SIG{each}"])
        time.sleep(0.2 if each == "STOP" else 0)


class Run:
    """The recipe from one stage to another, watched through its messages."""

    def __init__(self, line: list[str], messages: Path, first: int, last: int) -> None:
        """Start it."""
        self.path, self.line = messages, [*line, "--stage", str(first), "--stop-stage", str(last)]
        with open(messages, "w") as stream:
            self.process = subprocess.Popen(
                self.line, stdout=stream, stderr=stream, env=ENVIRONMENT, start_new_session=True
            )

    def reach(self, stage: int) -> None:
        """Wait until a stage has begun, or the run has ended."""
        while self.process.poll() is None and f"run.sh: stage {stage}: " not in self.path.read_text():
            time.sleep(0.02)

    def last_words(self) -> str:
        """The last line that it wrote."""
        return (self.path.read_text().splitlines() or [""])[-1]

    def end(self) -> int:
        """Wait for the end; the exit code. It must have been let in, and have no traceback."""
        code = self.process.wait(timeout=90)
        text = self.path.read_text()
        assert "Traceback" not in text, text
        assert not re.search(r"error: .*(another run is at work|in use by|no such file)", text), text
        return code


def plan(number: int, seed: int) -> Iterator[tuple[int, str, str, float]]:
    """Stage, signal, victim and moment of each kill: all pairs in turn, over all stages."""
    chance = random.Random(seed)
    pairs = list(itertools.product(SIGNALS, VICTIMS))
    chosen: list[tuple[str, str]] = []
    while len(chosen) < number:
        chance.shuffle(pairs)
        chosen += pairs
    for i in range(number):
        yield i * STAGES // number, *chosen[i], chance.uniform(0, LONGEST_S)


@pytest.mark.timeout(0)
def test_a_run_that_is_killed_goes_on(
    repo: Path, small_release: Path, finished: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Each rerun is accepted at once, and at the end all is as if nothing had happened."""
    line = command(repo, tmp_path, small_release)
    first = 0
    for stage, name, victim, moment_s in plan(pytestconfig.option.kills, pytestconfig.option.chaos_seed):
        run = Run(line, tmp_path / "messages", first, stage)
        run.reach(stage)
        time.sleep(moment_s)
        kill(victims(victim, run.process.pid), name)
        code = run.end()
        print(f"stage {stage}: {name} to {victim} after {moment_s:.1f} s: exit {code}; {run.last_words()}")
        if victim == "run.sh" and code not in (0, -signal.SIGKILL):  # it may have been faster
            assert code == 128 + signal.Signals[f"SIG{name}"]
            assert f"stopped by SIG{name}; the same command goes on from here" in run.path.read_text()
        first = 3 if stage == 4 else stage  # both are one array
    run = Run(line, tmp_path / "messages", 0, STAGES - 1)
    assert run.end() == 0, run.path.read_text()
    names = set(RESULTS) - {"fusion.txt"}  # which names the folders
    for part in ("data", "exp"):
        assert contents(tmp_path / part, *names) == contents(finished / part, *names)
