"""What the job runners share: Kaldi's command line, logs, and the report of what failed.

Python's standard library only: the runners start without site-packages, which costs next to nothing.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

PROG = Path(sys.argv[0]).name
SHELL_WORDS = frozenset(["|", ">", ">>", "<", "2>&1", "&&", "||", ";"])
PICKS = ("all", "failed", "incomplete")
RETRIES = "SER_RETRIES"  # the variable that says what --retries is where it is not given
MEANINGS = {
    2: "wrong usage",
    126: "cannot be executed",
    127: "command not found",
    130: "interrupted",
    134: "aborted",
    135: "bus error",
    137: "killed, most likely out of memory",
    139: "segmentation fault",
    141: "broken pipe",
    143: "terminated",
}


def say(message: str) -> None:
    """One line on stderr."""
    tell(f"{PROG}: {message}\n")


def tell(text: str) -> None:
    """Print on stderr; a closed stderr must not kill the tasks."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def stop(message: str, code: int = 255) -> NoReturn:
    """Say what is wrong and exit; 255 is what Kaldi's runners say to wrong usage."""
    say(message)
    sys.exit(code)


# ---------------------------------------------------------------------------------------------------
# The command line


class Request(NamedTuple):
    """What the command line asks for."""

    options: dict[str, str]  # those of two dashes, without these, "_" for "-"; and -tc as max_jobs_run
    flags: list[str]  # those of one dash with what belongs to them, as they were given
    name: str | None  # the word that stands for the task's number; None: one task without a number
    tasks: range  # the numbers
    log: str
    command: list[str]

    def fill(self, text: str, task: object) -> str:
        """``text`` with the task's number in place of the name."""
        if self.name is None:
            return text
        return re.sub(rf"(?<![A-Za-z0-9]){self.name}(?![A-Za-z0-9])", str(task), text)

    def log_of(self, task: int) -> Path:
        """The log of a task."""
        return Path(self.fill(self.log, task))

    def shell(self, task: int) -> str:
        """The command of a task, as a shell reads it."""
        words = (self.fill(word, task) for word in self.command)
        return " ".join(word if word in SHELL_WORDS else shlex.quote(word) for word in words)

    def bash(self, task: int) -> list[str]:
        """The program that runs the command of a task."""
        return ["bash", "-o", "pipefail", "-c", "--", self.shell(task)]

    def number(self, option: str, default: int, least: int) -> int:
        """The value of an option that counts something."""
        text = self.options.get(option, str(default))
        if not re.fullmatch(r"\d+", text) or int(text) < least:
            stop(f"option --{option.replace('_', '-')} is a whole number of {least} or more, not '{text}'")
        return int(text)


def parse(argv: list[str]) -> Request:
    """Read the command line; wrong usage ends the program."""
    words = list(argv)
    options: dict[str, str] = {}
    flags: list[str] = []
    name, tasks = None, range(1, 2)
    while words:
        match = re.fullmatch(r"([A-Za-z_]\w*)=(-?\d+)(?::(-?\d+))?", words[0])
        if words[0].startswith("-"):
            take_option(words, options, flags)
        elif match and name is None:
            name, tasks = match[1], job_range(words.pop(0), int(match[2]), int(match[3] or match[2]))
        else:
            break
    if len(words) < 2:
        usage = f"usage: {PROG} [options] [JOB=1:n] log-file command-line arguments... (try --help)"
        stop(usage, 255 if PROG == "run.pl" else 1)
    if re.match(r"[A-Za-z_]\w*=.*:", words[0]):
        say(f"warning: '{words[0]}' is taken for the log file; a job range looks like JOB=1:10")
    if words[1].startswith("-"):
        say(f"warning: '{words[1]}' is taken for the command; options go before the log file")
    request = Request(options, flags, name, tasks, words[0], words[1:])
    if len(tasks) > 1 and request.log_of(tasks[0]) == request.log_of(tasks[1]):
        stop(
            f"you are trying to run a parallel job but you are putting the output into just one log file "
            f"({request.log}); put {name} into its name",
            1,
        )
    return request


