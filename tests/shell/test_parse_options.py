"""utils/parse_options.sh, driven as the user of a script drives it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPT = """\
#!/usr/bin/env bash
# Usage: demo.sh [options] <dir>
#
# Demonstrates options.

set -euo pipefail

nj=4                     # parallel jobs
cmd="run.pl --mem 2G"    # how jobs are run, here or on a cluster (see cmd.sh)
name=                    # a label
line=a                   # as a name inside the parser
keep=false               # keep temporary files
set=()                   # override a setting, key=value
contexts=(20 40)         # contexts in frames
start=-1                 # first task
date=$(printf today)
. "$UTILS/parse_options.sh"
late=1 # below the parser

printf '%s|' "$nj" "$cmd" "$name" "$line" "$keep" "$start" "${set[*]@Q}" "${contexts[*]}" "$@"
compgen -v _po_ || true
compgen -A function _po_ || true
"""
DEFAULTS = ["4", "run.pl --mem 2G", "", "a", "false", "-1", "", "20 40"]


@pytest.fixture
def demo(tmp_path: Path, repo: Path) -> Run:
    script = tmp_path / "demo.sh"
    script.write_text(SCRIPT)

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        return subprocess.run(
            ["bash", str(script), *args],
            env={"UTILS": f"{repo}/utils", "PATH": path, "lower": "x", **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )

    return run


@pytest.mark.parametrize(
    ("args", "changes"),
    [
        (["d"], {8: "d"}),
        (["--nj", "8", "d"], {0: "8", 8: "d"}),
        (["--nj=8", "--nj=9"], {0: "9"}),
        (["--nj", "0", "--start", "-3"], {0: "0", 5: "-3"}),
        (["--keep", "true"], {4: "true"}),
        (["--keep"], {4: "true"}),
        (["--keep", "--nj", "3"], {0: "3", 4: "true"}),
        (["--keep", "--keep=false"], {}),
        (["--keep", "--", "d"], {4: "true", 8: "d"}),
        (["--cmd", "queue.pl", "d", "--nj", "3"], {1: "queue.pl", 8: "d", 9: "--nj", 10: "3"}),
        (["--name", "$(id) \"q\" 'r' `x` a* \\n %s"], {2: "$(id) \"q\" 'r' `x` a* \\n %s"}),
        (["--name", "two\nlines"], {2: "two\nlines"}),
        (["--name=a=b"], {2: "a=b"}),
        (["--name=--nj"], {2: "--nj"}),
        (["--name", ""], {}),
        (["--name="], {}),
        (["--line", "x", "--date"], None),
        (["--line", "x"], {3: "x"}),
        (["--set", "a=1", "--set", "b='2 3'"], {6: r"'a=1' 'b='\''2 3'\'''"}),
        (["--contexts", "60", "--contexts=80"], {7: "60 80"}),
        (["--", "--nj"], {8: "--nj"}),
        (["-", "a"], {8: "-", 9: "a"}),
        (["", "a"], {8: "", 9: "a"}),
    ],
)
def test_values(demo: Run, args: list[str], changes: dict[int, str] | None) -> None:
    result = demo(*args)
    if changes is None:
        assert result.returncode == 2
        return
    expected = DEFAULTS + [""] * (max([7, *changes]) - 7)
    for position, value in changes.items():
        expected[position] = value
    assert (result.returncode, result.stdout, result.stderr) == (0, "".join(f"{v}|" for v in expected), "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--nj"], "option '--nj' needs a value"),
        (["--nj", "--keep"], "option '--nj' needs a value"),
        (["--nj", "abc"], "option '--nj' is a whole number, not 'abc'"),
        (["--nj", "1 2"], "option '--nj' is a whole number, not '1 2'"),
        (["--nj", ""], "option '--nj' is a whole number, not ''"),
        (["--nj", "99999999999999999999"], "option '--nj' is a whole number of up to 9 digits, not "
         "'99999999999999999999'"),
        (["--nj=08"], "option '--nj' is a whole number, not '08'"),
        (["--start", "a[$(id)]"], "option '--start' is a whole number, not 'a[$(id)]'"),
        (["--keep", "yes"], "option '--keep' is true or false, not 'yes'"),
        (["--keep="], "option '--keep' is true or false, not ''"),
        (["--sett", "3"], "unknown option '--sett'; did you mean '--set' or '--start'?"),
        (["--context=3"], "unknown option '--context'; did you mean '--contexts'?"),
        (["-nj", "1"], "unknown option '-nj'; did you mean '--nj'?"),
        (["--zzz", "3"], "unknown option '--zzz'"),
        (["--PATH", "x"], "unknown option '--PATH'"),
        (["--lower", "x"], "unknown option '--lower'"),
        (["---set", "x"], "unknown option '---set'; did you mean '--set'?"),
        (["--_po_names", "x"], "unknown option '--_po_names'; did you mean '--name'?"),
        (["--x;id", "1"], "unknown option '--x;id'"),
        (["--n*", "1"], "unknown option '--n*'"),
        (["--a[$(id)]", "1"], "unknown option '--a[$(id)]'"),
        (["--=1"], "unknown option '--'"),
        (["--date", "x"], "unknown option '--date'; the line 'date=$(printf today)' is none, it has no "
         "'# meaning' at its end"),
        (["--late", "2"], "unknown option '--late'"),
    ],
)  # fmt: skip
def test_errors(demo: Run, args: list[str], message: str) -> None:
    result = demo(*args)
    expected = f"demo.sh: error: {message} (try --help)\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


def test_help_is_the_script_itself(demo: Run) -> None:
    result = demo("--nj", "8", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == textwrap.dedent("""\
        Usage: demo.sh [options] <dir>

        Demonstrates options.

        Options:
          --nj <n>                parallel jobs (default: 8)
          --cmd <text>            how jobs are run, here or on a cluster (see cmd.sh)
                                  (default: run.pl --mem 2G)
          --name <text>           a label
          --line <text>           as a name inside the parser (default: a)
          --keep true|false       keep temporary files (default: false)
          --set <text> ...        override a setting, key=value
          --contexts <text> ...   contexts in frames (default: 20 40)
          --start <n>             first task (default: -1)
          --config <file>         options from a file, --name=value a line; those of the
                                  command line win
        """)
    assert demo("-h").returncode == 0


def test_help_fits_a_narrow_terminal(demo: Run) -> None:
    lines = demo("--help", COLUMNS="40").stdout.splitlines()
    assert max(map(len, lines)) <= 40
    assert "  --cmd <text>\n      how jobs are run, here or on a\n      cluster" in "\n".join(lines)


def test_an_unknown_option_needs_no_python(demo: Run, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    result = demo("--sett", "3", PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    assert (result.returncode, result.stderr) == (2, "demo.sh: error: unknown option '--sett' (try --help)\n")


CONFIG = """\
# of this site
--nj=8   # as many as there are
  --cmd "queue.pl --mem 4G # not a comment"

