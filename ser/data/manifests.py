"""Manifests of a prepared corpus: lhotse's files, read as plain JSON, since lhotse itself is slow to load."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.data.corpus import CorpusConfig
from ser.data.tables import check_key
from ser.errors import DataError, all_of

RECORDINGS, SUPERVISIONS = "recordings.jsonl.gz", "supervisions.jsonl.gz"
Segment = tuple[str, float, float]  # symbol, start and duration in seconds
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
            an id cannot be a key; a supervision is not all of its recording; all problems at once.
    """
    recordings = {item["id"]: (where, item) for where, item in read_items(folder / RECORDINGS)}
    utterances: dict[str, Utterance] = {}
    problems: list[str] = []
    for where, item in read_items(folder / SUPERVISIONS):
        try:
            utterance = _join(item, recordings, where)
            if utterance.id in utterances:
                raise DataError(f"{where}: {utterance.id} appears twice; keep one of them")
        except DataError as error:
            problems.append(str(error))
            continue
        utterances[utterance.id] = utterance
    if not problems:
        problems = [
            f"{where}: {name} has no supervision in {folder / SUPERVISIONS}; prepare the corpus again"
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
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                item = json.loads(line)
                if not isinstance(item, dict) or not isinstance(item.get("id"), str):
                    raise ValueError("no id")
                yield f"{path}:{number}", item
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run stage 0") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cut short or not gzip ({error}); run stage 0 again") from error
    except ValueError as error:
        raise DataError(f"{path}:{number}: no manifest entry ({error}); run stage 0 again") from error
    if not number:
        raise DataError(f"{path}: is empty; run stage 0 again")


def _join(item: dict[str, Any], recordings: dict[str, Any], where: str) -> Utterance:
    """The utterance of one supervision and its recording."""
    name = check_key(item["id"], where)
    recording = recordings.get(name)
    if item.get("recording_id") != name or recording is None:
        raise DataError(
            f"{where}: {name} has no recording of its own; cut the corpus into one file per utterance"
        )
    try:
        return _utterance(name, item, recording[1])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{where}: {name} cannot be used: {error}; prepare the corpus again") from error


def _utterance(name: str, item: dict[str, Any], recording: dict[str, Any]) -> Utterance:
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] != "file":
        raise ValueError("its recording is not one file")
    duration = recording["num_samples"] / recording["sampling_rate"]
    if item["start"] != 0 or abs(item["duration"] - duration) > _SAME_S:
        raise ValueError("it is not all of its recording")
    speaker = item.get("speaker")
    custom = item.get("custom") or {}
    if not speaker or "emotion" not in custom:
        raise ValueError(f"it has no {'emotion' if speaker else 'speaker'}")
    attributes = {key: str(value) for key, value in custom.items() if isinstance(value, (str, int, float))}
    attributes["speaker"] = check_key(str(speaker), "its speaker")
    for key in ("gender", "language"):
        if item.get(key):
            attributes[key] = str(item[key])
    return Utterance(
        id=name,
        path=sources[0]["source"],
        sampling_rate_hz=int(recording["sampling_rate"]),
        num_channels=len(sources[0]["channels"]),
        duration_s=duration,
        speaker=str(speaker),
        text=" ".join((item.get("text") or "").split()),
        attributes=attributes,
        alignment={
            kind: [(str(row[0]), float(row[1]), float(row[2])) for row in rows]
            for kind, rows in (item.get("alignment") or {}).items()
        },
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
            agrees = counts[value] == number
            expected_text = "" if agrees else f", expected {number}"
            verdict = "ok" if agrees else "differs"
            lines.append((agrees, f"{verdict}: {attribute} {value}: {counts[value]}{expected_text}"))
    return lines
