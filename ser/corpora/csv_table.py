"""One's own recordings, listed in a table, as lhotse manifests.

The table is a CSV file (commas or semicolons) or a TSV file whose first line names the columns::

    path,speaker,emotion,start,end,text,gender,fold
    wav/anna_01.wav,anna,happy,0,1.9,"Well, hello.",f,1

``path`` is that of a recording, as seen from the table's folder.  Two of ``start``, ``end`` and ``duration``,
in seconds, say which part of it is the utterance; without them it is all of it.  ``text``, ``gender`` (f or
m) and ``fold`` may be left out; a ``fold`` (or ``split``, ``set``) of train, dev and test is a fixed
split.  Any further column is an attribute that ``keep`` of the settings can choose by, unless its name begins
with ``_``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

from ser.cli import progress
from ser.corpora import csv_checks
from ser.corpora.base import Corpus
from ser.corpora.csv_reader import Row, RowReader, Table, open_table
from ser.corpora.recordings import make_recording, read_headers
from ser.data.audio_meta import AudioMeta
from ser.data.corpus import CorpusConfig
from ser.data.files import file_digest
from ser.data.split import begins_with_train, subset_named
from ser.errors import DataError, Problem, all_of

log = logging.getLogger("ser")
T = TypeVar("T")

_MANY = 1000  # faults of the table after which no recording is looked at
_SHOWN = 40  # lines of an error
_ODD = re.compile(r"[^\w.@%+=:,-]+", re.ASCII)  # what an id may not hold


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
        ``"recordings"``, one of each file, and ``"supervisions"``, one of each line, sorted by id and made as
        they are asked for.  The id of a supervision is made of the speaker, the path and, of a part of a
        recording, its times in ms.  A recording of one utterance has the utterance's id, another one an id
        made of its path.  ``custom`` of a supervision has ``emotion``, ``fold`` and all further columns; a
        ``fold`` of a fixed split is ``train``, ``dev`` or ``test``.

    Raises:
        DataError: columns are missing, or lines have unknown labels, times that cannot be, recordings that
            are missing, damaged or no audio, or audio that another speaker or another label has too; all of
            them at once, by kind, with the numbers of their lines.
    """
    opened = open_table(_find_table(table))
    rows, problems = read_rows(opened)
    fold = opened.columns.fold
    if (
        fold is not None
        and fold != "fold"
        and not any(subset_named(row.fold) or begins_with_train(row.fold) for row in rows)
    ):
        fold = None  # a column split of other values is an attribute like any other
    problems += csv_checks.table_problems(opened, rows, config, fold)
    metas: dict[str, AudioMeta] = {}
    if len(problems) <= _MANY:
        metas, damaged = read_headers((row.path for row in rows), num_jobs)
        problems += csv_checks.audio_problems(opened, rows, metas, damaged)
    if problems:  # a column that is not used may be what is wrong with all of them
        problems += csv_checks.unused_columns(opened, config, fold)
        problems.sort(key=lambda problem: problem.line or 0)
        raise all_of(problems, shown=_SHOWN)
    csv_checks.tell_columns(opened, rows, config, fold)
    rows.sort(key=lambda row: row.id)
    return _manifests(rows, metas, "fold" if fold else str(opened.columns.fold), opened.path)


