"""utils/install.sh: when it does nothing, what it redoes, which Python it takes (nothing is installed)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FAKE_PYTHON = """\
#!/usr/bin/env bash
# An interpreter that writes down what it is asked to install.
all=$*
case "$all" in
  --version) echo Python 3.12.0 ;;
  *" install "*)
    top=${0%/.venv/*}
    printf '%s\\n' "${all##* install }" >>"$top/pip.txt"
    [[ ! -e $top/fail || $all != *"$(cat "$top/fail")"* ]] || exit 1
    ;;
  "-m venv "*)
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python3"
    ;;
esac
"""


@pytest.fixture
def top(tmp_path: Path, repo: Path) -> Path:
    """A checkout with nothing but the installer, and an interpreter that only pretends."""
    (tmp_path / "utils").mkdir()
    for name in ("install.sh", "log.sh", "parse_options.sh"):
        (tmp_path / "utils" / name).write_text((repo / "utils" / name).read_text())
    (tmp_path / "requirements.txt").write_text("torch==1\nnumpy==1\n")
    (tmp_path / "requirements-dev.txt").write_text("pytest==1\n")
    (tmp_path / "requirements-mini.txt").write_text("voice==1\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(FAKE_PYTHON)
    (tmp_path / "bin" / "python3").chmod(0o755)
    return tmp_path


def install(top: Path, *args: str, path: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", f"{top}/utils/install.sh", *args],
        env={"PATH": path or f"{top}/bin:/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def messages(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [re.sub(r"^\S+ install.sh: ", "", line) for line in result.stderr.splitlines()]


def asked(top: Path) -> list[str]:
    """What pip was asked for since the last call."""
    log = top / "pip.txt"
    lines = log.read_text().replace(f"{top}/", "").splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


ALL = ["torch==1", "-r requirements.txt"]


def test_once_and_again_when_changed(top: Path) -> None:
    first = install(top)
    assert first.returncode == 0, first.stderr
    assert asked(top) == ALL
    assert messages(first)[:3] == [
        "making .venv with python3, Python 3.12.0",
        "installing torch (the largest part)",
        "installing requirements.txt",
    ]
    assert (install(top).stderr, asked(top)) == ("", [])
    assert install(top, "--extra", "dev").returncode == 0
    assert asked(top) == ["-r requirements-dev.txt"]
    assert (install(top, "--extra", "dev").stderr, install(top).stderr, asked(top)) == ("", "", [])
    (top / "requirements.txt").write_text("torch==2\nnumpy==1\n")
    assert install(top, "--extra", "dev").returncode == 0
    assert asked(top) == ["torch==2", "-r requirements.txt"]


def test_nothing_to_do_starts_nothing(top: Path) -> None:
    """Every step of a recipe asks: then no interpreter is started, and of all commands readlink alone."""
    install(top)
    few = top / "few"
    few.mkdir()
    (few / "readlink").symlink_to("/usr/bin/readlink")
    for python in (few / "python3", top / ".venv" / "bin" / "python3"):
        python.write_text(f"#!/bin/sh\n: >{top}/started\n")
        python.chmod(0o755)
    result = install(top, path=str(few))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not (top / "started").exists()


def test_interrupted_starts_again(top: Path) -> None:
    install(top)
    asked(top)
    (top / ".venv" / "ser" / "unfinished").touch()
    (top / ".venv" / "half").touch()
    assert install(top).returncode == 0
    assert asked(top) == ALL
    assert not (top / ".venv" / "half").exists()


def test_failure_says_where_to_look(top: Path) -> None:
    (top / "fail").write_text("-r ")
    result = install(top)
    assert result.returncode == 1
    assert messages(result)[-1] == (
        f"error: could not install requirements.txt; see {top}/.venv/install.log, then run this again"
    )
    (top / "fail").unlink()
    asked(top)
    assert install(top).returncode == 0
    assert asked(top) == ALL


def test_the_voice_is_a_luxury(top: Path) -> None:
    (top / "fail").write_text("mini")
    result = install(top, "--extra", "mini")
    assert result.returncode == 0
    assert (
        "no espeak-ng here (see .venv/install.log); egs/mini will speak through its formant engine"
        in messages(result)
    )
    assert install(top).stderr == ""
    (top / "fail").unlink()
    asked(top)
    assert install(top, "--extra", "mini").returncode == 0
    assert asked(top) == ["-r requirements-mini.txt"]


def test_a_stranger_s_environment_stays(top: Path) -> None:
    (top / ".venv" / "bin").mkdir(parents=True)
    result = install(top)
    assert result.returncode == 1
    assert messages(result) == [
        f"error: {top}/.venv was not made by this script; "
        f"remove it, or use it with SER_PYTHON={top}/.venv/bin/python3"
    ]
    assert (top / ".venv" / "bin").is_dir()


def test_own_environment_is_used(top: Path) -> None:
    result = install(top, SER_PYTHON=sys.executable)
    assert (result.returncode, messages(result)) == (
        0,
        [f"SER_PYTHON={sys.executable} is used as it is; nothing installed"],
    )
    assert not (top / ".venv").exists()


def test_what_ones_own_environment_lacks_is_named(top: Path) -> None:
    (top / "bare").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(top / "bare")], check=True)
    python = f"{top}/bare/bin/python3"
    result = install(top, SER_PYTHON=python)
    names = "kaldiio lhotse numpy safetensors scipy soundfile tensorboard torch tqdm yaml"
    assert (result.returncode, messages(result)) == (
        1,
        [f"error: SER_PYTHON={python} lacks {names}; install what requirements.txt names, or unset it"],
    )
    result = install(top, SER_PYTHON="/opt/x/python3")
    assert result.returncode == 1
    assert messages(result)[0].startswith("error: SER_PYTHON=/opt/x/python3 does not work: ")


def tools_only(top: Path) -> str:
    """A PATH without any Python."""
    folder = top / "tools"
    folder.mkdir()
    for tool in ("bash", "cat", "cp", "cut", "du", "flock", "grep", "mkdir", "readlink", "rm", "tail"):
        found = next((p for p in ("/usr/bin", "/bin") if os.access(f"{p}/{tool}", os.X_OK)), None)
        if found:
            (folder / tool).symlink_to(f"{found}/{tool}")
    return str(folder)


@pytest.mark.parametrize("body", [None, "case $2 in *version_info*) exit 1 ;; esac"])
def test_no_right_python(top: Path, body: str | None) -> None:
    path = tools_only(top)
    if body:
        (top / "tools" / "python3").write_text(f"#!/usr/bin/env bash\n{body}\n")
        (top / "tools" / "python3").chmod(0o755)
        (top / "tools" / "env").symlink_to("/usr/bin/env")
    result = install(top, path=path)
    assert result.returncode == 1
    assert messages(result) == [
        "error: found no Python 3.10 to 3.13; install one, or name it with --python, "
        "or name your own environment with SER_PYTHON (see path.sh)"
    ]


def test_python_without_venv(top: Path) -> None:
    path = tools_only(top)
    (top / "tools" / "env").symlink_to("/usr/bin/env")
    cases = "case $* in --version) echo Python 3.11.2 ;; *ensurepip* | *virtualenv*) exit 1 ;; esac"
    (top / "tools" / "python3.11").write_text(f"#!/usr/bin/env bash\n{cases}\n")
    (top / "tools" / "python3.11").chmod(0o755)
    result = install(top, path=path)
    assert result.returncode == 1
    assert messages(result) == [
        "making .venv with python3.11, Python 3.11.2",
        "error: python3.11 cannot make environments; install its venv module (Debian, Ubuntu: apt-get "
        "install python3-venv) or virtualenv (python3 -m pip install --user virtualenv), then run this again",
    ]


def test_wrong_usage(top: Path) -> None:
    result = install(top, "--extra", "gold")
    assert (result.returncode, messages(result)) == (
        2,
        ["error: no extra 'gold'; there is no requirements-gold.txt (try --help)"],
    )
    assert install(top, "now").returncode == 2


def test_two_at_once_install_once(top: Path) -> None:
    command = ["bash", f"{top}/utils/install.sh"]
    env = {"PATH": f"{top}/bin:/usr/bin:/bin"}
    both = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        process.communicate(timeout=30)
    assert [process.returncode for process in both] == [0, 0]
    assert asked(top) == ALL


def test_setup_and_requirements_name_the_same(repo: Path) -> None:
    def parsed(text: str) -> dict[str, str]:
        return dict(re.findall(r'^\s*"?([A-Za-z][\w-]*)[=>]=([\d.]+)', text, re.MULTILINE))

    setup = (repo / "setup.py").read_text()
    ranges = parsed(setup[setup.index("install_requires") :])
    pins = parsed((repo / "requirements.txt").read_text())
    assert list(ranges) == list(pins)
    for name, least in ranges.items():
        have, need = ([int(part) for part in text.split(".")] for text in (pins[name], least))
        assert have >= need, name
