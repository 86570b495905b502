"""Praat's TextGrids, through praatio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser import reading
from ser.data.alignment import TIERS
from ser.data.files import whole_file
from ser.data.manifests import Segment
from ser.errors import DataError, UsageError

LIMIT = 1 << 24  # bytes; an hour of phones has one or two millions
MAX_TIERS = 1000
NAMES = {tier: (tier, f"{tier}s") for tier in TIERS}  # names that need no --tier, in upper or lower case


def read_textgrid(path: Path, tiers: Mapping[str, str]) -> dict[str, list[Segment]]:
    """Read the interval tiers of one TextGrid, long or short, in any encoding that Praat writes.

    Args:
        path: the file.
        tiers: phone, word or syllable -> the name of its tier; without an entry, the tier called so (also in
            the plural) is taken.

    Returns:
        phone, word, syllable (those that exist) -> segments; empty labels are gaps.

    Raises:
        DataError: it is no TextGrid, a named tier is missing or has points, several tiers fit, or there is
            neither a phone nor a word tier.
        UsageError: praatio is not installed.
    """
    textgrid = _praatio()
    with reading.guarded(path, "save it again in Praat", what="cannot be read as a TextGrid"):
        raw = reading.read_bytes(path, "save it again in Praat", limit=LIMIT).replace(b"\0", b"")  # or UTF-16
        if sum(raw.count(kind) for kind in (b'IntervalTier"', b'TextTier"')) > MAX_TIERS:
            raise reading.BadFileError(f"has more than {MAX_TIERS} tiers")
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="rename")
        return _segments(path, grid, tiers)


def _segments(path: Path, grid: Any, tiers: Mapping[str, str]) -> dict[str, list[Segment]]:
    """The tiers that are asked for, as far as there are."""
    textgrid = _praatio()
    segments = {}
    for tier in TIERS:
        name = _find_tier(path, tier, tiers.get(tier), grid.tierNames)
        if name is None:
            continue
        if not isinstance(grid.getTier(name), textgrid.IntervalTier):
            raise DataError(
                f"{path}: the tier {name} is one of points; name an interval tier with --tier {tier}=NAME"
            )
        entries = grid.getTier(name).entries
        segments[tier] = [
            ("_".join(e.label.split()), float(e.start), float(e.end - e.start)) for e in entries
        ]
        if not all(0 <= start < math.inf and 0 <= length < math.inf for _, start, length in segments[tier]):
            raise reading.BadFileError(f"the tier {name} has times below 0, or that are no numbers")
    if not segments.keys() & {"phone", "word"}:
        raise DataError(
            f"{path}: which tier holds the phones, which the words? It has {', '.join(grid.tierNames)}; "
            "say it with --tier phone=NAME --tier word=NAME"
        )
    return segments


def _find_tier(path: Path, tier: str, given: str | None, names: Sequence[str]) -> str | None:
    """The name of the tier to read, if there is one; ``given`` is what the user named."""
    if given is not None:
        if given not in names:
            raise DataError(
                f"{path}: has no tier {given} (it has {', '.join(names)}); correct --tier {tier}="
            )
        return given
    candidates = [name for name in names if name.lower() in NAMES[tier]]
    if len(candidates) > 1:
        raise DataError(
            f"{path}: has several tiers of {tier}s ({', '.join(candidates)}); choose with --tier {tier}=NAME"
        )
    return candidates[0] if candidates else None


def write_textgrid(path: Path, tiers: Mapping[str, Sequence[Segment]], duration_s: float) -> None:
    """Write a TextGrid in Praat's long form, UTF-8; gaps become empty intervals.

    Args:
        path: the file.
        tiers: tier -> segments in time order that share no time.
        duration_s: of the recording; what lies behind it is cut off.
    """
    textgrid = _praatio()
    grid = textgrid.Textgrid(0, duration_s)
    for name, segments in tiers.items():
        grid.addTier(textgrid.IntervalTier(name, _intervals(segments, duration_s), 0, duration_s))
    with whole_file(path) as stream:
        grid.save(stream.name, format="long_textgrid", includeBlankSpaces=True)


def _praatio() -> Any:
    try:
        from praatio import textgrid
    except ImportError as error:
        raise UsageError(
            "TextGrids need praatio; install it with: utils/install.sh --extra interpret"
        ) from error
    return textgrid


def _intervals(segments: Sequence[Segment], duration_s: float) -> list[tuple[float, float, str]]:
    """Start, end and label, each behind the one before and within the recording."""
    intervals: list[tuple[float, float, str]] = []
    done = 0.0
    for label, start, length in segments:
        begin, end = max(round(start, 6), done), min(round(start + length, 6), duration_s)
        if end > begin:
            intervals.append((begin, end, label))
            done = end
    return intervals
