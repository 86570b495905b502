"""IEMOCAP, refusals: each fault is one line with its place, all faults in one go, and nothing is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ser.corpora.iemocap import prepare_iemocap
from ser.errors import DataError
from ser.verbs.prepare import main as prepare_main
from tests.corpora.iemocap_release import (
    FakeRelease,
    FakeTurn,
    samples_of,
    tiny_release,
    wav_header,
    write_release,
)

DIALOG = "Ses01F_impro01"
COPY = "; copy it from the release again"
FORM = "'[<start> - <end>]<TAB><turn><TAB><label><TAB>[<V>, <A>, <D>]'"


def one_dialog(folder: Path) -> Path:
    """A release of one session and one dialog: turns F000 to F003 and M000 to M003."""
    release = tiny_release()
    release.dialogs = {DIALOG: release.dialogs[DIALOG]}
    return write_release(folder, release)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return one_dialog(tmp_path)


def labels(root: Path) -> Path:
    return root / "Session1" / "dialog" / "EmoEvaluation" / f"{DIALOG}.txt"


def words(root: Path) -> Path:
    return root / "Session1" / "dialog" / "transcriptions" / f"{DIALOG}.txt"


def wav(root: Path, turn: str = "F001") -> Path:
    return root / "Session1" / "sentences" / "wav" / DIALOG / f"{DIALOG}_{turn}.wav"


def seg(root: Path, suffix: str = "phseg") -> Path:
    return root / "Session1" / "sentences" / "ForcedAlignment" / DIALOG / f"{DIALOG}_F001.{suffix}"


def edit(path: Path, change: Callable[[list[bytes]], object]) -> None:
    """Change the lines (from 0, with their ends) of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


def swap(path: Path, old: str, new: str) -> None:
    raw = path.read_bytes()
    assert old.encode() in raw
    path.write_bytes(raw.replace(old.encode(), new.encode(), 1))


def refused(root: Path, *lines: str) -> None:
    with pytest.raises(DataError) as caught:
        prepare_iemocap(root)
    assert str(caught.value).splitlines() == list(lines)


# ------------------------------------------------------------------------------------------ EmoEvaluation


def test_a_file_cut_within_a_line(root: Path) -> None:
    edit(labels(root), lambda lines: lines.__setitem__(slice(65, None), [lines[65][:9]]))
    line = labels(root).read_text("latin-1").splitlines()[65]
    refused(
        root,
        f"{labels(root)}:66: ends within the line, the file was cut short{COPY}",
        f"{labels(root)}:66: expected {FORM}, got {line!r}{COPY}",
        f"{words(root)}:8: {DIALOG}_M003 has no label in {labels(root)}{COPY}",
        f"{wav(root, 'M003')}: {DIALOG}_M003 has no label in {labels(root)}{COPY}",
    )


def test_a_file_cut_behind_a_line(root: Path) -> None:
    edit(labels(root), lambda lines: lines.__delitem__(slice(66, None)))
    refused(root, f"{labels(root)}:66: {DIALOG}_M003 has no ratings, the file may be cut short{COPY}")


def test_a_file_cut_between_turns(root: Path) -> None:
    edit(labels(root), lambda lines: lines.__delitem__(slice(65, None)))
    refused(
        root,
        f"{words(root)}:8: {DIALOG}_M003 has no label in {labels(root)}{COPY}",
        f"{wav(root, 'M003')}: {DIALOG}_M003 has no label in {labels(root)}{COPY}",
    )


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("\tneu\t", "\tneutral\t", "the label 'neutral' of {turn} is none of {known}"),
        ("\tneu\t", "\tne\t", "the label 'ne' of {turn} is none of {known}"),
        ("\tneu\t", "\t\t", "the label '' of {turn} is none of {known}"),
        ("[2.5000, 2.5000, 2.5000]", "[2.5000]", "expected [<V>, <A>, <D>] of {turn}, got [2.5000]"),
        ("[2.5000, ", "[high, ", "expected [<V>, <A>, <D>] of {turn}, got [high, 2.5000, 2.5000]"),
    ],
)  # fmt: skip
def test_a_summary_line_that_cannot_be_used(root: Path, old: str, new: str, wanted: str) -> None:
    swap(labels(root), old, new)
    known = "neu hap exc ang sad fru sur fea dis oth xxx"
    refused(root, f"{labels(root)}:3: {wanted.format(turn=DIALOG + '_F000', known=known)}{COPY}")


