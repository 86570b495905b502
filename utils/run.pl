#!/usr/bin/env -S python3 -SE
"""Run a command, or an array of them, on this machine, with Kaldi's command line.

Usage: run.pl [options] [JOB=1:n] [options] <log-file> <command> [<argument> ...]

JOB (any name) stands for the task's number in the log's path and in the command, wherever no letter or
digit touches it: log/x.JOB.log, a_JOB, but not NJOB.  What the command prints goes to the log alone.

Arguments reach the command as they are: blanks, quotes, $ and * mean nothing.  Only those that are
exactly one of these are the shell's:  |  >  >>  <  2>&1  &&  ||  ;
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
  --time X, --config F      for a cluster; taken, not used
Options of one dash take an argument and mean something on a cluster only, as -V and -pe <name> <n> do.

Exit: 0 every task done; 1 some failed; 255 wrong usage; 129, 130, 143 stopped by a signal, with every task.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from jobs import PROG, Request, date, exit_code, newest_line, parse, report, say, stop, tell

GRACE_S = 5.0  # what a stopped task has between SIGTERM and SIGKILL
PROGRESS_S = 30.0  # between two progress lines in a log
REFRESH_S = 1.0  # between two on a terminal


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

    def __init__(self, request: Request, number: int, slot: int, gpus: str) -> None:
        """Start it, in a session of its own so that all it starts can be ended with it."""
        self.number, self.slot = number, slot
        self.log = request.log_of(number)
        self.threads = request.options.get("num_threads", "1")
        command = request.shell(number)
        self.stream = open(self.log, "a", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 -- finish closes it
        self.stream.write("# " + command.replace("\n", "\n# ") + f"\n# Started at {date()}\n#\n")
        self.stream.flush()
        self.started = time.monotonic()
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": gpus} if gpus else None
        self.process = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=self.stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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
        return code

    def kill(self, signum: int) -> bool:
        """Send a signal to all the task started; False: nothing of it is left."""
        try:
            os.killpg(self.process.pid, signum)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class Local:
    """Runs the tasks, some at a time, and waits for them or for a signal."""

    def __init__(self, request: Request, todo: list[int], codes: dict[int, int]) -> None:
        """``codes`` holds the exit codes of tasks that need not run."""
        self.request, self.todo, self.codes = request, todo, codes
        slots, self.gpus = plan(request)
        self.free = list(range(slots))
        self.running: list[Task] = []
        self.caught: list[int] = []  # signals that ask for an end
        self.shown = time.monotonic()
        # A signal makes `wakeup` readable, so that one select() waits for tasks, signals and the clock.
        self.wakeup, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(self.wakeup, False)
        signal.set_wakeup_fd(writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # nohup
                signal.signal(signum, lambda number, _frame: self.caught.append(number))

    def run(self) -> int:
        """Run all; 0, or the signal that stopped it.  Whatever happens, no task outlives it."""
        try:
            self.run_all()
        finally:
            self.end_all()
        self.progress(last=True)
        return self.caught[0] if self.caught else 0

    def run_all(self) -> None:
        """Start tasks as slots come free, until all have ended or a signal asks for an end."""
        while (self.todo or self.running) and not self.caught:
            while self.todo and self.free:
                number = self.todo.pop(0)
                slot = self.free.pop(0)
                self.running.append(Task(self.request, number, slot, self.gpus[slot]))
            self.progress()
            self.wait(REFRESH_S if sys.stderr.isatty() else PROGRESS_S)
            self.reap()

    def wait(self, timeout_s: float) -> None:
        """Until a task ends, a signal comes, or the time is over."""
        select.select([self.wakeup], [], [], timeout_s)
        try:
            os.read(self.wakeup, 4096)
        except BlockingIOError:
            return  # the time was over

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

    def progress(self, last: bool = False) -> None:
        """Tell how far it is and what a task wrote last: in place on a terminal, else now and then."""
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if not terminal and (last or now - self.shown < PROGRESS_S):
            return
        failed = sum(code != 0 for code in self.codes.values())
        line = f"{PROG}: {len(self.codes)}/{len(self.request.tasks)} done, {failed} failed"
        if self.running and (latest := newest_line(self.running[0].log)):
            line += f"; {latest}"
        width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1 if terminal else 160
        line = "".join(char for char in line if char.isprintable())[:width]
        self.shown = now
        tell(("\r\033[K" + ("" if last else line)) if terminal else f"{line}\n")


def main(argv: list[str]) -> int:
    """Run what the command line asks for; the exit code."""
    request = parse(argv)
    pick = request.options.get("pick", "all")
    ended = {} if pick == "all" else {task: exit_code(request.log_of(task)) for task in request.tasks}
    codes = {
        task: code for task, code in ended.items() if code is not None and (code == 0 or pick != "failed")
    }
    todo = [task for task in request.tasks if task not in codes]
    try:
        for task in todo:  # an older log of a task that never starts would pass for this run's
            request.log_of(task).parent.mkdir(parents=True, exist_ok=True)
            request.log_of(task).unlink(missing_ok=True)
        local = Local(request, todo, codes)
        not_run = local.run()
    except OSError as error:
        stop(f"cannot run: {error}", 1)
    if not_run:
        say(f"stopped by {signal.Signals(not_run).name} with {len(local.todo)} tasks not started")
        return 128 + not_run
    if any(codes.values()):
        report(request, codes, argv)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
