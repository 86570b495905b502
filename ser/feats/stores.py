"""Where the features of a set lie: the archives of a data folder, or memory.

Shapes: N utterances of a subset, T frames of one, F values of a frame (or of an utterance's one vector).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ser import config, reading
from ser.data import tables
from ser.data.datadir import MAIN, main_set, source_of
from ser.data.files import MADE
from ser.errors import ConfigError, DataError
from ser.feats import cmvn
from ser.feats.base import ONE_SCALE, Floats, Layout, Timing
from ser.feats.sets import SETTINGS, set_folder
from ser.feats.speech import Bools, vad_files

Doubles = npt.NDArray[np.float64]
NumFrames = npt.NDArray[np.int32]


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


def set_versions(folder: Path, name: str) -> dict[str, str]:
    """Libraries with which the features of a set were made, and their versions, where that is known.

    Raises:
        DataError: the record of it is damaged.
    """
    path = set_folder(folder, name) / MADE
    if not path.exists():
        return {}
    remedy = "run stage 1 again"
    with reading.guarded(path, remedy):
        versions = reading.read_json(path, remedy)["settings"].get("versions", {})
        return {str(library): str(version) for library, version in versions.items()}


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


class Store(Protocol):
    """The features of one set as they were made, of the utterances of a subset.

    Attributes:
        name: of the set.
        place: what it is, for messages.
        dim: F.
        num_frames: of each utterance, (N,); None for a set of one vector an utterance.
        in_memory: nothing is gained by keeping what was read.
    """

    name: str
    place: str
    dim: int
    num_frames: NumFrames | None
    in_memory: bool

    @property
    def timing(self) -> Timing | None:
        """Of the frames, where that is known."""

    @property
    def layout(self) -> Layout:
        """Of the F values."""

    def raw(self, index: int) -> npt.NDArray[Any]:
        """The features of one utterance, (T, F) or (F,)."""

    def stats(self, speech: Sequence[Bools] | None) -> Iterator[npt.NDArray[Any]]:
        """CMVN statistics of each utterance in turn, (2, F + 1): of the frames of ``speech``, or of all."""

    def speaker_stats(self, speakers: Collection[str]) -> dict[str, Doubles] | None:
        """Statistics over all frames of each speaker, (2, F + 1); None where nobody has added them up."""

    def total_stats(self) -> Doubles | None:
        """Those of all utterances together; None where nobody has added them up."""


class FolderStore:
    """A :class:`Store` in the archives of a data folder or view."""

    in_memory = False

    def __init__(self, folder: Path, name: str, keys: Sequence[str]) -> None:
        """``folder`` is the subset's, ``name`` the set's, ``keys`` its utterances.

        Raises:
            DataError: the folder does not have the set, or not of all utterances.
        """
        self.name, self.place, self._folder, self._keys = name, str(folder), folder, list(keys)
        self._tables = _tables(folder, name)
        self._reader = tables.ArkReader(self._tables / "feats.scp", made_by="stages 1 and 2")
        _covers(self._reader.places, self._tables / "feats.scp", self._keys, folder)
        self.num_frames = self._read_num_frames()
        self.dim = int(self._reader.read(self._keys[0]).shape[-1])

    @property
    def timing(self) -> Timing | None:
        """Of the frames of a set, as its settings tell it."""
        return timing_of(self._folder, self.name)

    @property
    def layout(self) -> Layout:
        """Of the values of a set, as its settings tell it."""
        layout = set_settings(self._folder, self.name).get("layout")
        where = f"{self._folder}: layout of the set {self.name}"
        return ONE_SCALE if layout is None else config.build(Layout, layout, where)

    @property
    def num_utterances(self) -> int:
        """N."""
        return len(self._keys)

    def raw(self, index: int) -> npt.NDArray[Any]:
        """The features of one utterance, (T, F) or (F,).

        Raises:
            DataError: the archive is gone, cut short, or not what the tables say.
        """
        frames = None if self.num_frames is None else int(self.num_frames[index])
        return self._reader.read(self._keys[index], frames, self.dim)

    def stats(self, speech: Sequence[Bools] | None) -> Iterator[npt.NDArray[Any]]:
        """Those that stage 2 wrote, over all frames or over speech, or those of an utterance's one vector."""
        if self.num_frames is None:
            yield from (cmvn.stats(self.raw(index)[None]) for index in range(len(self._keys)))
            return
        stem = cmvn.STEM if speech is None else cmvn.SPEECH_STEM
        reader = tables.ArkReader(set_folder(self._folder, self.name) / f"{stem}.scp", made_by="stage 2")
        yield from (reader.read(key) for key in self._keys)

    def speaker_stats(self, speakers: Collection[str]) -> dict[str, Doubles] | None:
        """Those that stage 2 wrote of the main set."""
        if self._tables != self._folder:
            return None
        reader = tables.ArkReader(self._folder / "cmvn.scp", made_by="stage 2")
        tables.same_keys(reader.places, self._folder / "cmvn.scp", speakers, "the speakers of utt2spk")
        return {speaker: reader.read(speaker).astype(np.float64) for speaker in sorted(speakers)}

    def total_stats(self) -> Doubles | None:
        """Those that stage 2 wrote of the main set of a training subset."""
        path = self._folder / "cmvn_global.scp"
        if self._tables != self._folder or not path.exists():
            return None
        return tables.ArkReader(path, made_by="stage 2").read("global").astype(np.float64)

    def _read_num_frames(self) -> NumFrames | None:
        path = self._tables / "utt2num_frames"
        if not path.exists():
            return None
        table = tables.read_table(path)
        _covers(table, path, self._keys, self._folder)
        frames = tables.convert(
            {key: table[key] for key in self._keys}, path, tables.positive_int, "<frames>"
        )
        return np.fromiter(frames.values(), dtype=np.int32, count=len(frames))


