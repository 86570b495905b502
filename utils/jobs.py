"""What the job runners share: Kaldi's command line, logs, and the report of what failed.

Python's standard library only: the runners start without site-packages, which costs next to nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

PROG = Path(sys.argv[0]).name
SHELL_WORDS = frozenset(["|", ">", ">>", "<", "2>&1", "&&", "||", ";"])
KNOWN = ("max_jobs_run", "num_threads", "mem", "gpu", "pick", "time", "config")
PICKS = ("all", "failed", "incomplete")
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
    """Print on stderr; that nobody reads it any more must not end the tasks."""
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

    options: dict[str, str]  # of KNOWN, without the dashes, "_" for "-"
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
    name, tasks = None, range(1, 2)
    while words:
        match = re.fullmatch(r"([A-Za-z_]\w*)=(-?\d+)(?::(-?\d+))?", words[0])
        if words[0].startswith("-"):
            take_option(words, options)
        elif match and name is None:
            name, tasks = match[1], job_range(words.pop(0), int(match[2]), int(match[3] or match[2]))
        else:
            break
    if len(words) < 2:
        stop(f"usage: {PROG} [options] [JOB=1:n] log-file command-line arguments... (try --help)")
    if re.match(r"[A-Za-z_]\w*=.*:", words[0]):
        say(f"warning: '{words[0]}' is taken for the log file; a job range looks like JOB=1:10")
    request = Request(options, name, tasks, words[0], words[1:])
    if len(tasks) > 1 and request.log_of(tasks[0]) == request.log_of(tasks[1]):
        stop(
            f"you are trying to run a parallel job but you are putting the output into just one log file "
            f"({request.log}); put {name} into its name",
            1,
        )
    return request


def take_option(words: list[str], options: dict[str, str]) -> None:
    """Move the option at the head of ``words`` to ``options``; those of one dash are dropped, as in Kaldi."""
    flag = words.pop(0)
    if flag in ("--help", "-h"):
        print((sys.modules["__main__"].__doc__ or "").strip())
        sys.exit(0)
    equals, value = "", ""
    if flag.startswith("--"):
        flag, equals, value = flag.partition("=")
    count = 0 if flag == "-V" else 2 if flag == "-pe" else 1
    if not equals:
        if len(words) < count or (count and words[0].startswith("--")):
            stop(f"option {flag} needs a value (try --help)")
        value = " ".join(words[:count])
        del words[:count]
    key = "max_jobs_run" if flag == "-tc" else flag[2:].replace("-", "_")
    if key not in KNOWN:
        if flag.startswith("--"):
            say(f"warning: option {flag} is not known here and has no effect")
        return
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
    text = log.read_text(encoding="utf-8", errors="replace").partition("\n#\n")[2]
    lines = text[-65536:].splitlines()
    return [line for line in lines if not re.match(r"# (Accounting: |Ended \()", line)][-count:]


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


def report(request: Request, codes: dict[int, int], argv: list[str]) -> None:
    """Say which tasks failed, how, what the first of them wrote last, and how to run just those again."""
    failed = [task for task in request.tasks if codes[task]]
    if request.name is None:
        say(f"job failed, log is in {request.log} ({meaning(codes[failed[0]])})")
        if re.search(r"(?<![A-Za-z0-9])JOB(?![A-Za-z0-9])", request.log):
            say("probably you forgot to put JOB=1:$nj in your script.")
    else:
        say(f"{len(failed)} / {len(request.tasks)} failed, log is in {request.fill(request.log, '*')}")
        for code in sorted({codes[task] for task in failed}):
            say(f"{request.name} {spans([task for task in failed if codes[task] == code])}: {meaning(code)}")
    log = request.log_of(failed[0])
    lines = last_lines(log)
    say(f"the last lines of {log}:" if lines else f"{log}: the task wrote nothing")
    for line in lines:
        tell(f"    {line}\n")
    if request.name is not None:
        say(f"to run only these again: {shlex.join([PROG, '--pick', 'failed', *argv])}")
