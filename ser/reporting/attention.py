"""The drawings of stage 8, as they stand in the page."""

from __future__ import annotations

import base64
import csv
from dataclasses import dataclass
from pathlib import Path

_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
# name of the file -> title, what it shows, the table behind it
_KNOWN: dict[str, tuple[str, str, str]] = {
    "vowel_consonant": (
        "Vowels and consonants",
        "Attention a frame over vowels, consonants and the rest against uniform attention, and chance",
        "vowel_consonant.tsv",
    ),
    "phones": (
        "Phones",
        "Attention a frame of each frequent phone, against uniform attention",
        "phone_stats.tsv",
    ),
    "emotions": (
        "Emotions",
        "Attention a frame over vowels, consonants and silence in each emotion, against uniform attention",
        "phone_stats.tsv",
    ),
    "masking": (
        "Masking",
        "What the decision loses when the frames of most attention are masked, beside as many others",
        "masking_stats.tsv",
    ),
    "page": (
        "Single utterances",
        "Attention over the most certain right and wrong decision of each class, with phones and words below",
        "",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A drawing of stage 8."""

    name: str  # of its file and its table's
    title: str
    reading: str  # also what is said to those who do not see it
    uri: str
    table: str = ""  # data: URI of the table behind it, tab-separated


def read_pictures(folder: Path) -> list[Picture]:
    """The drawings in ``interpret/<alignment>/figures``, SVG where there is one, else PNG.

    Args:
        folder: of the experiment.
    """
    found = []
    for figures in sorted(folder.glob("interpret/*/figures")):
        best = {path.stem: path for path in sorted(figures.glob("*.*")) if path.suffix in _KINDS}
        known = [best.pop(stem) for stem in _KNOWN if stem in best]
        found += [_picture(path) for path in (*known, *best.values())]
    return found


def _picture(path: Path) -> Picture:
    folder, stem = path.parent.parent, path.stem
    plain = stem.replace("_", " ")
    title, shows, table = _KNOWN.get(stem, (plain.capitalize(), f"Attention of BLSTMATT: {plain}", ""))
    reading = (
        f"{shows}; alignment '{folder.name}'{_numbers(folder / table) if table == f'{stem}.tsv' else ''}."
    )
    file = folder / table
    behind = _uri(file, "text/tab-separated-values") if table and file.exists() else ""
    return Picture(f"{folder.name}_{stem}", title, reading, _uri(path, _KINDS[path.suffix]), behind)


def _numbers(path: Path) -> str:
    """What vowels and consonants get over all frames, mean over the seeds; nothing of another table."""
    if not path.exists():
        return ""
    with open(path, encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if row.get("frames") == "all"]
    try:
        means = [sum(float(row[kind]) for row in rows) / len(rows) for kind in ("vowel", "consonant")]
    except (KeyError, ValueError, ZeroDivisionError):
        return ""
    return f": vowels get {means[0]:.2f} of uniform attention, consonants {means[1]:.2f}"


def _uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
