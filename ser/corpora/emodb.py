"""EMO-DB, the Berlin Database of Emotional Speech (Burkhardt et al., Interspeech 2005), as lhotse manifests.

The release's layout: ``wav/03a01Fa.wav`` is speaker 03, sentence a01, emotion F, version a; ``lablaut/``
has the phones labelled by hand, ``erkennung.txt`` how listeners judged each recording.  The last two may be
missing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from lhotse import RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.supervision import AlignmentItem

from ser import reading
from ser.corpora.base import Corpus
from ser.corpora.emodb_download import download_emodb
from ser.corpora.recordings import by_name, make_recordings
from ser.data.audio_meta import SUFFIXES
from ser.errors import DataError, all_of, shown
from ser.reading import not_a_folder

log = logging.getLogger("ser")

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
GENDERS = {
    "03": "m",
    "08": "f",
    "09": "f",
    "10": "m",
    "11": "m",
    "12": "m",
    "13": "f",
    "14": "f",
    "15": "m",
    "16": "f",
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_NAME = re.compile(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])(?P<version>[a-z])")
_PHONE_ROW = re.compile(r"\s*(?P<onset>\d+(?:\.\d+)?)\s+-?\d+(?:\s(?P<rest>.*))?")
_END = "."
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


class Judgement(NamedTuple):
    """What listeners said about a recording, in percent."""

    recognition: float  # share who named the emotion that was acted
    naturalness: float  # share who found it natural


def prepare_emodb(corpus_dir: Path, *, num_jobs: int = 1) -> dict[str, RecordingSet | SupervisionSet]:
    """Turn a copy of EMO-DB into lhotse manifests.

    Args:
        corpus_dir: the folder that holds ``wav/``; a copy with only some of the recordings will do.
        num_jobs: headers read at a time.

    Returns:
        ``"recordings"`` and ``"supervisions"``, one of each per utterance, sorted by id.  ``custom`` of a
        supervision has ``emotion`` (the letter in the file name), ``sentence``, ``version`` and, where
        known, ``recognition`` and ``naturalness`` (percent); ``alignment["phone"]`` the labelled phones.

    Raises:
        DataError: the folder is no copy of EMO-DB, or recordings have odd names, are missing, damaged or no
            audio; all of them at once.
    """
    paths, problems = _find_recordings(corpus_dir)
    recordings, damaged = make_recordings(paths, num_jobs)
    problems += damaged.values()
    if problems:
        raise all_of(sorted(problems), shown=len(problems))
    labels = _find_labels(corpus_dir, paths)
    judgements = _read_judgements(corpus_dir / "erkennung.txt")
    supervisions = []
    for recording in recordings:
        judgement = judgements.get(recording.id)
        phones = _phones(labels.get(recording.id), recording.duration)
        supervisions.append(_supervision(recording.id, recording.duration, phones, judgement))
    unlabelled = sum(1 for item in supervisions if not item.alignment)
    if unlabelled:
        log.info("%s: %d of %d utterances have no phone labels", corpus_dir, unlabelled, len(supervisions))
    return {"recordings": recordings, "supervisions": SupervisionSet.from_segments(supervisions)}


def _supervision(
    name: str, duration: float, phones: list[AlignmentItem], judgement: Judgement | None
) -> SupervisionSegment:
    match = _NAME.fullmatch(name)
    assert match is not None
    custom: dict[str, str | float] = {key: match[key] for key in ("emotion", "sentence", "version")}
    if judgement is not None:
        custom.update(judgement._asdict())
    return SupervisionSegment(
        id=name,
        recording_id=name,
        start=0.0,
        duration=duration,
        channel=0,
        text=SENTENCES[match["sentence"]],
        language="German",
        speaker=match["speaker"],
        gender=GENDERS[match["speaker"]],
        custom=custom,
        alignment={"phone": phones} if phones else None,
    )


# ------------------------------------------------------------------------------------------------ the folder


def _find_recordings(corpus_dir: Path) -> tuple[dict[str, Path], list[str]]:
    """The recordings by utterance id, and what is wrong with the names of others."""
    wav = corpus_dir / "wav"
    if not wav.is_dir():
        raise DataError(_not_emodb(corpus_dir))
    files = sorted(path for path in wav.iterdir() if not path.name.startswith("."))
    audio = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not any(_NAME.fullmatch(path.stem) for path in audio):
        what = f"holds {len(audio)} audio files, none" if audio else "holds no audio file"
        raise DataError(
            f"{wav}: {what} named as EMO-DB's are (03a01Fa.wav); name the folder of EMO-DB's release"
        )
    if len(audio) < len(files):
        log.info("%s: %d files that are no audio are left alone", wav, len(files) - len(audio))
    return by_name(audio, lambda path: _name_fault(path.stem))


def _name_fault(name: str) -> str:
    """What is wrong with a recording's name, or nothing."""
    match = _NAME.fullmatch(name)
    if match is None:
        return "is not named as EMO-DB's recordings are (03a01Fa.wav); rename or remove it"
    for part, known in (("speaker", GENDERS), ("sentence", SENTENCES), ("emotion", EMOTIONS)):
        if match[part] not in known:
            return f"{match[part]} is no {part} of EMO-DB ({' '.join(known)}); rename or remove it"
    return ""


