"""One's own recordings, listed in a table, as lhotse manifests.

The table is a CSV file (commas or semicolons) or a TSV file whose first line names the columns::

    path,speaker,emotion,text,gender,fold
    wav/anna_01.wav,anna,happy,"Well, hello.",f,1

``path`` is that of a recording of one utterance, as seen from the table's folder; ``text``, ``gender`` (f or
m) and ``fold`` may be left out.  Any further column is an attribute that ``keep`` of the settings can choose
by.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from lhotse import RecordingSet, SupervisionSegment, SupervisionSet

from ser import reading
from ser.corpora.base import Corpus
from ser.corpora.recordings import make_recordings
from ser.data.corpus import CorpusConfig
from ser.data.files import file_digest
from ser.data.tables import check_key
from ser.errors import DataError, all_of, short, shown

log = logging.getLogger("ser")

NEEDED, KNOWN = ("path", "speaker", "emotion"), ("text", "gender", "fold")
_SHOWN = 1000  # faults that one error lists
_GUESSES = 100  # labels for which the nearest known one is looked for
_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}
_ODD = re.compile(r"[^\w.@%+=:,-]+", re.ASCII)  # what an utterance id may not hold


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    number: int  # of its (first) line in the file, from 1
    id: str
    path: Path
    speaker: str
    emotion: str
    gender: str  # f, m, or "" for not known
    text: str
    attributes: dict[str, str]  # fold, and the columns that have no meaning here


def prepare_csv(
    table: Path, *, config: CorpusConfig, num_jobs: int = 1
) -> dict[str, RecordingSet | SupervisionSet]:
    """Turn a table of recordings into lhotse manifests.

    Args:
        table: the table, or a folder that holds one.
        config: its labels are those that the table may use.  A label that none of them is, is a fault, unless
            ``keep.emotion`` says which labels to take.
        num_jobs: headers read at a time.

    Returns:
        ``"recordings"`` and ``"supervisions"``, one of each per line, sorted by id, which is made of the
        speaker and the path.  ``custom`` of a supervision has ``emotion``, ``fold`` and all further columns.

    Raises:
        DataError: columns are missing, or lines have unknown labels, recordings that are missing, damaged or
            no audio, or recordings that another speaker or another label has too; all of them at once, each
            with its line.
    """
    table = _find_table(table)
    rows, faults = read_rows(table)
    problems = [*faults, *_label_faults(rows, config), *_group_faults(rows)]
    rows = _firsts(rows) if len(problems) <= _SHOWN else []  # more faults would not be shown
    recordings, damaged = make_recordings({row.id: row.path for row in rows}, num_jobs)
    for row in rows:
        if row.id in damaged:
            what = damaged[row.id].rpartition(";")[0]
            problems.append((row.number, f"{what}; correct the path, or remove the line"))
    problems += _copy_faults([row for row in rows if row.id not in damaged])
    if problems:
        lines = [f"{table}:{number}: {text}" for number, text in sorted(problems, key=itemgetter(0))]
        raise all_of(lines, shown=_SHOWN)
    known = {row.id: row for row in rows}
    supervisions = [_supervision(known[item.id], item.duration) for item in recordings]
    return {"recordings": recordings, "supervisions": SupervisionSet.from_segments(supervisions)}


def state_digest(table: Path) -> str:
    """SHA-256 of a table's bytes and of the sizes and times of the recordings that it names."""
    table = _find_table(table)
    digest = hashlib.sha256(file_digest(table).encode())
    for row in read_rows(table)[0]:
        try:
            state = os.stat(row.path)
            digest.update(f"{state.st_size} {state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"missing\n")
    return digest.hexdigest()[:16]


def _supervision(row: Row, duration: float) -> SupervisionSegment:
    return SupervisionSegment(
        id=row.id,
        recording_id=row.id,
        start=0.0,
        duration=duration,
        channel=0,
        text=row.text or None,
        speaker=row.speaker,
        gender=row.gender or None,
        custom={**row.attributes, "emotion": row.emotion},
    )


# ------------------------------------------------------------------------------------------------- the table


def _find_table(path: Path) -> Path:
    """The table itself, or the only one in a folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"{path}: no such file; name the table of recordings, a CSV or TSV file")
    found = sorted(item for item in path.iterdir() if item.suffix.lower() in (".csv", ".tsv"))
    if len(found) != 1:
        names = f": {', '.join(item.name for item in found[:5])}" if found else ""
        raise DataError(
            f"{path}: holds {len(found)} CSV or TSV files{names}; name the table of recordings itself"
        )
    return found[0]


def read_rows(table: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """Read a table.

    Returns:
        Its rows, and (line, fault) for each line that is none.

    Raises:
        DataError: it cannot be read, or its first line does not name the columns that are needed.
    """
    text = reading.read_text(table, "save it as UTF-8", encoding="utf-8-sig")
    lines = text.splitlines(keepends=True)
    delimiter = max("\t;,", key=(lines or [""])[0].count)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows: list[Row] = []
    problems: list[tuple[int, str]] = []
    first = 0
    try:
        names = _columns(next(reader, []), table)
        while True:
            first = reader.line_num + 1
            fields = [field.strip() for field in next(reader)]
            if not any(fields):
                continue
            if len(fields) != len(names):
                what = f"has {len(fields)} columns, the first line has {len(names)}"
                problems.append((first, f"{what}; correct the line, quoting what holds a {delimiter!r}"))
                continue
            try:
                rows.append(_row(dict(zip(names, fields, strict=True)), first, table.parent))
            except DataError as error:
                problems.append((first, str(error)))
    except StopIteration:
        pass
    except csv.Error as error:
        problems.append((max(first, 1), f"cannot be read from here on ({error}); correct the quotes"))
    if not rows and not problems:
        raise DataError(f"{table}: lists no recording; give each a line below the first")
    return rows, problems


def _columns(header: Iterable[str], table: Path) -> list[str]:
    """The names of the columns, in lower case."""
    names = [name.strip().lower() for name in header]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise DataError(
            f"{table}:1: has no column {', '.join(missing)}; the first line must name path, speaker and "
            f"emotion, and may name text, gender and fold (it names "
            f"{short(', '.join(names)) or 'nothing'})"
        )
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(
            f"{table}:1: names the column {short(twice[0]) or '(empty)'} twice; rename one of them"
        )
    return names


def _row(fields: Mapping[str, str], number: int, folder: Path) -> Row:
    empty = [name for name in NEEDED if not fields[name]]
    if empty:
        raise DataError(f"{', '.join(empty)}: is empty; fill it in, or remove the line")
    for name in ("speaker", "fold"):
        if fields.get(name):
            check_key(fields[name], name)
    gender = fields.get("gender", "")
    if gender and gender.lower() not in _GENDERS:
        raise DataError(f"gender is f, m, or empty, not {shown(gender)}; correct it")
    return Row(
        number=number,
        id=check_key(utterance_id(fields["speaker"], fields["path"]), "path"),
        path=folder / fields["path"],
        speaker=fields["speaker"],
        emotion=fields["emotion"],
        gender=_GENDERS.get(gender.lower(), ""),
        text=" ".join(fields.get("text", "").split()),
        attributes={
            name: value for name, value in fields.items() if value and name not in (*NEEDED, "text", "gender")
        },
    )


def utterance_id(speaker: str, path: str) -> str:
    """The id of an utterance: speaker, then path without suffix, in the characters that an id may have.

    >>> utterance_id("anna", "wav/01.wav"), utterance_id("anna", "anna_01.wav")
    ('anna_wav-01', 'anna_01')
    >>> utterance_id("anna", "wav/schön.wav")
    'anna_wav-sch_n-1f2d508d'
    """
    parts = [part for part in os.path.splitext(path)[0].split("/") if part not in ("", ".", "..")]
    plain = "-".join(parts)
    safe = _ODD.sub("_", plain)
    if safe != plain:  # two names may have become one
        safe += f"-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    return safe if safe.startswith(speaker) else f"{speaker}_{safe}"


# --------------------------------------------------------------------------------------------------- checks


def _label_faults(rows: Sequence[Row], config: CorpusConfig) -> list[tuple[int, str]]:
    """The lines whose label has no class."""
    chosen = config.keep.get("emotion")
    problems = []
    meant: dict[str, str] = {}  # each wrong label -> what may have been meant
    for row in rows:
        label = row.emotion
        if label in config.labels or (chosen is not None and label not in chosen):
            continue
        if label not in meant:
            guess = len(meant) < _GUESSES and len(label) < 64
            near = difflib.get_close_matches(label.lower(), config.labels, n=1) if guess else []
            meant[label] = f"did you mean {near[0]}?" if near else f"known are {', '.join(config.labels)}"
        what = f"emotion {short(label)} is none of labels in {config.source} ({meant[label]})"
        remedy = "map it to a class there, or name the labels to take with keep.emotion"
        problems.append((row.number, f"{what}; {remedy}"))
    return problems


def _firsts(rows: Sequence[Row]) -> list[Row]:
    """The first row of each id and of each recording."""
    seen: set[str | Path] = set()
    firsts = []
    for row in rows:
        if row.id not in seen and row.path not in seen:
            firsts.append(row)
        seen |= {row.id, row.path}
    return firsts


def _group_faults(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """The lines that contradict an earlier one about a speaker, repeat an id, or lack a fold."""
    problems: list[tuple[int, str]] = []
    ids: dict[str | Path, Row] = {}
    genders: dict[str, Row] = {}
    with_fold = next((row for row in rows if "fold" in row.attributes), None)
    for row in rows:
        other = ids.setdefault(row.id, ids.setdefault(row.path, row))
        if other is not row:
            what = "is the recording" if other.path == row.path else f"has the id {row.id}"
            problems.append(
                (row.number, f"{what} of line {other.number} again; keep one of them, or rename it")
            )
        if row.gender:
            other = genders.setdefault(row.speaker, row)
            if other.gender != row.gender:
                what = (
                    f"speaker {row.speaker} is {row.gender} here, and {other.gender} in line {other.number}"
                )
                problems.append((row.number, f"{what}; correct one of them"))
        if with_fold is not None and "fold" not in row.attributes:
            problems.append(
                (row.number, f"has no fold, line {with_fold.number} has one; give every line one")
            )
    return problems


def _copy_faults(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """The lines whose recording, byte for byte, has another speaker or another label on an earlier line."""
    by_size: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_size[row.path.stat().st_size].append(row)
    problems: list[tuple[int, str]] = []
    for same_size in by_size.values():
        seen: dict[str, Row] = {}
        for row in same_size if len(same_size) > 1 else []:
            other = seen.setdefault(file_digest(row.path), row)
            for what, mine, first in (
                ("speaker", row.speaker, other.speaker),
                ("emotion", row.emotion, other.emotion),
            ):
                if mine != first and row.path != other.path:
                    text = (
                        f"{row.path} is the same audio as line {other.number}, whose {what} is {first}, not"
                    )
                    problems.append((row.number, f"{text} {mine}; correct one of them, or remove it"))
    return problems


CORPUS = Corpus(prepare_csv, release="CSV or TSV file", state=state_digest)
