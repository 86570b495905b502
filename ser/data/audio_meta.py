"""What an audio file is, from its header, and whether it is whole."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import soundfile

from ser import reading
from ser.data.corpus import MAX_RATE_HZ
from ser.errors import DataError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
_COPY = "copy it again from the release"
_STREAMED = 0x7FFFF000  # lengths from here on stand for "unknown" in a header that was written into a pipe


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
        size = reading.check_file(path)
        missing = missing_bytes(path)
    if size == 0:
        raise DataError(f"{path}: is empty (0 bytes); {_COPY}")
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


def missing_bytes(path: Path) -> int:
    """How many bytes of samples the header of a WAV file promises beyond the end of the file; else 0.

    libsndfile reads a WAV file that was cut short without complaint, so this has to be looked at here.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(12)
        if head[:4] not in (b"RIFF", b"RIFX") or head[8:12] != b"WAVE":
            return 0
        layout = "<4sI" if head[:4] == b"RIFF" else ">4sI"
        while len(chunk := stream.read(8)) == 8:
            name, length = struct.unpack(layout, chunk)
            if name == b"data":
                return 0 if length >= _STREAMED else max(0, stream.tell() + length - size)
            stream.seek(length + length % 2, os.SEEK_CUR)
    return 0
