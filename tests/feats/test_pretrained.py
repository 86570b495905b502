"""Frames of pretrained encoders: tiny random ones of each family, and the real Whisper base where it is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser.data import tables
from ser.data.corpus import AudioConfig
from ser.errors import DataError
from ser.feats.audio import load_samples
from ser.feats.base import Floats, Layout, Timing
from ser.feats.encoder_files import EncoderFiles, read_front
from ser.feats.sets import FeatureSet, load_set, parse_set, read_set
from tests.feats.conftest import make, tree
from tests.feats.encoders import (
    FAMILIES,
    log_mel,
    make_encoder,
    transformers,
    wav2vec2_layers,
    whisper_layers,
)

AUDIO = AudioConfig(16000, None, "refuse")
CONF = Path(__file__).resolve().parents[2] / "conf" / "whisper.yaml"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a tiny model of each family."""
    top = tmp_path_factory.mktemp("models")
    return {family: make_encoder(top / family, family) for family in FAMILIES}


def the_set(model: Path, *overrides: str, audio: AudioConfig = AUDIO) -> FeatureSet:
    first = [f"model={model}", "layers=all", "chunk_s=2", "overlap_s=0.5", "device=cpu"]
    return load_set(CONF, audio, overrides=[*first, *overrides])


def encoder(model: Path, *overrides: str) -> Any:
    return the_set(model, *overrides).make()


def speechlike(num_samples: int, seed: int = 1) -> Floats:
    """Noise whose loudness and colour change, so that no two frames are alike."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(num_samples)
    smooth = np.convolve(noise, np.ones(9) / 9, "same")
    slow = np.sin(np.arange(num_samples) / 2100) ** 2
    return (0.2 * (slow * smooth + (1 - slow) * 0.3 * noise)).astype(np.float32)


@pytest.mark.parametrize("num_samples", [201, 399, 1600, 1601, 9600 + 319])
def test_whisper_is_the_papers(tiny: dict[str, Path], num_samples: int) -> None:
    samples = speechlike(num_samples)
    expected = whisper_layers(tiny["whisper"], samples)
    features = encoder(tiny["whisper"]).compute(samples, "a")
    assert features.shape == (len(expected[0]), 4 * 16)
    np.testing.assert_allclose(features, np.concatenate(expected, axis=1), atol=1e-4)


@pytest.mark.parametrize("family", ["wav2vec2", "wav2vec2-large"])
@pytest.mark.parametrize("num_samples", [400, 1600, 3199])
def test_wav2vec2_is_the_papers(tiny: dict[str, Path], family: str, num_samples: int) -> None:
    samples = speechlike(num_samples)
    expected = wav2vec2_layers(tiny[family], samples)
    features = encoder(tiny[family]).compute(samples, "a")
    assert features.shape == (len(expected[0]), 4 * 16)
    np.testing.assert_allclose(features, np.concatenate(expected, axis=1), atol=1e-4)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "whisper"])
def test_layers_are_the_librarys(tiny: dict[str, Path], family: str) -> None:
    """As transformers by itself gives them; the last one is the encoder's output, after any last norm."""
    samples = speechlike(3000)
    front = transformers.AutoFeatureExtractor.from_pretrained(tiny[family])
    network = transformers.AutoModel.from_pretrained(tiny[family]).eval()
    with torch.no_grad():
        given = front(samples, sampling_rate=16000, return_tensors="pt")["input_values"]
        states = network(given, output_hidden_states=True)
    expected = [*states.hidden_states[:-1], states.last_hidden_state]
    assert len(expected) == 4
    features = encoder(tiny[family]).compute(samples, "a")
    np.testing.assert_allclose(features, torch.cat(expected, dim=2)[0].numpy(), atol=1e-5)
    own = {"large": 1}.get(family.rpartition("-")[2], 0)  # of these the norm changes the last layer
    assert torch.allclose(states.hidden_states[-1], states.last_hidden_state) != bool(own)


