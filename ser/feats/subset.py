"""One subset of a fold (train, dev or test) as a system reads it: labels, speakers, normalised features.

Shapes: N utterances, T frames of one, F values of a frame (or of an utterance's one vector).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ser import config
from ser.data import labels, tables
from ser.data.datadir import MAIN, main_set, source_of
from ser.errors import ConfigError, DataError
from ser.feats import cmvn
from ser.feats.base import ONE_SCALE, Layout, Timing
from ser.feats.level import Sums
from ser.feats.sets import SETTINGS, set_folder
from ser.feats.speech import NOT_ASKED, SpeechFrames, SpeechTable, SpeechUse, vad_files

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Norm = Literal["none", "utterance", "speaker", "global"]

CACHE_BYTES = 1 << 30  # features of a set are kept in memory when they take no more than this
_SPEAKER_TABLES = {"gender": "spk2gender"}  # targets that are known of a speaker, not of an utterance
_TARGET_TABLES = {"speaker": "utt2spk", "emotion": "utt2emo"}  # any other target x stands in utt2x


# ---------------------------------------------------------------------------------------------- where it is


def set_settings(folder: Path, name: str) -> dict[str, Any]:
    """The settings with which the features of a set were made, as a data folder or a view tells them.

    Raises:
        DataError: the folder has no features of this set.
    """
    main = _read_settings(folder / MAIN)
    if main.pop("set", None) == name:
        return main
    settings = _read_settings(set_folder(folder, name) / SETTINGS)
    if not settings:
        raise DataError(
            f"{folder}: has no features of the set '{name}'; run stage 1 with a system that reads it, or "
            f"steps/extract.sh <corpus.yaml> {source_of(folder)} conf/{name}.yaml"
        )
    return settings


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return config.read_yaml(path) if path.exists() else {}
    except ConfigError as error:
        raise DataError(f"{path}: no settings of features; run stage 1 again") from error


def _tables(folder: Path, name: str) -> Path:
    """The folder with the tables of a set: the data folder or view itself for the main set."""
    set_settings(folder, name)
    return folder if main_set(folder) == name else set_folder(folder, name)


def feature_files(folder: Path, sets: Sequence[str], *, speech: bool = False) -> dict[str, Path]:
    """The files that tell whether features of a subset have changed: name -> path.

    Args:
        folder: the subset's.
        sets: feature sets that are read.
        speech: whether speech activity is too.

    Raises:
        DataError: the folder lacks a set.
    """
    paths = vad_files(folder) if speech else {}
    for name in sets:
        place = _tables(folder, name)
        if place == folder:
            paths |= {"feats.scp": folder / "feats.scp", MAIN: folder / MAIN}
        else:
            paths |= {f"{name}/{file}": place / file for file in ("feats.scp", SETTINGS)}
    return paths


# ------------------------------------------------------------------------------------------- one feature set


class Features:
    """The features of one set, of the utterances of a subset.

    Attributes:
        num_frames: of each utterance, that are read, (N,) int32; None for a set of one vector an utterance.
        dim: F.
        layout: of the F values.
        speech: speech activity in its frames; None where it is not asked for, or there are no frames.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        keys: Sequence[str],
        speakers: Mapping[str, str],
        norm: Norm,
        global_stats: Doubles | None = None,
        use: SpeechUse = NOT_ASKED,
        table: SpeechTable | None = None,
    ) -> None:
        """Open a set.

        Args:
            folder: the subset's.
            name: of the set.
            keys: the utterances.
            speakers: utterance -> speaker.
            norm: which statistics normalise the features.
            global_stats: those of the training subset, (2, F + 1), for ``norm="global"``.
            use: which frames are read, which statistics are of, whose level is subtracted.
            table: where speech is, if that is asked for.
        """
        self.name, self._keys, self._speakers, self._norm = name, list(keys), speakers, norm
        self._folder, self._tables = folder, _tables(folder, name)
        self._reader = tables.ArkReader(self._tables / "feats.scp", made_by="stages 1 and 2")
        _covers(self._reader.places, self._tables / "feats.scp", self._keys, folder)
        self.num_frames = self._total_frames = self._read_num_frames()
        self.speech: SpeechFrames | None = None
        if table is not None and self._total_frames is not None:
            self.speech = table.frames(self._total_frames.astype(np.int64), _timing_of(folder, name))
            self.num_frames = self.speech.num_frames
        self._over_speech = self.speech is not None and use.over_speech
        self.dim = int(self._reader.read(self._keys[0]).shape[-1])
        self.layout = _layout_of(folder, name)
        level = "none" if self._total_frames is None else use.level
        self._sums = Sums(self._utterance_stats, speakers, level)
        # whether the sums of speakers that stage 2 wrote, of all frames as they were made, are no help
        self._own_sums = self._over_speech or level != "none"
        self._scales = self._read_scales(norm, global_stats)
        rows = len(self._keys) if self.num_frames is None else int(self.num_frames.sum(dtype=np.int64))
        self._cache: dict[int, Floats] | None = {} if 4 * self.dim * rows <= CACHE_BYTES else None

    @property
    def cached(self) -> bool:
        """Whether the features of all utterances are kept in memory."""
        return self._cache is not None

    def raw(self, index: int) -> npt.NDArray[Any]:
        """The features of one utterance as they were made, (T, F) or (F,).

        Raises:
            DataError: the archive is gone, cut short, or not what the tables say.
        """
        frames = None if self._total_frames is None else int(self._total_frames[index])
        return self._reader.read(self._keys[index], frames, self.dim)

    def read(self, index: int) -> Floats:
        """The normalised features of one utterance, (T, F) or (F,) float32; of T those that are read."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        features = self.raw(index).astype(np.float32, copy=False)
        if self._sums.level != "none":
            features = features - np.float32(self._sums.level_of(self._keys[index]))
        if self._norm == "utterance":
            features = cmvn.normalise(features, cmvn.stats(self._counted(index, features)))
        elif self._norm != "none":
            shift, scale = self._scales[self._speakers[self._keys[index]] if self._norm == "speaker" else ""]
            features = (features - shift) * scale
        if self.speech is not None:
            features = self.speech.take(index, features)
        if self._cache is not None:
            self._cache[index] = features
        return features

    def _counted(self, index: int, features: Floats) -> Floats:
        """The frames of an utterance that statistics are of, of all its features (T, F)."""
        if self.speech is None or not self._over_speech:
            return features
        return features[self.speech.speech[index]]

    def spread(self, index: int, weights: Floats) -> Floats:
        """Weights of the frames that are read of an utterance as weights of all its frames, (T,)."""
        return weights.copy() if self.speech is None else self.speech.spread(index, weights)

    def heard(self, utts: Ints, starts: Ints, context: int) -> npt.NDArray[np.bool_]:
        """Which chunks take part, (K,): all, but those without speech where :attr:`speech` says which are."""
        everything = np.ones(len(utts), np.bool_)
        return everything if self.speech is None else self.speech.heard(utts, starts, context)

    def forget(self) -> None:
        """Let go of the features in memory; they are read again when they are asked for."""
        if self._cache is not None:
            self._cache.clear()

    def total_stats(self) -> Doubles:
        """Statistics of all utterances together, (2, F + 1); those that stage 2 wrote, where it did."""
        path = self._folder / "cmvn_global.scp"
        if self._tables == self._folder and path.exists() and not self._own_sums:
            return tables.ArkReader(path, made_by="stage 2").read("global").astype(np.float64)
        total: Doubles = np.sum(list(self._sums.of_speakers().values()), axis=0)
        return total

    def _read_num_frames(self) -> npt.NDArray[np.int32] | None:
        path = self._tables / "utt2num_frames"
        if not path.exists():
            return None
        table = tables.read_table(path)
        _covers(table, path, self._keys, self._folder)
        frames = tables.convert(
            {key: table[key] for key in self._keys}, path, tables.positive_int, "<frames>"
        )
        return np.fromiter(frames.values(), dtype=np.int32, count=len(frames))

    def _read_scales(self, norm: Norm, global_stats: Doubles | None) -> dict[str, tuple[Floats, Floats]]:
        if norm == "utterance" and self.num_frames is None:
            raise DataError(
                f"{self._folder}: the set '{self.name}' has one vector an utterance, which cannot be "
                "normalised by itself; set features.norm to speaker, global or none"
            )
        if norm == "global":
            stats = self.total_stats() if global_stats is None else global_stats
            return {"": _shift_and_scale(stats)}
        if norm != "speaker":
            return {}
        if self._tables != self._folder or self._own_sums:
            return {name: _shift_and_scale(stats) for name, stats in self._sums.of_speakers().items()}
        reader = tables.ArkReader(self._folder / "cmvn.scp", made_by="stage 2")
        spoken = set(self._speakers.values())
        tables.same_keys(reader.places, self._folder / "cmvn.scp", spoken, "the speakers of utt2spk")
        return {speaker: _shift_and_scale(reader.read(speaker)) for speaker in sorted(spoken)}

    def _utterance_stats(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Each utterance's statistics: the sums that stage 2 wrote, or those of its one vector."""
        if self.num_frames is None:
            yield from ((key, cmvn.stats(self.raw(i)[None])) for i, key in enumerate(self._keys))
            return
        stem = cmvn.SPEECH_STEM if self._over_speech else cmvn.STEM
        reader = tables.ArkReader(set_folder(self._folder, self.name) / f"{stem}.scp", made_by="stage 2")
        yield from ((key, reader.read(key)) for key in self._keys)


