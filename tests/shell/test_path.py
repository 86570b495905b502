"""path.sh: what it sets, from where, and how often."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def bash(text: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def checkout(tmp_path: Path, repo: Path) -> Path:
    """A copy of path.sh, at the top of a checkout with blanks in its name."""
    top = tmp_path / "a check out"
    recipe = top / "egs" / "x"
    recipe.mkdir(parents=True)
    (top / "path.sh").write_text((repo / "path.sh").read_text())
    (recipe / "path.sh").symlink_to("../../path.sh")
    (recipe / "line.sh").write_text(". ../../path.sh\n")
    return top


@pytest.mark.parametrize("source", [". ./path.sh", ". ./line.sh", "cd /; . '{top}/egs/x/path.sh'"])
def test_from_anywhere_and_again(tmp_path: Path, repo: Path, source: str) -> None:
    top = checkout(tmp_path, repo)
    source = source.format(top=top)
    show = 'printf "%s\\n" "$SER_ROOT" "$PATH" "$PYTHONPATH" "$LC_ALL" "$PYTHONUTF8" "$OMP_NUM_THREADS"'
    once = bash(f"{source}; {show}", top / "egs" / "x", PYTHONPATH="/p")
    assert once.stderr == ""
    path = f"{top}/.venv/bin:{top}/utils:/usr/bin:/bin"
    assert once.stdout.splitlines() == [str(top), path, f"{top}:/p", "C", "1", "1"]
    twice = bash(f"{source}; cd '{top}/egs/x'; . ./path.sh; {show}", top / "egs" / "x", PYTHONPATH="/p")
    assert twice.stdout == once.stdout


def test_changes_no_shell_option_and_leaves_no_name(tmp_path: Path, repo: Path) -> None:
    top = checkout(tmp_path, repo)
    text = (
        'before=$(set +o; shopt); . ./path.sh; [[ $before == "$(set +o; shopt)" ]]; compgen -v _ser || true'
    )
    result = bash(text, top)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["a:b", "a\tb", "a\nb"])
def test_a_checkout_that_no_path_can_name(tmp_path: Path, repo: Path, name: str) -> None:
    top = tmp_path / name
    top.mkdir()
    (top / "path.sh").write_text((repo / "path.sh").read_text())
    result = bash(". ./path.sh; echo on", top)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert "a colon or control character in the checkout's path; rename a folder" in result.stderr


def test_what_would_change_python_is_unset_and_a_closed_stdout_goes_nowhere(
    tmp_path: Path, repo: Path
) -> None:
    top = checkout(tmp_path, repo)
    show = "python3 -c 'import sys; print(sys.flags.optimize, sys.stdout.encoding, file=sys.stderr)'"
    result = bash(f". ./path.sh >&-; {show}", top, PYTHONOPTIMIZE="1", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "0 utf-8\n")
    result = bash("exec >&-; . ./path.sh; echo a; exec {new}<path.sh; echo b", top)
    assert (result.returncode, result.stderr) == (0, "")


def test_own_environment(tmp_path: Path, repo: Path) -> None:
    top = checkout(tmp_path, repo)
    own = tmp_path / "own" / "bin"
    own.mkdir(parents=True)
    (own / "python3").symlink_to(sys.executable)
    (own / "python").symlink_to("python3")
    show = '. ./path.sh; printf "%s\\n" "$SER_PYTHON" "$PATH"; type -P python3'
    for given in (f"{own}/python", "../own/bin/python"):
        result = bash(show, top, SER_PYTHON=given)
        assert result.stderr == ""
        python, path, found = result.stdout.splitlines()
        assert Path(python).samefile(own / "python")
        assert path.endswith(f"own/bin:{top}/utils:/usr/bin:/bin")
        assert Path(found).samefile(own / "python3")


def test_threads_of_the_user_stay(tmp_path: Path, repo: Path) -> None:
    top = checkout(tmp_path, repo)
    assert bash('. ./path.sh; printf "$OMP_NUM_THREADS"', top, OMP_NUM_THREADS="7").stdout == "7"


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("/nowhere/python", "SER_PYTHON=/nowhere/python is no program; name a Python interpreter"),
        (
            "{tmp}/odd/python",
            "SER_PYTHON={tmp}/odd/python is another interpreter than python3 beside it; "
            "name the python3 of a virtual environment",
        ),
    ],
)
def test_wrong_environment(tmp_path: Path, repo: Path, python: str, message: str) -> None:
    top = checkout(tmp_path, repo)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "python").symlink_to(sys.executable)
    result = bash(". ./path.sh; echo on", top, SER_PYTHON=python.format(tmp=tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"path.sh: error: {message.format(tmp=tmp_path)}\n"
