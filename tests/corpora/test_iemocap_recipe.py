"""IEMOCAP's recipe for lhotse: one file that needs nothing but lhotse, and gives what this package gives."""

from __future__ import annotations

import ast
import gzip
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ser.corpora.iemocap import prepare_iemocap, recipe
from ser.errors import DataError
from tests.corpora.iemocap_release import FakeRelease, tiny_release, write_release

REPO = Path(__file__).parents[2]
RECIPE = REPO / "ser" / "corpora" / "iemocap" / "recipe.py"
COMMAND = REPO / "local" / "lhotse" / "prepare_iemocap.py"
NAMES = [f"iemocap_{kind}_all.jsonl.gz" for kind in ("recordings", "supervisions")]
ALONE = """
import sys
from recipe import prepare_iemocap
manifests = prepare_iemocap(sys.argv[1], sys.argv[2])
print(*manifests, *map(len, manifests.values()), "ser" in sys.modules)
"""


@pytest.fixture
def release() -> FakeRelease:
    """With what a real one is known to lack, or to have beside its turns."""
    release = tiny_release()
    turns = release.dialogs["Ses01F_impro01"]
    turns[0].tiers = ()
    turns[1].raters = [*turns[1].raters, "something odd"]
    turns[2].num_samples -= 1600
    turns[3].text, turns[3].means = "[BREATHING] ", ("5.5000", "", "0.5000")
    release.extra_lines["Ses01F_impro01"] = ["Ses01F_impro01_FXX0 [100.05-100.61]: Mm.", "M: Okay.", ""]
    return release


@pytest.fixture
def root(release: FakeRelease, tmp_path: Path) -> Path:
    return write_release(tmp_path / "release", release)


def lines(folder: Path) -> list[list[str]]:
    """The lines of the two manifests in a folder."""
    return [gzip.open(folder / name, "rt", encoding="utf-8").read().splitlines() for name in NAMES]


def run(command: list[str | Path], folder: Path, pythonpath: Path) -> subprocess.CompletedProcess[str]:
    """Run it where this package cannot be imported."""
    environment = {**os.environ, "PYTHONPATH": str(pythonpath), "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_it_is_one_short_file_of_the_standard_library_and_lhotse() -> None:
    text = RECIPE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 400
    tree = ast.parse(text, feature_version=(3, 10))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    ]
    tops = {name.partition(".")[0] for name in imported}
    assert tops - sys.stdlib_module_names == {"lhotse"}


@pytest.mark.slow
def test_alone_it_gives_what_this_package_gives(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copy(RECIPE, tmp_path / "alone")
    done = run([sys.executable, "-c", ALONE, root, tmp_path / "theirs"], tmp_path, tmp_path / "alone")
    assert (done.stderr, done.stdout) == ("", "recordings supervisions 80 80 False\n")
    prepare_iemocap(root, output_dir=tmp_path / "ours")
    assert lines(tmp_path / "theirs") == lines(tmp_path / "ours")
    assert len(lines(tmp_path / "ours")[0]) == 80


@pytest.mark.slow
def test_in_the_tree_of_lhotse_it_is_a_command(root: Path, tmp_path: Path) -> None:
    """Put where it would be upstream: a file each of recipe and command, and a line in two lists."""
    spec = find_spec("lhotse")
    assert spec is not None
    assert spec.origin is not None
    tree = tmp_path / "checkout" / "lhotse"
    shutil.copytree(Path(spec.origin).parent, tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(RECIPE, tree / "recipes" / "iemocap.py")
    shutil.copy(COMMAND, tree / "bin" / "modes" / "recipes" / "iemocap.py")
    for place in ("recipes", "bin/modes/recipes"):
        with open(tree / place / "__init__.py", "a") as stream:
            stream.write("from .iemocap import *\n")
    start = "from lhotse.bin import modes; modes.cli()"
    command = [sys.executable, "-c", start, "prepare", "iemocap", root, tmp_path / "out"]
    done = run(command, tmp_path, tree.parent)
    assert (done.returncode, done.stderr) == (0, "")
    manifests = recipe.prepare_iemocap(root, tmp_path / "ours")
    assert len(manifests["supervisions"]) == 80
    assert lines(tmp_path / "out") == lines(tmp_path / "ours")
    code = "import lhotse.recipes as r, sys; print(len(r.prepare_iemocap(sys.argv[1], frame_offset=2)))"
    assert run([sys.executable, "-c", code, root], tmp_path, tree.parent).stdout == "2\n"


def test_frames_can_be_moved(root: Path) -> None:
    name = "Ses01F_impro01_M001"
    plain, moved = (
        {item.id: item for item in recipe.prepare_iemocap(root, frame_offset=offset)["supervisions"]}
        for offset in (0, 2)
    )
    starts = [[item.start for item in of[name].alignment["phone"]] for of in (plain, moved)]
    assert starts[1][: len(starts[0])] == pytest.approx(
        [start + 0.02 for start in starts[0]][: len(starts[1])]
    )


def test_all_faults_are_told_with_their_places(root: Path) -> None:
    labels = root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    labels.write_bytes(labels.read_bytes().replace(b"\tneu\t", b"\tneutral\t", 1))
    wav = root / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav"
    wav.unlink()
    words = root / "Session3/dialog/transcriptions/Ses03F_impro01.txt"
    words.unlink()
    again = "; copy it from the release again"
    known = "neu hap exc ang sad fru sur fea dis oth xxx"
    where = root / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    first = f"{labels}:3: the label 'neutral' of Ses01F_impro01_F000 is none of {known}{again}"
    second = f"{where}:3: Ses02F_impro01_F000 has no recording, {wav} is missing{again}"
    with pytest.raises(ValueError, match="neutral") as caught:
        recipe.prepare_iemocap(root)
    missing = f"[Errno 2] No such file or directory: '{words}'"
    assert str(caught.value).splitlines() == [first, second, missing]
    words.write_text("")
    strange = " has no label in "  # what only this package looks for
    with pytest.raises(DataError) as told:
        prepare_iemocap(root)
    faults = [line for line in str(told.value).splitlines() if strange not in line]
    assert faults == [first, second, f"{words}: is empty{again}"]


def test_no_release(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no Session1") as caught:
        recipe.prepare_iemocap(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds no Session1 to Session5; name the folder of IEMOCAP that does"
    )