def _timing_of(folder: Path, name: str) -> Timing | None:
    """Of the frames of a set, as its settings tell it."""
    timing = set_settings(folder, name).get("timing")
    return None if timing is None else config.build(Timing, timing, f"{folder}: timing of the set {name}")


def _layout_of(folder: Path, name: str) -> Layout:
    """Of the values of a set, as its settings tell it."""
    layout = set_settings(folder, name).get("layout")
    return (
        ONE_SCALE if layout is None else config.build(Layout, layout, f"{folder}: layout of the set {name}")
    )


def _covers(table: Mapping[str, object], path: Path, keys: Sequence[str], folder: Path) -> None:
    """Make sure that a table of a set has every utterance; a view's own table has no others."""
    if path.parent == folder:
        tables.same_keys(table, path, keys, folder / "utt2spk")
    elif missing := [key for key in keys if key not in table]:
        raise DataError(
            f"{path}: has no {', '.join(missing[:3])} of {folder}; run stage 1 again, on the folder that "
            "was divided"
        )


def _shift_and_scale(stats: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    mean, std = cmvn.mean_and_std(stats)
    return mean.astype(np.float32), (1.0 / std).astype(np.float32)


# -------------------------------------------------------------------------------------------------- a subset


class Subset:
    """The utterances of a data folder, in key order.

    Attributes:
        folder: data/folds/<fold>/<subset>.
        keys: N utterance ids.
        speakers: utterance -> speaker.
        labels: class indices, (N,) int64; empty without ``emotions``.
        targets: further targets -> class indices, (N,) int64 each.
        target_names: further targets -> their classes.
        inputs: feature set -> its features.
    """

    def __init__(
        self,
        folder: Path,
        sets: Sequence[str],
        norm: Norm,
        *,
        emotions: Sequence[str] | None = None,
        targets: Sequence[str] = (),
        global_stats: Mapping[str, Doubles] | None = None,
        speech: SpeechUse = NOT_ASKED,
    ) -> None:
        """Open a data folder that stage 2 made.

        Args:
            folder: data/folds/<fold>/<subset>.
            sets: feature sets to read, the main one of the system first.
            norm: which statistics normalise the features.
            emotions: class order; None leaves labels and targets unread.
            targets: what a system learns besides the emotion; ``utt2<target>`` has it.
            global_stats: statistics of the training subset for each set, for ``norm="global"``; None takes
                those of this subset.
            speech: which frames of an utterance are read, which statistics are of, whose level is subtracted.

        Raises:
            DataError: a table is missing or wrong, tables disagree, a speaker has no statistics.
        """
        self.folder = folder
        self.speakers = tables.read_table(folder / "utt2spk", made_by="stage 2")
        self.keys = list(self.speakers)
        self.labels: Ints = np.empty(0, dtype=np.int64)
        self.targets: dict[str, Ints] = {}
        self.target_names: dict[str, list[str]] = {}
        if emotions is not None:
            self.labels = self._read_labels(emotions)
            for target in targets:
                self._read_target(target)
        table = self._read_speech(speech)
        self.inputs = {
            name: Features(
                folder, name, self.keys, self.speakers, norm, (global_stats or {}).get(name), speech, table
            )
            for name in sets
        }
        if table is not None and self.main.speech is None:
            raise DataError(
                f"{folder}: the set '{self.main.name}' has one vector an utterance, in which speech activity "
                "finds no frames; set features.vad.use to none and features.cmvn.over to all"
            )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def main(self) -> Features:
        """The features of the first set."""
        return next(iter(self.inputs.values()))

    @property
    def num_frames(self) -> npt.NDArray[np.int32]:
        """Frames of the first set, (N,).

        Raises:
            DataError: it has one vector an utterance.
        """
        frames = self.main.num_frames
        if frames is None:
            raise DataError(
                f"{self.folder}: the set '{self.main.name}' has one vector an utterance; name a set of "
                "frames first in features.sets"
            )
        return frames

    def _read_speech(self, use: SpeechUse) -> SpeechTable | None:
        """Speech activity, where it is asked for."""
        if not use.is_asked:
            return None
        main = main_set(self.folder)
        timing = None if main is None else _timing_of(self.folder, main)
        return SpeechTable(self.folder, self.keys, use, timing)

    def _read_labels(self, emotions: Sequence[str]) -> Ints:
        own = labels.read_emotions(self.folder / labels.EMOTIONS)
        if own != tuple(emotions):
            raise DataError(
                f"{self.folder / labels.EMOTIONS}: its classes are {' '.join(own)}, the model's are "
                f"{' '.join(emotions)}; use data made with the same classes in the settings of the corpus"
            )
        path = self.folder / "utt2emo"
        table = labels.read_utt2emo(path, own)
        tables.same_keys(table, path, self.speakers, self.folder / "utt2spk")
        index = {name: number for number, name in enumerate(own)}
        return np.array([index[table[key]] for key in self.keys], dtype=np.int64)

    def _read_target(self, name: str) -> None:
        path = self.folder / _SPEAKER_TABLES.get(name, _TARGET_TABLES.get(name, f"utt2{name}"))
        if not path.exists():
            raise DataError(
                f"{path}: no such file, the corpus does not say the {name}, which the system learns; take it "
                "out of targets, or prepare a corpus that has it (stage 0)"
            )
        table = tables.read_table(path)
        if name in _SPEAKER_TABLES:
            table = {key: table[speaker] for key, speaker in self.speakers.items()}
        tables.same_keys(table, path, self.speakers, self.folder / "utt2spk")
        self.target_names[name] = sorted(set(table.values()))
        index = {value: number for number, value in enumerate(self.target_names[name])}
        self.targets[name] = np.array([index[table[key]] for key in self.keys], dtype=np.int64)
