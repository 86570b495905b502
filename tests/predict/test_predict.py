"""``ser predict``: every kind of input becomes the same lines; what is refused, told, and left out."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.errors import DataError, UsageError
from ser.predict.model import load
from ser.verbs import predict
from tests.predict.trained import REPO, make_model

RATE = 16000
Row = dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, and recordings of two speakers in folders of theirs."""
    top = tmp_path_factory.mktemp("predict")
    make_model(top / "global")
    make_model(top / "speaker", "blstmatt", "speaker")
    for speaker in range(2):
        (top / f"wav/s{speaker}").mkdir(parents=True)
        for number in range(6):
            rng = np.random.default_rng(100 * speaker + number)
            seconds = rng.uniform(0.5, 2.5)
            tone = np.sin(2 * np.pi * rng.uniform(100, 2000) * np.arange(round(seconds * RATE)) / RATE)
            wave = (0.2 * tone + rng.normal(0, 0.03 + 0.1 * speaker, len(tone))).clip(-1, 1)
            soundfile.write(top / f"wav/s{speaker}/s{speaker}_{number}.wav", wave, RATE)
    return top


@pytest.fixture(autouse=True)
def _place(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(folder)


def read(text: str) -> list[Row]:
    head, *lines = (line.split("\t") for line in text.splitlines())
    return [dict(zip(head, line, strict=True)) for line in lines]


class Verb:
    """Runs the verb in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *args: str) -> list[Row]:
        self.capsys.readouterr()
        assert predict.main(list(args)) == 0
        text = self.capsys.readouterr().out
        return read(text) if text else []


@pytest.fixture
def verb(capsys: pytest.CaptureFixture[str]) -> Verb:
    """What it prints, line by line."""
    return Verb(capsys)


def posteriors(rows: Sequence[Row]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[float(row[f"p_{name}"]) for name in ("ang", "hap", "neu", "sad")] for row in rows])


def refusal(*args: str) -> str:
    with pytest.raises((DataError, UsageError)) as error:
        predict.main(list(args))
    return str(error.value)


# --------------------------------------------------------------------------------------------- what comes out


def test_lines_of_a_folder(verb: Verb, caplog: pytest.LogCaptureFixture) -> None:
    rows = verb("global", "wav")
    assert caplog.messages == ["normalisation: by the statistics of what the model was trained on"]
    assert [row["file"] for row in rows] == [f"wav/s{s}/s{s}_{n}.wav" for s in range(2) for n in range(6)]
    values = posteriors(rows)
    assert np.abs(values.sum(axis=1) - 1).max() < 3e-7
    assert np.ptp(values, axis=0).min() > 0.01  # the model tells them apart
    model = load("global")
    for row, own in zip(rows, values, strict=True):
        result = model.predict(row["file"])
        assert np.abs(own - result.posterior).max() <= 1e-6
        assert row["emotion"] == result.emotion
        assert float(row["confidence"]) == pytest.approx(result.confidence, abs=1e-6)
        assert row["start"] == "0.0"
        assert float(row["end"]) == pytest.approx(soundfile.info(row["file"]).frames / RATE, abs=1e-6)
        assert row["notes"] == ""


def test_the_table_is_the_same_whatever_the_order_and_number(verb: Verb) -> None:
    for model, *options in (("global",), ("speaker", "--speaker-of", "file")):
        rows = verb(model, "wav", *options)
        files = [row["file"] for row in rows]
        backwards = verb(model, *files[::-1], *options)[::-1]
        alone = [verb(model, file, *options)[0] for file in files]
        for other in (backwards, alone):
            assert [row["file"] for row in other] == files
            assert np.abs(posteriors(other) - posteriors(rows)).max() <= 1e-6


def test_every_kind_of_input_is_the_same_audio(verb: Verb, folder: Path, tmp_path: Path) -> None:
    expected = verb("global", "wav")
    files = [folder / row["file"] for row in expected]
    (tmp_path / "wav.scp").write_text("".join(f"{file.stem} {file}\n" for file in files))
    (tmp_path / "table.csv").write_text("path\n" + "".join(f"{file}\n" for file in files))
    whole = np.concatenate([soundfile.read(file, dtype="int16")[0] for file in files])
    soundfile.write(tmp_path / "all.flac", whole, RATE)
    ends = np.cumsum([soundfile.info(file).frames for file in files]) / RATE
    starts = [0.0, *ends[:-1]]
    lines = [f"all.flac,{start:.6f},{end:.6f}" for start, end in zip(starts, ends, strict=True)]
    (tmp_path / "parts.csv").write_text("\n".join(["path,start,end", *lines, ""]))
    for name in ("wav.scp", "table.csv", "parts.csv"):
        rows = verb("global", str(tmp_path / name))
        assert np.abs(posteriors(rows) - posteriors(expected)).max() <= 1e-6, name
    assert [float(row["start"]) for row in rows] == pytest.approx(starts, abs=1e-6)
    assert {row["file"] for row in rows} == {str(tmp_path / "all.flac")}


def test_formats_and_files_say_the_same(
    verb: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = verb("global", "wav")
    for kind in ("tsv", "csv", "jsonl"):
        assert verb("global", "wav", "--format", kind, "--out", str(tmp_path / kind)) == []
    assert read((tmp_path / "tsv").read_text()) == rows
    assert (tmp_path / "csv").read_text().replace(",", "\t") == (tmp_path / "tsv").read_text()
    records = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    assert [[f"{value:.7f}" for value in record["posterior"].values()] for record in records] == [
        [row[f"p_{name}"] for name in ("ang", "hap", "neu", "sad")] for row in rows
    ]
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_recording_by_pipe(verb: Verb, folder: Path) -> None:
    """As a user does it: standard output has the table and nothing else."""
    (expected,) = verb("global", "wav/s0/s0_3.wav")
    command = [sys.executable, "-m", "ser", "predict", "global", "-"]
    with open("wav/s0/s0_3.wav", "rb") as stream:
        done = subprocess.run(
            command,
            stdin=stream,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    (row,) = read(done.stdout)
    assert row["file"] == "-"
    assert np.abs(posteriors([row]) - posteriors([expected])).max() <= 1e-6
    assert (
        done.stderr.split(" ", 1)[1] == "normalisation: by the statistics of what the model was trained on\n"
    )


def test_a_long_recording_is_cut_at_its_pauses(
    verb: Verb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its pieces are what a table of just these parts gives; times are those of the recording."""
    parts = []
    for number in range(8):
        wave, _ = soundfile.read(f"wav/s0/s0_{number % 6}.wav")
        parts += [np.zeros(RATE), np.tile(wave, 3)]
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate(parts), RATE)
    rows = verb("global", str(path), "--out", str(tmp_path / "cut.tsv")) or read(
        (tmp_path / "cut.tsv").read_text()
    )
    assert caplog.messages[1:] == ["1 recording (longer than 30 s) cut by speech activity into 8 pieces"]
    starts = np.cumsum([0, *(len(part) for part in parts)])[1::2] / RATE
    assert np.abs([float(row["start"]) for row in rows] - starts).max() < 0.15
    again = verb("global", str(tmp_path / "cut.tsv"), "--segments", "whole")
    assert np.abs(posteriors(again) - posteriors(rows)).max() <= 1e-6
    windows = verb("global", str(path), "--segments", "2.5")
    assert [row["start"] for row in windows[:3]] == ["0.0", "2.5", "5.0"]


