"""Emotion over time of pieces that a model has classified: posteriors of their chunks, or of windows.

Where all feature sets have frames, windows are cut out of the piece's features as the model reads them: made
of the whole piece and normalised.  Features that are one vector are made of each window's samples, and
normalised by the statistics of the speaker or of the training subset.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ser.errors import DataError, plural
from ser.feats.base import Floats
from ser.feats.chunking import ChunkingConfig
from ser.feats.memory_subset import MemorySubset
from ser.feats.speech import NOT_ASKED
from ser.feats.stores import MemoryStore
from ser.feats.subset import Features
from ser.predict.result import Doubles, Piece, Track
from ser.predict.track import Ints, TrackSettings, chunk_times, place, window_rows, window_times
from ser.systems.base import Decision, Estimator

if TYPE_CHECKING:
    from ser.predict.model import Classified, Model, Speakers

log = logging.getLogger("ser")


class Tracker:
    """Makes the track of each piece that a model has classified."""

    def __init__(self, model: Model, settings: TrackSettings, speakers: Speakers | None) -> None:
        """``speakers`` are those that the pieces are classified with."""
        self._model, self._settings, self._speakers = model, settings, speakers

    def __call__(self, seen: Classified) -> Track:
        """The track of a piece, on the recording's time line."""
        piece = seen.piece
        if self._settings.uses_chunks(on_chunks(self._model)):
            times, posteriors = self._chunks(seen)
        else:
            times = window_times(piece.end_s - piece.start_s, self._settings)
            inputs = seen.subset.inputs.values()
            if inputs and all(each.timing is not None for each in inputs):
                times, posteriors = self._frames(seen, times)
            else:
                times, posteriors = self._samples(piece, times)
        return place(times, posteriors, piece.start_s, piece.end_s)

    def _chunks(self, seen: Classified) -> tuple[Doubles, Doubles]:
        """Times and posteriors of the chunks that take part in the piece's decision."""
        from ser.learn.inference import decoded_chunks

        index, main = seen.decision.index, seen.subset.main
        chunks = decoded_chunks(seen.subset, index, self._model.trained.settings.unit)
        rows = seen.decision.chunks
        if rows is None:
            assert seen.decision.padded is not None
            rows = seen.decision.padded[None]
        assert main.timing is not None
        return chunk_times(chunks.starts, chunks.lengths, main.timing, _read_frames(main, index)), rows

    def _frames(self, seen: Classified, times: Doubles) -> tuple[Doubles, Doubles]:
        """Times and posteriors of the windows that have frames in each feature set."""
        index, inputs = seen.decision.index, seen.subset.inputs
        as_made = isinstance(self._model.trained.system, Estimator)  # normalises by itself
        rows: dict[str, Ints] = {}
        for name, features in inputs.items():
            assert features.timing is not None
            frames = np.arange(len(features.raw(index))) if as_made else _read_frames(features, index)
            rows[name] = window_rows(times, features.timing, frames)
        whole = np.all([own[:, 1] > own[:, 0] for own in rows.values()], axis=0)
        if not whole.any():
            return times[:0], np.zeros((0, len(self._model.emotions)))
        stores = []
        for name, features in inputs.items():
            values: Floats = features.raw(index) if as_made else features.read(index)
            windows = [np.asarray(values[begin:end], np.float32) for begin, end in rows[name][whole]]
            stores.append(MemoryStore(name, windows, features.timing, features.layout))
        subset = MemorySubset(
            [f"{seen.piece.source}: the window at {seen.piece.start_s + at:.2f} s" for at in times[whole, 0]],
            [seen.piece.speaker] * int(whole.sum()),
            stores,
            "none",
            global_stats={},
            speech=NOT_ASKED,
            table=None,
            speaker_stats=None if seen.subset.speaker_stats is None else {"": seen.subset.speaker_stats},
        )
        return times[whole], _posteriors(self._model.decide(subset))

    def _samples(self, piece: Piece, times: Doubles) -> tuple[Doubles, Doubles]:
        """Times and posteriors of the windows of whose samples features can be made."""
        rate = self._model.sampling_rate_hz
        windows = []
        for start, end in times:
            samples = piece.samples[round(start * rate) : round(end * rate)]
            windows.append(Piece(piece.source, piece.speaker, float(start), float(end), samples))
        unfit: list[DataError] = []
        results = list(
            self._model.results(windows, self._speakers, failed=lambda _, error: unfit.append(error))
        )
        if unfit:
            log.warning(
                "%s: %d of %s of its track cannot be classified: %s",
                piece.source, len(unfit), plural(len(windows), "window"), unfit[0],
            )  # fmt: skip
        posteriors = np.array([each.posterior for each in results])
        return (
            np.array([(each.start_s, each.end_s) for each in results]).reshape(-1, 2),
            posteriors.reshape(-1, len(self._model.emotions)),
        )


def on_chunks(model: Model) -> bool:
    """Whether a model's system is trained on chunks."""
    return isinstance(getattr(model.trained.settings, "unit", None), ChunkingConfig)


def _read_frames(features: Features, index: int) -> Ints:
    """Which frames of a piece are read, rising, (T,)."""
    assert features.num_frames is not None
    frames: Ints = np.flatnonzero(
        features.spread(index, np.ones(int(features.num_frames[index]), np.float32))
    )
    return frames


def _posteriors(decisions: Sequence[Decision]) -> Doubles:
    """Posteriors of windows, (W, K); those of one padded chunk where a window is shorter than the context."""
    rows = [each.padded if each.posterior is None else each.posterior for each in decisions]
    return np.array(rows)
