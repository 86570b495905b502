"""Speech activity as Kaldi's compute-vad: which frames of the main set have speech, ``<data>/vad.scp``.

Shapes: T frames of the main set, S of the set that is looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from ser import config
from ser.data import files, tables
from ser.data.datadir import MAIN, SOURCE, VAD, VAD_SCP
from ser.errors import DataError
from ser.feats.base import Timing
from ser.feats.sets import SETTINGS, read_set, set_folder
from ser.feats.speech import Bools, in_frames, named
from ser.ranges import Range

log = logging.getLogger("ser")
Progress = Callable[[Iterable[str], str], Iterable[str]]
FOLDER = "vad"
NEPERS_PER_DB = np.log(10.0) / 10.0  # of an energy


@dataclass(frozen=True)
class VadConfig:
    """``conf/vad.yaml``; names that begin with ``vad_`` are Kaldi's."""

    set: str  # the feature set whose first value of a frame is looked at: energy, silero, or your own
    # a value is high if above this + vad_energy_mean_scale * the utterance's mean; null: no such rule
    vad_energy_threshold: float | None
    vad_energy_mean_scale: Annotated[float, Range(0, 100)]  # see vad_energy_threshold
    # and if not more than this below the utterance's highest, for log energies; null: no such rule
    below_loudest_db: Annotated[float, Range(above=0, most=1000)] | None
    vad_frames_context: Annotated[int, Range(0, 10000)]  # frames looked at on both sides of one
    # a frame is speech if at least this share of the frames looked at is high
    vad_proportion_threshold: Annotated[float, Range(above=0, below=1)]

    def __post_init__(self) -> None:
        """Refuse a decision by no rule at all."""
        if self.vad_energy_threshold is None and self.below_loudest_db is None:
            raise ValueError("vad_energy_threshold or below_loudest_db must be a number")


RECIPE = VadConfig(  # conf/vad.yaml's, where there is no conf/
    set="energy",
    vad_energy_threshold=0.0,
    vad_energy_mean_scale=0.0,
    below_loudest_db=40.0,
    vad_frames_context=5,
    vad_proportion_threshold=0.3,
)


def decide(values: npt.NDArray[Any], settings: VadConfig) -> Bools:
    """Which frames are speech.

    Args:
        values: of the frames, such as log energies, (S,).
        settings: the rules.

    Returns:
        (S,); none or all may be True.
    """
    x = values.astype(np.float64)
    high = np.ones(len(x), np.bool_)
    if settings.vad_energy_threshold is not None:
        high &= x > settings.vad_energy_threshold + settings.vad_energy_mean_scale * x.mean()
    if settings.below_loudest_db is not None:
        high &= x >= x.max() - settings.below_loudest_db * NEPERS_PER_DB
    frames = np.arange(len(x), dtype=np.int32)
    begins = np.maximum(frames - settings.vad_frames_context, 0)
    ends = np.minimum(frames + settings.vad_frames_context + 1, len(x))
    counts = np.concatenate([[np.int32(0)], np.cumsum(high, dtype=np.int32)])
    speech: Bools = counts[ends] - counts[begins] >= settings.vad_proportion_threshold * (ends - begins)
    return speech


def compute_vad(data: Path, settings: VadConfig, progress: Progress) -> None:
    """Write ``<data>/vad.scp``: a float vector (T,) of 0 and 1 for each utterance, in frames of the main set.

    Beside it ``vad.yaml`` has the settings.  What is up to date is left alone.

    Args:
        data: a data folder with features, that of ``settings.set`` too.
        settings: the rules, and the set that they look at.
        progress: goes through the ids that it is given, and shows that.

    Raises:
        DataError: features are missing or have no frames, or ``data`` is a view.
        StaleError: it was made with other settings or of other features.
    """
    if (data / SOURCE).exists():
        raise DataError(f"{data}: is a view; decide on speech activity in the folder that it is a view of")
    folder = set_folder(data, settings.set)
    values = read_set(data, settings.set)
    record = {**config.to_dict(settings), "made": values.to_dict()}
    source, timing = _timing(values.timing, folder), _timing(read_set(data).timing, data)
    names = ("feats.scp", SETTINGS, "utt2digest")
    inputs = {f"{settings.set}/{name}": folder / name for name in names if (folder / name).exists()}
    inputs |= {name: data / name for name in ("utt2num_frames", MAIN)}
    remedy = f"choose another data folder, or remove {data / FOLDER} to make it again"
    if files.is_made(data / FOLDER, record, inputs, remedy=remedy):
        log.info("%s: up to date", data / VAD_SCP)
        return
    reader = tables.ArkReader(folder / "feats.scp", made_by="stage 1")
    path = inputs["utt2num_frames"]
    num_frames = tables.convert(
        tables.read_table(path, made_by="stage 1"), path, tables.positive_int, "<frames>"
    )
    tables.same_keys(reader.places, reader.path, num_frames, path)
    counts: dict[str, tuple[int, int]] = {}
    with tables.ArkWriter(data / FOLDER / "vad") as writer:
        for key in progress(reader.places, "speech activity"):
            high = decide(reader.read(key)[:, 0], settings)
            speech = in_frames(high, source, num_frames[key], timing)
            writer.write(key, speech.astype(np.float32))
            counts[key] = int(speech.sum()), len(speech)
    with files.whole_file(data / VAD) as stream:
        stream.write(config.dump(record))
    tables.write_table(data / VAD_SCP, tables.read_table(data / FOLDER / VAD_SCP))
    outputs = [data / VAD_SCP, data / VAD, *files.files_below(data / FOLDER)]
    files.write_made(data / FOLDER, record, inputs, outputs)
    _tell(data / VAD_SCP, counts)


def _timing(timing: Timing | None, where: Path) -> Timing:
    if timing is None:
        raise DataError(f"{where}: has a vector for each utterance, no frames; name a set of frames")
    return timing


def _tell(path: Path, counts: dict[str, tuple[int, int]]) -> None:
    """Say how much is speech, and where there is none."""
    speech, total = np.sum(list(counts.values()), axis=0)
    log.info("%s: %.1f %% of %d frames are speech", path, 100 * speech / total, total)
    silent = [key for key, (number, _) in counts.items() if not number]
    if silent:
        log.warning("%s: no speech in %s; all their frames will be read", path, named(silent, len(counts)))