# ---------------------------------------------------------------------------------------------- who speaks


def test_who_speaks_matters_and_is_said(verb: Verb, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    by_folder = verb("speaker", "wav", "--speaker-of", "folder")
    assert (
        "normalisation: by the statistics of each speaker; 2 speakers, by --speaker-of folder" in caplog.text
    )
    (tmp_path / "utt2spk").write_text("".join(f"s{s}_{n} x{s}\n" for s in range(2) for n in range(6)))
    (tmp_path / "who.csv").write_text(
        "file,speaker\n" + "".join(f"wav/s{s}/s{s}_{n}.wav,x{s}\n" for s in range(2) for n in range(6))
    )
    for table in ("utt2spk", "who.csv"):
        assert verb("speaker", "wav", "--speakers", str(tmp_path / table)) == by_folder
    for other in ("file", "all"):
        rows = verb("speaker", "wav", "--speaker-of", other)
        assert np.abs(posteriors(rows) - posteriors(by_folder)).max() > 0.01


def test_a_model_that_needs_speakers_asks(tmp_path: Path) -> None:
    assert refusal("speaker", "wav") == (
        "speaker: normalises the features of each speaker by all that each says; say who speaks: --speakers "
        "TABLE (columns file and speaker, or utt2spk), --speaker-of file (each file a speaker of its own), "
        "folder (each folder a speaker) or all (one speaker)"
    )
    table = tmp_path / "utt2spk"
    table.write_text("s0_0 anna\ns0_1 anna\n")
    assert refusal("speaker", "wav", "--speakers", str(table)) == (
        f"--speakers {table}: names no speaker of 10 of 12 recordings (wav/s0/s0_2.wav, wav/s0/s0_3.wav, "
        "wav/s0/s0_4.wav, ...); add them, or leave the recordings out"
    )


def test_a_statement_that_is_not_needed_is_named(verb: Verb, caplog: pytest.LogCaptureFixture) -> None:
    verb("global", "wav", "--speaker-of", "all")
    assert caplog.messages[0] == "--speaker-of is not used: the model does not ask who speaks"


def test_too_little_audio_of_a_speaker_is_warned_of(verb: Verb, caplog: pytest.LogCaptureFixture) -> None:
    rows = verb("speaker", "wav/s0/s0_0.wav", "--speaker-of", "all")
    assert any("1 of 1 speaker says too little to be normalised by" in text for text in caplog.messages)
    assert "statistics of 1 piece, fewer than 8" in rows[0]["notes"]  # what is pooled of it counts, too


# ------------------------------------------------------------------------------------------------ bad input


def test_a_table_without_lines_is_no_table_with_what_could_be_used(tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(b"no audio")
    assert refusal("global", str(tmp_path)) == (
        "1 of 1 recording could not be used, as said above; the table has none"
    )


def test_bad_recordings_are_named_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "z"):
        os.link("wav/s0/s0_0.wav", tmp_path / f"{name}.wav")
    (tmp_path / "b.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "c.wav", np.full(100, 0.1), RATE)
    loud = np.random.default_rng(0).normal(0, 1e30, 8000)
    soundfile.write(tmp_path / "d.wav", loud, RATE, subtype="DOUBLE")
    soundfile.write(tmp_path / "e.wav", np.random.default_rng(0).normal(0, 0.1, 1600), RATE)
    out, remedy = tmp_path / "out.tsv", "replace it, or leave it out"
    for options in (["global"], ["speaker", "--speaker-of", "all"]):
        caplog.clear()
        assert refusal(*options, str(tmp_path), "--out", str(out)) == (
            "3 of 6 recordings could not be used, as said above; what could be is in the table"
        )
        rows = read(out.read_text())
        assert [Path(row["file"]).name for row in rows] == ["a.wav", "e.wav", "z.wav"]
        if options == ["global"]:
            assert rows[1]["notes"] == "shorter than the context, padded (8 frames, context 30)"
        told = [
            text for text in caplog.messages if "; replace it, or leave it out" in text or "silent" in text
        ]
        assert told == [
            f"{tmp_path}/b.wav: is no audio that can be read (Format not recognised); {remedy}",
            f"{tmp_path}/c.wav: is silent, all of its samples are the same; check the channel (--channel)",
            f"{tmp_path}/d.wav: has samples far beyond 1, its energies are infinite; {remedy}",
        ]
        out.unlink()
    assert refusal("global", str(tmp_path), "--strict", "--out", str(out)) == told[0]
    assert not out.exists()
    assert capsys.readouterr().out == ""


def test_options_are_checked_first() -> None:
    assert refusal("global", "wav", "--segments", "x") == (
        "--segments must be auto, vad, whole or seconds from 0.1 to 86400, got x"
    )
    assert refusal("global", "wav", "--channel", "left") == (
        "--channel must be a number from 0, several such as 1,0, or mix, got left"
    )
    assert refusal("global") == "name recordings behind the model global: files, folders, a table, or -"
