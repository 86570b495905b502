"""Manifests of a prepared corpus: lhotse's files, read as plain JSON, since lhotse itself is slow to load."""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser import reading
from ser.cli import progress
from ser.data.corpus import MAX_RATE_HZ, CorpusConfig
from ser.data.durations import SAME_S
from ser.data.tables import check_key
from ser.errors import DataError, all_of, short, shown

RECORDINGS, SUPERVISIONS = "recordings.jsonl.gz", "supervisions.jsonl.gz"
Segment = tuple[str, float, float]  # symbol, start and duration in seconds
MAX_LINE, MAX_BYTES = 1 << 26, 1 << 33  # of an entry, and of a manifest, when unpacked
_SHORT = 16  # characters of a text that is likely to stand in other entries, too
_MANY = 1000  # faults after which no more are looked for


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording, or a segment of one, with what is known about it."""

    id: str
    recording_id: str
    path: str  # of the audio file
    sampling_rate_hz: int
    num_channels: int
    recording_s: float  # duration of the recording
    start_s: float  # in the recording; 0 of a whole one
    duration_s: float  # of the utterance
    speaker: str
    text: str  # "" if the corpus has none
    attributes: dict[
        str, str
    ]  # emotion (the release's label), speaker, gender, all of custom that is one value
    alignment: dict[str, list[Segment]]  # phone, word, ... -> segments in time order, on the utterance's time

    @property
    def end_s(self) -> float:
        """Its end in the recording."""
        return self.start_s + self.duration_s

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its recording."""
        return self.start_s == 0 and self.duration_s == self.recording_s


def read_manifests(folder: Path) -> list[Utterance]:
    """Read ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``, one supervision or several to a recording.

    Args:
        folder: what ``ser.prepare`` made, or any two lhotse manifests of that form.

    Returns:
        The utterances, sorted by id.

    Raises:
        DataError: a manifest is missing, cut short or no manifest; the two are about different recordings;
            an id cannot be a key; a supervision lies outside of its recording; all problems at once (of
            more than a thousand those).
    """
    recordings: dict[str, tuple[str, dict[str, Any]]] = {}
    for where, item in read_items(folder / RECORDINGS):
        if item["id"] in recordings:
            raise DataError(f"{where}: {shown(item['id'])} appears twice; keep one of them")
        recordings[item["id"]] = (where, item)
    utterances: dict[str, Utterance] = {}
    problems: list[str] = []
    for where, item in read_items(folder / SUPERVISIONS):
        try:
            utterance = _join(item, recordings, where)
            if utterance.id in utterances:
                raise DataError(f"{where}: {utterance.id} appears twice; keep one of them")
        except DataError as error:
            problems.append(str(error))
            if len(problems) >= _MANY:
                break
            continue
        utterances[utterance.id] = utterance
    if not problems:
        used = {item.recording_id for item in utterances.values()}
        problems = [
            f"{where}: {short(name)} has no supervision in {folder / SUPERVISIONS}; prepare the corpus again"
            for name, (where, _) in recordings.items()
            if name not in used
        ]
    if problems:
        raise all_of(problems)
    return [utterances[name] for name in sorted(utterances)]


