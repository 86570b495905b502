"""Lines of the spectrum against scipy's short-time Fourier transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from ser.data.corpus import AudioConfig
from ser.errors import ConfigError, DataError
from ser.feats import audio, framing
from ser.feats.base import Timing
from ser.feats.extract import compute_file
from ser.feats.sets import FeatureSet, load_set
from ser.feats.spectrogram import Floats, Spectrogram, SpectrogramSettings

CONF = Path(__file__).parents[2] / "conf"
AUDIO = AudioConfig(16000, None, "refuse")


def noise(num_samples: int, seed: int = 0) -> Floats:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def by_scipy(samples: Floats, size: int, lines: int) -> np.ndarray:
    """The power of the lines, (T, lines), of samples that reach 32768."""
    window = scipy.signal.get_window("hamming", 640, fftbins=False)
    transform = scipy.signal.ShortTimeFFT(window, hop=160, fs=16000, mfft=size, phase_shift=None)
    total = 1 + (len(samples) - 640) // 160
    first = 2  # slice p is centred on 160 p: those of frames wholly inside begin with 320 = 160 * 2
    slices = transform.stft(samples.astype(np.float64) * 32768, p0=first, p1=first + total)
    return np.abs(slices.T[:, :lines]) ** 2


@pytest.mark.parametrize(
    ("name", "size", "lines"), [("spectrogram", 800, 200), ("spectrogram_10hz", 1600, 400)]
)
@pytest.mark.parametrize("num_samples", [640, 799, 800, 16000, 100_000])
def test_the_lines_are_scipys(name: str, size: int, lines: int, num_samples: int) -> None:
    samples = noise(num_samples)
    features = load_set(CONF / f"{name}.yaml", AUDIO).make().compute(samples, "a")
    power = by_scipy(samples, size, lines)
    assert features.shape == power.shape
    np.testing.assert_allclose(features, np.log(power), rtol=1e-5, atol=1e-5)


def test_seconds_have_the_frames_that_the_papers_count() -> None:
    extractor = load_set(CONF / "spectrogram.yaml", AUDIO).make()
    assert [len(extractor.compute(noise(16000 * s), "a")) for s in (1, 2, 3)] == [97, 197, 297]
    assert extractor.timing == Timing(0.01, 0.02)


def test_neighbours_are_averaged_as_power() -> None:
    """The small set's lines are the mean of five of the other's, and every second frame is there."""
    samples = noise(5000)
    whole, small = (
        load_set(CONF / f"{name}.yaml", AUDIO).make().compute(samples, "a")
        for name in ("spectrogram", "spectrogram_small")
    )
    power = np.exp(whole[::2].astype(np.float64))
    assert small.shape == (len(power), 40)
    np.testing.assert_allclose(np.exp(small), sum(power[:, i::5] for i in range(5)) / 5, rtol=1e-5)


def test_magnitude_is_the_root_of_the_power() -> None:
    samples = noise(5000)
    features = load_set(CONF / "spectrogram.yaml", AUDIO, overrides=["scale=magnitude"]).make()
    np.testing.assert_allclose(features.compute(samples, "a") ** 2, by_scipy(samples, 800, 200), rtol=1e-5)


def test_a_tone_is_in_its_line_and_silence_is_the_floor() -> None:
    extractor = load_set(CONF / "spectrogram.yaml", AUDIO).make()
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000).astype(np.float32)
    assert set(extractor.compute(tone, "a").argmax(axis=1)) == {50}
    assert not extractor.compute(np.zeros(640, np.float32), "a").any()


def test_a_long_recording_goes_through_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(200_000), 16000, subtype="PCM_16")
    features: FeatureSet = load_set(CONF / "spectrogram.yaml", AUDIO)
    whole = compute_file(path, features.make(), AUDIO, "a")
    monkeypatch.setattr(audio, "LONG_SAMPLES", 1000)
    monkeypatch.setattr(framing, "BLOCK_FRAMES", 37)
    np.testing.assert_array_equal(compute_file(path, features.make(), AUDIO, "a"), whole)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "line_hz=30",
            "line_hz must divide the sampling rate, 16000, into a transform no shorter than a frame",
        ),
        (
            "line_hz=50",
            "line_hz must divide the sampling rate, 16000, into a transform no shorter than a frame",
        ),
        (
            "high_freq_hz=8020",
            "high_freq_hz must be a multiple of line_hz, and at most 8000, half the sampling",
        ),
        (
            "high_freq_hz=4010",
            "high_freq_hz must be a multiple of line_hz, and at most 8000, half the sampling",
        ),
        ("average_lines=3", "average_lines must divide the 200 lines, got 3"),
        ("frame_shift_ms=0.01", "frame_shift_ms must be one sample or more, got 0.01"),
        ("frame_length_ms=0.1", "frame_length_ms must be two samples or more, got 0.1"),
    ],
)
def test_settings_that_cannot_work(override: str, message: str) -> None:
    path = CONF / "spectrogram.yaml"
    with pytest.raises(ConfigError) as error:
        load_set(path, AUDIO, overrides=[override])
    assert str(error.value).startswith(f"{path}: {message}")


def test_what_is_shorter_than_a_frame_is_refused() -> None:
    extractor = Spectrogram(SpectrogramSettings("spectrogram", 40, 10, 20, 4000, 1, "log_power"), 16000)
    with pytest.raises(
        DataError, match="^has 639 samples, fewer than a frame of 640; leave it out where the"
    ):
        extractor.compute(noise(639), "a")
