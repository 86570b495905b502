"""A recording that is read block by block gives the bits of one that is held in memory as a whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ser import config
from ser.data.corpus import AudioConfig
from ser.errors import DataError
from ser.feats import audio as reading
from ser.feats.audio import LongRecording, load_samples, open_samples
from ser.feats.extract import compute_file
from ser.feats.fbank import Fbank, FbankSettings, log_mel

PAPER = config.load(FbankSettings, Path(__file__).parents[2] / "conf" / "fbank.yaml")
AUDIO = AudioConfig(16000, 1, "refuse")
FRAMES = 1500  # three blocks


@pytest.fixture(autouse=True)
def _little_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONG_SAMPLES", 100_000)


def write(path: Path, num_samples: int = 160 * FRAMES + 300) -> Path:
    samples: npt.NDArray[np.float64] = 0.1 * np.random.default_rng(0).standard_normal((num_samples, 2))
    soundfile.write(path, samples, 16000)
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("dither", [0.0, 1.0])
def test_blocks_give_the_same_bits(tmp_path: Path, name: str, snip_edges: bool, dither: float) -> None:
    path = write(tmp_path / name)
    settings = dataclasses.replace(PAPER, snip_edges=snip_edges, dither=dither)
    with open_samples(path, AUDIO, in_blocks=True) as samples:
        assert isinstance(samples, LongRecording)
        held = max(len(samples[begin : begin + 80_000]) for begin in range(0, 160_000, 40_000))
        assert held == 80_000
        assert len(samples._held) <= 160_000
    whole = log_mel(load_samples(path, AUDIO), settings, "utt")
    assert len(whole) == 1 + (len(load_samples(path, AUDIO)) - 400) // 160 if snip_edges else FRAMES
    np.testing.assert_array_equal(compute_file(path, Fbank(settings, 16000), AUDIO, "utt"), whole)


@pytest.mark.parametrize("extra", [0, 79, 80, 81, 240])
def test_the_last_block_may_be_one_frame(tmp_path: Path, extra: int) -> None:
    path = write(tmp_path / "a.wav", 160 * 1024 + extra)
    settings = dataclasses.replace(PAPER, snip_edges=False)
    whole = log_mel(load_samples(path, AUDIO), settings)
    assert len(whole) == 1024 + (extra >= 80) + (extra >= 240)
    np.testing.assert_array_equal(compute_file(path, Fbank(settings, 16000), AUDIO, ""), whole)


def test_a_short_or_compressed_recording_is_read_as_a_whole(tmp_path: Path) -> None:
    with open_samples(write(tmp_path / "a.wav", 90_000), AUDIO, in_blocks=True) as samples:
        assert isinstance(samples, np.ndarray)
    for name in ("a.mp3", "a.ogg"):  # their decoders are not exact to the last digit
        with open_samples(write(tmp_path / name), AUDIO, in_blocks=True) as samples:
            assert isinstance(samples, np.ndarray)
    with open_samples(write(tmp_path / "b.wav"), AUDIO, in_blocks=False) as samples:
        assert isinstance(samples, np.ndarray)


def test_faults_within_are_told(tmp_path: Path) -> None:
    samples = np.zeros((160 * FRAMES, 2))
    samples[150_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"/a.wav: has samples that are NaN or infinite; copy it again"):
        compute_file(tmp_path / "a.wav", Fbank(PAPER, 16000), AUDIO, "utt")
    path = write(tmp_path / "b.flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"/b.flac: (cannot be read on|is cut short)"):
        compute_file(path, Fbank(PAPER, 16000), AUDIO, "utt")
