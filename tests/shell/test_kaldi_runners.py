"""The shipped command lines hold only what Kaldi's own run.pl, queue.pl and slurm.pl take."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.shell.test_repo import SHELL, name

REPO = Path(__file__).resolve().parents[2]
# What the built-in configurations of Kaldi's runners describe, and what all three of them take themselves.
KALDI = {"--mem", "--num-threads", "--max-jobs-run", "--gpu", "--config"}
USES = re.compile(r"^.*(?:\"\$\{runner\[@\]\}\"|\bcmd\+?=).*?(?=JOB=|_cmd\b|\.log|#|$)", re.MULTILINE)


def options(line: str) -> set[str]:
    return {word.partition("=")[0] for word in re.findall(r"--[a-z][\w-]*", line)}


@pytest.mark.parametrize("backend", ["local", "sge", "slurm"])
@pytest.mark.parametrize("script", [path for path in SHELL if path.name == "cmd.sh"], ids=name)
def test_cmd_sh(script: Path, backend: str) -> None:
    shown = 'printf "%s\\n" "$train_cmd" "$decode_cmd" "$cuda_cmd" "${SER_RETRIES-0}"'
    environment = {key: value for key, value in os.environ.items() if key != "SER_RETRIES"}
    result = subprocess.run(
        ["bash", "-euc", f'. "$0"; {shown}', str(script)],
        env=environment | {"cmd_backend": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, retries = result.stdout.splitlines()
    runner = {"local": "run.pl", "sge": "queue.pl", "slurm": "slurm.pl"}[backend]
    assert [shlex.split(line)[0] for line in lines] == [runner] * 3
    assert set().union(*map(options, lines)) <= KALDI
    assert retries == ("0" if backend == "local" else "1")


def test_steps() -> None:
    uses = {
        path.name: USES.findall(path.read_text()) for path in SHELL if path.parent.name in ("steps", "utils")
    }
    given = {script: set().union(*map(options, lines)) for script, lines in uses.items() if lines}
    assert given["train.sh"] == {"--max-jobs-run"}
    assert given["gpus.sh"] == {"--gpu", "--max-jobs-run"}
    assert given.keys() >= {"align.sh", "extract.sh", "make_folds.sh", "share_tasks.sh"}
    assert {script: words - KALDI for script, words in given.items() if words - KALDI} == {}


@pytest.mark.parametrize("conf", ["queue.conf", "slurm.conf"])
def test_defaults_of_a_configuration(conf: str) -> None:
    """None but Kaldi's, and a line describes each."""
    text = (REPO / "conf" / conf).read_text()
    defaults = set(re.findall(r"^default (\w+)=", text, re.MULTILINE))
    assert defaults == {"gpu"}
    assert defaults <= set(re.findall(r"^option (\w+)=", text, re.MULTILINE))
