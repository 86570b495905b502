"""What is done about outputs that are gone, cut short or changed by a bit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ser.data.files import MADE


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "flipped": _flip,
}


def check_made_again(
    folder: Path, names: set[str], again: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Every output in the record of ``folder``, damaged in any way, is made again as it was, and said.

    Args:
        folder: a finished folder.
        names: the outputs that its record must have.
        again: what makes it.
        caplog: the messages.
    """
    recorded = json.loads((folder / MADE).read_text(encoding="utf-8"))["outputs"]
    assert set(recorded) == names
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        path = folder / name
        for kind, damage in DAMAGES.items():
            if kind != "gone" and not before[name]:
                continue
            damage(path)
            caplog.clear()
            again()
            said = f"{os.path.normpath(path)}: is gone or damaged; making it again"
            assert said in caplog.messages, (name, kind)
            assert {each: (folder / each).read_bytes() for each in names} == before, (name, kind)
    caplog.clear()
    again()
    assert not [message for message in caplog.messages if "damaged" in message]
