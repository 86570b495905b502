"""Glue between a verb and the shell: exit codes, log lines, progress."""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from tqdm import tqdm

from ser.errors import SerError, UsageError, plain
from ser.ranges import Range

T = TypeVar("T")
log = logging.getLogger("ser")

MAX_DIGITS = 20  # of a number on the command line
SEED = Range(0, 2**63 - 1)
DRAWS = Range(0, 10000000)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help whose description is a docstring, in lines that fit the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in wrapped(text, width - len(indent)))


def wrapped(text: str, width: int) -> list[str]:
    r"""The lines of a text of paragraphs, lists and examples, none longer than a width if words allow that.

    Lines begin anew where they are indented, and where one holds columns, parted by two spaces or more; what
    belongs to a column stays below its begin.

    >>> wrapped("A text that\nis filled.\n\nreads   a table,\n        and more", 16)
    ['A text that is', 'filled.', '', 'reads   a table,', '        and more']
    """
    items: list[tuple[int, str]] = []  # where a line that follows begins, and what is filled
    for line in text.splitlines():
        begin = len(line) - len(line.lstrip())
        gaps = [gap.end() for gap in re.finditer(r"(?<=[^\s.?]) {2,}(?=\S)", line)]
        column, last = items[-1] if items else (0, "")
        if line.strip() and last.strip() and not gaps and begin == column and not (begin and last[:1] == " "):
            items[-1] = (column, f"{last} {line.strip()}")
        else:
            items.append((max([gap for gap in gaps if gap <= width // 2], default=begin), line))
    lines: list[str] = []
    for column, line in items:
        spaced = line[:column] + re.sub(r"(?<=[.?]) {2,}", " ", line[column:])
        filled = textwrap.wrap(
            spaced, width, subsequent_indent=" " * column, break_long_words=False, break_on_hyphens=False
        )
        lines += filled or [""]
    return lines


class Parser(argparse.ArgumentParser):
    """An argument parser whose help is the verb's module docstring."""

    def __init__(self, doc: str | None, prog: str) -> None:
        """``doc`` is the module docstring, ``prog`` the verb's name."""
        super().__init__(
            prog=f"ser {prog}",
            description=doc,
            formatter_class=_Help,
            allow_abbrev=False,
        )

    def add_use_gpu(self, meaning: str = "") -> None:
        """Add ``--use-gpu``; ``meaning`` says for what, where that is not plain."""
        choices = ["auto", "yes", "no"]
        self.add_argument("--use-gpu", choices=choices, default="auto", help=meaning or None)

    def add_allow_code(self) -> None:
        """Add ``--allow-code``, for verbs that read models."""
        self.add_argument(
            "--allow-code",
            action="append",
            default=[],
            metavar="MODULE:NAME",
            help="import this code outside ser where a model names it; may be given again",
        )


def existing_dir(text: str) -> Path:
    """An argument that must be a folder."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path


def whole(bounds: Range) -> Callable[[str], int]:
    """What reads an argument that must be a whole number within bounds."""

    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(rf"-?\d{{1,{MAX_DIGITS}}}", text, re.ASCII) else None
        if number is None or not bounds.holds(number):
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}, got {text[:MAX_DIGITS]}")
        return number

    return parse


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> NoReturn:
    """Run a verb and exit: 0 done, 1 a mistake in the input (one line), 2 wrong usage, 128+n signal n.

    A bug keeps its traceback.
    """
    _mend_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain("%(asctime)s %(mark)s%(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    signal.signal(signal.SIGTERM, _terminated)
    if sys.flags.optimize:
        print(
            "ser: error: Python must not run with -O or PYTHONOPTIMIZE; unset it (try --help)",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.unraisablehook = _stop_again
    try:
        code = main(argv)
        sys.stdout.flush()
    except SerError as error:
        hint = " (try --help)" if isinstance(error, UsageError) else ""
        print(f"ser: error: {plain(str(error))}{hint}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("ser: stopped (interrupt); run the same command again to go on", file=sys.stderr)
        code = 130
    except _Terminated:
        print("ser: stopped (SIGTERM); run the same command again to go on", file=sys.stderr)
        code = 143
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


def _mend_streams() -> None:
    """Give closed streams a place, before a file takes their number, and let no character end the program."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 -- as long as we run
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class _Plain(logging.Formatter):
    """Log lines that cannot command a terminal, whatever names they hold; a warning says that it is one.

    ``tell_warnings`` of ``utils/log.sh`` finds warnings in the logs of jobs.
    """

    def format(self, record: logging.LogRecord) -> str:
        record.mark = "warning: " if record.levelno == logging.WARNING else ""
        return plain(super().format(record))


class _Terminated(BaseException):
    """SIGTERM came."""


def _terminated(_signum: int, _frame: object) -> NoReturn:
    raise _Terminated


def _stop_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise a stop again, a little later, when it came where Python cannot raise: at a fork, in __del__."""
    stop = unraisable.exc_value
    if not isinstance(stop, (_Terminated, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)
        return

    def again(_signum: int, _frame: object) -> NoReturn:
        raise stop

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Go through ``items``, showing a bar on a terminal and a line every half minute in a log."""
    terminal = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=what,
        total=total,
        file=sys.stderr,
        leave=False,
        dynamic_ncols=terminal,
        ascii=not terminal,
        mininterval=0.2 if terminal else 30.0,
        delay=0.5 if terminal else 30.0,
    )
