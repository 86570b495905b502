"""The console script: the list of verbs, dispatch, wrong usage."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ser
from ser import __main__ as console
from ser.errors import UsageError

RunVerb = Callable[..., "subprocess.CompletedProcess[str]"]
VERBS = sorted(console.verbs())


def test_help_lists_every_verb_without_importing_one(repo: Path) -> None:
    code = (
        "import sys; from ser import __main__ as m; print(m.overview());"
        "print([n for n in sys.modules if n in ('torch', 'lhotse', 'numpy')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, loaded = result.stdout.splitlines()
    assert loaded == "[]"
    named = [line.split()[0] for line in lines if re.match("  [a-z]", line)]
    assert named == VERBS
    assert max(map(len, lines)) < 80
    assert {"score", "train", "decode"} <= set(VERBS)
    assert not {"cli", "config", "errors", "__main__"} & set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_first_line_and_help(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    module = importlib.import_module(f"ser.verbs.{verb}")
    assert console.verbs()[verb][-1] in ".?"
    text = module.get_parser().format_help()
    assert text.startswith(f"usage: ser {verb} ")
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_dispatch(run_verb: RunVerb) -> None:
    result = run_verb("score", "--help")
    assert (result.returncode, result.stdout.split()[:3]) == (0, ["usage:", "ser", "score"])


def test_hyphens_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        console.dispatch(["make-folds", "--help"])
    assert error.value.code == 0
    assert "usage: ser make_folds" in capsys.readouterr().out
    assert console.dispatch(["--version"]) == 0
    assert capsys.readouterr().out == f"{ser.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], console.USAGE),
        (["scor"], "no verb 'scor'; did you mean score?"),
        (["cli"], f"no verb 'cli'; {console.USAGE}"),
        (["xyzzy"], f"no verb 'xyzzy'; {console.USAGE}"),
        (["../score"], "no verb '../score'; did you mean score?"),
    ],
)
def test_wrong_usage(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        console.dispatch(words)
    assert str(error.value) == message


def test_wrong_usage_is_one_line_and_exit_2(run_verb: RunVerb) -> None:
    result = run_verb("scor")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "ser: error: no verb 'scor'; did you mean score? (try --help)\n"