def test_whispers_mel_is_the_librarys(whisper: Path) -> None:
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(whisper)
    for num_samples in (201, 16000, 16159):
        samples = speechlike(num_samples)
        theirs = extractor(samples, sampling_rate=16000, padding="do_not_pad", return_tensors="np")
        np.testing.assert_allclose(theirs["input_features"][0].T, log_mel(samples, 80), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_model_says_of_its_frames(tiny: dict[str, Path], family: str) -> None:
    extractor = encoder(tiny[family])
    assert (extractor.dim, extractor.layout) == (64, Layout((0, 1, 2, 3), ordered=False))
    if family == "whisper":
        assert (extractor.timing, extractor.min_samples) == (Timing(0.02, 0.0), 201)
    else:  # kernels of 10 and 8 with strides of 5 and 4: 10 + 7 * 5 samples, every 20
        assert (extractor.timing, extractor.min_samples) == (Timing(20 / 16000, 45 / 2 / 16000), 45)
    least = extractor.min_samples
    assert extractor.compute(speechlike(least), "a").shape == (1, 64)
    with pytest.raises(DataError) as error:
        extractor.compute(speechlike(least - 1), "a")
    assert str(error.value) == (
        f"has {least - 1} samples, fewer than the {least} of a frame; leave it out where the corpus is "
        "prepared"
    )


def test_the_frames_of_the_base_models() -> None:
    """25 ms every 20 ms, as wav2vec 2.0 has them; a frame is centred on half its span."""
    config = transformers.Wav2Vec2Config().to_dict()
    files = EncoderFiles("a", None, Path(), config, {"sampling_rate": 16000}, ())
    front = read_front(files)
    assert (front.span, front.shift, front.timing) == (400, 320, Timing(0.02, 0.0125))
    assert [front.num_frames(n) for n in (399, 400, 719, 720, 16000)] == [0, 1, 1, 2, 49]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [(0,), (2,), (3,), (1, 3)])
def test_a_layer_is_the_same_whichever_others_are_made(
    tiny: dict[str, Path], family: str, layers: tuple[int, ...]
) -> None:
    samples = speechlike(4000)
    every = encoder(tiny[family]).compute(samples, "a").reshape(-1, 4, 16)
    own = encoder(tiny[family], f"layers={list(layers)}")
    np.testing.assert_allclose(
        own.compute(samples, "a"), every[:, list(layers)].reshape(len(every), -1), atol=1e-6
    )
    if len(layers) == 1:
        number = encoder(tiny[family], f"layers={layers[0]}")
        assert (number.dim, number.layout) == (16, Layout(layers, ordered=False))


def test_no_layer_is_computed_that_is_not_wanted(tiny: dict[str, Path]) -> None:
    for family, place in (("whisper", "layers"), ("wavlm", "encoder.layers")):
        extractor = encoder(tiny[family], "layers=2")
        extractor.compute(speechlike(3000), "a")
        assert len(extractor._encoder._network.get_submodule(place)) == 2


def test_padding_is_what_whisper_was_trained_with(tiny: dict[str, Path]) -> None:
    samples = speechlike(8000)
    padded = np.concatenate([samples, np.zeros(32000 - 8000, np.float32)])  # its chunk_length is 2 s
    expected = np.concatenate(whisper_layers(tiny["whisper"], padded), axis=1)[:25]
    features = encoder(tiny["whisper"], "padding=model").compute(samples, "a")
    np.testing.assert_allclose(features, expected, atol=1e-4)
    without = encoder(tiny["whisper"]).compute(samples, "a")
    assert np.abs(features - without).max() > 0.01  # attention sees what is padded
    np.testing.assert_allclose(features[:20, :16], without[:20, :16], atol=1e-5)  # convolutions do not