def test_a_time_range_backwards(root: Path) -> None:
    line = labels(root).read_text("latin-1").splitlines()[2]
    start, end = line[1 : line.index("]")].split(" - ")
    swap(labels(root), f"[{start} - {end}]", f"[{end} - {start}]")
    refused(root, f"{labels(root)}:3: the time range of {DIALOG}_F000 runs backwards, {end} - {start}{COPY}")


def test_a_time_range_backwards_in_the_transcription(root: Path) -> None:
    line = words(root).read_text().splitlines()[0]
    start, end = line[line.index("[") + 1 : line.index("]")].split("-")
    swap(words(root), f"[{start}-{end}]", f"[{end}-{start}]")
    refused(root, f"{words(root)}:1: the time range of {DIALOG}_F000 runs backwards, {end}-{start}{COPY}")


def test_a_turn_twice(root: Path) -> None:
    edit(labels(root), lambda lines: lines.extend(lines[2:11]))
    edit(words(root), lambda lines: lines.append(lines[0]))
    refused(
        root,
        f"{labels(root)}:75: {DIALOG}_F000 stands here again, first in line 3; keep one of them",
        f"{words(root)}:9: {DIALOG}_F000 stands here again, first in line 1; keep one of them",
    )


def test_a_turn_of_another_dialog(root: Path) -> None:
    swap(labels(root), f"{DIALOG}_F000", "Ses01F_impro02_F000")
    refused(
        root,
        f"{labels(root)}:3: 'Ses01F_impro02_F000' is no turn of {DIALOG}{COPY}",
        f"{words(root)}:1: {DIALOG}_F000 has no label in {labels(root)}{COPY}",
        f"{wav(root, 'F000')}: {DIALOG}_F000 has no label in {labels(root)}{COPY}",
    )


def test_a_turn_that_is_only_in_the_transcription(root: Path) -> None:
    edit(words(root), lambda lines: lines.append(f"{DIALOG}_F009 [001.0000-002.0000]: Hm.\n".encode()))
    refused(root, f"{words(root)}:9: {DIALOG}_F009 has no label in {labels(root)}{COPY}")


def test_a_turn_that_is_only_in_emoevaluation(root: Path) -> None:
    edit(words(root), lambda lines: lines.__delitem__(0))
    refused(root, f"{labels(root)}:3: {DIALOG}_F000 has no words in {words(root)}{COPY}")


def test_other_times_in_the_transcription(root: Path) -> None:
    line = words(root).read_text().splitlines()[0]
    start, end = line[line.index("[") + 1 : line.index("]")].split("-")
    swap(words(root), end, "099.0000")
    refused(
        root,
        f"{words(root)}:1: {DIALOG}_F000 is at {float(start):.4f}-99.0000 s, but at "
        f"{float(start):.4f}-{float(end):.4f} s in {labels(root)}:3{COPY}",
    )


def test_a_damaged_transcription_line(root: Path) -> None:
    swap(words(root), f"{DIALOG}_F000 [", f"{DIALOG}_F000 ")
    line = words(root).read_text().splitlines()[0]
    refused(root, f"{words(root)}:1: expected '<turn> [<start>-<end>]: <text>', got {line!r}{COPY}")


def test_text_before_the_first_turn(root: Path) -> None:
    edit(labels(root), lambda lines: lines.insert(1, b"hello\n"))
    refused(root, f"{labels(root)}:2: expected a turn before 'hello'{COPY}")


@pytest.mark.parametrize("content", [b"", b"\n\r\n"])
def test_empty_files(root: Path, content: bytes) -> None:
    labels(root).write_bytes(content)
    words(root).write_bytes(content)
    refused(root, f"{labels(root)}: is empty{COPY}", f"{words(root)}: is empty{COPY}")


