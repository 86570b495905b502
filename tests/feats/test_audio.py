"""Recordings: every format gives the same samples, every fault gives its own message."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ser.data.corpus import AudioConfig
from ser.errors import DataError
from ser.feats.audio import load_samples

RATE = 16000
COPY = "copy it again from the release"


def audio(channel: int | None = None, resample: Literal["refuse", "convert"] = "refuse") -> AudioConfig:
    return AudioConfig(RATE, channel, resample)


def tone(hz: float = 440.0, seconds: float = 0.5, rate: int = RATE) -> npt.NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def refusal(path: Path, conf: AudioConfig | None = None) -> str:
    with pytest.raises(DataError) as error:
        load_samples(path, conf or audio())
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_32", 2**-23),
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "DOUBLE", 0.0),
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
        ("a.aiff", "PCM_16", 2**-15),
        ("a.w64", "PCM_16", 2**-15),
    ],
)
def test_lossless_formats_are_exact_to_a_step(tmp_path: Path, name: str, subtype: str, step: float) -> None:
    soundfile.write(tmp_path / name, tone(), RATE, subtype=subtype)
    samples = load_samples(tmp_path / name, audio())
    assert samples.dtype == np.float32
    assert samples.shape == (8000,)
    np.testing.assert_allclose(samples, tone(), rtol=0, atol=step)


@pytest.mark.parametrize(("name", "tolerance"), [("a.ogg", 0.02), ("a.mp3", 0.02)])
def test_lossy_formats_are_close(tmp_path: Path, name: str, tolerance: float) -> None:
    soundfile.write(tmp_path / name, tone(seconds=2), RATE)
    samples = load_samples(tmp_path / name, audio())
    assert samples.shape == (32000,)
    middle = slice(4000, -4000)  # the ends ring
    np.testing.assert_allclose(samples[middle], tone(seconds=2)[middle], rtol=0, atol=tolerance)


def test_int16_samples_are_divided_by_32768(tmp_path: Path) -> None:
    values = np.array([-32768, -1, 0, 1, 32767] * 200, np.int16)
    soundfile.write(tmp_path / "a.wav", values, RATE)
    np.testing.assert_array_equal(
        load_samples(tmp_path / "a.wav", audio()) * 32768, values.astype(np.float32)
    )


def test_one_channel_of_several_is_taken(tmp_path: Path) -> None:
    left, right = tone(300), tone(500)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(load_samples(tmp_path / "a.wav", audio(channel=0)), left)
    np.testing.assert_array_equal(load_samples(tmp_path / "a.wav", audio(channel=1)), right)
    assert load_samples(tmp_path / "a.wav", audio(channel=1)).flags["C_CONTIGUOUS"]


def test_channels_are_never_guessed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((800, 2)), RATE)
    assert refusal(path) == (f"{path}: has 2 channels; choose one, 0 to 1, such as --set audio.channel=0")
    assert refusal(path, audio(channel=2)) == (
        f"{path}: has 2 channels, so there is no channel 2; choose 0 to 1, such as --set audio.channel=0"
    )
    soundfile.write(path, np.zeros(800), RATE)
    assert refusal(path, audio(channel=1)) == (
        f"{path}: has 1 channel, so there is no channel 1; choose 0, such as --set audio.channel=0"
    )


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_other_rates_are_refused_or_converted(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, 1.0, rate), rate, subtype="FLOAT")
    assert refusal(path) == (
        f"{path}: is sampled at {rate} Hz, audio.sampling_rate_hz says 16000; "
        "--set audio.resample=convert, or name the right rate"
    )
    samples = load_samples(path, audio(resample="convert"))
    assert samples.dtype == np.float32
    assert samples.shape == (RATE,)
    np.testing.assert_allclose(samples[500:-500], tone(440, 1.0)[500:-500], rtol=0, atol=2e-3)


def test_conversion_does_not_alias(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(11000, 1.0, 48000), 48000, subtype="FLOAT")  # above 8 kHz
    assert np.abs(load_samples(tmp_path / "a.wav", audio(resample="convert"))[500:-500]).max() < 2e-3


def test_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert refusal(path) == (
        f"{path}: no such file; is the corpus where stage 0 found it? If not, run stage 0 again"
    )
    path.symlink_to("/nowhere/b.wav")
    assert refusal(path) == f"{path}: is a link to /nowhere/b.wav, which does not exist; repair the link"
    assert refusal(tmp_path) == f"{tmp_path}: is no file; name a recording"
    assert refusal(Path("sox a.wav -t wav - |")) == (
        "sox a.wav -t wav - |: is a command; wav.scp must name files, so write its output to one"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE)
    path.chmod(0)
    assert refusal(path) == f"{path}: may not be read (no permission); change it with chmod"


def test_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"")
    assert refusal(path) == f"{path}: is empty (0 bytes); {COPY}"
    path.write_text("this is a text\n" * 10)
    assert refusal(path) == (f"{path}: is no audio that can be read (Format not recognised); {COPY}")
    soundfile.write(path, np.zeros(0), RATE)
    assert refusal(path) == f"{path}: has no samples; {COPY}"


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_a_wav_file_cut_short(tmp_path: Path, endian: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16", endian=endian)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3000])
    assert refusal(path) == f"{path}: is cut short, 3000 bytes of its samples are not there; {COPY}"
    path.write_bytes(whole[:44])
    assert refusal(path) == f"{path}: is cut short, 16000 bytes of its samples are not there; {COPY}"


def test_a_wav_file_cut_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:30])
    assert refusal(path).startswith(f"{path}: is no audio that can be read (")
    assert refusal(path).endswith(f"); {COPY}")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_file_from_a_pipe_has_no_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    raw = bytearray(path.read_bytes())
    raw[40:44] = struct.pack("<I", length)
    path.write_bytes(raw)
    assert load_samples(path, audio()).shape == (8000,)


def test_chunks_before_and_behind_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    raw = path.read_bytes()
    junk = b"junk" + struct.pack("<I", 3) + b"abc\0"  # an odd length has a byte behind it
    path.write_bytes(raw[:12] + junk + raw[12:] + b"LIST" + struct.pack("<I", 4) + b"INFO")
    np.testing.assert_allclose(load_samples(path, audio()), tone(), rtol=0, atol=2**-15)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_a_packed_file_cut_short(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(seconds=2), RATE)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    message = refusal(path)
    assert message.startswith((f"{path}: is no audio that can be read (", f"{path}: is cut short, "))
    assert message.endswith(f"; {COPY}")


def test_an_mp3_cut_short(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(seconds=3), RATE)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    message = refusal(path)
    assert message.startswith(f"{path}: is cut short, ")
    assert message.endswith(f" of 48000 samples; {COPY}")
    capfd.readouterr()  # the decoder's own complaint


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = tone()
    samples[[3, 5]] = np.nan, np.inf
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    assert refusal(path) == f"{path}: 2 of 8000 samples are NaN or infinite; {COPY}"
