"""The calibration of a trained model: one temperature, ``calibration.json`` of its folder.

Shapes: N decisions, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser import reading
from ser.errors import CheckpointError
from ser.ranges import Range
from ser.scoring.calibration import temper
from ser.scoring.metrics import Floats

FORMAT = 1
FILE = "calibration.json"
TEMPERATURES = Range(0.01, 100)  # what a calibration may have
REMEDY = "make it again with ser calibrate, or remove it"


@dataclass(frozen=True)
class Calibration:
    """What makes a model's posteriors mean what they say.

    Attributes:
        temperature: posteriors are raised to one over it: above 1 they become less sure.
        facts: all of ``calibration.json``.
    """

    temperature: float
    facts: dict[str, Any]

    def apply(self, posteriors: Floats) -> Floats:
        """Calibrated posteriors, (N, K) or (K,), rows sum to 1; the order of the classes stays."""
        return temper(posteriors, self.temperature)


def parse_calibration(content: bytes, emotions: Sequence[str], source: Path) -> Calibration:
    """A calibration from the content of ``calibration.json``.

    Args:
        content: of the file.
        emotions: of the model, in its order.
        source: the file, for messages.

    Raises:
        CheckpointError: it is no calibration, or that of other classes or of a newer version.
    """
    with reading.guarded(source, REMEDY, CheckpointError, what="is no calibration"):
        facts = json.loads(content)
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise reading.BadFileError("is no calibration that this version of ser reads")
        if facts["emotions"] != list(emotions):
            raise reading.BadFileError("is a calibration of other classes than the model's")
        temperature = facts["temperature"]
        if not isinstance(temperature, (int, float)) or not TEMPERATURES.holds(temperature):
            raise reading.BadFileError(f"has no temperature {TEMPERATURES}")
        return Calibration(float(temperature), facts)