def test_a_file_with_nothing_but_its_heading(root: Path) -> None:
    edit(labels(root), lambda lines: lines.__delitem__(slice(1, None)))
    refused(root, f"{labels(root)}: holds no turn{COPY}")


def test_nul_bytes(root: Path) -> None:
    edit(labels(root), lambda lines: lines.__setitem__(4, b"\0\0\0\n"))
    refused(root, f"{labels(root)}:5: holds a NUL byte, the file is damaged{COPY}")


# ------------------------------------------------------------------------------------------- all together


def test_all_faults_in_one_go_exit_1_and_no_manifest(root: Path, tmp_path: Path) -> None:
    swap(labels(root), "\tneu\t", "\tneutral\t")
    wav(root).unlink()
    wav(root, "M000").write_bytes(wav_header(9, rate_hz=8000) + bytes(18))
    (root / "Session6").mkdir()
    for number in range(30):  # more than a message usually shows
        edit(
            words(root), lambda lines, n=number: lines.append(f"{DIALOG}_F{n + 100} [1.0-2.0]: x\n".encode())
        )
    conf = Path(__file__).parents[2] / "egs" / "iemocap" / "conf" / "corpus.yaml"
    out = tmp_path / "out"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ser",
            "prepare",
            out,
            tmp_path / "all",
            "--corpus-dir",
            root,
            "--config",
            conf,
            "--nj",
            "1",
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert done.stdout == ""
    faults = [line for line in done.stderr.splitlines() if "Session" in line and "has no Session" not in line]
    assert [line.partition(" (")[2] for line in faults] == [
        "",
        "",
        "",
        "",
        "30 lines: 9, 10, 11, ...)",
    ]
    assert faults[4].partition(": ")[2] == (
        f"{DIALOG}_F100 has no label in {labels(root)}{COPY} (30 lines: 9, 10, 11, ...)"
    )
    assert faults[0].endswith("Session6: is no part of IEMOCAP, which has Session1 to Session5; remove it")
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_label_file_cut_in_its_middle_is_a_few_lines(tmp_path: Path) -> None:
    """All that lacks a label by it is told by kind."""
    turns = [
        FakeTurn(
            f"{DIALOG}_F{n:03d}", 20_000 * n, 20_000 * n + 9_000, samples_of(9_000, 0), "neu", text="Hm."
        )
        for n in range(45)
    ]
    root = write_release(tmp_path, FakeRelease({DIALOG: turns}))
    lines = labels(root).read_bytes().splitlines(keepends=True)
    first = [number for number, line in enumerate(lines) if line.startswith(b"[")][1]
    labels(root).write_bytes(b"".join(lines[:first]) + lines[first][:20])
    row = lines[first][:20].decode()
    refused(
        root,
        f"{labels(root)}:{first + 1}: ends within the line, the file was cut short{COPY}",
        f"{labels(root)}:{first + 1}: expected {FORM}, got {row!r}{COPY}",
        f"{words(root)}:2: {DIALOG}_F001 has no label in {labels(root)}{COPY} (88 places: {words(root)}:2, "
        f"{words(root)}:3, {words(root)}:4, ...)",
    )


def test_one_missing_session_is_a_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_release(tmp_path / "release", tiny_release())
    shutil.rmtree(root / "Session5")
    conf = Path(__file__).parents[2] / "egs" / "iemocap" / "conf" / "corpus.yaml"
    out = tmp_path / "m"
    assert prepare_main([str(out), str(tmp_path / "all"), f"--corpus-dir={root}", f"--config={conf}"]) == 0
    differing = [line for line in capsys.readouterr().out.splitlines() if line.startswith("differs")]
    every = [line for line in (out / "checks.txt").read_text().splitlines() if line.startswith("differs")]
    assert differing == [*every[:8], f"differs: {len(every) - 8} more numbers, see {tmp_path}/m/checks.txt"]
    assert len(every) > 37
