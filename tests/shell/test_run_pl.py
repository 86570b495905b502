"""utils/run.pl: Kaldi's command line, logs, failures, picking, signals, resources."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cluster.daemons import soon, until

DATE = r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \S+ \d{4}"
RUN_PL = Path(__file__).resolve().parents[2] / "utils" / "run.pl"
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_pl(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(RUN_PL), *map(str, args)],
        env={"PATH": PATH, "LC_ALL": "C", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def written(log: str) -> str:
    """What the task itself wrote."""
    return Path(log).read_text().partition("\n#\n")[2].rpartition("# Accounting")[0]


def ran(*args: object, **env: str) -> str:
    """What a task that succeeds writes into the log x.log."""
    result = run_pl(*args, **env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return written("x.log")


# ---------------------------------------------------------------------------------------------------
# The log


def test_log_is_kaldi_s() -> None:
    assert run_pl("--num-threads", 3, "log/x.log", "echo", "hello world").returncode == 0
    expected = (
        rf"# echo 'hello world'\n# Started at {DATE}\n#\nhello world\n"
        rf"# Accounting: time=0 threads=3\n# Ended \(code 0\) at {DATE}, elapsed time 0 seconds\n"
    )
    assert re.fullmatch(expected, Path("log/x.log").read_text())


def test_both_streams_and_an_older_log() -> None:
    Path("x.log").write_text("old")
    assert sorted(ran("x.log", "bash", "-c", "echo out; echo err >&2").split()) == ["err", "out"]
    assert "old" not in Path("x.log").read_text()


def test_no_input() -> None:
    assert ran("x.log", "cat") == ""


def test_log_with_blanks_and_quotes(folder: Path) -> None:
    assert run_pl("a b/it's $x.log", "echo", "a").returncode == 0
    assert written("a b/it's $x.log") == "a\n"
    assert [path.name for path in folder.iterdir()] == ["a b"]


# ---------------------------------------------------------------------------------------------------
# Arguments


NASTY = [
    "it's",
    'c"d e',
    "a&b",
    "x $HOME y",
    "$$",
    "{a,b}",
    "*",
    "~",
    "",
    "two\nlines",
    "`id`",
    "\\",
    "é",
    "a;b",
    "#x",
]


@pytest.mark.parametrize("word", NASTY)
def test_arguments_arrive_unchanged(word: str) -> None:
    show = "import json, sys; json.dump(sys.argv[1:], open('got', 'w'))"
    ran("x.log", "python3", "-c", show, word, "end")
    assert json.loads(Path("got").read_text()) == [word, "end"]


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["printf", r"b\na\n", "|", "sort"], "a\nb\n"),
        (["echo", "a", ">", "f", "&&", "cat", "<", "f"], "a\n"),
        (["echo", "a", ">", "f", ";", "echo", "b", ">>", "f", ";", "cat", "f"], "a\nb\n"),
        (["false", "||", "echo", "or"], "or\n"),
        (["bash", "-c", "echo e >&2", "2>&1", "|", "sed", "s/e/f/"], "f\n"),
    ],
)
def test_shell_words(words: list[str], output: str) -> None:
    assert ran("x.log", *words) == output


def test_a_failing_pipe_fails() -> None:
    assert run_pl("x.log", "false", "|", "cat").returncode == 1


# ---------------------------------------------------------------------------------------------------
# Arrays


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("JOB", "2"),
        ("a.JOB.b", "a.2.b"),
        ("a_JOB_b", "a_2_b"),
        ("JOB/JOB", "2/2"),
        ("NJOB", "NJOB"),
        ("JOBS", "JOBS"),
        ("JOB2", "JOB2"),
        ("job", "job"),
    ],
)
def test_the_number_replaces_whole_words(word: str, becomes: str) -> None:
    assert run_pl("JOB=2:3", "x.JOB.log", "echo", word).returncode == 0
    assert written("x.2.log") == f"{becomes}\n"


def test_any_name_any_range_in_folders() -> None:
    assert run_pl("--mem", "1M", "TASK=7:9", "--time", "1:00", "l/TASK/x.log", "echo", "TASK").returncode == 0
    assert [written(f"l/{n}/x.log") for n in (7, 8, 9)] == ["7\n", "8\n", "9\n"]


def test_an_array_of_one() -> None:
    assert run_pl("JOB=4", "x.JOB.log", "echo", "JOB").returncode == 0
    assert written("x.4.log") == "4\n"


def most_at_once(*args: object) -> int:
    """How many of eight tasks ran at the same time."""
    code = "import time; a = time.time(); time.sleep(0.4); print(a, time.time())"
    assert run_pl(*args, "JOB=1:8", "t.JOB.log", "python3", "-SE", "-c", code).returncode == 0
    spans = [tuple(map(float, written(f"t.{n}.log").split())) for n in range(1, 9)]
    return max(sum(a <= start < b for a, b in spans) for start, _ in spans)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "most"),
    [
        (["--max-jobs-run", 3], 3),
        (["-tc", 2], 2),
        (["--max-jobs-run", 3, "--max-jobs-run=8"], 3),
        (["--num-threads", 10**6], 1),
        (["--mem", "999T"], 1),
    ],
)
def test_how_many_at_once(options: list[object], most: int) -> None:
    assert most_at_once(*options) == most


def test_by_default_one_a_processor() -> None:
    assert most_at_once() <= len(os.sched_getaffinity(0))


def test_quick() -> None:
    start = time.monotonic()
    assert run_pl("--max-jobs-run", 2, "JOB=1:100", "l/x.JOB.log", "true").returncode == 0
    assert time.monotonic() - start < soon(3)  # 0.2 s on an idle machine


# ---------------------------------------------------------------------------------------------------
# Wrong usage


USAGE = "usage: run.pl [options] [JOB=1:n] log-file command-line arguments... (try --help)"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 255, USAGE),
        (["x.log"], 255, USAGE),
        (["--mem", "2G", "JOB=1:2", "x.JOB.log"], 255, USAGE),
        (
            ["JOB=0:2", "x.JOB.log", "true"],
            255,
            "invalid job range JOB=0:2, start must be strictly positive and not above the end (it was 0:2)",
        ),
        (
            ["JOB=3:2", "x.JOB.log", "true"],
            255,
            "invalid job range JOB=3:2, start must be strictly positive and not above the end (it was 3:2)",
        ),
        (
            ["JOB=1:2", "x.log", "true"],
            1,
            "you are trying to run a parallel job but you are putting the output into just one log file "
            "(x.log); put JOB into its name",
        ),
        (["--mem"], 255, "option --mem needs a value (try --help)"),
        (["--mem", "--gpu", "1", "x.log", "true"], 255, "option --mem needs a value (try --help)"),
        (["--mem", "much", "x.log", "true"], 255, "option --mem is a size such as 500M or 4G, not 'much'"),
        (
            ["--max-jobs-run", "0", "x.log", "true"],
            255,
            "option --max-jobs-run is a whole number of 1 or more, not '0'",
        ),
        (
            ["--num-threads", "x", "x.log", "true"],
            255,
            "option --num-threads is a whole number of 1 or more, not 'x'",
        ),
        (["--gpu", "all", "x.log", "true"], 255, "option --gpu is a whole number of 0 or more, not 'all'"),
        (
            ["--pick", "some", "x.log", "true"],
            255,
            "option --pick is one of all, failed, incomplete, not 'some'",
        ),
    ],
)
def test_wrong_usage(folder: Path, args: list[str], code: int, message: str) -> None:
    result = run_pl(*args)
    assert (result.returncode, result.stdout, result.stderr) == (code, "", f"run.pl: {message}\n")
    assert list(folder.iterdir()) == []


def test_a_cluster_s_options_are_taken() -> None:
    options = ["-l", "arch=*64*", "-V", "-pe", "smp", "4", "-q", "all.q", "-sync", "y"]
    assert ran(*options, "--config", "conf/x", "--time=1:0:0", "x.log", "echo", "a") == "a\n"


def test_an_unknown_option_is_named_and_taken() -> None:
    result = run_pl("--max-job-run", 2, "x.log", "echo", "--a", "-b")
    assert (result.returncode, written("x.log")) == (0, "--a -b\n")
    assert result.stderr == "run.pl: warning: option --max-job-run is not known here and has no effect\n"


def test_a_broken_range_is_suspicious() -> None:
    result = run_pl("JOB=1:x", "true")
    assert "warning: 'JOB=1:x' is taken for the log file; a job range looks like JOB=1:10" in result.stderr


def test_help() -> None:
    result = run_pl("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage: run.pl [options] [JOB=1:n] [options] <log-file> <command>" in result.stdout


# ---------------------------------------------------------------------------------------------------
# Failures


def test_a_failed_task() -> None:
    result = run_pl("l/x.log", "bash", "-c", "for i in {1..20}; do echo line $i; done; exit 3")
    assert result.returncode == 1
    lines = [f"    line {n}" for n in range(11, 21)]
    assert result.stderr.splitlines() == [
        "run.pl: job failed, log is in l/x.log (code 3)",
        "run.pl: the last lines of l/x.log:",
        *lines,
    ]
    assert re.search(r"# Ended \(code 3\) at", Path("l/x.log").read_text())


def test_forgotten_range() -> None:
    result = run_pl("x.JOB.log", "false")
    assert result.stderr.splitlines() == [
        "run.pl: job failed, log is in x.JOB.log (code 1)",
        "run.pl: probably you forgot to put JOB=1:$nj in your script.",
        "run.pl: x.JOB.log: the task wrote nothing",
    ]


@pytest.mark.parametrize(
    ("script", "text", "footer"),
    [
        ("kill -9 $$", "code 137: killed, most likely out of memory", "code 137; signal 9"),
        ("kill -SEGV $$", "code 139: segmentation fault", "code 139; signal 11"),
        ("bash -c 'kill -9 $$'; exit $?", "code 137: killed, most likely out of memory", "code 137"),
        ("no-such-program", "code 127: command not found", "code 127"),
        ("kill -USR1 $$", "code 138: signal 10", "code 138; signal 10"),
    ],
)
def test_how_it_ended(script: str, text: str, footer: str) -> None:
    result = run_pl("x.log", "bash", "-c", script)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == f"run.pl: job failed, log is in x.log ({text})"
    assert f"# Ended ({footer}) at" in Path("x.log").read_text()


FAIL = ["bash", "-c", "echo ran JOB; [[ ! -e bad.JOB ]] || exit $(cat bad.JOB)"]


def test_failures_of_an_array_and_running_them_again() -> None:
    for number, code in {2: 1, 3: 1, 4: 1, 6: 1, 7: 137}.items():
        Path(f"bad.{number}").write_text(f"{code}\n")
    array = ["JOB=1:8", "l/x.JOB.log", *FAIL]
    result = run_pl(*array)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "run.pl: 5 / 8 failed, log is in l/x.*.log",
        "run.pl: JOB 2-4 6: code 1",
        "run.pl: JOB 7: code 137: killed, most likely out of memory",
        "run.pl: the last lines of l/x.2.log:",
        "    ran 2",
        f"run.pl: to run only these again: run.pl --pick failed JOB=1:8 l/x.JOB.log bash -c '{FAIL[2]}'",
    ]
    assert len(list(Path("l").iterdir())) == 8  # all ran to the end

    for log in Path("l").iterdir():
        os.utime(log, (0, 0))
    for number in (2, 3, 4, 7):
        Path(f"bad.{number}").unlink()
    assert run_pl("--pick", "failed", *array).returncode == 1  # 6 fails again
    again = {log.name for log in Path("l").iterdir() if log.stat().st_mtime > 0}
    assert again == {f"x.{n}.log" for n in (2, 3, 4, 6, 7)}

    Path("bad.6").unlink()
    assert run_pl("--pick=incomplete", *array).stderr.startswith("run.pl: 1 / 8 failed")  # it did end
    assert run_pl("--pick=failed", *array).returncode == 0
    assert run_pl("--pick=failed", *array).returncode == 0  # nothing left


def test_pick_incomplete() -> None:
    for number, footer in {1: "# Ended (code 0) at x", 2: "half", 3: "# Finished at x with status 0"}.items():
        Path(f"x.{number}.log").write_text(f"old\n{footer}\n")
    assert run_pl("--pick", "incomplete", "JOB=1:4", "x.JOB.log", "echo", "new").returncode == 0
    assert ["old" in Path(f"x.{n}.log").read_text() for n in range(1, 5)] == [True, False, True, False]


def test_retries() -> None:
    script = "echo try; [[ JOB == 2 || -e again.JOB ]] || { touch again.JOB; exit 3; }"
    result = run_pl("--retries", 2, "JOB=1:3", "x.JOB.log", "bash", "-c", script)
    assert (result.returncode, result.stderr) == (0, "run.pl: 2 failed; trying again (1 of 2)\n")
    assert sorted(path.name for path in Path().glob("x.*")) == [
        *("x.1.log", "x.1.log.bak", "x.2.log", "x.3.log", "x.3.log.bak")
    ]
    assert "(code 3)" in Path("x.3.log.bak").read_text()
    result = run_pl("--retries", 1, "x.log", "false")
    assert result.returncode == 1
    assert result.stderr.startswith(
        "run.pl: 1 failed; trying again (1 of 1)\nrun.pl: job failed, log is in x"
    )


def test_retries_that_the_environment_asks_for() -> None:
    """So that the lines of cmd.sh hold nothing that Kaldi's runners refuse."""
    said = run_pl("x.log", "false", SER_RETRIES="1").stderr
    assert said.startswith("run.pl: 1 failed; trying again (1 of 1)\nrun.pl: job failed, log is in x")
    assert "trying again" not in run_pl("--retries", 0, "x.log", "false", SER_RETRIES="1").stderr
    assert "trying again" not in run_pl("x.log", "false", SER_RETRIES="").stderr
    wrong = run_pl("x.log", "false", SER_RETRIES="often")
    assert wrong.returncode == 255
    assert wrong.stderr == "run.pl: option --retries is a whole number of 0 or more, not 'often'\n"


