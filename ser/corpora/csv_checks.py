"""What may be wrong with the rows of a table of recordings, and what is said of its columns."""

from __future__ import annotations

import difflib
import logging
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from ser.cli import progress
from ser.corpora.csv_reader import Row, Table
from ser.data.audio_meta import AudioMeta
from ser.data.corpus import CorpusConfig
from ser.data.files import file_digest
from ser.data.split import subset_named
from ser.data.tables import check_key
from ser.errors import DataError, Problem, examples, short

log = logging.getLogger("ser")

_GUESSES = 4  # labels for which the nearest known one is looked for: one more than are named
_SPELT = 10  # labels of another spelling that are named
_SAME_S = 0.01  # an utterance may end this much behind its recording, or begin so much before another ends
_CLAIM_S = 0.1  # a duration that the table says may differ by this much, or half a second if it is whole
_FEW = 3  # wrong labels that are told one by one; speakers of whom none is suspected to be invented


def table_problems(
    table: Table, rows: Sequence[Row], config: CorpusConfig, fold: str | None
) -> list[Problem]:
    """What is wrong with rows, as far as that can be told without their recordings.

    Args:
        table: their table.
        rows: in its order.
        config: the labels that they may use.
        fold: the column that stands for ``fold``, if any.
    """
    checks = (_label_faults(rows, config), _repeated(rows), _genders(rows), _folds(rows, fold))
    return [table.problem(row.number, text, kind) for row, text, kind in chain(*checks)]


def audio_problems(
    table: Table, rows: Sequence[Row], metas: Mapping[str, AudioMeta], damaged: Mapping[str, str]
) -> list[Problem]:
    """What is wrong with rows in view of their recordings.

    Args:
        table: their table.
        rows: in its order.
        metas: recording -> what it is.
        damaged: recording -> what is wrong with it.
    """
    problems = []
    for row in rows:
        if row.path in damaged:
            what = damaged[row.path].rpartition(";")[0]
            text = f"{what}; correct the path, or remove the line"
            problems.append(table.problem(row.number, text, what.removeprefix(row.path)))
        elif fault := _time_fault(row, metas[row.path].num_samples / metas[row.path].sampling_rate_hz):
            problems.append(table.problem(row.number, fault))
    sound = [row for row in rows if row.path in metas]
    return problems + [table.problem(row.number, text, kind) for row, text, kind in _contradictions(sound)]


Fault = tuple[Row, str, str]  # what is wrong with a row, and its kind ("": as the text says)


def _label_faults(rows: Sequence[Row], config: CorpusConfig) -> Iterator[Fault]:
    """The lines whose label has no class."""
    chosen = config.keep.get("emotion")
    wrong = [row for row in rows if row.emotion not in config.labels]
    wrong = [row for row in wrong if chosen is None or row.emotion in chosen]
    labels = list(dict.fromkeys(row.emotion for row in wrong))
    by_lower = {known.lower(): known for known in config.labels}
    spelt = {label: by_lower[label.lower()] for label in labels if label.lower() in by_lower}
    if spelt:
        instead = examples([f"{known} for {short(label)}" for label, known in spelt.items()], _SPELT)
        for row in (row for row in wrong if row.emotion in spelt):
            yield (
                row,
                f"emotion: write the labels as in {config.source}: {instead}; or map them there",
                "spelling",
            )
    others = [label for label in labels if label not in spelt]
    meant = {label: _nearest(label, config) for label in others[:_GUESSES]}
    remedy = "there, or name the labels to take with keep.emotion"
    named = [f"{short(label)} ({near}?)" if near else short(label) for label, near in meant.items()]
    lacking = (
        f"emotion: has {len(others)} values that labels in {config.source} lacks ({examples(named)}); map "
        f"them to classes {remedy}"
    )
    for row in (row for row in wrong if row.emotion not in spelt):
        label = row.emotion
        if len(others) > _FEW:
            yield row, lacking, "labels"
            continue
        hint = f"did you mean {meant[label]}?" if meant[label] else f"known are {', '.join(config.labels)}"
        what = f"emotion {short(label)} is none of labels in {config.source} ({hint})"
        yield row, f"{what}; map it to a class {remedy}", label


