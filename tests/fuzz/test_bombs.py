"""Files that would take all of the memory, or hours, are told within seconds and a gigabyte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.fuzz.bombs import BOMBS
from tests.fuzz.readers import REPO

QUICK = ["yaml_aliases", "gzip_zeros", "ark_floats", "model_sizes"]
CPU_S, PEAK_MIB, MESSAGE = 10.0, 1000, 400_000  # half of the time on a machine that does nothing else
Results = Callable[[str], tuple[str, float, float]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What came of a bomb; the quick ones are set off together, and all others."""
    known: dict[str, tuple[str, float, float]] = {}

    def result(name: str) -> tuple[str, float, float]:
        if name not in known:
            folder = tmp_path_factory.mktemp("bombs")
            names = QUICK if name in QUICK else [other for other in BOMBS if other not in QUICK]
            command = [sys.executable, "-m", "tests.fuzz.bombs", folder, *names]
            subprocess.run(command, cwd=REPO, check=True, timeout=240)
            known.update({name: json.loads((folder / f"{name}.json").read_text()) for name in names})
        return known[name]

    return result


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in BOMBS if name not in QUICK)]
)
def test_bombs(name: str, results: Results) -> None:
    message, seconds, peak = results(name)
    assert "Traceback" not in message
    assert BOMBS[name][0] in message
    assert len(message) < MESSAGE
    assert seconds < CPU_S
    assert 0 < peak < PEAK_MIB
