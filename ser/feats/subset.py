"""Utterances as a system reads them: labels, speakers, normalised features; a subset of a fold, or in memory.

Shapes: N utterances, T frames of one, F values of a frame (or of an utterance's one vector).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ser.data import labels, tables
from ser.data.datadir import main_set
from ser.data.turns import NO_TURNS, Turns, TurnUse, read_turns
from ser.errors import DataError
from ser.feats import cmvn
from ser.feats.base import Timing
from ser.feats.level import Sums
from ser.feats.speech import NOT_ASKED, SpeechFrames, SpeechTable, SpeechUse
from ser.feats.stores import FolderStore, JoinedStore, Store, timing_of

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Norm = Literal["none", "utterance", "speaker", "global"]

CACHE_BYTES = 1 << 30  # features of a set are kept in memory when they take no more than this
_SPEAKER_TABLES = {"gender": "spk2gender"}  # targets that are known of a speaker, not of an utterance
_TARGET_TABLES = {"speaker": "utt2spk", "emotion": "utt2emo"}  # any other target x stands in utt2x


# ------------------------------------------------------------------------------------------- one feature set


class Features:
    """The features of one set, of the utterances of a subset.

    Attributes:
        name: of the set.
        num_frames: of each utterance, that are read, (N,) int32; None for a set of one vector an utterance.
        dim: F.
        layout: of the F values.
        speech: speech activity in its frames; None where it is not asked for, or there are no frames.
    """

    def __init__(
        self,
        store: Store,
        speakers: Mapping[str, str],
        norm: Norm,
        global_stats: Doubles | None = None,
        use: SpeechUse = NOT_ASKED,
        table: SpeechTable | None = None,
        speaker_stats: Mapping[str, Doubles] | None = None,
    ) -> None:
        """Open a set.

        Args:
            store: where it lies.
            speakers: utterance -> speaker.
            norm: which statistics normalise the features.
            global_stats: those of the training subset, (2, F + 1), for ``norm="global"``.
            use: which frames are read, which statistics are of, whose level is subtracted.
            table: where speech is, if that is asked for.
            speaker_stats: what :meth:`speaker_stats` gave of all that each speaker says; None: of these
                utterances.
        """
        self.name, self._store, self._keys, self._speakers = store.name, store, list(speakers), speakers
        self._norm, self._known = norm, speaker_stats
        self.num_frames = self._total_frames = store.num_frames
        self.speech: SpeechFrames | None = None
        if table is not None and self._total_frames is not None:
            parts = store.parts if isinstance(store, JoinedStore) else [store]
            first, *others = [_speech_in(table, part) for part in parts]
            self.speech = first.joined(others)
            self.num_frames = self.speech.num_frames
        self._over_speech = self.speech is not None and use.over_speech
        self._together = use.cmvn.values == "together"
        self.dim, self.layout = store.dim, store.layout
        level = "none" if self._total_frames is None else use.level
        self._sums = Sums(self._utterance_stats, speakers, level, speaker_stats)
        # whether the sums of speakers that stage 2 wrote, of all frames as they were made, are no help
        self._own_sums = self._over_speech or level != "none"
        self._scales = self._make_scales(norm, global_stats)
        rows = len(self._keys) if self.num_frames is None else int(self.num_frames.sum(dtype=np.int64))
        keeps = not store.in_memory and 4 * self.dim * rows <= CACHE_BYTES
        self._cache: dict[int, Floats] | None = {} if keeps else None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def timing(self) -> Timing | None:
        """Of the frames; None where there are none, or their settings do not say."""
        return self._store.timing

    @property
    def cached(self) -> bool:
        """Whether the features of all utterances are kept in memory."""
        return self._cache is not None

    def raw(self, index: int) -> npt.NDArray[Any]:
        """The features of one utterance as they were made, (T, F) or (F,).

        Raises:
            DataError: the archive is gone, cut short, or not what the tables say.
        """
        return self._store.raw(index)

    def read(self, index: int) -> Floats:
        """The normalised features of one utterance, (T, F) or (F,) float32; of T those that are read."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        features = self.raw(index).astype(np.float32, copy=False)
        if self._sums.level != "none":
            features = features - np.float32(self._sums.level_of(self._keys[index]))
        if self._norm == "utterance":
            features = cmvn.normalise(features, self._shared(cmvn.stats(self._counted(index, features))))
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
        made = None if self._own_sums else self._store.total_stats()
        total: Doubles = np.sum(list(self._sums.of_speakers().values()), axis=0) if made is None else made
        return total

    def speaker_stats(self) -> dict[str, Doubles]:
        """Statistics of each speaker, (2, F + 1); those that stage 2 wrote, where it did."""
        spoken = set(self._speakers.values())
        if self._known is not None:
            return {speaker: self._known[speaker] for speaker in spoken}
        made = None if self._own_sums else self._store.speaker_stats(spoken)
        return self._sums.of_speakers() if made is None else made

    def _make_scales(self, norm: Norm, global_stats: Doubles | None) -> dict[str, tuple[Floats, Floats]]:
        if norm == "utterance" and self.num_frames is None:
            raise DataError(
                f"{self._store.place}: the set '{self.name}' has one vector an utterance, which cannot be "
                "normalised by itself; set features.norm to speaker, global or none"
            )
        if norm == "global":
            sums = self.total_stats() if global_stats is None else global_stats
            return {"": _shift_and_scale(self._shared(sums))}
        if norm == "speaker":
            sums_of = self.speaker_stats()
            return {name: _shift_and_scale(self._shared(sums)) for name, sums in sums_of.items()}
        return {}

    def _shared(self, sums: Doubles) -> Doubles:
        """Statistics as the setting ``cmvn.values`` wants them: of each value, or of all together."""
        return cmvn.over_values(sums) if self._together else sums

    def _utterance_stats(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Each utterance's statistics: over speech, where that is asked for and there are frames."""
        speech = self.speech.speech if self.speech is not None and self._over_speech else None
        yield from zip(self._keys, self._store.stats(speech), strict=True)


def _speech_in(table: SpeechTable, store: Store) -> SpeechFrames:
    assert store.num_frames is not None
    return table.frames(store.num_frames.astype(np.int64), store.timing)


def _shift_and_scale(stats: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    mean, std = cmvn.mean_and_std(stats)
    return mean.astype(np.float32), (1.0 / std).astype(np.float32)


# -------------------------------------------------------------------------------------------------- a subset


class Subset:
    """The utterances of a data folder, in key order.

    Attributes:
        folder: data/folds/<fold>/<subset>; of utterances in memory what stands for it in messages.
        keys: N utterance ids.
        speakers: utterance -> speaker.
        people: who speaks the utterances, N; those of copies have the same people, but other speakers.
        labels: class indices, (N,) int64; empty without ``emotions``.
        targets: further targets -> class indices, (N,) int64 each.
        target_names: further targets -> their classes.
        inputs: feature set -> its features.
        speaker_stats: what an estimator's ``speaker_stats`` gave of all that each speaker says; None: the
            subset is all that its speakers say.
        turns: what is said, in which dialogues, by whom; None of systems that read none of that.
    """

    turns: Turns | None = None
    speaker_stats: Mapping[str, Doubles] | None = None
    cut_it: ClassVar[str] = (
        "cut it into several where the corpus is prepared"  # what is done about a long one
    )

    def name_of(self, index: int) -> str:
        """An utterance, for messages."""
        return f"{self.folder}: the utterance {self.keys[index]}"

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
        turns: TurnUse = NO_TURNS,
        vocabulary: Sequence[str] | None = None,
        copies: Sequence[Sequence[str]] = (),
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
            turns: what is read of transcripts and dialogues.
            vocabulary: words of the training subset; None takes those of this subset.
            copies: sets each that stand for ``sets`` in copies of all utterances, such as of recordings
                played faster.  They come behind the utterances; each of their speakers is another one.

        Raises:
            DataError: a table is missing or wrong, tables disagree, a speaker has no statistics.
        """
        self.folder = folder
        self.speakers = tables.read_table(folder / "utt2spk", made_by="stage 2")
        self.keys, self.people = list(self.speakers), list(self.speakers.values())
        self.labels: Ints = np.empty(0, dtype=np.int64)
        self.targets: dict[str, Ints] = {}
        self.target_names: dict[str, list[str]] = {}
        if emotions is not None:
            self.labels = self._read_labels(emotions)
            for target in targets:
                self._read_target(target)
        self.turns = read_turns(folder, self.speakers, turns, vocabulary)
        table = self._read_speech(speech)
        stores = [self._store(names) for names in zip(sets, *copies, strict=True)]
        if copies:
            if self.turns is not None:
                raise DataError(
                    f"{folder}: features.copies is for what is read of utterances by themselves, not of "
                    "transcripts or dialogues; leave it out"
                )
            self._multiply(copies)
        self.inputs = {
            store.name: Features(
                store,
                self.speakers,
                norm,
                (global_stats or {}).get(store.name),
                speech,
                table,
            )
            for store in stores
        }
        if table is not None and self.main.speech is None:
            raise DataError(
                f"{folder}: the set '{self.main.name}' has one vector an utterance, in which speech activity "
                "finds no frames; set features.vad.use to none and features.cmvn.over to all"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def _store(self, names: Sequence[str]) -> Store:
        """A set, and behind it those of the copies."""
        store, *copies = [FolderStore(self.folder, name, self.keys) for name in names]
        return JoinedStore([store, *copies]) if copies else store

    def _multiply(self, copies: Sequence[Sequence[str]]) -> None:
        """Put copies behind the utterances; a name with a blank is no other utterance's."""
        times = 1 + len(copies)
        self.people = list(self.speakers.values()) * times
        names = ["", *(f" ({copy[0]})" for copy in copies)]
        self.speakers = {
            key + name: speaker + name for name in names for key, speaker in self.speakers.items()
        }
        self.keys = list(self.speakers)
        self.labels = np.tile(self.labels, times)
        self.targets = {name: np.tile(values, times) for name, values in self.targets.items()}

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
        timing = None if main is None else timing_of(self.folder, main)
        return SpeechTable.read(self.folder, self.keys, use, timing)

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
