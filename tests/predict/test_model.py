"""A trained model in use says what stage 5 says, whatever the batch, the order and the number of pieces."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ser
from ser.data import tables
from ser.predict import batches
from ser.predict.model import Model
from ser.predict.result import Piece, Result
from tests.predict import recipe

pytestmark = pytest.mark.timeout(120)

TRIM = ["features.vad.use=trim", "features.vad.margin_ms=50.0", "features.cmvn.over=speech"]
CASES = {
    "blstmatt-speaker-trim": ("blstmatt", TRIM),
    "blstmatt-global-speaker-level": ("blstmatt", ["features.norm=global", "features.level=speaker"]),
    "blstmatt-none": ("blstmatt", ["features.norm=none"]),
    "csa-global-frames": ("csa", ["features.vad.use=frames", "features.vad.margin_ms=30.0"]),
    "csa-speaker-utterance-level": ("csa", ["features.norm=speaker", "features.level=utterance"]),
    "csa-utterance": (
        "csa",
        ["features.norm=utterance", "features.cmvn.over=speech"],
    ),
    "csa-padded": ("csa", ["unit.short_utt=pad", "unit.pooling=logmean"]),
    "svm-speaker": ("svm", []),
    "svm-global": ("svm", ["features.norm=global"]),
    "majority": ("majority", []),
}


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds of a few recordings."""
    return recipe.make_data(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def folders(fold: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders, decoded."""
    out = tmp_path_factory.mktemp("models")
    return {name: recipe.train(fold, out / name, system, keys) for name, (system, keys) in CASES.items()}


def all_results(model: Model, pieces: list[Piece]) -> dict[str, Result]:
    speakers = model.speakers(pieces) if model.needs_speakers else None
    results = list(model.results(iter(pieces), speakers))
    assert [result.source for result in results] == [piece.source for piece in pieces]
    return {result.source: result for result in results}


def decoded(folder: Path) -> dict[str, list[float]]:
    """Posteriors of stage 5, of utterances shorter than the context those of padded/."""
    out = folder / "decode_test"
    padded = out / "padded" / "post"
    return tables.read_vectors(padded if padded.exists() else out / "post")


@pytest.mark.parametrize("case", CASES)
def test_says_what_stage_5_says(case: str, fold: Path, folders: dict[str, Path]) -> None:
    model = ser.load(folders[case], use_gpu="no")
    results = all_results(model, list(recipe.read_pieces(fold / "test")))
    expected = decoded(folders[case])
    assert results.keys() == expected.keys()
    for key, row in expected.items():
        np.testing.assert_allclose(results[key].posterior, row, atol=1e-9)
    attention = folders[case] / "decode_test" / "attn.scp"
    assert (results["d-1"].attention is not None) == attention.exists()
    if attention.exists():
        reader = tables.ArkReader(attention)
        for key, result in results.items():
            np.testing.assert_allclose(result.attention, reader.read(key), atol=1e-9)
            assert result.timing is not None
            assert (result.timing.shift_s, result.timing.middle_s) == (0.01, 0.0125)


@pytest.mark.parametrize("case", CASES)
def test_batches_order_and_number_change_nothing(
    case: str, fold: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ser.load(folders[case], use_gpu="no")
    pieces = list(recipe.read_pieces(fold / "test"))
    expected = all_results(model, pieces)
    speakers = model.speakers(pieces) if model.needs_speakers else None
    for batch, shuffled in ((1, pieces), (3, pieces[::-1]), (512, pieces[5:] + pieces[:5])):
        monkeypatch.setattr(batches, "BATCH_PIECES", batch)
        for key, result in all_results(model, shuffled).items():
            np.testing.assert_allclose(result.posterior, expected[key].posterior, atol=1e-6)
            assert result.notes == expected[key].notes
    for piece in pieces[::4]:
        (alone,) = model.results([piece], speakers)
        np.testing.assert_allclose(alone.posterior, expected[piece.source].posterior, atol=1e-6)


@pytest.mark.parametrize("compress", ["CM", "CM2"])
def test_features_lose_what_those_of_compressed_archives_lose(compress: str, tmp_path: Path) -> None:
    fold = recipe.make_data(tmp_path / "data", compress)
    folder = recipe.train(fold, tmp_path / "out", "blstmatt", TRIM)
    results = all_results(ser.load(folder, use_gpu="no"), list(recipe.read_pieces(fold / "test")))
    for key, row in decoded(folder).items():
        np.testing.assert_allclose(results[key].posterior, row, atol=1e-9)


def test_pieces_are_taken_as_they_are_needed(
    fold: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is as much audio, or as many pieces, as are classified together; no more is taken."""
    model = ser.load(folders["majority"])
    one = next(recipe.read_pieces(fold / "test"))
    taken = []

    def stream(seconds: float, number: int):  # noqa: ANN202  (a generator)
        for index in range(number):
            taken.append(index)
            yield replace(one, samples=np.ones(int(seconds * recipe.RATE_HZ), np.float32), end_s=seconds)

    results = model.results(stream(0.1, 2000))
    next(results)
    assert len(taken) == 512
    monkeypatch.setattr(batches, "BATCH_S", 3.0)
    taken.clear()
    next(model.results(stream(1.0, 10)))
    assert len(taken) == 3


def test_what_is_said_of_short_and_silent_pieces(fold: Path, folders: dict[str, Path]) -> None:
    csa = ser.load(folders["csa-global-frames"])
    short = next(recipe.read_pieces(fold / "test"))
    pause = replace(short, samples=np.zeros(8000, np.float32), notes=("as told",))
    results = list(csa.results([short, pause]))
    reason = results[0].notes[0].removeprefix("shorter than the context, padded (")
    assert reason.endswith(" frames, context 20)")
    assert int(reason.split()[0]) < 20
    assert results[1].notes[0] == "as told"
    assert results[1].notes[-1] == "no speech found, all frames are read"


def test_speakers_must_be_known(
    fold: Path, folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = folders["blstmatt-speaker-trim"]
    model = ser.load(folder)
    pieces = list(recipe.read_pieces(fold / "test"))
    with pytest.raises(ser.errors.UsageError) as no_statistics:
        model.results(pieces)
    assert str(no_statistics.value) == (
        f"{folder}: normalises by the statistics of each speaker, which are not given; take them of all "
        "pieces with model.speakers(pieces), and hand them to model.results"
    )
    with pytest.raises(ser.errors.DataError) as unknown:
        model.speakers([replace(pieces[0], speaker="")])
    assert str(unknown.value) == (
        "d-0: who speaks is not known, and the model normalises by speaker; name the speaker"
    )
    with caplog.at_level(logging.WARNING, "ser"):
        speakers = model.speakers(pieces[:3])
    with pytest.raises(ser.errors.DataError) as missing:
        list(model.results(pieces[-1:], speakers))
    assert str(missing.value) == (
        "e-7: there are no statistics of its speaker e (but of d); take them of all pieces"
    )
    seconds = sum(piece.end_s for piece in pieces[:3])
    little = f"statistics of {seconds:.1f} s, less than 5 s"
    assert caplog.messages == [
        f"normalisation: 1 of 1 speaker says too little to be normalised by (d: {little})"
    ]
    assert {note for result in model.results(pieces[:3], speakers) for note in result.notes} == {little}
