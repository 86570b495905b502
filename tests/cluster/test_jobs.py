"""queue.pl and slurm.pl on the real schedulers: what run.pl does, and how fast."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .daemons import Daemons, until
from .grid_engine import GridEngine

pytestmark = pytest.mark.slow

DATE = r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \S+ \d{4}"
NASTY = r"""it's@c"d e@a&b@x $HOME y@$$@{a,b}@*@~@@two
lines@`id`@\@é@a;b@#x""".split("@")


def run(
    cluster: Daemons, *args: object, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        cluster.command(*args),
        env=cluster.env | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def begin(cluster: Daemons, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(cluster.command(*args), env=cluster.env, stderr=subprocess.PIPE, text=True)


def written(log: str) -> str:
    """What the task itself wrote."""
    return Path(log).read_text().partition("\n#\n")[2].rpartition("# Accounting")[0]


# ---------------------------------------------------------------------------------------------------
# What a job sees and leaves


def test_log_and_q_folder(cluster: Daemons, folder: Path) -> None:
    result = run(cluster, "--num-threads", 2, "e/log/x.log", "echo", "hello world")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    expected = (
        rf"# Running on \S+\n# Started at {DATE}\n(# SLURM_\w+=.*\n)*# echo 'hello world'\n#\nhello world\n"
        rf"# Accounting: time=0 threads=2\n# Finished at {DATE} with status 0\n"
    )
    assert re.fullmatch(expected, Path("e/log/x.log").read_text())
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        *("e", "e/log", "e/log/x.log", "e/q", "e/q/sync", "e/q/x.log", "e/q/x.sh")
    ]


def test_arguments_folder_path_and_environment(cluster: Daemons, folder: Path) -> None:
    """All arrive as they are: names with blanks and quotes, path.sh, a PATH of one's own, the interpreter."""
    home = folder / "a b" / "it's $x"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "show").write_text(
        "#!/usr/bin/env python3\nimport json, os, sys\n"
        'out = {"args": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}\n'
        'json.dump(out, open("got", "w"))\n'
    )
    (home / "bin" / "show").chmod(0o755)
    if isinstance(cluster, GridEngine):  # a site's file may hand on neither PATH nor folder nor shell
        (home / "conf").mkdir()
        (home / "conf" / "queue.conf").write_text("command qsub\n")
    (home / "path.sh").write_text("export FROM_PATH_SH=$PWD; false\n")
    os.chdir(home)
    path = f"{home}/bin:{cluster.env['PATH']}"
    words = [*NASTY, "JOB", "a.JOB_b", "NJOB", "end"]
    args = ("JOB=12", "1 log's/JOB/x y.JOB.log", "show", *words)
    env = {"PATH": path, "SER_PYTHON": "/some where/python3", "OMP_NUM_THREADS": "2"}
    assert run(cluster, *args, **env).returncode == 0
    got = json.loads(Path("got").read_text())
    assert got["args"] == [*NASTY, "12", "a.12_b", "NJOB", "end"]
    assert got["cwd"] == got["env"]["FROM_PATH_SH"] == str(home)
    assert got["env"]["SER_PYTHON"] == "/some where/python3"
    assert got["env"]["OMP_NUM_THREADS"] == "2"  # what run.sh --num-threads 2 sets
    assert f"{home}/bin" in got["env"]["PATH"]
    assert (home / "1 log's/12/x y.12.log").exists()
    assert not (folder / "q").exists()


def test_shell_words_and_pipes(cluster: Daemons) -> None:
    """What is exactly | or > is the shell's; inside another argument it is not; a failing pipe fails."""
    words = [
        "printf",
        r"b\na\n",
        "|",
        "sort",
        ">",
        "out.JOB",
        ";",
        "bash",
        "-c",
        'expr 2 "|" 3 && false | cat',
    ]
    result = run(cluster, "JOB=1:2", "x.JOB.log", *words)
    assert [Path(f"out.{number}").read_text() for number in (1, 2)] == ["a\nb\n"] * 2
    assert (result.returncode, written("x.1.log")) == (0, "2\n")
    assert run(cluster, "y.log", "false", "|", "cat").returncode == 1


def test_failures_and_running_just_them_again(cluster: Daemons) -> None:
    for number, code in {2: 1, 3: 1, 5: 7}.items():
        Path(f"bad.{number}").write_text(f"{code}\n")
    script = "echo ran JOB; [[ ! -e bad.JOB ]] || exit $(cat bad.JOB)"
    array = ["JOB=1:6", "l/x.JOB.log", "bash", "-c", script]
    result = run(cluster, *array)
    name = cluster.program
    assert (result.returncode, result.stderr.splitlines()) == (
        1,
        [
            f"{name}: 3 / 6 failed, log is in l/x.*.log",
            f"{name}: JOB 2-3: code 1",
            f"{name}: JOB 5: code 7",
            f"{name}: the last lines of l/x.2.log:",
            "    ran 2",
            f"{name}: to run only these again: {name} --pick failed {shlex.join(array)}",
        ],
    )
    for log in Path("l").glob("*.log"):
        os.utime(log, (0, 0))
    for path in Path().glob("bad.*"):
        path.unlink()
    Path("bad.5").write_text("137\n")
    result = run(cluster, "--pick", "failed", *array)
    again = {log.name for log in Path("l").glob("*.log") if log.stat().st_mtime > 0}
    assert again == {"x.2.log", "x.3.log", "x.5.log"}
    assert [written(f"l/x.{number}.log") for number in (2, 3, 5)] == ["ran 2\n", "ran 3\n", "ran 5\n"]
    assert result.returncode == 1
    assert f"{name}: JOB 5: code 137: killed, most likely out of memory" in result.stderr
    assert run(cluster, "--pick", "incomplete", *array).returncode == 1  # it did end
    Path("bad.5").unlink()
    assert run(cluster, "--pick", "failed", *array).returncode == 0


