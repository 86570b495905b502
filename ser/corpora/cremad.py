"""CREMA-D (Cao et al., IEEE Transactions on Affective Computing 2014) as lhotse manifests.

The release's layout: ``AudioWAV/1001_DFA_ANG_XX.wav`` is actor 1001, sentence DFA, emotion ANG, level
unspecified; ``VideoDemographics.csv`` has the actors' sex, and may be missing.  The emotion is the one that
was acted, not the one that raters perceived.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from lhotse import RecordingSet, SupervisionSegment, SupervisionSet

from ser import reading
from ser.corpora.base import Corpus
from ser.corpora.recordings import by_name, make_recordings, wrong_folder
from ser.data.audio_meta import SUFFIXES
from ser.errors import DataError, all_of, shown

log = logging.getLogger("ser")

AUDIO, DEMOGRAPHICS = "AudioWAV", "VideoDemographics.csv"
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_NAME = re.compile(r"(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>[A-Z]{1,2})")
_ACTORS = range(1001, 1092)
_ODD_LEVEL = {"1040_ITH_SAD_X": "XX"}  # the release names this one file so


def prepare_cremad(corpus_dir: Path, *, num_jobs: int = 1) -> dict[str, RecordingSet | SupervisionSet]:
    """Turn a copy of CREMA-D into lhotse manifests.

    Args:
        corpus_dir: the folder that holds ``AudioWAV/``; a copy with only some of the recordings will do.
        num_jobs: headers read at a time.

    Returns:
        ``"recordings"`` and ``"supervisions"``, one of each per utterance, sorted by id.  ``custom`` of a
        supervision has ``emotion`` (the three letters in the file name), ``sentence`` and ``level`` (low,
        medium, high or unspecified).  ``gender`` is known if ``VideoDemographics.csv`` is there.

    Raises:
        DataError: the folder is no copy of CREMA-D, recordings have odd names, are missing, damaged or no
            audio, or the demographics cannot be used; all of them at once.
    """
    if not _is_release(corpus_dir):
        holds = f"{AUDIO}/1001_DFA_ANG_XX.wav and others"
        raise DataError(wrong_folder(corpus_dir, "CREMA-D", holds, _is_release))
    paths, problems = by_name(_audio(corpus_dir), _name_fault)
    recordings, damaged = make_recordings(paths, num_jobs)
    problems += damaged.values()
    genders, faults = _read_genders(corpus_dir / DEMOGRAPHICS, {name[:4] for name in paths})
    if problems or faults:
        raise all_of([*sorted(problems), *faults], shown=len(problems) + len(faults))
    supervisions = [_supervision(item.id, item.duration, genders) for item in recordings]
    return {"recordings": recordings, "supervisions": SupervisionSet.from_segments(supervisions)}


def _supervision(name: str, duration: float, genders: Mapping[str, str]) -> SupervisionSegment:
    match = _NAME.fullmatch(name)
    assert match is not None
    return SupervisionSegment(
        id=name,
        recording_id=name,
        start=0.0,
        duration=duration,
        channel=0,
        text=SENTENCES[match["sentence"]],
        language="English",
        speaker=match["actor"],
        gender=genders.get(match["actor"]),
        custom={
            "emotion": match["emotion"],
            "sentence": match["sentence"],
            "level": LEVELS[_ODD_LEVEL.get(name, match["level"])],
        },
    )


def _is_release(folder: Path) -> bool:
    return (folder / AUDIO).is_dir() and any(_NAME.fullmatch(path.stem) for path in _audio(folder))


def _audio(corpus_dir: Path) -> list[Path]:
    return sorted(
        path
        for path in (corpus_dir / AUDIO).iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _name_fault(path: Path) -> str:
    """What is wrong with a recording's name, or nothing."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return "is not named as CREMA-D's recordings are (1001_DFA_ANG_XX.wav); rename or remove it"
    if int(match["actor"]) not in _ACTORS:
        return f"{match['actor']} is no actor of CREMA-D (1001 to 1091); rename or remove it"
    for part, known in (("sentence", SENTENCES), ("emotion", EMOTIONS)):
        if match[part] not in known:
            return f"{match[part]} is no {part} of CREMA-D ({' '.join(known)}); rename or remove it"
    if _ODD_LEVEL.get(path.stem, match["level"]) not in LEVELS:
        return f"{match['level']} is no level of CREMA-D ({' '.join(LEVELS)}); rename or remove it"
    return ""


def _read_genders(path: Path, actors: set[str]) -> tuple[dict[str, str], list[str]]:
    """The gender (``f`` or ``m``) of each actor, and what is wrong with the table of them."""
    if not path.is_file():
        log.info("%s: not there, so the actors' genders are not known", path)
        return {}, []
    copy = "copy it again from the release"
    genders: dict[str, str] = {}
    text = reading.read_text(path, copy, encoding="utf-8-sig")
    with reading.guarded(path, copy):
        rows = csv.DictReader(text.splitlines())
        missing = [name for name in ("ActorID", "Sex") if name not in (rows.fieldnames or [])]
        if missing:
            return {}, [f"{path}:1: has no column {', '.join(missing)}; {copy}"]
        problems: list[str] = []
        for row in rows:
            gender = {"Male": "m", "Female": "f"}.get(row["Sex"] or "")
            if gender is None:
                problems.append(
                    f"{path}:{rows.line_num}: Sex is Male or Female, not {shown(row['Sex'])}; {copy}"
                )
            else:
                genders[row["ActorID"]] = gender
    absent = sorted(actors - genders.keys())
    if absent and not problems:
        named = ", ".join(absent[:3]) + (", ..." if absent[3:] else "")
        problems.append(f"{path}: has no line for actor {named}; {copy}")
    return genders, problems


CORPUS = Corpus(prepare_cremad, release="folder of CREMA-D")