@pytest.mark.parametrize("family", FAMILIES)
def test_recordings_do_not_touch_each_other(tiny: dict[str, Path], family: str) -> None:
    extractor = encoder(tiny[family])
    first = extractor.compute(speechlike(5000), "a")
    extractor.compute(speechlike(9000, seed=2), "b")
    np.testing.assert_array_equal(extractor.compute(speechlike(5000), "c"), first)


class Spans:
    """A recording that says which slices were taken of it."""

    def __init__(self, samples: Floats) -> None:
        self.samples = samples
        self.taken: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, span: slice) -> Floats:
        self.taken.append((span.start, span.stop))
        return self.samples[span]


@pytest.mark.parametrize(("family", "shift", "span"), [("whisper", 320, 0), ("wav2vec2-large", 20, 45)])
@pytest.mark.parametrize("num_frames", [100, 101, 149, 150, 151, 333])
def test_long_recordings_are_encoded_in_pieces(
    tiny: dict[str, Path], family: str, shift: int, span: int, num_frames: int
) -> None:
    """Pieces of 100 frames, 25 of which on either side are context: each frame is that of its own piece."""
    seconds = 100 * shift / 16000
    extractor = encoder(tiny[family], f"chunk_s={seconds}", f"overlap_s={seconds / 4}")
    samples = speechlike((num_frames - 1) * shift + (span or 200) + 13)
    recording = Spans(samples)
    features = extractor.compute(recording, "a")
    assert features.shape == (num_frames, 64)
    ends = [start for start, _ in recording.taken[1:]] + [len(samples)]
    longest = 100 * shift + max(span - shift, 0) + (320 if family == "whisper" else 20)
    assert all(stop - start < longest for start, stop in recording.taken)
    assert recording.taken == sorted(recording.taken)
    assert recording.taken[-1][1] == len(samples)
    kept = 0
    for number, ((start, stop), following) in enumerate(zip(recording.taken, ends, strict=True)):
        alone = extractor.compute(samples[start:stop], "b")
        first = start // shift
        end = num_frames if number == len(ends) - 1 else following // shift + 25
        np.testing.assert_array_equal(features[kept:end], alone[kept - first : end - first])
        assert number == 0 or kept - first == 25  # context before
        assert end == num_frames or first + len(alone) - end >= 25  # and behind
        kept = end
    assert kept == num_frames


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.02), ("float16", 0.002)])
def test_half_precision(tiny: dict[str, Path], dtype: str, tolerance: float) -> None:
    """Mean error over a layer's deviation, of six models each: at most 0.0083 (bfloat16) and 0.0010."""
    for family in ("whisper", "wavlm"):
        samples = speechlike(4000)
        exact = encoder(tiny[family]).compute(samples, "a").reshape(-1, 4, 16)
        half = encoder(tiny[family], f"dtype={dtype}").compute(samples, "a").reshape(-1, 4, 16)
        error = np.abs(half - exact).mean(axis=(0, 2)) / exact.std(axis=(0, 2))
        assert (error < tolerance).all(), error
        assert (error > 0).all()


def test_context_covers_what_is_local(tiny: dict[str, Path]) -> None:
    """Layer 0 of pieces is that of the whole; attention, which sees more of the whole, differs a little.

    Of a model without a group norm or a normalisation of its input, which are over all of the recording.
    """
    changed = {"num_conv_pos_embeddings": 8}
    folder = make_encoder(tiny["wav2vec2-large"].parent / "local", "wav2vec2-large", **changed)
    change(folder / "preprocessor_config.json", do_normalize=False)
    samples = speechlike(320 * 20 + 45)
    whole = encoder(folder).compute(samples, "a").reshape(-1, 4, 16)
    pieces = encoder(folder, "chunk_s=0.125", "overlap_s=0.025").compute(samples, "a").reshape(-1, 4, 16)
    error = np.abs(pieces - whole).mean(axis=(0, 2)) / whole.std(axis=(0, 2))
    assert error[0] < 1e-5
    assert (error[1:] > 1e-5).all()
    assert (error[1:] < 0.1).all(), error


