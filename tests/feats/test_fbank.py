"""Filterbank energies against Kaldi's own (kaldi-native-fbank), and the rules for frames and settings."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import lhotse
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ser import config
from ser.errors import ConfigError, DataError
from ser.feats.base import Timing
from ser.feats.fbank import Fbank, FbankSettings, log_mel, num_frames

CONF = Path(__file__).parents[2] / "conf"
PAPER = config.load(FbankSettings, CONF / "fbank.yaml")
KALDI = config.load(FbankSettings, CONF / "fbank_kaldi.yaml")
SILENCE = math.log(1.1920929e-07)


def kaldi_fbank(samples: npt.NDArray[np.float32], conf: FbankSettings) -> npt.NDArray[np.float32]:
    options = knf.FbankOptions()
    options.use_power = conf.use_power
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq, frame.dither, frame.window_type = conf.sampling_rate_hz, 0.0, conf.window
    frame.frame_length_ms, frame.frame_shift_ms = conf.frame_length_ms, conf.frame_shift_ms
    frame.preemph_coeff, frame.remove_dc_offset = conf.preemphasis, conf.remove_dc_offset
    frame.snip_edges = conf.snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = conf.num_mel_bins, conf.low_freq_hz, conf.high_freq_hz
    computer = knf.OnlineFbank(options)
    scale = np.float32(32768 if conf.sample_scale == "int16" else 1)
    computer.accept_waveform(conf.sampling_rate_hz, samples * scale)
    computer.input_finished()
    frames = [computer.get_frame(i) for i in range(computer.num_frames_ready)]
    return np.array(frames, np.float32).reshape(-1, conf.num_mel_bins)


def noise(num_samples: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


OPTIONS: list[dict[str, Any]] = [
    {"num_mel_bins": bins, "window": window, "snip_edges": snip}
    for bins in (23, 40, 80)
    for window in ("povey", "hamming")
    for snip in (True, False)
]
OTHER_OPTIONS: list[dict[str, Any]] = [
    {"window": "hanning"},
    {"window": "rectangular"},
    {"use_power": False},
    {"sample_scale": "unit"},
    {"low_freq_hz": 64.0, "high_freq_hz": -400.0},
    {"frame_length_ms": 32.0, "frame_shift_ms": 8.0},
    {"sampling_rate_hz": 8000, "high_freq_hz": 0.0},
    {"sampling_rate_hz": 44100, "high_freq_hz": 0.0, "snip_edges": False},  # an odd shift: 441 samples
    {"sampling_rate_hz": 22050, "high_freq_hz": 0.0, "snip_edges": False},  # an odd frame: 551 samples
]


def name(options: dict[str, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in options.items())


@pytest.mark.parametrize("base", [PAPER, KALDI], ids=["paper", "kaldi"])
@pytest.mark.parametrize("options", OPTIONS + OTHER_OPTIONS, ids=name)
def test_equals_kaldi_on_synthetic_audio(base: FbankSettings, options: dict[str, Any]) -> None:
    conf = dataclasses.replace(base, **options)
    quiet = np.random.default_rng(1).integers(-3, 4, 9000).astype(np.float32) / np.float32(32768)
    click = np.zeros(9000, np.float32)
    click[4321] = 1.0
    recordings: list[npt.NDArray[np.float32]] = [noise(48123), quiet, click, np.zeros(9000, np.float32)]
    for samples in recordings:
        ours, theirs = log_mel(samples, conf), kaldi_fbank(samples, conf)
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("base", [PAPER, KALDI], ids=["paper", "kaldi"])
@pytest.mark.parametrize("use_power", [True, False])
def test_equals_lhotse_to_the_last_digits(base: FbankSettings, use_power: bool) -> None:
    conf = dataclasses.replace(base, use_power=use_power, sample_scale="unit", snip_edges=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = lhotse.Fbank(
            lhotse.FbankConfig(
                num_filters=conf.num_mel_bins, window_type=conf.window, preemph_coeff=conf.preemphasis,
                remove_dc_offset=conf.remove_dc_offset, low_freq=conf.low_freq_hz, high_freq=conf.band_end_hz,
                use_fft_mag=not use_power, snip_edges=True,
            )
        )  # fmt: skip
    for seed in range(5):
        samples = noise(48000 + seed, seed)
        np.testing.assert_allclose(
            log_mel(samples, conf), extractor.extract(samples, 16000), rtol=0, atol=5e-6
        )


@pytest.mark.parametrize("base", [PAPER, KALDI], ids=["paper", "kaldi"])
@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_equals_kaldi_on_emodb(emodb: Path, base: FbankSettings, options: dict[str, Any]) -> None:
    conf = dataclasses.replace(base, **options)
    ours, theirs = [], []
    for path in sorted(emodb.rglob("*.wav"))[::16]:
        samples, _ = soundfile.read(path, dtype="float32")
        ours.append(log_mel(samples, conf))
        theirs.append(kaldi_fbank(samples, conf))
        assert ours[-1].shape == theirs[-1].shape
    reference = np.concatenate(theirs)
    difference = np.abs(np.concatenate(ours) - reference)
    # Below e^-16 (69 dB) of a frame's strongest filter single precision leaves only rounding noise, in
    # Kaldi's numbers as in these: Kaldi itself is up to 0.06 off the exact value there.
    resolved = reference > reference.max(axis=1, keepdims=True) - 16
    assert difference[resolved].max() < 1e-3
    assert (difference > 1e-3).mean() < 2e-4
    if conf.window == "hamming" and conf.num_mel_bins == 23:  # the paper's window and filters: everywhere
        assert difference.max() < 1e-3


# num_samples -> frames with snip_edges, and without (Kaldi's, 16 kHz, 25 and 10 ms)
FRAMES = {0: (0, 0), 399: (0, 2), 400: (1, 3), 559: (1, 3), 560: (2, 4), 561: (2, 4), 16000: (98, 100)}
FRAMES |= {16079: (98, 100), 16080: (99, 101), 48123: (299, 301)}


@pytest.mark.parametrize(("num_samples", "expected"), FRAMES.items())
def test_number_of_frames(num_samples: int, expected: tuple[int, int]) -> None:
    for snip, frames in zip((True, False), expected, strict=True):
        conf = dataclasses.replace(PAPER, snip_edges=snip)
        assert num_frames(num_samples, conf) == frames
        assert log_mel(noise(num_samples), conf).shape == (frames, 23)


def test_short_recordings_are_reflected_as_in_kaldi() -> None:
    conf = dataclasses.replace(PAPER, snip_edges=False)
    for num_samples in (80, 100, 119, 121, 300, 399):
        np.testing.assert_allclose(
            log_mel(noise(num_samples), conf), kaldi_fbank(noise(num_samples), conf), rtol=0, atol=1e-3
        )


def test_digital_silence_is_the_floor_at_both_scales() -> None:
    for scale in ("int16", "unit"):
        conf = dataclasses.replace(PAPER, sample_scale=scale)
        np.testing.assert_allclose(log_mel(np.zeros(800, np.float32), conf), SILENCE, atol=1e-6)


def test_the_scale_shifts_every_value_by_the_same() -> None:
    unit = dataclasses.replace(PAPER, sample_scale="unit")
    difference = log_mel(noise(16000), PAPER) - log_mel(noise(16000), unit)
    np.testing.assert_allclose(difference, 2 * math.log(32768), atol=1e-4)
    assert round(2 * math.log(32768), 3) == 20.794


def test_a_long_recording_equals_its_parts() -> None:
    samples = noise(160 * 1500 + 240)  # 1500 frames, more than two blocks
    whole = log_mel(samples, PAPER)
    assert len(whole) == 1500
    for first in (0, 511, 512, 1023, 1024, 1499):
        frame = samples[160 * first : 160 * first + 400]
        np.testing.assert_allclose(whole[first : first + 1], log_mel(frame, PAPER), atol=1e-5)


def test_dither_depends_on_the_utterance_alone() -> None:
    conf = dataclasses.replace(KALDI, dither=1.0)
    samples = np.zeros(16000, np.float32)
    first = log_mel(samples, conf, "utt1")
    np.testing.assert_array_equal(first, log_mel(samples, conf, "utt1"))
    assert np.abs(first - log_mel(samples, conf, "utt2")).max() > 0.1
    assert log_mel(samples, KALDI, "utt1").max() == pytest.approx(SILENCE)
    # white noise of variance 1 has an energy of sum(window^2) in each line of the spectrum
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    flat = dataclasses.replace(conf, preemphasis=0.0)
    lines = np.exp(log_mel(np.zeros(480000, np.float32), flat, "utt1")).mean(axis=0) / np.sum(window**2)
    triangles = np.exp(kaldi_fbank(np.eye(1, 400, 200, dtype=np.float32)[0] / 32768, flat)[0])
    np.testing.assert_allclose(lines, triangles, rtol=0.1)


def test_no_warning_reaches_the_user() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_mel(noise(800), dataclasses.replace(PAPER, num_mel_bins=29))


def test_the_settings_are_the_papers_and_kaldis() -> None:
    assert dataclasses.astuple(PAPER) == (
        "fbank", 16000, 23, 25.0, 10.0, "hamming", 0.0, 0.0, 8000.0, 0.0, False, True, "int16", True,
    )  # fmt: skip
    assert dataclasses.astuple(KALDI) == (
        "fbank", 16000, 23, 25.0, 10.0, "povey", 0.97, 20.0, 0.0, 0.0, True, True, "int16", True,
    )  # fmt: skip
    assert (PAPER.length_samples, PAPER.shift_samples, KALDI.band_end_hz) == (400, 160, 8000.0)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("sampling_rate_hz", 0, "frame_shift_ms must be one sample or more, got 10.0"),
        ("num_mel_bins", 3, "num_mel_bins must be from 4 to 4096, got 3"),
        ("frame_shift_ms", 0.0, "frame_shift_ms must be above 0 and at most 10000, got 0.0"),
        ("frame_length_ms", 0.1, "frame_length_ms must be two samples or more, got 0.1"),
        ("preemphasis", 1.5, "preemphasis must be from 0 to 1, got 1.5"),
        ("dither", -1.0, "dither must be from 0 to 32768, got -1.0"),
        ("low_freq_hz", 8000.0, "low_freq_hz must be below 8000, half the sampling rate, got 8000.0"),
        ("high_freq_hz", 9000.0, "high_freq_hz must lie above low_freq_hz and not above 8000, half the sampling rate, got 9000.0"),  # noqa: E501
        ("high_freq_hz", -8000.0, "high_freq_hz must lie above low_freq_hz and not above 8000, half the sampling rate, got -8000.0"),  # noqa: E501
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(key: str, value: float, rule: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(FbankSettings, CONF / "fbank.yaml", [f"{key}={value}"])
    if key != "sampling_rate_hz":
        assert str(error.value) == f"{CONF}/fbank.yaml: {rule}; correct it"


def test_an_empty_filter_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        config.load(FbankSettings, CONF / "fbank.yaml", ["num_mel_bins=128"])
    assert str(error.value) == (
        f"{CONF}/fbank.yaml: num_mel_bins must be smaller than 128, 1 of the filters hold no line of the "
        "spectrum (or the frames must be longer); correct it"
    )


@pytest.mark.parametrize("low_freq_hz", [0.0, 20.0])
def test_a_filter_without_lines_is_found(low_freq_hz: float) -> None:
    for bins in range(60, 140, 4):
        conf = dataclasses.replace(PAPER, num_mel_bins=4, low_freq_hz=low_freq_hz)
        object.__setattr__(conf, "num_mel_bins", bins)
        floor = (
            log_mel(noise(4000), conf).max(axis=0) <= SILENCE + 1e-6
        )  # a filter without lines: always silent
        assert conf._empty_filters() == floor.sum()


@pytest.mark.parametrize(
    ("options", "shift_s", "middle_s"),
    [
        ({}, 0.01, 0.0125),
        ({"snip_edges": False}, 0.01, 0.005),
        ({"frame_shift_ms": 20.0, "frame_length_ms": 40.0}, 0.02, 0.02),
        ({"sampling_rate_hz": 22050, "high_freq_hz": 0.0}, 220 / 22050, 275.5 / 22050),  # whole samples
    ],
)
def test_which_time_a_frame_stands_for(options: dict[str, Any], shift_s: float, middle_s: float) -> None:
    conf = dataclasses.replace(PAPER, **options)
    extractor = Fbank(conf, conf.sampling_rate_hz)
    assert extractor.timing == Timing(shift_s, middle_s)
    click = np.zeros(
        conf.sampling_rate_hz, np.float32
    )  # the loudest frame is the one that it is the middle of
    click[round((middle_s + 20 * shift_s) * conf.sampling_rate_hz)] = 1.0
    energies = extractor.compute(click, "u").sum(axis=1)
    assert energies.argmax() == 20


def test_the_extractor_makes_log_mel_energies_or_says_why_not() -> None:
    extractor = Fbank(dataclasses.replace(KALDI, dither=1.0), 16000)
    assert (extractor.dim, extractor.versions) == (23, {})
    np.testing.assert_array_equal(
        extractor.compute(noise(8000), "utt1"), log_mel(noise(8000), extractor.settings, "utt1")
    )
    with pytest.raises(DataError) as error:
        extractor.compute(noise(399), "utt1")
    assert str(error.value) == (
        "has 399 samples, fewer than a frame of 400; leave it out where the corpus is prepared"
    )
    with pytest.raises(DataError) as error:
        extractor.compute(np.full(4000, 1e30, np.float32), "utt1")
    assert str(error.value) == (
        "has samples far beyond 1, its energies are infinite; copy it again from the release"
    )
