"""Checks of folds before they are written: classes, copies of recordings, sessions; and what they warn of."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from ser import reading
from ser.data import tables
from ser.data.corpus import Protocol
from ser.data.division import Fold, tested
from ser.data.files import whole_file
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo
from ser.data.segments import SEGMENTS, Overlap, describe, overlaps, read_recordings
from ser.errors import all_of, examples

log = logging.getLogger("ser")

CHECKS, WARNINGS = "checks.tsv", "warnings.txt"
_CHECKS_HEAD = "fold subset utterances speakers recordings shared_speakers shared_recordings".split()
_OVERLAPPING = "overlapping_utterances"  # a further column of a corpus that has segments
NOTES = "notes"  # table of a subset: what must be said with every number of it
SPEAKER_DEPENDENT = {"split": "speaker-dependent"}
SHARED_SESSIONS = {"sessions": "shared with training, by other speakers"}


def write_warnings(out: Path, warnings: Iterable[str]) -> None:
    """Write ``warnings.txt``, a line each."""
    with whole_file(out / WARNINGS) as stream:
        stream.writelines(f"{warning}\n" for warning in warnings)


def read_warnings(out: Path) -> list[str]:
    """Read ``warnings.txt`` of folds; those of an older version have none.

    Raises:
        DataError: it is damaged.
    """
    path = out / WARNINGS
    return reading.read_text(path, "run stage 2 again").splitlines() if path.exists() else []


def read_notes(subset: Path) -> dict[str, str]:
    """What must be said with every number of a subset; mostly nothing.

    Raises:
        DataError: the table is damaged.
    """
    path = subset / NOTES
    return tables.read_table(path, made_by="stage 2") if path.exists() else {}


def tell(warnings: Iterable[str]) -> None:
    """Log warnings."""
    for warning in warnings:
        log.warning("%s", warning)


def check_classes(folds: Sequence[Fold], data: Path, settings: str) -> list[str]:
    """Make sure that every fold has all classes to train on.

    Args:
        folds: those to look at.
        data: where the utterances are.
        settings: the corpus's settings file, for messages.

    Returns:
        A warning of other subsets without some class, if there are any.

    Raises:
        DataError: folds lack a class to train on; all of them.  An utterance has no label.
    """
    emotions = read_emotions(data / EMOTIONS)
    utt2emo = read_utt2emo(data / "utt2emo", emotions)
    utt2spk = tables.read_table(data / "utt2spk")
    tables.same_keys(utt2emo, data / "utt2emo", utt2spk, data / "utt2spk")
    problems: list[str] = []
    lacking: list[str] = []
    for fold in folds:
        for subset, names in fold.subsets.items():
            present = {utt2emo[name] for name in names}
            absent = [name for name in emotions if name not in present]
            if absent and subset == "train":
                problems.append(
                    f"{data / 'utt2emo'}: fold {fold.name} has no {', '.join(absent)} to train on; "
                    f"leave the class out of {settings}, or choose another protocol"
                )
            elif absent:
                lacking.append(f"{fold.name} {subset} has no {' '.join(absent)}")
    if problems:
        raise all_of(problems)
    if not lacking:
        return []
    number = "1 subset lacks" if len(lacking) == 1 else f"{len(lacking)} subsets lack"
    return [f"{number} a class ({examples(lacking)}): its mean recall is over the classes that it has"]


def check_copies(folds: Sequence[Fold], digests: Mapping[str, str], data: Path) -> list[str]:
    """Make sure that no recording is in two subsets of a fold.

    Args:
        folds: those to look at.
        digests: utterance -> digest of its audio.
        data: where the utterances are, for messages.

    Returns:
        A warning of recordings that are in a subset more than once, if there are any.

    Raises:
        DataError: recordings are in two subsets; each pair is named once.
    """
    same: dict[str, list[str]] = defaultdict(list)
    for utterance, digest in digests.items():
        same[digest].append(utterance)
    copies = [names for names in same.values() if len(names) > 1]
    if not copies:
        return []
    problems: dict[tuple[str, str], str] = {}
    for fold in folds:
        subsets = {name: subset for subset, names in fold.subsets.items() for name in names}
        for names in copies:
            for one, two in combinations([name for name in names if name in subsets], 2):
                if subsets[one] != subsets[two]:
                    text = f"are the same audio, and would be in {subsets[one]} and in {subsets[two]}"
                    problems.setdefault((one, two), f"{data}: {one} and {two} {text} of fold {fold.name}")
    if problems:
        raise all_of([f"{text}; remove one of them" for text in problems.values()])
    number = "1 recording counts" if len(copies) == 1 else f"{len(copies)} recordings count"
    pairs = examples([" = ".join(names) for names in copies])
    return [f"{number} more than once, in training or in scores ({pairs})"]


def find_overlaps(folds: Sequence[Fold], data: Path) -> tuple[dict[str, set[str]] | None, list[str]]:
    """Find utterances that share part of a recording with one of another subset.

    People who talk to each other do so at once here and there, so this is told, not refused.

    Args:
        folds: those to look at.
        data: the data folder.

    Returns:
        fold -> its utterances that do; None if the folder has no ``segments``.  And a warning of them, if
        there are any.

    Raises:
        DataError: the segments cannot be read.
    """
    if not (data / SEGMENTS).exists():
        return None, []
    pairs = list(overlaps(read_recordings(data)))
    shared: dict[str, set[str]] = {}
    parted: set[Overlap] = set()
    for fold in folds:
        subsets = {name: subset for subset, names in fold.subsets.items() for name in names}
        across = [
            pair
            for pair in pairs
            if {pair.first, pair.second} <= subsets.keys() and subsets[pair.first] != subsets[pair.second]
        ]
        shared[fold.name] = {name for pair in across for name in pair[:2]}
        parted.update(across)
    if not parted:
        return shared, []
    named = examples([fold for fold, utterances in shared.items() if utterances])
    return shared, [
        f"{describe(list(parted))} and are in two subsets of a fold ({named}), which so tests on what it "
        "hears in training; group by what keeps them together, or correct segments"
    ]


def shared_sessions(folds: Sequence[Fold], data: Path) -> dict[str, int]:
    """How much of a test subset is of sessions that are trained on too, with other speakers.

    Args:
        folds: those to look at; extra ones for tuning are left out.
        data: a data folder; it may have ``utt2session``.

    Returns:
        Fold -> utterances of its test subset, of the folds that have any.
    """
    path = data / "utt2session"
    if not path.exists():
        return {}
    sessions = tables.read_table(path)
    extra = {fold.tune_fold for fold in folds if fold.tune_fold != fold.name}
    numbers = {}
    for fold in folds:
        known = {
            sessions[name] for subset, names in fold.subsets.items() if subset != "test" for name in names
        }
        number = sum(sessions[name] in known for name in fold.subsets.get("test", ()))
        if number and fold.name not in extra:
            numbers[fold.name] = number
    return numbers


def session_warnings(folds: Sequence[Fold], shared: Mapping[str, int]) -> list[str]:
    """A warning of what :func:`shared_sessions` found, if it did."""
    if not shared:
        return []
    total = len(tested(folds))
    return [
        f"{sum(shared.values())} of {total} test utterances are of a session that other speakers are trained "
        f"on (folds {examples(list(shared))}): in the same room, on the same topic, at times at once; a "
        "protocol with group: session keeps sessions apart"
    ]


def write_checks(
    path: Path,
    folds: Sequence[Fold],
    utt2spk: Mapping[str, str],
    digests: Mapping[str, str],
    shared: Mapping[str, set[str]] | None,
) -> None:
    """Write ``checks.tsv``: what each subset holds, and how much of it other subsets of its fold hold too."""
    with whole_file(path) as stream:
        stream.write("\t".join([*_CHECKS_HEAD, *([] if shared is None else [_OVERLAPPING])]) + "\n")
        for fold in folds:
            speakers, recordings = (
                {subset: {table[name] for name in names} for subset, names in fold.subsets.items()}
                for table in (utt2spk, digests)
            )
            for subset, names in fold.subsets.items():
                counts = [len(names), len(speakers[subset]), len(recordings[subset])]
                for values in (speakers, recordings):
                    others = set().union(*(values[other] for other in values if other != subset))
                    counts.append(len(values[subset] & others))
                if shared is not None:
                    counts.append(len(shared[fold.name].intersection(names)))
                stream.write("\t".join([fold.name, subset, *map(str, counts)]) + "\n")


def write_notes(views: Iterable[Path], protocol: Protocol, shared: Collection[Path]) -> None:
    """Write ``notes`` of subsets of which something must be said; ``shared`` are of known sessions."""
    for view in views:
        notes = SPEAKER_DEPENDENT if protocol.group == "utterance" else {}
        notes = notes | (SHARED_SESSIONS if view in shared else {})
        if notes:
            tables.write_table(view / NOTES, notes)
