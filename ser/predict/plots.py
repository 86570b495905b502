"""The figure of a recording: waveform, emotion over time, attention, words and phones over one time axis.

Classes have the colours of the report and of the page, in the model's order; a label stands in each area
that has room for it, so that nothing hangs on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ser.interpret.plots import INK, Spoken, draw_tier, new_figure, save, text_width
from ser.predict.recordings import Recording, Waveform, curves, label_place
from ser.predict.result import Doubles
from ser.predict.spoken import Tiers
from ser.reporting.colours import SERIES

FORMATS = ("png", "svg", "pdf")
POINTS = 2000  # of a curve
_MAX_DIVIDED = 600  # points of areas that lines divide
_COLOURS = SERIES["light"]
_HATCHES = ("", "///", "...", "xxx")  # of a colour's first, second ... use
_WIDTH_IN, _LABEL_PT = 10.0, 8.0
_LEFT, _RIGHT = 0.07, 0.985  # of the axes, as shares of the width
_AXES_SHARE = _RIGHT - _LEFT
_HEIGHTS = {"waveform": 0.8, "track": 1.8, "attention": 1.0, "tier": 0.36}  # inches


def draw_recording(recording: Recording, tiers: Tiers) -> Figure:
    """Draw a recording: what there is of waveform, track, attention, words and phones."""
    rows = [name for name in ("waveform", "track") if getattr(recording, name) is not None]
    attention = recording.attention(POINTS)
    rows += ["attention"] if attention else []
    rows += ["tier"] * len(tiers)
    heights = [_HEIGHTS[row] for row in rows]
    top, bottom = 0.75, 0.45
    height = sum(heights) + top + bottom + 0.1 * len(rows)
    figure = new_figure(_WIDTH_IN, height)
    grid = figure.add_gridspec(
        len(rows), 1, left=_LEFT, right=_RIGHT, top=1 - top / height, bottom=bottom / height,
        height_ratios=heights, hspace=0.12,
    )  # fmt: skip
    axes = [figure.add_subplot(grid[row]) for row in range(len(rows))]
    for axis in axes:
        axis.set_xlim(recording.start_s, recording.end_s)
        axis.tick_params(labelsize=7, length=2, labelbottom=axis is axes[-1], bottom=axis is axes[-1])
    names = iter(tiers)
    for row, axis in zip(rows, axes, strict=True):
        if row == "waveform" and recording.waveform is not None:
            _draw_waveform(axis, recording.waveform, recording.sampling_rate_hz)
        elif row == "track" and recording.track is not None:
            _draw_track(axis, curves(recording.track, POINTS), recording.emotions)
        elif row == "attention":
            _draw_attention(axis, attention)
        else:
            spoken = [Spoken(each.symbol, "word", each.start_s, each.end_s) for each in tiers[next(names)]]
            draw_tier(figure, axis, spoken, recording.start_s, recording.end_s)
    axes[-1].spines["bottom"].set_visible(True)
    axes[-1].set_xlabel("time (s)", fontsize=7, labelpad=1)
    _head(figure, recording, height)
    return figure


def save_recording(figure: Figure, path: Path) -> None:
    """Write a figure; the name's suffix says the format, one of :data:`FORMATS`."""
    save(figure, path.with_suffix(""), [path.suffix[1:]])


def _head(figure: Figure, recording: Recording, height: float) -> None:
    """The recording's name, the likeliest class of a recording that is one piece, and the classes."""
    title = _shortened(recording.source, 100)
    if len(recording.results) == 1:
        result = recording.results[0]
        title += f": {result.emotion} {result.confidence:.2f}"
    figure.text(0.012, 1 - 0.1 / height, title, fontsize=10, va="top", ha="left", parse_math=False)
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
        for name, (colour, hatch) in zip(recording.emotions, _looks(len(recording.emotions)), strict=True)
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.006, 1 - 0.32 / height), fontsize=8,
        frameon=False, ncols=max(4, len(handles)), columnspacing=1.2, handlelength=1.2, borderaxespad=0,
    )  # fmt: skip


def _shortened(text: str, most: int) -> str:
    """A name whose end tells more than its beginning."""
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return printable if len(printable) <= most else f"...{printable[3 - most :]}"


def _looks(number: int) -> list[tuple[str, str]]:
    """Colour and hatch of each class."""
    size = len(_COLOURS)
    return [(_COLOURS[i % size], _HATCHES[i // size % len(_HATCHES)]) for i in range(number)]


def _draw_waveform(axis: Axes, waveform: Waveform, rate_hz: int) -> None:
    edges = [(waveform.first + i * waveform.bin_samples) / rate_hz for i in range(len(waveform.low))]
    axis.fill_between(edges, waveform.low, waveform.high, color="0.35", linewidth=0.3, step="post")
    limit = max(1e-4, float(-waveform.low.min()), float(waveform.high.max()))
    axis.set_ylim(-1.05 * limit, 1.05 * limit)
    axis.set_yticks([])


def _draw_track(axis: Axes, drawn: Sequence[tuple[Doubles, Doubles]], emotions: Sequence[str]) -> None:
    axis.set_ylim(0, 1)
    axis.set_ylabel("posterior", fontsize=7, labelpad=2)
    axis.yaxis.set_major_locator(MaxNLocator(2))
    looks = _looks(len(emotions))
    divided = sum(len(times) for times, _ in drawn) <= _MAX_DIVIDED
    for times, values in drawn:
        areas = axis.stackplot(times, values.T, colors=[colour for colour, _ in looks], linewidth=0)
        for area, (_, hatch) in zip(areas, looks, strict=True):
            area.set(hatch=hatch, edgecolor="white", linewidth=0.4 if divided else 0.0)
    for index, name in enumerate(emotions):
        first, last = axis.get_xlim()
        length_s = (last - first) * 1.15 * text_width(name, _LABEL_PT) / (72 * _AXES_SHARE * _WIDTH_IN)
        place = label_place(drawn, index, length_s, 1.5 * _LABEL_PT / (72 * _HEIGHTS["track"]))
        if place is not None:
            axis.text(
                *place, name, fontsize=_LABEL_PT, color="white", ha="center", va="center", parse_math=False
            )


def _draw_attention(axis: Axes, drawn: Sequence[tuple[Doubles, Doubles]]) -> None:
    for times, values in drawn:
        axis.plot(times, values, color=INK, linewidth=1.0)
    axis.axhline(1, color="0.4", linewidth=0.7, linestyle=(0, (4, 3)))
    axis.set_ylim(0, 1.08 * max(float(values.max()) for _, values in drawn))
    axis.set_ylabel("attention", fontsize=7, labelpad=2)
    axis.yaxis.set_major_locator(MaxNLocator(3, prune="upper"))
