"""The two networks of the paper.

Shapes are written with one legend::

    B  segments (or chunks) in a batch       H  values a step that the encoder gives out
    T  frames, or steps of stacked frames    C  channels of a convolution
    F  filterbank channels                   N  positions of a feature map
    K  classes

A model takes numbers, not settings; every forward pass gives ``(logits, attention)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ser.systems.blstmatt import Blstmatt
from ser.systems.csa import Csa

MODELS: dict[str, type[Blstmatt] | type[Csa]] = {"blstmatt": Blstmatt, "csa": Csa}


def create(system: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The model of a system; ``arguments`` are its constructor's, all of them and no others.

    Raises:
        TypeError: an argument is missing or unknown.
    """
    return MODELS[system](**arguments)
