"""A trained model in use says what stage 5 says, whatever the batch, the order and the number of pieces."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser
import ser.errors
from ser.data import tables
from ser.feats.audio import resample
from ser.feats.base import Floats
from ser.feats.fbank import Fbank
from ser.feats.sets import Compress
from ser.learn import memory, models
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
QUICK = ("blstmatt-speaker-trim", "csa-global-frames", "svm-speaker")
EVERY = [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES]


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds of a few recordings."""
    return recipe.make_data(tmp_path_factory.mktemp("plain"))


class Folders:
    """Model folders, trained and decoded when they are asked for."""

    def __init__(self, fold: Path, out: Path) -> None:
        self._fold, self._out = fold, out

    def __getitem__(self, case: str) -> Path:
        if not (self._out / case).exists():
            recipe.train(self._fold, self._out / case, *CASES[case])
        return self._out / case / "model"


@pytest.fixture(scope="module")
def folders(fold: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Of all cases."""
    return Folders(fold, tmp_path_factory.mktemp("models"))


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


@pytest.mark.parametrize("case", EVERY)
def test_says_what_stage_5_says(case: str, fold: Path, folders: Folders) -> None:
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


@pytest.mark.parametrize("case", EVERY)
def test_batches_order_and_number_change_nothing(
    case: str, fold: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.slow
@pytest.mark.parametrize("compress", ["CM", "CM2"])
def test_features_lose_what_those_of_compressed_archives_lose(compress: Compress, tmp_path: Path) -> None:
    fold = recipe.make_data(tmp_path / "data", compress=compress)
    folder = recipe.train(fold, tmp_path / "out", "blstmatt", TRIM)
    results = all_results(ser.load(folder, use_gpu="no"), list(recipe.read_pieces(fold / "test")))
    for key, row in decoded(folder).items():
        np.testing.assert_allclose(results[key].posterior, row, atol=1e-9)


@pytest.mark.slow
def test_speech_is_in_frames_of_the_main_set_that_a_model_need_not_read(tmp_path: Path) -> None:
    """Speech activity is decided in frames of 10 ms, as in training, for features in other frames."""
    fold = recipe.make_data(tmp_path / "data", sets=["spectrogram"], overrides=["frame_shift_ms=25.0"])
    folder = recipe.train(fold, tmp_path / "out", "blstmatt", ["features.sets=[spectrogram]", *TRIM])
    assert json.loads((folder / "model.json").read_text())["vad_main"]["set"] == "fbank"
    results = all_results(ser.load(folder, use_gpu="no"), list(recipe.read_pieces(fold / "test")))
    for key, row in decoded(folder).items():
        np.testing.assert_allclose(results[key].posterior, row, atol=1e-9)


def test_pieces_are_taken_as_they_are_needed(
    fold: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
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


def test_what_is_said_of_short_and_silent_pieces(fold: Path, folders: Folders) -> None:
    csa = ser.load(folders["csa-global-frames"])
    short = next(recipe.read_pieces(fold / "test"))
    pause = replace(short, samples=np.zeros(8000, np.float32), notes=("as told",))
    results = list(csa.results([short, pause]))
    reason = results[0].notes[0].removeprefix("shorter than the context, padded (")
    assert reason.endswith(" frames, context 20)")
    assert int(reason.split()[0]) < 20
    assert results[1].notes[0] == "as told"
    assert results[1].notes[-1] == "no speech found, all frames are read"


def test_speakers_must_be_known(fold: Path, folders: Folders, caplog: pytest.LogCaptureFixture) -> None:
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


def told(model: Model, pieces: list[Piece]) -> tuple[list[str], list[str]]:
    """The sources of the results, and what is told of the others."""
    messages: list[str] = []
    speakers = model.speakers(pieces, lambda *_: None) if model.needs_speakers else None
    results = model.results(pieces, speakers, failed=lambda _, error: messages.append(str(error)))
    return [result.source for result in results], messages


def test_a_piece_that_cannot_be_used_is_told_and_passed_over(fold: Path, folders: Folders) -> None:
    model = ser.load(folders["blstmatt-speaker-trim"])
    good = list(recipe.read_pieces(fold / "test"))[:2]
    broken = good[0].samples.copy()
    broken[[5, 6]] = np.nan, np.inf
    pieces = [
        good[0],
        replace(good[0], source="nan.wav", samples=broken),
        replace(good[0], source="short.wav", samples=broken[100:499]),
        good[1],
    ]
    messages = [
        "nan.wav: 2 of 2400 samples are NaN or infinite; replace it, or leave it out",
        "short.wav: is too short, 24.94 ms; the model takes 25 ms or more, leave it out",
    ]
    assert told(model, pieces) == (["d-0", "d-1"], messages)
    with pytest.raises(ser.errors.DataError) as caught:
        list(model.results(pieces, model.speakers(good)))
    assert str(caught.value) == messages[0]


def test_too_little_memory_fails_only_for_the_piece_that_it_is_too_little_for(
    fold: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ser.load(folders["blstmatt-none"], use_gpu="no")
    pieces = list(recipe.read_pieces(fold / "test"))[:4]
    long = replace(pieces[1], source="long.wav", samples=np.tile(pieces[1].samples, 20), start_s=2.5)
    monkeypatch.setattr(memory, "LONG_FRAMES", 1000)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 100.0)
    frames = 1 + (len(long.samples) - 400) // 160
    (sources, (message,)) = told(model, [*pieces, long])
    assert sources == [piece.source for piece in pieces]
    assert re.sub(r"takes \S+ GiB", "takes x GiB", message) == (
        f"long.wav: the piece at 2.50 s, {frames} frames long, takes x GiB of memory or more, 0.0 are free; "
        "decode where there is more, or cut it into pieces"
    )


def test_a_file_and_its_samples_are_the_same(fold: Path, folders: Folders, tmp_path: Path) -> None:
    """Also at another rate and in one of several channels; what is taken of speakers is said."""
    model = ser.load(folders["csa-global-frames"])
    path = tables.read_table(fold / "test" / "wav.scp")["d-3"]
    samples, rate_hz = soundfile.read(path, dtype="float32")
    expected = decoded(folders["csa-global-frames"])["d-3"]
    by_file = model.predict(path)
    np.testing.assert_allclose(by_file.posterior, expected, atol=1e-9)
    assert (by_file.source, by_file.start_s, by_file.end_s) == (path, 0.0, len(samples) / rate_hz)
    assert (by_file.emotions, by_file.emotion) == (recipe.EMOTIONS, recipe.EMOTIONS[int(np.argmax(expected))])
    assert by_file.confidence == by_file.posterior.max()
    two = np.stack([0.01 * samples[::-1], samples], axis=1)
    for audio in (samples, samples.astype(np.float64), two):
        result = model.predict((audio, rate_hz), channel=None if audio.ndim == 1 else 1)
        np.testing.assert_array_equal(result.posterior, by_file.posterior)
        assert result.source == "(samples)"
    fast = tmp_path / "fast.wav"
    soundfile.write(fast, np.repeat(samples, 3), 3 * rate_hz, "FLOAT")
    whole = resample(np.repeat(samples, 3), 3 * rate_hz, rate_hz)
    np.testing.assert_array_equal(model.predict(fast).posterior, model.predict((whole, rate_hz)).posterior)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.zeros(16000, np.float32), {}, "is silent, all of its samples are the same; {}, or leave it out"),
        (np.full(9, np.nan), {}, "9 of 9 samples are NaN or infinite; replace them"),
        (np.ones((9, 2)), {}, "has 2 channels; {}"),
        (np.ones((9, 2)), {"channel": 3}, "has 2 channels, so there is no channel 3; {}"),
        (
            np.zeros(9, np.int16),
            {},
            "have shape (9,) and type int16; give floats in [-1, 1], (N,) or (N, channels)",
        ),
        (np.arange(9.0), {}, "is too short, 0.5625 ms, the model takes 25 ms; replace it, or leave it out"),
    ],
)
def test_samples_that_cannot_be_used(
    samples: Floats, options: dict[str, int], message: str, folders: Folders
) -> None:
    with pytest.raises(ser.errors.DataError) as caught:
        ser.load(folders["csa-global-frames"]).predict((samples, 16000), **options)
    channels = 'name one with channel=0, 1, ..., or take the mean with channel="mix"'
    assert str(caught.value) == f"(samples): {message.format(channels)}"


def test_recordings_that_cannot_be_used(folders: Folders, tmp_path: Path) -> None:
    """What is advised suits somebody without the recipe's data."""
    model, remedy = ser.load(folders["csa-global-frames"]), "replace it, or leave it out"
    (tmp_path / "text.wav").write_text("no audio")
    for audio, message in (
        (tmp_path / "nope.wav", f"{tmp_path}/nope.wav: no such file; {remedy}"),
        (tmp_path / "text.wav", f"{tmp_path}/text.wav: is no audio that can be read (Format not recognised); "
         f"{remedy}"),
        ((np.arange(9.0), -1), f"(samples): says that it has -1 Hz, 384000 is the most; {remedy}"),
    ):  # fmt: skip
        with pytest.raises(ser.errors.DataError) as caught:
            model.predict(audio)
        assert str(caught.value) == message


def test_one_recording_is_normalised_by_itself_or_by_what_its_speaker_says(
    fold: Path, folders: Folders
) -> None:
    model = ser.load(folders["svm-speaker"])
    pieces = list(recipe.read_pieces(fold / "test"))
    alone = model.predict((pieces[3].samples, 16000))
    assert alone.notes == ("statistics of 1 piece, fewer than 8",)
    assert alone.speaker == ""
    result = model.predict((pieces[3].samples, 16000), speaker="d", speakers=model.speakers(pieces))
    np.testing.assert_allclose(result.posterior, decoded(folders["svm-speaker"])["d-3"], atol=1e-9)
    assert (result.speaker, result.notes) == ("d", ())


def change_facts(folder: Path, out: Path, **facts: object) -> Path:
    """A copy of a model folder that says something else of itself."""
    shutil.copytree(folder, out)
    path = out / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    return out


def test_calibration_is_applied(fold: Path, folders: Folders, tmp_path: Path) -> None:
    folder = change_facts(folders["csa-global-frames"], tmp_path / "model")
    record = {"format": 1, "emotions": recipe.EMOTIONS, "temperature": 2.0}
    (folder / "calibration.json").write_text(json.dumps(record))
    piece = list(recipe.read_pieces(fold / "test"))[1]
    (result,) = ser.load(folder).results([piece])
    powers = np.sqrt(result.posterior)
    np.testing.assert_allclose(result.calibrated, powers / powers.sum(), atol=1e-12)
    assert result.calibrated is not None
    assert result.confidence == result.calibrated.max()
    (plain,) = ser.load(folders["csa-global-frames"]).results([piece])
    assert plain.calibrated is None


def test_code_that_makes_features_must_be_allowed(folders: Folders, tmp_path: Path) -> None:
    record = json.loads((folders["csa-global-frames"] / "model.json").read_text())
    sets, vad = record["sets"], record["vad"]
    sets["fbank"]["settings"]["extractor"] = vad["made"]["settings"]["extractor"] = "strange:CODE"
    for number, facts in enumerate(({"sets": sets}, {"vad": vad})):
        folder = change_facts(folders["csa-global-frames"], tmp_path / str(number), **facts)
        with pytest.raises(ser.errors.CheckpointError) as caught:
            ser.load(folder)
        assert str(caught.value) == (
            f"{folder}: its extractor of features is code outside this package, strange:CODE, which loading "
            "would run; if you trust it, allow it by name: --allow-code strange:CODE"
        )


def test_other_versions_of_what_makes_features_are_said(
    fold: Path, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders["csa-global-frames"]
    assert ser.load(folder).notes == ()
    monkeypatch.setattr(Fbank, "versions", {"lhotse": "9"})
    assert ser.load(folder).notes == ()  # it does not say
    changed = change_facts(folder, tmp_path / "model", feature_versions={"fbank": {"lhotse": "8"}})
    assert ser.load(changed).notes == (
        "features fbank are made with lhotse 9, in training with 8; posteriors may differ",
    )
    made = json.loads((fold.parents[1] / "all" / "fbank" / "made.json").read_text())
    made["settings"]["versions"] = {"lhotse": "8"}
    data = tmp_path / "data"
    (data / "fbank").mkdir(parents=True)
    (data / "fbank" / "made.json").write_text(json.dumps(made))
    for path in (fold.parents[1] / "all").glob("utt2*"):
        shutil.copy(path, data)
    facts = models.feature_facts(data, models.load_model(folders["svm-global"]).settings, ["fbank"])
    assert facts["feature_versions"] == {"fbank": {"lhotse": "8"}}


SET = {
    "settings": {
        "extractor": "energy",
        "frame_length_ms": 25.0,
        "frame_shift_ms": 10.0,
        "remove_dc_offset": True,
    },
    "audio": {"sampling_rate_hz": 16000, "channel": None, "resample": "refuse"},
    "compress": "none",
    "timing": {"shift_s": 0.01, "middle_s": 0.0125},
}
SIZE = "its features have other numbers of values than its system reads"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"vad": {}}, "missing key set"),
        ({"vad": {**asdict(recipe.VAD), "made": "x"}}, "does not say how its features are made"),
        ({"vad": {**asdict(recipe.VAD), "made": {}}}, "missing key settings"),
        ({"vad_main": [1]}, "does not say how its features are made"),
        ({"vad_main": {"set": "x"}}, "missing key settings"),
        ({"vad_main": {"set": "x", **SET, "timing": None}}, "finds speech in features without frames"),
        ({"sets": {"fbank": SET}}, SIZE),
        ({"sets": {"fbank": SET | {"settings": 3}}}, "missing key settings"),
        (
            {"sets": {"fbank": SET | {"timing": {"shift_s": 0.02, "middle_s": 0.0125}}}},
            "the frames of its features fbank are at other times than it says",
        ),
    ],
)
def test_facts_that_make_no_features(
    facts: dict[str, object], message: str, folders: Folders, tmp_path: Path
) -> None:
    folder = change_facts(folders["csa-global-frames"], tmp_path / "model", **facts)
    with pytest.raises(ser.errors.CheckpointError) as caught:
        ser.load(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_that_does_not_say_how_speech_is_found(folders: Folders, tmp_path: Path) -> None:
    folder = change_facts(folders["csa-global-frames"], tmp_path / "model", vad=None)
    with pytest.raises(ser.errors.CheckpointError) as caught:
        ser.load(folder)
    assert str(caught.value) == f"{folder}: asks for speech activity and does not say which; train it again"
