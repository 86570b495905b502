"""About the IEMOCAP corpus.

12 hours of ten actors in 151 dialogs of two, improvised and scripted, in English: 10,039 turns with the label
of the majority of their raters (xxx: none) and mean ratings of valence, activation and dominance. Most
work takes ang, hap (with exc), neu and sad, 5,531 turns. C. Busso et al., "IEMOCAP: interactive emotional
dyadic motion capture database", Language Resources and Evaluation 42(4), 2008. It must be asked for:
https://sail.usc.edu/iemocap/. What is read of a copy:

    IEMOCAP_full_release/Session[1-5]/
        dialog/EmoEvaluation/<dialog>.txt       labels, times and ratings of a dialog's turns
        dialog/transcriptions/<dialog>.txt      words of a dialog's turns
        sentences/wav/<dialog>/<turn>.wav       16 kHz, one channel, 16 bit
        sentences/ForcedAlignment/<dialog>/<turn>.{phseg,wdseg,syseg}     frames of 10 ms, both ends inclusive

A dialog is named Ses05M_script01_1b: session, who wears the markers, what is played. A turn is named
<dialog>_F012: the last letter says who speaks.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import wave
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # lhotse is imported where it is needed, so that processes that only parse start fast
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.utils import Pathlike

__all__ = ["prepare_iemocap"]

SAMPLING_RATE = 16000
LABELS = ("neu", "hap", "exc", "ang", "sad", "fru", "sur", "fea", "dis", "oth", "xxx")
FOUR_CLASSES = {"ang": "ang", "hap": "hap", "exc": "hap", "neu": "neu", "sad": "sad"}
TIERS = {"phone": ".phseg", "word": ".wdseg", "syllable": ".syseg"}
COPY_AGAIN = "copy it from the release again"
DIALOG = re.compile(r"Ses0([1-5])[FM]_(?:impro\d\d|script\d\d_\d)[a-z]?", re.ASCII)

_TURN_LIKE = re.compile(r"Ses\d\d[FM]_\w+", re.ASCII)
_SUMMARY = re.compile(r"\[(\d+\.\d+) - (\d+\.\d+)\]\t([^\t]+)\t([^\t]*)\t\[([^\t]*)\]\s*", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_RATING = re.compile(r"([CA])-([A-Z]\d+):\s*(.*)", re.ASCII | re.DOTALL)
_ATTRIBUTE = re.compile(r"\b(val|act|dom)\s+(-?\d+(?:\.\d+)?)\s*;", re.ASCII)
_ATTRIBUTES = {"val": "valence", "act": "activation", "dom": "dominance"}
_SAID = re.compile(r"(Ses\w+) \[(\d+\.\d+)-(\d+\.\d+)\]:(.*)", re.ASCII)
_UNLABELLED = re.compile(r"Ses0[1-5][FM]_\w+_[FM](?=\d*X)[X\d]{2}\d\b.*", re.ASCII)
_TAG = re.compile(r"\[([^\[\]]*)\]")
_ROWS = {  # a phone may have its neighbours and its place behind it; a word may have the number of a variant
    "phone": re.compile(r"\s*(\d+)\s+(\d+)\s+(-?\d+)\s+(\S+)(?:(?:\s+\S+){3})?\s*", re.ASCII),
    "word": re.compile(r"\s*(\d+)\s+(\d+)\s+(-?\d+)\s+(\S+?)(?:\(\d+\))?\s*", re.ASCII),
    "syllable": re.compile(r"\s*(\d+)\s+(\d+)()\s+(\S+)\s*", re.ASCII),
}
_REST = re.compile(r"\s*|\s*SFrm\s.*|\s*Total score:.*", re.ASCII)

Rows = list[tuple[str, int, int, "float | None"]]  # symbol, first frame, last frame, score


def prepare_iemocap(
    corpus_dir: Pathlike, output_dir: Pathlike | None = None, frame_offset: int = 0
) -> dict[str, RecordingSet | SupervisionSet]:
    """Returns the manifests of all turns, one recording and one supervision each, in the order of their ids.

    A supervision spans its recording. Its speaker is Ses05_F: the session, and who speaks; its text has words
    only. Its alignment has the tiers phone, word and syllable as far as the release has them. ``custom`` has

    - ``emotion``: the release's label; ``four_class``: ang, hap (with exc), neu, sad, or None;
    - ``session`` ("1" to "5"), ``dialog``, ``style`` (improvised or scripted);
    - ``start_s``, ``end_s``: where the turn is in its dialog, in seconds;
    - ``valence``, ``activation``, ``dominance``: means over the raters, or None; they may leave 1 to 5;
    - ``raters``: every rating; ``raw_text``, ``tags``: the transcription as it is, and its tags (LAUGHTER).

    :param corpus_dir: Pathlike, the folder that holds Session1 to Session5.
    :param output_dir: Pathlike, the folder where to write the manifests.
    :param frame_offset: int, added to the frames of the alignments; most take them as they stand, some add 2.
    :return: a dict with the keys "recordings" and "supervisions".
    :raises ValueError: there is no release, or it has faults: all of them, a line each with its place.
    """
    corpus_dir = Path(corpus_dir).absolute()
    paths = sorted(corpus_dir.glob("Session[1-5]/dialog/EmoEvaluation/Ses*.txt"))
    if not paths:
        raise ValueError(f"{corpus_dir}: holds no Session1 to Session5; name the folder of IEMOCAP that does")
    dialogs = [Dialog(path.stem, path.parents[2]) for path in paths if DIALOG.fullmatch(path.stem)]
    results = [read_dialog(dialog, frame_offset) for dialog in dialogs]
    if faults := [str(fault) for result in results for fault in result.faults]:
        raise ValueError("\n".join(faults))
    return make_manifests((make_pair(turn) for result in results for turn in result.turns), output_dir)


def make_manifests(
    pairs: Iterable[tuple[Recording, SupervisionSegment]], output_dir: Pathlike | None = None
) -> dict[str, RecordingSet | SupervisionSet]:
    """The manifests of turns, sorted by id; written too if there is an output_dir."""
    from lhotse import RecordingSet, SupervisionSet, validate_recordings_and_supervisions

    pairs = sorted(pairs, key=lambda pair: pair[0].id)
    recordings = RecordingSet.from_recordings([recording for recording, _ in pairs])
    supervisions = SupervisionSet.from_segments([supervision for _, supervision in pairs])
    validate_recordings_and_supervisions(recordings, supervisions)
    if output_dir is not None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        recordings.to_file(Path(output_dir) / "iemocap_recordings_all.jsonl.gz")
        supervisions.to_file(Path(output_dir) / "iemocap_supervisions_all.jsonl.gz")
    return {"recordings": recordings, "supervisions": supervisions}


def make_pair(turn: dict[str, Any]) -> tuple[Recording, SupervisionSegment]:
    """The recording and the supervision of a turn."""
    from lhotse import Recording, SupervisionSegment
    from lhotse.audio import AudioSource
    from lhotse.supervision import AlignmentItem

    name, label, num_samples = turn["id"], turn["label"], turn["num_samples"]
    duration, source = num_samples / SAMPLING_RATE, AudioSource("file", [0], str(turn["wav"]))
    text, tags = split_tags(turn["raw"])
    alignment = {}
    for tier, items in turn["alignment"].items():
        alignment[tier] = [AlignmentItem(sys.intern(symbol), *rest) for symbol, *rest in items]
    speaker = f"{name[:5]}_{name[-4]}"  # not name[5], which says who wears the markers
    custom = {
        "emotion": label,
        "four_class": FOUR_CLASSES.get(label),
        "session": name[4],
        "dialog": name.rpartition("_")[0],
        "style": "improvised" if "_impro" in name else "scripted",
        **{key: turn[key] for key in ("start_s", "end_s", *_ATTRIBUTES.values(), "raters")},
        "raw_text": turn["raw"],
        "tags": list(tags),
    }
    about = {"text": text, "language": "English", "speaker": speaker, "gender": name[-4], "custom": custom}
    supervision = SupervisionSegment(name, name, 0.0, duration, **about, alignment=alignment or None)
    return Recording(name, [source], SAMPLING_RATE, num_samples, duration), supervision


@dataclass(frozen=True)
class Dialog:
    """One dialog, and where its files are."""

    name: str  # Ses05M_script01_1b
    folder: Path  # its Session folder

    evaluation = property(lambda self: self.folder / "dialog" / "EmoEvaluation" / f"{self.name}.txt")
    transcription = property(lambda self: self.folder / "dialog" / "transcriptions" / f"{self.name}.txt")
    wavs = property(lambda self: self.folder / "sentences" / "wav" / self.name)
    alignments = property(lambda self: self.folder / "sentences" / "ForcedAlignment" / self.name)


@dataclass
class DialogTurns:
    """What a dialog's files say of its turns, and what is wrong with them."""

    turns: list[dict[str, Any]] = field(default_factory=list)  # those that have all that they need
    faults: list[str | OSError] = field(default_factory=list)
    labels: dict[str, dict[str, Any]] | None = None  # of EmoEvaluation; None: it cannot be read
    words: dict[str, dict[str, Any]] | None = None  # of the transcription
    unusable: set[str] = field(default_factory=set)  # ids in lines of these that cannot be used
    unclear: list[str] = field(default_factory=list)  # "<file>:<line>" of ratings not understood
    passed_over: tuple[int, int] = (0, 0)  # transcription lines of no turn (_FXX0), and without id (M: Okay.)


