"""Transcriptions: what is said in each turn of a dialog.

::

    Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.

Two more kinds of lines stand among these and are passed over: those of stretches without recording and
label (``Ses03F_impro06_FXX0 [...]: ...``), and those without id and time (``M: Okay.``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ser.corpora.iemocap.release import COPY_AGAIN, read_lines, turn_of
from ser.errors import DataError

_LINE = re.compile(r"(Ses\w+) \[(\d+\.\d+)-(\d+\.\d+)\]:(.*)", re.ASCII)
_UNLABELLED = re.compile(r"Ses0[1-5][FM]_\w+_[FM](?=\d*X)[X\d]{2}\d\b.*", re.ASCII)
_TAG = re.compile(r"\[([^\[\]]*)\]")


@dataclass
class Transcript:
    """What is said in one turn."""

    line: int  # where it stands
    start_s: float
    end_s: float
    raw: str  # with tags and blanks as they are


@dataclass
class Transcripts:
    """What could be read of one transcription file."""

    turns: dict[str, Transcript]
    faulty: set[str]  # ids in lines that could not be used
    unlabelled: int  # lines of stretches without recording and label
    without_id: int


def split_tags(raw: str) -> tuple[str, tuple[str, ...]]:
    """Words and tags of a transcription, apart.

    >>> split_tags("Well,  [LAUGHTER] okay. ")
    ('Well, okay.', ('LAUGHTER',))
    """
    tags = tuple(tag.strip().upper() for tag in _TAG.findall(raw))
    return " ".join(_TAG.sub(" ", raw).split()), tags


def read_transcription(path: Path, dialog: str, problems: list[str]) -> Transcripts:
    """Read what is said in each turn of a dialog.

    Args:
        path: ``transcriptions/<dialog>.txt``.
        dialog: the dialog's name; all turns must be of it.
        problems: what is wrong is appended here, a line each.

    Raises:
        DataError: the file cannot be read at all, or is empty.
    """
    lines = read_lines(path)
    if "".join(lines).strip() == "":
        raise DataError(f"{path}: is empty; {COPY_AGAIN}")
    transcripts = Transcripts({}, set(), 0, 0)
    for number, line in enumerate(lines, 1):
        if _UNLABELLED.fullmatch(line):
            transcripts.unlabelled += 1
        elif line.startswith("Ses"):
            _take_line(transcripts, line, dialog, f"{path}:{number}", problems)
        elif line.strip():
            transcripts.without_id += 1
    return transcripts


def _take_line(transcripts: Transcripts, line: str, dialog: str, where: str, problems: list[str]) -> None:
    match = _LINE.fullmatch(line)
    turn = re.split(r"[\s\[:]", line, maxsplit=1)[0]
    if match is None:
        fault = f"expected '<turn> [<start>-<end>]: <text>', got {line!r}; {COPY_AGAIN}"
    elif not turn_of(turn, dialog):
        fault = f"{turn!r} is no turn of {dialog}; {COPY_AGAIN}"
    elif float(match[3]) <= float(match[2]):
        fault = f"the time range of {turn} runs backwards, {match[2]}-{match[3]}; {COPY_AGAIN}"
    elif turn in transcripts.turns:
        fault = f"{turn} stands here again, first in line {transcripts.turns[turn].line}; keep one of them"
    else:
        number = int(where.rpartition(":")[2])
        transcripts.turns[turn] = Transcript(
            number, float(match[2]), float(match[3]), match[4].removeprefix(" ")
        )
        return
    problems.append(f"{where}: {fault}")
    transcripts.faulty.add(turn)
