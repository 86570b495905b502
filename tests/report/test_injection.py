"""Names and notes from elsewhere say nothing to a browser, a spreadsheet or a terminal."""

from __future__ import annotations

import csv
import io
import logging

import pytest

from ser import cli
from ser.errors import DataError, plain
from ser.reporting.page import _csv_uri
from ser.reporting.report import Report
from ser.reporting.results import results_text
from ser.reporting.sheet import Score, Sheet, csv_text, markdown_text

NAME = "<script>alert(1)</script>|[x](javascript:y)\n# heading"
FORMULAS = ["=cmd|' /C calc'!A0", "@SUM(A1)", "+1+cmd|x", "-2+3", "\t=1", "\r=1"]


def sheet(*names: str) -> Sheet:
    """A table of systems with these names."""
    rows = [[name, 3, -0.25, Score(-0.5, None, None, signed=True)] for name in names]
    return Sheet("systems", NAME, ("system", "n", NAME, "change"), rows, NAME)


def test_markdown_holds_no_html_and_no_links() -> None:
    report = Report(NAME, NAME, [sheet(NAME)], [], [], {}, {"command": NAME})
    text = results_text(report)
    assert "<script" not in text
    assert "](javascript" not in text
    assert "\n# heading" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert {line.replace("\\|", "").count("|") for line in table} == {5}


def test_markdown_leaves_other_text_as_it_is() -> None:
    text = "p < 0.05, 86.1 ± 2.3 [83.0, 89.1], csa_20 - blstmatt, `a`"
    assert markdown_text(text) == text


@pytest.mark.parametrize("name", FORMULAS)
def test_a_spreadsheet_finds_no_formula(name: str) -> None:
    made = sheet(name)
    row = list(csv.reader(io.StringIO(made.csv())))[1]
    assert row[0] == f"'{name.strip()}"
    assert row[1:] == ["3", "-0.25", "-0.500000"]
    head = Sheet("x", "x", (name, "n"), [["a", 1]])
    assert next(csv.reader(io.StringIO(head.csv())))[0] == f"'{name.strip()}"
    assert "%27" in _csv_uri(made)


def test_numbers_and_names_stay_as_they_are() -> None:
    for text in ("-", "-1.5", "+3", "1e-05", "anna", "csa - blstmatt", ""):
        assert csv_text(text) == text


def test_a_terminal_gets_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;owned\x07\x9b2J\u202egnp.exe\r"

    def verb(_argv: object) -> int:
        logging.getLogger("ser").warning("%s: up to date", name)
        raise DataError(f"{name}: is wrong\nsecond line")

    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        with pytest.raises(SystemExit):
            cli.run(verb, [])
    finally:
        root.handlers = handlers
    told = capsys.readouterr().err
    assert r"\x1b]0;owned\x07\x9b2J\u202egnp.exe\r: up to date" in told
    assert "ser: error: " + r"\x1b]0;owned\x07\x9b2J\u202egnp.exe\r: is wrong" + "\nsecond line" in told
    assert plain("größer\t→ 3\n") == "größer\t→ 3\n"
