"""Features that are kept between two passes: the same, once made, and gone with the block."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from ser.errors import DataError
from ser.feats.front_end import Made
from ser.predict.kept import KeptFeatures
from ser.predict.model import load
from ser.predict.result import Piece
from tests.predict.trained import make_model


def piece(source: str, start_s: float, seed: int, seconds: float = 1.0) -> Piece:
    wave = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)
    return Piece(source, "anna", start_s, start_s + seconds, wave)


def test_arrays_read_back_exactly() -> None:
    kept = KeptFeatures(io.BytesIO())
    rng = np.random.default_rng(0)
    made = {}
    for number in range(20):
        values = {"fbank": rng.normal(size=(number + 1, 3)).astype(np.float32), "whole": rng.normal(size=7)}
        made[number] = Made(values, rng.random(number + 1) > 0.5 if number % 2 else None)
        kept.put(piece("a", number, number), made[number])
    for number in reversed(range(20)):
        back = kept.get(piece("a", number, number))
        assert back is not None
        for name, values in made[number].values.items():
            assert back.values[name].dtype == values.dtype
            assert np.array_equal(back.values[name], values)
        assert np.array_equal(back.speech, made[number].speech)
    assert kept.get(piece("b", 3, 3)) is None
    assert kept.get(piece("a", 3, 3, seconds=2.0)) is None


def test_a_file_that_is_cut_short() -> None:
    stream = io.BytesIO()
    kept = KeptFeatures(stream)
    kept.put(piece("a", 0, 0), Made({"fbank": np.ones((5, 3), np.float32)}, None))
    stream.truncate(40)
    with pytest.raises(DataError) as error:
        kept.get(piece("a", 0, 0))
    assert str(error.value) == "the temporary file of features: is cut short; run the same command again"


def test_the_second_pass_makes_no_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(make_model(tmp_path / "m", "csa", "speaker"))
    pieces = [piece("a", float(number), number, 0.5 + number / 4) for number in range(5)]
    plain = list(model.results(pieces, model.speakers(pieces)))
    made = []
    front_end = model._preparation.front_end
    make = front_end.make
    monkeypatch.setattr(front_end, "make", lambda *args: made.append(args[1]) or make(*args))
    with model.features_kept():
        kept = list(model.results(pieces, model.speakers(pieces)))
    assert len(made) == 5
    for one, other in zip(plain, kept, strict=True):
        assert np.array_equal(one.posterior, other.posterior)
    list(model.results(pieces, model.speakers(pieces)))
    assert len(made) == 15  # outside the block nothing is kept
