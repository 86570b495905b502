"""Drawings of attention: one utterance, a page of them, words side by side, the tables.

Everything is drawn in grey: kinds differ by shade and marker; labels take further lines before they touch,
and a smaller size after that.  The drawings of the tables are in :mod:`ser.interpret.table_plots`.

Shapes: T frames, K seeds, N samples, F filters, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ser.data.files import whole_file
from ser.scoring.metrics import Floats

KIND_STYLE = {  # face and edge of a phone's box
    "vowel": ("0.72", "0.2"),
    "consonant": ("1.0", "0.2"),
    "silence": ("0.94", "0.8"),
    "filler": ("0.94", "0.2"),
    "word": ("1.0", "0.2"),
}
INK = "0.1"
Drawing = Figure  # for those who must not know matplotlib
_BAND = 0.24  # height of the boxes in a tier, the rest is for their symbols
_SIZES = (8.0, 7.0, 6.0, 5.0, 4.0)  # of labels, in points


@dataclass(frozen=True)
class Spoken:
    """A phone or word of a panel."""

    symbol: str  # what is written; "" for silence
    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Panel:
    """What is drawn of one utterance, or between two times of it."""

    title: str  # up to two lines
    start_s: float
    end_s: float
    attention: Floats  # (T, K) against uniform, of all frames
    shift_s: float  # of the frames
    middle_s: float  # of the window of frame 0
    phones: Sequence[Spoken]
    words: Sequence[Spoken]
    samples: Floats | None = None  # (N,), the waveform is drawn
    sampling_rate_hz: int = 0
    features: Floats | None = None  # (T, F), drawn if there are no samples
    features_name: str = ""  # of the feature set


def save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure as ``<stem>.<format>`` each; the same figure gives the same bytes."""
    paths = []
    for name in formats:
        path = stem.with_name(f"{stem.name}.{name}")
        metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[name]
        with mpl.rc_context({"svg.hashsalt": "ser"}), whole_file(path, "wb") as stream:
            figure.savefig(stream, format=name, dpi=150, metadata=metadata)
        paths.append(path)
    return paths


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


# ------------------------------------------------------------------------------------------------- utterances


def draw_utterance(panel: Panel) -> Figure:
    """One utterance as in the paper's Figure 1, as wide as its phones need."""
    figure = new_figure(float(np.clip(1.6 + 0.21 * len(panel.phones), 6.0, 18.0)), 4.2)
    draw_panel(figure, figure.add_gridspec(1, 1, left=0.07, right=0.985, top=0.87, bottom=0.1)[0], panel)
    return figure


def draw_page(panels: Sequence[Panel], heading: str, columns: int = 2) -> Figure:
    """Several utterances on one page, row by row."""
    rows = -(-len(panels) // columns)
    height = 3.6 * rows + 0.7
    figure = new_figure(8.5 * columns, height)
    figure.suptitle(heading, x=0.012, y=1 - 0.18 / height, ha="left", va="top", fontsize=13)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.04,
        right=0.99,
        top=1 - 1.1 / height,
        bottom=0.45 / height,
        hspace=0.42,
        wspace=0.1,
    )
    for place, panel in enumerate(panels):
        draw_panel(figure, grid[place // columns, place % columns], panel)
    return figure


def draw_row(panels: Sequence[Panel], heading: str) -> Figure:
    """Panels side by side, with the same scale of attention."""
    figure = new_figure(max(5.0, 3.2 * len(panels)), 4.4)
    figure.suptitle(heading, x=0.012, y=0.98, ha="left", va="top", fontsize=11)
    grid = figure.add_gridspec(1, len(panels), left=0.06, right=0.99, top=0.8, bottom=0.1, wspace=0.2)
    top = max(_highest(panel) for panel in panels)
    for place, panel in enumerate(panels):
        draw_panel(figure, grid[place], panel, top=top)
    return figure


def _highest(panel: Panel) -> float:
    first = max(0, int(panel.start_s / panel.shift_s))
    return 1.08 * float(panel.attention[first : int(panel.end_s / panel.shift_s) + 1].max())


def draw_panel(figure: Figure, place: SubplotSpec, panel: Panel, top: float | None = None) -> None:
    """Waveform or features, attention, phones and words over one time axis."""
    tiers = [tier for tier in (panel.phones, panel.words) if tier]
    grid = place.subgridspec(2 + len(tiers), 1, height_ratios=[1.0, 1.5, *[0.6] * len(tiers)], hspace=0.07)
    axes = [figure.add_subplot(grid[row]) for row in range(2 + len(tiers))]
    for axis in axes:
        axis.set_xlim(panel.start_s, panel.end_s)
        axis.tick_params(labelsize=7, length=2, labelbottom=axis is axes[-1])
    axes[0].set_title(panel.title, loc="left", fontsize=8.5)
    _draw_sound(axes[0], panel)
    _draw_attention(axes[1], panel, top)
    for axis, tier in zip(axes[2:], tiers, strict=True):
        draw_tier(figure, axis, tier, panel.start_s, panel.end_s)
        axis.tick_params(bottom=axis is axes[-1])
    axes[-1].spines["bottom"].set_visible(True)
    axes[-1].set_xlabel("time (s)", fontsize=7, labelpad=1)


def _draw_sound(axis: Axes, panel: Panel) -> None:
    axis.set_yticks([])
    if panel.samples is not None:
        times, low, high = _envelope(panel.samples, panel.sampling_rate_hz, panel)
        axis.fill_between(times, low, high, color="0.35", linewidth=0.3)
        limit = max(1e-4, float(max(-low.min(), high.max())))
        axis.set_ylim(-1.05 * limit, 1.05 * limit)
    elif panel.features is not None:
        num_frames, num_values = panel.features.shape
        begin = panel.middle_s - panel.shift_s / 2
        axis.imshow(
            panel.features.T, origin="lower", aspect="auto", cmap="Greys", interpolation="nearest",
            extent=(begin, begin + num_frames * panel.shift_s, 0, num_values),
        )  # fmt: skip
        axis.set_xlim(panel.start_s, panel.end_s)
        axis.set_ylabel(panel.features_name, fontsize=7, labelpad=2)


def _envelope(samples: Floats, rate: int, panel: Panel, points: int = 1200) -> tuple[Floats, Floats, Floats]:
    """Times, and the lowest and highest sample of each of many intervals, which keeps the file small."""
    first, last = int(panel.start_s * rate), max(int(panel.end_s * rate), int(panel.start_s * rate) + 1)
    shown = samples[first:last]
    starts = np.unique(np.linspace(0, len(shown), points, endpoint=False).astype(int))
    times = panel.start_s + starts / rate
    return times, np.minimum.reduceat(shown, starts), np.maximum.reduceat(shown, starts)


def _draw_attention(axis: Axes, panel: Panel, top: float | None) -> None:
    times = panel.middle_s + np.arange(len(panel.attention)) * panel.shift_s
    mean = panel.attention.mean(1)
    for phone in panel.phones:
        if phone.kind == "vowel":
            axis.axvspan(phone.start_s, phone.end_s, color="0.9", linewidth=0)
    if panel.attention.shape[1] > 1:
        axis.plot(times, panel.attention, color="0.6", linewidth=0.5)
    axis.plot(times, mean, color=INK, linewidth=1.4)
    axis.axhline(1, color="0.4", linewidth=0.7, linestyle=(0, (4, 3)))
    axis.set_ylim(0, top or _highest(panel))
    axis.set_xlim(panel.start_s, panel.end_s)
    axis.set_ylabel("attention", fontsize=7, labelpad=2)
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=False, prune="upper"))