def read_items(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each entry of a manifest, with its place (``<file>:<line>``).

    Raises:
        DataError: missing, empty, cut short or no manifest.
    """
    remedy, done = "run stage 0 again", 0
    with (
        reading.guarded(path, remedy, missing="run stage 0", what="cut short or not gzip"),
        reading.open_file(path) as raw,
        gzip.GzipFile(fileobj=raw) as stream,
    ):
        lines = progress(iter(lambda: stream.readline(MAX_LINE), b""), f"reading {path.name}")
        for number, line in enumerate(lines, 1):
            done += len(line)
            if len(line) == MAX_LINE or done > MAX_BYTES:
                raise reading.BadFileError("unpacks to more than a manifest may hold", number)
            where = f"{path}:{number}"
            with reading.guarded(where, remedy, what="no manifest entry"):
                item = json.loads(line.decode("utf-8"), object_pairs_hook=_shared)
                if not isinstance(item, dict) or not isinstance(item.get("id"), str):
                    raise ValueError("no id")
            yield where, item
    if not done:
        raise DataError(f"{path}: is empty; {remedy}")


def _shared(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping whose keys and short texts are one object for all entries that have the same."""
    return {
        sys.intern(key): sys.intern(value) if type(value) is str and len(value) < _SHORT else value
        for key, value in pairs
    }


def _join(item: dict[str, Any], recordings: dict[str, Any], where: str) -> Utterance:
    """The utterance of one supervision and its recording."""
    name = check_key(item["id"], where)
    recording = recordings.get(str(item.get("recording_id")))
    if recording is None:
        raise DataError(
            f"{where}: {name}: there is no recording {shown(item.get('recording_id'))}; prepare the corpus "
            "again"
        )
    where = f"{where}: {name} cannot be used"
    with reading.guarded(
        where, "prepare the corpus again", what="it lacks a field, or holds something else in it"
    ):
        return _utterance(name, item, recording[1], where)


def _utterance(name: str, item: dict[str, Any], recording: dict[str, Any], where: str) -> Utterance:
    source, channels = _source(recording)
    rate, samples = recording["sampling_rate"], recording["num_samples"]
    if not (_is_count(rate) and rate <= MAX_RATE_HZ and _is_count(samples)):
        raise reading.BadFileError(f"its recording has {shown(samples)} samples at {shown(rate)} Hz")
    start_s, duration_s = _times(item, samples / rate)
    custom = item.get("custom") or {}
    attributes = {
        key: _plain(str(value), key) for key, value in custom.items() if isinstance(value, (str, int, float))
    }
    speaker = str(item.get("speaker") or "")
    if not speaker or "emotion" not in attributes:
        raise reading.BadFileError(f"it has no {'emotion' if speaker else 'speaker'}")
    attributes["speaker"] = check_key(speaker, f"{where}: its speaker")
    for key in ("gender", "language"):
        if item.get(key):
            attributes[key] = _plain(item[key], key)
    return Utterance(
        id=name,
        recording_id=check_key(recording["id"], f"{where}: its recording"),
        path=source,
        sampling_rate_hz=rate,
        num_channels=channels,
        recording_s=samples / rate,
        start_s=start_s,
        duration_s=duration_s,
        speaker=speaker,
        text=_plain(" ".join((item.get("text") or "").split()), "text"),
        attributes=attributes,
        alignment={
            check_key(kind, f"{where}: its alignment"): [_segment(row, kind, start_s) for row in rows]
            for kind, rows in (item.get("alignment") or {}).items()
        },
    )


def _times(item: dict[str, Any], recording_s: float) -> tuple[float, float]:
    """Start and duration of a supervision; one whose end is about that of its recording ends with it."""
    start_s, duration_s = item["start"], item["duration"]
    end_s = start_s + duration_s
    if not (start_s >= 0 and duration_s > 0 and start_s < recording_s and end_s <= recording_s + SAME_S):
        raise reading.BadFileError(
            f"it lasts from {start_s:g} to {end_s:g} s, its recording {recording_s:g} s"
        )
    return float(start_s), float(duration_s if end_s < recording_s - SAME_S else recording_s - start_s)


def _source(recording: dict[str, Any]) -> tuple[str, int]:
    """The audio file of a recording, and how many channels it has."""
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] != "file":
        raise reading.BadFileError("its recording is not one file")
    if recording.get("transforms"):
        raise reading.BadFileError(
            "its recording has transforms, which are not applied: write what they give to a file"
        )
    source, channels = sources[0]["source"], sources[0]["channels"]
    if not source or not isinstance(channels, list) or not channels:
        raise reading.BadFileError("its recording has no source, or no channels")
    return _plain(source, "the source of its recording"), len(channels)


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value < 1 << 40


def _plain(value: object, what: str) -> str:
    if not isinstance(value, str) or not reading.is_plain(value):
        raise reading.BadFileError(f"{short(what)} is not text of one line: {shown(value)}")
    return value


def _segment(row: Any, kind: str, utterance_start_s: float) -> Segment:
    """A row of an alignment: symbol, start in the recording and duration in seconds, and perhaps a score."""
    symbol, start, length = row[:3]
    good = isinstance(symbol, str) and symbol.split() == [symbol] and reading.is_plain(symbol)
    if not (good and 0 <= start < math.inf and 0 <= length < math.inf):
        raise reading.BadFileError(
            f"{kind}: {shown(row)} is no symbol with a start and a duration in seconds"
        )
    early_s = max(0.0, utterance_start_s - start)
    if early_s > SAME_S:
        raise reading.BadFileError(
            f"{kind}: {shown(row)} begins before its utterance, which does at {utterance_start_s:g} s"
        )
    return symbol, max(0.0, start - utterance_start_s), max(0.0, float(length) - early_s)


def check_line(name: str, got: str, expected: str) -> tuple[bool, str]:
    """Whether a number of a corpus is as expected, and the line for the user, of one layout for all.

    >>> check_line("emotion ang", "127", "127")[1], check_line("emotion ang", "126", "127")[1]
    ('ok: emotion ang: 127', 'differs: emotion ang: 126, expected 127')
    """
    agrees = got == expected
    return (
        agrees,
        f"{'ok' if agrees else 'differs'}: {name}: {got}{'' if agrees else f', expected {expected}'}",
    )


def count_checks(utterances: Sequence[Utterance], config: CorpusConfig) -> list[tuple[bool, str]]:
    """Compare the corpus with the numbers that ``checks`` of ``conf/corpus.yaml`` expects.

    ``checks`` maps an attribute (``emotion`` is the release's label, ``class`` what it maps to, ``total``
    has ``utterances`` and ``speakers``) to its values and how many utterances should have each.

    Returns:
        One (agrees, line for the user) per number, in the order of the settings.
    """
    lines: list[tuple[bool, str]] = []
    for attribute, expected in (config.checks or {}).items():
        if attribute == "class":
            counts = Counter(config.labels.get(item.attributes["emotion"], "") for item in utterances)
        elif attribute == "total":
            counts = Counter(
                {"utterances": len(utterances), "speakers": len({item.speaker for item in utterances})}
            )
        else:
            counts = Counter(item.attributes.get(attribute, "") for item in utterances)
        for value, number in expected.items():
            lines.append(check_line(f"{attribute} {value}", str(counts[value]), str(number)))
    return lines
