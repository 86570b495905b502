"""Word vectors in GloVe's text format: what is read, passed over and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ser.data.word_vectors import read_word_vectors
from ser.errors import DataError

WORDS = ("door", "naïve", "rain")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "glove.txt"


def read(path: Path, text: str, dim: int = 3) -> dict[str, list[float]]:
    path.write_bytes(text.encode())
    return {word: vector.tolist() for word, vector in read_word_vectors(path, WORDS, dim).items()}


def test_only_the_words_that_are_looked_for(path: Path) -> None:
    text = "the 1 2 3\nrain 0.5 -0.25 1e-1\nnaïve 1 1 1\nrain 9 9 9\n"
    assert read(path, text) == {"rain": [0.5, -0.25, np.float32(0.1)], "naïve": [1.0, 1.0, 1.0]}


def test_other_ways_to_write_it(path: Path) -> None:
    """word2vec's and fastText's first line, their blanks at the ends of lines; GloVe's words with blanks."""
    assert read(path, "2 3\nrain 1 2 3 \r\ndoor 4 5 6") == {"rain": [1.0, 2.0, 3.0], "door": [4.0, 5.0, 6.0]}
    assert read(path, "rain 1 2 3\n. . 1 2 3\nat a@b.com 1 2 3\ndoor 4 5 6\n").keys() == {"rain", "door"}
    assert read(path, "rain 7\ndoor 8\n", dim=1) == {"rain": [7.0], "door": [8.0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\nrain 1 2\n", ":2: has 2 values, the lines above have 3; get it again, or name another"),
        (
            "the 1 2 3\nrain 1 2 3 4\n",
            ":2: has 4 values, the lines above have 3; get it again, or name another",
        ),
        (
            "rain 1 2 3\nunseen 1 2\n",
            ":2: has 2 values, the lines above have 3; get it again, or name another",
        ),
        (
            "rain 1 2 3\n\ndoor 1 2 3\n",
            ":2: has 0 values, the lines above have 3; get it again, or name another",
        ),
        (
            "9 2\nthe 1 2\nrain 1 2\n",
            ":2: has 2 values, text.embedding is 3; set text.embedding to 2, or name another file",
        ),
        ("rain 1 2 x\n", ":1: 'x' is no number; get it again, or name another"),
        ("rain 1 nan 2\n", ":1: holds NaN or infinity; get it again, or name another"),
        (
            "the 1 2 3\nRAIN 1 2 3\n",
            ": has none of the 3 words of the training subset (door, naïve, rain); name vectors of its "
            "language, of words in lower case",
        ),
    ],
)
def test_what_is_refused(path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        read(path, text)
    assert str(error.value) == f"{path}{message}"


def test_no_file(path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_word_vectors(path, WORDS, 3)
    assert str(error.value) == f"{path}: no such file; name a file of word vectors"
    with pytest.raises(DataError) as error:
        read_word_vectors(path.parent, WORDS, 3)
    assert (
        str(error.value)
        == f"{path.parent}: is a folder where a file is expected; get it again, or name another"
    )
