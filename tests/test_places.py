"""Where a checkout, data and results may be: odd names, data that are shared, data that can only be read."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.recipe import ENVIRONMENT, command, contents, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ODD = "a b & 'c' \"d\" $x {e} [f]* é JOBS -g \\h #i;j"
TREE = ("conf", "egs", "local", "ser", "steps", "utils", "path.sh", "run.sh")


@pytest.fixture(scope="module")
def odd(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose path has all that is supported, with data and features made in a folder like it."""
    top = tmp_path_factory.mktemp("odd") / ODD
    top.mkdir()
    kept = shutil.ignore_patterns("data", "exp", "__pycache__", ".venv*")
    for name in (*TREE, *(path.name for path in repo.glob("requirements*.txt"))):
        if (repo / name).is_dir():
            shutil.copytree(repo / name, top / name, symlinks=True, ignore=kept if name == "egs" else None)
        else:
            shutil.copy2(repo / name, top / name)
    return top


def state(folder: Path) -> dict[str, tuple[float, int]]:
    """Date and size of a folder and of all in it."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


def test_odd_names_and_shared_data(odd: Path, small_release: Path) -> None:
    """Two runs at once on data that nobody may write, in folders of odd names; the numbers are the same."""
    place = odd / "runs: 50% & 'more'"
    made = run(command(odd, place, small_release, "--stop-stage", "2"))
    assert made.returncode == 0, made.stderr
    before = state(place / "data")
    for path in [place / "data", *(place / "data").rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    small = [
        "--set",
        "blstmatt:model.hidden=8",
        "--set",
        "training.epochs=1",
        "--nj",
        "1",
        "--use-gpu",
        "no",
    ]
    runs = {}
    for name, last in (("exp 1 &", "7"), ("exp 2 &", "8")):
        where = ["--data-dir", str(place / "data"), "--exp-dir", str(place / name)]
        systems = ["--systems", "blstmatt majority"]
        line = [str(odd / "run.sh"), "--corpus", "mini", *where, *systems, *small, "--stage", "3"]
        runs[place / name] = subprocess.Popen(
            [*line, "--stop-stage", last], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=ENVIRONMENT,
        )  # fmt: skip
    for process in runs.values():
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    assert state(place / "data") == before
    first, second = (contents(exp, "post", "history.tsv", "results.tsv") for exp in runs)
    assert first == {name: content for name, content in second.items() if not name.startswith("interpret/")}
    assert {"results.tsv", "pooled/blstmatt/seed777/decode_test/post"} <= first.keys()
    assert (place / "exp 2 &" / "alignments" / "corpus" / "phone.frames").stat().st_size


def test_what_the_caller_s_environment_says(repo: Path, small_release: Path, finished: Path) -> None:
    """A relative call with CDPATH set, Python told to leave out checks and to write ASCII, stdout closed."""
    line = command(repo, finished, small_release, "--stage", "6", "--stop-stage", "7")
    line[:3] = ["bash", "-c", 'exec "$@" >&-', "bash", "egs/mini/run.sh"]
    environment = ENVIRONMENT | {"CDPATH": "/:.", "PYTHONOPTIMIZE": "1", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(line, cwd=repo, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "done: stages 6 to 7" in done.stderr


def test_a_wrong_option_leaves_nothing(repo: Path, small_release: Path, tmp_path: Path) -> None:
    done = run(command(repo, tmp_path / "new", small_release, "--systems", "no_such"))
    assert done.returncode == 2
    assert "there is no conf/no_such.yaml" in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_tree_that_has_lost_the_right_to_run(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "utils").mkdir()
    os.symlink(odd / "egs", tmp_path / "egs")
    shutil.copyfile(odd / "run.sh", tmp_path / "run.sh")
    for path in (odd / "utils").iterdir():
        if path.is_file():
            shutil.copyfile(path, tmp_path / "utils" / path.name)
    done = run(["bash", str(tmp_path / "run.sh"), "--corpus", "mini"])
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "repair it: chmod +x run.sh egs/*/run.sh {local,steps,utils}/*.{sh,pl}" in done.stderr