class _NotAddedUp:
    """A store of whose utterances nobody has added up the statistics."""

    def speaker_stats(self, speakers: Collection[str]) -> None:  # noqa: ARG002  (the protocol's)
        """Nobody has added them up."""

    def total_stats(self) -> None:
        """Nobody has added them up."""


class JoinedStore(_NotAddedUp):
    """A :class:`Store` of the utterances of several, one behind the other."""

    in_memory = False

    def __init__(self, parts: Sequence[FolderStore]) -> None:
        """``parts`` have equally many utterances; the set has the first one's name, timing and layout.

        Raises:
            DataError: their values do not fit together.
        """
        first = parts[0]
        for part in parts[1:]:
            if (part.dim, part.timing is None) != (first.dim, first.timing is None):
                raise DataError(
                    f"{first.place}: the set '{part.name}' has {_kind(part)}, '{first.name}' {_kind(first)}; "
                    "name sets of the same extractor in features.copies"
                )
        self.name, self.place, self.dim, self.parts = first.name, first.place, first.dim, parts
        self._each = first.num_utterances
        frames = [part.num_frames for part in parts if part.num_frames is not None]
        self.num_frames = np.concatenate(frames) if frames else None
        self.timing, self.layout = first.timing, first.layout

    def raw(self, index: int) -> npt.NDArray[Any]:
        """The features of one utterance, (T, F) or (F,)."""
        return self.parts[index // self._each].raw(index % self._each)

    def stats(self, speech: Sequence[Bools] | None) -> Iterator[npt.NDArray[Any]]:
        """Those of the parts."""
        for number, part in enumerate(self.parts):
            first = number * self._each
            yield from part.stats(None if speech is None else speech[first : first + self._each])


def _kind(store: Store) -> str:
    return f"{'vectors' if store.timing is None else 'frames'} of {store.dim} values"


class MemoryStore(_NotAddedUp):
    """A :class:`Store` of features that are in memory."""

    in_memory = True

    def __init__(self, name: str, values: Sequence[Floats], timing: Timing | None, layout: Layout) -> None:
        """``values`` are (T, F) or, without ``timing``, (F,) each; there is at least one."""
        self.name, self.place, self._values = name, f"the set '{name}'", values
        self.timing, self.layout = timing, layout
        self.dim = values[0].shape[-1]
        self.num_frames = None if timing is None else np.array([len(each) for each in values], np.int32)

    def raw(self, index: int) -> Floats:
        """The features of one utterance, (T, F) or (F,)."""
        return self._values[index]

    def stats(self, speech: Sequence[Bools] | None) -> Iterator[Doubles]:
        """CMVN statistics of each utterance in turn, (2, F + 1): of the frames of ``speech``, or of all."""
        for index, values in enumerate(self._values):
            frames = values if self.timing is not None else values[None]
            yield cmvn.stats(frames if speech is None or self.timing is None else frames[speech[index]])


def timing_of(folder: Path, name: str) -> Timing | None:
    """Of the frames of a set, as its settings tell it."""
    timing = set_settings(folder, name).get("timing")
    return None if timing is None else config.build(Timing, timing, f"{folder}: timing of the set {name}")


def _covers(table: Mapping[str, object], path: Path, keys: Sequence[str], folder: Path) -> None:
    """Make sure that a table of a set has every utterance; a view's own table has no others."""
    if path.parent == folder:
        tables.same_keys(table, path, keys, folder / "utt2spk")
    elif missing := [key for key in keys if key not in table]:
        raise DataError(
            f"{path}: has no {', '.join(missing[:3])} of {folder}; run stage 1 again, on the folder that "
            "was divided"
        )
