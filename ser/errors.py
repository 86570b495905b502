"""What can go wrong through the user's input, in one tree.

::

    SerError              a mistake in the input: one line on stderr, exit 1
    ├── UsageError        a wrong command line: one line on stderr, exit 2
    ├── ConfigError       a settings file or a --set override
    ├── DataError         a table, an archive, a recording, a corpus folder
    │   └── StaleError    a finished output that was made with other settings or inputs
    └── CheckpointError   a model or a training state that cannot be used

Every message reads ``<file>[:<line>]: what is wrong; what to do``.  Anything else that escapes is a
bug and keeps its traceback.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

SHOWN = 200  # characters of what somebody wrote that a message repeats
# all control characters but tab and newline, separators of lines, marks of direction, halves of characters
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ABOUT = re.compile(
    r"'[^']*'|\"[^\"]*\"|\S*(?:[/\d]|\.\w)\S*"
)  # quoted text, paths, numbers, names with digits or dots
_ALONE = 3  # problems of a kind that are told one by one
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 3, 8, 8, 8
_SHORT.maxstring = _SHORT.maxother = SHOWN


class SerError(Exception):
    """A mistake in the input, told in one line."""

    exit_code = 1


class UsageError(SerError):
    """A wrong command line."""

    exit_code = 2


class MissingPackageError(UsageError):
    """A Python package that an extra of utils/install.sh has is not installed."""


class ConfigError(SerError):
    """A settings file or an override that cannot be used."""


class DataError(SerError):
    """A table, an archive, a recording or a corpus folder that cannot be used."""


class StaleError(DataError):
    """A finished output that was made with other settings or from other inputs."""


class CheckpointError(SerError):
    """A model or a training state that cannot be used."""


@dataclass(frozen=True)
class Problem:
    """One fault among many, so that those of a kind can be told together."""

    file: str
    line: int | None  # from 1; None: the whole file
    text: str  # what is wrong, and what to do
    kind: str = ""  # what those have in common that are told in one line; "": their texts, but for names

    def __str__(self) -> str:
        """``<file>[:<line>]: what is wrong; what to do``."""
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.text}"


def all_of(problems: Sequence[str | Problem], shown: int = 20) -> DataError:
    """One error for many problems: each kind on a line of its own, the first ``shown`` lines.

    >>> print(all_of(["a:1: bad", "a:7: worse", *(f"a:{line}: odd" for line in range(11, 60))]))
    a:1: bad
    a:7: worse
    a:11: odd (49 lines: 11, 12, 13, ...)
    """
    lines = grouped(problems)
    if len(lines) > shown:
        lines[shown:] = [f"... and {len(lines) - shown} more lines; {len(problems)} problems in all"]
    return DataError("\n".join(lines))


def grouped(problems: Iterable[str | Problem]) -> list[str]:
    """One line for more than three problems of a kind, with their number and their first three places.

    They are of a kind if their texts are the same, or, where there are more than three texts, differ only in
    what they are about: in numbers, paths, quoted text and names with a digit or a dot in them.

    >>> grouped(f"t:{line}: {name}.wav: no such file; copy it" for line, name in enumerate("abcde", 1))
    ['t:1: a.wav: no such file; copy it (5 lines: 1, 2, 3, ...)']
    """
    parsed = [item if isinstance(item, Problem) else _parsed(item) for item in problems]
    kinds: dict[str, dict[str, list[int]]] = {}  # kind -> text -> places in the list
    for place, problem in enumerate(parsed):
        kind = problem.kind or _ABOUT.sub("#", problem.text)
        kinds.setdefault(kind, {}).setdefault(problem.text, []).append(place)
    lines = {place: str(problem) for place, problem in enumerate(parsed)}
    for texts in kinds.values():
        groups = texts.values() if len(texts) <= _ALONE else [sorted(chain(*texts.values()))]
        for group in groups:
            if len(group) > _ALONE:
                lines[group[0]] = _group_line([parsed[place] for place in group])
                for place in group[1:]:
                    del lines[place]
    return [lines[place] for place in sorted(lines)]


def _group_line(group: Sequence[Problem]) -> str:
    """The first problem, how many there are like it, and where the first three are."""
    first = group[0]
    in_one_file = first.line is not None and all(each.file == first.file for each in group)
    places = dict.fromkeys(
        str(each.line) if in_one_file else str(each).partition(": ")[0] for each in group[:_ALONE]
    )
    return f"{first} ({len(group)} {'lines' if in_one_file else 'places'}: {', '.join(places)}, ...)"


def _parsed(message: str) -> Problem:
    """A message in its parts."""
    place, _, text = message.partition(": ")
    file, _, line = place.rpartition(":")
    if not text:
        return Problem(message, None, "", message)
    return Problem(file, int(line), text) if file and line.isdecimal() else Problem(place, None, text)


def plural(number: int, what: str) -> str:
    """A number and its noun.

    >>> plural(1, "fold"), plural(5, "fold")
    ('1 fold', '5 folds')
    """
    return f"{number} {what}" + ("s" if number != 1 else "")


def examples(names: Sequence[str], shown: int = 3) -> str:
    """The first few names, for a message.

    >>> examples(["a", "b", "c", "d"]), examples(["a"])
    ('a, b, c, ...', 'a')
    """
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def plain(text: str) -> str:
    r"""Text for a terminal: characters that move the cursor, colour or turn the writing are spelled out.

    >>> plain("a\x1b[2J\u202eb\nc")
    'a\\x1b[2J\\u202eb\nc'
    """
    return _COMMANDS.sub(lambda match: ascii(match[0])[1:-1], text)


def short(text: str, limit: int = SHOWN) -> str:
    """Text that somebody wrote, cut after ``limit`` characters.

    >>> short("a b"), len(short("x" * 1000))
    ('a b', 221)
    """
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def shown(value: object) -> str:
    """What somebody wrote, for a message: its ``repr``, cut after some 200 characters.

    >>> shown("a b"), shown("x" * 1000) == repr("x" * SHOWN) + "... (1000 characters)"
    ("'a b'", True)
    """
    if isinstance(value, str):
        return repr(value[:SHOWN]) + short(value)[len(value[:SHOWN]) :]
    try:
        text = _SHORT.repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a very long {type(value).__name__}"
    return short(text)