def test_a_shell_word_inside_another_argument_is_no_shell_word() -> None:
    assert ran("x.log", "bash", "-c", 'printf "%s\\n" "|" ">"') == "|\n>\n"


def test_a_log_that_cannot_be_written() -> None:
    Path("file").touch()
    result = run_pl("file/x.log", "true")
    assert result.returncode == 1
    assert re.fullmatch(r"run.pl: cannot run: .*'file'.*\n", result.stderr)


# ---------------------------------------------------------------------------------------------------
# Signals


def alive(mark: str) -> bool:
    """Whether a process has this word in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def wait_for(path: str) -> None:
    for _ in range(400):
        if Path(path).exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_everything(signum: str, code: int) -> None:
    mark = f"300.{os.getpid()}"
    script = f"sleep {mark} & touch up.JOB; sleep {mark} | sleep {mark}"
    command = [str(RUN_PL), "--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", "bash", "-c", script]
    Path("x.3.log").write_text("# Ended (code 0) at an earlier time\n")
    process = subprocess.Popen(command, env={"PATH": PATH}, stderr=subprocess.PIPE, text=True)
    wait_for("up.1")
    wait_for("up.2")
    start = time.monotonic()
    process.send_signal(signal.Signals[signum])
    _, stderr = process.communicate(timeout=20)
    assert time.monotonic() - start < soon(4)
    assert (process.returncode, stderr) == (code, f"run.pl: stopped by {signum} with 1 tasks not started\n")
    assert not alive(mark)
    for number in (1, 2):
        assert "# Ended (code 143; signal 15) at" in Path(f"x.{number}.log").read_text()
    assert not Path("x.3.log").exists()  # it would say that the task is done


@pytest.mark.slow
def test_who_does_not_listen_is_killed() -> None:
    mark = f"301.{os.getpid()}"
    script = f"trap '' TERM; touch up; sleep {mark}; sleep {mark}"
    command = [str(RUN_PL), "x.log", "bash", "-c", script]
    process = subprocess.Popen(command, env={"PATH": PATH}, stderr=subprocess.PIPE)
    wait_for("up")
    start = time.monotonic()
    process.terminate()
    process.communicate(timeout=20)
    assert 4.9 < time.monotonic() - start < soon(8)
    assert process.returncode == 143
    assert "# Ended (code 137; signal 9)" in Path("x.log").read_text()
    assert not alive(mark)


def test_a_second_signal_waits_no_longer() -> None:
    mark = f"302.{os.getpid()}"
    script = f"trap '' TERM; touch up; sleep {mark}; sleep {mark}"
    process = subprocess.Popen(
        [str(RUN_PL), "x.log", "bash", "-c", script], env={"PATH": PATH}, stderr=subprocess.PIPE
    )
    wait_for("up")
    start = time.monotonic()
    process.terminate()
    time.sleep(0.3)
    process.terminate()
    process.communicate(timeout=20)
    assert time.monotonic() - start < soon(3)
    assert not alive(mark)


@pytest.mark.parametrize("signum", ["SIGKILL", "SIGSTOP"])
def test_no_task_outlives_a_runner_that_is_killed(signum: str) -> None:
    """Neither a child of its own nor what that has started."""
    mark = f"303.{os.getpid()}"
    script = f"sleep {mark} & touch up.JOB; sleep {mark} | sleep {mark}"
    command = [str(RUN_PL), "--max-jobs-run", "2", "JOB=1:2", "x.JOB.log", "bash", "-c", script]
    process = subprocess.Popen(command, env={"PATH": PATH}, start_new_session=True)
    wait_for("up.1")
    wait_for("up.2")
    process.send_signal(signal.Signals[signum])
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not alive(mark), 3, "the end of all tasks")


# ---------------------------------------------------------------------------------------------------
# Links that somebody has planted


def test_a_log_is_not_written_through_a_link(folder: Path) -> None:
    (folder / "victim").write_text("of somebody\n")
    (folder / "x.1.log").symlink_to("victim")
    assert run_pl("JOB=1:1", "x.JOB.log", "echo", "a").returncode == 0
    assert (folder / "victim").read_text() == "of somebody\n"
    assert not (folder / "x.1.log").is_symlink()


# ---------------------------------------------------------------------------------------------------
# GPUs and the terminal

SMI = """\
#!/bin/sh
echo "GPU 0: NVIDIA H200 (UUID: GPU-0)"
echo "  MIG 1g.18gb Device 0: (UUID: MIG-0)"
echo "GPU 1: NVIDIA H200 (UUID: GPU-1)"
"""


@pytest.fixture
def two_gpus(folder: Path) -> str:
    """A PATH with an nvidia-smi that lists two."""
    (folder / "bin").mkdir()
    (folder / "bin" / "nvidia-smi").write_text(SMI)
    (folder / "bin" / "nvidia-smi").chmod(0o755)
    return f"{folder}/bin:{PATH}"


ECHO_GPUS = ["bash", "-c", "sleep 0.3; echo ${CUDA_VISIBLE_DEVICES-unset}"]


def test_each_slot_has_its_gpu(two_gpus: str) -> None:
    args = ["--gpu", "1", "--num-threads", "1", "--max-jobs-run", "2", "JOB=1:4", "x.JOB.log", *ECHO_GPUS]
    assert run_pl(*args, PATH=two_gpus).returncode == 0
    got = [written(f"x.{n}.log").strip() for n in range(1, 5)]
    assert (sorted(got[:2]), sorted(got[2:])) == (["0", "1"], ["0", "1"])


def test_two_gpus_for_one_task(two_gpus: str) -> None:
    assert ran("--gpu", 2, "x.log", *ECHO_GPUS, PATH=two_gpus) == "0,1\n"


def test_more_tasks_than_gpus_share_them_when_told_so(two_gpus: str) -> None:
    result = run_pl("--gpu", 1, "--max-jobs-run", 4, "JOB=1:4", "x.JOB.log", *ECHO_GPUS, PATH=two_gpus)
    assert result.returncode == 0
    assert [written(f"x.{n}.log") for n in range(1, 5)] == ["0\n", "1\n", "0\n", "1\n"]


def test_gpus_the_user_allows(two_gpus: str) -> None:
    assert ran("--gpu", 1, "x.log", *ECHO_GPUS, PATH=two_gpus, CUDA_VISIBLE_DEVICES="5,MIG-x") == "5\n"


def test_without_the_option_the_variable_stays(two_gpus: str) -> None:
    assert ran("x.log", *ECHO_GPUS, PATH=two_gpus) == "unset\n"
    assert ran("--gpu", 0, "x.log", *ECHO_GPUS, PATH=two_gpus, CUDA_VISIBLE_DEVICES="3") == "3\n"


@pytest.mark.parametrize(
    ("wanted", "visible", "have"),
    [(1, "", "none is visible (see nvidia-smi -L)"), (3, "0,1", "2 are visible")],
)
def test_too_few_gpus(wanted: int, visible: str, have: str) -> None:
    result = run_pl("--gpu", wanted, "x.log", "true", CUDA_VISIBLE_DEVICES=visible)
    assert result.returncode == 1
    assert result.stderr == (
        f"run.pl: --gpu {wanted}, but {have}; run the script with --use-gpu no, or where there are GPUs\n"
    )


def test_progress_on_a_terminal() -> None:
    leader, follower = pty.openpty()
    command = [str(RUN_PL), "--max-jobs-run", "1", "JOB=1:2", "x.JOB.log", "sh", "-c", "exit $((JOB - 1))"]
    process = subprocess.Popen(command, env={"PATH": PATH}, stderr=follower)
    os.close(follower)
    process.wait(timeout=20)
    text = os.read(leader, 65536).decode()
    os.close(leader)
    shown = re.findall(r"run.pl: (\d/2 done, \d failed)", text)
    assert shown == ["0/2 done, 0 failed", "1/2 done, 0 failed"]
    assert "run.pl: 1 / 2 failed" in text


def test_progress_shows_what_a_task_says() -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    script = (
        "echo 2026-01-02T03:04:05 epoch 3/9 of a very long line that no terminal of fifty holds; sleep 1.5"
    )
    process = subprocess.Popen(
        [str(RUN_PL), "x.log", "sh", "-c", script], env={"PATH": PATH}, stderr=follower
    )
    os.close(follower)
    process.wait(timeout=20)
    text = os.read(leader, 65536).decode()
    os.close(leader)
    lines = text.split("\r\033[K")
    assert "run.pl: 0/1 done, 0 failed; epoch 3/9 of a very l" in lines
    assert max(map(len, lines)) == 49


def test_nobody_listens() -> None:
    """With standard error closed early, the tasks still run to their end."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [str(RUN_PL), "JOB=1:2", "x.JOB.log", "bash", "-c", "echo JOB; exit 1"]
    assert subprocess.run(command, env={"PATH": PATH}, stderr=writer, check=False).returncode == 1
    os.close(writer)
    assert [written(f"x.{n}.log") for n in (1, 2)] == ["1\n", "2\n"]
