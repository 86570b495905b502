"""What a system does with speech activity: which frames it reads, and which its statistics are of.

``<data>/vad.scp`` (:mod:`ser.feats.vad`) has a vector of 0 and 1 in frames of the main set for each
utterance; other sets take it at the same times.  An utterance without speech counts as if all of it were.

Shapes: N utterances, T frames of one, K chunks.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ser import config
from ser.data import tables
from ser.data.datadir import VAD, VAD_SCP, source_of
from ser.errors import ConfigError, DataError, examples
from ser.feats.base import Timing
from ser.feats.level import Level
from ser.ranges import Range

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
log = logging.getLogger("ser")

_SHOWN = 5  # utterances that a message names


@dataclass(frozen=True)
class VadUse:
    """Which frames of an utterance a system reads."""

    # none: all frames; trim: from the first of speech to the last; frames: those of speech. features.vad may
    # be left out, which is none
    use: Literal["none", "trim", "frames"]
    margin_ms: Annotated[float, Range(0, 60000)]  # kept before and behind speech


@dataclass(frozen=True)
class CmvnUse:
    """What the statistics of a normalisation are of."""

    # all frames of the recordings, or those of speech; features.cmvn may be left out, which is all
    over: Literal["all", "speech"]
    # each: a mean and a deviation of every value of a frame (also if left out); together: one of all values
    values: Literal["each", "together"] = "each"


ALL_FRAMES, OVER_ALL = VadUse("none", 0.0), CmvnUse("all")


class SpeechUse(NamedTuple):
    """What the key ``features`` of a system says of frames and levels."""

    vad: VadUse = ALL_FRAMES
    cmvn: CmvnUse = OVER_ALL
    level: Level = "none"  # whose level is subtracted; levels are of the frames that statistics are of

    @classmethod
    def of(cls, settings: Any) -> SpeechUse:
        """Those of the settings of a system; its ``features`` may do without."""
        features = getattr(settings, "features", None)
        vad, cmvn = getattr(features, "vad", ALL_FRAMES), getattr(features, "cmvn", OVER_ALL)
        return cls(vad, cmvn, getattr(features, "level", "none"))

    @property
    def over_speech(self) -> bool:
        """Whether statistics are of speech alone."""
        return self.cmvn.over == "speech"

    @property
    def is_asked(self) -> bool:
        """Whether speech activity changes anything."""
        return self.vad.use != "none" or self.over_speech


NOT_ASKED = SpeechUse()


def asks_for_speech(tree: Mapping[str, Any]) -> bool:
    """Whether the settings of a system, as their file has them, need ``vad.scp``."""
    features = tree.get("features")
    if not isinstance(features, Mapping):
        return False
    vad, cmvn = features.get("vad"), features.get("cmvn")
    uses = isinstance(vad, Mapping) and vad.get("use", "none") != "none"
    return uses or (isinstance(cmvn, Mapping) and cmvn.get("over", "all") != "all")


def vad_files(folder: Path) -> dict[str, Path]:
    """The files that tell whether the speech activity of a data folder has changed: name -> path."""
    return {name: source_of(folder) / name for name in (VAD_SCP, VAD)}


def vad_settings(folder: Path) -> dict[str, Any]:
    """The settings with which the speech activity of a data folder was decided.

    Raises:
        DataError: it was not.
    """
    path = source_of(folder) / VAD
    if not path.exists():
        raise _missing(path)
    try:
        return config.read_yaml(path)
    except ConfigError as error:
        raise DataError(f"{path}: no settings of speech activity; run stage 1 again") from error


def _missing(path: Path) -> DataError:
    return DataError(
        f"{path}: no such file, and the system asks for speech activity; run stage 1 with it, or "
        f"steps/extract.sh and steps/compute_vad.sh conf/vad.yaml {path.parent}"
    )


def in_frames(values: Bools, source: Timing, num_frames: int, timing: Timing) -> Bools:
    """Values of frames of ``source``, (S,), at the times of ``num_frames`` frames of ``timing``, (T,).

    Each takes that of the frame nearest in time.

    >>> in_frames(np.array([False, True]), Timing(0.032, 0.016), 5, Timing(0.01, 0.0125)).tolist()
    [False, False, True, True, True]
    """
    times_s = timing.middle_s + np.arange(num_frames) * timing.shift_s
    nearest = np.floor(np.round((times_s - source.middle_s) / source.shift_s, 6) + 0.5).astype(np.int64)
    taken: Bools = values[nearest.clip(0, len(values) - 1)]
    return taken


def named(keys: Sequence[str], total: int) -> str:
    """Utterances for a message: how many, and the first of them."""
    return f"{len(keys)} of {total} utterances ({examples(keys, _SHOWN)})"


def speech_or_all(speech: Bools) -> Bools:
    """``speech`` (T,), or all frames where there is none."""
    return speech if speech.any() else np.ones_like(speech)


class SpeechFrames:
    """Speech in the frames of one set, and which of these a system reads.

    Attributes:
        speech: of each utterance, (T,); all True where there is none.
        num_frames: of each utterance, that are read, (N,) int32.
    """

    def __init__(self, masks: Sequence[Bools], vad: VadUse, shift_s: float) -> None:
        """``masks`` as they were decided, (T,) each; ``shift_s`` from a frame to the next."""
        self.speech = [speech_or_all(mask) for mask in masks]
        margin = round(vad.margin_ms / 1000 / shift_s)
        self._kept = [kept_frames(mask, vad.use, margin) for mask in self.speech]
        self._chosen = vad.use != "none"
        self.num_frames = np.array([np.count_nonzero(kept) for kept in self._kept], np.int32)

    def joined(self, others: Sequence[SpeechFrames]) -> SpeechFrames:
        """Those of these utterances and, behind them, of others, which are read in the same way."""
        whole = copy.copy(self)
        for other in others:
            whole.speech, whole._kept = whole.speech + other.speech, whole._kept + other._kept
            whole.num_frames = np.concatenate([whole.num_frames, other.num_frames])
        return whole

    def take(self, index: int, features: Floats) -> Floats:
        """The frames that are read of features (T, F)."""
        return features[self._kept[index]] if self._chosen else features

    def spread(self, index: int, weights: Floats) -> Floats:
        """Weights of the frames that are read as weights of all frames, (T,): 0 on the others."""
        spread = np.zeros(len(self._kept[index]), weights.dtype)
        spread[self._kept[index]] = weights
        return spread

    def place(self, index: int, first: int, num: int) -> tuple[int, int]:
        """Where a span of frames is among those that are read: its first, and how many are left."""
        before = int(np.count_nonzero(self._kept[index][:first]))
        return before, int(np.count_nonzero(self._kept[index][first : first + num]))

    def heard(self, utts: Ints, starts: Ints, context: int) -> Bools:
        """Which chunks have a frame of speech, (K,); all those of an utterance of which none has.

        Args:
            utts: the utterance of each chunk, rising, (K,).
            starts: its first frame among those that are read, (K,).
            context: frames of a chunk.
        """
        heard = np.ones(len(utts), np.bool_)
        if not self._chosen:
            return heard
        for utt in np.unique(utts):
            rows = slice(*np.searchsorted(utts, (utt, utt + 1)))
            speech = self.speech[utt][self._kept[utt]]
            counts = np.concatenate([[0], np.cumsum(speech)])
            ends = np.minimum(starts[rows] + context, len(speech))
            heard[rows] = speech_or_all(counts[ends] > counts[starts[rows]])
        return heard


def kept_frames(speech: Bools, use: str, margin: int) -> Bools:
    """Which frames a system reads, (T,).

    Args:
        speech: (T,), some of it True.
        use: of :class:`VadUse`.
        margin: frames kept before and behind speech.

    >>> speech = np.array([0, 0, 1, 1, 0, 0, 0, 0, 1, 0], bool)
    >>> [kept_frames(speech, use, 1).astype(int).tolist() for use in ("trim", "frames")]
    [[0, 1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0, 0, 1, 1, 1]]
    """
    frames = np.arange(len(speech))
    if use == "none":
        return np.ones_like(speech)
    places = np.flatnonzero(speech)
    if use == "trim":
        within: Bools = (frames >= places[0] - margin) & (frames <= places[-1] + margin)
        return within
    counts = np.concatenate([[0], np.cumsum(speech)])
    ends = np.minimum(frames + margin + 1, len(speech))
    near: Bools = counts[ends] > counts[np.maximum(frames - margin, 0)]
    return near


class SpeechTable:
    """Speech in frames of the main set, as ``vad.scp`` has it, and what a system does with it.

    Attributes:
        use: that.
    """

    def __init__(
        self, path: Path, keys: Sequence[str], speech: Sequence[Bools], use: SpeechUse, main: Timing | None
    ) -> None:
        """``speech`` (T,) of each of ``keys``, in frames of ``main``; ``path`` is its place, for messages."""
        self._path, self._keys, self._speech, self._main, self.use = path, list(keys), speech, main, use

    @classmethod
    def read(cls, folder: Path, keys: Sequence[str], use: SpeechUse, main: Timing | None) -> SpeechTable:
        """Read ``vad.scp`` of the data folder behind a subset; says which utterances have no speech.

        Args:
            folder: the subset's.
            keys: its utterances.
            use: which frames are read, and which statistics are of.
            main: timing of the main set's frames, which ``vad.scp`` is in.

        Raises:
            DataError: it is missing, lacks utterances, or is damaged.
        """
        path = source_of(folder) / VAD_SCP
        if not path.exists():
            raise _missing(path)
        reader = tables.ArkReader(path, made_by="stage 1")
        if lacking := [key for key in keys if key not in reader.places]:
            raise DataError(f"{path}: has no {', '.join(lacking[:3])} of {folder}; run stage 1 again")
        speech = [_vector(reader, key) for key in keys]
        reader.close()
        silent = [key for key, own in zip(keys, speech, strict=True) if not own.any()]
        if silent:
            log.warning("%s: no speech in %s; all their frames are read", folder, named(silent, len(keys)))
        return cls(path, keys, speech, use, main)

    def frames(self, num_frames: Ints, timing: Timing | None) -> SpeechFrames:
        """Speech in the frames of a set.

        Args:
            num_frames: of its utterances, (N,).
            timing: of its frames.

        Raises:
            DataError: the main set has another number of frames than ``vad.scp``, or settings of features do
                not say which times frames stand for.
        """
        if timing is None or self._main is None:
            raise DataError(
                f"{self._path.parent}: features without a timing of their frames; run stage 1 again"
            )
        masks = []
        for key, speech, total in zip(self._keys, self._speech, num_frames.tolist(), strict=True):
            if timing == self._main and len(speech) != total:
                raise DataError(
                    f"{self._path}: {key} has {len(speech)} frames, utt2num_frames says {total}; run stage 1 "
                    "again"
                )
            masks.append(in_frames(speech, self._main, total, timing))
        return SpeechFrames(masks, self.use.vad, timing.shift_s)


def _vector(reader: tables.ArkReader, key: str) -> Bools:
    values = reader.read(key)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise DataError(f"{reader.path}: {key}: is no vector of 0 and 1; run stage 1 again")
    speech: Bools = values > 0
    return speech
