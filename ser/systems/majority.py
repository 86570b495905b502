"""The majority class: the shares of the classes in the training subset, for every utterance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ser.feats.subset import Subset
from ser.systems.base import Arrays, Doubles, Estimator


@dataclass(frozen=True)
class MajoritySettings:
    """conf/majority.yaml."""

    system: str  # the code: a word of ser/systems, or my_package.my_module:SYSTEM
    unit: Literal["utterance"]  # what it is trained on


def fit(train: Subset, settings: MajoritySettings, num_classes: int, seed: int) -> Arrays:  # noqa: ARG001  (an estimator's)
    """The shares of the classes, (K,)."""
    return {"shares": np.bincount(train.labels, minlength=num_classes) / len(train.labels)}


def posteriors(model: Arrays, settings: MajoritySettings, subset: Subset) -> Doubles:  # noqa: ARG001
    """The shares of the classes for every utterance, (N, K)."""
    return np.tile(model["shares"], (len(subset), 1))


SYSTEM = Estimator(MajoritySettings, fit, posteriors, seeded=False)
