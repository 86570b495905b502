"""Levels against signals whose levels are known, and what is measured again."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.data import levels
from ser.data.levels import Level, Piece, measure, measure_all
from ser.errors import DataError

RATE = 16000
COPY = "copy it again from the release"
NOISE = np.random.default_rng(0).integers(-3000, 3000, 8000, np.int16)


def write(path: Path, samples: object, subtype: str = "PCM_16", rate_hz: int = RATE) -> Piece:
    soundfile.write(path, samples, rate_hz, subtype)
    return Piece(str(path))


def square(amplitude: float, mean: float = 0.0) -> np.ndarray:
    return mean + amplitude * np.where(np.arange(8000) % 20 < 10, 1.0, -1.0)


@pytest.mark.parametrize(
    ("samples", "peak_dbfs", "rms_dbfs"),
    [
        pytest.param(square(0.5), -6.02, -6.02, id="square"),
        pytest.param(square(1 / 128), -42.14, -42.14, id="quiet"),
        pytest.param(square(0.25, mean=0.5), -2.50, -12.04, id="its mean is no sound"),
        pytest.param(np.full(8000, 0.25), -12.04, -math.inf, id="constant"),
        pytest.param(np.zeros(8000), -math.inf, -math.inf, id="zero"),
    ],
)
def test_levels_of_known_signals(
    tmp_path: Path, samples: np.ndarray, peak_dbfs: float, rms_dbfs: float
) -> None:
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        level = measure(write(tmp_path / f"{subtype}.wav", samples, subtype))
        assert level.peak_dbfs == pytest.approx(peak_dbfs, abs=0.011)
        assert level.rms_dbfs == pytest.approx(rms_dbfs, abs=0.011)
        assert level[:4] == (RATE, 1, f"WAV {subtype}", 8000)
        assert level.duration_s == 0.5
        assert (level.other_rms_dbfs, level.num_clipped) == (-math.inf, 0)


@pytest.mark.parametrize("block", [1 << 18, 5])
def test_clipped_samples_stand_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """A peak at full scale is no clipping; where a block ends does not matter."""
    monkeypatch.setattr(levels, "_BLOCK", block)
    samples = np.zeros(40, np.int16)
    samples[[2, 10, 11]] = 32767  # one alone, and two
    samples[3] = -32768
    assert measure(write(tmp_path / "no.wav", samples)).num_clipped == 0
    samples[[14, 15, 16]] = -32768
    samples[20:26] = 32767
    level = measure(write(tmp_path / "yes.wav", samples))
    assert level.num_clipped == 3 + 6
    assert level.peak_dbfs == 0.0
    assert level == measure(Piece(str(tmp_path / "yes.wav")))


def test_the_same_audio_has_one_digest_under_any_header(tmp_path: Path) -> None:
    shares = NOISE / 32768
    same = [
        write(tmp_path / "a.wav", NOISE),
        write(tmp_path / "b.flac", NOISE),
        write(tmp_path / "c.wav", shares, "FLOAT"),
        write(tmp_path / "d.wav", shares, "PCM_24"),
        write(tmp_path / "e.wav", NOISE, rate_hz=8000),
        write(tmp_path / "f.wav", np.stack([NOISE[::-1], NOISE], 1))._replace(channel="1"),
        write(tmp_path / "g.wav", np.concatenate([NOISE[:800], NOISE, NOISE[:80]]))._replace(
            start_s=0.05, end_s=0.55
        ),
    ]
    assert len({measure(piece).digest for piece in same}) == 1
    other = NOISE.copy()
    other[4000] += 1
    assert measure(write(tmp_path / "h.wav", other)).digest != measure(same[0]).digest


def test_the_other_channels_are_heard_too(tmp_path: Path) -> None:
    both = np.stack([np.zeros(8000), square(0.1), square(0.5)], 1)
    piece = write(tmp_path / "a.wav", both)
    first, second = (measure(piece._replace(channel=choice)) for choice in ("[3, 0]", "1"))
    assert (first.num_channels, first.rms_dbfs, first.other_rms_dbfs) == (3, -math.inf, -6.02)
    assert (second.rms_dbfs, second.other_rms_dbfs) == (-20.0, -6.02)


def test_the_mean_of_all_channels_is_measured(tmp_path: Path) -> None:
    mixed = measure(write(tmp_path / "a.wav", np.stack([NOISE, NOISE], 1))._replace(channel='"mix"'))
    alone = measure(write(tmp_path / "b.wav", NOISE))
    assert mixed == alone._replace(num_channels=2)
    against = measure(write(tmp_path / "c.wav", np.stack([NOISE, -NOISE], 1))._replace(channel='"mix"'))
    assert (against.peak_dbfs, against.rms_dbfs, against.other_rms_dbfs) == (-math.inf,) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"channel": "1"},
            ": has 1 channel, so there is no channel 1; set audio.channel to [1, 0] to take 0 of such a one",
        ),
        (
            {"start_s": 0.25, "end_s": 0.55},
            " (0.25 to 0.55 s): is not in its recording, which lasts 0.5 s; correct the times",
        ),
        ({"start_s": 2.0}, " (2 to the end): is not in its recording, which lasts 0.5 s; correct the times"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    piece = write(tmp_path / "a.wav", NOISE)._replace(**change)
    with pytest.raises(DataError) as error:
        measure(piece)
    assert str(error.value) == f"{tmp_path}/a.wav{message}"


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    piece = write(tmp_path / "a.wav", np.array([0.0, math.nan, 0.5]), "FLOAT")
    with pytest.raises(DataError) as error:
        measure(piece)
    assert str(error.value) == f"{tmp_path}/a.wav: has samples that are NaN or infinite; {COPY}"


# ---------------------------------------------------------------------------------------- what is kept


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []

    def spied(piece: Piece) -> Level:
        names.append(Path(piece.path).name)
        return measure(piece)

    monkeypatch.setattr(levels, "measure", spied)
    return names


def test_only_what_changed_is_read_again(tmp_path: Path, read: list[str]) -> None:
    table = tmp_path / "levels.tsv"
    pieces = [write(tmp_path / f"{name}.wav", NOISE[start:]) for start, name in enumerate("abc")]
    first = measure_all(pieces, table, 2)
    assert sorted(read) == ["a.wav", "b.wav", "c.wav"]
    assert [level.num_samples for level in first] == [8000, 7999, 7998]
    stamp = table.stat().st_mtime_ns
    assert measure_all(pieces[::-1], table) == first[::-1]
    assert measure_all(pieces[:1], table) == first[:1]
    assert (len(read), table.stat().st_mtime_ns) == (3, stamp)
    write(tmp_path / "b.wav", NOISE[:100])
    (tmp_path / "c.wav").unlink()  # does not count as changed
    again = measure_all(pieces, table)
    assert read[3:] == ["b.wav"]
    assert [level.num_samples for level in again] == [8000, 100, 7998]
    part = pieces[0]._replace(start_s=0.1, end_s=0.1 + 1 / 3)
    assert measure_all([part, part], table)[1].num_samples == 5333
    assert measure_all([*pieces, part], table) == [*again, measure(part)]
    assert read[4:] == ["a.wav"]


def test_a_table_of_another_version_is_made_anew(tmp_path: Path, read: list[str]) -> None:
    table = tmp_path / "levels.tsv"
    piece = write(tmp_path / "a.wav", NOISE)
    table.write_text("path\tloudness\nx\t1\n")
    measured = measure_all([piece], table)
    assert measure_all([piece], table) == measured
    assert read == ["a.wav"]
    table.write_text("\n".join([table.read_text().splitlines()[0], "a.wav\t0"]))
    with pytest.raises(DataError, match=r"levels\.tsv: is damaged \(.*\); remove it$"):
        measure_all([piece], table)


def test_a_name_that_breaks_lines_is_read_every_time(tmp_path: Path, read: list[str]) -> None:
    pieces = [write(tmp_path / name, NOISE) for name in ("a\tb.wav", "c.wav")]
    assert measure_all(pieces, tmp_path / "levels.tsv") == measure_all(pieces, tmp_path / "levels.tsv")
    assert sorted(read) == ["a\tb.wav", "a\tb.wav", "c.wav"]


def test_all_faults_in_one_message(tmp_path: Path) -> None:
    cut = write(tmp_path / "cut.wav", NOISE)
    os.truncate(cut.path, 8000)
    gone = Piece(str(tmp_path / "gone.wav"))
    good = write(tmp_path / "good.wav", NOISE)
    with pytest.raises(DataError) as error:
        measure_all([good, gone, cut, gone], tmp_path / "levels.tsv")
    assert str(error.value).splitlines() == [
        f"{tmp_path}/cut.wav: is cut short, its header says that it is longer; {COPY}",
        f"{tmp_path}/gone.wav: no such file; {COPY}",
    ]
    assert not (tmp_path / "levels.tsv").exists()
