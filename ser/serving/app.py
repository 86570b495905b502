"""What is served: the page, ``POST /predict``, ``GET /model``, ``GET /health``."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Mapping
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

import ser
from ser.errors import DataError, SerError, short, shown
from ser.feats.base import Floats
from ser.predict.model import Model
from ser.predict.pieces import make_piece
from ser.predict.result import Result
from ser.predict.result_tables import record_of
from ser.predict.track import TrackSettings
from ser.reporting.colours import variables
from ser.serving.guard import Guard, Json
from ser.serving.limits import Limits, RefusedError
from ser.serving.uploads import NAME, Body, Upload, decode
from ser.serving.worker import Worker

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_SWITCHES = {"0": False, "1": True}
_DIGITS = 6  # significant ones of attention in an answer
_SPEAKER = "speaker"  # of every recording, in the statistics of that recording alone
_ALONE = "the model normalises by speaker; taken are the statistics of this recording alone"
_WORDS = {
    404: "there is nothing here; ask for /, /predict, /model or /health",
    405: "asked in the wrong way; POST a recording to /predict, GET the others",
}


class Service:
    """A model and the answers to what is asked of it."""

    def __init__(self, model: Model, limits: Limits) -> None:
        """``limits`` bound each request and all of them at a time."""
        self._model, self._limits, self.worker = model, limits, Worker(limits)

    def routes(self) -> list[Route]:
        """What can be asked for."""
        files = resources.files("ser.serving") / "static"
        pages = [
            _file_route("/" if file.name == "page.html" else f"/{file.name}", file.read_bytes())
            for file in files.iterdir()
            if file.name.rpartition(".")[2] in _TYPES
        ]
        return [
            *pages,
            _file_route("/colours.css", colours().encode()),
            Route("/health", self.health),
            Route("/model", self.describe),
            Route("/predict", self.predict, methods=["POST"]),
        ]

    async def health(self, request: Request) -> Response:  # noqa: ARG002 -- Starlette hands it over
        """Whether the server is at work, and on how many requests."""
        return Json({"status": "ok", "version": ser.__version__, "requests": self.worker.requests})

    async def describe(self, request: Request) -> Response:  # noqa: ARG002 -- Starlette hands it over
        """The model's classes and limits, and what may be sent."""
        limits = self._limits
        return Json(
            {
                "emotions": list(self._model.emotions),
                "sampling_rate_hz": self._model.sampling_rate_hz,
                "normalisation": str(self._model.norm),
                "notes": [*self._model.limits, *self._model.notes],
                "limits": {"seconds": limits.seconds, "bytes": limits.bytes, "requests": limits.requests},
            }
        )

    async def predict(self, request: Request) -> Response:
        """What the model says of a recording."""
        body = Body(request, self._limits)
        try:
            asked = _asked(request)
            with self.worker.place():
                upload = await body.upload()
                with upload.content:
                    answer = await self._compute(upload, asked, body)
        except SerError:
            await body.discard()
            raise
        return Json(answer)

    async def _compute(self, upload: Upload, asked: Collection[str], body: Body) -> dict[str, Any]:
        """An upload's result, as JSON; not computed for a sender who has gone before its turn."""
        answer = asyncio.ensure_future(self.worker.run(lambda: self._answer(upload, asked)))
        gone = asyncio.ensure_future(body.gone())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            return answer.result()
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.wait({answer, gone})  # whoever waited is out of the queue now

    def _answer(self, upload: Upload, asked: Collection[str]) -> dict[str, Any]:
        """An upload's result, as JSON; in the worker's thread."""
        samples, rate_hz = decode(upload, self._limits)
        try:
            result = self._result(samples, rate_hz, "track" in asked)
        except DataError as error:
            text = str(error).removeprefix(f"{NAME}: ")
            raise RefusedError(422, f"{upload.name}: {text}") from error
        return as_json(dataclasses.replace(result, source=upload.name), asked)

    def _result(self, samples: Floats, rate_hz: int, track: bool) -> Result:
        """What the model says of samples; what their sender calls them is not known here, nor in any log."""
        model = self._model
        piece = make_piece(
            samples,
            rate_hz,
            target_hz=model.sampling_rate_hz,
            least_samples=model.least_samples,
            source=NAME,
            speaker=_SPEAKER,
        )
        speakers = model.speakers([piece], warn=False) if model.needs_speakers else None
        result = next(model.results([piece], speakers, TrackSettings() if track else None))
        if model.needs_speakers:
            result = dataclasses.replace(result, notes=(*result.notes, _ALONE))
        return result


def _asked(request: Request) -> frozenset[str]:
    """What the query asks for besides the class: track, attention.

    Raises:
        RefusedError: it asks for what there is not.
    """
    asked = set()
    for name, value in request.query_params.multi_items():
        if name == "name":
            continue
        if name not in ("track", "attention") or value not in _SWITCHES:
            raise RefusedError(
                400, f"{shown(f'{name}={value}')} is not known; there are track=1, attention=1 and name=TEXT"
            )
        if _SWITCHES[value]:
            asked.add(name)
    return frozenset(asked)


def as_json(result: Result, asked: Collection[str]) -> dict[str, Any]:
    """A result as it is answered; what was asked for and the model has not is null."""
    row: dict[str, Any] = record_of(result)
    if "track" in asked:
        track = result.track
        row["track"] = track and {
            "start": track.start_s.tolist(),
            "end": track.end_s.tolist(),
            "posterior": dict(zip(result.emotions, track.posteriors.T.tolist(), strict=True)),
        }
    if "attention" in asked:
        timing, weights = result.timing, result.attention
        row["attention"] = None
        if weights is not None and timing is not None:
            row["attention"] = {
                "shift": timing.shift_s,
                "middle": result.start_s + timing.middle_s,
                "weights": [float(f"{weight:.{_DIGITS}g}") for weight in weights.tolist()],
            }
    return row


def colours() -> str:
    """A style sheet with the colours that all pages share."""
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {variables('dark')} }} }}"
    return f":root {{ {variables('light')} }}\n{dark}\n"


def _file_route(path: str, content: bytes) -> Route:
    """A file of the package; read once, so that no request ever names one."""
    suffix = "html" if path == "/" else path.rpartition(".")[2]

    async def answer(request: Request) -> Response:  # noqa: ARG001 -- Starlette hands it over
        return Response(content, media_type=_TYPES[suffix])

    return Route(path, answer)


def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- Starlette hands it over
    """Any failure as JSON with words; what is no mistake of the visitor keeps its traceback in the log."""
    headers: Mapping[str, str] = {}
    if isinstance(error, RefusedError):
        status, text = error.status, str(error)
        headers = {"retry-after": "1"} if status == 503 else {}
    elif isinstance(error, SerError):
        status, text = 422, str(error)
    elif isinstance(error, HTTPException):
        status, text, headers = (
            error.status_code,
            _WORDS.get(error.status_code, error.detail),
            error.headers or {},
        )
    elif isinstance(error, ClientDisconnect):
        status, text = 400, "the upload broke off"
    else:
        status, text = 500, "a fault of this server; what it was is in its log"
    return Json({"error": short(text, 500)}, status, headers)


def build_app(service: Service, names: Collection[str], *, addresses: bool = False) -> ASGIApp:
    """The application.

    Args:
        service: the model that answers.
        names: which the server may be asked by.
        addresses: any IP address is such a name, too.
    """
    handlers = {kind: _failed for kind in (SerError, HTTPException, ClientDisconnect, Exception)}
    return Guard(Starlette(routes=service.routes(), exception_handlers=handlers), names, addresses=addresses)
