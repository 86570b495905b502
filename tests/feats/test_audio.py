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

from ser.data.audio_meta import audio_meta
from ser.data.corpus import AudioConfig
from ser.errors import DataError
from ser.feats.audio import load_samples

RATE = 16000
COPY = "copy it again from the release"


def audio(
    channel: int | Literal["mix"] | tuple[int, ...] | None = None,
    resample: Literal["refuse", "convert"] = "refuse",
) -> AudioConfig:
    return AudioConfig(RATE, channel, resample)


def tone(hz: float = 440.0, seconds: float = 0.5, rate: int = RATE) -> npt.NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def refusal(path: Path, conf: AudioConfig | None = None) -> str:
    with pytest.raises(DataError) as error:
        load_samples(path, conf or audio())
    return str(error.value)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff"])
def test_16_bits_are_read_as_libsndfile_converts_them(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).permutation(np.arange(-(2**15), 2**15)).astype(np.int16)
    soundfile.write(tmp_path / name, values.reshape(-1, 2), RATE, subtype="PCM_16")
    theirs, _ = soundfile.read(tmp_path / name, dtype="float32")
    for channel in (0, 1):
        ours = load_samples(tmp_path / name, audio(channel=channel))
        np.testing.assert_array_equal(ours, theirs[:, channel])
    np.testing.assert_array_equal(load_samples(tmp_path / name, audio(channel="mix")), theirs.mean(axis=1))


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
    assert refusal(path) == (
        f"{path}: has 2 channels; set audio.channel to the one to use, 0 to 1, or to mix"
    )
    assert refusal(path, audio(channel=2)) == (
        f"{path}: has 2 channels, so there is no channel 2; set audio.channel to [2, 0] "
        "to take 0 of such a one"
    )
    soundfile.write(path, np.zeros(800), RATE)
    assert refusal(path, audio(channel=1)) == (
        f"{path}: has 1 channel, so there is no channel 1; set audio.channel to [1, 0] "
        "to take 0 of such a one"
    )


def test_channels_are_mixed(tmp_path: Path) -> None:
    left, right = tone(300), tone(500)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    mixed = load_samples(tmp_path / "a.wav", audio(channel="mix"))
    np.testing.assert_allclose(mixed, (left + right) / 2, rtol=0, atol=1e-7)
    assert mixed.dtype == np.float32
    soundfile.write(tmp_path / "b.wav", left, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(load_samples(tmp_path / "b.wav", audio(channel="mix")), left)


def test_the_first_channel_of_a_list_that_a_file_has_is_taken(tmp_path: Path) -> None:
    left, right = tone(300), tone(500)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", left, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(load_samples(tmp_path / "a.wav", audio(channel=(1, 0))), right)
    np.testing.assert_array_equal(load_samples(tmp_path / "b.wav", audio(channel=(1, 0))), left)
    assert refusal(tmp_path / "a.wav", audio(channel=(3, 2))) == (
        f"{tmp_path}/a.wav: has 2 channels, so there is no channel 3 or 2; set audio.channel "
        "to [3, 2, 0] to take 0 of such a one"
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


@pytest.mark.parametrize("length", [0, 2, 4096, 10000])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_a_wav_file_that_was_not_finished(tmp_path: Path, length: int, endian: str) -> None:
    path = tmp_path / "a b.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16", endian=endian)
    raw = bytearray(path.read_bytes())
    raw[40:44] = struct.pack("<I" if endian == "LITTLE" else ">I", length)
    path.write_bytes(raw)
    message = (
        f"{path}: was not finished, its header tells of {length} bytes of samples, {16000 - length} more "
        f"stand behind them (convert it: ffmpeg -ignore_length 1 -i '{path}' '{tmp_path}/a b.fixed.wav'); "
        "name what that gives"
    )
    assert refusal(path) == message
    with pytest.raises(DataError) as error:
        audio_meta(path)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "tail",
    [
        b"LIST" + struct.pack("<I", 8000) + b"x" * 8000,
        b"TAG" + b"x" * 8000,
        b"ID3" + b"\1" * 8000,
        bytes(8000),
        b"\1" * 3000,  # less than a tenth of a second
    ],
)
def test_what_stands_behind_finished_samples_is_no_fault(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes() + tail)
    assert len(load_samples(path, audio())) == audio_meta(path).num_samples == 8000


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100), "MPEG-4 or QuickTime (such as .m4a)"),
        ("a.wav", b"\0\0\0\x18ftypisom" + bytes(100), "MPEG-4 or QuickTime (such as .m4a)"),
        ("a.webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\1" + bytes(100), "Matroska or WebM (such as .webm)"),
        ("a.wma", b"0&\xb2u\x8ef\xcf\x11\xa6\xd9" + bytes(100), "Windows Media (such as .wma)"),
        ("a.amr", b"#!AMR\n" + bytes(100), "AMR"),
        ("a.aac", b"\xff\xf1\x50\x80" + bytes(100), "AAC (such as .aac)"),  # ADTS of MPEG-4
        ("a.aac", b"\xff\xf8\x50\x80" + bytes(100), "AAC (such as .aac)"),  # of MPEG-2
    ],
)
def test_a_format_that_is_not_read(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    target = tmp_path / ("a.fixed.wav" if name == "a.wav" else "a.wav")
    message = (
        f"{path}: is {kind}, which is not read (convert it: ffmpeg -i {path} {target}); name what that gives"
    )
    assert refusal(path) == message
    with pytest.raises(DataError) as error:
        audio_meta(path)
    assert str(error.value) == message


def sphere(coding: str) -> bytes:
    lines = [
        "NIST_1A", "   1024", "channel_count -i 1", f"sample_count -i {RATE}", f"sample_rate -i {RATE}",
        "sample_n_bytes -i 2", "sample_byte_format -s2 01", "sample_sig_bits -i 16",
        f"sample_coding -s{len(coding)} {coding}", "end_head",
    ]  # fmt: skip
    return "\n".join([*lines, ""]).encode().ljust(1024) + bytes(2 * RATE)


def test_sphere_is_read_unless_it_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(sphere("pcm"))
    assert audio_meta(path) == (RATE, 1, RATE)
    path.write_bytes(sphere("pcm,embedded-shorten-v2.00"))
    assert refusal(path) == (
        f"{path}: is SPHERE, compressed, which is not read (convert it: sph2pipe -f wav {path} "
        f"{tmp_path}/a.fixed.wav); name what that gives"
    )


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n")
    assert refusal(path) == (
        f"{path}: is a pointer of Git LFS, the audio is still to be fetched (git lfs pull); run that "
        "in its folder"
    )


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