def read_rows(table: Table) -> tuple[list[Row], list[Problem]]:
    """The rows of a table, and the faults of lines that are none.

    Raises:
        DataError: it lists no recording.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    reader = RowReader(table, utterance_id)
    for number, fields in progress(table.rows(problems.append), "lines of the table"):
        try:
            rows.append(reader.read(number, fields))
        except DataError as error:
            problems.append(table.problem(number, str(error)))
    if not rows and not problems:
        raise DataError(f"{table.path}: lists no recording; give each a line below the first")
    return rows, problems


def state_digest(table: Path) -> str:
    """SHA-256 of a table's bytes and of the sizes and times of the recordings that it names."""
    table = _find_table(table)
    opened = open_table(table)
    place = opened.columns.known["path"]
    digest = hashlib.sha256(file_digest(table).encode())
    for path in dict.fromkeys(fields[place] for _, fields in opened.rows(lambda _: None)):
        try:
            state = os.stat(table.parent / path)
            digest.update(f"{state.st_size} {state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"missing\n")
    return digest.hexdigest()[:16]


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


# ------------------------------------------------------------------------------------------------------- ids


def utterance_id(speaker: str, path: str, times: tuple[float, float] | None = None) -> str:
    """The id of an utterance: speaker, path without suffix, times in ms, in characters that an id may have.

    >>> utterance_id("anna", "wav/01.wav"), utterance_id("anna", "anna_01.wav")
    ('anna_wav-01', 'anna_01')
    >>> utterance_id("anna", "wav/schön.wav")
    'anna_wav-sch_n-1f2d508d'
    >>> utterance_id("anna", "c.wav", (1.9, 5.7))
    'anna_c-0001900-0005700'
    """
    safe = recording_id(path)
    if times is not None:
        safe += "".join(f"-{round(1000 * time):07d}" for time in times)
    return safe if safe.startswith(speaker) else f"{speaker}_{safe}"


def recording_id(path: str) -> str:
    """The id of a recording of several utterances: its path without suffix, in characters of an id."""
    parts = [part for part in os.path.splitext(path)[0].split("/") if part not in ("", ".", "..")]
    plain = "-".join(parts)
    safe = _ODD.sub("_", plain)
    if safe != plain:  # two names may have become one
        safe += f"-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    return safe


# ------------------------------------------------------------------------------------------------- manifests


@dataclass(frozen=True)
class _Made(Generic[T]):
    """Entries of a manifest, each made when it is asked for."""

    keys: Sequence[str] | Sequence[Row]
    make: Callable[[int], T]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[T]:
        return map(self.make, range(len(self.keys)))


def _manifests(
    rows: Sequence[Row], metas: Mapping[str, AudioMeta], fold: str, table: Path
) -> dict[str, RecordingSet | SupervisionSet]:
    """The manifests of rows, sorted by id, without faults."""
    names = _recording_ids(rows, table)
    paths = sorted(names, key=names.__getitem__)

    def recording(place: int) -> Recording:
        path = paths[place]
        return make_recording(names[path], path, metas[path])

    def supervision(place: int) -> SupervisionSegment:
        row = rows[place]
        meta = metas[row.path]
        end = min(row.end_s, meta.num_samples / meta.sampling_rate_hz)
        value = subset_named(row.fold) or row.fold
        own = {fold: value} if value else {}
        return SupervisionSegment(
            id=row.id,
            recording_id=names[row.path],
            start=row.start_s,
            duration=end - row.start_s,
            channel=0,
            text=row.text or None,
            speaker=row.speaker,
            gender=row.gender or None,
            custom={**row.attributes, **own, "emotion": row.emotion},
        )

    return {
        "recordings": RecordingSet(_Made(paths, recording)),
        "supervisions": SupervisionSet(_Made(rows, supervision)),
    }


def _recording_ids(rows: Sequence[Row], table: Path) -> dict[str, str]:
    """The id of each recording.

    Raises:
        DataError: two would have one.
    """
    names: dict[str, str] = {}
    for row in rows:
        shared = row.path in names or not row.is_whole
        names[row.path] = recording_id(os.path.relpath(row.path, table.parent)) if shared else row.id
    owners: dict[str, str] = {}
    problems: list[Problem] = [
        Problem(
            str(table), None, f"{path} and {owners[name]} would both have the id {name}; rename one of them"
        )
        for path, name in names.items()
        if owners.setdefault(name, path) != path
    ]
    if problems:
        raise all_of(problems)
    return names


CORPUS = Corpus(prepare_csv, release="CSV or TSV file", state=state_digest)
