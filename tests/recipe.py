"""The whole recipe on a small embedded corpus, as several tests run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

QUICK = [
    *("--set", "training.epochs=2", "--set", "blstmatt:model.hidden=8"),
    *("--set", "csa:model.channels=[4,8,16]", "--nj", "2", "--use-gpu", "no", "--seeds", "1"),
]
ENVIRONMENT = os.environ | {"SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
ENVIRONMENT.pop("IEMOCAP", None)
RESULTS = ("post", "hyp", "result.txt", "results.tsv", "history.tsv", "fusion.txt", "utt2num_frames")


def command(repo: Path, folder: Path, release: Path, *args: str, corpus: str = "mini") -> list[str]:
    """The front door's command line, with everything it writes below ``folder``."""
    where = ["--data-dir", str(folder / "data"), "--exp-dir", str(folder / "exp")]
    return [str(repo / "run.sh"), "--corpus", corpus, "--corpus-dir", str(release), *where, *QUICK, *args]


def run(line: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command line; its exit code and what it printed."""
    return subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    """Relative path -> bytes of the files of some names."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.name in names and path.is_file()
    }


def make_release(out: Path) -> None:
    """The embedded corpus, a tenth of its size."""
    line = [sys.executable, "-m", "ser", "make_mini_corpus", "--scale", "0.1", str(out)]
    subprocess.run(line, check=True, capture_output=True, env=ENVIRONMENT)


def run_all(repo: Path, folder: Path, release: Path) -> None:
    """Run all stages, nothing disturbing them."""
    done = run(command(repo, folder, release))
    assert done.returncode == 0, done.stderr
    assert "done: stages 0 to 9" in done.stderr
    model = rf"{folder}/exp/paper_dev/(blstmatt|csa_30)/seed1"
    for line in (
        r"  best system         \S+: UAR [\d.]+ % on dev speakers",
        rf"  its model           {model}",
        rf"  try it              \. \S+/path\.sh && python3 -m ser predict {model} \S+/Ses05\S+\.wav",
    ):
        assert re.search(rf"^\S+ {line}$", done.stderr, re.MULTILINE), done.stderr[-2000:]
    assert "/data/folds: training speakers (1 fold): 4 show 3 of 4 classes, with " in done.stderr
    few = "global (a typical training speaker has fewer than 8 utterances)"
    assert f"/data/folds: features.norm auto takes {few}\n" in done.stderr
    for system in ("blstmatt", "csa_30", "majority", "syscomb", "syscomb_dev"):
        assert re.search(rf"^{system} +1 +\d+/\d+ +\d", done.stdout, re.MULTILINE), done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("/")) <= 80
