"""Who may ask the server: its own page and programs of this machine; no other page, whatever name it uses."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from ser.serving.guard import LOOPBACK, Guard

OWN = "localhost:8765"


def ask(
    guard: Guard, headers: dict[str, str], method: str = "POST", path: str = "/predict"
) -> tuple[int, str]:
    """Status and text of an answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b""}
    asyncio.run(guard(scope, receive, send))
    names = dict(sent[0]["headers"])
    assert b"default-src 'none'" in names[b"content-security-policy"]
    assert b"unsafe" not in names[b"content-security-policy"]
    assert names[b"x-content-type-options"] == b"nosniff"
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


def words(body: str) -> str:
    return str(json.loads(body)["error"])


@pytest.fixture
def guard() -> Guard:
    return Guard(PlainTextResponse("done"), LOOPBACK)


@pytest.mark.parametrize("host", ["localhost:8765", "LOCALHOST", "127.0.0.1:8765", "[::1]:8765", "[::1]"])
def test_own_names(guard: Guard, host: str) -> None:
    assert ask(guard, {"host": host}) == (200, "done")
    assert ask(guard, {"host": host, "origin": f"http://{host}"}) == (200, "done")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8765", "192.168.0.7:8765", "", "a b",
     "localhost:8765@evil.example", "[::1", "[::2]", "0.0.0.0", "localhost\x00", "127.1", "2130706433"],
)  # fmt: skip
def test_foreign_names(guard: Guard, host: str) -> None:
    """A name that an attacker points at this machine (DNS rebinding) is not its own."""
    status, body = ask(guard, {"host": host})
    assert status == 403
    assert words(body) == f"this server is not {host!r}; ask it by 127.0.0.1 or ::1 or localhost"


def test_no_name(guard: Guard) -> None:
    assert ask(guard, {})[0] == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost", "http://localhost:3000", "https://localhost:8765",
     "http://127.0.0.1:8765", "http://localhost:8765.evil.example", "file://", ""],
)  # fmt: skip
def test_foreign_pages(guard: Guard, origin: str) -> None:
    status, body = ask(guard, {"host": OWN, "origin": origin})
    assert status == 403
    assert words(body) == f"pages of {origin!r} may not ask this server; open its own page"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_what_foreign_pages_embed(guard: Guard, site: str) -> None:
    """Images, scripts and frames are asked for without an Origin; a link that somebody follows is no harm."""
    for headers in ({"sec-fetch-dest": "image"}, {"sec-fetch-dest": "iframe"}, {}):
        status, body = ask(guard, {"host": OWN, "sec-fetch-site": site, **headers}, "GET", "/model")
        assert (status, words(body)) == (403, "other pages may not ask this server; open its own page")
    link = {"host": OWN, "sec-fetch-site": site, "sec-fetch-dest": "document"}
    assert ask(guard, link, "GET", "/") == (200, "done")
    assert ask(guard, link, "POST", "/")[0] == 403


def test_addresses_where_it_is_open_to_the_network() -> None:
    guard = Guard(PlainTextResponse("done"), LOOPBACK | {"lab"}, addresses=True)
    for host in ("192.168.0.7:8765", "[fe80::1]:8765", "lab:8765", "localhost"):
        assert ask(guard, {"host": host, "origin": f"http://{host}"}) == (200, "done")
    for host in ("evil.example", "300.1.1.1", "lab.evil.example"):
        assert ask(guard, {"host": host})[0] == 403


def test_a_line_for_each_request_and_nothing_of_its_content(
    guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        ask(guard, {"host": OWN, "x-secret": "secret"}, path="/predict")
        ask(guard, {"host": "evil.example"}, "GET", "/" + "x" * 500)
    lines = [record.getMessage().rpartition(",")[0] for record in caplog.records if record.name == "ser"]
    assert lines == ["POST /predict 200", f"GET /{'x' * 79}... (501 characters) 403"]
