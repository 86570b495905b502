"""A server of one process on one port: loopback, unless told plainly otherwise."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import logging
import socket
from collections.abc import Sequence

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ser.cli import log
from ser.errors import DataError, UsageError
from ser.predict.model import Model, load
from ser.predict.names import DEFAULT
from ser.predict.predictions import tell_default
from ser.serving.app import Service, build_app
from ser.serving.guard import LOOPBACK
from ser.serving.limits import Limits

_BACKLOG = 128
_END_S = 5  # in which answers in work end when the server is stopped


def listen(host: str, port: int, *, open_to_network: bool = False) -> socket.socket:
    """A socket that listens.

    Args:
        host: an IP address, or localhost.
        port: 0 takes a free one.
        open_to_network: that others than this machine reach it is wanted.

    Raises:
        UsageError: the host is no address, or is one that others reach and that is not wanted.
        DataError: the port is in use, or may not be taken.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise UsageError(
            f"--host {host}: is no IP address; give one of this machine's, such as 127.0.0.1"
        ) from error
    if not address.is_loopback and not open_to_network:
        raise UsageError(
            f"--host {host}: others could reach the server then, which has no password and no encryption: "
            "whoever does can use it, and what is sent can be read on the way; say --open-to-network if that "
            "is what you want"
        )
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((str(address), port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _no_socket(host, port, error) from error
    return sock


def _no_socket(host: str, port: int, error: OSError) -> DataError:
    if error.errno == errno.EADDRINUSE:
        return DataError(f"port {port} of {host}: is in use; end what uses it, or choose another with --port")
    if error.errno == errno.EACCES:
        return DataError(f"port {port} of {host}: may not be taken; choose one from 1024 on with --port")
    return DataError(
        f"port {port} of {host}: cannot be taken ({error.strerror}); choose another --host or --port"
    )


class _Connection(H11Protocol):
    """A connection whose requests must begin in time, and that is refused when there are too many."""

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection in."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._began = False  # something was sent
        if len(self.connections) > self.limits.connections:
            self._refuse("503 Service Unavailable", "too many connections are open; try again in a second")
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        self._began = True
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let a connection go."""
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's words are for programmers
        """Refuse what is not HTTP."""
        self._refuse("400 Bad Request", "this is not HTTP; ask with a browser or curl")

    def _watch(self) -> None:
        """Let the time run as long as no request has begun."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.header_s, self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self._began:
            self._refuse("408 Request Timeout", f"no request came within {self.limits.header_s:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: str, text: str) -> None:
        """Answer without a request, and close."""
        body = json.dumps({"error": text}).encode()
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        log.info("%s, before any request", status)
        self.transport.write(head.encode() + body)
        self.transport.close()


def load_model(name: str | None, *, allow: Sequence[str] = (), use_gpu: str = "auto") -> Model:
    """A trained model; where none is named the one that comes with ser, whose limits are then said.

    Raises:
        CheckpointError: as :func:`ser.predict.model.load`.
    """
    model = load(DEFAULT if name is None else name, allow, use_gpu)
    if name is None:
        tell_default(model)
    return model


def serve(model: Model, sock: socket.socket, limits: Limits, *, open_to_network: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; prints the page's address when it can be asked for.

    Args:
        model: what answers.
        sock: of :func:`listen`.
        limits: of each request and of all.
        open_to_network: others than this machine may ask, by this machine's addresses and its name.
    """
    host, port = sock.getsockname()[:2]
    names = LOOPBACK | {host} | ({socket.gethostname().lower()} if open_to_network else set())
    service = Service(model, limits)
    app = build_app(service, names, addresses=open_to_network)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=type("Connection", (_Connection,), {"limits": limits}),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_END_S,
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # else it tells of bytes that were sent
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
    try:
        uvicorn.Server(config).run(sockets=[sock])
    except KeyboardInterrupt:
        log.info("stopped")
    finally:
        service.worker.close()
