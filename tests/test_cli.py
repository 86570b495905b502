"""A verb's way out: exit codes, one line for a mistake, a traceback for a bug."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ser import cli
from ser.ranges import Range

VERB = """
import os, sys, time
from ser import cli, errors
parser = cli.Parser("What it does.\\n\\n    an example", "verb")
parser.add_argument("what", type=lambda text: eval(text), metavar="what")
def main(argv=None):
    what = parser.parse_args(argv).what
    if isinstance(what, BaseException):
        raise what
    if what == "wait":
        print("ready", flush=True)
        time.sleep(60)
    if what == "fork":
        os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), int(os.environ["STOP"])))
        if os.fork() == 0:
            os._exit(0)
        time.sleep(60)
    if what == "flood":
        for i in range(100000):
            print("a line that nobody reads")
    print("result")
    cli.log.info("a message")
    return 0
cli.run(main)
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", VERB, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    """No file takes the number of a stream that is written to."""
    code = VERB.replace('print("result")', f'stream = open("{tmp_path}/a", "w"); print("result", flush=True)')
    line = f'exec "$@" {closed}'
    done = subprocess.run(["bash", "-c", line, "x", sys.executable, "-c", code, "1"], check=False)
    assert done.returncode == 0
    assert (tmp_path / "a").read_text() == ""


def test_a_stdout_that_takes_ascii_only() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    line = [sys.executable, "-c", VERB, "print('\\xe9')"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, "\\xe9\nresult\n")


def test_python_without_checks_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-c", VERB, "1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ser: error: Python must not run with -O or PYTHONOPTIMIZE; unset it (try --help)\n"


def test_done() -> None:
    done = run("1")
    assert (done.returncode, done.stdout) == (0, "result\n")
    date, _, message = done.stderr.partition(" ")
    assert message == "a message\n"
    assert len(date) == len("2026-01-31T12:00:00")


@pytest.mark.parametrize(
    ("mistake", "code", "message"),
    [
        ("errors.DataError('a:1: bad; do')", 1, "ser: error: a:1: bad; do\n"),
        ("errors.StaleError('a: old; do')", 1, "ser: error: a: old; do\n"),
        ("errors.ConfigError('a: bad; do')", 1, "ser: error: a: bad; do\n"),
        ("errors.CheckpointError('a: bad; do')", 1, "ser: error: a: bad; do\n"),
        ("errors.all_of(['a:1: x', 'a:2: y'])", 1, "ser: error: a:1: x\na:2: y\n"),
        ("errors.UsageError('--job 9: no')", 2, "ser: error: --job 9: no (try --help)\n"),
        ("KeyboardInterrupt()", 130, "ser: stopped (interrupt); run the same command again to go on\n"),
    ],
)
def test_a_mistake_is_one_line(mistake: str, code: int, message: str) -> None:
    done = run(mistake)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


def test_a_bug_keeps_its_traceback() -> None:
    done = run("ZeroDivisionError('division')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ZeroDivisionError: division\n")


def test_wrong_usage_is_exit_2() -> None:
    for words in ((), ("1", "2"), ("1", "--nope")):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: ser verb [-h] what\nser verb: error: ")


def test_help_is_the_docstring_as_it_stands() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "usage: ser verb [-h] what\n\nWhat it does.\n\n    an example\n" in done.stdout


stops = pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGTERM, 143, "ser: stopped (SIGTERM); run the same command again to go on\n"),
        (signal.SIGINT, 130, "ser: stopped (interrupt); run the same command again to go on\n"),
    ],
)


@stops
def test_a_signal_ends_it_in_one_line(number: signal.Signals, code: int, message: str) -> None:
    command = [sys.executable, "-c", VERB, "'wait'"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as verb:
        assert verb.stdout is not None
        assert verb.stdout.readline() == "ready\n"
        verb.send_signal(number)
        out, err = verb.communicate(timeout=20)
    assert (verb.returncode, out, err) == (code, "", message)


@stops
def test_a_signal_is_not_lost_where_python_cannot_raise(
    number: signal.Signals, code: int, message: str
) -> None:
    """At a fork Python would print the exception and go on."""
    done = subprocess.run(
        [sys.executable, "-c", VERB, "'fork'"],
        env={**os.environ, "STOP": str(int(number))}, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


def test_a_closed_pipe_is_no_bug() -> None:
    command = [sys.executable, "-c", VERB, "'flood'"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as verb:
        assert verb.stdout is not None
        assert verb.stderr is not None
        verb.stdout.readline()
        verb.stdout.close()
        assert verb.stderr.read() == ""
        assert verb.wait(timeout=20) == 141


def test_progress_gives_everything_and_keeps_quiet_when_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(cli.progress(range(5), "x")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr() == ("", "")


def test_an_argument_that_must_be_a_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("a")
    parser = cli.Parser("x", "x")
    parser.add_argument("data", type=cli.existing_dir)
    assert parser.parse_args([str(folder)]).data == folder
    with pytest.raises(SystemExit) as stop:
        parser.parse_args([str(folder / "b")])
    assert stop.value.code == 2


def test_options_cannot_be_shortened() -> None:
    parser = cli.Parser("x", "x")
    parser.add_argument("--num-jobs", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(["--num", "3"])


@pytest.mark.parametrize("text", ["-1", "10", "x", "1.0", "1_0", "", "١", "9" * 5000])
def test_numbers_have_their_range(text: str) -> None:
    assert cli.whole(Range(0, 9))("7") == 7
    with pytest.raises(argparse.ArgumentTypeError) as error:
        cli.whole(Range(0, 9))(text)
    assert str(error.value) == f"must be a whole number from 0 to 9, got {text[:20]}"
