"""IEMOCAP, refusals of recordings, alignments, folders and links, each a line with its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ser.corpora.iemocap import prepare_iemocap
from ser.corpora.iemocap.recipe import count_samples
from ser.errors import UsageError
from tests.corpora.iemocap_release import wav_header
from tests.corpora.test_iemocap_faults import (
    COPY,
    DIALOG,
    edit,
    labels,
    one_dialog,
    refused,
    seg,
    wav,
    words,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return one_dialog(tmp_path)


def test_a_missing_recording(root: Path) -> None:
    wav(root).unlink()
    refused(root, f"{labels(root)}:12: {DIALOG}_F001 has no recording, {wav(root)} is missing{COPY}")


def test_a_recording_without_label(root: Path) -> None:
    wav(root, "F009").write_bytes(wav_header(0))
    wav(root, "FXX0").write_bytes(b"")
    (wav(root).parent / "Ses01F_impro02_F000.wav").write_bytes(b"")
    refused(
        root,
        f"{wav(root, 'F009')}: {DIALOG}_F009 has no label in {labels(root)}{COPY}",
        f"{wav(root).parent}/Ses01F_impro02_F000.wav: Ses01F_impro02_F000 is no turn of {DIALOG}, "
        f"see {labels(root)}{COPY}",
    )


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (wav_header(9, rate_hz=44100) + bytes(18), "has 44100 Hz, 1 channel(s), 16 bit, {real}"),
        (wav_header(9, channels=2) + bytes(36), "has 16000 Hz, 2 channel(s), 16 bit, {real}"),
        (wav_header(9, bits=24) + bytes(27), "has 16000 Hz, 1 channel(s), 24 bit, {real}"),
        (wav_header(9) + bytes(8), "is cut short, 10 of 18 bytes of samples are gone"),
        (wav_header(0), "has no samples"),
        (b"", "is no WAV file"),
        (b"RIFF", "is no WAV file"),
        (b"fLaC" + bytes(99), "is no WAV file"),
        (wav_header(9)[:36] + b"LIST" + bytes(40), "is no WAV file"),
    ],
)
def test_a_recording_that_is_not_as_in_the_release(root: Path, content: bytes, wanted: str) -> None:
    wav(root).write_bytes(content)
    real = "the release 16000 Hz, 1 channel, 16 bit"
    refused(root, f"{wav(root)}: {wanted.format(real=real)}{COPY}")


def test_other_chunks_before_the_samples(tmp_path: Path) -> None:
    head = wav_header(11)  # of a file that is as long
    path = tmp_path / "a.wav"
    path.write_bytes(head[:36] + b"LIST\3\0\0\0abc\0" + wav_header(5)[36:] + bytes(10))
    assert count_samples(path) == 5


@pytest.mark.parametrize("suffix", ["phseg", "wdseg"])
def test_frames_that_overlap(root: Path, suffix: str) -> None:
    last = int(seg(root, suffix).read_text().splitlines()[1].split()[1])
    symbol = " SIL" if suffix == "phseg" else " WELL"
    edit(
        seg(root, suffix),
        lambda lines: lines.insert(2, f"\t{last:5d} {last:5d}     -3000{symbol}\n".encode()),
    )
    what = f"frames {last} to {last} overlap the row before, which ends with {last}"
    refused(root, f"{seg(root, suffix)}:3: {what}{COPY}")


def test_frames_backwards(root: Path) -> None:
    edit(seg(root), lambda lines: lines.__setitem__(slice(1, -1), [b"\t    9     3     -3000 SIL\n"]))
    refused(root, f"{seg(root)}:2: frames 9 to 3 run backwards{COPY}")


@pytest.mark.parametrize(
    ("suffix", "row", "form"),
    [
        ("phseg", "\t 0 9 -3000 AY SIL", "<first frame> <last frame> <score> <phone>"),
        ("wdseg", "\t 0 9 -3000 WELL OH", "<first frame> <last frame> <score> <word>"),
        ("wdseg", "\t -1 9 -3000 WELL", "<first frame> <last frame> <score> <word>"),
        ("syseg", "\t 0 9.5 AY_D", "<first frame> <last frame> <syllable>"),
    ],
)
def test_a_row_of_another_form(root: Path, suffix: str, row: str, form: str) -> None:
    edit(
        seg(root, suffix),
        lambda lines: lines.__setitem__(slice(1, 2 if suffix == "syseg" else -1), [f"{row}\n".encode()]),
    )
    refused(root, f"{seg(root, suffix)}:2: expected '{form}', got {row!r}{COPY}")


def test_an_alignment_cut_short(root: Path) -> None:
    edit(seg(root), lambda lines: lines.__delitem__(slice(3, None)))
    refused(root, f"{seg(root)}:4: ends without 'Total score:', it was cut short{COPY}")


def test_a_session_6(root: Path) -> None:
    (root / "Session6").mkdir()
    refused(root, f"{root}/Session6: is no part of IEMOCAP, which has Session1 to Session5; remove it")


def test_a_dialog_of_another_session(root: Path) -> None:
    odd = labels(root).with_name("Ses02F_impro01.txt")
    odd.write_text("")
    folder = wav(root).parent.with_name("Ses06F_impro01")
    folder.mkdir()
    refused(
        root,
        f"{odd}: is no dialog of session 1; move it to where it belongs",
        f"{folder}: is no dialog of session 1; move it to where it belongs",
    )


def test_a_dialog_without_transcription_or_recordings(root: Path) -> None:
    labels(root).with_name("Ses01F_impro02.txt").write_text("")
    refused(
        root,
        f"{words(root).parent}/Ses01F_impro02.txt: is missing{COPY}",
        f"{wav(root).parent.parent}/Ses01F_impro02: is missing{COPY}",
    )


def test_a_session_without_its_folders(root: Path) -> None:
    (root / "Session2" / "dialog" / "transcriptions").mkdir(parents=True)
    session = root / "Session2"
    refused(
        root,
        f"{session}/dialog/EmoEvaluation: is missing{COPY}",
        f"{session}/sentences/wav: is missing{COPY}",
        f"{session}/dialog/transcriptions: holds no dialog of session 2{COPY}",
    )


@pytest.mark.parametrize("place", [labels, words, wav, seg])
def test_dead_links(root: Path, place: Callable[[Path], Path]) -> None:
    path = place(root)
    path.unlink()
    path.symlink_to("/nowhere/to/be/found")
    refused(root, f"{path}: is a dead symbolic link to /nowhere/to/be/found{COPY}")


def test_a_dead_link_to_a_session(root: Path) -> None:
    (root / "Session2").symlink_to("/nowhere")
    refused(
        root,
        *(
            f"{root}/Session2/{place}: is missing{COPY}"
            for place in ("dialog/EmoEvaluation", "dialog/transcriptions", "sentences/wav")
        ),
    )


def test_an_unreadable_folder_and_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads anything, so the refusal of the system is made here."""
    listdir = os.listdir

    def refuse(path: Path) -> list[str]:
        if Path(path) == wav(root).parent:
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    refused(
        root,
        f"{wav(root).parent}: cannot be read (Permission denied); give yourself permission to read it",
    )


