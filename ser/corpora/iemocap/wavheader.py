"""The length of a recording from the header of its WAV file, without reading its samples."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from ser import reading
from ser.corpora.iemocap.release import COPY_AGAIN, unreadable
from ser.errors import DataError

SAMPLING_RATE_HZ = 16000
_PCM = (0x0001, 0xFFFE)  # WAVE_FORMAT_PCM, WAVE_FORMAT_EXTENSIBLE


def count_samples(path: Path) -> int:
    """Number of samples of a recording of ``sentences/wav``.

    Raises:
        DataError: missing, a dead link, unreadable, no WAV file, cut short, without samples, or not
            16 kHz, one channel, 16-bit PCM as in the release.
    """
    try:
        with reading.open_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(4096)
    except (OSError, reading.BadFileError) as error:
        raise unreadable(path, error) from error
    chunks = _chunks(head)
    if chunks is None:
        raise DataError(f"{path}: is no WAV file; {COPY_AGAIN}")
    (coding, channels, rate, _, _, bits), start, length = chunks
    if (rate, channels, bits) != (SAMPLING_RATE_HZ, 1, 16) or coding not in _PCM:
        raise DataError(
            f"{path}: has {rate} Hz, {channels} channel(s), {bits} bit, format {coding}, where the release "
            f"has 16000 Hz, 1 channel, 16 bit, format 1; {COPY_AGAIN}"
        )
    if start + length > size:
        gone = start + length - size
        raise DataError(f"{path}: is cut short, {gone} of {length} bytes of samples are gone; {COPY_AGAIN}")
    if length < 2:
        raise DataError(f"{path}: has no samples; {COPY_AGAIN}")
    return length // 2


def _chunks(head: bytes) -> tuple[tuple[int, ...], int, int] | None:
    """The six numbers of ``fmt ``, and first byte and length of ``data``; None if they are not there."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    layout: tuple[int, ...] | None = None
    place = 12
    while place + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, place)
        place += 8
        if name == b"data":
            return None if layout is None else (layout, place, length)
        if name == b"fmt " and place + 16 <= len(head):
            layout = struct.unpack_from("<HHIIHH", head, place)
        place += length + length % 2
    return None
