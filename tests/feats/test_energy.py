"""Log energies against Kaldi's own (kaldi-native-fbank)."""

from __future__ import annotations

from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import pytest
import soundfile

from ser import config
from ser.data.corpus import AudioConfig
from ser.errors import ConfigError
from ser.feats import audio, energy
from ser.feats.base import Timing
from ser.feats.energy import Energy, EnergySettings
from ser.feats.extract import compute_file
from ser.feats.sets import load_set

CONF = Path(__file__).parents[2] / "conf"
AUDIO = AudioConfig(16000, None, "refuse")


def noise(num_samples: int, seed: int = 0) -> energy.Floats:
    """With an offset."""
    return (0.03 + 0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


@pytest.mark.parametrize("remove_dc_offset", [True, False])
@pytest.mark.parametrize("num_samples", [400, 559, 560, 16000])
def test_the_energy_is_kaldis(num_samples: int, remove_dc_offset: bool) -> None:
    options = knf.FbankOptions()
    options.use_energy = options.raw_energy = True
    options.frame_opts.dither, options.frame_opts.remove_dc_offset = 0.0, remove_dc_offset
    computer = knf.OnlineFbank(options)
    samples = noise(num_samples)
    computer.accept_waveform(16000, samples * np.float32(32768))
    computer.input_finished()
    expected = [computer.get_frame(i)[0] for i in range(computer.num_frames_ready)]
    got = Energy(EnergySettings("energy", 25.0, 10.0, remove_dc_offset), 16000).compute(samples, "a")
    assert got.shape == (len(expected), 1)
    np.testing.assert_allclose(got[:, 0], expected, rtol=1e-5)


def test_frames_are_those_of_the_filterbank() -> None:
    sets = [load_set(CONF / f"{name}.yaml", AUDIO) for name in ("fbank", "energy")]
    assert sets[0].timing == sets[1].timing == Timing(0.01, 0.0125)
    fbank, energies = (each.make().compute(noise(5000), "a") for each in sets)
    assert len(fbank) == len(energies)


def test_silence_and_what_is_shorter_than_a_frame() -> None:
    extractor = Energy(EnergySettings("energy", 25.0, 10.0, True), 16000)
    np.testing.assert_allclose(extractor.compute(np.zeros(800, np.float32), "a"), np.log(2.0**-23), rtol=1e-6)
    half = np.array([0.5, -0.5], np.float32)
    np.testing.assert_allclose(extractor.compute(half, "a"), [[np.log(2 * 16384.0**2)]], rtol=1e-6)


def test_a_long_recording_goes_through_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, extractor = tmp_path / "a.wav", Energy(EnergySettings("energy", 25.0, 10.0, True), 16000)
    soundfile.write(path, noise(200_000), 16000)
    whole = extractor.compute(audio.load_samples(path, AUDIO), "a")
    monkeypatch.setattr(audio, "LONG_SAMPLES", 100_000)
    np.testing.assert_array_equal(compute_file(path, extractor, AUDIO, "a"), whole)


@pytest.mark.parametrize(
    ("length_ms", "shift_ms", "message"),
    [
        (0.1, 10.0, "frame_length_ms must be two samples or more, got 0.1"),
        (25.0, 0.05, "frame_shift_ms must be one sample or more, got 0.05"),
    ],
)
def test_frames_that_cannot_be_are_refused(
    tmp_path: Path, length_ms: float, shift_ms: float, message: str
) -> None:
    path = tmp_path / "energy.yaml"
    path.write_text(
        f"base: energy.yaml\nframe_length_ms: {length_ms}\nframe_shift_ms: {shift_ms}\n", encoding="utf-8"
    )
    assert config.resolve(path)["extractor"] == "energy"
    with pytest.raises(ConfigError) as error:
        load_set(path, AUDIO)
    assert str(error.value) == f"{path}: {message}; correct it"
