"""A served model, as a visitor sees it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPO = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    """What a server answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def words(self) -> str:
        """What is wrong."""
        return str(self.json["error"])


HASTY = """
import sys, ser
from ser import cli
from ser.serving import limits, server

def main(argv):
    bounds = limits.Limits(upload_s=2.5, header_s=1.5, answer_s=0.001 if argv[1] == "impatient" else 60.0)
    server.serve(ser.load(argv[0]), server.listen("127.0.0.1", 0), bounds)
    return 0

cli.run(main, sys.argv[1:])
"""


class Server:
    """A running ``ser serve``, or other code that serves a model."""

    def __init__(self, *args: object, code: str = "") -> None:
        program = ["-c", code] if code else ["-m", "ser", "serve", "--port", "0"]
        environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *program, *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.log = ""
        self._reader = threading.Thread(target=self._read_log, args=(self.process.stderr,))
        self._reader.start()
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.log
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def _read_log(self, stream: Any) -> None:
        for line in stream:
            self.log += line

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """An answer, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def rss_bytes(self) -> int:
        """Memory that the server has, where the system tells."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            pytest.skip("no /proc to read memory from")
        (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it by a signal; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(30)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture(scope="session")
def models(finished: Path) -> dict[str, Path]:
    """System -> a model folder of it."""
    return {path.parts[-3]: path.parent for path in sorted(finished.glob("exp/*/*/seed1/model.json"))}


@pytest.fixture(scope="session")
def recordings(small_release: Path) -> list[Path]:
    """Recordings of the embedded corpus."""
    return sorted(small_release.glob("Session*/sentences/wav/*/Ses*.wav"))


@pytest.fixture(scope="session")
def server(models: dict[str, Path]) -> Iterator[Server]:
    """A network with attention, served."""
    served = Server(models["blstmatt"])
    yield served
    served.stop()
