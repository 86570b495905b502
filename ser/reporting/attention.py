"""The drawings of stage 8, for the page."""

from __future__ import annotations

import base64
import csv
from dataclasses import dataclass
from pathlib import Path

from ser.plan import Plan
from ser.reading import SMALL_LIMIT, read_bytes, read_text

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
    reading: str  # also the text for those who do not see it
    uri: str
    table: str = ""  # data: URI of the table behind it, tab-separated


def read_pictures(plan: Plan) -> list[Picture]:
    """The drawings in ``<exp>/interpret/<system>/<alignment>/figures``, SVG where there is one, else PNG.

    Args:
        plan: of the experiment; what it does not interpret is not read.
    """
    pictures = []
    for system in plan.interpret:
        for figures in sorted((plan.exp / "interpret" / system).glob("*/figures")):
            files = {path.stem: path for path in sorted(figures.glob("*.*")) if path.suffix in _KINDS}
            known = [files.pop(stem) for stem in _KNOWN if stem in files]
            pictures += [_picture(path, system) for path in (*known, *files.values())]
    return pictures


def _picture(path: Path, system: str) -> Picture:
    folder, stem = path.parent.parent, path.stem
    plain = stem.replace("_", " ")
    title, meaning, table = _KNOWN.get(stem, (plain.capitalize(), f"Attention: {plain}", ""))
    reading = (
        f"{meaning}; {system}, alignment '{folder.name}'"
        f"{_numbers(folder / table) if table == f'{stem}.tsv' else ''}."
    )
    file = folder / table
    source = _uri(file, "text/tab-separated-values") if table and file.exists() else ""
    name = f"{system}_{folder.name}_{stem}"
    return Picture(name, title, reading, _uri(path, _KINDS[path.suffix]), source)


def _numbers(path: Path) -> str:
    """What vowels and consonants get over all frames, mean over the seeds; nothing of another table."""
    if not path.exists():
        return ""
    lines = read_text(path, "run stage 8 again").splitlines()
    try:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row.get("frames") == "all"]
        means = [sum(float(row[kind]) for row in rows) / len(rows) for kind in ("vowel", "consonant")]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, csv.Error):
        return ""
    return f": vowels get {means[0]:.2f} of uniform attention, consonants {means[1]:.2f}"


def _uri(path: Path, kind: str) -> str:
    content = read_bytes(path, "run stage 8 again", limit=SMALL_LIMIT)
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