def _nearest(label: str, config: CorpusConfig) -> str:
    """The known label that may have been meant; "" for none."""
    near = difflib.get_close_matches(label.lower(), config.labels, n=1) if len(label) < 64 else []
    return near[0] if near else ""


def _repeated(rows: Sequence[Row]) -> Iterator[Fault]:
    """The lines that name what an earlier one names, or have its id."""
    places: dict[tuple[str, float, float], int] = {}
    ids: dict[str, int] = {}
    for row in rows:
        first = places.setdefault((row.path, row.start_s, row.end_s), row.number)
        other = ids.setdefault(row.id, row.number)
        if first != row.number:
            what, remedy = "part of a recording", ""
            if row.is_whole:
                what, remedy = "recording", ", or give start and end if they are parts of it"
            text = f"is the {what} of line {first} again; keep one of them, or correct the other{remedy}"
            yield row, text, "again"
        elif other != row.number:
            yield row, f"has the id {row.id} of line {other} again; rename one of the recordings", "id"


def _genders(rows: Sequence[Row]) -> Iterator[Fault]:
    """The lines that contradict an earlier one about a speaker."""
    genders: dict[str, Row] = {}
    for row in rows:
        other = genders.setdefault(row.speaker, row) if row.gender else row
        if other.gender != row.gender:
            what = f"speaker {row.speaker} is {row.gender} here, and {other.gender} in line {other.number}"
            yield row, f"{what}; correct one of them", f"gender of {row.speaker}"


def _folds(rows: Sequence[Row], fold: str | None) -> Iterator[Fault]:
    """The lines that lack a fold, or name one where others name a subset."""
    first = next((row for row in rows if row.fold), None)
    if fold is None or first is None:
        return
    subset = subset_named(first.fold)
    for row in rows:
        if not row.fold:
            yield row, f"has no {fold}, line {first.number} has one; give every line one", "no fold"
        elif (subset is None) != (subset_named(row.fold) is None):
            text = f"{fold} is {short(row.fold)} here, and {short(first.fold)} in line {first.number}"
            yield row, f"{text}; name all of them train, dev and test, or none", "mixed folds"
        elif subset is None:
            try:
                check_key(row.fold, fold)
            except DataError as error:
                yield row, str(error), ""


# --------------------------------------------------------------------------------------------------- audio


def _time_fault(row: Row, duration_s: float) -> str:
    """What is wrong with a row's times, given the duration of its recording; or nothing."""
    if row.claim_s is not None:
        near = 0.5 if row.claim_s == int(row.claim_s) else _CLAIM_S
        if abs(row.claim_s - duration_s) > near:
            return (
                f"duration is {row.claim_s:g} s, {row.path} has {duration_s:g} s; give the start too if it "
                "is a part, or correct it"
            )
    if row.is_whole or row.end_s <= duration_s + _SAME_S:
        return ""
    in_ms = row.end_s >= 100 and row.end_s / 1000 <= duration_s + _SAME_S
    remedy = "write seconds, not milliseconds" if in_ms else "correct the times"
    return f"ends at {row.end_s:g} s, {row.path} has {duration_s:g} s; {remedy}"


def _contradictions(rows: Sequence[Row]) -> Iterator[Fault]:
    """The lines that give the audio of an earlier one, or of a copy of it, another speaker or label."""
    by_audio: dict[str, list[Row]] = defaultdict(list)
    same = _copies({row.path for row in rows})
    for row in rows:
        by_audio[same.get(row.path, row.path)].append(row)
    for group in by_audio.values():
        if len(group) > 1:
            yield from _overlaps(sorted(group, key=lambda row: (row.start_s, row.number)))


