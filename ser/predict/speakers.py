"""Who speaks in recordings, as a user says, for models that normalise by each speaker's statistics."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from ser import reading
from ser.corpora.csv_reader import open_table
from ser.data import tables
from ser.errors import DataError, Problem, UsageError, all_of, examples, plural
from ser.predict.sources import FILE_ALIASES, TABLES, Source

log = logging.getLogger("ser")

SpeakerOf = Literal["file", "folder", "all"]
SPEAKER_OF = get_args(SpeakerOf)
_COLUMNS = ("path", "speaker")
_WAYS = (
    "say who speaks: --speakers TABLE (columns file and speaker, or utt2spk), --speaker-of file (each file a "
    "speaker of its own), folder (each folder a speaker) or all (one speaker)"
)


def with_speakers(
    sources: Sequence[Source], table: Path | None, speaker_of: SpeakerOf | None, model: object
) -> list[Source]:
    """Sources with their speakers, and a line in the log of where they are from.

    Args:
        sources: those of tables may have speakers already, which count where nothing else is said.
        table: names the speakers, see :func:`read_speakers`.
        speaker_of: what has a speaker of its own.
        model: for messages.

    Raises:
        UsageError: nobody says who speaks, or both arguments do.
        DataError: the table cannot be used, or does not name the speaker of every recording.
    """
    if table is not None and speaker_of is not None:
        raise UsageError("--speakers and --speaker-of both say who speaks; give one of them")
    if table is not None:
        named, said = _from_table(sources, table), f"--speakers {table}"
    elif speaker_of is not None:
        named, said = [_grouped(source, speaker_of) for source in sources], f"--speaker-of {speaker_of}"
    else:
        named, said = list(sources), "the tables of recordings"
        if not any(source.speaker for source in sources):
            raise UsageError(
                f"{model}: normalises the features of each speaker by all that each says; {_WAYS}"
            )
    if missing := [source.name for source in named if not source.speaker]:
        others = ""
        if table is not None and len(missing) == len(named):
            others = f", but of {examples(list(read_speakers(table)))}"
        raise DataError(
            f"{said}: names no speaker of {len(missing)} of {plural(len(named), 'recording')} "
            f"({examples(missing)}){others}; add them, or leave the recordings out"
        )
    number = len({source.speaker for source in named})
    log.info("normalisation: by the statistics of each speaker; %s, by %s", plural(number, "speaker"), said)
    return named


def _grouped(source: Source, speaker_of: SpeakerOf) -> Source:
    folder = str(source.recording.path.parent)
    speaker = {"file": str(source.recording.path), "folder": folder, "all": "all"}[speaker_of]
    return source._replace(speaker=speaker)


def _from_table(sources: Sequence[Source], path: Path) -> list[Source]:
    """Sources with the speakers of a table, "" where it has none.

    A line names a recording as it was named, by its path as seen from the table's folder, or, if that is said
    of no other recording, by its file name with or without suffix.
    """
    speakers = read_speakers(path)
    by_path = {os.path.normpath(path.parent / name): speaker for name, speaker in speakers.items()}
    brief = Counter(
        name for file in {source.recording.path for source in sources} for name in _brief_names(file)
    )

    def speaker_of(source: Source) -> str:
        file = source.recording.path
        names = [source.name, str(file), *(name for name in _brief_names(file) if brief[name] == 1)]
        given = [speakers[name] for name in names if name in speakers]
        return given[0] if given else by_path.get(os.path.normpath(file), "")

    return [source._replace(speaker=speaker_of(source)) for source in sources]


def _brief_names(file: Path) -> dict[str, None]:
    """The file's name with and without suffix, in this order."""
    return dict.fromkeys((file.name, file.stem))


def read_speakers(path: Path) -> dict[str, str]:
    """File -> speaker, of Kaldi's ``utt2spk`` or a CSV or TSV table with columns ``file`` and ``speaker``.

    Raises:
        DataError: it cannot be read, a line lacks one of the two, or a file has two speakers.
    """
    first = reading.read_text(path, "name a table of speakers, in UTF-8", encoding="utf-8-sig").partition(
        "\n"
    )[0]
    if path.suffix.lower() not in TABLES and "\t" not in first:
        return tables.read_table(path, any_order=True)
    table = open_table(path, _COLUMNS, FILE_ALIASES)
    speakers: dict[str, str] = {}
    problems: list[Problem] = []
    for number, fields in table.rows(problems.append):
        name, speaker = (fields[table.columns.known[column]] for column in _COLUMNS)
        if not name or not speaker:
            text = "names no file or no speaker; fill it in, or remove the line"
            problems.append(table.problem(number, text))
        elif speakers.setdefault(name, speaker) != speaker:
            problems.append(table.problem(number, f"{name} has the speaker {speakers[name]} above; keep one"))
    if problems:
        raise all_of(problems)
    return speakers
