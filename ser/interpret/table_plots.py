"""Drawings of the tables: vowels against consonants, phones, masking."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser.interpret.groups import GroupStat
from ser.interpret.masking import CONDITIONS, GradientStat, MaskingStat
from ser.interpret.plots import INK, new_figure
from ser.interpret.statistics import VowelConsonant

MARKERS = {"vowel": ("o", "0.1"), "consonant": ("s", "1.0"), "other": ("^", "0.65")}  # shape and face
FRAMES = {"all": "all frames", "speech": "speech frames"}


def draw_vowel_consonant(rows: Sequence[VowelConsonant]) -> Figure:
    """The table of vowels against consonants: levels on the left, their difference on the right."""
    labels = [f"{row.seed}, {FRAMES[row.frames]}" for row in rows]
    height = 1.9 + 0.3 * len(rows)
    figure = new_figure(10.5, height)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.1})
    figure.subplots_adjust(left=0.19, right=0.985, top=1 - 0.95 / height, bottom=0.62 / height)
    y = -np.arange(len(rows), dtype=np.float64)
    for kind, (marker, face) in MARKERS.items():
        values = [getattr(row, kind) for row in rows]
        _mark(left, values, y, marker, face, size=7, label=kind)
    for row, place in zip(rows, y, strict=True):
        _interval(right, row.difference, (row.difference_low, row.difference_high), float(place), "D", INK)
        _interval(right, row.matched, (row.matched_low, row.matched_high), float(place) - 0.28, "s", "1.0")
    _mark(right, [], [], "D", INK, label="all, 95 % over speakers")
    _mark(right, [], [], "s", "1.0", label="of like length")
    for axis, line, title in ((left, 1, "attention a frame / uniform"), (right, 0, "vowels - consonants")):
        axis.axvline(line, color="0.4", linewidth=0.8, linestyle=(0, (4, 3)))
        axis.set_xlabel(title, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.set_ylim(y[-1] - 0.7, 0.7)
        axis.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=8, handletextpad=0.3
        )
    left.set_yticks(y, labels)
    first = rows[0]
    figure.suptitle(
        f"Attention to vowels and consonants: {first.utterances} utterances, {first.speakers} speakers",
        x=0.012, y=1 - 0.12 / height, ha="left", va="top", fontsize=11,
    )  # fmt: skip
    return figure


def _interval(axis: Axes, value: float, ends: tuple[float, float], y: float, marker: str, face: str) -> None:
    """A value with its interval, which is left out where it is NaN."""
    if not any(map(math.isnan, ends)):
        axis.plot(ends, [y, y], color=INK, linewidth=1.2, solid_capstyle="butt")
    _mark(axis, [value], [y], marker, face)


def _mark(
    axis: Axes,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    marker: str,
    face: str,
    *,
    size: float = 6,
    label: str | None = None,
) -> None:
    """Markers with a dark edge; without values only an entry of the legend."""
    axis.plot(
        x,
        y,
        marker,
        markerfacecolor=face,
        markeredgecolor=INK,
        markersize=size,
        linestyle="none",
        label=label,
    )


def draw_phones(stats: Sequence[GroupStat], kinds: dict[str, str], least: int) -> Figure:
    """Attention a frame of each phone with ``least`` segments or more, highest first, with its interval."""
    rows = [row for row in stats if (row.level, row.split) == ("phone", "all") and row.segments >= least]
    rows.sort(key=lambda row: -row.relative)
    figure = new_figure(max(6.0, 1.4 + 0.24 * len(rows)), 3.8)
    axis = figure.subplots()
    width = figure.get_figwidth()
    figure.subplots_adjust(left=0.75 / width, right=1 - 0.15 / width, top=0.86, bottom=0.2)
    for x, row in enumerate(rows):
        kind = kinds[row.symbol] if kinds[row.symbol] in MARKERS else "other"
        marker, face = MARKERS[kind]
        if not math.isnan(row.relative_low):
            axis.plot([x, x], [row.relative_low, row.relative_high], color=INK, linewidth=1)
        _mark(axis, [x], [row.relative], marker, face)
    for kind, (marker, face) in MARKERS.items():
        name = "silence, filler" if kind == "other" else kind
        _mark(axis, [], [], marker, face, label=name)
    axis.axhline(1, color="0.4", linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set_xlim(-0.8, len(rows) - 0.2)
    axis.set_xticks(range(len(rows)), [row.symbol for row in rows], fontsize=7)
    if max((len(row.symbol) for row in rows), default=0) > 3:
        axis.tick_params(axis="x", rotation=90)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_ylabel("attention a frame / uniform", fontsize=9)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=8)
    return figure


def draw_emotions(stats: Sequence[GroupStat], emotions: Sequence[str]) -> Figure:
    """Vowels, consonants and other frames in each emotion, with their intervals."""
    figure = new_figure(max(5.0, 1.5 + 1.1 * len(emotions)), 3.4)
    axis = figure.subplots()
    figure.subplots_adjust(left=0.13, right=0.98, top=0.86, bottom=0.11)
    values = {(row.symbol, row.group): row for row in stats if (row.level, row.split) == ("kind", "emotion")}
    shown = [
        kind for kind in ("vowel", "consonant", "silence", "unaligned") if any(k == kind for k, _ in values)
    ]
    looks = {"vowel": "vowel", "consonant": "consonant", "silence": "other", "unaligned": "unaligned"}
    markers = {**MARKERS, "unaligned": ("v", "1.0")}
    for number, kind in enumerate(shown):
        marker, face = markers[looks[kind]]
        for x, emotion in enumerate(emotions):
            row = values.get((kind, emotion))
            if row is not None:
                place = x + 0.16 * (number - (len(shown) - 1) / 2)
                axis.plot([place, place], [row.relative_low, row.relative_high], color=INK, linewidth=1)
                _mark(axis, [place], [row.relative], marker, face)
        _mark(axis, [], [], marker, face, label=kind)
    axis.axhline(1, color="0.4", linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set_xticks(range(len(emotions)), list(emotions), fontsize=9)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_ylabel("attention a frame / uniform", fontsize=9)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8)
    return figure


def draw_masking(masking: Sequence[MaskingStat], gradients: Sequence[GradientStat]) -> Figure:
    """How far decisions fall when phones are masked, and attention beside integrated gradients."""
    seeds = list(dict.fromkeys(row.seed for row in masking))
    figure = new_figure(10.5, 4.0)
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.2})
    figure.subplots_adjust(left=0.075, right=0.985, top=0.8, bottom=0.12)
    _draw_falls(left, masking, seeds)
    kinds = [row for row in gradients if row.seed == seeds[-1] and row.kind != "vowel-consonant"]
    _draw_gradients(right, kinds)
    for axis in (left, right):
        axis.tick_params(axis="y", labelsize=8)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=8)
    share = f"{masking[-1].frames:.0f} frames masked, {masking[-1].utterances} utterances"
    figure.suptitle(f"Does the attention matter? {share}", x=0.012, y=0.97, ha="left", va="top", fontsize=11)
    return figure


def _draw_falls(axis: Axes, masking: Sequence[MaskingStat], seeds: Sequence[str]) -> None:
    """The fall of the posterior in each condition; the last of the seeds stands out."""
    for number, seed in enumerate(seeds):
        is_last = number == len(seeds) - 1
        marker, face, size = ("D", INK, 7) if is_last else ("o", "1.0", 4)
        for x, condition in enumerate(CONDITIONS):
            row = next(row for row in masking if (row.seed, row.condition) == (seed, condition))
            place = x + (0 if is_last else 0.1 + 0.35 * number / max(1, len(seeds) - 1))
            if is_last and not math.isnan(row.fall_low):
                axis.plot([place, place], [row.fall_low, row.fall_high], color=INK, linewidth=1.2)
            _mark(axis, [place], [row.fall], marker, face, size=size)
        if is_last or number == 0:
            label = "all seeds, 95 % over speakers" if len(seeds) > 1 and is_last else "a seed"
            _mark(axis, [], [], marker, face, label=label)
    axis.axhline(0, color="0.4", linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set_xlim(-0.5, len(CONDITIONS) - 0.2)
    axis.set_xticks(range(len(CONDITIONS)), CONDITIONS, fontsize=9)
    axis.set_ylabel("fall of the posterior", fontsize=9)


def _draw_gradients(axis: Axes, rows: Sequence[GradientStat]) -> None:
    """Attention and integrated gradients of each kind of frames."""
    looks = (
        ("attention", "attention", -0.1, "o", "0.1"),
        ("magnitude", "integrated gradients", 0.1, "s", "1.0"),
    )
    for name, label, shift, marker, face in looks:
        for x, row in enumerate(rows):
            ends = [getattr(row, f"{name}_low"), getattr(row, f"{name}_high")]
            if not any(map(math.isnan, ends)):
                axis.plot([x + shift, x + shift], ends, color=INK, linewidth=1.2)
            _mark(axis, [x + shift], [getattr(row, name)], marker, face)
        _mark(axis, [], [], marker, face, label=label)
    axis.axhline(1, color="0.4", linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.set_xticks(range(len(rows)), [row.kind for row in rows], fontsize=9)
    axis.set_ylabel("a frame / mean", fontsize=9)
