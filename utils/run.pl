#!/usr/bin/env -S python3 -SE
"""Run a command, or an array of them, on this machine, with Kaldi's command line.

Usage: run.pl [options] [JOB=1:n] [options] <log-file> <command> [<argument> ...]

JOB (any name) stands for the task's number in the log's path and in the command, wherever no letter or
digit touches it: log/x.JOB.log, a_JOB, but not NJOB.  What the command prints goes to the log alone.

Arguments reach the command as they are: blanks, quotes, $ and * mean nothing.  Only those that are
exactly one of these are the shell's:  |  >  >>  <  2>&1  &&  ||  ;
To hand one of them to a program, write it inside another argument: bash -c 'expr 2 "|" 3'.
Any command that fails in a pipe fails the task.

Options:
  --max-jobs-run N, -tc N   at most N tasks at once; given twice, the smaller one counts
                            (default: as many as the processors, --mem and --gpu allow)
  --num-threads N           threads of one task (default 1)
  --mem X                   memory of one task: 500M, 4G
  --gpu N                   GPUs of one task, given to it in CUDA_VISIBLE_DEVICES (default 0: left as it is);
                            with a --max-jobs-run that is too many for them, tasks share GPUs
  --pick all|failed|incomplete
                            what of an array to run: all; what failed or did not end; what did not end
  --retries N               run failed tasks again, up to N times (default: the variable SER_RETRIES, else 0);
                            the log before is kept as <log-file>.bak
  --dry-run                 print the commands, run nothing
  --time X, --config F, --patience S
                            for a cluster; taken, not used
Options of one dash take an argument and mean something on a cluster only, as -V and -pe <name> <n> do.

Exit: 0 every task done; 1 some failed; 255 wrong usage; 129, 130, 143 stopped by a signal, with every task.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import jobs
from jobs import Request, date, newest_line, say, stop

GRACE_S = 5.0  # what a stopped task has between SIGTERM and SIGKILL
KNOWN = "max_jobs_run num_threads mem gpu pick retries dry_run time config patience".split()


def memory_bytes(text: str) -> float:
    """``"500M"``, ``"4G"`` -> bytes; a bare number is bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)B?", text.upper())
    if not match:
        stop(f"option --mem is a size such as 500M or 4G, not '{text}'")
    return float(match[1]) * 1024.0 ** " KMGT".index(match[2] or " ")


