"""utils/queue.pl and utils/slurm.pl without a scheduler: configuration, submit lines, what is refused.

The schedulers themselves are in tests/cluster.
"""

from __future__ import annotations

import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.daemons import soon

UTILS = Path(__file__).resolve().parents[2] / "utils"
SITES = UTILS.parent / "conf" / "sites"
NO_K20 = ["-l", "hostname=!g01*&!g02*&!b06*"]
ONE = ["--cpus-per-task", "1", "--ntasks-per-node=1"]
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(program: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(UTILS / program), *map(str, args)]
    env = {"PATH": PATH, "LC_ALL": "C", **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def line(program: str, *args: object, **env: str) -> list[str]:
    """The submit line, without what every line has."""
    result = call(program, "--dry-run", *args, "x.JOB.log", "true", **env)
    assert (result.returncode, result.stderr) == (0, "")
    return shlex.split(result.stdout)


def added(program: str, *args: object, **env: str) -> list[str]:
    """What some options add to the submit line."""
    words = line(program, *args, **env)
    last = "-o" if program == "queue.pl" else "--job-name"
    return words[words.index(last) + 2 : -1]


# ---------------------------------------------------------------------------------------------------
# The submit line


def test_queue_line(folder: Path) -> None:
    assert call("queue.pl", "--dry-run", "--mem", "2G", "JOB=1:4", "log/x y.JOB.log", "echo").stdout == (
        "qsub -v PATH -cwd -S /bin/bash -j y -l 'arch=*64*' -N x_y -o 'q/x y.log' -l mem_free=2G -t 1-4 "
        "'q/x y.sh'\n"
    )
    assert list(folder.iterdir()) == []


def test_slurm_line() -> None:
    args = ["--dry-run", "--max-jobs-run", "2", "--gpu", "1", "-p", "short", "JOB=1:4", "e/x.JOB.log", "echo"]
    assert call("slurm.pl", *args).stdout == (
        "sbatch --export=ALL --ntasks-per-node=1 --open-mode=append -e e/q/x.log -o e/q/x.log --job-name x "
        "-p short --gres=gpu:1 --array=1-4%2 e/q/x.sh\n"
    )


def test_the_line_is_the_same_every_time() -> None:
    args = ["--time", "1:0:0", "--gpu", "2", "--num-threads", "3", "--mem", "1G", "--max-jobs-run", "2"]
    lines = {tuple(line("queue.pl", *args, "JOB=1:9", PYTHONHASHSEED=str(seed))) for seed in range(5)}
    assert len(lines) == 1


def test_single_dash_options_come_first_and_as_they_are() -> None:
    words = added(
        "queue.pl", "--gpu", "1", "-l", "h=*&!b", "-V", "-pe", "mpi", "4", "-sync", "y", "-q", "a.q"
    )
    assert words == ["-l", "h=*&!b", "-V", "-pe", "mpi", "4", "-q", "a.q", "-l", "gpu=1"]


def test_any_list_of_tasks() -> None:
    for number in (1, 2, 4, 9):
        Path(f"x.{number}.log").write_text("# Finished at x with status 0\n")
    assert line("slurm.pl", "--pick", "failed", "JOB=1:9")[-2] == "--array=3,5-8"
    assert line("queue.pl", "--pick", "failed", "JOB=1:9")[-3:-1] == ["-t", "1-5"]


def test_run_pl_shows_its_commands() -> None:
    result = call("run.pl", "--dry-run", "JOB=1:2", "x.JOB.log", "echo", "JOB", "|", "cat")
    assert result.stdout == "".join(f"bash -o pipefail -c -- 'echo {n} | cat'\n" for n in (1, 2))


@pytest.mark.parametrize("program", ["run.pl", "queue.pl", "slurm.pl"])
def test_starts_at_once(program: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert call(program, "--dry-run", "x.log", "true").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.15  # 0.04 s of processor


# ---------------------------------------------------------------------------------------------------
# The configuration


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], []),
        (["--mem", "4G"], ["-l", "mem=4G,rmem=4G"]),
        (["--mem", "0"], []),
        (["--rmem", "2G"], ["-l", "rmem=2G"]),
        (["--num-threads", "4"], ["-pe", "openmp", "4"]),
        (["--time", "8:0:0"], ["-l", "h_rt=8:0:0"]),
        (["--gpu", "1"], ["-l", "gpu=1", "-P", "gpu"]),
        (["--max-jobs-run", "3", "JOB=1:9"], ["-tc", "3", "-t", "1-9"]),
        (["--max-jobs-run", "3"], []),
    ],
)
def test_sheffield(args: list[str], words: list[str]) -> None:
    assert added("queue.pl", "--config", SITES / "sheffield_queue.conf", *args) == words


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--allow-k20", "false"], ["-l", "hostname=!g01*&!g02*&!b06*"]),
        (["--allow_k20=true"], []),
        (
            ["--gpu", "1", "--allow-k20", "false"],
            ["-l", "gpu=1", "-q", "g.q", "-l", "hostname=!g01*&!g02*&!b06*"],
        ),
    ],
)
def test_quoted_text_and_a_site_s_own_option(args: list[str], words: list[str]) -> None:
    assert added("queue.pl", "--config", SITES / "no_k20_queue.conf", *args) == words


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--name", "a b", "--num-nodes", "2"], ["--job-name", "a b", *ONE, "--nodes", "2", "-p", "cpu"]),
        (["--gpu", "2"], [*ONE, "-p", "gpu", "--gres=gpu:2", "-c", "2"]),
        (["--max-jobs-run", "2", "JOB=3:5"], [*ONE, "-p", "cpu", "--array=3-5%2"]),
    ],
)
def test_partitions(args: list[str], words: list[str]) -> None:
    assert (
        added("slurm.pl", "--config", SITES / "partitions_slurm.conf", "--num-threads", "1", *args) == words
    )


