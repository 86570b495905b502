"""RAVDESS (Livingstone and Russo, PLoS ONE 2018): its spoken, audio-only part as lhotse manifests.

The name of a recording is its label: ``03-01-06-01-02-01-12.wav`` is audio only, speech, fearful, normal
intensity, the second statement, the first repetition, actor 12.  The release is distributed with a folder for
each actor (``Actor_12/``) and flat, all recordings in one folder; both are taken.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from lhotse import RecordingSet, SupervisionSegment, SupervisionSet

from ser.corpora.base import Corpus
from ser.corpora.recordings import by_name, make_recordings, wrong_folder
from ser.data.audio_meta import SUFFIXES
from ser.errors import DataError, all_of

log = logging.getLogger("ser")

AUDIO_ONLY, SPEECH = "03", "01"  # the modality and the vocal channel that are taken
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
ACTORS = {f"{number:02}": "m" if number % 2 else "f" for number in range(1, 25)}  # to their gender
_CODES: dict[str, Mapping[str, str]] = {
    "emotion": EMOTIONS,
    "intensity": INTENSITIES,
    "statement": STATEMENTS,
    "repetition": {"01": "first", "02": "second"},
    "actor": ACTORS,
}
_NAME = re.compile(
    r"(?P<modality>0[123])-(?P<channel>0[12])-(?P<emotion>\d\d)-(?P<intensity>\d\d)-(?P<statement>\d\d)"
    r"-(?P<repetition>\d\d)-(?P<actor>\d\d)"
)
_FOLDER = re.compile(r"Actor_(?P<actor>\d\d)")


def prepare_ravdess(corpus_dir: Path, *, num_jobs: int = 1) -> dict[str, RecordingSet | SupervisionSet]:
    """Turn a copy of RAVDESS into lhotse manifests.

    Args:
        corpus_dir: the folder that holds ``Actor_01`` and so on, or the recordings themselves; a copy with
            only some of the recordings will do.
        num_jobs: headers read at a time.

    Returns:
        ``"recordings"`` and ``"supervisions"``, one of each per utterance, sorted by id, which is the actor,
        ``_``, and the file's name, so that Kaldi's order of utterances is that of speakers.  ``custom`` of a
        supervision has ``emotion`` (its name, see :data:`EMOTIONS`), ``intensity``, ``statement`` and
        ``repetition``.  Songs and sound tracks of videos are left out.

    Raises:
        DataError: the folder is no copy of RAVDESS, or recordings have odd names, are missing, damaged or no
            audio; all of them at once.
    """
    named, problems = _find_recordings(corpus_dir)
    recordings, damaged = make_recordings(
        {f"{name[-2:]}_{name}": path for name, path in named.items()}, num_jobs
    )
    problems += damaged.values()
    if problems:
        raise all_of(sorted(problems), shown=len(problems))
    supervisions = [_supervision(recording.id, recording.duration) for recording in recordings]
    return {"recordings": recordings, "supervisions": SupervisionSet.from_segments(supervisions)}


def _supervision(key: str, duration: float) -> SupervisionSegment:
    match = _NAME.fullmatch(key.partition("_")[2])
    assert match is not None
    return SupervisionSegment(
        id=key,
        recording_id=key,
        start=0.0,
        duration=duration,
        channel=0,
        text=STATEMENTS[match["statement"]],
        language="English",
        speaker=match["actor"],
        gender=ACTORS[match["actor"]],
        custom={
            "emotion": EMOTIONS[match["emotion"]],
            "intensity": INTENSITIES[match["intensity"]],
            "statement": match["statement"],
            "repetition": match["repetition"],
        },
    )


def _find_recordings(corpus_dir: Path) -> tuple[dict[str, Path], list[str]]:
    """The recordings of speech by file name, and what is wrong with the names of others."""
    if not _is_release(corpus_dir):
        raise DataError(wrong_folder(corpus_dir, "RAVDESS", "Actor_01 or 03-01-01-*.wav", _is_release))
    folders = [path for path in corpus_dir.iterdir() if path.is_dir() and _FOLDER.fullmatch(path.name)]
    audio = [path for folder in (corpus_dir, *sorted(folders)) for path in _audio(folder)]
    other = [path for path in audio if (match := _NAME.fullmatch(path.stem)) and not _is_wanted(match)]
    if other:
        log.info("%s: %d songs and sound tracks of videos are left out", corpus_dir, len(other))
    return by_name((path for path in audio if path not in set(other)), _name_fault)


def _is_release(folder: Path) -> bool:
    if not folder.is_dir() or _FOLDER.fullmatch(folder.absolute().name):
        return False
    return any(_FOLDER.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()) or any(
        _NAME.fullmatch(path.stem) for path in _audio(folder)
    )


def _is_wanted(match: re.Match[str]) -> bool:
    return match["modality"] == AUDIO_ONLY and match["channel"] == SPEECH


def _audio(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )


def _name_fault(path: Path) -> str:
    """What is wrong with the name of a recording, or with where it lies; or nothing."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return "is not named as RAVDESS's recordings are (03-01-06-01-02-01-12.wav); rename or remove it"
    for part, known in _CODES.items():
        if match[part] not in known:
            first, *_, last = known
            return f"{match[part]} is no {part} of RAVDESS ({first} to {last}); rename or remove it"
    if EMOTIONS[match["emotion"]] == "neutral" and INTENSITIES[match["intensity"]] == "strong":
        return (
            "says neutral (01) with strong intensity (02), which RAVDESS does not have; rename or remove it"
        )
    folder = _FOLDER.fullmatch(path.parent.name)
    if folder is not None and folder["actor"] != match["actor"]:
        return f"is named as actor {match['actor']}'s, but lies in {path.parent.name}; move or rename it"
    return ""


CORPUS = Corpus(prepare_ravdess, release="folder of RAVDESS")
