"""What a trained model is called: where the name or path that somebody gives leads to."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import ser
from ser.errors import CheckpointError, examples, short
from ser.learn.packages import CONFIG, SUFFIX
from ser.learn.tasks import MODEL

SHIPPED = Path(ser.__file__).parent / "models"  # packages, unpacked, that come with ser
DEFAULT = "emodb"  # the one that is taken where no model is named
_REMEDY = f"name a model folder that training left, a package, or {DEFAULT}, which comes with ser"
_NEAR = 3  # model folders that a message names


def split_words(words: Sequence[str]) -> tuple[str, list[str], bool]:
    """A model and recordings, of words of which the first may be the model.

    A file that is no package, a folder without a model in it, ``-``, and what is not there but is called like
    a file, are recordings.

    Args:
        words: one or more.

    Returns:
        The model, the recordings, and whether the model is :data:`DEFAULT` because none was named.
    """
    first, path = words[0], Path(words[0])
    if path.is_dir():
        named = any(next(path.glob(f"**/{name}"), None) for name in (MODEL, CONFIG))
    elif path.is_file():
        named = path.suffix == SUFFIX or path.name in (MODEL, CONFIG)
    else:
        named = first != "-" and path.suffix in ("", SUFFIX)
    return (first, list(words[1:]), False) if named else (DEFAULT, list(words), True)


def find_model(name_or_path: str | Path) -> Path:
    """The model folder or package that a name or a path means.

    Args:
        name_or_path: a model folder, such as ``exp/<fold>/<system>/seed1``; a package, or the folder that it
            was unpacked to; the name of a model that comes with ser, such as :data:`DEFAULT`.

    Raises:
        CheckpointError: there is none; names what is near.
    """
    path = Path(name_or_path)
    if any((path / name).is_file() for name in (MODEL, CONFIG)) or path.suffix == SUFFIX and path.is_file():
        return path
    text = short(str(name_or_path))
    if not path.exists() and (shipped := SHIPPED / path.name) == SHIPPED / path and shipped.is_dir():
        return shipped
    if path.is_dir():
        inside = [str(each.parent) for each in islice(sorted(path.glob(f"*/**/{MODEL}")), _NEAR + 1)]
        if inside:
            raise CheckpointError(f"{text}: holds models, name one of them: {examples(inside, _NEAR)}")
        raise CheckpointError(f"{text}: has neither {MODEL} nor {CONFIG}, so it is no model; {_REMEDY}")
    if path.is_file():
        inside_folder = f"; name its folder, {path.parent}" if path.name == MODEL else f"; {_REMEDY}"
        raise CheckpointError(f"{text}: is a file{inside_folder}")
    named = difflib.get_close_matches(text, [each.name for each in SHIPPED.iterdir()], n=1)
    raise CheckpointError(f"{text}: no such model; {f'did you mean {named[0]}?' if named else _near(path)}")


def _near(path: Path) -> str:
    """What to do about a path that does not exist: what is like the first part of it that does not."""
    while not path.parent.is_dir() and path.parent != path:
        path = path.parent
    try:
        beside = sorted(each.name for each in path.parent.iterdir() if each.is_dir())
    except OSError:
        beside = []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else _REMEDY