def test_the_folder_s_own_configuration_comes_first() -> None:
    Path("conf").mkdir()
    Path("conf/queue.conf").write_text("command my_qsub -x '$HOME' $SITE \"a  b\"  # why\n\n# nothing\n")
    assert line("queue.pl", SITE="here")[:5] == ["my_qsub", "-x", "$HOME", "here", "a  b"]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "option a=* $0\n",
            1,
            'c.conf does not contain the line "command .*"; add it, such as \'command qsub',
        ),
        (
            "command qsub\noptions a=1\n",
            1,
            "c.conf:2: unable to parse line 'options a=1': a line begins with command, option or default",
        ),
        ("command qsub 'a\n", 1, "c.conf:1: unable to parse line 'command qsub 'a': No closing quotation"),
        ("command qsub\noption a=* -l x\n", 1, "c.conf:2: option a=* does not say where $0, its value, goes"),
        (
            "command qsub\noption mem=* -l m=$0\noption gpu=0\ndefault gpu=0\n",
            255,
            "Command line option gpu not described in c.conf (or value '3' not allowed); it knows --mem *, "
            "--gpu 0; add a line 'option gpu=* <words with $0>'",
        ),
        (
            "command qsub\n",
            255,
            "Command line option gpu not described in c.conf (or value '3' not allowed); it knows none; add",
        ),
    ],
)
def test_configurations_refused(folder: Path, text: str, code: int, message: str) -> None:
    Path("c.conf").write_text(text)
    result = call("queue.pl", "--config", "c.conf", "--gpu", "3", "x.log", "true")
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith(f"queue.pl: {message}")
    assert [path.name for path in folder.iterdir()] == ["c.conf"]


def test_an_option_without_its_value_is_a_warning_in_slurm_s() -> None:
    Path("c.conf").write_text("command sbatch\noption gpu=* -p gpu\n")
    result = call("slurm.pl", "--dry-run", "--config", "c.conf", "--gpu", "3", "x.log", "true")
    assert result.returncode == 0
    assert "warning: c.conf:2: option gpu=* does not say where $0, its value, goes" in result.stderr


def test_no_such_configuration() -> None:
    result = call("slurm.pl", "--config", "no.conf", "x.log", "true")
    assert (result.returncode, result.stderr) == (
        1,
        "slurm.pl: Could not open config file no.conf (No such file or directory)\n",
    )


# ---------------------------------------------------------------------------------------------------
# Submitting


