"""Classes: ``emotions.txt``, the one place of their order, and ``utt2emo``, the class of each utterance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import reading
from ser.data import tables
from ser.data.files import whole_file
from ser.errors import DataError, all_of, shown

EMOTIONS = "emotions.txt"
CORRECT = "correct it"


def read_emotions(path: Path, *, made_by: str = "stage 0") -> tuple[str, ...]:
    """Read the class order: ``<class> <index>`` lines, in the order of the index, from 0.

    Args:
        path: an ``emotions.txt``.
        made_by: what makes it, named when it is missing or wrong; "": the user.

    Returns:
        The class names; their places are their indices.

    Raises:
        DataError: missing, a line that is no ``<class> <index>``, a class twice, a gap or another order
            of the indices, fewer than two classes; all problems at once.
    """
    remedy = f"run {made_by} again" if made_by else CORRECT
    missing = f"run {made_by}" if made_by else "make it: a line '<class> <index>' for each class, from 0"
    lines = reading.read_text(path, remedy, missing=missing).splitlines()
    names: list[str] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        name, _, index = line.partition(" ")
        if not name or index != str(number - 1):
            problems.append(f"{path}:{number}: expected '<class> {number - 1}', got {shown(line)}; {remedy}")
        elif name in names:
            problems.append(f"{path}:{number}: the class {shown(name)} appears twice; {remedy}")
        names.append(name)
    if len(lines) < 2 and not problems:
        problems.append(f"{path}: holds {len(lines)} classes, at least 2 are needed; {remedy}")
    if problems:
        raise all_of(problems)
    return tuple(names)


def write_emotions(path: Path, emotions: Sequence[str]) -> None:
    """Write the class order; the file appears whole or not at all."""
    with whole_file(path) as stream:
        stream.writelines(f"{name} {index}\n" for index, name in enumerate(emotions))


def same_emotions(first: Path, second: Path) -> tuple[str, ...]:
    """Make sure that two folders number their classes alike.

    Args:
        first: an ``emotions.txt``.
        second: another.

    Returns:
        The common class order.

    Raises:
        DataError: the orders differ; both are named.
    """
    one, two = read_emotions(first), read_emotions(second)
    if one != two:
        raise DataError(
            f"{second}: its classes are {' '.join(two)}, those of {first} are {' '.join(one)}; "
            "make both with the same classes in the settings of the corpus"
        )
    return one


def read_utt2emo(path: Path, emotions: Sequence[str], *, made_by: str = "stage 0") -> dict[str, str]:
    """Read the class of each utterance.

    Args:
        path: an ``utt2emo``.
        emotions: the classes it may name.
        made_by: what makes it, named when it is missing or wrong; "": the user.

    Raises:
        DataError: as :func:`ser.data.tables.read_table`, or a class that is none of ``emotions``; all
            problems at once, such as ``data/test/utt2emo:2: expected '<utterance> <ang|sad>', got 'b joy';
            run stage 0 again``.
    """
    table = tables.read_table(path, made_by=made_by)
    known = set(emotions)
    remedy = f"run {made_by} again" if made_by else CORRECT
    problems = [
        f"{path}:{number}: expected '<utterance> <{'|'.join(emotions)}>', got "
        f"{shown(utterance + ' ' + name)}; {remedy}"
        for number, (utterance, name) in enumerate(table.items(), 1)
        if name not in known
    ]
    if problems:
        raise all_of(problems)
    return table
