"""Numbers that papers print of systems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ser.ranges import Range


@dataclass(frozen=True)
class Published:
    """What the paper of a system prints, which the report shows beside ours as of another protocol."""

    acc: Annotated[float, Range(0, 100)] | None  # per cent; the field's weighted accuracy
    uar: Annotated[float, Range(0, 100)] | None  # per cent; the field's unweighted accuracy
    of: str  # which utterances, which folds

    def __post_init__(self) -> None:
        """Refuse numbers that are not there, or of nobody knows what."""
        if self.acc is None and self.uar is None:
            raise ValueError("acc or uar must be a number; leave published out where nothing is")
        if not self.of.strip() or not self.of.isprintable():
            raise ValueError(f"of must say of what the numbers are, in a line, got {self.of!r}")