def draw_tier(figure: Figure, axis: Axes, tier: Sequence[Spoken], start_s: float, end_s: float) -> None:
    """A band of segments between two times, and under it their symbols; axes must have their place."""
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.patch.set_visible(False)
    shown = [item for item in tier if item.end_s > start_s and item.start_s < end_s]
    for item in shown:
        face, edge = KIND_STYLE[item.kind]
        box = Rectangle(
            (item.start_s, 1 - _BAND), item.end_s - item.start_s, _BAND, facecolor=face, edgecolor=edge
        )
        box.set_linewidth(0.5)
        axis.add_patch(box)
    position = axis.get_position()  # fractions of the figure
    width = position.width * figure.get_figwidth() * 72
    height = position.height * figure.get_figheight() * 72 * (1 - _BAND)
    points = width / (end_s - start_s)  # a second
    labels = [item for item in shown if item.symbol and _is_seen(item, start_s, end_s)]
    middles = [((item.start_s + item.end_s) / 2 - start_s) * points for item in labels]
    size, places = place_labels(middles, [item.symbol for item in labels], width, height)
    for item, (x, line) in zip(labels, places, strict=True):
        y = (1 - _BAND) * (1 - (line + 0.55) * 1.15 * size / max(height, 1.15 * size))
        axis.text(start_s + x / points, y, item.symbol, fontsize=size, ha="center", va="center", color="0")


def _is_seen(item: Spoken, start_s: float, end_s: float) -> bool:
    """Whether at least half of a segment lies between two times."""
    seen = min(item.end_s, end_s) - max(item.start_s, start_s)
    return seen >= 0.5 * (item.end_s - item.start_s)


def place_labels(
    middles: Sequence[float], texts: Sequence[str], width: float, height: float
) -> tuple[float, list[tuple[float, int]]]:
    """The size of labels and the place of each, so that none touches another.

    Args:
        middles: where the labels should be centred, in points, rising.
        texts: the labels.
        width: of the room, in points; labels are moved into it.
        height: of the room, in points.

    Returns:
        The largest size of :data:`_SIZES` in which they fit, and the middle and line (0 the topmost) of each
        label; if none does, the smallest.
    """
    places: list[tuple[float, int]] = []
    for size in _SIZES:
        widths = [text_width(text, size) for text in texts]
        inside = [
            float(np.clip(x, w / 2, max(w / 2, width - w / 2))) for x, w in zip(middles, widths, strict=True)
        ]
        lines = _lines(inside, widths, gap=0.3 * size)
        places = list(zip(inside, lines, strict=True))
        if (max(lines, default=0) + 1) * 1.15 * size <= height:
            return size, places
    return _SIZES[-1], places


def _lines(middles: Sequence[float], widths: Sequence[float], gap: float) -> list[int]:
    ends: list[float] = []  # of the last label of each line
    lines = []
    for middle, width in zip(middles, widths, strict=True):
        start = middle - width / 2
        line = next((number for number, end in enumerate(ends) if end + gap <= start), len(ends))
        ends[line : line + 1] = [middle + width / 2]
        lines.append(line)
    return lines


_RENDERER: Any = FigureCanvasAgg(Figure(dpi=72)).get_renderer()  # type: ignore[no-untyped-call]


def text_width(text: str, size: float) -> float:
    """The width of a text in points, in matplotlib's default font."""
    return float(_RENDERER.get_text_width_height_descent(text, FontProperties(size=size), False)[0])
