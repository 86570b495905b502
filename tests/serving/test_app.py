"""What becomes of requests inside the server."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

import ser
from ser.serving.app import Service
from ser.serving.limits import Limits
from ser.serving.uploads import Body, Upload
from tests.predict.trained import make_model


def test_nothing_is_computed_for_who_has_gone(tmp_path: Path) -> None:
    """A sender who leaves before his turn comes: his recording is not even decoded."""
    limits, held = Limits(), threading.Event()
    service = Service(ser.load(make_model(tmp_path / "model")), limits)
    reads: list[object] = []

    class Content(io.BytesIO):
        def read(self, *size: Any) -> bytes:
            reads.append(size)
            return super().read(*size)

        def readinto(self, buffer: Any) -> int:
            reads.append(buffer)
            return super().readinto(buffer)

    content = Content(b"never read")

    async def left() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def ask() -> None:
        first = asyncio.ensure_future(service.worker.run(lambda: held.wait(10)))
        await asyncio.sleep(0.01)
        body = Body(Request({"type": "http", "headers": []}, left), limits)
        with pytest.raises(ClientDisconnect):
            await service._compute(Upload("x.wav", content), (), body)
        held.set()
        assert await first
        assert await service.worker.run(lambda: list(reads)) == []

    asyncio.run(ask())
    service.worker.close()
