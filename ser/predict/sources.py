"""What a user names as recordings: files, folders, ``wav.scp``, tables, data folders, standard input."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ser import reading
from ser.corpora.csv_reader import Table, open_table, plain_times, read_times
from ser.data import tables
from ser.data.segments import COMMAND, SEGMENTS, RecordingSegment, read_recordings
from ser.errors import DataError, Problem, UsageError, all_of, examples, plural, short

log = logging.getLogger("ser")

STDIN = "-"
SUFFIXES = (  # of recordings in a folder
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc"),
    *(".au", ".snd", ".caf", ".w64", ".rf64", ".sph"),
)
TABLES = (".csv", ".tsv")
FILE_ALIASES = {"file": "path"}  # as the table of results has it
_SCP = "wav.scp"
_UNREAD = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mkv", ".mov", ".amr", ".3gp")  # sound that is not read
_USED = ("path", "speaker", "start", "end", "duration")


class Source(NamedTuple):
    """A recording, or a part of one, that is to be classified."""

    name: str  # as whoever asked named it: a path, a key of wav.scp, "-"
    recording: RecordingSegment
    speaker: str = ""  # as the table that names it says; "" if it does not


@contextmanager
def standard_input(inputs: Sequence[str]) -> Iterator[Path | None]:
    """All of standard input as a file, if ``-`` is among the inputs; formats need to be read back and forth.

    Raises:
        UsageError: ``-`` stands twice, or nothing is piped in.
        DataError: it cannot be kept.
    """
    if STDIN not in inputs:
        yield None
        return
    if inputs.count(STDIN) > 1:
        raise UsageError("- (standard input) can be named once")
    if sys.stdin.isatty():
        raise UsageError("- is standard input, and nothing is piped into it; pipe an audio file, or name one")
    with tempfile.NamedTemporaryFile(prefix="ser-") as stream:
        with reading.guarded("standard input", "free some space, or set TMPDIR"):
            shutil.copyfileobj(sys.stdin.buffer, stream, 1 << 20)
            stream.flush()
        yield Path(stream.name)


def find_sources(inputs: Sequence[str], stdin: Path | None = None) -> list[Source]:
    """The recordings that inputs name, in their order; those of a folder in natural order (2 before 10).

    What a folder holds besides recordings is passed over, and named in the log.  A recording that is named
    twice is taken once.

    Args:
        inputs: recordings, folders, Kaldi data folders (that hold ``wav.scp``), ``*.scp``, CSV or TSV tables
            with a column ``path``, or ``-``.
        stdin: where standard input is kept.

    Returns:
        Sources with names of their own, but for parts of one recording that a table lists.

    Raises:
        DataError: an input is not there or names no recording, a table has faults, or two recordings have one
            name.
    """
    if missing := [name for name in inputs if name != STDIN and not os.path.lexists(name)]:
        raise DataError(
            f"{short(missing[0], 1000)}: no such file or folder; name recordings, a folder of them, a "
            "wav.scp, a CSV or TSV table, or -"
        )
    sources = [source for name in inputs for source in _sources_of(name, stdin)]
    unique = list(dict.fromkeys(sources))
    if repeated := len(sources) - len(unique):
        log.info("%s named twice: taken once", plural(repeated, "recording"))
    paths: dict[str, Path] = {}
    for source in unique:
        if paths.setdefault(source.name, source.recording.path) != source.recording.path:
            raise DataError(
                f"{source.name}: names two recordings, {paths[source.name]} and {source.recording.path}; "
                "rename one of them, or give the two in runs of their own"
            )
    return unique


def _sources_of(name: str, stdin: Path | None) -> list[Source]:
    """The recordings of one input."""
    if name == STDIN:
        assert stdin is not None
        return [Source(STDIN, RecordingSegment(stdin))]
    path = Path(name)
    if path.is_dir():
        return _data_folder(path) if (path / _SCP).exists() else _folder(path)
    suffix = path.suffix.lower()
    if suffix == ".scp":
        return _wav_scp(path)
    if suffix in TABLES:
        return _table(path)
    return [_file(path)]


def _file(path: Path) -> Source:
    """A file, named so that neither a shell nor a spreadsheet takes the name for something else."""
    name = str(path)
    return Source(f"./{name}" if name[0] in "-=+@" else name, RecordingSegment(path))


# ------------------------------------------------------------------------------------------------- folders


def natural_order(text: str) -> tuple[list[str | int], str]:
    """A sort key in which numbers count as such.

    >>> sorted(["a10", "a9", "a010", "b1"], key=natural_order)
    ['a9', 'a010', 'a10', 'b1']
    """
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], text


def _folder(folder: Path) -> list[Source]:
    """The recordings in a folder and below; says what else there is."""
    taken: list[str] = []
    passed: list[str] = []

    def told(error: OSError) -> None:
        log.warning("%s: cannot be looked into (%s); passed over", error.filename, error.strerror)

    for place, subfolders, files in os.walk(folder, onerror=told):
        paths = [os.path.join(place, name) for name in subfolders]
        passed += [path for path in paths if _is_hidden(path) or os.path.islink(path)]
        subfolders[:] = [name for name in subfolders if not _is_hidden(name)]
        for name in files:
            known = os.path.splitext(name)[1].lower() in SUFFIXES and not _is_hidden(name)
            (taken if known else passed).append(os.path.join(place, name))
    _tell_passed(folder, taken, passed)
    if not taken:
        hint = ", and no model.json, if it is meant as a model" if not passed else ""
        raise DataError(
            f"{folder}: holds no recording ({', '.join(SUFFIXES[:4])} ...){hint}; name a folder that "
            "does, or the files themselves"
        )
    return [_file(Path(name)) for name in sorted(taken, key=natural_order)]


def _tell_passed(folder: Path, taken: Sequence[str], passed: Sequence[str]) -> None:
    """Say what is passed over in a folder; as a warning where it may be sound."""
    if not passed:
        return
    kinds = Counter(_kind(name) for name in passed)
    kinds_text = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    log.info(
        "%s: %s; passed over: %s (%s)",
        folder, plural(len(taken), "recording"), kinds_text, examples(sorted(passed, key=natural_order)),
    )  # fmt: skip
    sound = sorted((name for name in passed if _kind(name) in _UNREAD), key=natural_order)
    if sound:
        log.warning(
            "%s: %s of kinds that are not read (%s); convert what you need, such as with ffmpeg",
            folder, plural(len(sound), "recording"), examples(sound),
        )  # fmt: skip


def _is_hidden(name: str) -> bool:
    return os.path.basename(name).startswith(".")


def _kind(name: str) -> str:
    if _is_hidden(name):
        return "hidden"
    return "linked" if os.path.isdir(name) else os.path.splitext(name)[1].lower() or "without suffix"


# ------------------------------------------------------------------------------------------ Kaldi's tables


def _wav_scp(path: Path) -> list[Source]:
    """The files that a ``wav.scp`` names, by its keys."""
    places = tables.read_table(path, any_order=True)
    _refuse_commands(path, places)
    if (path.parent / SEGMENTS).exists():
        log.info("%s: %s beside it is not read; name the folder %s for that", path, SEGMENTS, path.parent)
    return [Source(key, RecordingSegment(Path(place))) for key, place in places.items()]


def _data_folder(data: Path) -> list[Source]:
    """The utterances of a Kaldi data folder, with the speakers that ``utt2spk`` names."""
    recordings = read_recordings(data)
    _refuse_commands(data / _SCP, tables.read_table(data / _SCP))
    speakers: Mapping[str, str] = {}
    if (data / "utt2spk").exists():
        speakers = tables.read_table(data / "utt2spk")
        tables.same_keys(speakers, data / "utt2spk", recordings, data, "correct the folder")
    return [Source(key, recording, speakers.get(key, "")) for key, recording in recordings.items()]


def _refuse_commands(path: Path, places: Mapping[str, str]) -> None:
    lines = enumerate(places.items(), 1)
    commands = [
        Problem(str(path), number, f"{key}: {short(place)}: {COMMAND}")
        for number, (key, place) in lines
        if place.endswith("|")
    ]
    if commands:
        raise all_of(commands)


# -------------------------------------------------------------------------------------------------- tables


def _table(path: Path) -> list[Source]:
    """The recordings, or parts of them, that a table lists; paths are as seen from its folder."""
    table = open_table(path, ("path",), FILE_ALIASES)
    places = {name: table.columns.known[name] for name in _USED if name in table.columns.known}
    unused = sorted((table.columns.known | table.columns.attributes).keys() - places.keys())
    more = f"; not used: {', '.join(unused)}" if unused else ""
    log.info("%s: columns %s%s", path, ", ".join(places), more)
    problems: list[Problem] = []
    sources: list[Source] = []
    for number, fields in table.rows(problems.append):
        try:
            sources.append(_row(table, {name: fields[place] for name, place in places.items()}))
        except DataError as error:
            problems.append(table.problem(number, str(error)))
    if problems:
        raise all_of(problems)
    if not sources:
        raise DataError(f"{path}: lists no recording; give each a line below the first")
    return sources


def _row(table: Table, fields: dict[str, str]) -> Source:
    """The recording of a line; errors go without their place."""
    if not fields["path"]:
        raise DataError("path: is empty; fill it in, or remove the line")
    if fields["path"].endswith("|"):
        raise DataError(f"{short(fields['path'])}: {COMMAND.replace('wav.scp', 'the table')}")
    speaker = fields.get("speaker", "")
    if speaker:
        tables.check_key(speaker, "speaker")
    times = read_times(plain_times(fields, table.delimiter))
    source = _file(table.path.parent / fields["path"])
    part = RecordingSegment(source.recording.path, *times) if times else source.recording
    return Source(source.name, part, speaker)
