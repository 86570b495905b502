"""utils/install_k2.sh: what it takes, in which order, what it says when it cannot (nothing is installed)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

FAKE_PYTHON = """\
#!/usr/bin/env bash
# Pretends to be Python VERSION; writes down what it is asked to install. In .venv-k2 it has k2.
top=TOP
all=$*
case "$all" in
  *version_info*) [[ VERSION == 3.10 ]] ;;
  *find_spec*) [[ -e $top/has_k2 ]] ;;
  --version) echo Python VERSION ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python3" ;;
  *" download "*)
    printf '%s\\n' "download $(cat "${@: -1}")" >>"$top/pip.txt"
    mkdir -p "$top/.venv-k2/ser/wheel"
    touch "$top/.venv-k2/ser/wheel/k2-1.23.4-py3.10-none-any.whl"
    ;;
  *" install "*)
    printf '%s\\n' "${all##* install }" >>"$top/pip.txt"
    if [[ -e $top/fail && $all == *"$(cat "$top/fail")"* ]]; then
      echo "ERROR: no space" >"$top/.venv-k2/install.log"
      exit 1
    fi
    ;;
  *"import k2"*) [[ $0 == */.venv-k2/* || -e $top/has_k2 ]] && echo torch 1.13.1 ;;
esac
"""
HASH = "1404589732fdb7f6f5bf62297a20dd73318b7b4f2e10dd52dc3d5b6669688a4c"
PYPI = [
    "pip<24",
    "-r requirements-k2.txt",
    f"download k2==1.23.4 --hash=sha256:{HASH}",
    "--no-deps .venv-k2/ser/wheel/k2-1.23.4-cp310-cp310-linux_x86_64.whl",
]


@pytest.fixture
def top(tmp_path: Path, repo: Path) -> Path:
    """A checkout with nothing but the installer, and Pythons that only pretend."""
    (tmp_path / "utils").mkdir()
    for name in ("utils/install_k2.sh", "utils/k2.sh", "utils/log.sh", "utils/parse_options.sh", "path.sh"):
        (tmp_path / name).write_text((repo / name).read_text())
    (tmp_path / "requirements-k2.txt").write_text("torch==1.13.1\n")
    add_python(tmp_path, "python3", "3.11")
    return tmp_path


def add_python(top: Path, name: str, version: str) -> Path:
    path = top / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(FAKE_PYTHON.replace("VERSION", version).replace("TOP", str(top)))
    path.chmod(0o755)
    return path


def install(top: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", f"{top}/utils/install_k2.sh", *map(str, args)],
        env={"PATH": f"{top}/bin:/bin:/usr/bin", **env},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def messages(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [re.sub(r"^\S+ install_k2.sh: ", "", line) for line in result.stderr.splitlines()]


def asked(top: Path) -> list[str]:
    """What pip was asked for since the last call."""
    log = top / "pip.txt"
    lines = log.read_text().replace(f"{top}/", "").splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_from_pypi_once_and_again_after_an_interruption(top: Path) -> None:
    add_python(top, "python3.10", "3.10")
    result = install(top)
    assert result.returncode == 0, result.stderr
    assert asked(top) == PYPI
    assert messages(result)[0] == "making .venv-k2 with Python 3.10, k2 1.23.4 from PyPI; some minutes"
    assert re.fullmatch(
        rf"done: k2 1\.23\.4 from PyPI, torch 1\.13\.1, in {top}/\.venv-k2, \d+ s", messages(result)[-1]
    )
    there = f"k2 is there: {top}/.venv-k2/bin/python3, torch 1.13.1; nothing installed"
    assert (messages(install(top)), asked(top)) == ([there], [])
    (top / ".venv-k2" / "ser" / "unfinished").touch()
    assert install(top).returncode == 0
    assert asked(top) == PYPI


def test_what_is_there_is_taken_first(top: Path) -> None:
    (top / "has_k2").touch()
    python = f"{top}/bin/python3"
    assert messages(install(top)) == [f"k2 is there: {python}, torch 1.13.1; nothing installed"]
    assert messages(install(top, SER_K2_PYTHON=python)) == [
        f"k2 is there: {python}, torch 1.13.1; nothing installed"
    ]
    (top / "has_k2").unlink()
    result = install(top, SER_K2_PYTHON=python)
    assert result.returncode == 1
    assert messages(result) == [
        f"error: {python} does not run k2 with torch, numpy, kaldiio, pyyaml, soundfile and tqdm; install "
        "what it lacks, or unset SER_K2_PYTHON and remove .venv-k2, then run this again"
    ]
    assert asked(top) == []


def test_a_wheel_of_the_user_s_own(top: Path) -> None:
    result = install(top, "--wheel", "k2-1.24.4+cpu.torch2.9.0-cp311.whl", "--torch", "2.9.0")
    assert result.returncode == 0, result.stderr
    assert asked(top) == [
        "torch==2.9.0 numpy kaldiio pyyaml soundfile tqdm",
        "--no-deps k2-1.24.4+cpu.torch2.9.0-cp311.whl",
    ]


def test_no_python_310(top: Path) -> None:
    python = f"{top}/bin/python3"
    result = install(top, "--python", python)
    assert result.returncode == 1
    assert messages(result) == [
        f"error: found no Python 3.10 at {python}, which k2 1.23.4 from PyPI is built for; install one "
        "(pyenv install 3.10, uv python install 3.10, or apt-get install python3.10-venv where there is one) "
        "and name it with --python, or take a wheel of k2 for your Python with --wheel"
    ]
    assert not (top / ".venv-k2").exists()


def test_failure_says_where_to_look(top: Path) -> None:
    add_python(top, "python3.10", "3.10")
    (top / "fail").write_text("-r ")
    result = install(top)
    assert result.returncode == 1
    assert messages(result)[-2:] == [
        "ERROR: no space",
        f"error: could not install k2's environment (pip install -r); see {top}/.venv-k2/install.log, "
        "then run this again",
    ]
    (top / "fail").unlink()
    asked(top)
    assert install(top).returncode == 0
    assert asked(top) == PYPI
