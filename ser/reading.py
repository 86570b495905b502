"""Reading what somebody else made: regular files of bounded size, whatever is wrong with them in one line.

Every reader of a kind of file opens it here and parses it inside :func:`guarded`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ser.errors import DataError, SerError, short

LIMIT = 1 << 30  # bytes of a file that is read as a whole
SMALL_LIMIT = 1 << 26  # of one that is parsed as a whole: JSON, a TextGrid
_LONGEST = 1000  # characters of a path that a message shows
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")  # no character of text: NUL, escape, ...
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}


class BadFileError(Exception):
    """What is wrong with a file, without its name and a remedy, which :func:`guarded` adds."""

    def __init__(self, text: str, line: int | None = None) -> None:
        """``text`` says it; ``line`` is where, from 1."""
        super().__init__(text)
        self.line = line


def not_a_folder(path: Path) -> str:
    """What is wrong with a path that should be a folder and is none."""
    return "is a file, no folder" if path.exists() else "no such folder"


@contextmanager
def guarded(
    path: object,
    remedy: str,
    error: type[SerError] = DataError,
    *,
    missing: str = "",
    what: str = "is damaged",
    detail: bool = True,
) -> Iterator[None]:
    """Make whatever goes wrong in a block that reads one file an error of one line.

    Args:
        path: the file, for the message.
        remedy: what to do.
        error: what is raised; one of this class passes as it is.
        missing: what to do when the file is not there.
        what: what the file is when its content makes a parser fail.
        detail: say what the parser said, too.
    """
    try:
        yield
    except (error, NameError, ImportError):  # the latter two are faults of the code
        raise
    except FileNotFoundError as fault:
        raise error(f"{short(str(path), _LONGEST)}: no such file; {missing or remedy}") from fault
    except Exception as fault:
        line = getattr(fault, "line", None)
        if isinstance(fault, UnicodeDecodeError) and detail:
            line = fault.object.count(b"\n", 0, fault.start) + 1
            remedy = "save it as UTF-8, for example with iconv"
        place = short(str(path), _LONGEST) + (f":{line}" if line else "")
        raise error(f"{place}: {_reason(fault, what, detail)}; {remedy}") from fault


def _reason(fault: Exception, what: str, detail: bool) -> str:
    if isinstance(fault, BadFileError):
        return str(fault)
    if isinstance(fault, OSError) and fault.strerror and fault.errno != errno.EINVAL:
        return f"cannot be read ({fault.strerror})"
    if not detail:
        return what
    if isinstance(fault, UnicodeDecodeError):
        return f"is not {fault.encoding.upper()}"
    if isinstance(fault, RecursionError):
        return f"{what} (nested too deeply)"
    if isinstance(fault, MemoryError):
        return f"{what} (more than the memory holds)"
    if isinstance(fault, KeyError):
        return f"{what} (it has no {fault})"
    text = getattr(fault, "error_string", "") or str(fault).strip() or type(fault).__name__
    text = text.strip().splitlines()[-1].strip().rstrip(".")  # the last line tells most
    return f"{what} ({short(text)})"


def check_file(path: str | Path, limit: int | None = None) -> int:
    """Make sure that ``path`` is a regular file, since a pipe or a device may never end; its size in bytes.

    Raises:
        BadFileError: it is something else, or has more than ``limit`` bytes.
        OSError: it is not there, or may not be looked at.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        kind = _KINDS.get(stat.S_IFMT(state.st_mode), "a device")
        raise BadFileError(f"is {kind} where a file is expected")
    if limit is not None and state.st_size > limit:
        raise BadFileError(f"has {state.st_size} bytes, such a file may have {limit}")
    return state.st_size


def open_file(path: str | Path, limit: int | None = None) -> IO[bytes]:
    """Open a regular file for reading; raises as :func:`check_file`."""
    check_file(path, limit)
    return open(path, "rb")


def read_bytes(
    path: Path,
    remedy: str,
    error: type[SerError] = DataError,
    *,
    missing: str = "",
    limit: int = LIMIT,
) -> bytes:
    """The bytes of a regular file; the arguments are those of :func:`guarded`."""
    with guarded(path, remedy, error, missing=missing), open_file(path, limit) as stream:
        return stream.read()


def read_text(
    path: Path,
    remedy: str,
    error: type[SerError] = DataError,
    *,
    missing: str = "",
    limit: int = LIMIT,
    encoding: str = "utf-8",
) -> str:
    """The text of a regular file, line ends as they are; the arguments are those of :func:`guarded`.

    Raises:
        SerError: of the class ``error``: no regular file, too large, of another encoding, or with control
            characters in it.
    """
    raw = read_bytes(path, remedy, error, missing=missing, limit=limit)
    with guarded(path, remedy, error):
        text = raw.decode(encoding)
        if match := _CONTROL.search(text):
            raise BadFileError(
                f"holds the control character {match[0]!r}", text.count("\n", 0, match.start()) + 1
            )
    return text


def read_json(path: Path, remedy: str, error: type[SerError] = DataError, *, missing: str = "") -> Any:
    """What a JSON file holds; the arguments are those of :func:`guarded`."""
    raw = read_bytes(path, remedy, error, missing=missing, limit=SMALL_LIMIT)
    with guarded(path, remedy, error):
        return json.loads(raw.decode("utf-8"))


def is_plain(text: str) -> bool:
    """Whether text is of one line and without control characters."""
    return text.splitlines() in ([], [text]) and not _CONTROL.search(text)
