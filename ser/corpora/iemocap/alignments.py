"""Forced alignments: which frames each phone, word and syllable of a turn spans.

::

    <TAB> SFrm  EFrm   SegAScr Phone                <TAB> SFrm  EFrm    SegAScr Word
    <TAB>    0    43   -412345 SIL                  <TAB>    0    43    -412345 <s>
    <TAB>   44    52   -101234 AY SIL D b           <TAB>   44    60    -200000 I'D(2)
     Total score:     -513579                        Total score:     -612345

Written by the aligner of Sphinx 3, one frame every 10 ms, both ends inclusive.  A phone stands alone or
with its neighbours and its place in the word; only the phone is kept.  ``(2)`` numbers a word's
pronunciation and is left out.  A ``.syseg`` has neither scores nor a last line, and may have no rows.
"""

from __future__ import annotations

import re
from pathlib import Path

from ser.corpora.iemocap.release import COPY_AGAIN, read_lines
from ser.errors import DataError

FRAMES_PER_S = 100
TIERS = {"phone": ".phseg", "word": ".wdseg", "syllable": ".syseg"}

Row = tuple[str, int, int, float | None]  # symbol, first frame, last frame, score
Item = tuple[str, float, float, float | None]  # symbol, start (s), duration (s), score

_FORMS = {
    "phone": "<first frame> <last frame> <score> <phone> [<left> <right> <place>]",
    "word": "<first frame> <last frame> <score> <word>",
    "syllable": "<first frame> <last frame> <syllable>",
}
_ROWS = {
    "phone": re.compile(r"\s*(\d+)\s+(\d+)\s+(-?\d+)\s+(\S+)(?:(?:\s+\S+){3})?\s*", re.ASCII),
    "word": re.compile(r"\s*(\d+)\s+(\d+)\s+(-?\d+)\s+(\S+?)(?:\(\d+\))?\s*", re.ASCII),
    "syllable": re.compile(r"\s*(\d+)\s+(\d+)()\s+(\S+)\s*", re.ASCII),
}
_REST = re.compile(r"\s*|\s*SFrm\s.*|\s*Total score:.*", re.ASCII)


def read_rows(path: Path, tier: str, problems: list[str]) -> list[Row]:
    """Read an alignment file.

    Args:
        path: a ``.phseg``, ``.wdseg`` or ``.syseg``.
        tier: which of these, ``"phone"``, ``"word"`` or ``"syllable"``.
        problems: what is wrong is appended here, a line each.

    Returns:
        The rows that could be read, in file order.
    """
    try:
        lines = read_lines(path)
    except DataError as error:
        problems.append(str(error))
        return []
    scored = tier != "syllable"
    row_form = _ROWS[tier]
    rows: list[Row] = []
    last = -1  # the frame that the row before ends with
    for number, line in enumerate(lines, 1):
        match = row_form.fullmatch(line)
        if match is None:
            heading = number == 1 and not scored  # that of a .syseg may be in other words
            if not heading and not _REST.fullmatch(line):
                problems.append(f"{path}:{number}: expected '{_FORMS[tier]}', got {line!r}; {COPY_AGAIN}")
            continue
        first, end = int(match[1]), int(match[2])
        if end < first:
            problems.append(f"{path}:{number}: frames {first} to {end} run backwards; {COPY_AGAIN}")
        elif scored and first <= last:
            what = f"frames {first} to {end} overlap the row before, which ends with {last}"
            problems.append(f"{path}:{number}: {what}; {COPY_AGAIN}")
        last = max(last, end)
        rows.append((match[4], first, end, float(match[3]) if scored else None))
    if scored and not any("Total score:" in line for line in lines[-3:]):
        problems.append(f"{path}:{len(lines)}: ends without 'Total score:', it was cut short; {COPY_AGAIN}")
    return rows


def to_seconds(rows: list[Row], duration_s: float, frame_offset: int) -> list[Item]:
    """Rows in seconds from the start of the recording.

    Args:
        rows: symbols with frames.
        duration_s: of the recording; what lies behind its end is cut off.
        frame_offset: added to every frame.

    Returns:
        The items that have any length within the recording.

    >>> to_seconds([("SIL", 0, 43, None), ("AY", 44, 52, None)], 0.5, 0)
    [('SIL', 0.0, 0.44, None), ('AY', 0.44, 0.06, None)]
    """
    items = []
    for symbol, first, last, score in rows:
        start_s = max(0, first + frame_offset) / FRAMES_PER_S
        end_s = min((last + 1 + frame_offset) / FRAMES_PER_S, duration_s)
        if end_s > start_s:
            items.append((symbol, start_s, round(end_s - start_s, 8), score))
    return items
