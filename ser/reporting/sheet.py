"""A table, to be written as Markdown, as CSV and in the page."""

from __future__ import annotations

import csv
import io
import math
import re
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


_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")
_HTML = re.compile(r"<(?=[A-Za-z/!?])")  # what opens a tag, a comment or a link
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
        return [[format_cell(cell) for cell in row] for row in self.rows]

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return any(isinstance(row[column], (int, float, Score)) for row in self.rows)

    def markdown(self) -> str:
        """A GitHub table, and the note below."""
        lines = [_markdown_row(self.columns)]
        lines.append(
            "|" + "|".join("---:" if self.numeric(i) else "---" for i in range(len(self.columns))) + "|"
        )
        lines += [_markdown_row(row) for row in self.text()]
        return "\n".join(lines) + (f"\n\n{markdown_text(self.note)}" if self.note else "") + "\n"

    def csv(self) -> str:
        """All of it in full precision; a score has columns for its mean, deviation and interval."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        statistics = [self._statistics(i) for i in range(len(self.columns))]
        writer.writerow(
            csv_text(name if statistic == "mean" else f"{name}_{statistic}")
            for name, kept in zip(self.columns, statistics, strict=True)
            for statistic in kept
        )
        for row in self.rows:
            writer.writerow(
                _csv_value(cell, statistic)
                for cell, kept in zip(row, statistics, strict=True)
                for statistic in kept
            )
        return stream.getvalue()

    def _statistics(self, column: int) -> list[str]:
        """The columns of the CSV file that a column of the table has."""
        scores = [cell for cell in (row[column] for row in self.rows) if isinstance(cell, Score)]
        statistics = ["mean"]
        statistics += ["sd"] if any(score.sd is not None for score in scores) else []
        statistics += ["low", "high"] if any(score.interval is not None for score in scores) else []
        return statistics


def _csv_value(cell: Cell, statistic: str) -> str:
    if isinstance(cell, Score):
        low, high = cell.interval or (None, None)
        number = {"mean": cell.mean, "sd": cell.sd, "low": low, "high": high}[statistic]
        return "" if number is None else f"{number:.6f}"
    if statistic != "mean" or cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else csv_text(str(cell))


def csv_text(text: str) -> str:
    """Text for a cell of a CSV file, on one line: a spreadsheet must not take it for a formula.

    >>> [csv_text(text) for text in ("anna", "=1+1", "@SUM(A1)", "-3.5", "-")]
    ['anna', "'=1+1", "'@SUM(A1)", '-3.5', '-']
    """
    text = " ".join(text.split())
    return f"'{text}" if text[:1] in _FORMULA and text != "-" and not _NUMBER.fullmatch(text) else text


def markdown_text(text: str) -> str:
    r"""Text for Markdown, on one line: what would be HTML or a link is shown as it is written.

    >>> markdown_text("<b>[x](javascript:y)\n# z")
    '&lt;b>[x]\\(javascript:y) # z'
    """
    return _HTML.sub("&lt;", " ".join(text.split())).replace("](", "]\\(")


def _markdown_row(cells: Sequence[str]) -> str:
    """A row of a GitHub table."""
    return "| " + " | ".join(markdown_text(cell).replace("|", "\\|") for cell in cells) + " |"


def format_cell(cell: Cell) -> str:
    """Format a cell: scores in per cent, other numbers with four decimals, ``-`` for nothing."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def sort_value(cell: Cell) -> float | None:
    """The number by which a column is sorted; None for what is no number."""
    if isinstance(cell, Score):
        return cell.mean
    return float(cell) if isinstance(cell, (int, float)) and not math.isnan(cell) else None
