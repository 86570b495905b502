"""What strangers send, decoded or refused in words."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc

import numpy as np
import pytest
import soundfile

from ser.serving.limits import Limits, RefusedError
from ser.serving.uploads import Upload, decode

LIMITS = Limits(seconds=10)
RNG = np.random.default_rng(0)
NOISE = RNG.uniform(-0.5, 0.5, 16000).astype(np.float32)


def encode(samples: np.ndarray, rate_hz: int = 16000, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, format=kind, subtype=subtype)
    return stream.getvalue()


def with_length(content: bytes, length: int) -> bytes:
    """A WAV file whose header claims so many bytes of samples."""
    place = content.index(b"data") + 4
    return content[:place] + struct.pack("<I", length) + content[place + 4 :]


def refusal(content: bytes, name: str = "x.wav", limits: Limits = LIMITS) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        decode(Upload(name, io.BytesIO(content)), limits)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("AIFF", "PCM_24")])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_samples_are_those_of_the_file(kind: str, subtype: str, rate_hz: int) -> None:
    samples, rate = decode(Upload("x", io.BytesIO(encode(NOISE, rate_hz, kind, subtype))), LIMITS)
    assert rate == rate_hz
    np.testing.assert_allclose(samples, NOISE, atol=2.0**-23)


def test_channels_become_their_mean() -> None:
    """In blocks as at once: 100,000 frames of 40 channels are several blocks."""
    frames = RNG.uniform(-1, 1, (100000, 40)).astype(np.float32)
    samples, _ = decode(Upload("x", io.BytesIO(encode(frames, 16000, "WAV", "FLOAT"))), LIMITS)
    np.testing.assert_array_equal(samples, frames.mean(axis=1))


def test_a_header_without_a_length_is_read_to_the_end() -> None:
    """Programs that write into a pipe claim 4 GB; there is as much as there is, and no memory for more."""
    tracemalloc.start()
    samples, _ = decode(Upload("x", io.BytesIO(with_length(encode(NOISE), 0xFFFFFFFF))), LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(samples, NOISE, atol=2.0**-15)
    assert peak < 10e6


NAN = NOISE.copy()
NAN[[5, 17]] = np.nan, np.inf
LONG = "x.wav: is longer than 10 s, or has more samples than 10 s at 48000 Hz; send a part of it"
NO_AUDIO = "x.wav: is no audio that can be read; send WAV, FLAC, OGG or MP3"
BAD = {
    "empty": (b"", 400, "x.wav: is empty (0 bytes); send a recording"),
    "text": (b"hello, this is no audio\n" * 99, 415, NO_AUDIO),
    "a page": (b"<!doctype html><script>alert(1)</script>", 415, NO_AUDIO),
    "a header alone": (encode(NOISE)[:20], 415, NO_AUDIO),
    "cut": (encode(NOISE)[:20000], 400, "x.wav: is cut short, 12044 bytes of its samples are not there"),
    "claims 1 GB": (
        with_length(encode(NOISE), 1 << 30),
        400,
        f"x.wav: is cut short, {(1 << 30) - 32000} bytes of its samples are not there",
    ),
    "no samples": (encode(NOISE[:0]), 422, "x.wav: has no samples; send a recording"),
    "silent": (
        encode(np.zeros(16000)),
        422,
        "x.wav: is silent, all its samples are the same; check the microphone",
    ),
    "one value": (
        encode(np.full(16000, 0.25)),
        422,
        "x.wav: is silent, all its samples are the same; check the microphone",
    ),
    "NaN": (
        encode(NAN, subtype="FLOAT"),
        422,
        "x.wav: 2 of 16000 samples are NaN or infinite; mend the program that made it",
    ),
    "long": (encode(np.tile(NOISE, 11)), 413, LONG),
    "many samples": (encode(np.tile(NOISE, 31), 384000), 413, LONG),
    "a rate of 1 MHz": (
        encode(NOISE, 1000000),
        422,
        "x.wav: says that it has 1000000 Hz, 384000 is the most; copy it again from the release",
    ),
    "webm": (
        b"\x1aE\xdf\xa3" + bytes(99),
        415,
        "x.wav: is Matroska or WebM (such as .webm), which is not read (convert it: ffmpeg -i x.wav "
        "x.fixed.wav); name what that gives",
    ),
}


@pytest.mark.parametrize(("content", "status", "text"), BAD.values(), ids=BAD)
def test_refusals(content: bytes, status: int, text: str) -> None:
    assert refusal(content) == (status, text)


@pytest.mark.slow
def test_ten_hours_of_silence_in_a_small_file() -> None:
    """It unpacks six-hundredfold; little more than what is taken is ever unpacked."""
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", 8000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(100):
            sound.write(np.zeros(2880000, np.int16))
    assert len(stream.getvalue()) < 1_000_000
    tracemalloc.start()
    begin = time.process_time()
    assert refusal(stream.getvalue()) == (413, LONG)
    assert time.process_time() - begin < 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_a_flac_cut_anywhere_is_refused_or_read() -> None:
    whole = encode(NOISE, kind="FLAC")
    for length in range(0, len(whole), 997):
        status, text = refusal(whole[:length], "x.flac")
        assert status in (400, 415)
        assert text.startswith("x.flac: is ")


def status_of(content: bytes) -> int:
    """How an upload is answered; 200 if its samples are usable."""
    try:
        samples, rate_hz = decode(Upload("x", io.BytesIO(content)), LIMITS)
    except RefusedError as error:
        return error.status
    usable = 1 <= rate_hz <= 384000 and 0 < len(samples) <= LIMITS.samples and np.isfinite(samples).all()
    return 200 if usable else 0


KNOWN = {200, 400, 413, 415, 422}


def test_random_bytes() -> None:
    rngs = [np.random.default_rng(seed) for seed in range(50)]
    found = {status_of(start + rng.bytes(3000)) for rng in rngs for start in (b"", b"RIFF", b"fLaC", b"OggS")}
    assert found <= KNOWN


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_flipped_bytes(kind: str) -> None:
    """Damaged files of each kind are read or refused; nothing else is raised."""
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(kind, "PCM_16")
    whole = np.frombuffer(encode(NOISE, kind=kind, subtype=subtype), np.uint8)
    found = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole) if seed % 2 else 60, 5)] = rng.integers(0, 256, 5)
        found.add(status_of(damaged.tobytes()))
    assert found <= KNOWN
    assert len(found) > 1