def _copies(paths: set[str]) -> dict[str, str]:
    """Each recording that has the same bytes as another -> the first of those."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in sorted(paths):
        by_size[os.path.getsize(path)].append(path)
    alike = [group for group in by_size.values() if len(group) > 1]
    first: dict[str, str] = {}
    same: dict[str, str] = {}
    for path in progress(list(chain(*alike)), "looking for copies"):
        other = first.setdefault(file_digest(Path(path)), path)
        if other != path:
            same[path] = other
    return same


def _overlaps(rows: Sequence[Row]) -> Iterator[Fault]:
    """Contradictions among rows of one recording, which are sorted by start."""
    running: dict[tuple[str, str], Row] = {}  # speaker and label -> the row that ends last
    for row in rows:
        running = {key: other for key, other in running.items() if other.end_s > row.start_s + _SAME_S}
        for other in sorted(running.values(), key=lambda other: other.number):
            texts = list(_differences(*sorted((other, row), key=lambda each: each.number)))
            yield from texts
            if texts:
                break
        key = (row.speaker, row.emotion)
        if key not in running or running[key].end_s < row.end_s:
            running[key] = row


def _differences(first: Row, row: Row) -> Iterator[Fault]:
    """How two rows about the same audio contradict each other, said of the later one.

    Two speakers at once for less than half of the longer part are a dialogue, and no contradiction.
    """
    shared = min(first.end_s, row.end_s) - max(first.start_s, row.start_s)
    longer = max(first.end_s - first.start_s, row.end_s - row.start_s)
    if first.speaker != row.speaker and longer < math.inf and shared < longer / 2:
        return
    for what, its, own in (
        ("speaker", first.speaker, row.speaker),
        ("emotion", first.emotion, row.emotion),
    ):
        if its == own:
            continue
        if first.path != row.path:
            text = f"{row.path} is the same audio as line {first.number}, whose {what} is {its}, not {own}"
            yield row, f"{text}; correct one of them, or remove it", f"copy {what}"
        elif (first.start_s, first.end_s) != (row.start_s, row.end_s):  # else it is told as a repetition
            text = f"{_times(row)} overlaps line {first.number}, {_times(first)}"
            yield (
                row,
                f"{text}, whose {what} is {its}, not {own}; correct the times, or one of the two",
                f"overlap {what}",
            )


def _times(row: Row) -> str:
    return "all of the recording" if row.end_s == math.inf else f"{row.start_s:g} to {row.end_s:g} s"


# ------------------------------------------------------------------------------------------------- columns


def unused_columns(table: Table, config: CorpusConfig, fold: str | None) -> list[Problem]:
    """A line for each column that looks like a setting and is not used.

    Args:
        table: whose columns they are.
        config: its ``keep`` says which attributes are used.
        fold: the column that stands for ``fold``, if any.
    """
    lines = table.columns.unused({*config.keep, *([fold] if fold else [])})
    return [Problem(str(table.path), None, line, line) for line in lines]


def tell_columns(table: Table, rows: Sequence[Row], config: CorpusConfig, fold: str | None) -> None:
    """Say which columns are taken for what, and which look like a setting and are not used."""
    log.info("%s: %d lines; columns: %s", table.path, len(rows), table.columns.taken())
    for problem in unused_columns(table, config, fold):
        log.warning("%s", problem)
    by_fold = [name for name, protocol in config.protocols.items() if protocol.group == "fold"]
    if fold is not None and by_fold and config.protocol not in by_fold:
        kind = "a fixed split" if subset_named(rows[0].fold) else "folds"
        log.warning(
            "%s: the column %s holds %s, which the protocol %s does not use; --protocol %s does",
            table.path, fold, kind, config.protocol, by_fold[0],
        )  # fmt: skip
    speakers = {row.speaker for row in rows}
    if len(speakers) == len(rows) > _FEW:
        log.warning(
            "%s: %d speakers for %d lines; if it is not known who speaks, give every line the same speaker "
            "and take a protocol with group: utterance (of egs/csv: --protocol kfold_utterances)",
            table.path, len(speakers), len(rows),
        )  # fmt: skip
