"""What was checked and measured: rows, a JSON file, a table of text."""

from __future__ import annotations

import json
import math
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WIDTH = 100  # columns of the table
_NAME, _VALUE, _UNIT = 60, 18, 11
VERDICTS = {True: "ok", False: "FAILED", None: ""}


@dataclass(frozen=True)
class Row:
    """One thing that was looked at."""

    name: str
    value: float | str
    unit: str = ""
    limit: str = ""  # what the value must be
    passed: bool | None = None  # None: measured, nothing demanded


class Rows(list[Row]):
    """The rows of a section."""

    def __init__(self) -> None:
        """None yet."""
        super().__init__()
        self.tracebacks: list[str] = []

    def note(self, name: str, value: float | str, unit: str = "") -> None:
        """Something measured or said, of which nothing is demanded."""
        self.append(Row(name, value, unit))

    def check(self, name: str, passed: bool, value: float | str, limit: str = "") -> None:
        """Something that must hold."""
        self.append(Row(name, value, "", limit, bool(passed)))

    def at_most(self, name: str, value: float, limit: float) -> None:
        """A number that must not exceed a limit; NaN does."""
        self.append(Row(name, value, "", f"<= {limit:g}", bool(value <= limit)))

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Whatever goes wrong is a row; the rest of the section goes on."""
        try:
            yield
        except Exception as error:
            text = (str(error).splitlines() or [""])[0]
            self.check(name, False, f"{type(error).__name__}: {text}")
            self.tracebacks.append(traceback.format_exc())


class Report:
    """All sections, written again after each, so that a run that is cut short leaves what it had."""

    def __init__(self, out: Path, machine: dict[str, Any]) -> None:
        """Files go to the folder ``out``; ``machine`` says what the numbers were taken on."""
        self.out, self.machine = out, machine
        self.sections: dict[str, Rows] = {}
        self.seconds: dict[str, float] = {}

    @property
    def failed(self) -> list[str]:
        """What did not hold."""
        return [
            f"{name}: {row.name}"
            for name, rows in self.sections.items()
            for row in rows
            if row.passed is False
        ]

    def write(self) -> None:
        """Write ``check.json`` and ``check.txt``."""
        tree = {
            "machine": self.machine,
            "failed": self.failed,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "sections": {name: [_plain(row) for row in rows] for name, rows in self.sections.items()},
            "tracebacks": {name: rows.tracebacks for name, rows in self.sections.items() if rows.tracebacks},
        }
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "check.json").write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
        (self.out / "check.txt").write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The table, at most ``WIDTH`` columns wide."""
        lines = [line for name, value in self.machine.items() for line in _wrapped(f"{name}: ", str(value))]
        for name, rows in self.sections.items():
            taken = f", {self.seconds[name]:.0f} s" if name in self.seconds else ""
            lines += ["", f"{name}{taken}"]
            lines += [line for row in rows for line in _lines(row)]
        count = sum(row.passed is not None for rows in self.sections.values() for row in rows)
        failed = "; ".join(self.failed) or "none"
        lines += ["", *_wrapped(f"{count} checks, failed: ", failed)]
        return "\n".join(lines) + "\n"


def _plain(row: Row) -> dict[str, Any]:
    """A row for JSON, which knows no NaN."""
    tree = asdict(row)
    if isinstance(row.value, float) and not math.isfinite(row.value):
        tree["value"] = str(row.value)
    return tree


def _lines(row: Row) -> list[str]:
    value = row.value if isinstance(row.value, str) else number(row.value)
    fits = len(row.name) <= _NAME and len(value) <= _VALUE
    shown = value if fits else ""
    line = f"  {row.name:{_NAME}} {shown:>{_VALUE}} {row.unit or row.limit:{_UNIT}} {VERDICTS[row.passed]}"
    if fits:
        return [line.rstrip()]
    head = f"  {row.name} {VERDICTS[row.passed]}".rstrip()
    return [*_wrapped("  ", head.strip()), *_wrapped("      ", f"{value} {row.unit or row.limit}".strip())]


def number(value: float) -> str:
    """A number as a person reads it.

    >>> [number(x) for x in (0.0, 3.14159e-6, 0.98765, 12.345, 1234567.0)]
    ['0', '3.1e-06', '0.988', '12.3', '1,234,567']
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 0.001:
        return f"{value:.1e}"
    if abs(value) < 10:
        return f"{value:.3f}"
    return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def _wrapped(first: str, text: str) -> list[str]:
    indent = first if first.isspace() else "      "
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    ) or [first]
