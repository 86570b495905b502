"""Tab-separated tables with a heading: written for spreadsheets, read by the next step."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ser import reading
from ser.data.files import whole_file
from ser.errors import DataError, shown

R = TypeVar("R", bound=tuple)  # type: ignore[type-arg]


def write_tsv(path: Path, kind: type[R], rows: Iterable[R]) -> None:
    """Write named tuples, one column a field; numbers with six digits, ``-`` for what does not exist."""
    with whole_file(path) as stream:
        stream.write("\t".join(get_type_hints(kind)) + "\n")
        stream.writelines("\t".join(map(format_value, row)) + "\n" for row in rows)


def format_value(value: object) -> str:
    """Format one value of a table.

    >>> [format_value(value) for value in (0.12345678, float("nan"), float("inf"), 3, "AY", None)]
    ['0.123457', '-', '-', '3', 'AY', '-']
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read_tsv(path: Path, kind: type[R], stage: int = 8) -> list[R]:
    """Read what :func:`write_tsv` wrote in a stage of the recipe.

    Raises:
        DataError: the file is missing, has other columns, or a value of another type.
    """
    hints = get_type_hints(kind)
    remedy = f"run stage {stage} again"
    text = reading.read_text(path, remedy, missing=f"run stage {stage}")
    with reading.guarded(path, remedy):
        lines = list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines or lines[0] != list(hints):
        raise DataError(f"{path}:1: expected the columns {' '.join(hints)}; {remedy}")
    rows: list[R] = []
    for number, line in enumerate(lines[1:], 2):
        try:
            if len(line) != len(hints):
                raise ValueError(line)
            rows.append(kind(*map(_parse, hints.values(), line)))
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: expected {' '.join(hints)}, got {shown(line)}; {remedy}"
            ) from error
    return rows


def _parse(kind: object, value: str) -> Any:
    if kind is float:
        return math.nan if value == "-" else float(value)
    return int(value) if kind is int else value


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of text with the fields in columns; the first is aligned to the left, the others to the right.

    >>> columns([("frames", "vowel"), ("all", "1.25")])
    ['frames  vowel', 'all      1.25']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:>{w}}" if i else f"{cell:<{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def format_number(value: float) -> str:
    """Format a number with three digits; NaN is ``-``."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def format_interval(low: float, high: float) -> str:
    """Format an interval; NaN ends give ``-``."""
    return "-" if math.isnan(low) else f"{low:.3f}..{high:.3f}"