def test_retries(cluster: Daemons) -> None:
    script = "echo try; [[ JOB == 2 || -e again.JOB ]] || { touch again.JOB; exit 3; }"
    result = run(cluster, "--retries", "2", "JOB=1:4", "x.JOB.log", "bash", "-c", script)
    assert (result.returncode, result.stderr) == (0, f"{cluster.program}: 3 failed; trying again (1 of 2)\n")
    assert sorted(path.name for path in Path().glob("*.bak")) == ["x.1.log.bak", "x.3.log.bak", "x.4.log.bak"]
    assert "with status 3" in Path("x.4.log.bak").read_text()
    assert "with status 0" in Path("x.4.log").read_text()


# ---------------------------------------------------------------------------------------------------
# How fast


def bare(cluster: Daemons, command: str, *array: str) -> float:
    """The seconds from submission until the scheduler, asked without a pause, knows of no running job."""
    Path("bare.sh").write_text(f"#!/bin/bash\n{command}\n")
    submit = ["sbatch", "-o", "/dev/null"]
    if isinstance(cluster, GridEngine):
        submit = ["qsub", "-cwd", "-S", "/bin/bash", "-o", "/dev/null", "-j", "y"]
    start = time.monotonic()
    subprocess.run([*submit, *array, "bare.sh"], env=cluster.env, check=True, capture_output=True)
    until(lambda: not cluster.jobs(), 60, "the job")
    return time.monotonic() - start


def ours(cluster: Daemons, *args: object) -> float:
    start = time.monotonic()
    result = run(cluster, *args)
    assert result.returncode == 0, result.stderr
    return time.monotonic() - start


def within(seconds: float, taken: Callable[[], float], needed: Callable[[], float]) -> bool:
    """Whether it is so in one of three tries, as the machine may have other work to do."""
    return any(taken() < needed() + seconds for _ in range(3))


def test_at_most_a_second_above_the_scheduler(cluster: Daemons) -> None:
    folders = iter(("new/1", "new/2", "new/3"))
    assert within(1.0, lambda: ours(cluster, f"{next(folders)}/x.log", "true"), lambda: bare(cluster, "true"))
    assert within(1.0, lambda: ours(cluster, "x.log", "true"), lambda: bare(cluster, "true"))
    assert within(1.0, lambda: ours(cluster, "x.log", "sleep", "3"), lambda: bare(cluster, "sleep 3"))


def test_two_at_a_time(cluster: Daemons) -> None:
    code = "import time; a = time.time(); time.sleep(1); print(a, time.time())"
    two = ["--max-jobs-run", 2, "JOB=1:4"]
    ours(cluster, *two, "t.JOB.log", "python3", "-SE", "-c", code)
    spans = [tuple(map(float, written(f"t.{n}.log").split())) for n in range(1, 5)]
    assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) == 2
    array = ("-t", "1-4", "-tc", "2") if isinstance(cluster, GridEngine) else ("--array=1-4%2",)
    sleep = "sleep 1"
    assert within(
        1.0, lambda: ours(cluster, *two, "x.JOB.log", *sleep.split()), lambda: bare(cluster, sleep, *array)
    )


def test_the_end_is_seen_at_once(cluster: Daemons) -> None:
    def delay() -> float:
        assert (
            run(cluster, "x.log", "python3", "-SE", "-c", "import time; print(time.time())").returncode == 0
        )
        return time.time() - float(written("x.log"))

    assert any(delay() < 0.3 for _ in range(10))


def test_a_thousand_tasks(slurm: Daemons, folder: Path) -> None:
    """Squeue is asked about all of them together, at most once a second, later once in three."""
    (folder / "bin").mkdir()
    for name in ("squeue", "sinfo", "sacct", "scontrol", "scancel"):
        script = f'#!/bin/sh\necho {name} >>"{folder}/calls"\nexec /usr/bin/{name} "$@"\n'
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    start = time.monotonic()
    path = f"{folder}/bin:{slurm.env['PATH']}"
    result = run(slurm, "JOB=1:1000", "l/x.JOB.log", "true", timeout=280, PATH=path)
    taken = time.monotonic() - start
    assert (result.returncode, result.stderr.count("failed")) == (0, result.stderr.count("0 failed"))
    assert len(list(Path("l").glob("*.log"))) == 1000
    calls = Path("calls").read_text().split()
    assert set(calls) <= {"squeue", "sinfo"}
    assert len(calls) <= 2 * (min(taken, 60) + max(0, taken - 60) / 3)