def take_option(words: list[str], options: dict[str, str], flags: list[str]) -> None:
    """Move the option at the head of ``words`` to ``options``, or to ``flags`` if it has one dash."""
    flag = words.pop(0)
    if flag == "--help" or (flag == "-h" and not words):  # qsub has a -h of its own, with a value
        print((sys.modules["__main__"].__doc__ or "").strip())
        sys.exit(0)
    equals, value = "", ""
    if flag.startswith("--"):
        flag, equals, value = flag.partition("=")
    count = 0 if flag in ("-V", "--dry-run") else 2 if flag == "-pe" else 1
    given = [value]
    if not equals:
        if len(words) < count or (count and words[0].startswith("--")):
            stop(f"option {flag} needs a value (try --help)")
        given = words[:count]
        del words[:count]
    if not flag.startswith("--") and flag != "-tc":
        flags += [flag, *given]
        return
    key, value = "max_jobs_run" if flag == "-tc" else flag[2:].replace("-", "_"), " ".join(given)
    if key == "max_jobs_run" and key in options and re.fullmatch(r"\d+ \d+", f"{options[key]} {value}"):
        value = min(options[key], value, key=int)
    if key == "pick" and value not in PICKS:
        stop(f"option --pick is one of {', '.join(PICKS)}, not '{value}'")
    options[key] = value


def job_range(word: str, first: int, last: int) -> range:
    """The numbers of ``JOB=first:last``."""
    if first < 1 or last < first:
        stop(
            f"invalid job range {word}, start must be strictly positive and not above the end "
            f"(it was {first}:{last})"
        )
    return range(first, last + 1)


# ---------------------------------------------------------------------------------------------------
# Logs


def date() -> str:
    """Now, as ``date`` prints it in the C locale."""
    return time.strftime("%a %b %e %H:%M:%S %Z %Y")


def new_file(path: Path) -> TextIO:
    """A new text file in place of an older one; what a link of that name leads to stays as it is."""
    clear(path)
    return open(path, "x", encoding="utf-8", errors="surrogateescape")


def clear(path: Path) -> None:
    """Remove a file or link, but no device."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)


def open_log(log: Path) -> TextIO:
    """A task's log, to write at its end; no link is followed."""
    return open(
        log,
        "a",
        encoding="utf-8",
        errors="surrogateescape",
        opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o666),
    )


def exit_code(log: Path) -> int | None:
    """The code in the last footer of a log, this runner's or a cluster's; None: no log, or not ended."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, os.path.getsize(log) - 65536))
            text = stream.read()
    except OSError:
        return None
    codes = re.findall(rb"^# (?:Ended \(code |Finished at .* with status )(\d+)", text, re.MULTILINE)
    return int(codes[-1]) if codes else None


def newest_line(log: Path) -> str:
    """The last whole line that a running task has written, without its date; empty if there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, os.path.getsize(log) - 4096))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    line = lines[-1].rpartition("\r")[2] if lines else ""
    return "" if line.startswith("#") else re.sub(r"^[\d-]+T[\d:]+ ", "", line)


def last_lines(log: Path, count: int = 10) -> list[str]:
    """The end of what the task itself wrote, without the header and the footer."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").partition("\n#\n")[2]
    except OSError:
        return []
    lines = text[-65536:].splitlines()
    return [line for line in lines if not re.match(r"# (Accounting: |Ended \(|Finished at )", line)][-count:]


# ---------------------------------------------------------------------------------------------------
# The report


def spans(numbers: list[int]) -> str:
    """``[1, 2, 3, 7]`` -> ``"1-3 7"``."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return " ".join("-".join(map(str, span)) for span in found)


def meaning(code: int) -> str:
    """``137`` -> ``"code 137: killed, most likely out of memory"``."""
    text = MEANINGS.get(code) or (f"signal {code - 128}" if code > 128 else "")
    return f"code {code}" + (f": {text}" if text else "")


def report(runner: Runner, argv: list[str]) -> None:
    """Say which tasks failed, how, what the first of them wrote last, and how to run just those again."""
    request, codes = runner.request, runner.codes
    failed = [task for task in request.tasks if codes[task]]
    how = {task: runner.reasons.get(task) or meaning(codes[task]) for task in failed}
    if request.name is None:
        status = f" with status {codes[failed[0]]}" if runner.tells_status else ""
        say(f"job failed{status}, log is in {request.log} ({how[failed[0]]})")
        if re.search(r"(?<![A-Za-z0-9])JOB(?![A-Za-z0-9])", request.log):
            say("probably you forgot to put JOB=1:$nj in your script.")
    else:
        say(f"{len(failed)} / {len(request.tasks)} failed, log is in {request.fill(request.log, '*')}")
        for text in sorted(set(how.values()), key=lambda text: (codes[first(how, text)], first(how, text))):
            say(f"{request.name} {spans([task for task in failed if how[task] == text])}: {text}")
    log = request.log_of(failed[0])
    lines = last_lines(log)
    say(f"the last lines of {log}:" if lines else f"{log}: the task wrote nothing")
    for line in lines or runner.other_words():
        tell(f"    {line}\n")
    if request.name is not None:
        say(f"to run only these again: {shlex.join([PROG, '--pick', 'failed', *argv])}")


