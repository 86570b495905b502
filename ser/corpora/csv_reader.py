"""The lines of a table: a CSV or TSV file as people and spreadsheets write it."""

from __future__ import annotations

import codecs
import csv
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ser import reading
from ser.corpora.csv_columns import NEEDED, TIMES, Columns, read_columns
from ser.data.tables import check_key
from ser.errors import DataError, Problem, shown

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_SEPARATOR = re.compile(r'"?sep=(.)"?[;,\t]*\s*', re.IGNORECASE)  # Excel's first line: sep=;
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d*)?)")
_DECIMAL_COMMA = re.compile(r"^(\d+),(\d+)$")  # as spreadsheets of many languages write 1.5
_DISTINCT = 10_000  # sets of attributes that are looked up; where there are more, few are the same
_SAME_S = 0.01  # start + duration and end may differ by this much


@dataclass(frozen=True)
class Table:
    """A table whose first line has been read."""

    path: Path
    columns: Columns
    delimiter: str
    records: Iterator[tuple[int, list[str] | csv.Error]]  # number of a line, from 1, and its fields

    def rows(self, report: Callable[[Problem], None]) -> Iterator[tuple[int, list[str]]]:
        """The lines that are not empty and have as many fields as the first; others are reported.

        Args:
            report: takes a fault of a line.
        """
        width = self.columns.width
        for number, fields in self.records:
            if isinstance(fields, csv.Error):
                text = f"cannot be read from here on ({fields}); correct the quotes"
                report(self.problem(number, text))
                return
            while len(fields) > width and not fields[-1]:
                fields.pop()
            if len(fields) != width:
                if any(fields):
                    text = f"has {len(fields)} columns, the first line has {width}; correct the line, "
                    report(self.problem(number, f"{text}quoting what holds a {self.delimiter!r}"))
                continue
            if not any(fields):
                continue
            unnamed = [place for place in self.columns.unnamed if fields[place]]
            if unnamed:
                text = f"column {unnamed[0] + 1} holds {shown(fields[unnamed[0]])}, and has no name"
                report(self.problem(number, f"{text}; name it in the first line, or empty it"))
                continue
            yield number, fields

    def problem(self, number: int, text: str, kind: str = "") -> Problem:
        """A fault of a line."""
        return Problem(str(self.path), number, text, kind)


def open_table(
    path: Path, needed: Sequence[str] = NEEDED, aliases: Mapping[str, str] = MappingProxyType({})
) -> Table:
    """Read the first line of a table.

    Args:
        path: a CSV or TSV file in UTF-8, or in UTF-16 with a byte order mark, as Excel saves "Unicode text".
        needed: the columns that it must have.
        aliases: other names that columns may have -> theirs.

    Raises:
        DataError: it cannot be read, or its first line does not name the columns that are needed.
    """
    remedy = "save it as UTF-8"
    with reading.guarded(path, remedy), reading.open_file(path) as stream:
        wide = stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = reading.read_text(path, remedy, encoding="utf-16" if wide else "utf-8-sig")
    first = _LINE.match(text)
    assert first is not None
    separator = _SEPARATOR.fullmatch(first[0])
    skipped = first.end() if separator else 0
    head = _LINE.match(text, skipped)
    assert head is not None
    delimiter = separator[1] if separator else max("\t;,", key=head[0].count)
    records = _records(text, skipped, delimiter)
    number, header = next(records, (2 if separator else 1, []))
    if isinstance(header, csv.Error):
        raise DataError(f"{path}:{number}: cannot be read ({header}); correct the quotes")
    return Table(path, read_columns(header, f"{path}:{number}", needed, aliases), delimiter, records)


