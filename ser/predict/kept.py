"""Features of pieces in a temporary file, so that going through the same pieces again makes none again."""

from __future__ import annotations

import math
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ser import reading
from ser.feats.front_end import Made
from ser.predict.result import Piece

_Key = tuple[str, float, float]


class _Place(NamedTuple):
    """Where an array stands in the file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class KeptFeatures:
    """What was made of pieces, by recording and times."""

    def __init__(self, stream: IO[bytes]) -> None:
        """``stream`` is an empty file to write to and read from."""
        self._stream = stream
        self._end = 0
        self._pieces: dict[_Key, tuple[dict[str, _Place], _Place | None]] = {}

    def get(self, piece: Piece) -> Made | None:
        """The features of a piece; None if none were kept.

        Raises:
            DataError: the file cannot be read.
        """
        places = self._pieces.get((piece.source, piece.start_s, piece.end_s))
        if places is None:
            return None
        values, speech = places
        with reading.guarded("the temporary file of features", "run the same command again"):
            made = {name: self._read(place) for name, place in values.items()}
            return Made(made, None if speech is None else self._read(speech))

    def put(self, piece: Piece, made: Made) -> None:
        """Keep the features of a piece.

        Raises:
            DataError: the file cannot be written.
        """
        with reading.guarded("the temporary file of features", "free some space, or set TMPDIR"):
            values = {name: self._write(array) for name, array in made.values.items()}
            speech = None if made.speech is None else self._write(made.speech)
        self._pieces[piece.source, piece.start_s, piece.end_s] = values, speech

    def _write(self, array: npt.NDArray[Any]) -> _Place:
        place = _Place(self._end, array.dtype, array.shape)
        self._stream.seek(self._end)
        self._end += self._stream.write(array.tobytes())
        return place

    def _read(self, place: _Place) -> npt.NDArray[Any]:
        self._stream.seek(place.offset)
        size = place.dtype.itemsize * math.prod(place.shape)
        content = self._stream.read(size)
        if len(content) < size:
            raise reading.BadFileError("is cut short")
        return np.frombuffer(bytearray(content), place.dtype).reshape(place.shape)
