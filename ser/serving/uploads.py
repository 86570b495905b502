"""Uploads: from the bytes of a request to samples, whatever a stranger sends.

An upload lies in memory, or, from a megabyte on, in a temporary file without a name.  What its sender calls
it is repeated in the answer and never used as a path.

Shapes: N samples.
"""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

import numpy as np
import soundfile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from ser.data.audio_meta import check_content, check_rate
from ser.errors import DataError, plain
from ser.feats.base import Floats
from ser.serving.limits import MEGABYTE, Limits, RefusedError

NAME = "upload"  # of a recording that its sender does not name
_NAME_CHARACTERS = 200
_DISCARD_S = 5.0
_BLOCK_SAMPLES = 1 << 20  # of all channels, that are decoded at a time


@dataclass(frozen=True)
class Upload:
    """What was sent.

    Attributes:
        name: what the sender calls it, without folders; text, never a path.
        content: its bytes, at their beginning.
    """

    name: str
    content: IO[bytes]


class Body:
    """What a request sends, up to its limit of bytes."""

    def __init__(self, request: Request, limits: Limits) -> None:
        """Nothing is read yet."""
        self.request = Request(request.scope, self.receive)
        self._limits, self._receive = limits, request.receive
        self._most = limits.bytes + MEGABYTE // 10  # a form has lines of its own
        self._number, self._is_read = 0, False

    async def receive(self) -> Message:
        """The next part of it (ASGI).

        Raises:
            RefusedError: all together is too large.
        """
        message = await self._take()
        if self._number > self._most:
            raise self._too_large()
        return message

    async def upload(self) -> Upload:
        """The recording in it: the part ``file`` of a form, or else all of it.

        Raises:
            RefusedError: it is too large or too slow, or the form is not as it should be.
            ClientDisconnect: the sender has gone.
        """
        if int(self.request.headers.get("content-length", 0)) > self._most:
            raise self._too_large()
        kind = self.request.headers.get("content-type", "").lower()
        is_form = kind.startswith("multipart/form-data")
        reading = _read_form(self.request) if is_form else _read_body(self.request)
        try:
            return await asyncio.wait_for(reading, self._limits.upload_s)
        except asyncio.TimeoutError as error:
            self._is_read = True  # as far as it ever will be
            raise RefusedError(
                408, f"the upload was not complete within {self._limits.upload_s:g} s; try again"
            ) from error

    async def gone(self) -> None:
        """Wait until the sender has gone, once all of it has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def discard(self) -> None:
        """Take in what is refused, if that is little: many clients read no answer before all is sent."""
        if self._number == 0 and "expect" in self.request.headers:
            return  # this one waits for the answer

        async def discard() -> None:
            while not self._is_read and self._number < 3 * self._limits.bytes:
                await self._take()

        try:
            await asyncio.wait_for(discard(), _DISCARD_S)
        except asyncio.TimeoutError:
            return

    async def _take(self) -> Message:
        message = await self._receive()
        self._number += len(message.get("body", b""))
        self._is_read = not message.get("more_body", False)
        return message

    def _too_large(self) -> RefusedError:
        return RefusedError(
            413,
            f"the upload is larger than {self._limits.megabytes} megabytes; send a shorter recording, or "
            "FLAC",
        )


async def _read_body(request: Request) -> Upload:
    content = SpooledTemporaryFile(max_size=MEGABYTE)  # noqa: SIM115 -- whoever gets it closes it
    try:
        async for block in request.stream():
            content.write(block)
    except BaseException:
        content.close()
        raise
    content.seek(0)
    return Upload(_plain_name(request.query_params.get("name", "")), content)


async def _read_form(request: Request) -> Upload:
    how = "send one file as the part 'file' of the form (curl -F file=@x.wav)"
    try:
        form = await request.form(max_files=1, max_fields=0)
    except HTTPException as error:
        raise RefusedError(400, f"{error.detail.rstrip('.')}; {how}") from error
    except UnicodeError as error:
        raise RefusedError(400, f"the form is not in the charset that it names; {how}") from error
    file = form.get("file")
    if file is None or isinstance(file, str):
        raise RefusedError(400, f"the form has no file named 'file'; {how}")
    return Upload(_plain_name(file.filename or ""), file.file)


def _plain_name(text: str) -> str:
    """The last part of what somebody calls a file, as text of one line."""
    last = re.split(r"[/\\]", text)[-1]
    name = plain(" ".join(last.split()))[:_NAME_CHARACTERS]
    return NAME if name.strip(".") == "" else name


def decode(upload: Upload, limits: Limits) -> tuple[Floats, int]:
    """The samples of an upload, block by block, so that a small file that unpacks to hours stops in time.

    Returns:
        The mean of its channels in [-1, 1], (N,), N > 0, and their sampling rate.

    Raises:
        RefusedError: it is empty (400), no audio that is read (415), damaged or cut short (400), longer than
            is taken (413), or silent or with samples that are no numbers (422).
    """
    with upload.content as stream:
        content = stream.read()
    if not content:
        raise RefusedError(400, f"{upload.name}: is empty (0 bytes); send a recording")
    try:
        missing = check_content(Path(upload.name), io.BytesIO(content), len(content))
    except DataError as error:
        raise RefusedError(415, str(error)) from error
    if missing:
        raise RefusedError(400, f"{upload.name}: is cut short, {missing} bytes of its samples are not there")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            samples, rate_hz = _read(sound, upload.name, limits), sound.samplerate
    except soundfile.LibsndfileError as error:
        raise RefusedError(
            415, f"{upload.name}: is no audio that can be read; send WAV, FLAC, OGG or MP3"
        ) from error
    _check_samples(samples, upload.name)
    return samples, rate_hz


def _read(sound: soundfile.SoundFile, name: str, limits: Limits) -> Floats:
    """The mean of the channels, (N,)."""
    rate_hz = sound.samplerate
    try:
        check_rate(Path(name), rate_hz)
    except DataError as error:
        raise RefusedError(422, str(error)) from error
    most = min(limits.seconds * rate_hz, limits.samples)
    too_long = RefusedError(
        413,
        f"{name}: is longer than {limits.seconds} s, or has more samples than {limits.seconds} s at "
        f"{limits.samples // limits.seconds} Hz; send a part of it",
    )
    block, blocks, number = max(1, _BLOCK_SAMPLES // sound.channels), [], 0
    while number <= most:
        try:
            frames = sound.read(min(block, most + 1 - number), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise RefusedError(400, f"{name}: is damaged or cut short after {number} samples") from error
        if not len(frames):
            break
        blocks.append(frames[:, 0].copy() if sound.channels == 1 else frames.mean(axis=1))
        number += len(frames)
    if number > most:
        raise too_long
    if number < sound.frames < 1 << 62:
        raise RefusedError(400, f"{name}: is cut short, it has {number} of {sound.frames} samples")
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _check_samples(samples: Floats, name: str) -> None:
    """Refuse what is no speech for certain."""
    if not len(samples):
        raise RefusedError(422, f"{name}: has no samples; send a recording")
    if count := np.count_nonzero(~np.isfinite(samples)):
        raise RefusedError(
            422,
            f"{name}: {count} of {len(samples)} samples are NaN or infinite; mend the program that made it",
        )
    if samples.max() == samples.min():
        raise RefusedError(422, f"{name}: is silent, all its samples are the same; check the microphone")