def _records(text: str, start: int, delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The fields of each line from a place on, and the line's number; an error is the last."""
    before = 1 if start else 0
    lines = (match[0] for match in _LINE.finditer(text, start) if match[0])
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = before + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, error
            return
        yield number, [field.strip() for field in fields]


# ----------------------------------------------------------------------------------------------------- times


def plain_times(fields: Mapping[str, str], delimiter: str) -> dict[str, str]:
    """What stands in the columns of times, with a point for a decimal comma where commas part no columns."""
    times = {name: fields[name] for name in TIMES if name in fields}
    if delimiter == ",":
        return times
    return {name: _DECIMAL_COMMA.sub(r"\1.\2", text) for name, text in times.items()}


def read_times(fields: Mapping[str, str]) -> tuple[float, float] | None:
    """The start and the end that a line gives, in seconds; None for all of the recording.

    Args:
        fields: what stands in the columns ``start``, ``end`` and ``duration``, as far as there are such.

    Raises:
        DataError: one time alone, times that contradict each other or run backwards, or no times in seconds.
    """
    given = {name: _seconds(fields[name], name) for name in TIMES if fields.get(name)}
    if not given or given.keys() == {"duration"}:
        return None
    if len(given) == 1:
        raise DataError(
            f"has {next(iter(given))} alone; give two of start, end and duration, or none for all of the "
            "recording"
        )
    start = given["start"] if "start" in given else round(given["end"] - given["duration"], 9)
    end = given["end"] if "end" in given else round(start + given["duration"], 9)
    if len(given) == 3 and abs(start + given["duration"] - end) > _SAME_S:
        raise DataError(
            f"start {start:g} and duration {given['duration']:g} make {start + given['duration']:g} s, and "
            f"end is {end:g}; correct one of them, or leave one empty"
        )
    if not 0 <= start < end:
        raise DataError(f"runs from {start:g} to {end:g} s; correct the times")
    return start, end


def _seconds(text: str, name: str) -> float:
    """A time; anything else is an error that says what to write."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value < math.inf and "_" not in text:
        return value
    remedy = "write a number such as 12.5"
    if clock := _CLOCK.fullmatch(text.replace(",", ".")):
        hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        remedy = f"write {3600 * hours + 60 * minutes + seconds:.10g}"
    elif re.fullmatch(r"\d+,\d+", text):
        remedy = f"write {text.replace(',', '.')}"
    raise DataError(f"{name} is a number of seconds, not {shown(text)}; {remedy}")


def read_claim(fields: Mapping[str, str]) -> float | None:
    """The duration in seconds that a line says all of its recording has, if it does."""
    only = fields.get("duration") and not fields.get("start") and not fields.get("end")
    return _seconds(fields["duration"], "duration") if only else None


# ------------------------------------------------------------------------------------------------------ rows


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    number: int  # of its (first) line in the file, from 1
    id: str
    path: str
    speaker: str
    emotion: str
    gender: str  # f, m, or "" for not known
    text: str
    fold: str  # "" for none
    start_s: float  # 0 for all of the recording
    end_s: float  # inf for all of the recording
    claim_s: float | None  # the duration that the table says a whole recording has
    attributes: Mapping[str, str]  # the columns that have no meaning here

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its recording."""
        return self.end_s == math.inf


_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}


class RowReader:
    """Makes rows of the fields of lines; what is the same in many lines is held once."""

    def __init__(self, table: Table, name: Callable[[str, str, tuple[float, float] | None], str]) -> None:
        """``name`` makes an utterance's id of its speaker, its path and its times."""
        self._columns, self._folder, self._name = table.columns, table.path.parent, name
        self._delimiter = table.delimiter
        fold = table.columns.fold
        places = table.columns.known | table.columns.attributes
        self._fold_place = None if fold is None else places[fold]
        self._attributes: dict[tuple[str, ...], dict[str, str]] = {}

    def read(self, number: int, fields: list[str]) -> Row:
        """The row of a line.

        Raises:
            DataError: what is wrong with it, without its place.
        """
        known = {name: fields[place] for name, place in self._columns.known.items()}
        empty = [name for name in ("path", "speaker", "emotion") if not known[name]]
        if empty:
            raise DataError(f"{', '.join(empty)}: is empty; fill it in, or remove the line")
        check_key(known["speaker"], "speaker")
        gender = known.get("gender", "").lower()
        if gender and gender not in _GENDERS:
            raise DataError(f"gender is f, m, or empty, not {shown(known['gender'])}; correct it")
        known |= plain_times(known, self._delimiter)
        times = read_times(known)
        start, end = times or (0.0, math.inf)
        return Row(
            number=number,
            id=check_key(self._name(known["speaker"], known["path"], times), "path"),
            path=str(self._folder / known["path"]),
            speaker=sys.intern(known["speaker"]),
            emotion=sys.intern(known["emotion"]),
            gender=_GENDERS.get(gender, ""),
            text=" ".join(known.get("text", "").split()),
            fold=sys.intern(fields[self._fold_place]) if self._fold_place is not None else "",
            start_s=start,
            end_s=end,
            claim_s=read_claim(known),
            attributes=self._shared(fields),
        )

    def _shared(self, fields: list[str]) -> dict[str, str]:
        """The attributes of a line, one object for all lines that have the same."""
        values = tuple(fields[place] for place in self._columns.attributes.values())
        if values in self._attributes:
            return self._attributes[values]
        pairs = zip(self._columns.attributes, values, strict=True)
        attributes = {name: value for name, value in pairs if value and name != self._columns.fold}
        if len(self._attributes) < _DISTINCT:
            self._attributes[values] = attributes
        return attributes
