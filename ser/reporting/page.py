"""report.html: one self-contained file."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from markupsafe import Markup, escape

from ser.reporting.attention import Picture
from ser.reporting.report import Report
from ser.reporting.sheet import Cell, Score, Sheet, format_cell, sort_value
from ser.reporting.templates import environment


def page(report: Report, attention: Sequence[Picture] = ()) -> str:
    """The whole page.

    Args:
        report: what to show.
        attention: drawings of stage 8, see :func:`ser.reporting.attention.read_pictures`.
    """
    templates = environment("ser.reporting")
    templates.globals.update(
        csv=_csv_uri, rendered=_rendered, attributes=_attributes, confusion_reading=confusion_reading
    )
    return templates.get_template("page.html").render(report=report, attention=attention)


def _csv_uri(sheet: Sheet) -> str:
    return "data:text/csv;charset=utf-8," + urllib.parse.quote(sheet.csv())


def _rendered(cell: Cell) -> Markup:
    if not isinstance(cell, Score):
        text = format_cell(cell)
        return escape(text.replace("-", "\N{MINUS SIGN}") if isinstance(cell, float) else text)
    number, *rest = str(cell).split(" ", 1)
    return Markup("{} <span class=spread>{}</span>").format(number, rest[0]) if rest else escape(number)


def _attributes(cell: Cell, numeric: bool) -> Markup:
    value = sort_value(cell)
    if value is not None:
        return Markup(' class="n" data-v="{}"').format(f"{value:.9g}")
    if numeric:
        return Markup(' class="n"')
    return Markup(' class="text"') if isinstance(cell, str) and len(cell) > 30 else Markup("")


def confusion_reading(sheet: Sheet) -> str:
    """The most frequent confusion of a matrix, in a sentence."""
    shares = [
        (cell.mean, str(row[0]), name)
        for row in sheet.rows
        for name, cell in zip(sheet.columns[1:-1], row[1:-1], strict=True)
        if isinstance(cell, Score) and name != row[0]
    ]
    share, reference, hypothesis = max(shares)
    if share == 0:
        return "No utterance is confused."
    return f"The most frequent confusion: {100 * share:.1f} % of {reference} are taken for {hypothesis}."
