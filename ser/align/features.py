"""The feature set behind a phone model or an alignment in frames, which the folder of either keeps.

``feats.yaml`` looks as in a data folder: ``set: <name>``, then the settings as they were used.
"""

from __future__ import annotations

from pathlib import Path

from ser import config
from ser.data.datadir import MAIN
from ser.data.files import whole_file
from ser.errors import DataError, UsageError
from ser.feats.base import Timing
from ser.feats.sets import FeatureSet, read_set

ALIGN_SET = "align_fbank"  # what phone models are trained on, conf/align_fbank.yaml


def write_used_set(folder: Path, feature_set: FeatureSet) -> None:
    """Keep the name and the settings of a set in a folder."""
    with whole_file(folder / MAIN) as stream:
        stream.write(config.dump({"set": feature_set.name, **feature_set.to_dict()}))


def read_used_set(folder: Path, made_by: str) -> FeatureSet:
    """Read what :func:`write_used_set` wrote; ``made_by`` names the step that makes the folder.

    Raises:
        DataError: the folder keeps no set.
        ConfigError: the settings cannot be used.
    """
    if not (folder / MAIN).is_file():
        raise DataError(f"{folder / MAIN}: no such file; run {made_by}")
    return read_set(folder)


def frame_timing(feature_set: FeatureSet) -> Timing:
    """Which time of the recording each frame of a set stands for.

    Raises:
        UsageError: the set has no frames.
    """
    timing = feature_set.timing
    if timing is None:
        raise UsageError(
            f"--features {feature_set.name}: has one vector an utterance, no frames; name a set with frames"
        )
    return timing
