"""Pieces of recordings on their way into a trained model: their features, a batch at a time, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ser import systems
from ser.errors import CheckpointError, ConfigError, DataError
from ser.feats.front_end import FrontEnd, Made, extractor_names
from ser.feats.memory_subset import MemorySubset
from ser.feats.speech import SpeechTable, SpeechUse
from ser.feats.stores import MemoryStore
from ser.feats.subset import Doubles, Norm
from ser.learn.decoding import read_norm
from ser.learn.models import TrainedModel
from ser.predict.kept import KeptFeatures
from ser.predict.result import Piece
from ser.systems.base import Estimator

BATCH_S, BATCH_PIECES = 200.0, 512  # audio and number of the pieces that are classified together
Failed = Callable[[Piece, DataError], None]
Sums = Mapping[str, Mapping[str, Doubles]]  # feature set (of an estimator: "") -> speaker -> sums


class Prepared(NamedTuple):
    """A piece and its features, as they were made."""

    piece: Piece
    made: Made


class Preparation:
    """Makes the features that a trained model reads, and normalises them as the model asks for it.

    Attributes:
        front_end: makes the features.
        speech: which frames are read, which statistics are of, whose level is subtracted.
        kept: features of pieces that were made before; None: none are kept.
    """

    def __init__(self, model: TrainedModel, allow: Sequence[str], use_gpu: str = "auto") -> None:
        """``allow`` is code outside ``ser`` that makes the features, ``use_gpu`` where networks make them.

        Raises:
            CheckpointError: it names code that is not allowed, or settings that cannot be used.
        """
        self._model, self.speech = model, SpeechUse.of(model.settings)
        self.kept: KeptFeatures | None = None
        path, vad = model.folder, model.facts.get("vad")
        if not self.speech.is_asked:
            vad = None
        elif not isinstance(vad, dict):
            raise CheckpointError(f"{path}: asks for speech activity and does not say which; train it again")
        main = model.facts.get("vad_main")
        for name in extractor_names([*model.sets.values(), (vad or {}).get("made"), main]):
            systems.check_allowed(name, allow, path, "extractor of features")
        try:
            self.front_end = FrontEnd(model.sets, vad, main, str(path), use_gpu)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        if any(model.sizes.features.get(name) != dim for name, dim in self.front_end.dims.items()):
            raise CheckpointError(
                f"{path}: its features have other numbers of values than its system reads; train the model "
                "again"
            )

    def batches(
        self, pieces: Iterable[Piece], check: Callable[[Piece], None], failed: Failed | None
    ) -> Iterator[list[Prepared]]:
        """Pieces with their features, as many as are classified together.

        Args:
            pieces: taken one by one, as far as a batch needs.
            check: raises a DataError of a piece that cannot be used.
            failed: told of a piece that cannot be used, which is passed over; None raises it.
        """
        batch: list[Prepared] = []
        num_samples = 0
        for piece in pieces:
            try:
                check(piece)
                made = self._make(piece)
            except DataError as error:
                fail(piece, error, failed)
                continue
            batch.append(Prepared(piece, made))
            num_samples += len(piece.samples)
            if num_samples >= BATCH_S * self.front_end.sampling_rate_hz or len(batch) == BATCH_PIECES:
                yield batch
                batch, num_samples = [], 0
        if batch:
            yield batch

    def _make(self, piece: Piece) -> Made:
        made = None if self.kept is None else self.kept.get(piece)
        if made is None:
            made = self.front_end.make(piece.samples, piece.source, piece.source)
            if self.kept is not None:
                self.kept.put(piece, made)
        return made

    def subset(self, batch: Sequence[Prepared], sums: Sums | None) -> MemorySubset:
        """A batch as the model reads it; ``sums`` are of all that its speakers say, where it needs them."""
        return self._subset(batch, read_norm(self._model), self.speech, sums)

    def sums(self, batch: Sequence[Prepared]) -> Sums:
        """What is added up of the pieces of a batch, for the statistics of their speakers."""
        level = "none" if self.speech.level == "speaker" else self.speech.level
        subset = self._subset(batch, "none", self.speech._replace(level=level), None)
        system = self._model.system
        if isinstance(system, Estimator):
            assert system.speaker_stats is not None
            return {"": system.speaker_stats(self._model.settings, subset)}
        return {name: features.speaker_stats() for name, features in subset.inputs.items()}

    def _subset(
        self, batch: Sequence[Prepared], norm: Norm, use: SpeechUse, sums: Sums | None
    ) -> MemorySubset:
        stores = [
            MemoryStore(name, [made.values[name] for _, made in batch], each.timing, each.layout)
            for name, each in self.front_end.sets.items()
        ]
        table = None
        if use.is_asked:
            speech = [made.speech for _, made in batch if made.speech is not None]
            places = [piece.source for piece, _ in batch]
            table = SpeechTable(Path("speech activity"), places, speech, use, self.front_end.main)
        return MemorySubset(
            [f"{piece.source}: the piece at {piece.start_s:.2f} s" for piece, _ in batch],
            [piece.speaker for piece, _ in batch],
            stores,
            norm,
            global_stats=self._model.stats,
            speech=use,
            table=table,
            speaker_stats=sums,
        )


def fail(piece: Piece, error: DataError, failed: Failed | None) -> None:
    """Tell of a piece that cannot be used, or raise the error where nobody listens."""
    if failed is None:
        raise error
    failed(piece, error)
