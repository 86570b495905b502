"""The files of a dialog: EmoEvaluation with the raters' own files, the transcription, the stereo wav."""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser.corpora.mini import ratings
from ser.corpora.mini.audio import RATE_HZ
from ser.corpora.mini.design import Dialog, Turn, random_state
from ser.corpora.mini.ratings import Ratings

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
CRLF_DIALOG = "Ses02F_impro01"  # its text files have CRLF line ends
LATIN1_TURN = "Ses04F_impro01_F000"  # the speaker's comment on it has a letter that is no ASCII
STRAY_LINES = {  # dialog -> lines of its transcription that belong to no turn
    "Ses01F_impro01": ["Ses01F_impro01_FXX0 [001.0518-001.6198]: Umm.", "M: Yes."],
    "Ses03M_impro05a": ["Ses03M_impro05a_MXX1 [001.2000-001.9000]: [BREATHING]", "F:Umm.", "F :Here"],
    "Ses05M_script01_1b": ["M:"],
}
UNSORTED_DIALOG = "Ses04M_script02_2"  # the lines of its transcription are not in order of time
_LEAK = 0.1  # how much of the other's voice a microphone hears


@dataclass(frozen=True)
class Placed:
    """A turn in its dialog: start and end in seconds, to a tenth of a millisecond."""

    turn: Turn
    start: float
    end: float


def place(dialog: Dialog, num_samples: Mapping[str, int], seed: int) -> list[Placed]:
    """Put the turns one after another, some a little into the one before."""
    random = random_state(seed, "times", dialog.name)
    now = 5.0
    placed = []
    for turn in dialog.turns:
        start = round(now + random.uniform(-0.4, 1.2), 4)
        now = round(start + num_samples[turn.name] / RATE_HZ, 4)
        placed.append(Placed(turn, start, now))
    return placed


def write_texts(folder: Path, dialog: Dialog, placed: Sequence[Placed], seed: int) -> None:
    """Write everything of a dialog that is text into ``folder``, a session's ``dialog/``."""
    rated = {turn.name: ratings.rate(seed, turn) for turn in dialog.turns}
    evaluation = folder / "EmoEvaluation"
    _write(evaluation / f"{dialog.name}.txt", dialog, _evaluation(placed, rated))
    _write(folder / "transcriptions" / f"{dialog.name}.txt", dialog, _transcription(dialog, placed))
    for name, lines in _raters_files(dialog, rated).items():
        _write(evaluation / name, dialog, lines)


def _write(path: Path, dialog: Dialog, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    newline = "\r\n" if dialog.name == CRLF_DIALOG else "\n"
    path.write_bytes("".join(line + newline for line in lines).encode("latin-1"))


def _evaluation(placed: Sequence[Placed], rated: Mapping[str, Ratings]) -> list[str]:
    """All F turns, then all M turns, as in the real files."""
    lines = [HEADER, ""]
    for item in sorted(placed, key=lambda item: item.turn.speaker):
        turn, rating = item.turn, rated[item.turn.name]
        means = ", ".join(f"{mean:.4f}" for mean in rating.means())
        lines.append(f"[{item.start:.4f} - {item.end:.4f}]\t{turn.name}\t{turn.label}\t[{means}]")
        lines += [ratings.opinion_line(opinion) for opinion in rating.opinions]
        lines += [ratings.scales_line(scales) for scales in rating.scales]
        if turn.name == LATIN1_TURN:
            lines[-1] = lines[-1].replace("()", "(na\xefve)")
        lines.append("")
    return lines


def _transcription(dialog: Dialog, placed: Sequence[Placed]) -> list[str]:
    lines = []
    for number, item in enumerate(placed):
        text = item.turn.transcription
        if number % 3 == 1:
            text = text.replace(" ", "  ", 1) + " "  # the real files are as untidy
        lines.append(f"{item.turn.name} [{item.start:08.4f}-{item.end:08.4f}]: {text}")
    if dialog.name == UNSORTED_DIALOG:
        lines[1], lines[2] = lines[2], lines[1]
    stray = STRAY_LINES.get(dialog.name, [])
    return [*lines[:1], *stray, *lines[1:]]


def _raters_files(dialog: Dialog, rated: Mapping[str, Ratings]) -> dict[str, list[str]]:
    """Each rater's own files: path in EmoEvaluation -> lines."""
    files: dict[str, list[str]] = {}
    for turn, rating in rated.items():
        for opinion in rating.opinions:
            folder = "Categorical" if opinion.rater.startswith("E") else "Self-evaluation"
            name = f"{folder}/{dialog.name}_{opinion.rater.lower()}_cat.txt"
            files.setdefault(name, []).append(ratings.categorical_line(turn, opinion))
        for scales in rating.scales:
            folder = "Attribute" if scales.rater.startswith("E") else "Self-evaluation"
            name = f"{folder}/{dialog.name}_{scales.rater.lower()}_atr.txt"
            files.setdefault(name, []).append(ratings.attribute_line(turn, scales))
    return files


def write_wav(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Write 16-bit samples at 16 kHz: (N,) or (N, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        stream.setsampwidth(2)
        stream.setframerate(RATE_HZ)
        stream.writeframes(samples.astype("<i2").tobytes())


def read_wav(path: Path) -> npt.NDArray[np.int16]:
    """Read the samples of a mono wav, (N,)."""
    with wave.open(str(path), "rb") as stream:
        return np.frombuffer(stream.readframes(stream.getnframes()), "<i2").astype(np.int16)


def mix(placed: Sequence[Placed], sentences: Path) -> npt.NDArray[np.int16]:
    """The dialog as two microphones heard it, (N, 2): the woman's on the left, the man's on the right."""
    length = int(max(item.end for item in placed) * RATE_HZ) + RATE_HZ
    channels = np.zeros((length, 2))
    for item in placed:
        samples = read_wav(sentences / f"{item.turn.name}.wav")
        first = round(item.start * RATE_HZ)
        near = 0 if item.turn.speaker.endswith("F") else 1
        channels[first : first + len(samples), near] += samples
        channels[first : first + len(samples), 1 - near] += _LEAK * samples
    return np.clip(np.round(channels), -32768, 32767).astype(np.int16)
