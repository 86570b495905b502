"""Tables of results: their text, to the byte, and that they read back."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from ser.errors import DataError
from ser.predict.result import Result
from ser.predict.result_tables import TableFormat, open_results

EMOTIONS = ("ang", "neu")
RESULTS = [
    Result("a.wav", "s", 0.0, 1.2345, EMOTIONS, np.array([0.12345674, 0.87654326])),
    Result(
        'b "x"\ty,z\x1b[2J.wav',
        "s",
        3599.999625,
        3601.0,
        EMOTIONS,
        np.array([1.0, 0.0]),
        np.array([0.75, 0.25]),
        notes=("padded", "sampled at 8000 Hz"),
    ),
]


def write(out: Path, kind: TableFormat) -> str:
    with open_results(out, kind, EMOTIONS) as put:
        for result in RESULTS:
            put(result)
    return out.read_text(encoding="utf-8")


def test_tsv(tmp_path: Path) -> None:
    assert write(tmp_path / "x", "tsv") == (
        "file\tstart\tend\temotion\tp_ang\tp_neu\tconfidence\tnotes\n"
        "a.wav\t0.0\t1.2345\tneu\t0.1234567\t0.8765433\t0.8765433\t\n"
        '"b ""x""\ty,z\\x1b[2J.wav"\t3599.999625\t3601.0\tang\t1.0000000\t0.0000000\t0.7500000\t'
        "padded; sampled at 8000 Hz\n"
    )


def test_csv_reads_back(tmp_path: Path) -> None:
    first, second = csv.DictReader(io.StringIO(write(tmp_path / "x", "csv")))
    assert first["file"] == "a.wav"
    assert second["file"] == 'b "x"\ty,z\\x1b[2J.wav'
    assert second["confidence"] == "0.7500000"


def test_jsonl_keeps_names_exactly(tmp_path: Path) -> None:
    first, second = map(json.loads, write(tmp_path / "x", "jsonl").splitlines())
    assert first == {
        "file": "a.wav",
        "start": 0.0,
        "end": 1.2345,
        "emotion": "neu",
        "posterior": {"ang": 0.1234567, "neu": 0.8765433},
        "confidence": 0.8765433,
        "notes": [],
    }
    assert second["file"] == RESULTS[1].source
    assert second["notes"] == ["padded", "sampled at 8000 Hz"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "x.tsv"
    out.write_text("before\n")

    def stopped() -> None:
        with open_results(out, "tsv", EMOTIONS) as put:
            put(RESULTS[0])
            raise DataError("x: stopped; go on")

    with pytest.raises(DataError):
        stopped()
    assert out.read_text() == "before\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.tsv"]


def test_lines_on_standard_output_are_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    stream = Counted()
    monkeypatch.setattr("sys.stdout", stream)
    with open_results(None, "tsv", EMOTIONS) as put:
        put(RESULTS[0])
        assert stream.flushed.count("\n") == 2
