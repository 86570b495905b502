"""Kaldi's rules for a data folder, as utils/validate_data_dir.sh of Kaldi states them, in our own words.

Nothing here uses the package: this is a second opinion on what it writes.  All text is compared as bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path

ILLEGAL_WORDS = (b"<s>", b"</s>", b"#0")
Rows = list[list[bytes]]


def kaldi_faults(folder: Path, *, text: bool = True, feats: bool = True, wav: bool = True) -> list[str]:
    """Everything that Kaldi would refuse; empty if it takes the folder.

    Args:
        folder: a data folder.
        text: False is ``--no-text``: text is not looked at.
        feats: False is ``--no-feats``: feats.scp may be missing.
        wav: False is ``--no-wav``: wav.scp may be missing.
    """
    check = _Folder(folder)
    utterances = check.speakers()
    if text:
        check.text(utterances)
    check.recordings(utterances, required=wav)
    speakers = [key for key, *_ in check.table("spk2utt")]
    check.listed("feats.scp", utterances, required=feats)
    check.listed("cmvn.scp", speakers)
    check.listed("spk2gender", speakers, lambda row: len(row) == 2 and row[1] in (b"m", b"f"))
    check.listed("spk2warp", speakers, _is_warp)
    check.listed("utt2warp", utterances, _is_warp)
    for name in ("vad.scp", "utt2lang", "utt2uniq"):
        check.listed(name, utterances)
    check.listed("utt2dur", utterances, _is_positive)
    check.listed("utt2num_frames", utterances, lambda row: _is_positive(row) and float(row[1]).is_integer())
    check.listed("reco2dur", check.recording_ids(utterances), _is_positive)
    return check.faults


def _is_positive(row: list[bytes]) -> bool:
    return len(row) == 2 and re.fullmatch(rb"[0-9.e+-]+", row[1]) is not None and float(row[1]) > 0


def _is_warp(row: list[bytes]) -> bool:
    return _is_positive(row) and 0.5 < float(row[1]) < 1.5


class _Folder:
    """The faults of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def table(self, name: str) -> Rows:
        """The fields of each line; blanks and tabs separate them."""
        data = (self.folder / name).read_bytes() if self.has(name) else b""
        return [line.split() for line in data.split(b"\n")[:-1]]

    def sorted_table(self, name: str) -> Rows:
        """The fields of each line of a table, which must be sorted by the first and have no key twice."""
        rows = self.table(name)
        if not self.has(name) or not rows:
            self.faults.append(f"{name}: missing or empty")
        elif not (self.folder / name).read_bytes().endswith(b"\n"):
            self.faults.append(f"{name}: no newline at its end")
        elif not all(rows):
            self.faults.append(f"{name}: an empty line")
        elif any(two[0] <= one[0] for one, two in pairwise(rows)):
            self.faults.append(f"{name}: not sorted, or a key twice")
        return [row for row in rows if row]

    def listed(
        self,
        name: str,
        keys: Collection[bytes],
        good: Callable[[list[bytes]], bool] = lambda row: len(row) > 1,
        *,
        required: bool = False,
    ) -> None:
        """Check a table that must have just these keys, in this order, and lines of a form."""
        if not required and not self.has(name):
            return
        rows = self.sorted_table(name)
        if [row[0] for row in rows] != list(keys):
            self.faults.append(f"{name}: other keys")
        if not all(good(row) for row in rows):
            self.faults.append(f"{name}: a malformed line")

    def speakers(self) -> list[bytes]:
        """Check utt2spk and spk2utt; the utterances."""
        rows = self.sorted_table("utt2spk")
        if any(len(row) != 2 for row in rows):
            self.faults.append("utt2spk: a line that is no '<utterance> <speaker>'")
            return []
        if any((two[1], two[0]) < (one[1], one[0]) for one, two in pairwise(rows)):
            self.faults.append("utt2spk: not sorted by speaker")
        turned = [[utt, speaker] for speaker, *utts in self.sorted_table("spk2utt") for utt in utts]
        if turned != rows:
            self.faults.append("spk2utt: not utt2spk turned round")
        return [utt for utt, _ in rows]

    def text(self, utterances: Collection[bytes]) -> None:
        """Check text: every utterance has a line; plain characters, plain blanks, none of Kaldi's symbols."""
        self.listed("text", utterances, required=True)
        data = (self.folder / "text").read_bytes() if self.has("text") else b""
        if b"\r" in data or any(
            character.isspace() and character not in " \t\n" for character in data.decode()
        ):
            self.faults.append("text: a blank that is none of space, tab and newline")
        if any(
            unicodedata.category(character) in ("Cc", "Cn", "Cs")
            for character in set(data.decode()) - set("\t\n")
        ):
            self.faults.append("text: a character that cannot be printed")
        if any(word in ILLEGAL_WORDS for row in self.table("text") for word in row[1:]):
            self.faults.append("text: <s>, </s> or #0")

    def recording_ids(self, utterances: Collection[bytes]) -> list[bytes]:
        """What wav.scp is keyed by: the recordings of segments if it is there, else the utterances."""
        if not self.has("segments"):
            return list(utterances)
        return sorted({row[1] for row in self.table("segments") if len(row) > 1})

    def recordings(self, utterances: Collection[bytes], *, required: bool) -> None:
        """Check segments, wav.scp and reco2file_and_channel."""
        if self.has("segments"):
            self.listed(
                "segments", utterances, lambda row: len(row) == 4 and 0 <= float(row[2]) < float(row[3])
            )
            required = True
        recordings = self.recording_ids(utterances)
        self.listed(
            "wav.scp", recordings, lambda row: len(row) > 1 and not row[1].startswith(b"~"), required=required
        )
        self.listed(
            "reco2file_and_channel", recordings, lambda row: len(row) == 3 and row[2] in (b"A", b"B", b"1")
        )
