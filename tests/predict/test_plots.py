"""Figures of recordings: true times, nothing touches, the same twice, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="utils/install.sh --extra interpret is not done")

from ser.predict.plots import FORMATS, draw_recording, save_recording
from ser.predict.recordings import Recording
from ser.predict.spoken import Symbol, Tiers
from ser.predict.views import FIGURE_FORMATS
from ser.reporting.colours import SERIES
from tests.interpret.test_plots import overlapping
from tests.predict.heard import EMOTIONS, HOSTILE, recordings, spoken

TIERS: Tiers = {
    "word": [Symbol(f"word{i}", 10 + 0.5 * i, 10.4 + 0.5 * i) for i in range(8)],
    "phone": [Symbol("abc"[i % 3], 10 + 0.1 * i, 10.1 + 0.1 * i) for i in range(40)],
}


@pytest.fixture
def recording() -> Recording:
    return recordings(spoken("talk.wav", 4, 1, start_s=10))[0]


def test_all_formats_are_known() -> None:
    assert FORMATS == FIGURE_FORMATS


def test_everything_stands_at_its_time(recording: Recording) -> None:
    figure = draw_recording(recording, TIERS)
    waveform, track, attention, words, phones = figure.axes
    assert {axis.get_xlim() for axis in figure.axes} == {(10.0, 14.0)}
    assert recording.track is not None
    middles = (recording.track.start_s + recording.track.end_s) / 2
    areas = track.collections
    assert len(areas) == len(EMOTIONS)
    for index, area in enumerate(areas):
        corners = area.get_paths()[0].vertices
        top = recording.track.posteriors[:, : index + 1].sum(axis=1)
        for time, value in zip(middles, top, strict=True):
            assert np.abs(corners - [time, value]).max(axis=1).min() < 1e-6
        red, green, blue = (int(SERIES["light"][index][at : at + 2], 16) / 255 for at in (1, 3, 5))
        assert area.get_facecolor()[0][:3] == pytest.approx((red, green, blue))
    [line] = [each for each in attention.lines if len(each.get_xdata()) > 2]
    np.testing.assert_allclose(line.get_xdata(), 10.0125 + 0.01 * np.arange(398))
    assert [patch.get_x() for patch in words.patches] == pytest.approx([10 + 0.5 * i for i in range(8)])
    assert len(phones.patches) == 40
    loud = waveform.collections[0].get_paths()[0].vertices
    beeps = loud[np.abs(loud[:, 1]) > 0.2, 0]
    assert beeps.min() == pytest.approx(10.1, abs=0.005)
    assert beeps.max() == pytest.approx(12.2, abs=0.005)


@pytest.mark.parametrize("tiers", [{}, TIERS])
def test_nothing_touches(recording: Recording, tiers: Tiers) -> None:
    assert overlapping(draw_recording(recording, tiers)) == []


def test_gaps_and_names_of_any_kind() -> None:
    """Pieces leave gaps, names are no formulas, and neither attention nor words are needed."""
    pieces = [spoken(f"$x_{{{HOSTILE}\n", 3, seed, start_s=20.0 * seed) for seed in range(3)]
    [made] = recordings(*pieces)
    figure = draw_recording(made, {})
    assert len(figure.axes[1].collections) == 3 * len(EMOTIONS)
    assert overlapping(figure) == []
    title = figure.texts[0]
    assert len(title.get_text()) <= 110
    assert "\n" not in title.get_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_formats_and_the_same_bytes_twice(recording: Recording, tmp_path: Path, kind: str) -> None:
    paths = [tmp_path / f"{name}/talk.v1.{kind}" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        save_recording(draw_recording(recording, TIERS), path)
    one, two = (path.read_bytes() for path in paths)
    assert one == two
    assert one.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