start = -2
--keep
--set=a=1
--set 'b=2 # 3'
--name=#
"""


@pytest.mark.parametrize(
    ("args", "changes"),
    [
        (["--config", "{}"], {}),
        (["--config={}", "d"], {8: "d"}),
        (["--nj", "9", "--config", "{}"], {0: "9"}),  # the command line wins, whatever the order
        (["--config", "{}", "--nj", "9", "--keep=false"], {0: "9", 4: "false"}),
        (["--set", "c=3", "--config", "{}"], {6: "'c=3'"}),
        (["--config", "{}", "--config", "{}"], {6: r"'a=1' 'b=2 # 3' 'a=1' 'b=2 # 3'"}),
    ],
)
def test_a_file_of_options(demo: Run, tmp_path: Path, args: list[str], changes: dict[int, str]) -> None:
    path = tmp_path / "site of mine.conf"
    path.write_text(CONFIG)
    expected = ["8", "queue.pl --mem 4G # not a comment", "", "a", "true", "-2", "'a=1' 'b=2 # 3'", "20 40"]
    expected += [""] if 8 in changes else []
    for position, value in changes.items():
        expected[position] = value
    result = demo(*(arg.format(path) for arg in args))
    assert (result.returncode, result.stdout, result.stderr) == (0, "".join(f"{v}|" for v in expected), "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# a\n--njj=3\n", "2: unknown option '--njj'; did you mean '--nj'?"),
        ("--date=1", "1: unknown option '--date'; the line 'date=$(printf today)' is none, it has no "
         "'# meaning' at its end"),
        ("--nj=x\n", "1: option '--nj' is a whole number, not 'x'"),
        ("--nj\n", "1: option '--nj' is a whole number, not ''"),
        ("nj 3\n", "1: expected --name=value, --name value or a comment, got 'nj 3'"),
        ("rm -rf /\n", "1: expected --name=value, --name value or a comment, got 'rm -rf /'"),
        ("--PATH=/x\n", "1: unknown option '--PATH'"),
        *((f"# a\n{line}\n", f"2: has --nj behind --{name}; give each option a line of its own, or quote the "
           "value") for name, line in (("cmd", "--cmd=run.pl --nj=1"), ("cmd", '--cmd "run.pl" --nj 1'),
                                       ("keep", "--keep --nj=1"), ("nj", "nj = 2\t--nj 3"))),
    ],
)  # fmt: skip
def test_a_wrong_line_in_a_file_of_options(demo: Run, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my.conf"
    path.write_text(text)
    result = demo("--nj", "2", "--config", str(path))
    expected = f"demo.sh: error: {path}:{message} (try --help)\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


def test_a_file_of_options_that_is_not_there(demo: Run, tmp_path: Path) -> None:
    for path in (tmp_path / "no.conf", tmp_path):
        expected = (
            f"demo.sh: error: option '--config': {path}: no such file, or it may not be read (try --help)\n"
        )
        assert demo("--config", str(path)).stderr == expected
    assert demo("--config").stderr == "demo.sh: error: option '--config' needs a value (try --help)\n"
    assert demo("d", "--config", "no.conf").returncode == 0  # behind the first word that is no option
