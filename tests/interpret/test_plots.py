"""Figures: nothing touches, nothing needs colour, the same twice."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="utils/install.sh --extra interpret is not done")

from matplotlib.figure import Figure
from matplotlib.text import Text

from ser.config import load
from ser.errors import ConfigError
from ser.interpret import plots, table_plots
from ser.interpret.masking import CONDITIONS, GradientStat, MaskingStat
from ser.interpret.plots import Panel, Spoken
from ser.interpret.statistics import VowelConsonant


def panel(seed: int, phones: int = 40, seconds: float = 3.0, mel: bool = False) -> Panel:
    random = np.random.default_rng(seed)
    ends = np.sort(random.uniform(0, seconds, phones - 1))
    edges = [0.0, *ends.tolist(), seconds]
    symbols, kinds = (
        ["AXR", "t", "IY", "SH", "", "+LAUGHTER+"],
        ["vowel", "consonant", "vowel", "consonant", "silence", "filler"],
    )
    spoken = [
        Spoken(symbols[i % 6], kinds[i % 6], a, b)
        for i, (a, b) in enumerate(zip(edges, edges[1:], strict=False))
    ]
    words = [Spoken(f"WORD{i}", "word", edges[i], edges[i + 4]) for i in range(0, phones - 4, 4)]
    frames = int(seconds * 100)
    return Panel(
        f"u{seed}: ang, decided hap (wrong)\nang 0.10  hap 0.80  neu 0.05  sad 0.05", 0.0, seconds,
        random.lognormal(0, 0.5, (frames, 3)), 0.01, 0.0125, spoken, words,
        None if mel else random.normal(size=int(seconds * 16000)), 16000,
        random.normal(size=(frames, 23)), "align_fbank",
    )  # fmt: skip


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than a hair."""
    figure.canvas.draw()
    unseen = {
        id(tick.label1)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }  # matplotlib has labels of ticks beyond the limits, which it does not draw
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in unseen
    ]
    pairs = []
    for (one, a), (two, b) in combinations(boxes, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        if width > 0.5 and height > 1.5:
            pairs.append((one, two))
    return pairs


@pytest.mark.parametrize(("phones", "seconds"), [(8, 1.0), (30, 2.0), (95, 9.0)])
def test_labels_of_an_utterance_do_not_touch(phones: int, seconds: float) -> None:
    figure = plots.draw_utterance(panel(1, phones, seconds))
    assert overlapping(figure) == []
    inside = figure.bbox.padded(0.5)
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        if text.get_visible() and text.get_text().strip() and box.width > 0:
            assert inside.x0 <= box.x0
            assert box.x1 <= inside.x1, text


@pytest.mark.slow
def test_a_page_and_a_row_do_not_touch() -> None:
    assert overlapping(plots.draw_page([panel(n, 35) for n in range(8)], "A page of them")) == []
    row = [panel(n, 30, mel=True) for n in range(4)]
    pieces = [type(p)(**{**vars(p), "start_s": 1.0, "end_s": 1.8}) for p in row]
    assert overlapping(plots.draw_row(pieces, "KNOW: attention in every emotion")) == []


@given(st.lists(st.tuples(st.floats(0.1, 40), st.sampled_from(["a", "AXR", "+LAUGHTER+"])), max_size=40))
def test_labels_find_places(pieces: list[tuple[float, str]]) -> None:
    middles = np.cumsum([length for length, _ in pieces]).tolist()
    width = max([60.0, *middles])
    size, places = plots.place_labels(middles, [text for _, text in pieces], width, 30.0)
    for ((x, line), (_, one)), ((y, other), (_, two)) in combinations(zip(places, pieces, strict=True), 2):
        if line == other:
            assert abs(x - y) >= (plots.text_width(one, size) + plots.text_width(two, size)) / 2
    for (x, _), (_, text) in zip(places, pieces, strict=True):
        assert plots.text_width(text, size) / 2 - 1e-6 <= x


def vowel_consonant(seed: str, frames: str, value: float) -> VowelConsonant:
    levels = (1 + value, 1 - value, float("nan") if frames == "speech" else 0.3)
    return VowelConsonant(
        seed, frames, 100, 4, *levels, 2 * value, value, 3 * value, 1.2, 0.4, 0.2, 0.6, 0.1, 0.01, 0.02,
        value, value / 2, 2 * value, 0.03,
    )  # fmt: skip


def table_figures() -> dict[str, Figure]:
    rows = [
        vowel_consonant(seed, frames, 0.1)
        for frames in ("all", "speech")
        for seed in ("seed1", "seed777", "all")
    ]
    masking = [
        MaskingStat(seed, condition, 50, 4, 30.0, 0.1, 0.05, 0.2, 0.5, 0.1, 0.02, 0.0, 0.04, 0.1)
        for seed in ("seed1", "seed2", "all") for condition in CONDITIONS
    ]  # fmt: skip
    gradients = [
        GradientStat("all", kind, 50, 4, 1.1, 1.0, 1.2, 0.9, 0.8, 1.0, 0.3, 0.1, float("nan"))
        for kind in ("consonant", "filler", "silence", "unaligned", "vowel")
    ]
    return {
        "vowel_consonant": table_plots.draw_vowel_consonant(rows),
        "masking": table_plots.draw_masking(masking, gradients),
    }


@pytest.mark.parametrize("name", ["vowel_consonant", "masking"])
def test_tables_do_not_touch(name: str) -> None:
    assert overlapping(table_figures()[name]) == []


def test_figures_are_grey_and_the_same_twice(tmp_path: Path) -> None:
    from matplotlib.image import imread

    for folder in ("one", "two"):
        plots.save(plots.draw_utterance(panel(3)), tmp_path / folder / "u", ("png", "svg", "pdf"))
    for suffix in ("png", "svg", "pdf"):
        assert (tmp_path / "one" / f"u.{suffix}").read_bytes() == (
            tmp_path / "two" / f"u.{suffix}"
        ).read_bytes()
    picture = imread(tmp_path / "one" / "u.png")
    assert np.abs(picture[..., 0] - picture[..., 1]).max() == 0
    assert np.abs(picture[..., 0] - picture[..., 2]).max() == 0


def test_settings(repo: Path) -> None:
    from ser.interpret.figures import FigureConfig

    path = repo / "egs" / "iemocap" / "conf" / "figures.yaml"
    assert load(FigureConfig, path).utterances[0] == "Ses05F_impro01_F000"
    with pytest.raises(ConfigError, match=r"above must be wave or mel, got both; correct it"):
        load(FigureConfig, path, ["above=both"])
    with pytest.raises(ConfigError, match=r"formats must be some of png, svg, pdf, got gif; correct it"):
        load(FigureConfig, path, ["formats=[gif]"])
