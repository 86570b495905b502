"""Word vectors of the user's own, in GloVe's text format: a word and its values on a line, between blanks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser import reading
from ser.errors import DataError, examples, plural, shown
from ser.reading import BadFileError

Floats = npt.NDArray[np.float32]
MAX_LINE = 1 << 20  # bytes


def read_word_vectors(path: Path, words: Collection[str], dim: int) -> dict[str, Floats]:
    """The vectors of those words that a file has; of a word that stands twice the first.

    The first line may say the number of words and of values, as word2vec's and fastText's do.  A word with
    blanks in it, as GloVe's largest file has some, is passed over.

    Args:
        path: the file, of any size; it is read line by line.
        words: those that are looked for.
        dim: values of a vector.

    Raises:
        DataError: lines have another number of values, or something that is no number; none of the words is
            there.
    """
    vectors: dict[str, Floats] = {}
    with reading.guarded(path, "get it again, or name another", missing="name a file of word vectors"):
        for number, word, values in _lines(path, dim):
            if word in words and word not in vectors:
                vectors[word] = _parse(values, number)
    if not vectors:
        raise DataError(
            f"{path}: has none of the {plural(len(words), 'word')} of the training subset "
            f"({examples(sorted(words))}); name vectors of its language, of words in lower case"
        )
    return vectors


def _lines(path: Path, dim: int) -> Iterator[tuple[int, str, list[bytes]]]:
    """Number, word and values of each line; not of those whose word has blanks."""
    usual = 0  # values of the first line
    with reading.open_file(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
            word, *values = line.rstrip().split(b" ")
            if number == 1 and len(values) == 1 and word.isdigit() and values[0].isdigit():
                continue
            usual = usual or len(values)
            if usual != dim:
                raise DataError(
                    f"{path}:{number}: has {plural(usual, 'value')}, text.embedding is {dim}; set "
                    f"text.embedding to {usual}, or name another file"
                )
            if len(values) > dim and not _is_number(values[0]):
                continue
            if len(values) != dim:
                raise BadFileError(f"has {plural(len(values), 'value')}, the lines above have {dim}", number)
            yield number, word.decode("utf-8", "replace"), values


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(values: list[bytes], number: int) -> Floats:
    try:
        vector = np.array([float(value) for value in values], dtype=np.float32)
    except ValueError:
        odd = next(value for value in values if not _is_number(value))
        raise BadFileError(f"{shown(odd.decode('utf-8', 'replace'))} is no number", number) from None
    if not np.isfinite(vector).all():
        raise BadFileError("holds NaN or infinity", number)
    return vector