def _not_emodb(corpus_dir: Path) -> str:
    """Why a folder without ``wav`` is not taken, with the folder that was probably meant."""
    if not corpus_dir.is_dir():
        what = not_a_folder(corpus_dir)
        return f"{corpus_dir}: {what}; give the folder of EMO-DB's release, the one that holds wav"
    inside = sorted(corpus_dir.iterdir())
    if not inside:
        return f"{corpus_dir}: is empty; give the folder of EMO-DB's release, the one that holds wav"
    for path in inside:
        if (path / "wav").is_dir() and any(_NAME.fullmatch(item.stem) for item in (path / "wav").iterdir()):
            return f"{corpus_dir}: is one folder too high; give {path}"
    if any(_NAME.fullmatch(path.stem) and path.suffix.lower() in SUFFIXES for path in inside):
        if corpus_dir.absolute().name == "wav":
            return f"{corpus_dir}: is one folder too low; give {corpus_dir.absolute().parent}"
        return f"{corpus_dir}: holds recordings, but no folder wav; move them into one, or give the release"
    names = ", ".join(path.name for path in inside[:5])
    return f"{corpus_dir}: is no copy of EMO-DB, it has no folder wav (it has {names}); give the release"


# --------------------------------------------------------------------------------------------------- labels


def _find_labels(corpus_dir: Path, utterances: Mapping[str, Path]) -> dict[str, Path]:
    """The file with the phones of each utterance (``lablaut/03a01Faxx.lablaut``), where there is one."""
    folder = corpus_dir / "lablaut"
    if not folder.is_dir():
        log.info("%s: not there, so the manifests have no phone alignment", folder)
        return {}
    files = {
        path.name[:7]: path for path in sorted(folder.glob("*.lablaut")) if not path.name.startswith(".")
    }
    return {name: files[name] for name in utterances if name in files}


def _phones(path: Path | None, duration: float) -> list[AlignmentItem]:
    """The phones of one utterance; none, and a warning, if the file cannot be used."""
    if path is None:
        return []
    try:
        return read_phones(path, duration)
    except DataError as error:
        log.warning("%s; the utterance gets no phone alignment", error)
        return []


def read_phones(path: Path, duration: float) -> list[AlignmentItem]:
    """Read a ``.lablaut`` file: rows ``<onset s> -1 <phone>``, each lasting until the next one begins.

    A row without a phone (it has only a modifier, such as ``+hoe``) goes on with the phone before it; the row
    ``.`` ends the last phone.

    Args:
        path: the file, in ISO 8859-1.
        duration: of the recording, in seconds.

    Returns:
        Phones in time order; none if the file has no rows.

    Raises:
        DataError: no ``#`` line, a row of another form, times that fall or lie behind the recording, no end.
    """
    lines = reading.read_bytes(path, "make it readable").decode("latin-1").splitlines()
    if "#" not in lines:
        raise DataError(f"{path}: has no line '#' before its labels; copy it again from the release")
    first = lines.index("#") + 1
    starts: list[tuple[str, float]] = []  # of the phones, and of "." behind the last
    last = 0.0
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            continue
        match = _PHONE_ROW.fullmatch(line)
        if match is None or (starts and starts[-1][0] == _END):
            raise DataError(
                f"{path}:{number}: expected '<seconds> -1 <phone>', got {shown(line)}; correct the row"
            )
        onset, symbol = float(match["onset"]), _symbol(match["rest"] or "")
        if not last <= onset <= duration:
            raise DataError(
                f"{path}:{number}: {onset} s comes before {last} s or behind the recording's end "
                f"({duration:.3f} s); correct the row"
            )
        last = onset
        if symbol:
            starts.append((symbol, onset))
    if starts and starts[-1][0] != _END:
        raise DataError(f"{path}: has no row '.' at the end, it may be cut short; copy it again")
    return [
        AlignmentItem(symbol, start, round(end - start, 6))
        for (symbol, start), (_, end) in pairwise(starts)
        if end > start
    ]


def _symbol(rest: str) -> str:
    """The phone of a row, without modifiers and stress.

    >>> _symbol("E6 +asp 2"), _symbol("I+nas"), _symbol(" +hoe")
    ('E6', 'I', '')
    """
    return re.split(r"[\s+-]", rest, maxsplit=1)[0]


def _read_judgements(path: Path) -> dict[str, Judgement]:
    """Read ``erkennung.txt``: number, file, recognition and naturalness in percent; padded with blanks."""
    if not path.is_file():
        log.info("%s: not there, so the manifests have no listeners' judgements", path)
        return {}
    judgements: dict[str, Judgement] = {}
    content = reading.read_bytes(path, "copy it again from the release").decode("latin-1")
    for number, line in enumerate(content.splitlines()[1:], 2):
        fields = [field.strip("\xa0 ") for field in line.split("\t")]
        if len(fields) < 4 or not (_NUMBER.fullmatch(fields[2]) and _NUMBER.fullmatch(fields[3])):
            if line.strip():
                log.warning(
                    "%s:%d: expected a file and two percentages, got %r; left out", path, number, line
                )
            continue
        rates = [float(field.replace(",", ".")) for field in fields[2:4]]
        judgements[Path(fields[1]).stem] = Judgement(*rates)
    return judgements


CORPUS = Corpus(prepare_emodb, release="folder of EMO-DB", download=download_emodb)