def read_dialog(dialog: Dialog, frame_offset: int = 0) -> DialogTurns:
    """Joins the labels, words, recordings and alignments of a dialog by turn."""
    result = DialogTurns()
    _attempt(result.faults, read_evaluation, dialog, result)
    _attempt(result.faults, read_transcription, dialog, result)
    if result.labels is None or result.words is None:
        return result
    for name in sorted(result.labels.keys() - result.unusable):
        label, wav = result.labels[name], dialog.wavs / f"{name}.wav"
        where = f"{dialog.evaluation}:{label['line']}"
        if name not in result.words:
            result.faults.append(f"{where}: {name} has no words in {dialog.transcription}; {COPY_AGAIN}")
        elif not os.path.lexists(wav):
            result.faults.append(f"{where}: {name} has no recording, {wav} is missing; {COPY_AGAIN}")
        elif num_samples := _attempt(result.faults, count_samples, wav):
            turn = {**result.words[name], **label, "id": name, "wav": wav, "num_samples": num_samples}
            result.turns.append({**turn, "alignment": {}, "aligned": False})
    if dialog.alignments.exists():
        _align(result, dialog.alignments, frame_offset)
    return result


def _align(result: DialogTurns, folder: Path, frame_offset: int) -> None:
    there = set(_attempt(result.faults, os.listdir, folder) or ())
    for turn in result.turns:
        for tier in [tier for tier, suffix in TIERS.items() if turn["id"] + suffix in there]:
            turn["aligned"] = True
            path = folder / (turn["id"] + TIERS[tier])
            rows = _attempt(result.faults, read_rows, path, tier, result.faults) or []
            if items := to_seconds(rows, turn["num_samples"] / SAMPLING_RATE, frame_offset):
                turn["alignment"][tier] = items