# ------------------------------------------------------------------------------------------- in the recipe


def read_all(folder: Path) -> dict[str, Floats]:
    reader = tables.ArkReader(folder / "feats.scp")
    return {key: reader.read(key) for key in reader.places}


def test_jobs_change_nothing(tiny: dict[str, Path], data: Path) -> None:
    features = the_set(tiny["wavlm"], "layers=2")
    make(data, features, 1)
    one = read_all(data / "whisper")
    before = tree(data / "whisper")
    make(data, features, 1)
    assert tree(data / "whisper") == before  # a second run makes nothing
    shutil.rmtree(data / "whisper")
    make(data, features, 3)
    three = read_all(data / "whisper")
    assert one.keys() == three.keys()
    assert all(np.array_equal(one[key], three[key]) for key in one)
    extractor = features.make()
    samples = load_samples(data.parents[1] / "wav" / "3.wav", AUDIO)
    np.testing.assert_array_equal(one["utt3"], extractor.compute(samples, "utt3"))


def test_several_layers_are_kept_in_two_bytes_a_value(tiny: dict[str, Path], data: Path) -> None:
    """To 1 / 65535 of a recording's range, rounded."""
    features = the_set(tiny["whisper"])
    assert features.compress == "CM2"
    make(data, features, 1)
    assert read_set(data, "whisper") == features
    values = read_all(data / "whisper")["utt6"]
    exact = features.make().compute(load_samples(data.parents[1] / "wav" / "6.wav", AUDIO), "utt6")
    assert np.abs(values - exact).max() <= 0.51 * np.ptp(exact) / 65535
    size = (data / "whisper" / "feats.1.ark").stat().st_size
    frames = sum(map(int, tables.read_table(data / "whisper" / "utt2num_frames").values()))
    assert frames * 64 * 2 < size < frames * 64 * 2 + 7 * 40


