"""Each bench says what it does: --help works, and its docstring names just the options that it has."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
BENCHES = sorted(path for path in FOLDER.glob("*.py") if "\nif __name__ ==" in path.read_text())
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def test_there_are_benches() -> None:
    assert {"train_step.py", "fbank.py", "peers.py", "scale.py"} <= {path.name for path in BENCHES}


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.stem)
def test_the_docstring_names_the_options(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(bench), "--help"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(bench), run_name="__main__")
    assert ended.value.code == 0
    usage, _, rest = capsys.readouterr().out.partition("\n\n")
    description, _, listing = rest.rpartition("\noptions:")
    has = set(OPTION.findall(listing)) - {"--help"}
    assert f"tests/bench/{bench.name}" in description
    named = set(OPTION.findall("\n".join(_own(description))))
    assert named == has, usage


def _own(description: str) -> list[str]:
    """The lines of a docstring without those that show a command of another program."""
    return [line for line in description.splitlines() if "`ser " not in line]
