"""Drawings of a report, as SVG that takes its colours and its font from the page it stands in.

A drawing is as wide as a phone, so that its letters stay readable there.  Systems differ by colour and by
marker or dash, so that grey print and colour-blind readers lose nothing.  matplotlib draws with stand-in
colours, which become CSS variables: --ink, --soft, --line, --paper and --c0 to --c7.

Shapes: R runs, S speakers, B bins, W weights.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ser.reporting.sheets import Calibration
from ser.reporting.study import Curve, FusionCurve, Study

LEAST = 10  # decisions of a bin that is drawn
WIDTH_IN = 4.4  # 317 points; the page shows it at 320 to 620 pixels
_VARIABLES = {"#fe0010": "--ink", "#fe0011": "--soft", "#fe0012": "--line", "#fe0013": "--paper"}
_VARIABLES |= {f"#fe002{i}": f"--c{i}" for i in range(8)}
INK, SOFT, LINE, PAPER, *COLOURS = _VARIABLES
MARKERS = "osD^vPX*"
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    *("-", "--", "-.", ":"),
    *((0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1)), (0, (1, 3))),
)
_STYLE = {
    "svg.fonttype": "none",  # letters stay letters: they can be read out, searched and copied
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}


def _axes(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), facecolor="none", layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the drawing, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels))
    columns = max(1, min(4, int(58 / (longest + 6))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)


def svg(figure: Figure, name: str) -> str:
    """The drawing as an ``<svg>`` element; the same drawing gives the same text.

    Args:
        figure: what to draw.
        name: is part of every id in it, so that several drawings can share a page.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1
    )
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"#fe00[12][0-9]", lambda match: f"var({_VARIABLES[match[0]]})", text)
    return re.sub(r"\n\s*", "\n", text).strip()


def _style(number: int) -> dict[str, Any]:
    place = number % len(COLOURS)
    other = (number + number // len(COLOURS)) % len(MARKERS)  # a colour's second use has another marker
    return {"color": COLOURS[place], "marker": MARKERS[other], "linestyle": DASHES[other]}


# ------------------------------------------------------------------------------------------------ drawings


def draw_contexts(study: Study, stem: str, metric: str, name: str) -> str:
    """A score against the context of systems that share a stem, with 95 % intervals.

    The plan's first system, if it is none of them, is a level line.
    """
    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure, axes = _axes(3.3)
        family = study.contexts[stem]
        dropped = [runs for runs in map(study.system, family.values()) if runs]
        variants = [(stem, dropped, 0.0)]
        if any(runs.padded for runs in dropped):
            variants.append((f"{stem}, short ones padded", [runs.padded or runs for runs in dropped], 1.2))
        for number, (label, chosen, shift) in enumerate(variants):
            means = np.array([100 * runs.values(study.test, metric).mean() for runs in chosen])
            x = np.array(list(family)) + shift
            look = _style(number)
            axes.plot(x, means, label=label, **look)
            bounds = [study.interval(runs, metric) for runs in chosen]
            for place, mean, bound in zip(x, means, bounds, strict=True):
                if bound is not None:
                    ends = [[mean - 100 * bound[0]], [100 * bound[1] - mean]]
                    axes.errorbar([place], [mean], ends, color=look["color"], capsize=2.5, linewidth=1)
        if study.first not in dropped:
            mean = 100 * study.first.values(study.test, metric).mean()
            axes.axhline(mean, color=COLOURS[3], linestyle="--", linewidth=1.2, label=study.first.name)
        axes.set_xlabel("context, frames")
        axes.set_ylabel(f"{metric}, %")
        axes.set_xticks(list(family))
        _legend(figure, axes)
        return svg(figure, name)


def draw_speakers(study: Study, metric: str) -> str:
    """A row for each system with a dot for each speaker, and a bar for their mean."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "speakers"}):
        figure, axes = _axes(0.8 + 0.3 * len(study.runs))
        for row, runs in enumerate(study.runs):
            values = np.array(
                [
                    100 * runs.values(study.test, metric, study.test.speakers == name).mean()
                    for name in study.test.speaker_names
                ]
            )
            offsets = 0.3 * (np.arange(len(values)) / max(1, len(values) - 1) - 0.5)
            axes.plot(values, row + offsets, "o", color=COLOURS[0], markersize=4, alpha=0.75)
            axes.plot([np.nanmean(values)] * 2, [row - 0.33, row + 0.33], color=INK, linewidth=2)
        axes.set_yticks(range(len(study.runs)), [runs.name for runs in study.runs])
        axes.set_ylim(len(study.runs) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{metric}, %")
        return svg(figure, "speakers")


def draw_learning(curves: Sequence[Curve]) -> str:
    """Mean loss of every epoch; the shade is the range over folds and seeds."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "learning"}):
        figure, axes = _axes(3.4)
        for number, curve in enumerate(curves):
            for key, losses in curve.losses.items():
                x = np.arange(1, losses.shape[1] + 1)
                look = _style(number) | ({"linestyle": ":"} if key == "dev_loss" else {}) | {"marker": ""}
                label = curve.system + (", dev" if key == "dev_loss" else "")
                axes.plot(x, np.nanmean(losses, 0), label=label, **look)
                low, high = np.nanmin(losses, 0), np.nanmax(losses, 0)
                axes.fill_between(x, low, high, color=look["color"], alpha=0.13, linewidth=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross entropy, nats")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(figure, axes)
        return svg(figure, "learning")


def draw_fusion(curve: FusionCurve, name: str) -> str:
    """Mean UAR and loss on the tuning data against a system's weight, and which weights were chosen."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure, axes = _axes(3.3)
        x = np.arange(len(curve.weights))
        axes.plot(x, 100 * curve.uar.mean(0), label="uar on dev, %", **_style(0))
        axes.set_ylabel("uar, %")
        axes.set_xlabel(f"weight of {curve.system}")
        axes.set_xticks(x, [f"{weight:g}" for weight in curve.weights], rotation=45)
        other = axes.twinx()
        other.plot(x, curve.nll.mean(0), label="loss on dev, nats", **_style(1))
        other.set_ylabel("loss, nats")
        other.grid(visible=False)
        other.spines["right"].set_visible(True)
        low, high = axes.get_ylim()
        shares = np.array([(np.isclose(curve.chosen, weight)).mean() for weight in curve.weights])
        axes.bar(
            x,
            shares * 0.35 * (high - low),
            bottom=low,
            color=COLOURS[2],
            alpha=0.45,
            label="how often chosen",
        )
        axes.set_ylim(low, high)
        handles = [axes.get_legend_handles_labels(), other.get_legend_handles_labels()]
        figure.legend(
            *[sum((list(pair[i]) for pair in handles), []) for i in range(2)],
            loc="outside lower center",
            ncols=3,
            fontsize=8,
        )
        return svg(figure, name)


def draw_reliability(calibrations: Sequence[Calibration]) -> str:
    """Accuracy against confidence, bins of ten decisions or more; the diagonal is a system that means it."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "reliability"}):
        figure, axes = _axes(4.3)
        axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle=":", label="perfect")
        for number, each in enumerate(calibrations):
            x, y = 100 * each.pooled.confidence, 100 * each.pooled.accuracy
            enough = each.pooled.counts >= LEAST
            axes.plot(x[enough], y[enough], label=each.system, **_style(number))
        axes.set_xlabel("confidence, %")
        axes.set_ylabel("right, %")
        axes.set_xlim(20, 101)
        axes.set_ylim(0, 101)
        _legend(figure, axes)
        return svg(figure, "reliability")
