"""The colours of pages and figures, one palette for all.

Those of classes and systems, ``c0`` to ``c7``, can be read on their ground, in dark mode too; what they mark
also differs by its place, its marker or its label, for any kind of colour vision.  Print has shades of grey.
"""

from __future__ import annotations

COLOURS: dict[str, dict[str, str]] = {
    "light": {
        "ink": "#16181d",
        "soft": "#565c66",
        "line": "#d9dce1",
        "paper": "#ffffff",
        "raised": "#f5f6f8",
        "link": "#0b57a4",
        "shade": "11 98 168",
    },
    "dark": {
        "ink": "#e8eaed",
        "soft": "#a6adb8",
        "line": "#373c45",
        "paper": "#14161a",
        "raised": "#1d2026",
        "link": "#8ec2ff",
        "shade": "112 178 255",
    },
    "print": {
        "ink": "#000",
        "soft": "#444",
        "line": "#bbb",
        "paper": "#fff",
        "raised": "#fff",
        "link": "#000",
        "shade": "90 90 90",
    },
}
SERIES: dict[str, tuple[str, ...]] = {  # of classes and systems, in their order
    "light": ("#0b62a8", "#b83a0b", "#0a6e60", "#6d35d0", "#8a6100", "#b01963", "#3f6f0b", "#475569"),
    "dark": ("#70b2ff", "#ff9a6b", "#4fd1bd", "#c3a5ff", "#e6bd4f", "#ff8fc0", "#a8d66a", "#b6c2d1"),
    "print": ("#000", "#444", "#777", "#222", "#555", "#888", "#333", "#666"),
}


def variables(theme: str) -> str:
    """The CSS variables of light, dark or print: ``--ink``, ``--c0`` and so on."""
    colours = COLOURS[theme] | {f"c{number}": colour for number, colour in enumerate(SERIES[theme])}
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
