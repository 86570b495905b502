"""What a model is called, and what is said of names that lead nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ser.errors import CheckpointError
from ser.predict.names import find_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that passes for a model's."""
    folder = tmp_path / "exp" / "03" / "blstmatt" / "seed1"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    return folder


def test_a_model_folder_is_found(model: Path) -> None:
    assert find_model(model) == find_model(str(model)) == model


def test_what_is_no_model_folder_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    exp = tmp_path / "exp"
    remedy = "name a model folder that training left, a package, or emodb, which comes with ser"
    messages = {
        exp: f"{exp}: holds models, name one of them: {model}",
        tmp_path / "empty": f"{tmp_path}/empty: has neither model.json nor config.json, so it is no model; "
        f"{remedy}",
        model / "model.json": f"{model}/model.json: is a file; name its folder, {model}",
        exp / "3" / "csa_30": f"{exp}/3/csa_30: no such model; did you mean {exp}/03?",
        exp / "other": f"{exp}/other: no such model; {remedy}",
        Path("emodbb"): "emodbb: no such model; did you mean emodb?",
    }
    for path, message in messages.items():
        with pytest.raises(CheckpointError) as caught:
            find_model(path)
        assert str(caught.value) == message


def test_import_takes_nothing_with_it() -> None:
    """What ``import ser`` loads beyond Python's own is ser itself."""
    code = (
        "import sys; sys.path.insert(0, '.'); import ser; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    line = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "['__main__', 'ser']\n"
