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

from collections.abc import Sequence


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