def _attempt(faults: list[str | OSError], function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except OSError as error:
        faults.append(error)
    except ValueError as error:
        faults.append(str(error))
    return None


def turn_of(name: str, dialog: str) -> bool:
    """Whether a name is that of a turn of a dialog."""
    return re.fullmatch(rf"{dialog}_[FM]\d{{3}}", name, re.ASCII) is not None


def read_evaluation(dialog: Dialog, result: DialogTurns) -> None:
    r"""Reads turns, ``[6.29 - 8.23]\tSes01F_impro01_F000\tneu\t[2.50, 2.50, 2.50]``, and their ratings."""
    path, lines = dialog.evaluation, read_lines(dialog.evaluation)
    faults, end = result.faults, f"{path}:{len(lines)}"
    faults += [f"{end}: ends within the line, the file was cut short; {COPY_AGAIN}"] if lines[-1] else []
    labels: dict[str, dict[str, Any]] = {}
    raters: list[dict[str, Any]] | None = None  # of the turn above
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not line.strip() or line.startswith("%"):
            continue
        rating = parse_rating(line)
        if rating is None and (line.startswith("[") or _TURN_LIKE.search(line)):
            raters = []  # those of a turn that cannot be used go nowhere
            try:
                turn, label = _parse_summary(line, dialog.name)
            except ValueError as error:
                faults.append(f"{where}: {error}; {COPY_AGAIN}")
                result.unusable.update(_TURN_LIKE.findall(line))
                continue
            first = labels.setdefault(turn, {**label, "line": number, "raters": raters})["line"]
            if first != number:
                faults.append(f"{where}: {turn} stands here again, first in line {first}; keep one of them")
        elif raters is None:
            faults.append(f"{where}: expected a turn before {line!r}; {COPY_AGAIN}")
        else:
            raters.append(rating or {"raw": line})
            result.unclear += [] if rating else [where]
    for turn, label in labels.items():
        if not label["raters"]:
            what = f"{label['line']}: {turn} has no ratings, the file may be cut short"
            faults.append(f"{path}:{what}; {COPY_AGAIN}")
    if not labels and not result.unusable:
        raise ValueError(f"{path}: holds no turn; {COPY_AGAIN}")
    result.labels = labels


def _parse_summary(line: str, dialog: str) -> tuple[str, dict[str, Any]]:
    match = _SUMMARY.fullmatch(line)
    if match is None:
        form = "'[<start> - <end>]<TAB><turn><TAB><label><TAB>[<V>, <A>, <D>]'"
        raise ValueError(f"expected {form}, got {line!r}")
    start, end, turn, label, means = match.groups()
    if not turn_of(turn, dialog):
        raise ValueError(f"{turn!r} is no turn of {dialog}")
    if float(end) <= float(start):
        raise ValueError(f"the time range of {turn} runs backwards, {start} - {end}")
    if label not in LABELS:
        raise ValueError(f"the label {label!r} of {turn} is none of {' '.join(LABELS)}")
    values = [text.strip() for text in means.split(",")]
    if len(values) != 3 or not all(text == "" or _NUMBER.fullmatch(text) for text in values):
        raise ValueError(f"expected [<V>, <A>, <D>] of {turn}, got [{means}]")
    vad = zip(_ATTRIBUTES.values(), (float(text) if text else None for text in values), strict=True)
    return turn, {"label": label, "start_s": float(start), "end_s": float(end), **dict(vad)}


def parse_rating(line: str) -> dict[str, Any] | None:
    """Returns one rater's line, or None if it is none; ``rater`` is E1.. (evaluators), F1.. or M1..."""
    match = _RATING.fullmatch(line)
    if match is None:
        return None
    kind, rater, rest = match.groups()
    items, _, comment = rest.partition("\t")
    rating: dict[str, Any] = {"rater": rater, "raw": line}
    if kind == "C":
        rating["labels"] = [item.strip() for item in items.split(";") if item.strip()]
    else:
        values = {_ATTRIBUTES[name]: float(value) for name, value in _ATTRIBUTE.findall(items)}
        rating.update({name: values.get(name) for name in _ATTRIBUTES.values()})
    comment = comment.strip()
    rating["comment"] = comment[1:-1] if comment.startswith("(") and comment.endswith(")") else comment
    return rating


def read_transcription(dialog: Dialog, result: DialogTurns) -> None:
    """Reads a line for each turn: ``Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.``."""
    path = dialog.transcription
    words: dict[str, dict[str, Any]] = {}
    unlabelled = without_id = 0
    for number, line in enumerate(read_lines(path), 1):
        if _UNLABELLED.fullmatch(line):
            unlabelled += 1
        elif line.startswith("Ses"):
            turn, match = re.split(r"[\s\[:]", line, maxsplit=1)[0], _SAID.fullmatch(line)
            if match is None:
                fault = f"expected '<turn> [<start>-<end>]: <text>', got {line!r}; {COPY_AGAIN}"
            elif not turn_of(turn, dialog.name):
                fault = f"{turn!r} is no turn of {dialog.name}; {COPY_AGAIN}"
            elif float(match[3]) <= float(match[2]):
                fault = f"the time range of {turn} runs backwards, {match[2]}-{match[3]}; {COPY_AGAIN}"
            elif turn in words:
                fault = f"{turn} stands here again, first in line {words[turn]['line']}; keep one of them"
            else:
                said = {"line": number, "start_s": float(match[2]), "end_s": float(match[3])}
                words[turn] = {**said, "raw": match[4].removeprefix(" ")}
                continue
            result.faults.append(f"{path}:{number}: {fault}")
            result.unusable.add(turn)
        elif line.strip():
            without_id += 1
    result.words, result.passed_over = words, (unlabelled, without_id)


def split_tags(raw: str) -> tuple[str, tuple[str, ...]]:
    """Words and tags of a transcription, apart: "Well, okay." and LAUGHTER of "Well,  [LAUGHTER] okay."."""
    tags = tuple(tag.strip().upper() for tag in _TAG.findall(raw))
    return " ".join(_TAG.sub(" ", raw).split()), tags


def read_rows(path: Path, tier: str, faults: list[str | OSError]) -> Rows:
    """Reads an alignment of Sphinx 3, rows such as ``44 52 -101234 AY SIL D b``; a .syseg has no scores."""
    lines, last = read_lines(path, may_be_empty=True), -1
    rows: Rows = []
    scored = tier != "syllable"
    for number, line in enumerate(lines, 1):
        where, match = f"{path}:{number}", _ROWS[tier].fullmatch(line)
        if match is None:
            if not (number == 1 and not scored) and not _REST.fullmatch(line):
                form = f"<first frame> <last frame> {'<score> ' * scored}<{tier}>"
                faults.append(f"{where}: expected '{form}', got {line!r}; {COPY_AGAIN}")
            continue
        first, end = int(match[1]), int(match[2])
        if end < first:
            faults.append(f"{where}: frames {first} to {end} run backwards; {COPY_AGAIN}")
        elif scored and first <= last:
            what = f"frames {first} to {end} overlap the row before, which ends with {last}"
            faults.append(f"{where}: {what}; {COPY_AGAIN}")
        last = max(last, end)
        rows.append((match[4], first, end, float(match[3]) if scored else None))
    if scored and not any("Total score:" in line for line in lines[-3:]):
        faults.append(f"{path}:{len(lines)}: ends without 'Total score:', it was cut short; {COPY_AGAIN}")
    return rows


def to_seconds(rows: Rows, duration: float, frame_offset: int) -> list[tuple[Any, ...]]:
    """Symbol, start and duration (seconds), and score of each row, as far as it lies in the recording."""
    items = []
    for symbol, first, last, score in rows:
        start = max(0, first + frame_offset) / 100
        end = min((last + 1 + frame_offset) / 100, duration)
        if end > start:
            items.append((symbol, start, round(end - start, 8), score))
    return items


def count_samples(path: Path) -> int:
    """The number of samples of a turn's recording, from its header."""
    try:
        with open_file(path) as stream, wave.open(stream) as wav:
            there = os.fstat(stream.fileno()).st_size - stream.tell()  # bytes of samples
            layout = (wav.getframerate(), wav.getnchannels(), 8 * wav.getsampwidth())
            length = wav.getnframes() * wav.getnchannels() * wav.getsampwidth()
    except (wave.Error, EOFError, RuntimeError) as error:
        raise ValueError(f"{path}: is no WAV file; {COPY_AGAIN}") from error
    if layout != (SAMPLING_RATE, 1, 16):
        what = "has {} Hz, {} channel(s), {} bit, the release 16000 Hz, 1 channel, 16 bit".format(*layout)
    elif length > there:
        what = f"is cut short, {length - there} of {length} bytes of samples are gone"
    elif length == 0:
        what = "has no samples"
    else:
        return int(length // 2)
    raise ValueError(f"{path}: {what}; {COPY_AGAIN}")


def open_file(path: Path) -> IO[bytes]:
    """Opens a regular file; a pipe may never end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no file", str(path))
    return open(path, "rb")


def read_lines(path: Path, may_be_empty: bool = False) -> list[str]:
    """The lines of a file in ASCII, UTF-8 or latin-1; the last one is "" if the file ends with a newline."""
    with open_file(path) as stream:
        raw = stream.read()
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise ValueError(f"{path}:{line}: holds a NUL byte, the file is damaged; {COPY_AGAIN}")
    if not raw.strip() and not may_be_empty:
        raise ValueError(f"{path}: is empty; {COPY_AGAIN}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\r\n", "\n").split("\n")
