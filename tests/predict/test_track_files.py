"""Files of tracks, read back by what they are for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ser.predict.result import Track
from ser.predict.track import intervals
from ser.predict.track_files import KINDS, suffix, write_track

EMOTIONS = ("anger", "neutral", "sadness")
DURATION_S = 16.3


@pytest.fixture
def track() -> Track:
    start = np.concatenate([0.0075 + 0.1 * np.arange(60), 9.0075 + 0.1 * np.arange(60)])
    posteriors = np.random.default_rng(3).dirichlet(np.full(3, 0.3), 120)
    return Track(start, start + 0.3, posteriors)


def write(folder: Path, kind: str, track: Track) -> Path:
    path = folder / f"talk{suffix(kind)}"
    write_track(path, kind, track, EMOTIONS, DURATION_S)
    return path


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl"])
def test_tables_hold_every_window(tmp_path: Path, track: Track, kind: str) -> None:
    path = write(tmp_path, kind, track)
    if kind == "jsonl":
        records = [json.loads(line) for line in path.read_text().splitlines()]
        rows = [[r["start"], r["end"], *(r["posterior"][name] for name in EMOTIONS)] for r in records]
        emotions = [record["emotion"] for record in records]
    else:
        with path.open(newline="") as stream:
            head, *lines = csv.reader(stream, delimiter="\t" if kind == "tsv" else ",")
        assert head == ["start", "end", "emotion", "p_anger", "p_neutral", "p_sadness"]
        rows = [[float(cell) for cell in (*line[:2], *line[3:])] for line in lines]
        emotions = [line[2] for line in lines]
    values = np.array(rows)
    np.testing.assert_allclose(values[:, 0], track.start_s, rtol=0, atol=5e-7)
    np.testing.assert_allclose(values[:, 1], track.end_s, rtol=0, atol=5e-7)
    np.testing.assert_allclose(values[:, 2:], track.posteriors, rtol=0, atol=5.1e-8)
    assert emotions == [EMOTIONS[index] for index in track.posteriors.argmax(axis=1)]


def test_praat_reads_the_intervals(tmp_path: Path, track: Track) -> None:
    pytest.importorskip("praatio", reason="utils/install.sh --extra interpret is not done")
    from praatio import textgrid

    grid = textgrid.openTextgrid(str(write(tmp_path, "textgrid", track)), includeEmptyIntervals=True)
    assert grid.tierNames == ("emotion",)
    assert (grid.minTimestamp, grid.maxTimestamp) == (0, DURATION_S)
    entries = grid.getTier("emotion").entries
    assert [entry.start for entry in entries[1:]] == [entry.end for entry in entries[:-1]]  # all of the time
    expected = intervals(track, EMOTIONS)
    named = [entry for entry in entries if entry.label]
    assert [entry.label for entry in named] == [each.emotion for each in expected]
    times = [(entry.start, entry.end) for entry in named]
    np.testing.assert_allclose(times, [(each.start_s, each.end_s) for each in expected], rtol=0, atol=1e-6)
    gaps = [(entry.start, entry.end) for entry in entries if not entry.label]
    np.testing.assert_allclose(gaps, [(0, 0.0075), (6.2075, 9.0075), (15.2075, DURATION_S)], atol=1e-6)


def test_audacity_reads_the_labels(tmp_path: Path, track: Track) -> None:
    lines = [line.split("\t") for line in write(tmp_path, "audacity", track).read_text().splitlines()]
    expected = intervals(track, EMOTIONS)
    assert [line[2] for line in lines] == [f"{each.emotion} {each.probability:.2f}" for each in expected]
    times = [(float(line[0]), float(line[1])) for line in lines]
    np.testing.assert_allclose(times, [(each.start_s, each.end_s) for each in expected], rtol=0, atol=1e-6)


def test_elan_reads_the_annotations(tmp_path: Path, track: Track) -> None:
    """A tier's annotations share no time, to the millisecond that ELAN counts in."""
    with write(tmp_path, "elan", track).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = intervals(track, EMOTIONS)
    assert {row["tier"] for row in rows} == {"emotion"}
    assert [row["annotation"] for row in rows] == [each.emotion for each in expected]
    times = np.array([(float(row["begin"]), float(row["end"])) for row in rows])
    np.testing.assert_allclose(times, [(each.start_s, each.end_s) for each in expected], rtol=0, atol=5.1e-4)
    assert (times[1:, 0] >= times[:-1, 1]).all()
    assert (times[:, 1] > times[:, 0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_track_of_no_window_is_a_file_without_rows(tmp_path: Path, kind: str) -> None:
    if kind == "textgrid":
        pytest.importorskip("praatio", reason="utils/install.sh --extra interpret is not done")
    path = write(tmp_path, kind, Track(np.zeros(0), np.zeros(0), np.zeros((0, 3))))
    text = path.read_text()
    assert len(text.splitlines()) <= (1 if kind != "textgrid" else 20)
