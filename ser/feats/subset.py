"""One part of a fold (train, dev or test) as a network reads it: tables, labels, normalised features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser import config
from ser.data import labels, tables
from ser.errors import ConfigError, DataError
from ser.feats import cmvn
from ser.learn.settings import Norm

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

CACHE_BYTES = 1 << 30  # features of a part are kept in memory when they take no more than this


class Part:
    """The utterances of a data folder, in key order.

    Attributes:
        keys: utterance ids.
        num_frames: (len(keys),) int32.
        labels: class indices, (len(keys),) int64; empty without ``emotions``.
        num_filters: F.
    """

    def __init__(
        self,
        folder: Path,
        norm: Norm,
        *,
        emotions: Sequence[str] | None = None,
        global_stats: Doubles | None = None,
    ) -> None:
        """Open a data folder that stage 2 made.

        Args:
            folder: data/folds/<fold>/<part>.
            norm: which statistics normalise the features.
            emotions: class order; None leaves the labels unread.
            global_stats: statistics of the training part, (2, F + 1), for ``norm="global"``.

        Raises:
            DataError: a table is missing or wrong, tables disagree, a speaker has no statistics.
        """
        self.folder = folder
        frames_path = folder / "utt2num_frames"
        frames = tables.convert(
            tables.read_table(frames_path, made_by="stage 2"), frames_path, tables.positive_int, "<frames>"
        )
        self.keys = list(frames)
        self.num_frames = np.fromiter(frames.values(), dtype=np.int32, count=len(frames))
        self._reader = tables.ArkReader(folder / "feats.scp", made_by="stages 1 and 2")
        tables.same_keys(self._reader.places, folder / "feats.scp", frames, frames_path)
        self.num_filters = int(self._reader.read(self.keys[0]).shape[1])
        self.labels = self._read_labels(frames, emotions)
        self.speakers = tables.read_table(folder / "utt2spk", made_by="stage 2")
        tables.same_keys(self.speakers, folder / "utt2spk", frames, frames_path)
        self._norm = norm
        self._scales = self._read_scales(norm, global_stats)
        size = 4 * self.num_filters * int(self.num_frames.sum(dtype=np.int64))
        self._cache: dict[int, Floats] | None = {} if size <= CACHE_BYTES else None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def cached(self) -> bool:
        """Whether the features of the whole part are kept in memory."""
        return self._cache is not None

    def features(self, index: int) -> Floats:
        """The normalised features of one utterance, (T, F) float32.

        Raises:
            DataError: the archive is gone, cut short, or not what the tables say.
        """
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        key = self.keys[index]
        raw = self._reader.read(key, int(self.num_frames[index]), self.num_filters)
        features = raw.astype(np.float32, copy=False)
        if self._norm == "utterance":
            features = cmvn.normalise(features, cmvn.stats(features))
        elif self._norm != "none":
            shift, scale = self._scales[self.speakers[key] if self._norm == "speaker" else ""]
            features = (features - shift) * scale
        if self._cache is not None:
            self._cache[index] = features
        return features

    def forget(self) -> None:
        """Let go of the features in memory; they are read again when they are asked for."""
        if self._cache is not None:
            self._cache.clear()

    def _read_labels(
        self, frames: Mapping[str, int], emotions: Sequence[str] | None
    ) -> npt.NDArray[np.int64]:
        if emotions is None:
            return np.empty(0, dtype=np.int64)
        own = labels.read_emotions(self.folder / "emotions.txt")
        if own != tuple(emotions):
            raise DataError(
                f"{self.folder / 'emotions.txt'}: its classes are {' '.join(own)}, the model's are "
                f"{' '.join(emotions)}; use data made from the same conf/corpus.yaml"
            )
        path = self.folder / "utt2emo"
        table = labels.read_utt2emo(path, own)
        tables.same_keys(table, path, frames, self.folder / "utt2num_frames")
        index = {name: number for number, name in enumerate(own)}
        return np.array([index[table[key]] for key in self.keys], dtype=np.int64)

    def _read_scales(self, norm: Norm, global_stats: Doubles | None) -> dict[str, tuple[Floats, Floats]]:
        if norm == "global":
            assert global_stats is not None
            return {"": _shift_and_scale(global_stats)}
        if norm != "speaker":
            return {}
        reader = tables.ArkReader(self.folder / "cmvn.scp", made_by="stage 2")
        spoken = set(self.speakers.values())
        tables.same_keys(reader.places, self.folder / "cmvn.scp", spoken, "the speakers of utt2spk")
        return {speaker: _shift_and_scale(reader.read(speaker)) for speaker in sorted(spoken)}


def _shift_and_scale(stats: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    mean, std = cmvn.mean_and_std(stats)
    return mean.astype(np.float32), (1.0 / std).astype(np.float32)


def read_global_stats(train: Path) -> Doubles:
    """Statistics of a training part, (2, F + 1)."""
    return tables.ArkReader(train / "cmvn_global.scp", made_by="stage 2").read("global").astype(np.float64)


def read_fbank_settings(folder: Path) -> dict[str, Any]:
    """The settings with which the features of a data folder were made."""
    try:
        return config.read_yaml(folder / "fbank.yaml")
    except ConfigError as error:
        raise DataError(
            f"{folder / 'fbank.yaml'}: no settings of the features; run stages 1 and 2"
        ) from error
