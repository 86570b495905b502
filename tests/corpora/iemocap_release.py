"""Synthetic releases in IEMOCAP's layout: small ones of any content, and one of the real one's size.

Nothing here comes from the corpus but its public counts (tests/golden/iemocap_dialogs.tsv and
ser/corpora/iemocap/expected.py).  Recordings are silent and sparse: they have the right length, but take
no room on the disk.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

UNITS_PER_S = 10_000  # times are written with four digits
RATE_HZ = 16_000
PHONES = (
    "AA AE AH AO AW AX AXR AY EH ER EY IH IX IY OW OY UH UW B CH D DD DH DX F G HH JH K KD L M N NG P R S SH "
    "T TD TH TS V W Y Z ZH +BREATHING+ +GARBAGE+ +LAUGHTER+ +LIPSMACK+"
).split()  # and SIL
RATERS = (
    "C-E2:\tNeutral;\t",
    "C-E3:\tNeutral; Anger;\t(what, a \u00e9)",
    "C-E4:\tNeutral;\t()",
    "C-F1:\tNeutral state;\t",
    "A-E3:\tval 3; act 2; dom  2;\t",
    "A-E4:\tval 2; act 3; dom  ;\t(missing)",
    "A-F1:\tval 3; act 2; dom  1;\t",
)

Row = tuple[int, int, str]  # first frame, last frame, symbol


@dataclass
class FakeTurn:
    """One turn; times in units of 0.1 ms."""

    name: str
    start: int
    end: int
    num_samples: int
    label: str = "neu"
    means: tuple[str, ...] = ("2.5000", "2.5000", "2.5000")
    raters: Sequence[str] = RATERS
    text: str = "Okay."
    tiers: Sequence[str] = ("phseg", "wdseg", "syseg")

    @property
    def dialog(self) -> str:
        return self.name.rpartition("_")[0]


@dataclass
class FakeRelease:
    """Turns by dialog, and lines that stand among the transcriptions."""

    dialogs: dict[str, list[FakeTurn]]
    extra_lines: dict[str, list[str]] = field(default_factory=dict)
    newline: str = "\n"

    def turns(self) -> list[FakeTurn]:
        return [turn for turns in self.dialogs.values() for turn in turns]


def samples_of(units: int, late: int = 0) -> int:
    """Samples of a recording whose times say ``units``, and ``late`` (-2..1) more."""
    return units * RATE_HZ // UNITS_PER_S + late


def evaluation_text(turns: Sequence[FakeTurn]) -> str:
    """All turns of a dialog, those of F first."""
    blocks = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
    for turn in sorted(turns, key=lambda turn: turn.name[-4:]):
        times = f"[{turn.start / UNITS_PER_S:.4f} - {turn.end / UNITS_PER_S:.4f}]"
        lines = [f"{times}\t{turn.name}\t{turn.label}\t[{', '.join(turn.means)}]", *turn.raters]
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join(blocks) + "\n"


def transcription_text(turns: Sequence[FakeTurn], extra: Sequence[str] = ()) -> str:
    """All turns of a dialog by time, and other lines."""
    lines = [
        f"{turn.name} [{turn.start / UNITS_PER_S:08.4f}-{turn.end / UNITS_PER_S:08.4f}]: {turn.text}"
        for turn in sorted(turns, key=lambda turn: turn.start)
    ]
    for place, line in enumerate(extra):
        lines.insert((place * 3) % (len(lines) + 1), line)
    return "".join(f"{line}\n" for line in lines)


def word_rows(turn: FakeTurn) -> list[Row]:
    """Contiguous words, from silence to silence."""
    words = [
        "<s>",
        *(word.upper() for word in turn.text.split() if word.isascii() and word.isalpha()),
        "</s>",
    ]
    frames = turn.num_samples // 160 + 1  # the aligner may have one more than the features
    words = words[: max(2, frames // 4)]
    edges = [frames * place // len(words) for place in range(len(words) + 1)]
    return [(edges[i], edges[i + 1] - 1, word) for i, word in enumerate(words)]


def phone_rows(turn: FakeTurn) -> list[Row]:
    """Two to four phones a word, silence at the edges."""
    rows = []
    seed = sum(map(ord, turn.name))
    for first, last, word in word_rows(turn):
        if word in ("<s>", "</s>"):
            rows.append((first, last, "SIL"))
            continue
        count = min(4, last - first + 1)
        edges = [first + (last - first + 1) * place // count for place in range(count + 1)]
        for i in range(count):
            seed += 1
            rows.append((edges[i], edges[i + 1] - 1, PHONES[seed % len(PHONES)]))
    return rows


def syllable_rows(turn: FakeTurn) -> list[Row]:
    """Pairs of phones; silence is left out."""
    phones = [row for row in phone_rows(turn) if row[2] != "SIL"]
    pairs = [phones[i : i + 2] for i in range(0, len(phones), 2)]
    return [(pair[0][0], pair[-1][1], "_".join(row[2] for row in pair)) for pair in pairs]


def alignment_text(turn: FakeTurn, tier: str) -> str:
    """A file as the aligner writes it."""
    if tier == "syseg":
        return " SFrm  EFrm Syllable\n" + "".join(f"{a:5d} {b:5d} {s}\n" for a, b, s in syllable_rows(turn))
    if tier == "wdseg":
        rows = [
            (a, b, f"{s}(2)" if i % 3 == 1 and s[0] != "<" else s)
            for i, (a, b, s) in enumerate(word_rows(turn))
        ]
        head, width = ("SFrm", "EFrm", "SegAScr", "Word"), 10
    else:
        rows = [(a, b, s if s == "SIL" else f"{s} SIL AH b") for a, b, s in phone_rows(turn)]
        head, width = ("SFrm", "EFrm", "SegAScr", "Phone"), 9
    lines = [f"\t{head[0]:>5} {head[1]:>5} {head[2]:>{width}} {head[3]}\n"]
    lines += [f"\t{a:5d} {b:5d} {-(b - a + 1) * 3000:{width}d} {symbol}\n" for a, b, symbol in rows]
    return "".join(lines) + f" Total score: {-3000 * (turn.num_samples // 160):11d}\n"


def wav_header(num_samples: int, *, rate_hz: int = RATE_HZ, channels: int = 1, bits: int = 16) -> bytes:
    """The 44 bytes before the samples."""
    block = channels * bits // 8
    length = num_samples * block
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate_hz, rate_hz * block, block, bits)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + length, b"WAVE") + layout + struct.pack("<4sI", b"data", length)
    )


def write_wav(path: Path, num_samples: int) -> None:
    """Silence."""
    with open(path, "wb") as stream:
        stream.write(wav_header(num_samples))
        stream.truncate(44 + 2 * num_samples)


def write_release(root: Path, release: FakeRelease) -> Path:
    """Write all files, and the odd ones that the real release has beside them."""
    for dialog, turns in release.dialogs.items():
        session = root / f"Session{dialog[4]}"
        texts = {
            "EmoEvaluation": evaluation_text(turns),
            "transcriptions": transcription_text(turns, release.extra_lines.get(dialog, ())),
        }
        for name, text in texts.items():
            folder = session / "dialog" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{dialog}.txt").write_bytes(text.replace("\n", release.newline).encode("latin-1"))
            (folder / f"._{dialog}.txt").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        _write_rater_files(session / "dialog" / "EmoEvaluation", dialog, turns)
        wavs = session / "sentences" / "wav" / dialog
        alignments = session / "sentences" / "ForcedAlignment" / dialog
        wavs.mkdir(parents=True, exist_ok=True)
        alignments.mkdir(parents=True, exist_ok=True)
        (wavs / f"._{dialog}_F000.wav").write_bytes(b"\0\5\x16\7")
        (wavs / "Thumbs.db").write_bytes(b"no sound")
        for turn in turns:
            write_wav(wavs / f"{turn.name}.wav", turn.num_samples)
            for tier in turn.tiers:
                text = alignment_text(turn, tier).replace("\n", release.newline)
                (alignments / f"{turn.name}.{tier}").write_bytes(text.encode("ascii"))
        (wavs.parent / "list.txt").write_text("not a dialog\n")
    return root


def _write_rater_files(folder: Path, dialog: str, turns: Iterable[FakeTurn]) -> None:
    """The per-rater files, which look like the others and contradict them."""
    forms = {
        "Categorical": (f"{dialog}_e2_cat.txt", "{} :Fear; ()\n"),
        "Attribute": (f"{dialog}_e2_atr.txt", "{} :act 5; :val 5; :dom 5; ()\n"),
        "Self-evaluation": (f"{dialog}_f1_cat.txt", "{} :Disgust; ()\n"),
    }
    for name, (file, line) in forms.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / file).write_text("".join(line.format(turn.name) for turn in turns))
        (folder / name / f"{dialog}.txt").write_text("[1.0000 - 2.0000]\tSes09X\tfea\t[9, 9, 9]\n")
        (folder / name / f"{dialog}.anvil").write_text("<annotation/>\n")


def tiny_release() -> FakeRelease:
    """Two dialogs in each session, two speakers and the four classes in each dialog; always the same."""
    labels = ("neu", "hap", "exc", "ang", "sad", "fru", "xxx", "neu")
    draw = random.Random(3)
    dialogs: dict[str, list[FakeTurn]] = {}
    for session in "12345":
        for name in (f"Ses0{session}F_impro01", f"Ses0{session}M_script01_1b"):
            turns, now = [], 50_000
            for i, label in enumerate(labels):
                units = draw.randrange(8_000, 30_000)
                turn = f"{name}_{'FM'[i % 2]}{i // 2:03d}"
                text = f"This is turn {i}. " + "[LAUGHTER]" * (i == 3)
                turns.append(FakeTurn(turn, now, now + units, samples_of(units, -(i % 3)), label, text=text))
                now += units + draw.randrange(-2_000, 9_000)
            dialogs[name] = turns
    return FakeRelease(dialogs)
