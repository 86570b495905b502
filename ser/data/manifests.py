"""Manifests of a prepared corpus: lhotse's files, read as plain JSON, since lhotse itself is slow to load."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser import reading
from ser.data.corpus import MAX_RATE_HZ, CorpusConfig
from ser.data.tables import check_key
from ser.errors import DataError, all_of, short, shown

RECORDINGS, SUPERVISIONS = "recordings.jsonl.gz", "supervisions.jsonl.gz"
Segment = tuple[str, float, float]  # symbol, start and duration in seconds
MAX_LINE, MAX_BYTES = 1 << 26, 1 << 33  # of an entry, and of a manifest, when unpacked
_MANY = 1000  # faults after which no more are looked for
_SAME_S = 0.01  # a supervision may end this much before or after its recording, in seconds


@dataclass(frozen=True)
class Utterance:
    """One recording with what is known about it."""

    id: str
    path: str  # of the audio file
    sampling_rate_hz: int
    num_channels: int
    duration_s: float
    speaker: str
    text: str  # "" if the corpus has none
    attributes: dict[
        str, str
    ]  # emotion (the release's label), speaker, gender, all of custom that is one value
    alignment: dict[str, list[Segment]]  # phone, word, ... -> segments in time order


def read_manifests(folder: Path) -> list[Utterance]:
    """Read ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``, one supervision to a recording.

    Args:
        folder: what ``ser.prepare`` made, or any two lhotse manifests of that form.

    Returns:
        The utterances, sorted by id.

    Raises:
        DataError: a manifest is missing, cut short or no manifest; the two are about different recordings;
            an id cannot be a key; a supervision is not all of its recording; all problems at once (of more
            than a thousand those).
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
        problems = [
            f"{where}: {short(name)} has no supervision in {folder / SUPERVISIONS}; prepare the corpus again"
            for name, (where, _) in recordings.items()
            if name not in utterances
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
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
            done += len(line)
            if len(line) == MAX_LINE or done > MAX_BYTES:
                raise reading.BadFileError("unpacks to more than a manifest may hold", number)
            where = f"{path}:{number}"
            with reading.guarded(where, remedy, what="no manifest entry"):
                item = json.loads(line.decode("utf-8"))
                if not isinstance(item, dict) or not isinstance(item.get("id"), str):
                    raise ValueError("no id")
            yield where, item
    if not done:
        raise DataError(f"{path}: is empty; {remedy}")


def _join(item: dict[str, Any], recordings: dict[str, Any], where: str) -> Utterance:
    """The utterance of one supervision and its recording."""
    name = check_key(item["id"], where)
    recording = recordings.get(name)
    if item.get("recording_id") != name or recording is None:
        raise DataError(
            f"{where}: {name} has no recording of its own; cut the corpus into one file per utterance"
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
    duration = samples / rate
    if item["start"] != 0 or not abs(item["duration"] - duration) <= _SAME_S:
        raise reading.BadFileError("it is not all of its recording")
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
        path=source,
        sampling_rate_hz=rate,
        num_channels=channels,
        duration_s=duration,
        speaker=speaker,
        text=_plain(" ".join((item.get("text") or "").split()), "text"),
        attributes=attributes,
        alignment={
            check_key(kind, f"{where}: its alignment"): [_segment(row, kind) for row in rows]
            for kind, rows in (item.get("alignment") or {}).items()
        },
    )


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


def _segment(row: Any, kind: str) -> Segment:
    """A row of an alignment: symbol, start and duration in seconds, and perhaps a score."""
    symbol, start, length = row[:3]
    good = isinstance(symbol, str) and symbol.split() == [symbol] and reading.is_plain(symbol)
    if not (good and 0 <= start < math.inf and 0 <= length < math.inf):
        raise reading.BadFileError(
            f"{kind}: {shown(row)} is no symbol with a start and a duration in seconds"
        )
    return symbol, float(start), float(length)


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
