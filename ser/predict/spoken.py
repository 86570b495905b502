"""What is said in recordings, as far as an alignment tells: the words and phones of a page or a figure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser.align.sources import Times, find_source
from ser.data.alignment import TIERS
from ser.errors import UsageError

log = logging.getLogger("ser")
_ORDER = ("word", "syllable", "phone")  # from above


@dataclass(frozen=True)
class Symbol:
    """A word or phone.

    Attributes:
        symbol: as the alignment has it.
        start_s, end_s: on the recording's time line.
    """

    symbol: str
    start_s: float
    end_s: float


Tiers = dict[str, Sequence[Symbol]]  # word, syllable, phone (those that exist), from above


class Speech:
    """Alignments of recordings, by name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read them.

        Args:
            paths: CTM files, named for what they hold (``word.ctm``, ``talk.phone.ctm``), TextGrids, or
                folders of either.

        Raises:
            DataError: one cannot be used; all that is wrong with it.
            UsageError: one is no alignment, or a CTM file whose name does not say what it holds.
        """
        self._tiers: dict[str, Times] = {}
        for path in paths:
            if not path.exists():
                raise UsageError(f"--alignment {path}: no such file or folder; name an alignment")
            source = find_source(path)
            times = source.read_as_named({_tier_of(path): ""} if _is_ctm(path) else {})
            for tier, rows in times.items():
                self._tiers.setdefault(tier, {}).update(rows)

    def of(self, source: str) -> Tiers:
        """What is said in a recording, which an alignment names in full, or as its file without suffix."""
        names = (source, Path(source).stem)
        tiers: Tiers = {}
        for tier in _ORDER:
            rows = self._tiers.get(tier, {})
            name = next((name for name in names if rows.get(name)), None)
            if name is not None:
                tiers[tier] = [Symbol(text, start, start + length) for text, start, length in rows[name]]
        if self._tiers and not tiers:
            log.warning("--alignment: has nothing of %s; its words and phones are not shown", source)
        return tiers


def _is_ctm(path: Path) -> bool:
    return path.is_file() and path.suffix != ".TextGrid"


def _tier_of(path: Path) -> str:
    """What a CTM file holds."""
    words = path.name.lower().replace("-", ".").replace("_", ".").split(".")
    tiers = [tier for tier in TIERS if tier in words or f"{tier}s" in words]
    if len(tiers) != 1:
        raise UsageError(
            f"--alignment {path}: does it hold words or phones? Name it word.ctm or phone.ctm, or give a "
            "TextGrid"
        )
    return tiers[0]