def test_what_is_recorded_is_no_path(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a name, and digests; a set that was read finds its model where the variable says."""
    here = shutil.copytree(tiny["whisper"], tmp_path / "here" / "my-whisper")
    features = the_set(here, "layers=[1, 2]")
    record = features.to_dict()
    weights = hashlib.sha256((here / "model.safetensors").read_bytes()).hexdigest()
    assert record["settings"] == {
        "extractor": "pretrained", "model": "my-whisper", "revision": None, "layers": [1, 2],
        "padding": "none", "chunk_s": 2.0, "overlap_s": 0.5, "dtype": "float32",
        "device": "auto", "weights_sha256": weights,
        "config_sha256": record["settings"]["config_sha256"],
    }  # fmt: skip
    assert str(tmp_path) not in json.dumps(record)
    expected = features.make().compute(speechlike(3000), "a")
    there = tmp_path / "there"
    there.mkdir()
    here.rename(there / "my-whisper")
    received = parse_set("whisper", record, "model.json")
    for place in (f"{tmp_path / 'nowhere'}:{there}", str(there / "my-whisper")):
        monkeypatch.setenv("SER_PRETRAINED", place)
        np.testing.assert_array_equal(received.make().compute(speechlike(3000), "a"), expected)
    assert the_set(there / "my-whisper", "layers=[1, 2]") == features
    monkeypatch.delenv("SER_PRETRAINED")
    with pytest.raises(DataError) as error:
        received.make()
    assert str(error.value) == (
        f"model my-whisper: no folder of that name with weights of the sha256 {weights} is in those that the "
        "variable SER_PRETRAINED names; name the folder that it lies in there"
    )


def test_keys_of_no_consequence_change_no_digest(tiny: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(tiny["wavlm"], tmp_path / "wavlm")
    change(copy / "config.json", transformers_version="4.0", torch_dtype="float16")
    assert the_set(copy) == the_set(tiny["wavlm"])
    change(copy / "config.json", layer_norm_eps=1e-3)
    assert the_set(copy) != the_set(tiny["wavlm"])


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_relative_paths_mean_the_same_from_everywhere(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's are seen from its own folder."""
    shutil.copytree(tiny["wavlm"], tmp_path / "models" / "wavlm")
    (tmp_path / "conf").mkdir()
    shutil.copy(CONF, tmp_path / "conf" / "whisper.yaml")
    monkeypatch.chdir(tmp_path / "models")
    found = load_set(tmp_path / "conf" / "whisper.yaml", AUDIO, overrides=["model=../models/wavlm"])
    assert found.settings["model"] == "wavlm"


def test_several_files_of_weights(tiny: dict[str, Path], tmp_path: Path) -> None:
    network = transformers.AutoModel.from_pretrained(tiny["hubert"])
    network.save_pretrained(tmp_path / "hubert", max_shard_size="8KB")
    shutil.copy(tiny["hubert"] / "preprocessor_config.json", tmp_path / "hubert")
    assert len(list((tmp_path / "hubert").glob("*.safetensors"))) > 2
    parted, whole = encoder(tmp_path / "hubert"), encoder(tiny["hubert"])
    np.testing.assert_array_equal(parted.compute(speechlike(2000), "a"), whole.compute(speechlike(2000), "a"))
    next((tmp_path / "hubert").glob("*-00002-*")).unlink()
    with pytest.raises(DataError) as error:
        encoder(tmp_path / "hubert")
    assert re.fullmatch(
        rf"{tmp_path}/hubert/model.safetensors.index.json: names model-00002-of-\d+.safetensors, which is "
        "not there; copy it again from where the model is from",
        str(error.value),
    )


# -------------------------------------------------------------------------------------- the real Whisper base


def real(whisper: Path, *overrides: str) -> Any:
    return load_set(CONF, AUDIO, overrides=[f"model={whisper}", "device=cpu", *overrides]).make()


@pytest.fixture(scope="module")
def spoken(emodb: Path) -> list[Floats]:
    """Six recordings of a speaker."""
    return [load_samples(path, AUDIO) for path in sorted(emodb.rglob("03a*.wav"))[:6]]


@pytest.mark.slow
def test_whisper_base_is_the_papers(whisper: Path, spoken: list[Floats]) -> None:
    samples = spoken[0][:24000]
    expected = whisper_layers(whisper, samples)
    features = real(whisper, "layers=all").compute(samples, "a").reshape(-1, 7, 512)
    assert len(expected) == 7
    for layer, values in enumerate(expected):
        np.testing.assert_allclose(features[:, layer], values, atol=1e-4, err_msg=str(layer))
    third = real(whisper)  # what conf/whisper.yaml names
    assert (third.dim, third.timing, third.layout) == (512, Timing(0.02, 0.0), Layout((3,), ordered=False))
    np.testing.assert_allclose(third.compute(samples, "a"), expected[3], atol=1e-4)


def test_whisper_base_in_half_precision_and_in_pieces(whisper: Path, spoken: list[Floats]) -> None:
    """What docs/pretrained.md says: bfloat16 is off by 1.3 % of the deviation; pieces by their positions."""
    exact = real(whisper).compute(spoken[1], "a")
    half = real(whisper, "dtype=bfloat16").compute(spoken[1], "a")
    assert 0.001 < np.abs(half - exact).mean() / exact.std() < 0.02
    joined = np.concatenate(spoken)[: 12 * 16000]
    whole, pieces = (real(whisper, f"chunk_s={s}").compute(joined, "a") for s in (30, 8))
    products = (whole * pieces).sum(axis=1)
    cosines = products / np.linalg.norm(whole, axis=1) / np.linalg.norm(pieces, axis=1)
    assert cosines[:250].mean() > 0.98  # the first piece has the positions of the whole
    assert 0.8 < cosines[300:].mean() < 0.95
