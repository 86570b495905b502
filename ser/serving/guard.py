"""What every request and answer passes: who may ask, what a browser may do with it, one log line each.

The server has no password, so any page that a visitor's browser has open could ask it.  Two checks refuse
that: the name that it is asked by (else a foreign name that leads here, DNS rebinding, would count as its
own), and the page that asks (``Origin`` and ``Sec-Fetch-Site``, which pages cannot forge).
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser.cli import log
from ser.errors import short, shown

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[\w.-]{1,253}))(?::\d{1,5})?", re.ASCII)
_SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}


class Json(JSONResponse):
    """JSON of one line, as ``ser predict --format jsonl`` writes it."""

    def render(self, content: Any) -> bytes:
        """Its bytes."""
        return json.dumps(content, allow_nan=False).encode("ascii") + b"\n"


class Guard:
    """Refuses foreign requests, adds headers of security, logs a line for each request."""

    def __init__(self, app: ASGIApp, names: Collection[str] = LOOPBACK, *, addresses: bool = False) -> None:
        """``names`` are those that the server is asked by; ``addresses``: any IP address is one, too.

        A foreign page cannot take an address for its name, so that is safe.
        """
        self._app, self._names, self._addresses = app, frozenset(names), addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        assert scope["type"] == "http"  # no lifespan, no WebSocket: the server is told so
        start, status = time.perf_counter(), 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        try:
            if refusal:
                await Json({"error": refusal}, 403)(scope, receive, guarded)
            else:
                await self._app(scope, receive, guarded)
        finally:
            spent_ms = 1000 * (time.perf_counter() - start)
            path = short(scope["path"], 80)
            log.info("%s %s %s, %.0f ms", scope["method"], path, status or "no answer", spent_ms)

    def _refusal(self, method: str, headers: Headers) -> str:
        """Why a request is refused; empty if it is not."""
        host = headers.get("host", "")
        if not self._is_own(host):
            return f"this server is not {shown(host)}; ask it by {' or '.join(sorted(self._names))}"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and origin != f"http://{host}":
            return f"pages of {shown(origin)} may not ask this server; open its own page"
        is_link = method == "GET" and headers.get("sec-fetch-dest") == "document"
        if site not in ("same-origin", "none") and not is_link:
            return "other pages may not ask this server; open its own page"
        return ""

    def _is_own(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match["six"] or match["name"]).lower()
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._addresses
