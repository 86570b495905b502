"""utils/log.sh: messages, exit codes, stages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


def bash(repo: Path, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'. "{repo}/utils/log.sh"\n{text}', "steps/demo.sh"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("log a  '%s \\n' b", 0, r"demo.sh: a %s \n b"),
        ("die no such file; echo on", 1, "demo.sh: error: no such file"),
        ("usage_die needs '<dir>'; echo on", 2, "demo.sh: error: needs <dir> (try --help)"),
    ],
)
def test_messages(repo: Path, text: str, code: int, line: str) -> None:
    result = bash(repo, text)
    assert (result.returncode, result.stdout) == (code, "")
    assert re.fullmatch(DATE + " " + re.escape(line) + "\n", result.stderr)


@pytest.mark.parametrize(
    ("first", "last", "ran"), [(0, 3, [0, 1, 2, 3]), (2, 100, [2, 3]), (-1, 0, [0]), (1, 1, [1]), (3, 2, [])]
)
def test_stages(repo: Path, first: int, last: int, ran: list[int]) -> None:
    stages = "\n".join(f'if in_stage {n} "title {n}"; then echo {n}; fi' for n in range(4))
    result = bash(repo, f"stage={first} stop_stage={last}\n{stages}")
    assert (result.returncode, result.stdout.split()) == (0, [str(n) for n in ran])
    logged = [line.partition(" ")[2] for line in result.stderr.splitlines()]
    assert logged == [f"demo.sh: stage {n}: title {n}" for n in ran]


def test_no_stage_without_the_options(repo: Path) -> None:
    result = bash(repo, "in_stage 1 x; echo on")
    assert (result.returncode != 0, result.stdout) == (True, "")


def test_shell_options_stay(repo: Path) -> None:
    result = subprocess.run(
        [
            "bash",
            "-c",
            f'before=$(set +o; shopt); . "{repo}/utils/log.sh"; [[ $before == "$(set +o; shopt)" ]]',
        ],
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_warnings_of_jobs_are_told_once(repo: Path, tmp_path: Path) -> None:
    date = "2026-01-02T03:04:05"
    (tmp_path / "a.1.log").write_text(f"# a command\n{date} warning: x: y\n{date} fine\nwarning: no date\n")
    (tmp_path / "a.2.log").write_text(f"{date} warning: x: y\n" + f"{date} warning: $(z) \\n *\n")
    result = bash(repo, f"tell_warnings {tmp_path}/a.*.log")
    assert (result.returncode, result.stdout) == (0, "")
    lines = [line.partition(" ")[2] for line in result.stderr.splitlines()]
    assert lines == ["demo.sh: warning: x: y", "demo.sh: warning: $(z) \\n *"]
    (tmp_path / "a.3.log").write_text("".join(f"{date} warning: {number}\n" for number in range(12)))
    lines = bash(repo, f"tell_warnings {tmp_path}/a.*.log").stderr.splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith(f"demo.sh: warning: and 4 more in the logs, {tmp_path}/a.3.log and beside it")
