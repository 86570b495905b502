"""JSON lines that are a gzip member each, so that a part of them is put together without packing it again.

Any reader of gzip reads such a file as one text.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ser import reading
from ser.data.files import whole_file
from ser.errors import DataError

_BLOCK = 1 << 16  # bytes that are unpacked at a time


def pack(item: Mapping[str, Any]) -> bytes:
    """A line of JSON as a gzip member; the same item gives the same bytes."""
    line = json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n"
    return gzip.compress(line.encode(), 6, mtime=0)


def write(path: Path, members: Iterable[bytes]) -> None:
    """Write members one after another; the file appears whole or not at all."""
    with whole_file(path, "wb") as stream:
        stream.writelines(members)


def read(path: Path, remedy: str) -> dict[str, bytes]:
    """The members of a file as they are, by the ``id`` of their lines.

    Args:
        path: what :func:`write` wrote.
        remedy: what to do when it is missing or damaged.

    Raises:
        DataError: it is missing or damaged, or an id stands in it twice.
    """
    raw = memoryview(reading.read_bytes(path, remedy))
    members: dict[str, bytes] = {}
    start = 0
    with reading.guarded(path, remedy, what="cut short or not gzip"):
        while start < len(raw):
            line, end = _unpack(raw, start)
            name = json.loads(line)["id"]
            if name in members:
                raise DataError(f"{path}: {name} appears twice; {remedy}")
            members[name] = bytes(raw[start:end])
            start = end
    return members


def _unpack(raw: memoryview, start: int) -> tuple[bytes, int]:
    """The content of the member that begins at ``start``, and where the next one begins."""
    inflate = zlib.decompressobj(wbits=31)
    content, place = b"", start
    while not inflate.eof:
        block = raw[place : place + _BLOCK]
        if not block:
            raise EOFError("it ends within a member")
        content += inflate.decompress(block)
        place += len(block)
    return content, place - len(inflate.unused_data)