def first(how: dict[int, str], text: str) -> int:
    """The first task that failed in this way."""
    return next(task for task in how if how[task] == text)


# ---------------------------------------------------------------------------------------------------
# Running


def start_guard() -> int:
    """Start utils/guard.py, which holds the locks that this program was given; where to write to it."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    program = str(Path(__file__).resolve().with_name("guard.py"))
    subprocess.Popen([sys.executable, "-SE", program, str(reader)], close_fds=False, start_new_session=True)
    os.close(reader)
    return writer


class Runner(ABC):
    """Runs the tasks of a command line; the backends say on what.  Signals ask it to end."""

    tells_status = False  # whether "job failed" names the exit code, as Kaldi's grid runners do
    progress_s = 30.0  # between two progress lines in a log
    refresh_s = 1.0  # between two on a terminal

    def __init__(self, request: Request) -> None:
        """Nothing runs yet; a backend checks the options here."""
        self.request = request
        self.codes: dict[int, int] = {}  # of the tasks that have ended
        self.reasons: dict[int, str] = {}  # how they failed, where the code does not say it
        self.caught: list[int] = []  # signals that ask for an end
        self.shown = time.monotonic()

    @abstractmethod
    def run(self, todo: list[int]) -> None:
        """Run these tasks and fill ``codes``, or end them all when a signal comes."""

    @abstractmethod
    def stopped(self) -> int:
        """Say what a signal left undone; the exit code."""

    @abstractmethod
    def dry_run(self, todo: list[int]) -> str:
        """What would be started."""

    @abstractmethod
    def doing(self) -> str:
        """What goes on, for the progress line."""

    def other_words(self) -> list[str]:
        """What else is known about a task that wrote nothing."""
        return []

    def listen(self) -> None:
        """Make signals end `wait`, so that one select() waits for tasks, signals and the clock."""
        self.wakeup, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(self.wakeup, False)
        signal.set_wakeup_fd(writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # nohup
                signal.signal(signum, lambda number, _frame: self.caught.append(number))

    def wait(self, timeout_s: float) -> None:
        """Until a task ends, a signal comes, or the time is over."""
        select.select([self.wakeup], [], [], timeout_s)
        try:
            os.read(self.wakeup, 4096)
        except BlockingIOError:
            return  # the time was over

    def progress(self, last: bool = False) -> None:
        """Tell how far it is: in place on a terminal, else now and then."""
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if not terminal and (last or now - self.shown < self.progress_s):
            return
        failed = sum(code != 0 for code in self.codes.values())
        line = f"{PROG}: {len(self.codes)}/{len(self.request.tasks)} done, {failed} failed"
        if doing := self.doing():
            line += f"; {doing}"
        width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1 if terminal else 160
        line = "".join(char for char in line if char.isprintable())[:width]
        self.shown = now
        tell(("\r\033[K" + ("" if last else line)) if terminal else f"{line}\n")


def main(argv: list[str], backend: Callable[[Request], Runner]) -> int:
    """Run what the command line asks for; the exit code."""
    request = parse(argv)
    request.options.setdefault("retries", os.environ.get(RETRIES) or "0")
    retries = request.number("retries", 0, least=0)
    runner = backend(request)
    pick = request.options.get("pick", "all")
    ended = {} if pick == "all" else {task: exit_code(request.log_of(task)) for task in request.tasks}
    runner.codes = {
        task: code for task, code in ended.items() if code is not None and (code == 0 or pick != "failed")
    }
    todo = [task for task in request.tasks if task not in runner.codes]
    if "dry_run" in request.options:
        print(runner.dry_run(todo))
        return 0
    runner.listen()
    try:
        for attempt in range(retries + 1):
            make_room(request, todo, keep=attempt > 0)
            runner.run(list(todo))
            if runner.caught:
                return runner.stopped()
            todo = [task for task in todo if runner.codes[task]]
            if not todo or attempt == retries:
                break
            say(f"{len(todo)} failed; trying again ({attempt + 1} of {retries})")
            for task in todo:
                del runner.codes[task]
                runner.reasons.pop(task, None)
    except OSError as error:
        stop(f"cannot run: {error}", 1)
    if any(runner.codes.values()):
        report(runner, argv)
        return 1
    return 0


def make_room(request: Request, todo: list[int], keep: bool) -> None:
    """See that the logs can be written; an older one would pass for this run's: away with it, or to .bak."""
    for log in map(request.log_of, todo):
        log.parent.mkdir(parents=True, exist_ok=True)
        if keep and log.is_file():
            log.replace(log.with_name(f"{log.name}.bak"))
        clear(log)
