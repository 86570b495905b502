"""Cepstral mean and variance normalisation, as Kaldi keeps it: sums that can be added.

Statistics are (2, F + 1) float64: row 0 the sums over frames, then the number of frames; row 1 the sums of
squares, then 0.  The statistics of several utterances together are the sum of theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser.data import tables
from ser.data.files import files_below, is_made, write_made
from ser.errors import DataError
from ser.feats.sets import SETTINGS, read_set, set_folder
from ser.feats.speech import CmvnUse, SpeechTable, SpeechUse, vad_files

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Progress = Callable[[Iterable[str], str], Iterable[str]]
log = logging.getLogger("ser")

VARIANCE_FLOOR = 1e-5  # of log energies; a filter that never changes becomes 0, not noise
STEM, SPEECH_STEM = "cmvn_utt", "cmvn_utt_speech"  # of all frames of an utterance, and of those of speech


def stats(features: npt.NDArray[Any]) -> Doubles:
    """The statistics (2, F + 1) of features (T, F)."""
    x = features.astype(np.float64)
    sums = np.zeros((2, x.shape[1] + 1))
    sums[0, :-1] = x.sum(axis=0)
    sums[0, -1] = len(x)
    sums[1, :-1] = np.square(x).sum(axis=0)
    return sums


def mean_and_std(sums: npt.NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation, (F,) each, of statistics (2, F + 1); the variance is floored.

    Raises:
        DataError: they count no frames, or are no statistics.
    """
    if sums.ndim != 2 or sums.shape[0] != 2 or not sums[0, -1] >= 1:
        raise DataError(
            f"CMVN statistics of shape {sums.shape} that count no frames cannot be used; "
            "run steps/compute_cmvn.sh and steps/make_folds.sh again"
        )
    count = sums[0, -1]
    mean = sums[0, :-1] / count
    variance = sums[1, :-1] / count - np.square(mean)
    return mean, np.sqrt(np.maximum(variance, VARIANCE_FLOOR))


def over_values(sums: npt.NDArray[Any]) -> Doubles:
    """Statistics (2, F + 1) that give every value of a frame the mean and deviation of all F together."""
    shared = np.array(sums, dtype=np.float64)
    shared[:, :-1] = shared[:, :-1].mean(axis=1, keepdims=True)
    return shared


def normalise(features: npt.NDArray[Any], sums: npt.NDArray[Any]) -> Floats:
    """Features (T, F) minus the mean, over the standard deviation that ``sums`` (2, F + 1) give; float32."""
    mean, std = mean_and_std(sums)
    if len(mean) != features.shape[1]:
        raise DataError(
            f"CMVN statistics of {len(mean)} values a frame do not fit features of {features.shape[1]}; "
            "run steps/compute_cmvn.sh and steps/make_folds.sh again"
        )
    return ((features - mean) / std).astype(np.float32)


def frame_sets(data: Path) -> list[str]:
    """The feature sets of frames that a data folder has, by name.

    Raises:
        DataError: it has no features at all.
    """
    names = sorted(path.parent.name for path in data.glob(f"*/{SETTINGS}"))
    if not names:
        raise DataError(f"{data}: has no features; run stage 1")
    return [name for name in names if (data / name / "utt2num_frames").exists()]


def compute(data: Path, name: str, progress: Progress) -> None:
    """Write the statistics of every utterance, ``<data>/<set>/{cmvn_utt.scp,cmvn/cmvn_utt.ark}``.

    Where ``<data>/vad.scp`` exists, also those over speech alone, ``cmvn_utt_speech.scp``; of an utterance
    without speech they are over all of it.  Nothing is done if they were made from the same features.

    Args:
        data: a data folder with features.
        name: a set of frames.
        progress: goes through the ids that it is given, and shows that.

    Raises:
        DataError: the features are missing or damaged, or are no frames.
    """
    folder = set_folder(data, name)
    reader = tables.ArkReader(folder / "feats.scp", made_by="stage 1")
    if not (folder / "utt2num_frames").exists():
        raise DataError(f"{folder}: has a vector for each utterance, no frames; name a set of frames")
    files = ("feats.scp", "utt2num_frames", SETTINGS, "utt2digest")
    inputs = {file: folder / file for file in files if (folder / file).exists()}
    _write(folder, STEM, inputs, reader, progress, lambda: None)
    speech = vad_files(data)
    if all(path.exists() for path in speech.values()):
        _write(folder, SPEECH_STEM, inputs | speech, reader, progress, lambda: _speech(data, name))


def _speech(data: Path, name: str) -> dict[str, npt.NDArray[np.bool_]]:
    """Which frames of a set are speech, (T,) of each utterance."""
    path = set_folder(data, name) / "utt2num_frames"
    frames = tables.convert(tables.read_table(path), path, tables.positive_int, "<frames>")
    table = SpeechTable.read(data, list(frames), SpeechUse(cmvn=CmvnUse("speech")), read_set(data).timing)
    speech = table.frames(np.array(list(frames.values())), read_set(data, name).timing).speech
    return dict(zip(frames, speech, strict=True))


def _write(
    folder: Path,
    stem: str,
    inputs: Mapping[str, Path],
    reader: tables.ArkReader,
    progress: Progress,
    counted: Callable[[], Mapping[str, npt.NDArray[np.bool_]] | None],
) -> None:
    """Write statistics, unless they are up to date; ``counted`` gives the frames that they are of, or all."""
    scp, made = folder / f"{stem}.scp", folder / stem.replace("_utt", "")
    if is_made(made, {}, inputs):
        log.info("%s: up to date", scp)
        return
    frames = counted()
    with tables.ArkWriter(made / stem) as writer:
        for key in progress(reader.places, "cmvn"):
            features = reader.read(key)
            writer.write(key, stats(features if frames is None else features[frames[key]]))
    tables.write_table(scp, tables.read_table(made / f"{stem}.scp"))
    write_made(made, {}, inputs, [scp, *files_below(made)])
    log.info("%s: statistics of %d utterances", scp, len(reader.places))