@pytest.mark.parametrize("program", ["queue.pl", "slurm.pl"])
@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 1, "usage: {} [options] [JOB=1:n] log-file command-line arguments... (try --help)"),
        (["x.log"], 1, "usage: {} [options] [JOB=1:n] log-file command-line arguments... (try --help)"),
        (["JOB=0:2", "x.JOB.log", "true"], 255, "invalid job range JOB=0:2, start must be strictly positive"),
        (["JOB=2:1", "x.JOB.log", "true"], 255, "invalid job range JOB=2:1, start must be strictly positive"),
        (["JOB=1:2", "x.log", "true"], 1, "you are trying to run a parallel job but you are putting the"),
        (["--mem"], 255, "option --mem needs a value (try --help)"),
        (
            ["--retries", "x", "x.log", "true"],
            255,
            "option --retries is a whole number of 0 or more, not",
        ),
        (["--patience", "0", "x.log", "true"], 255, "option --patience is a whole number of 1 or more, not"),
    ],
)
def test_wrong_usage(folder: Path, program: str, args: list[str], code: int, message: str) -> None:
    result = call(program, *args)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith(f"{program}: {message.format(program)}")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "command", "client"),
    [
        ("queue.pl", "qsub", "Grid Engine's client (Debian: gridengine-client)"),
        ("slurm.pl", "sbatch", "Slurm's client (Debian: slurm-client)"),
    ],
)
def test_no_scheduler(folder: Path, program: str, command: str, client: str) -> None:
    (folder / "bin").mkdir()
    for name in ("python3", "env"):
        (folder / "bin" / name).symlink_to(f"/usr/bin/{name}")
    result = call(program, "x.log", "true", PATH=f"{folder}/bin")
    conf = UTILS.parent / "conf" / program.replace(".pl", ".conf")
    assert (result.returncode, result.stderr) == (
        1,
        f"{program}: {command}, the command of {conf}, was not found; is {client} installed on this machine? "
        "To run the tasks here, use run.pl instead (cmd_backend=local in cmd.sh)\n",
    )


def test_an_answer_that_nobody_understands() -> None:
    Path("c.conf").write_text("command printf 'Job accepted,\\nhave a nice day\\n%.0s'\n")
    result = call("slurm.pl", "--config", "c.conf", "x.log", "true")
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0] == ("slurm.pl: the answer to the submission names no job, so nothing is known of it")
    assert lines[1].startswith("slurm.pl: the command was: printf 'Job accepted,")
    assert lines[2:4] == ["    Job accepted,", "    have a nice day"]
    assert lines[-1] == "slurm.pl: see whether it runs, and cancel it if it does"


def test_a_submission_that_fails() -> None:
    Path("c.conf").write_text("command bash -c 'echo qsub: denied: no such project >&2; exit 7'\n")
    result = call("queue.pl", "--config", "c.conf", "x.log", "true")
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0] == "queue.pl: Error submitting jobs to queue (return status was 7)"
    assert lines[1].startswith("queue.pl: the command was: bash -c 'echo qsub: denied")
    assert lines[2:] == ["    qsub: denied: no such project", "queue.pl: nothing was run"]
    assert "denied: no such project" in Path("q/x.log").read_text()


@pytest.mark.parametrize("program", ["queue.pl", "slurm.pl"])
def test_a_log_folder_that_cannot_be_written(program: str) -> None:
    Path("file").touch()
    result = call(program, "file/log/x.log", "true")
    assert result.returncode == 1
    assert result.stderr.startswith(f"{program}: cannot run: ")
    assert "file/log" in result.stderr


@pytest.mark.slow
def test_a_scheduler_that_loses_the_job(folder: Path) -> None:
    """Neither qstat nor qacct knows it, and no end was left: an error within 15 s, not success."""
    (folder / "bin").mkdir()
    for name, text in (
        ("qsub", "echo Your job 5 has been submitted"),
        ("qstat", "true"),
        ("qacct", "exit 1"),
    ):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    start = time.monotonic()
    result = call("queue.pl", "--patience", "2", "x.log", "true", PATH=f"{folder}/bin:{PATH}")
    assert time.monotonic() - start < soon(10)
    assert (result.returncode, result.stderr.splitlines()[0]) == (
        1,
        "queue.pl: job failed with status 1, log is in x.log (the scheduler does not know it any more, but "
        "it left no end in its log; if the shared folder is slow to show it, see --patience)",
    )


def test_options_behind_the_log_file() -> None:
    result = call("run.pl", "x.log", "--mem", "2G", "true")
    assert result.returncode == 1
    assert result.stderr.startswith(
        "run.pl: warning: '--mem' is taken for the command; options go before the log file\n"
        "run.pl: job failed, log is in x.log (code 127: command not found)\n"
    )