def free_memory() -> float:
    """Bytes that can be had now: what the kernel calls available, within the limit of the control group."""
    limits = []
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        limits += [int(found[1]) * 1024] if found else []
    except OSError:
        pass  # not Linux
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):
            continue  # no such group, or "max"
    return min(limits, default=float("inf"))


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return [name for name in names if name not in ("", "-1", "NoDevFiles")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    return [str(i) for i in range(len(re.findall(r"^GPU \d+:", listing, re.MULTILINE)))]


def plan(request: Request) -> tuple[int, list[str]]:
    """How many tasks run at once, and each slot's CUDA_VISIBLE_DEVICES ('': left as it is)."""
    threads = request.number("num_threads", 1, least=1)
    wanted = request.number("gpu", 0, least=0)
    memory = memory_bytes(request.options.get("mem", "0"))
    slots = max(1, processors() // threads)
    if memory:
        slots = max(1, min(slots, int(min(free_memory() // memory, 1e6))))
    gpus = visible_gpus() if wanted else []
    if wanted > len(gpus):
        have = f"{len(gpus)} are visible" if gpus else "none is visible (see nvidia-smi -L)"
        stop(f"--gpu {wanted}, but {have}; run the script with --use-gpu no, or where there are GPUs", 1)
    if wanted:
        slots = min(slots, len(gpus) // wanted)
    slots = min(request.number("max_jobs_run", slots, least=1), len(request.tasks))
    # Told to run more tasks than there are GPUs, they share them in turn.
    return slots, [
        ",".join(gpus[(slot * wanted + k) % len(gpus)] for k in range(wanted)) for slot in range(slots)
    ]


class Task:
    """A running command: its log is begun when it starts and ended by `finish`."""

    def __init__(self, request: Request, number: int, slot: int, gpus: str, guard: int) -> None:
        """Start it, in a session of its own so that all it starts can be ended with it.

        ``guard`` is told before the command begins: however this program ends, its tasks end with it.
        """
        self.number, self.slot, self.guard = number, slot, guard
        self.log = request.log_of(number)
        self.threads = request.options.get("num_threads", "1")
        command = request.shell(number)
        self.stream = jobs.open_log(self.log)
        self.stream.write("# " + command.replace("\n", "\n# ") + f"\n# Started at {date()}\n#\n")
        self.stream.flush()
        self.started = time.monotonic()
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": gpus} if gpus else None
        self.process = subprocess.Popen(
            request.bash(number),
            stdin=subprocess.DEVNULL,
            stdout=self.stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.write(guard, b"+%d\n" % os.getpid()),
            env=env,
        )

    def finish(self) -> int:
        """Write the footer of an ended task; its exit code, 128 + n after signal n."""
        status = self.process.returncode
        code, by_signal = (status, "") if status >= 0 else (128 - status, f"; signal {-status}")
        elapsed = round(time.monotonic() - self.started)
        self.stream.write(
            f"# Accounting: time={elapsed} threads={self.threads}\n"
            f"# Ended (code {code}{by_signal}) at {date()}, elapsed time {elapsed} seconds\n"
        )
        self.stream.close()
        os.write(self.guard, b"-%d\n" % self.process.pid)
        return code

    def kill(self, signum: int) -> bool:
        """Send a signal to all the task started; False: nothing of it is left."""
        try:
            os.killpg(self.process.pid, signum)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class Local(jobs.Runner):
    """Runs the tasks on this machine, some at a time."""

    def __init__(self, request: Request) -> None:
        """See what the machine has."""
        super().__init__(request)
        for option in request.options.keys() - set(KNOWN):
            dashes = option.replace("_", "-")
            say(f"warning: option --{dashes} is not known here and has no effect")
        slots, self.gpus = plan(request)
        self.free = list(range(slots))
        self.todo: list[int] = []
        self.running: list[Task] = []
        self.guard = -1

    def dry_run(self, todo: list[int]) -> str:
        """The command of each task."""
        return "\n".join(shlex.join(self.request.bash(task)) for task in todo)

    def run(self, todo: list[int]) -> None:
        """Run all, or until a signal comes.  Whatever happens, no task outlives it."""
        self.todo = todo
        if self.guard < 0:
            self.guard = jobs.start_guard()
        try:
            self.run_all()
        finally:
            self.end_all()
        self.progress(last=True)

    def stopped(self) -> int:
        """Say what was not even started; 128 + the signal."""
        signum = self.caught[0]
        say(f"stopped by {signal.Signals(signum).name} with {len(self.todo)} tasks not started")
        return 128 + signum

    def run_all(self) -> None:
        """Start tasks as slots come free, until all have ended or a signal asks for an end."""
        while (self.todo or self.running) and not self.caught:
            while self.todo and self.free:
                number = self.todo.pop(0)
                slot = self.free.pop(0)
                self.running.append(Task(self.request, number, slot, self.gpus[slot], self.guard))
            self.progress()
            self.wait(self.refresh_s if sys.stderr.isatty() else self.progress_s)
            self.reap()

    def reap(self) -> None:
        """Close the logs of the tasks that have ended and free their slots."""
        for task in [task for task in self.running if task.process.poll() is not None]:
            self.codes[task.number] = task.finish()
            self.running.remove(task)
            self.free.append(task.slot)

    def end_all(self) -> None:
        """End the running tasks with all they started: SIGTERM, SIGKILL after a while or a second signal."""
        tasks, signals = list(self.running), len(self.caught)
        deadline = time.monotonic() + GRACE_S
        for task in tasks:
            task.kill(signal.SIGTERM)
        while time.monotonic() < deadline and len(self.caught) == signals:
            self.reap()
            if not any(task.kill(0) for task in tasks):
                return
            self.wait(0.05)  # grandchildren do not tell us when they end
        for task in tasks:
            task.kill(signal.SIGKILL)
        for task in self.running:
            task.process.wait()
        self.reap()

    def doing(self) -> str:
        """What a task wrote last."""
        return newest_line(self.running[0].log) if self.running else ""


if __name__ == "__main__":
    sys.exit(jobs.main(sys.argv[1:], Local))
