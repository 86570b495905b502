#!/usr/bin/env -S python3 -SE
"""Run a command, or an array of them, on Grid Engine, with Kaldi's command line.

Usage: queue.pl [options] [JOB=1:n] [options] <log-file> <command> [<argument> ...]

The command line, its arguments, the logs and --pick, --retries are those of run.pl: see run.pl --help.
Jobs start in this folder, source ./path.sh if there is one, and find the PATH of this shell.

Options:
  --config F                what options mean to qsub (default: conf/queue.conf here, or the checkout's)
  --mem X, --num-threads N, --gpu N, --time X, and any other that the configuration describes
  --max-jobs-run N, -tc N   at most N tasks of an array at once
  --pick all|failed|incomplete
                            what of an array to run: all; what failed or did not end; what did not end
  --retries N               run failed tasks again, up to N times (default: the variable SER_RETRIES, else 0);
                            the log before is kept as <log-file>.bak
  --patience S              seconds to wait for a log on a slow shared folder (default 10)
  --dry-run                 print the submit line, submit nothing
Options of one dash go to qsub as they are: each with one argument, but -V with none and -pe with two.
(-sync y goes nowhere: queue.pl waits in any case.)

The job's script and the scheduler's own words are in q/ beside the log (beside log/ if it is in log/).
Exit: 0 every task left its end with status 0; 1 some failed, or nothing could be submitted; 255 (without
arguments 1) wrong usage; 2 stopped by a signal, and the job cancelled.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
import time

import jobs
from cluster import AWAY_S, ENDED_S, NO_END, Cluster, NoAnswerError, State

VERIFY_S = 2.0  # a task that has waited so long with none running is checked once: can it ever run?
# The words of `failed` in qacct, by number.
FAILURES = {
    19: "its host went down",
    37: "over a limit of time or memory (such as h_rt)",
    100: "killed from outside the job: qdel, or the kernel short of memory",
}


class GridEngine(Cluster):
    """qsub, qstat, qdel; qselect for hosts that do not answer, qacct for tasks that ended without a word."""

    config_name = "queue.conf"
    index = "SGE_TASK_ID"
    takes_lists = False
    client = "Grid Engine's client (Debian: gridengine-client)"
    job_pattern = r"[Yy]our job(?:-array)? (\d+)"
    submit_again = r"gdi request|qmaster"
    dollar_needed = True

    def own_options(self, options: dict[str, str]) -> dict[str, str]:
        """All; --max-jobs-run for arrays only."""
        if self.request.name is None:
            options.pop("max_jobs_run", None)
        self.verified = False
        self.user = pwd.getpwuid(os.getuid()).pw_name
        return options

    def submission(self, todo: list[int]) -> list[str]:
        """The qsub line."""
        flags = list(self.request.flags)
        while "-sync" in flags:
            at = flags.index("-sync")
            del flags[at : at + 2]
        words = [*self.config.command]
        for flag, value in (("-S", "/bin/bash"), ("-j", "y"), ("-N", self.job_name())):
            if flag not in [*words, *flags, *self.words]:
                words += [flag, value]
        if not {"-cwd", "-wd"} & {*words, *flags, *self.words}:
            words.append("-cwd")  # the path after -o is from here
        # In a path, qsub has its own meanings for some characters; the task's log does not depend on it.
        odd = re.search(r"[:,$\\]", str(self.answers))
        words += ["-o", os.devnull if odd else str(self.answers), *flags, *self.words]
        if self.request.name is not None:
            words += ["-t", f"1-{len(todo)}" if self.numbers else f"{todo[0]}-{todo[-1]}"]
        return [*words, str(self.script)]

    def cancellation(self, tasks: list[int] | None) -> list[str]:
        """The qdel line."""
        if tasks is None or self.request.name is None:
            return ["qdel", self.job]
        return ["qdel", *(f"{self.job}.{self.counted(task)}" for task in tasks)]

    def counted(self, task: int) -> int:
        """What Grid Engine calls a task."""
        return self.numbers.index(task) + 1 if self.numbers else task

    def look(self) -> dict[int, State]:
        """Ask qstat; then, where need be, for hosts that do not answer and for tasks that are gone."""
        code, listing, message = self.ask("qstat", "-u", self.user)
        if code:
            raise NoAnswerError(message.splitlines()[-1] if message else f"qstat's return status {code}")
        rows = [row for row in map(str.split, listing.splitlines()) if row and row[0] == self.job]
        away = set(self.ask("qselect", "-qs", "u")[1].split()) if rows else set()
        states: dict[int, State] = {}
        for row in rows:
            states.update(dict.fromkeys(self.tasks(row), self.state(row, away)))
        gone = self.open - states.keys()
        if gone:
            records = self.records()
            states.update({task: records[task] for task in gone & records.keys()})
        waiting = [task for task, state in states.items() if state.what == "waiting"]
        if waiting and not any(state == State("running") for state in states.values()):
            if away and away >= set(self.ask("qselect")[1].split()):
                state = State("waiting", "no host that could run it answers", AWAY_S, tell=True)
                states.update(dict.fromkeys(waiting, state))
            elif why := self.impossible():
                states.update(dict.fromkeys(waiting, State("waiting", why, 0.0)))
        return states

    def tasks(self, row: list[str]) -> list[int]:
        """The tasks of a line of qstat: its last word, such as 3 or 4-9:1 or 1,3."""
        if self.request.name is None:
            return list(self.request.tasks)
        found: list[int] = []
        for first, last, step in re.findall(r"(\d+)(?:-(\d+)(?::(\d+))?)?", row[-1]):
            found += range(int(first), int(last or first) + 1, int(step or 1))
        return [self.numbers[number - 1] for number in found] if self.numbers else found

    def state(self, row: list[str], away: set[str]) -> State:
        """Of a line of qstat."""
        word, queue = row[4], row[7] if len(row) > 7 else ""
        if "E" in word:
            _, text, _ = self.ask("qstat", "-j", self.job)
            reason = re.search(r"^error reason +\d+: +(?:\S+ \S+ \[[\d:]+\]: )?(.*)", text, re.MULTILINE)
            return State("waiting", f"in error state {word}: {reason[1] if reason else 'see qstat -j'}", 0.0)
        if "q" in word:
            return State("waiting", "held" if "h" in word else "")
        unknown = [name for name in away if name[:30] == queue[:30]]
        if unknown:
            return State("running", f"its host does not answer ({unknown[0]})", AWAY_S, tell=True)
        return State("running")

    def impossible(self) -> str:
        """Why no queue can ever run the job, if that is so; asked once."""
        if (
            self.verified
            or time.monotonic() - self.submitted < VERIFY_S
            or "-w" in self.submission([*self.open])
        ):
            return ""
        self.verified = True
        _, text, _ = self.ask("qalter", "-w", "v", self.job)
        if "no suitable queues" not in text:
            return ""
        reasons = [line.strip() for line in text.splitlines() if "cannot run" in line] or [text.strip()]
        return f"no queue can ever run it: {reasons[0]}"

    def records(self) -> dict[int, State]:
        """What the accounting says of tasks that have ended."""
        found = {}
        for record in self.ask("qacct", "-j", self.job)[1].split("=====\n"):
            values = dict(re.findall(r"^(taskid|failed|exit_status) +(.*?) *$", record, re.MULTILINE))
            if len(values) < 3:
                continue
            task = int(values["taskid"]) if values["taskid"].isdigit() else self.request.tasks[0]
            task = self.numbers[task - 1] if self.numbers and self.request.name else task
            failed, status = (int(values[key].split()[0]) for key in ("failed", "exit_status"))
            if failed == 0:
                ended = f"the scheduler says that it ended with status {status}, {NO_END}"
                found[task] = State("ended", ended, self.patience_s)
            else:
                why = FAILURES.get(failed, f"Grid Engine says: {values['failed']}")
                found[task] = State("ended", why, ENDED_S, status or (None if failed == 19 else 1))
        return found


if __name__ == "__main__":
    sys.exit(jobs.main(sys.argv[1:], GridEngine))
