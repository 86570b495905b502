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
from collections.abc import Sequence

SHOWN = 200  # characters of what somebody wrote that a message repeats
# all control characters but tab and newline, separators of lines, marks of direction, halves of characters
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 3, 8, 8, 8
_SHORT.maxstring = _SHORT.maxother = SHOWN


class SerError(Exception):
    """A mistake in the input, told in one line."""

    exit_code = 1


class UsageError(SerError):
    """A wrong command line."""

    exit_code = 2


class ConfigError(SerError):
    """A settings file or an override that cannot be used."""


class DataError(SerError):
    """A table, an archive, a recording or a corpus folder that cannot be used."""


class StaleError(DataError):
    """A finished output that was made with other settings or from other inputs."""


class CheckpointError(SerError):
    """A model or a training state that cannot be used."""


def all_of(problems: Sequence[str], shown: int = 20) -> DataError:
    """One error for many problems: each on a line of its own, the first ``shown`` of them.

    >>> print(all_of(["a:1: bad", "a:7: worse"]))
    a:1: bad
    a:7: worse
    """
    lines = list(problems[:shown])
    if len(problems) > shown:
        lines.append(f"... and {len(problems) - shown} more of the {len(problems)} problems")
    return DataError("\n".join(lines))


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
