"""Tracks of trained models, against loops over windows and against what stage 5 says of chunks."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import ser
from ser.data import tables
from ser.feats.base import Timing
from ser.feats.subset import Subset
from ser.learn.decoding import open_subset
from ser.predict.model import Classified, Model
from ser.predict.result import Doubles, Piece, Track
from ser.predict.track import TrackSettings, window_times
from ser.predict.tracking import Tracker
from ser.systems.base import Inputs
from ser.systems.svm import scores_of, softmax, vectors
from tests.predict import recipe

CASES = {
    "trim": ("blstmatt", ["features.vad.use=trim", "features.vad.margin_ms=50.0"]),
    "utterance": ("blstmatt", ["features.norm=utterance"]),
    "chunks": ("csa", []),
    "frames": ("csa", ["features.vad.use=frames", "features.vad.margin_ms=0.0", "unit.overlap=5"]),
    "pauses": ("csa", ["features.vad.use=frames", "features.vad.margin_ms=220.0"]),
    "svm": ("svm", []),
    "majority": ("majority", []),
}
TIMING = Timing(0.01, 0.0125)
SETTINGS = TrackSettings(0.4, 0.1)


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe.make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folders(fold: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("models")
    return {case: recipe.train(fold, out / case, *words) for case, words in CASES.items()}


def pieces_of(fold: Path, start_s: float = 0.0) -> list[Piece]:
    """The test recordings, each from ``start_s`` on."""
    pieces = recipe.read_pieces(fold / "test")
    return [Piece(each.source, each.speaker, start_s, start_s + each.end_s, each.samples) for each in pieces]


def tracks(model: Model, pieces: list[Piece], settings: TrackSettings) -> dict[str, Track]:
    speakers = model.speakers(pieces) if model.needs_speakers else None
    found = {}
    for result in model.results(pieces, speakers, settings):
        assert result.track is not None
        found[result.source] = result.track
    return found


def read_frames(subset: Subset, index: int) -> np.ndarray:
    """Which frames of an utterance the system reads."""
    speech = subset.main.speech
    if speech is None:
        return np.arange(int(subset.num_frames[index]))
    return np.flatnonzero(speech._kept[index])


def classify(model: Model, frames: np.ndarray) -> Doubles:
    """What the network says of some frames, alone."""
    x = torch.from_numpy(np.ascontiguousarray(frames))[None]
    with torch.inference_mode():
        logits = model.trained.network(Inputs.of(x, torch.tensor([len(frames)]), "fbank")).logits
    return logits.double().softmax(dim=1)[0].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["trim", "utterance"])
def test_windows_are_cut_out_of_the_normalised_piece(case: str, fold: Path, folders: dict[str, Path]) -> None:
    model = ser.load(folders[case], use_gpu="no")
    subset = open_subset(model.trained, fold / "test")
    fine = TrackSettings(0.1, 0.05)
    found = tracks(model, pieces_of(fold, 10.0), fine)
    left_out = 0
    for index, piece in enumerate(recipe.read_pieces(fold / "test")):
        features, frames = subset.main.read(index), read_frames(subset, index)
        middles = TIMING.middle_s + TIMING.shift_s * frames
        rows = []
        for start, end in window_times(piece.end_s, fine):
            own = features[(middles >= start - 1e-9) & (middles < end - 1e-9)]
            left_out += not len(own)
            if len(own):
                rows.append((10 + start, min(10 + end, 10 + piece.end_s), *classify(model, own)))
        expected, track = np.array(rows), found[piece.source]
        np.testing.assert_allclose(track.start_s, expected[:, 0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(track.end_s, expected[:, 1], rtol=0, atol=1e-9)
        np.testing.assert_allclose(track.posteriors, expected[:, 2:], rtol=0, atol=1e-6)
    assert (left_out > 0) == (case == "trim")  # windows without speech


@pytest.mark.slow
@pytest.mark.parametrize("case", ["chunks", "frames"])
def test_chunks_are_those_of_stage_5_at_their_times(case: str, fold: Path, folders: dict[str, Path]) -> None:
    model = ser.load(folders[case], use_gpu="no")
    unit = model.trained.settings.unit
    subset = open_subset(model.trained, fold / "test")
    decoded = tables.read_vectors(folders[case] / "decode_test" / "chunks" / "post")
    padded = tables.read_vectors(folders[case] / "decode_test" / "padded" / "post")
    found = tracks(model, pieces_of(fold), TrackSettings())
    short = 0
    for index, key in enumerate(subset.keys):
        frames, track = read_frames(subset, index), found[key]
        own = [row for name, row in decoded.items() if name.rpartition("-")[0] == key]
        starts = range(0, len(frames) - unit.context + 1, unit.hop)
        if not own:
            own, starts, short = [padded[key]], range(1), short + 1
        if subset.main.speech is not None:
            speech = subset.main.speech.speech[index]
            starts = [each for each in starts if speech[frames[each : each + unit.context]].any()]
        np.testing.assert_allclose(track.posteriors, own, rtol=0, atol=1e-6)
        spans = [(frames[each], frames[min(each + unit.context, len(frames)) - 1]) for each in starts]
        np.testing.assert_allclose(track.start_s, [0.0075 + 0.01 * a for a, _ in spans], rtol=0, atol=1e-9)
        np.testing.assert_allclose(track.end_s, [0.0175 + 0.01 * b for _, b in spans], rtol=0, atol=1e-9)
    assert short > 0


@pytest.mark.slow
@pytest.mark.parametrize("case", ["frames", "pauses"])
def test_chunks_over_a_pause(
    case: str, fold: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of frames on both sides of a pause take all of it; those without speech leave a gap."""
    model = ser.load(folders[case], use_gpu="no")
    one, two = (each.samples for each in pieces_of(fold)[3:5])
    samples = np.concatenate([one, 1e-4 * np.random.default_rng(1).standard_normal(8000), two])
    piece = Piece("a", "d", 0.0, len(samples) / recipe.RATE_HZ, samples.astype(np.float32))
    seen: list[Classified] = []
    make = Tracker.__call__
    monkeypatch.setattr(Tracker, "__call__", lambda self, each: (seen.append(each), make(self, each))[1])
    track = tracks(model, [piece], TrackSettings())["a"]
    main, unit = seen[0].subset.main, model.trained.settings.unit
    frames, features = read_frames(seen[0].subset, 0), main.read(0)
    assert main.speech is not None
    speech, rows = main.speech.speech[0], []
    starts = range(0, len(frames) - unit.context + 1, unit.hop)
    for at in starts:
        own = frames[at : at + unit.context]
        if speech[own].any():
            posteriors = classify(model, features[at : at + unit.context])
            rows.append((0.0075 + 0.01 * own[0], 0.0175 + 0.01 * own[-1], *posteriors))
    expected = np.array(rows)
    assert (np.diff(frames) > 1).any()
    longer = expected[:, 1] - expected[:, 0] > 0.01 * unit.context + 1e-6
    assert (longer.any(), len(rows) < len(starts)) == (case == "frames", case == "pauses")
    np.testing.assert_allclose(track.start_s, expected[:, 0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(track.end_s, expected[:, 1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(track.posteriors, expected[:, 2:], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_windows_of_a_system_on_chunks(fold: Path, folders: dict[str, Path]) -> None:
    """Each is decided as an utterance of its own would be: pooled over its chunks, or padded."""
    model = ser.load(folders["chunks"], use_gpu="no")
    unit = model.trained.settings.unit
    subset = open_subset(model.trained, fold / "test")
    found = tracks(model, pieces_of(fold), SETTINGS)
    for index, piece in enumerate(recipe.read_pieces(fold / "test")):
        features, rows = subset.main.read(index), []
        middles = TIMING.middle_s + TIMING.shift_s * np.arange(len(features))
        for start, end in window_times(piece.end_s, SETTINGS):
            own = features[(middles >= start - 1e-9) & (middles < end - 1e-9)]
            short = max(0, unit.context - len(own))
            own = np.concatenate([own, np.repeat(own[-1:], short, axis=0)])
            starts = range(0, len(own) - unit.context + 1, unit.hop)
            rows.append(np.mean([classify(model, own[at : at + unit.context]) for at in starts], axis=0))
        np.testing.assert_allclose(found[piece.source].posteriors, rows, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_windows_of_an_estimator(fold: Path, folders: dict[str, Path]) -> None:
    """Of each window's own mean and deviation, over the statistics of the speaker's whole recordings."""
    model = ser.load(folders["svm"])
    subset = open_subset(model.trained, fold / "test")
    whole, speakers = vectors(subset, model.trained.settings), np.array(list(subset.speakers.values()))
    found = tracks(model, pieces_of(fold), SETTINGS)
    arrays = model.trained.arrays
    for index, piece in enumerate(recipe.read_pieces(fold / "test")):
        raw = subset.main.raw(index).astype(np.float64)
        own = whole[speakers == piece.speaker]
        middles, rows = TIMING.middle_s + TIMING.shift_s * np.arange(len(raw)), []
        for start, end in window_times(piece.end_s, SETTINGS):
            frames = raw[(middles >= start - 1e-9) & (middles < end - 1e-9)]
            vector = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
            scaled = (vector - own.mean(axis=0)) / own.std(axis=0)
            rows.append(softmax(scores_of(arrays, scaled[None], 4), float(arrays["scale"]))[0])
        np.testing.assert_allclose(found[piece.source].posteriors, rows, rtol=0, atol=1e-5)


def test_windows_without_frames_are_pieces_of_their_own(fold: Path, folders: dict[str, Path]) -> None:
    """Where features are no frames, each window's are made of its samples."""
    model = ser.load(folders["majority"])
    pieces = pieces_of(fold, 3.0)
    for piece in pieces:
        [result] = model.results([piece], None, SETTINGS)
        assert result.track is not None
        times = window_times(piece.end_s - 3, SETTINGS)
        np.testing.assert_allclose(result.track.start_s, 3 + times[:, 0])
        np.testing.assert_allclose(result.track.posteriors, np.tile(result.posterior, (len(times), 1)))


def test_windows_that_cannot_be_classified_are_a_gap_and_are_told(
    fold: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ser.errors import DataError
    from ser.feats.front_end import FrontEnd

    model, piece = ser.load(folders["majority"]), pieces_of(fold)[1]
    make, count = FrontEnd.make, 0

    def failing(self: FrontEnd, samples: np.ndarray, key: str, place: str) -> object:
        nonlocal count
        count += 1
        if count == 3:  # the second window: the first is the piece
            raise DataError(f"{place}: no pitch; leave it out")
        return make(self, samples, key, place)

    monkeypatch.setattr(FrontEnd, "make", failing)
    caplog.set_level(logging.WARNING)
    [result] = model.results([piece], None, SETTINGS)
    times = window_times(piece.end_s, SETTINGS)
    assert result.track is not None
    np.testing.assert_allclose(result.track.start_s, np.delete(times[:, 0], 1))
    assert caplog.messages == [
        f"{piece.source}: 1 of {len(times)} windows of its track cannot be classified: {piece.source}: no "
        "pitch; leave it out"
    ]


@pytest.mark.slow
def test_batches_and_other_pieces_change_nothing(fold: Path, folders: dict[str, Path]) -> None:
    model = ser.load(folders["trim"], use_gpu="no")
    pieces = pieces_of(fold)
    speakers = model.speakers(pieces)
    together = {each.source: each.track for each in model.results(pieces, speakers, SETTINGS)}
    for piece in pieces[::5]:
        [alone] = model.results([piece], speakers, SETTINGS)
        assert alone.track is not None
        other = together[piece.source]
        assert other is not None
        np.testing.assert_allclose(alone.track.posteriors, other.posteriors, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(alone.track.start_s, other.start_s)
