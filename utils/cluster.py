"""Tasks on a cluster: what queue.pl (Grid Engine) and slurm.pl (Slurm) share.

A task's own word counts: it ends its log, then leaves a file ``<task>.<status>`` in a folder of this run.
Success is that file with status 0, whatever the scheduler says.  The folder is looked at ten times a second
at first, five times later; the scheduler is asked about all tasks together, once a second at first and
every three seconds later, whether a task without such a file can still bring one.

Python's standard library only, like jobs.py.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jobs
from jobs import PROG, Request, date, exit_code, newest_line, say, stop, tell

ENDED_S = 1.0  # the scheduler says that a task ended badly: its own word may still be on the way
PATIENCE_S = (
    10.0  # it says that a task ended, or knows it no more: a shared folder may be slow to show its word
)
AWAY_S = 10.0  # it says that the task's node, or every node, does not answer
BACK_S = 60.0  # it has just come back: what it says of nodes is old until they have reported to it
NEVER_S = 5.0  # it says that the task cannot run
NO_END = "but it left no end in its log; if the shared folder is slow to show it, see --patience"
DELETED_S = 4.0  # it does not know a task any more that waited when it was last seen
DELETED = "deleted before it ran"
UNKNOWN = "the scheduler does not know it any more"

SCRIPT = """\
#!/bin/bash
# {prog} made this and submitted it with
# {submit}
cd {cwd} || exit 1
{exports}
task={task}
log={log}
command={command}
ends={ends}
[[ ! -L $log ]] || exit 1
for end in "$ends/$task".*; do [[ ! -e $end ]] || rm -f "$end"; done # of a run before
{{
  echo "# Running on $HOSTNAME"
  LC_ALL=C printf '# Started at %(%a %b %e %H:%M:%S %Z %Y)T\n' -1
  for name in ${{!SLURM_@}}; do echo "# $name=${{!name}}"; done
  echo "# ${{command//$'\\n'/$'\\n'# }}"
  echo '#'
}} >>"$log" || exit 1
[[ ${{CUDA_VISIBLE_DEVICES-}} != NoDevFiles ]] || unset CUDA_VISIBLE_DEVICES
started=$SECONDS
(
  [[ ! -f path.sh ]] || . ./path.sh
  exec bash -o pipefail -c -- "$command"
) >>"$log" 2>&1 </dev/null
status=$?
{{
  echo "# Accounting: time=$((SECONDS - started)) threads={threads}"
  LC_ALL=C printf '# Finished at %(%a %b %e %H:%M:%S %Z %Y)T with status %d\n' -1 "$status"
}} >>"$log" || status=1
: >"$ends/$task.$status"
exit "$((status != 0))"
"""
# What of the submitting shell's environment a job gets, whatever the scheduler does to it.
EXPORTED = ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "SER_PYTHON")


# ---------------------------------------------------------------------------------------------------
# queue.conf and slurm.conf


class Config(NamedTuple):
    """What ``command``, ``option`` and ``default`` lines say."""

    path: Path
    command: list[str]
    options: dict[str, dict[str, list[str]]]  # name -> value or "*" -> words
    defaults: dict[str, str]

    def words(self, given: dict[str, str]) -> list[str]:
        """What the options given and the defaults add to the command, in the order of the file."""
        chosen = {**self.defaults, **given}
        words: list[str] = []
        for name in [name for name in self.options if name in chosen]:
            value, known = chosen[name], self.options[name]
            if value not in known and "*" not in known:
                self.refuse(name, value)
            words += known[value] if value in known else [word.replace("$0", value) for word in known["*"]]
        for name in chosen.keys() - self.options.keys():
            self.refuse(name, chosen[name])
        return words

    def refuse(self, name: str, value: str) -> None:
        """There is no line for an option."""
        known = [f"--{key.replace('_', '-')} {'|'.join(values)}" for key, values in self.options.items()]
        stop(
            f"Command line option {name} not described in {self.path} (or value '{value}' not allowed); "
            f"it knows {', '.join(known) or 'none'}; add a line 'option {name}=* <words with $0>'"
        )


def split(text: str) -> list[str]:
    """The words of a line as a shell sees them: quotes, and variables outside single quotes; no patterns."""
    expanded = re.sub(
        r"'[^']*'|\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})",
        lambda match: os.environ.get(match[1] or match[2], "") if match[1] or match[2] else match[0],
        text,
    )
    return shlex.split(expanded)


def read_config(path: Path, dollar_needed: bool) -> Config:
    """Read a file in Kaldi's language; whatever is wrong in it ends the program.

    ``dollar_needed``: ``option x=* text`` without ``$0`` is an error, as in Kaldi's queue.pl; else a warning.
    """
    config = Config(path, [], {}, {})
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        stop(f"Could not open config file {path} ({error.strerror})", 1)
    for number, line in enumerate(lines, 1):
        text = re.sub(r"\s*#.*", "", line).strip()
        try:
            if match := re.fullmatch(r"command\s+(.+)", text):
                config.command[:] = split(match[1])
            elif match := re.fullmatch(r"option\s+([^=\s]+)=(\S+)\s*(.*)", text):
                name, value, words = match.groups()
                if value == "*" and words and "$0" not in words:
                    complain = f"{path}:{number}: option {name}=* does not say where $0, its value, goes"
                    stop(complain, 1) if dollar_needed else say(f"warning: {complain}")
                config.options.setdefault(name, {})[value] = split(words)
            elif match := re.fullmatch(r"default\s+([^=\s]+)=(\S+)", text):
                config.defaults[match[1]] = match[2]
            elif text:
                raise ValueError("a line begins with command, option or default")
        except ValueError as error:
            stop(f"{path}:{number}: unable to parse line '{line}': {error}", 1)
    if not config.command:
        stop(f"{path} does not contain the line \"command .*\"; add it, such as 'command qsub -cwd'", 1)
    return config


# ---------------------------------------------------------------------------------------------------
# What schedulers share


class State(NamedTuple):
    """What the scheduler says of a task."""

    what: str  # waiting, running, ending, ended, unknown
    why: str = ""
    patience_s: float = math.inf  # how long it may stay so; then the task has failed
    code: int | None = None  # the exit code to give it then, as the scheduler knows that it ended
    tell: bool = False  # say it at once


class NoAnswerError(Exception):
    """The scheduler does not answer."""


class Cluster(jobs.Runner):
    """Tasks as one job of a scheduler: submitted, watched, cancelled."""

    tells_status = True
    config_name: str  # below conf/
    index: str  # the variable that holds a task's number in a job
    takes_lists: bool  # whether an array may be any list of numbers, or a range only
    client: str  # the scheduler and what of it must be installed here
    job_pattern: str  # of the answer to a submission; group 1 is the job
    submit_again: str  # of the answer when it is worth trying again
    dollar_needed = False

    def __init__(self, request: Request) -> None:
        """Read the configuration and see that the options are in it."""
        super().__init__(request)
        options = dict(request.options)
        for name in ("pick", "retries", "dry_run", "config", "patience"):
            options.pop(name, None)
        shipped = Path(__file__).resolve().parents[1] / "conf" / self.config_name
        local = Path("conf", self.config_name)
        path = request.options.get("config") or (local if os.access(local, os.R_OK) else shipped)
        self.config = read_config(Path(path), self.dollar_needed)
        self.words = self.config.words(self.own_options(options))
        self.patience_s = float(request.number("patience", int(PATIENCE_S), least=1))
        threads = re.search(r" -pe \S+ (\d+)", " ".join(["", *request.flags]))
        self.threads = request.number("num_threads", int(threads[1]) if threads else 1, least=1)

        log = Path(request.log)
        folder = log.parent.parent if log.parent.name == "log" else log.parent
        base = log.name.removesuffix(".log")
        if request.name is not None:
            base = request.fill(base, "\0").replace(".\0", "").replace("\0", "") or "job"
            while request.fill(str(folder), "") != str(folder):
                folder = folder.parent
        self.q = folder / "q"
        self.base = base
        self.script, self.answers = self.q / f"{base}.sh", self.q / f"{base}.log"
        self.ends = self.q / "sync" / f"{base}.{socket.gethostname()}.{os.getpid()}"
        self.job, self.submitted = "", 0.0
        self.guard = -1
        self.numbers: list[int] = []  # the tasks as the scheduler counts them; empty: it uses their numbers
        self.open: set[int] = set()  # tasks submitted whose end is not known
        self.states: dict[int, State] = {}
        self.since: dict[int, float] = {}  # when a task got into its state
        self.suspect: dict[int, tuple[int, float]] = {}  # ended by a signal: code and when that was seen
        self.said: set[str] = set()
        self.back = -math.inf  # when the scheduler answered again after a silence

    # What a scheduler must say.

    @abstractmethod
    def own_options(self, options: dict[str, str]) -> dict[str, str]:
        """The options that the configuration is asked for."""

    @abstractmethod
    def submission(self, todo: list[int]) -> list[str]:
        """The whole command that submits these tasks."""

    @abstractmethod
    def look(self) -> dict[int, State]:
        """What it says of the open tasks; one it does not know is left out.

        Raises:
            NoAnswerError: it does not answer.
        """

    @abstractmethod
    def cancellation(self, tasks: list[int] | None) -> list[str]:
        """The command that cancels these tasks; None: the whole job."""

    # Submitting.

    def dry_run(self, todo: list[int]) -> str:
        """The submit line."""
        self.count(todo)
        return shlex.join(self.submission(todo))

    def run(self, todo: list[int]) -> None:
        """Submit the tasks and wait for their ends, or cancel them when a signal comes."""
        self.open, self.job = set(todo), ""
        for table in (self.states, self.since, self.suspect):
            table.clear()
        self.said.clear()
        if not todo:
            return
        self.ends.mkdir(parents=True, exist_ok=True)
        if self.guard < 0:
            self.guard = jobs.start_guard()
        try:
            self.submit(todo)
            if self.job:  # to be cancelled if this program is killed
                words = "".join(f"!{word}\n" for word in self.cancellation(None))
                os.write(self.guard, words.encode())
            self.watch()
        finally:
            if self.job and self.open:
                self.cancel_all()
            os.write(self.guard, b"!\n")
            shutil.rmtree(self.ends, ignore_errors=True)
        self.progress(last=True)

    def submit(self, todo: list[int]) -> None:
        """Write the script and hand it in; what is wrong with it ends the program."""
        self.count(todo)
        words = self.submission(todo)
        task = str(todo[0])
        if self.request.name is not None:
            task = f"${self.index}"
        if self.numbers:
            task += f"; numbers=(0 {' '.join(map(str, todo))}); task=${{numbers[task]}}"
        cwd = os.environ.get("PWD", "")
        kept = {name: shlex.quote(os.environ[name]) for name in EXPORTED if name in os.environ}
        text = SCRIPT.format(
            prog=PROG,
            submit=shlex.join(words).replace("\n", "\n# "),
            cwd=shlex.quote(cwd if os.path.isdir(cwd) and os.path.samefile(cwd, ".") else os.getcwd()),
            exports="\n".join(f"export {name}={value}" for name, value in kept.items()),
            task=task,
            log=self.in_bash(lambda number: str(self.request.log_of(number))),
            command=self.in_bash(self.request.shell),
            ends=shlex.quote(str(self.ends)),
            threads=self.threads,
        )
        for path, content in ((self.script, text), (self.answers, f"# {shlex.join(words)}\n")):
            with jobs.new_file(path) as stream:
                stream.write(content)
        for pause_s in (5, 10, 20, None):
            code, answer = self.hand_in(words)
            if code == 0 or pause_s is None or not re.search(self.submit_again, answer):
                break
            say(f"{answer.strip().splitlines()[-1]}; submitting again in {pause_s} s")
            self.wait(pause_s)
            if self.caught:
                return
        match = re.search(self.job_pattern, answer)
        if code != 0 or not match:
            shutil.rmtree(self.ends, ignore_errors=True)
            say(
                f"Error submitting jobs to queue (return status was {code})"
                if code
                else "the answer to the submission names no job, so nothing is known of it"
            )
            say(f"the command was: {shlex.join(words)}")
            for line in answer.splitlines():
                tell(f"    {line}\n")
            stop("nothing was run" if code else "see whether it runs, and cancel it if it does", 1)
        self.job, self.submitted = match[1], time.monotonic()

    def hand_in(self, words: list[str]) -> tuple[int, str]:
        """Run the submit command, out of reach of the terminal's signals; its exit code and what it said."""
        try:
            with jobs.open_log(self.answers) as log:
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    check=False,
                )
                log.write(done.stdout.decode(errors="replace"))
        except FileNotFoundError:
            stop(
                f"{words[0]}, the command of {self.config.path}, was not found; is {self.client} installed "
                "on this machine? To run the tasks here, use run.pl instead (cmd_backend=local in cmd.sh)",
                1,
            )
        return done.returncode, done.stdout.decode(errors="replace")

    def in_bash(self, text_of: Callable[[int], str]) -> str:
        """A text with a task's number in it, as bash writes it where ``$task`` is the number."""
        mark = 1_000_003  # a number that the text without it does not have
        while str(mark) in text_of(1):
            mark += 1
        text = text_of(mark).replace("'", "'\\''")
        return "'" + text.replace(str(mark), "'\"$task\"'") + "'"

    def job_name(self) -> str:
        """A name that any scheduler takes."""
        return re.sub(r"^(?=\d)", "_", re.sub(r"[^\w.+-]", "_", self.base, flags=re.ASCII)) or "job"

    def count(self, todo: list[int]) -> None:
        """Where the scheduler takes only ranges and these are none, it counts from 1 to their number."""
        gaps = bool(todo) and todo[-1] - todo[0] != len(todo) - 1
        self.numbers = todo if gaps and not self.takes_lists else []

    # Watching.

    def watch(self) -> None:
        """Until all tasks have ended or a signal comes."""
        begun = time.monotonic()
        next_look, next_shown = begun + 1.0, begun
        answer: list[dict[int, State] | str] = []
        asking: threading.Thread | None = None
        while self.open and not self.caught:
            now = time.monotonic()
            self.collect()
            if asking is None and now >= next_look:
                asking = threading.Thread(target=self.ask_all, args=(answer,), daemon=True)
                asking.start()
            elif asking and not asking.is_alive():
                asking, next_look = None, now + (1.0 if now - begun < 60 else 3.0)
                self.update_states(answer.pop(), now)
            self.give_up_lost(now)
            if now >= next_shown:
                self.progress()
                next_shown = now + self.refresh_s
            if self.open:
                self.wait(0.1 if now - begun < 60 else 0.2)

    def ask_all(self, answer: list[dict[int, State] | str]) -> None:
        """In a thread of its own, as a scheduler in trouble may take its time."""
        try:
            answer.append(self.look())
        except NoAnswerError as error:
            answer.append(str(error))

    def collect(self) -> None:
        """Take notice of the ends that tasks have left."""
        suspect = {}
        for name in os.listdir(self.ends):
            task, _, code = name.partition(".")
            if not (task.isdigit() and code.isdigit() and int(task) in self.open):
                continue
            if int(code) <= 128:
                self.end(int(task), int(code))
            else:
                # Killed, or put back into the queue and killed for that: the scheduler knows.
                suspect[int(task)] = self.suspect.get(int(task), (int(code), time.monotonic()))
        self.suspect = suspect

    def end(self, task: int, code: int, why: str = "") -> None:
        """A task has ended."""
        self.codes[task] = code
        if why:
            self.reasons[task] = why
        self.open.discard(task)

    def update_states(self, answer: dict[int, State] | str, now: float) -> None:
        """Take notice of the scheduler's answer."""
        if isinstance(answer, str):
            self.say_once(f"the scheduler does not answer: {answer}; waiting for it")
            self.since = dict.fromkeys(self.since, now)  # what is not confirmed does not count
            return
        if any(text.startswith("the scheduler does not answer") for text in self.said):
            say("the scheduler answers again")
            self.back = now
            self.said = {text for text in self.said if not text.startswith("the scheduler does not")}
        for task in sorted(self.open):
            before, state = self.states.get(task), answer.get(task) or self.missing(task)
            if before is None or before[:3] != state[:3]:
                self.since[task] = now
            ran = before is not None and before.what in ("running", "ending")
            if ran and state.what == "waiting" and not state.tell:
                say(f"{self.title([task])} was put back into the queue by the scheduler")
                (self.ends / f"{task}.{self.suspect.pop(task, (0, 0))[0]}").unlink(missing_ok=True)
            self.states[task] = state
        for why in sorted({state.why for state in self.states.values() if state.tell}):
            self.say_once(
                f"{self.title([task for task in self.open if self.states[task].why == why])}: {why}"
            )

    def missing(self, task: int) -> State:
        """A task that the scheduler does not know; if it waited before, it has been deleted."""
        before = self.states.get(task)
        if before and (before.what == "waiting" or before.why == DELETED):
            return State("unknown", DELETED, min(DELETED_S, self.patience_s), 143)
        return State("unknown", f"{UNKNOWN}, {NO_END}", self.patience_s)

    def give_up_lost(self, now: float) -> None:
        """Give up the tasks whose own end will not come any more."""
        lost = []
        for task in sorted(self.open & self.states.keys()):
            state, waited_s = self.states[task], now - self.since[task]
            code, seen = self.suspect.get(task, (0, now))
            if code and (state.what in ("ended", "unknown") or now - seen > self.suspect_s(state)):
                self.end(task, code, state.why if state.code else "")
            elif waited_s >= state.patience_s and not (state.tell and now - self.back < BACK_S):
                lost.append((task, state))
            elif math.isfinite(state.patience_s):
                self.refresh_folder()
        for task, state in lost:
            self.end(task, state.code or 1, state.why)
            if state.code is not None:
                self.write_end(task, state.code, state.why)
        left = [task for task, state in lost if state.what in ("waiting", "running", "ending")]
        if left:
            self.run_client(self.cancellation(left if self.open else None))

    def suspect_s(self, state: State) -> float:
        """How long the scheduler has to say why a task was ended by a signal."""
        return self.patience_s if state.what == "ending" else 4.0

    def refresh_folder(self) -> None:
        """Make a shared file system look again at the folder of the ends."""
        kick = self.ends / ".kick"
        kick.touch()
        kick.unlink(missing_ok=True)

    def write_end(self, task: int, code: int, why: str) -> None:
        """End the log of a task that could not do it itself."""
        log = self.request.log_of(task)
        if log.exists() and exit_code(log) is None:
            with jobs.open_log(log) as stream:
                stream.write(f"# {PROG}: {why}\n# Finished at {date()} with status {code}\n")

    def say_once(self, message: str) -> None:
        """Say what has not been said."""
        if message not in self.said:
            self.said.add(message)
            say(message)

    def title(self, tasks: list[int]) -> str:
        """``JOB 1-3``; or the job, where there is no array."""
        return f"{self.request.name} {jobs.spans(tasks)}" if self.request.name else f"job {self.job}"

    def doing(self) -> str:
        """How many tasks run and wait, why they wait, what one of them wrote last."""
        by_kind = {
            what: [t for t in self.open if t in self.states and self.states[t].what == what]
            for what in ("running", "waiting")
        }
        parts = [f"{len(tasks)} {what}" for what, tasks in by_kind.items() if tasks]
        if by_kind["waiting"] and (why := self.states[min(by_kind["waiting"])].why):
            parts[-1] += f" ({why})"
        line = newest_line(self.request.log_of(min(by_kind["running"]))) if by_kind["running"] else ""
        return "; ".join(filter(None, [", ".join(parts), line]))

    def other_words(self) -> list[str]:
        """What the scheduler itself wrote."""
        try:
            lines = self.answers.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        return [f"{self.answers}: {line}" for line in lines[-5:]]

    # Cancelling.

    def cancel_all(self) -> None:
        """Cancel the job, wait until it is gone or a second signal comes, end the logs of its tasks."""
        signals = len(self.caught)
        self.run_client(self.cancellation(None))
        deadline = time.monotonic() + 5.0
        while self.open and time.monotonic() < deadline and len(self.caught) == signals:
            self.collect()
            try:
                seen = self.look()
            except NoAnswerError:
                break
            if all(state.what not in ("running", "waiting") for state in seen.values()):
                break
            self.wait(0.2)
        for task in sorted(self.open):
            self.write_end(task, 143, f"job {self.job} was cancelled")

    def stopped(self) -> int:
        """Say that the job was cancelled; 2, as Kaldi's grid runners."""
        what = f"job {self.job} was cancelled" if self.job else "nothing was submitted"
        say(f"stopped by {signal.Signals(self.caught[0]).name}; {what}")
        return 2

    # Asking.

    def ask(self, *words: str) -> tuple[int, str, str]:
        """Run a command of the scheduler; exit code, stdout, stderr.

        Raises:
            NoAnswerError: it is not there, or takes more than a minute.
        """
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoAnswerError(str(error)) from error
        return (
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace").strip(),
        )

    def run_client(self, words: list[str]) -> None:
        """Run a command of the scheduler; report a failure."""
        try:
            code, _, message = self.ask(*words)
        except NoAnswerError as error:
            code, message = 1, str(error)
        if code:
            self.say_once(f"{shlex.join(words)} failed: {message or f'return status {code}'}")
