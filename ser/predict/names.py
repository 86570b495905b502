"""What a trained model is called: where the name or path that somebody gives leads to."""

from __future__ import annotations

import difflib
from itertools import islice
from pathlib import Path

from ser.errors import CheckpointError, examples, short
from ser.learn.packages import CONFIG, SUFFIX
from ser.learn.tasks import MODEL

_NEAR = 3  # model folders that a message names


def find_model(name_or_path: str | Path) -> Path:
    """The model folder or package that a name or a path means.

    Args:
        name_or_path: a model folder, such as ``exp/<fold>/<system>/seed1``; a package, or the folder that it
            was unpacked to.

    Raises:
        CheckpointError: there is none; names what is near.
    """
    path = Path(name_or_path)
    if any((path / name).is_file() for name in (MODEL, CONFIG)) or path.suffix == SUFFIX and path.is_file():
        return path
    text = short(str(name_or_path))
    if path.is_dir():
        inside = [str(each.parent) for each in islice(sorted(path.glob(f"*/**/{MODEL}")), _NEAR + 1)]
        if inside:
            raise CheckpointError(f"{text}: holds models, name one of them: {examples(inside, _NEAR)}")
        raise CheckpointError(
            f"{text}: has no {MODEL}, so it is no model folder; name one that training left"
        )
    if path.is_file():
        inside_folder = f"; name its folder, {path.parent}" if path.name == MODEL else "; name a model folder"
        raise CheckpointError(f"{text}: is a file{inside_folder}")
    raise CheckpointError(f"{text}: no such model; {_near(path)}")


def _near(path: Path) -> str:
    """What to do about a path that does not exist: what is like the first part of it that does not."""
    while not path.parent.is_dir() and path.parent != path:
        path = path.parent
    try:
        beside = sorted(each.name for each in path.parent.iterdir() if each.is_dir())
    except OSError:
        beside = []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else "name a model folder that training left"
