#!/usr/bin/env -S python3 -SE
"""Run a command, or an array of them, on Slurm, with Kaldi's command line.

Usage: slurm.pl [options] [JOB=1:n] [options] <log-file> <command> [<argument> ...]

The command line, its arguments, the logs and --pick, --retries are those of run.pl: see run.pl --help.
Jobs start in this folder, source ./path.sh if there is one, and find the PATH of this shell.

Options:
  --config F                what options mean to sbatch (default: conf/slurm.conf here, or the checkout's)
  --mem X, --num-threads N, --gpu N, --time X, and any other that the configuration describes
  --max-jobs-run N, -tc N   at most N tasks of an array at once
  --pick all|failed|incomplete
                            what of an array to run: all; what failed or did not end; what did not end
  --retries N               run failed tasks again, up to N times (default: the variable SER_RETRIES, else 0);
                            the log before is kept as <log-file>.bak
  --patience S              seconds to wait for a log on a slow shared folder (default 10)
  --dry-run                 print the submit line, submit nothing
Options of one dash go to sbatch as they are, each with one argument.

The job's script and the scheduler's own words are in q/ beside the log (beside log/ if it is in log/).
Exit: 0 every task left its end with status 0; 1 some failed, or nothing could be submitted; 255 (without
arguments 1) wrong usage; 2 stopped by a signal, and the job cancelled.
"""

from __future__ import annotations

import re
import sys

import jobs
from cluster import AWAY_S, ENDED_S, NEVER_S, NO_END, Cluster, NoAnswerError, State

# Name, width of the fields that squeue is asked for.
FIELDS = {"JobID": 15, "ArrayTaskID": 15, "State": 20, "exit_code": 12, "Partition": 40, "Reason": 150}
BAD_ENDS = {
    "CANCELLED": (143, "cancelled from outside (scancel)"),
    "TIMEOUT": (143, "over its time limit (--time)"),
    "OUT_OF_MEMORY": (137, "over its memory (--mem)"),
    "NODE_FAIL": (None, "its node failed"),
    "BOOT_FAIL": (None, "its node could not boot"),
    "DEADLINE": (143, "its deadline has passed"),
    "PREEMPTED": (143, "preempted, and not put back into the queue"),
    "REVOKED": (143, "revoked"),
}
# Why a job waits that will never run as it is.
NEVER = """accountnotallowed badconstraints dependencyneversatisfied invalidaccount invalidqos jobheldadmin
job_requeued_in_held_state launch_failed_requeued_held maxcpupernode maxmemperlimit partitionconfig
partitionnodelimit partitiontimelimit qosnotallowed reservationdeleted""".split()


class Slurm(Cluster):
    """sbatch, squeue, scancel; sinfo where nothing runs and something waits."""

    config_name = "slurm.conf"
    index = "SLURM_ARRAY_TASK_ID"
    takes_lists = True
    client = "Slurm's client (Debian: slurm-client)"
    job_pattern = r"Submitted batch job (\d+)"
    submit_again = r"Unable to contact slurm controller"

    def own_options(self, options: dict[str, str]) -> dict[str, str]:
        """All but --max-jobs-run, which is part of the array."""
        self.at_once = options.pop("max_jobs_run", "")
        return options

    def submission(self, todo: list[int]) -> list[str]:
        """The sbatch line."""
        answers = str(self.answers).replace("%", "%%")
        words = [*self.config.command, "--open-mode=append", "-e", answers, "-o", answers]
        words += ["--job-name", self.job_name(), *self.request.flags, *self.words]
        if self.request.name is not None:
            at_once = f"%{self.at_once}" if self.at_once else ""
            words.append(f"--array={jobs.spans(todo).replace(' ', ',')}{at_once}")
        return [*words, str(self.script)]

    def cancellation(self, tasks: list[int] | None) -> list[str]:
        """The scancel line."""
        if tasks is None or self.request.name is None:
            return ["scancel", self.job]
        return ["scancel", *(f"{self.job}_{task}" for task in tasks)]

    def look(self) -> dict[int, State]:
        """Ask squeue, which remembers ended tasks for a while."""
        fields = ",".join(f"{name}:{width}" for name, width in FIELDS.items())
        code, listing, message = self.ask("squeue", "-h", "-r", "-t", "all", "-j", self.job, "-O", fields)
        if code and "Invalid job id" not in message:
            raise NoAnswerError(message.splitlines()[-1] if message else f"squeue's return status {code}")
        rows = []
        for line in listing.splitlines():
            row = []
            for width in FIELDS.values():
                row.append(line[:width].strip())
                line = line[width:]
            rows.append(row)
        states, partitions = {}, set()
        for job, task, word, status, partition, reason in rows:
            number = int(task) if task.isdigit() else next(iter(self.request.tasks))
            states[number] = self.state(job, word, int(status or 0), reason)
            if states[number].what == "waiting":
                partitions.add(partition)
        waiting = [number for number, state in states.items() if state.what == "waiting"]
        if (
            waiting
            and not any(state.what == "running" for state in states.values())
            and self.all_down(partitions)
        ):
            state = State("waiting", "no node that could run it is up", AWAY_S, tell=True)
            states.update(dict.fromkeys(waiting, state))
        return states

    def all_down(self, partitions: set[str]) -> bool:
        """Whether every node of some partitions is out of order."""
        code, listing, _ = self.ask("sinfo", "-h", "-o", "%T", "-p", ",".join(sorted(partitions)))
        words = listing.split()
        gone = [
            word for word in words if word.endswith("*") or word.startswith(("down", "drain", "fail", "unk"))
        ]
        return code == 0 and bool(words) and len(gone) == len(words)

    def state(self, job: str, word: str, status: int, reason: str) -> State:
        """Of squeue's words; ``status`` is a wait status."""
        ended = f"the scheduler says {word} (exit {status >> 8}:{status & 127}), {NO_END}"
        if word in BAD_ENDS:
            code, why = BAD_ENDS[word]
            return State("ended", why, ENDED_S, code)
        if word == "FAILED" and status & 127:
            return State("ended", *self.killed(job, status & 127))
        if word in ("FAILED", "COMPLETED"):
            return State("ended", ended, self.patience_s)
        if word == "COMPLETING":  # the node cleans up, or does not answer
            return State("ending", ended, 3 * self.patience_s)
        if word in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"):
            return State("running")
        reason = re.sub(r"\W+", "_", reason)
        if reason.lower() in NEVER:
            return State("waiting", f"it cannot run: {reason}", NEVER_S, tell=True)
        return State("waiting", "" if reason == "None" else reason)

    def killed(self, job: str, signum: int) -> tuple[str, float, int | None]:
        """Why, how long to wait, and the code of a task whose script was ended by a signal."""
        if signum == 53:
            return "its node could not open the files in the q folder", ENDED_S, None
        text = self.answers.read_text(encoding="utf-8", errors="replace") if self.answers.exists() else ""
        if re.search(rf"StepId={job}\.\w+ exceeded memory|oom.kill.*StepId={job}\.", text):
            return "over its memory (--mem)", ENDED_S, 137
        return f"killed from outside by signal {signum}", ENDED_S, 128 + signum


if __name__ == "__main__":
    sys.exit(jobs.main(sys.argv[1:], Slurm))
