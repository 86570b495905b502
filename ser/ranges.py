"""What a number of a settings file may be, said beside its declaration: ``Annotated[int, Range(1, 100)]``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The bounds of a number, any of which may be left out."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a number lies within."""
        return not (
            (self.least is not None and value < self.least)
            or (self.most is not None and value > self.most)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )

    def __str__(self) -> str:
        """In words.

        >>> print(Range(1, 9), Range(0), Range(above=0, below=1), Range(least=0, below=1), sep=", ")
        from 1 to 9, at least 0, above 0 and below 1, at least 0 and below 1
        """
        if self.least is not None and self.most is not None:
            return f"from {self.least} to {self.most}"
        words = (
            ("at least", self.least),
            ("above", self.above),
            ("at most", self.most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {bound}" for word, bound in words if bound is not None)


def read_number(text: str) -> float:
    """A finite decimal number; unlike ``float`` no ``1_0``, ``nan`` or ``1e999``.

    Raises:
        ValueError: it is none.

    >>> read_number("0.4"), read_number("-1e-3")
    (0.4, -0.001)
    """
    plain = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text.strip(), re.ASCII)
    if plain is None or not math.isfinite(float(text)):
        raise ValueError(f"no number: {text}")
    return float(text)