def test_a_folder_in_the_place_of_a_file(root: Path) -> None:
    words(root).unlink()
    words(root).mkdir()
    refused(root, f"{words(root)}: is a folder where a file is expected{COPY}")


def test_where_there_is_no_release(root: Path, tmp_path: Path) -> None:
    refused(
        tmp_path / "none", f"{tmp_path}/none: no such folder; name the one that holds Session1 to Session5"
    )
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(b"")
    refused(archive, f"{archive}: is a file; unpack it, and name the folder that holds Session1 to Session5")
    for inside in (root / "Session1", wav(root).parent):
        refused(inside, f"{inside}: is a part of a release; name the whole one, {root}")


def test_a_folder_without_or_with_several_releases(tmp_path: Path) -> None:
    (tmp_path / "high" / "a").mkdir(parents=True)
    refused(
        tmp_path / "high",
        f"{tmp_path}/high: holds no Session1 to Session5; name the folder of IEMOCAP that does",
    )
    for name in "ab":
        (tmp_path / "high" / name / "Session1").mkdir(parents=True)
    high = tmp_path / "high"
    refused(high, f"{high}: holds 2 releases; name one of {high}/a, {high}/b")


def test_no_jobs(root: Path) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_iemocap(root, num_jobs=0)
    assert str(caught.value) == "the number of jobs must be 1 or more, got 0"
