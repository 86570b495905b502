"""The embedded corpus as a whole: bytes, formats, irregularities; it is prepared as IEMOCAP is."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ser.corpora.iemocap import prepare_iemocap
from ser.corpora.mini import phones
from ser.corpora.mini.design import NOT_ALIGNED, Dialog, Turn, plan
from ser.corpora.mini.dialog import CRLF_DIALOG, LATIN1_TURN, UNSORTED_DIALOG
from ser.corpora.mini.ratings import CATEGORIES, HIGH_VALENCE, LOW_DOMINANCE, NO_DOMINANCE

ROOT = Path(__file__).parents[2]
SUMMARY = re.compile(
    r"^\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(Ses0[1-5][FM]_(?:impro|script)\w+_[FM]\d{3})\t([a-z]{3})"
    r"\t\[(\d\.\d{4}), (\d\.\d{4}), (\d\.\d{4})\]$"
)
RATING = re.compile(r"^(C-[EFM]\d:\t(\w+; ?)+\t.*|A-[EFM]\d:\tval \d; act \d; dom  \d?;\t.*)$")
TRANSCRIPT = re.compile(r"^(Ses0[1-5][FM]_\w+_[FM]\d{3}) \[(\d{3}\.\d{4})-(\d{3}\.\d{4})\]: (.*)$")
PHSEG = re.compile(r"^\t[ \d]{5} [ \d]{5} [ \d-]{9} (SIL|\+[A-Z]+\+|[A-Z]+ [A-Z]+ [A-Z]+ [bies])$")
WDSEG = re.compile(r"^\t[ \d]{5} [ \d]{5} [ \d-]{10} (<s>|</s>|<sil>|\+\+[A-Z]+\+\+|[A-Z']+(\(\d\))?)$")
SYSEG = re.compile(r"^\t[ \d]{5} [ \d]{5} [A-Z]+(_[A-Z]+)*$")
TOTAL = re.compile(r"^ Total score: [ \d-]{11}$")


def make(out: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the verb in a process of its own, as espeak-ng wants it."""
    command = [sys.executable, "-m", "ser", "make_mini_corpus", "--scale", "0.1", *options, str(out)]
    path = os.pathsep.join(filter(None, (environment.pop("FIRST", ""), str(ROOT))))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def content(folder: Path) -> dict[str, str]:
    """All files below a folder, with their digests."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module", params=["espeak", "formant", "formant real"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """How the corpus is made: engine, conditions."""
    engine, *conditions = request.param.split()
    if engine == "espeak":
        pytest.importorskip("espeakng_loader", reason="the extra 'mini' is not installed")
    return "--engine", engine, *(("--conditions", *conditions) if conditions else ())


@pytest.fixture(scope="module")
def release(options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mini") / "release"
    done = make(out, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return out


DESIGN = plan(seed=0, scale=0.1)


def turns() -> Iterator[tuple[Dialog, Turn]]:
    for dialog in DESIGN:
        for turn in dialog.turns:
            yield dialog, turn


def alignment(release: Path, dialog: Dialog, turn: Turn, kind: str) -> list[str]:
    path = release / dialog.folder / "sentences/ForcedAlignment" / dialog.name / f"{turn.name}.{kind}"
    return path.read_text(encoding="ascii").split("\n")


def num_samples(release: Path, dialog: Dialog, turn: Turn) -> int:
    path = release / dialog.folder / "sentences/wav" / dialog.name / f"{turn.name}.wav"
    with wave.open(str(path), "rb") as stream:
        assert (stream.getframerate(), stream.getnchannels(), stream.getsampwidth()) == (16000, 1, 2)
        assert path.stat().st_size == 44 + 2 * stream.getnframes()
        return stream.getnframes()


def text_lines(release: Path, dialog: Dialog, folder: str) -> list[str]:
    path = release / dialog.folder / "dialog" / folder / f"{dialog.name}.txt"
    return path.read_bytes().decode("latin-1").replace("\r\n", "\n").split("\n")


@pytest.mark.slow
def test_same_seed_same_bytes(release: Path, options: tuple[str, ...], tmp_path: Path) -> None:
    again = make(tmp_path / "again", *options, "--num-jobs", "1")
    assert again.returncode == 0, again.stderr
    assert content(tmp_path / "again") == content(release)


DIGESTS = {  # of the releases as they were made before there were other conditions than plain
    "espeak": "27a1c9d9425bb5ed4d8f63fec0505c5531a7d01a12b3036faa309d36ae1aa518",
    "formant": "367042f492c71fd60f22e8d2253580888296d36051f46dc4d3b6370a868266e4",
}


@pytest.mark.skipif(platform.system() != "Linux" or platform.machine() != "x86_64", reason="other numbers")
def test_the_bytes_of_plain_releases(release: Path, options: tuple[str, ...]) -> None:
    if "--conditions" in options:
        pytest.skip("is not plain")
    if options[1] == "espeak" and importlib.metadata.version("espeakng_loader") != "0.2.4":
        pytest.skip("digest is of espeakng-loader 0.2.4")
    lines = "".join(f"{digest}  {name}\n" for name, digest in content(release).items())
    assert hashlib.sha256(lines.encode()).hexdigest() == DIGESTS[options[1]]


def test_every_turn_has_its_files(release: Path) -> None:
    wavs = {path.stem for path in release.glob("Session*/sentences/wav/*/[!.]*.wav")}
    assert wavs == {turn.name for _, turn in turns()}
    for kind in ("phseg", "wdseg", "syseg"):
        found = {path.stem for path in release.glob(f"Session*/sentences/ForcedAlignment/*/*.{kind}")}
        assert found == wavs - {NOT_ALIGNED}


def test_evaluation(release: Path) -> None:
    for dialog in DESIGN:
        lines = text_lines(release, dialog, "EmoEvaluation")
        assert lines[:2] == ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        assert lines[-2:] == ["", ""]
        blocks = "\n".join(lines[2:-2]).split("\n\n")
        found = [SUMMARY.match(block.split("\n")[0]) for block in blocks]
        assert all(found)
        labels = {match[3]: match[4] for match in found if match}
        assert labels == {turn.name: turn.label for turn in dialog.turns}
        names = list(labels)
        assert names == sorted(names), "F turns first, then M turns, each by number"
        for block in blocks:
            ratings = block.split("\n")[1:]
            assert all(RATING.match(line) for line in ratings), ratings
            assert {line[:2] for line in ratings} == {"C-", "A-"}


def test_times_agree_with_the_recordings(release: Path) -> None:
    for dialog in DESIGN:
        times = {}
        for line in text_lines(release, dialog, "EmoEvaluation"):
            if match := SUMMARY.match(line):
                times[match[3]] = (float(match[1]), float(match[2]))
        starts = [times[turn.name][0] for turn in dialog.turns]
        assert starts == sorted(starts)
        for turn in dialog.turns:
            start, end = times[turn.name]
            length = num_samples(release, dialog, turn)
            assert -2 <= length - int((end - start) * 16000) <= 1


def test_transcriptions(release: Path) -> None:
    for dialog in DESIGN:
        lines = text_lines(release, dialog, "transcriptions")
        found = [match for match in map(TRANSCRIPT.match, lines) if match]
        texts = {match[1]: " ".join(match[4].split()) for match in found}
        assert texts == {turn.name: turn.transcription for turn in dialog.turns}
        starts = [float(match[2]) for match in found]
        assert (starts == sorted(starts)) == (dialog.name != UNSORTED_DIALOG)


def test_raters_files(release: Path) -> None:
    for dialog in DESIGN:
        folder = release / dialog.folder / "dialog/EmoEvaluation"
        words = "|".join((*CATEGORIES.values(), "Other")).replace("Neutral", "Neutral state")
        for name, line in {
            "Categorical/*_e[2-4]_cat": rf"^\S+ (:({words}); )+$",
            "Attribute/*_e[34]_atr": r"^\S+ :act \d; :val \d; :dom \d?; $",
            "Self-evaluation/*_[fm][1-5]_atr": r"^\S+ :act \d; :val \d; :dom \d?; $",
        }.items():
            found: list[str] = []
            paths = sorted(folder.glob(name.replace("*", dialog.name) + ".txt"))
            assert paths
            for path in paths:
                lines = path.read_text(encoding="ascii").splitlines()
                assert all(re.match(line, each) for each in lines), path
                found += [each.split()[0] for each in lines]
            assert set(found) == {turn.name for turn in dialog.turns}


def test_alignments_cover_their_recordings(release: Path) -> None:
    symbols = phones.VOWELS | phones.CONSONANTS | phones.FILLERS | {phones.SILENCE}
    for dialog, turn in turns():
        if not turn.aligned:
            continue
        header, *rows, total, nothing = alignment(release, dialog, turn, "phseg")
        assert (header, nothing) == ("\t SFrm  EFrm   SegAScr Phone", "")
        assert TOTAL.match(total)
        assert all(PHSEG.match(row) for row in rows), turn.name
        fields = [row.split() for row in rows]
        assert int(fields[0][0]) == 0
        assert int(fields[-1][1]) == num_samples(release, dialog, turn) // 160 - 1
        assert all(int(a[1]) + 1 == int(b[0]) for a, b in zip(fields, fields[1:], strict=False))
        assert all(int(row[0]) <= int(row[1]) for row in fields)
        assert {row[3] for row in fields} <= symbols
        assert int(total.split()[-1]) == sum(int(row[2]) for row in fields)


def test_words_are_the_transcription(release: Path) -> None:
    for dialog, turn in turns():
        if not turn.aligned:
            continue
        header, *rows, total, _ = alignment(release, dialog, turn, "wdseg")
        assert header == "\t SFrm  EFrm    SegAScr Word"
        assert TOTAL.match(total)
        assert all(WDSEG.match(row) for row in rows), turn.name
        words = [row.split()[3] for row in rows]
        assert (words[0], words[-1]) == ("<s>", "</s>")
        spoken = [re.sub(r"\(\d\)", "", word) for word in words[1:-1] if word != "<sil>"]
        expected = [phones.spelling(word).upper() for word in turn.text.split()]
        assert spoken == expected + [f"++{turn.tag}++"] * bool(turn.tag)
        phone_rows = alignment(release, dialog, turn, "phseg")[1:-2]
        edges = {int(row.split()[0]) for row in phone_rows}
        assert {int(row.split()[0]) for row in rows} <= edges


def test_syllables_are_the_phones(release: Path) -> None:
    for dialog, turn in turns():
        if not turn.aligned:
            continue
        header, *rows, nothing = alignment(release, dialog, turn, "syseg")
        assert (header, nothing) == ("\t SFrm  EFrm Syllable", "")
        assert all(SYSEG.match(row) for row in rows), turn.name
        joined = [symbol for row in rows for symbol in row.split()[2].split("_")]
        spoken = [row.split()[3] for row in alignment(release, dialog, turn, "phseg")[1:-2]]
        assert joined == [symbol for symbol in spoken if symbol in phones.VOWELS | phones.CONSONANTS]
        assert bool(rows) == bool(turn.text)


def test_the_irregularities_are_there(release: Path) -> None:
    evaluation = {dialog.name: text_lines(release, dialog, "EmoEvaluation") for dialog in DESIGN}
    everything = "\n".join(line for lines in evaluation.values() for line in lines)
    hidden = [path for path in release.rglob(".*") if path.is_file()]
    assert "._Ses01F_impro01.txt" in {path.name for path in hidden}
    assert len(re.findall(r"dom  ;", everything)) == 1
    assert re.search(rf"{NO_DOMINANCE}\t(.*\n){{1,8}}A-E4:\tval \d; act \d; dom  ;", everything)
    assert re.search(rf"{HIGH_VALENCE}\t\w{{3}}\t\[5\.5000, ", everything)
    assert re.search(rf"{LOW_DOMINANCE}\t\w{{3}}\t\[.*, 0\.5000\]", everything)
    assert "(na\xefve)" in everything
    assert LATIN1_TURN in everything
    dialogs = release / "Session2" / "dialog"
    for path in dialogs.glob(f"*/{CRLF_DIALOG}.txt"):
        assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n") > 0
    transcriptions = [line for d in DESIGN for line in text_lines(release, d, "transcriptions")]
    stray = [line for line in transcriptions if line and not TRANSCRIPT.match(line)]
    assert len([line for line in stray if re.match(r"Ses\S+_[FM]XX\d \[", line)]) == 2
    assert {"M:", "F:Umm.", "F :Here", "M: Yes."} <= set(stray)
    assert any(line.endswith("[LAUGHTER]") for line in transcriptions)
    assert any(line.rstrip().endswith("]: [BREATHING]") for line in transcriptions)
    words = "".join(path.read_text() for path in release.glob("Session*/sentences/ForcedAlignment/*/*.wdseg"))
    assert re.search(r" [A-Z]+\([23]\)\n", words)
    assert "++LAUGHTER++" in words
    assert {"Ses03M_impro05a", "Ses05M_script01_1", "Ses05M_script01_1b"} <= evaluation.keys()


def test_dialog_recordings(release: Path) -> None:
    for dialog in DESIGN:
        path = release / dialog.folder / "dialog/wav" / f"{dialog.name}.wav"
        with wave.open(str(path), "rb") as stream:
            assert (stream.getframerate(), stream.getnchannels(), stream.getsampwidth()) == (16000, 2, 2)
            samples = np.frombuffer(stream.readframes(stream.getnframes()), "<i2").reshape(-1, 2)
        times = next(SUMMARY.match(line) for line in text_lines(release, dialog, "EmoEvaluation")[2:])
        assert times is not None
        start, end = float(times[1]) + 0.45, float(times[2]) - 0.45  # turns overlap by up to 0.4 s
        part = samples[int(start * 16000) : int(end * 16000)].astype(float)
        energy = (part**2).sum(axis=0)
        loud = int(np.argmax(energy))
        assert energy[loud] > 20 * energy[1 - loud]
        assert loud == "FM".index(times[3][-4])


def test_it_is_prepared_as_iemocap_is(release: Path) -> None:
    supervisions = {item.id: item for item in prepare_iemocap(release)["supervisions"]}
    assert len(supervisions) == sum(1 for _ in turns())
    for dialog, turn in turns():
        item = supervisions[turn.name]
        assert item.custom["emotion"] == turn.label
        assert item.custom["session"] == str(dialog.session)
        assert item.custom["style"] == ("improvised" if "impro" in dialog.name else "scripted")
        assert item.custom["tags"] == ([turn.tag] if turn.tag else [])
        assert item.speaker == f"Ses{turn.speaker[:2]}_{turn.speaker[2]}"
        assert item.text == turn.text
        assert bool(item.alignment) == turn.aligned


@pytest.mark.slow
def test_a_finished_one_is_left_alone_and_another_replaced(
    release: Path, options: tuple[str, ...], tmp_path: Path
) -> None:
    if options[1] != "formant":
        pytest.skip("does not depend on the engine")
    out = tmp_path / "mini"
    shutil.copytree(release, out)
    state = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = make(out, *options, "--num-jobs", "1")
    assert again.returncode == 0
    assert again.stderr.endswith(f"{out}: is made already\n")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == state
    assert make(out, "--engine", "formant", "--seed", "5").returncode == 0
    before, after = content(release), content(out)
    wav = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert before[wav] != after[wav]
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


def test_what_is_no_mini_corpus_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "iemocap"
    (out / "Session1").mkdir(parents=True)
    done = make(out, "--engine", "formant")
    assert done.returncode == 1
    assert done.stderr == (
        f"ser: error: {out}: exists and is no mini corpus; remove it, or choose another folder\n"
    )
    assert [path.name for path in out.iterdir()] == ["Session1"]


@pytest.mark.parametrize("options", [("--scale", "0.05"), ("--num-jobs", "0"), ("--seed", "-1")])
def test_numbers_out_of_range(options: tuple[str, str], tmp_path: Path) -> None:
    done = make(tmp_path / "mini", *options)
    assert done.returncode == 2
    assert "scale must lie between 0.1 and 50.0, num-jobs be 1 or more, seed 0 or more" in done.stderr
    assert not list(tmp_path.iterdir())


NOT_INSTALLED = "raise ImportError"
NOT_LOADABLE = "def get_library_path(): return '/no/such/library.so'\ndef get_data_path(): return '/no/such'"


@pytest.mark.slow
def test_without_espeak_formants_speak(tmp_path: Path) -> None:
    (tmp_path / "espeakng_loader.py").write_text(NOT_INSTALLED, encoding="ascii")
    done = make(tmp_path / "mini", "--engine", "auto", FIRST=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = [line.partition(" ")[2] for line in done.stderr.splitlines()]
    assert told == [
        "espeak-ng is not used (the package espeakng-loader is not installed); "
        "the formant engine speaks instead",
        "made 80 turns, 3.6 minutes, with formant 1",
    ]
    assert '"engine": "formant 1"' in (tmp_path / "mini/made.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("stub", "reason"),
    [
        (NOT_INSTALLED, "the package espeakng-loader is not installed"),
        (NOT_LOADABLE, "the library does not load (/no/such/library.so: cannot open"),
    ],
)
def test_espeak_that_was_asked_for_and_does_not_run(stub: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "espeakng_loader.py").write_text(stub, encoding="ascii")
    done = make(tmp_path / "mini", "--engine", "espeak", FIRST=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"ser: error: espeak: {reason}")
    assert done.stderr.endswith("; install the extra 'mini', or use the engine formant\n")
    assert not (tmp_path / "mini").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_stopped_in_the_middle_leaves_no_half_corpus(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    out, part = tmp_path / "mini", tmp_path / ".mini.part"
    command = [sys.executable, "-m", "ser", "make_mini_corpus", "--engine", "formant", str(out)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    interruptible = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # even in the background
    with subprocess.Popen(
        command, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as process:
        deadline = time.monotonic() + 60
        while not list(part.glob("Session*/sentences/wav/*/*.wav")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(sent)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert not out.exists()
    if sent is not signal.SIGKILL:
        assert not list(tmp_path.iterdir())
        assert len(told.splitlines()) == 1
        return
    done = make(out, "--engine", "formant")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]
    wavs = {path.stem for path in out.glob("Session*/sentences/wav/*/[!.]*.wav")}
    assert wavs == {turn.name for _, turn in turns()}, "nothing is left of the first attempt"
