"""A table that is written three times: as Markdown, as CSV and in the page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.scoring.metrics import Floats
from ser.scoring.significance import Interval


@dataclass(frozen=True)
class Score:
    """A share in [0, 1] or a difference of two, mean over the runs."""

    mean: float
    sd: float | None = None  # over the runs; None for one
    interval: Interval | None = None  # 95 %
    signed: bool = False  # a difference

    @classmethod
    def of(cls, values: Floats, interval: Interval | None = None) -> Score | None:
        """The mean of some runs, (R,); None if one of them has no value."""
        if not len(values) or np.isnan(values).any():
            return None
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), sd, interval)

    def __str__(self) -> str:
        """Per cent (points of a difference): ``86.1 ± 2.3 [83.0, 89.1]``."""
        sign = "+" if self.signed else ""
        text = f"{100 * self.mean:{sign}.1f}"
        if self.sd is not None:
            text += f" ± {100 * self.sd:.1f}"
        if self.interval is not None:
            low, high = self.interval
            text += f" [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
        return text.replace("-", "\N{MINUS SIGN}")


Cell = str | int | float | Score | None


@dataclass(frozen=True)
class Sheet:
    """A table.  The first column names the rows."""

    name: str  # of its CSV file
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    note: str = ""  # what has to be said with it

    def text(self) -> list[list[str]]:
        """The cells as they are shown."""
        return [[shown(cell) for cell in row] for row in self.rows]

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return any(isinstance(row[column], (int, float, Score)) for row in self.rows)

    def markdown(self) -> str:
        """A GitHub table, and the note below."""
        lines = ["| " + " | ".join(self.columns) + " |"]
        lines.append(
            "|" + "|".join("---:" if self.numeric(i) else "---" for i in range(len(self.columns))) + "|"
        )
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.text()]
        return "\n".join(lines) + (f"\n\n{self.note}" if self.note else "") + "\n"

    def csv(self) -> str:
        """All of it in full precision; a score has columns for its mean, deviation and interval."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        parts = [self._parts(i) for i in range(len(self.columns))]
        writer.writerow(
            name if part == "mean" else f"{name}_{part}"
            for name, kept in zip(self.columns, parts, strict=True)
            for part in kept
        )
        for row in self.rows:
            writer.writerow(
                value
                for cell, kept in zip(row, parts, strict=True)
                for value in ([_part(cell, part) for part in kept])
            )
        return stream.getvalue()

    def _parts(self, column: int) -> list[str]:
        scores = [row[column] for row in self.rows if isinstance(row[column], Score)]
        parts = ["mean"]
        parts += ["sd"] if any(score.sd is not None for score in scores if isinstance(score, Score)) else []
        if any(score.interval is not None for score in scores if isinstance(score, Score)):
            parts += ["low", "high"]
        return parts


def _part(cell: Cell, part: str) -> str:
    if isinstance(cell, Score):
        low, high = cell.interval or (None, None)
        number = {"mean": cell.mean, "sd": cell.sd, "low": low, "high": high}[part]
        return "" if number is None else f"{number:.6f}"
    if part != "mean" or cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def shown(cell: Cell) -> str:
    """A cell for people: scores in per cent, other numbers with four decimals, ``-`` for nothing."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "fold"), counted(5, "fold")
    ('1 fold', '5 folds')
    """
    return f"{number} {what}" + ("s" if number != 1 else "")


def sort_value(cell: Cell) -> float | None:
    """What a column of numbers is sorted by."""
    if isinstance(cell, Score):
        return cell.mean
    return float(cell) if isinstance(cell, (int, float)) and not math.isnan(cell) else None
