"""Several trainings one after the other, each in a process forked from one that has torch in memory.

To start Python and torch and to leave them takes three seconds, a fifth of a small training.  A training that
fails or is killed takes no other with it: each is a process, and has a log as the runners write it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ser.cli import log
from ser.data.shards import check_job
from ser.errors import SerError, all_of
from ser.learn import tasks
from ser.learn.status import read_log
from ser.learn.tasks import Task

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def share(count: int, job: int, num_jobs: int) -> list[int]:
    """The tasks of one of several jobs, dealt to and fro.

    Args:
        count: tasks in all.
        job: which job, from 1.
        num_jobs: jobs in all.

    >>> share(7, 1, 2), share(7, 2, 2)
    ([1, 4, 5], [2, 3, 6, 7])
    """
    rounds = range(0, count, num_jobs)
    numbers = [begin + (job if turn % 2 == 0 else num_jobs - job + 1) for turn, begin in enumerate(rounds)]
    return [number for number in numbers if number <= count]


def train_share(path: Path, job: int, num_jobs: int, train: Callable[[Task], None]) -> None:
    """Train a job's share of a task list, each task in a process of its own, with a log of its own.

    Args:
        path: the task list; logs are beside it, in ``log/``.
        job: which job, from 1 to ``num_jobs``.
        num_jobs: jobs that share the list.
        train: trains one; it runs in the new process.

    Raises:
        UsageError: there is no such job.
        DataError: in the first process, tasks that failed; in the others whatever ``train`` raises.
    """
    check_job(job, num_jobs)
    numbers = share(tasks.count_tasks(path), job, num_jobs)
    logs = {number: path.parent / "log" / f"{path.stem}.{number}.log" for number in numbers}
    for place in logs.values():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # an older one would pass for this run's
    _load(path, numbers)
    problems = []
    for turn, (number, place) in enumerate(logs.items(), 1):
        log.info("task %d, %d of %d: log is in %s", number, turn, len(numbers), place)
        sys.stdout.flush()
        begun, child = time.monotonic(), os.fork()
        if child == 0:
            _begin(path, number, place)
            train(tasks.read_task(path, number))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)  # to take Python and torch down takes another second
        code = _wait(child)
        with place.open("a", encoding="utf-8") as stream:
            elapsed = round(time.monotonic() - begun)
            stream.write(f"# Ended (code {code}) at {_date()}, elapsed time {elapsed} seconds\n")
        if code:
            _, last = read_log(place)
            said = f": {last[-1]}" if last else ""
            problems.append(f"{place}: task {number} ended with code {code}{said}")
            log.error("%s", problems[-1])
    if problems:
        raise all_of(problems)


def _load(path: Path, numbers: Sequence[int]) -> None:
    """Import what networks need, if one of the tasks is a network that is still to be trained."""
    for number in numbers:
        try:
            task = tasks.read_task(path, number)
            needed = "training" in task.tree and not tasks.finished(task)
        except SerError:
            continue  # the task itself will say it
        if needed:
            importlib.import_module("ser.learn.training").load()
            return


def _begin(path: Path, number: int, place: Path) -> None:
    """Write into the task's log from here on, and end when the first process is killed."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    stream = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    for standard in (1, 2):
        os.dup2(stream, standard)
    os.close(stream)
    print(f"# ser train --tasks {path} --task {number}\n# Started at {_date()}\n#", flush=True)


def _wait(child: int) -> int:
    """The exit code of a process, 128 + n after signal n; whatever ends this one ends it, too."""
    try:
        status = os.waitpid(child, 0)[1]
    except BaseException:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _date() -> str:
    return time.strftime("%a %b %e %H:%M:%S %Z %Y")
