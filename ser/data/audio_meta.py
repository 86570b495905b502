"""What an audio file is, from its header, and whether it is whole."""

from __future__ import annotations

import os
import re
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import soundfile

from ser import reading
from ser.data.corpus import MAX_RATE_HZ
from ser.errors import DataError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
_COPY = "copy it again from the release"
_STREAMED = 0x7FFFF000  # lengths from here on stand for "unknown" in a header that was written into a pipe
_TAIL_S = 0.1  # what stands behind the samples of a WAV file is none of them if it is no longer than this
_TAGS = (b"TAG", b"ID3", b"APETAGEX")
_SPHERE_BYTES = 4096  # a header of SPHERE has 1024 as a rule
_UNKNOWN = (  # where what libsndfile does not read has which bytes
    (4, b"ftyp", "MPEG-4 or QuickTime (such as .m4a)"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM (such as .webm)"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "Windows Media (such as .wma)"),
    (0, b"#!AMR", "AMR"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"ADIF", "AAC (such as .aac)"),
)


class AudioMeta(NamedTuple):
    """The shape of a recording."""

    sampling_rate_hz: int
    num_channels: int
    num_samples: int  # per channel


def audio_meta(path: Path) -> AudioMeta:
    """Read the header of a recording and make sure that none of its samples is missing.

    Raises:
        DataError: a dead link, no file, not readable, 0 bytes, no audio, no samples, or cut short.
    """
    with reading.guarded(path, "make it readable", missing=_COPY):
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path}: is a link to {os.readlink(path)}, which is not there; repair it")
        reading.check_file(path)
        missing = check_kind(path)
    what = "is no audio file, or is damaged"
    with reading.guarded(path, _COPY, what=what, detail=False), soundfile.SoundFile(path) as sound:
        meta = AudioMeta(sound.samplerate, sound.channels, sound.frames)
        if meta.num_samples > 0 and not missing:
            sound.seek(meta.num_samples - 1)  # a FLAC that is cut short fails here
            missing = 1 - len(sound.read(1))
    check_rate(path, meta.sampling_rate_hz)
    if missing:
        raise DataError(f"{path}: is cut short, its header says that it is longer; {_COPY}")
    if meta.num_samples < 1:
        raise DataError(f"{path}: holds no samples; {_COPY}")
    return meta


def check_rate(path: Path, rate_hz: int) -> None:
    """Refuse a sampling rate that no recording has, and whose conversion may take all of the memory.

    Raises:
        DataError: it is below 1 or above :data:`MAX_RATE_HZ`.
    """
    if not 1 <= rate_hz <= MAX_RATE_HZ:
        raise DataError(f"{path}: says that it has {rate_hz} Hz, {MAX_RATE_HZ} is the most; {_COPY}")


def check_kind(path: Path) -> int:
    """Refuse what is known not to be read, or not to be all of a recording.

    Returns:
        How many bytes of samples the header of a WAV file promises beyond the end of the file; else 0.

    Raises:
        DataError: no bytes at all, a format that libsndfile does not know, a pointer of Git LFS, a WAV file
            that was never finished.
    """
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: is empty (0 bytes); {_COPY}")
    with open(path, "rb") as stream:
        return check_content(path, stream, size)


def check_content(path: Path, stream: IO[bytes], size: int) -> int:
    """As :func:`check_kind`, of an open stream of ``size`` bytes; ``path`` is only its name in messages."""
    head = stream.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise DataError(
            f"{path}: is a pointer of Git LFS, the audio is still to be fetched (git lfs pull); run that "
            "in its folder"
        )
    for place, magic, kind in _UNKNOWN:
        if head[place : place + len(magic)] == magic:
            raise DataError(f"{path}: is {kind}, which is not read{_convert(path)}")
    if head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0:  # ADTS: a sync word and layer 0
        raise DataError(f"{path}: is AAC (such as .aac), which is not read{_convert(path)}")
    if head.startswith(b"NIST_1A\n"):
        _check_sphere(path, head + stream.read(_SPHERE_BYTES))
    if head[:4] not in (b"RIFF", b"RIFX") or head[8:12] != b"WAVE":
        return 0
    return _check_wav(path, stream, size, "<" if head[:4] == b"RIFF" else ">")


def _check_sphere(path: Path, head: bytes) -> None:
    """Refuse a SPHERE file whose samples are compressed, as those of the LDC often are."""
    header = head.partition(b"end_head")[0]
    coding = re.search(rb"^sample_coding -s\d+ (\S+)", header, re.MULTILINE)
    if coding is not None and b"embedded-" in coding[1]:
        target = path.with_name(f"{path.stem}.fixed.wav")
        command = f"sph2pipe -f wav {shlex.quote(str(path))} {shlex.quote(str(target))}"
        raise DataError(
            f"{path}: is SPHERE, compressed, which is not read (convert it: {command}); name what that gives"
        )


def _convert(path: Path, options: str = "") -> str:
    """How to make a WAV file of a recording; a command before the semicolon, what to do then behind it."""
    target = path.with_name(f"{path.stem}.{'fixed.' if path.suffix == '.wav' else ''}wav")
    command = f"ffmpeg {options}-i {shlex.quote(str(path))} {shlex.quote(str(target))}"
    return f" (convert it: {command}); name what that gives"


def _check_wav(path: Path, stream: IO[bytes], size: int, order: str) -> int:
    """Bytes of samples that are missing; refuses a length that was not filled in when the recording ended.

    libsndfile reads a WAV file that was cut short, and the beginning of one that was not finished, without
    complaint, so this has to be looked at here.
    """
    bytes_per_s = 0
    for name, length, place in _chunks(stream, 12, order):
        if name == b"fmt ":
            bytes_per_s = struct.unpack(f"{order}8xI", stream.read(12).ljust(12, b"\0"))[0]
        if name != b"data":
            continue
        if length >= _STREAMED:
            return 0
        end = place + length
        if _are_samples(stream, end + length % 2, size, order, max(8, _TAIL_S * bytes_per_s)):
            raise DataError(
                f"{path}: was not finished, its header tells of {length} bytes of samples, {size - end} more "
                f"stand behind them{_convert(path, '-ignore_length 1 ')}"
            )
        return max(0, end - size)
    return 0


def _are_samples(stream: IO[bytes], start: int, size: int, order: str, least: float) -> bool:
    """Whether samples stand where only a further chunk should, or nothing, or what players append."""
    if size - start <= least:
        return False
    stream.seek(start)
    head = stream.read(4096)
    name, length, place = next(_chunks(stream, start, order))
    is_chunk = name.isascii() and name.decode("ascii").isprintable() and place + length <= size
    return not is_chunk and not head.startswith(_TAGS) and bool(head.strip(b"\0"))


def _chunks(stream: IO[bytes], place: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, length and place of the content of each chunk from a place in a WAV file on."""
    stream.seek(place)
    while len(chunk := stream.read(8)) == 8:
        name, length = struct.unpack(f"{order}4sI", chunk)
        place = stream.tell()
        yield name, length, place
        stream.seek(place + length + length % 2)
