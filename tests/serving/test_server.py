"""``ser serve`` as its visitors meet it: right answers for many at once, words for what is wrong."""

from __future__ import annotations

import http.client
import importlib.util
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser
from ser.errors import DataError
from ser.verbs import serve
from tests.cluster.daemons import soon, until
from tests.predict.trained import make_model
from tests.serving.conftest import HASTY, REPO, Server

pytestmark = pytest.mark.slow
RunVerb = Callable[..., "subprocess.CompletedProcess[str]"]
BOUNDARY = "x-boundary-x"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, str, bytes]) -> bytes:
    """A form of files: field, file name, content."""
    lines = b""
    for field, name, content in parts:
        head = f'content-disposition: form-data; name="{field}"; filename="{name}"'
        lines += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return lines + f"--{BOUNDARY}--\r\n".encode()


# -------------------------------------------------------------------------------------------- right answers


@pytest.mark.parametrize("system", ["blstmatt", "csa_30"])
def test_answers_are_the_models(system: str, models: dict[str, Path], recordings: list[Path]) -> None:
    """However it is sent, the answer is what Model.predict says of the file, as ``ser predict`` writes it."""
    model = ser.load(models[system])
    served = Server(models[system])
    try:
        for path in recordings[:3]:
            expected = model.predict(path)
            answer = served.ask("POST", "/predict?track=1&attention=1", path.read_bytes()).json
            assert list(answer)[:7] == "file start end emotion posterior confidence notes".split()
            assert answer["emotion"] == expected.emotion
            assert list(answer["posterior"]) == list(model.emotions)
            np.testing.assert_allclose(list(answer["posterior"].values()), expected.posterior, atol=1e-6)
            assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
            if expected.attention is None:
                assert answer["attention"] is None
            else:
                np.testing.assert_allclose(answer["attention"]["weights"], expected.attention, rtol=1e-4)
            sent = served.ask("POST", "/predict", form(("file", path.name, path.read_bytes())), FORM).json
            asked_for = ("track", "attention")
            assert sent == {key: answer[key] for key in answer if key not in asked_for} | {"file": path.name}
    finally:
        assert served.stop() == 0


def test_8_clients_200_requests(server: Server, recordings: list[Path], models: dict[str, Path]) -> None:
    """No error, no answer but the right one, and no more memory for a second 200 than for the first."""
    model = ser.load(models["blstmatt"])
    paths = recordings[:10]
    expected = {path: model.predict(path).posterior for path in paths}

    def ask(number: int) -> float:
        path = paths[number % len(paths)]
        answer = server.ask("POST", "/predict?track=1&attention=1", path.read_bytes())
        assert answer.status == 200, answer.body
        return float(np.abs(np.array(list(answer.json["posterior"].values())) - expected[path]).max())

    def ask_all() -> int:
        with ThreadPoolExecutor(8) as clients:
            assert max(clients.map(ask, range(200))) < 1e-6
        return server.rss_bytes()

    rss = [ask_all(), ask_all()]
    while len(rss) < 5 and rss[-1] - rss[-2] >= 8e6:  # a leak grows each time, an allocator does not
        rss.append(ask_all())
    assert rss[-1] - rss[-2] < 8e6, rss
    assert server.ask("GET", "/health").json["requests"] == 0


def test_the_model_that_comes_with_ser(recordings: list[Path]) -> None:
    """It is taken where none is named, and its limits are said on screen, by the endpoint and by the page."""
    model = ser.load("emodb")
    assert model.limits
    served = Server()
    answer = served.ask("POST", "/predict", recordings[0].read_bytes()).json
    assert answer["confidence"] == pytest.approx(model.predict(recordings[0]).confidence, abs=1e-6)
    assert served.ask("GET", "/model").json["notes"] == [*model.limits, *model.notes]
    assert served.stop() == 0
    told = f"warning: no model was named, emodb is taken, which comes with ser: {' '.join(model.limits)}"
    assert served.log.splitlines()[0].endswith(told)


def test_what_the_model_is(server: Server, models: dict[str, Path]) -> None:
    model = ser.load(models["blstmatt"])
    told = server.ask("GET", "/model").json
    limits = {"seconds": 300, "bytes": 32000000, "requests": 16}
    assert told == {
        "emotions": list(model.emotions),
        "sampling_rate_hz": 16000,
        "normalisation": model.norm,
        "notes": [*model.limits, *model.notes],
        "limits": limits,
    }
    assert server.ask("GET", "/health").json == {"status": "ok", "version": ser.__version__, "requests": 0}


def test_the_page_is_all_that_is_served(server: Server) -> None:
    page = server.ask("GET", "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(rb"<script>|<style|\bstyle=|\bon\w+=", page.body)
    static = Path(ser.__file__).parent / "serving" / "static"
    for path in static.glob("*.*"):
        asked = "/" if path.name == "page.html" else f"/{path.name}"
        assert server.ask("GET", asked).body == path.read_bytes()
    for path in (
        "/page.html",
        "/../app.py",
        "/..%2fapp.py",
        "/static/page.js",
        "//etc/passwd",
        "/%00",
        "/app.py",
    ):
        answer = server.ask("GET", path)
        assert (answer.status, answer.words) == (
            404,
            "there is nothing here; ask for /, /predict, /model or /health",
        )


def shape(text: str) -> str:
    """A pattern of what a page shows: ``...`` stands for anything, a number for any, a class for any."""
    pattern = re.escape(text.replace("...", "ANYTHING"))
    pattern = re.sub(r"\d+\\\.\d+(?!\\\.)", lambda _: r"[\d.e-]+", pattern).replace("ANYTHING", ".*")
    return pattern.replace('"sad",\\ "posterior"', r'"\w+",\ "posterior"')


def test_the_examples_of_the_page(server: Server, recordings: list[Path], tmp_path: Path) -> None:
    """What docs/serve.md shows is what curl prints, but for the numbers."""
    if not shutil.which("curl"):
        pytest.skip("no curl")
    samples, rate_hz = soundfile.read(recordings[0])
    soundfile.write(tmp_path / "x.wav", np.tile(samples, 3), rate_hz)
    text = (REPO / "docs" / "serve.md").read_text(encoding="utf-8")
    examples = re.findall(r"^\$ (curl .*)\n(.*)\n", text, re.MULTILINE)
    assert len(examples) == 5
    for command, shown in examples:
        line = command.replace("127.0.0.1:8765", f"127.0.0.1:{server.port}")
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert re.fullmatch(shape(shown), done.stdout.rstrip("\n")), (command, done.stdout[:500])


def test_a_model_that_normalises_by_speaker(tmp_path: Path, recordings: list[Path]) -> None:
    """A recording is taken for all that its speaker says, which the answer says, and no log line more."""
    folder = make_model(tmp_path / "model", norm="speaker")
    served = Server(folder)
    model = ser.load(folder)
    expected = model.predict(recordings[0])
    other = served.ask("POST", "/predict", recordings[1].read_bytes())
    for _ in range(2):
        answer = served.ask("POST", "/predict", recordings[0].read_bytes()).json
        np.testing.assert_allclose(list(answer["posterior"].values()), expected.posterior, atol=1e-6)
    assert answer["notes"] == [
        *expected.notes,
        "the model normalises by speaker; taken are the statistics of this recording alone",
    ]
    assert answer["posterior"] != other.json["posterior"]
    assert served.ask("GET", "/model").json["normalisation"] == "speaker"
    assert served.stop() == 0
    assert served.log.count("\n") == 5  # four requests, and the end


# ------------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def wav() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.default_rng(0).uniform(-0.3, 0.3, 16000), 16000, format="WAV")
    return stream.getvalue()


def test_what_is_no_recording(server: Server, wav: bytes) -> None:
    """The kinds are those of test_uploads.py; here one of each status comes through."""
    for body, status, words in (
        (b"", 400, "upload: is empty (0 bytes); send a recording"),
        (b"text", 415, "upload: is no audio that can be read; send WAV, FLAC, OGG or MP3"),
        (wav[:9044], 400, "upload: is cut short, 23000 bytes of its samples are not there"),
        (wav[:44].replace(b"\x00}\x00\x00", bytes(4)), 422, "upload: has no samples; send a recording"),
    ):
        answer = server.ask("POST", "/predict", body)
        assert (answer.status, answer.words) == (status, words)
        assert answer.headers["content-type"] == "application/json"


def test_too_short_for_a_frame(server: Server) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.array([0.1, -0.1, 0.2]), 16000, format="WAV")
    answer = server.ask("POST", "/predict?name=blip.wav", stream.getvalue())
    assert answer.status == 422
    assert answer.words.startswith("blip.wav: ")
    assert "Traceback" not in answer.body.decode()


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large(server: Server, chunked: bool) -> None:
    """Said before anything is decoded, whether or not the client tells the size beforehand."""
    blocks = (bytes(1 << 20) for _ in range(34))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {} if chunked else {"content-length": str(34 << 20)}
    connection.request("POST", "/predict", blocks, headers, encode_chunked=chunked)
    answer = connection.getresponse()
    assert answer.status == 413
    words = "the upload is larger than 32 megabytes; send a shorter recording, or FLAC"
    assert json.loads(answer.read()) == {"error": words}
    connection.close()


def test_a_name_is_text_and_no_path(server: Server, wav: bytes) -> None:
    for name, shown in (
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\\\temp\\\\x.wav", "x.wav"),
        ("..", "upload"),
        ("<script>alert(1)</script>", "script>"),
        ("x" * 3000, "x" * 200),
        ("a\x1b[2Jb.wav", "a\\x1b[2Jb.wav"),
    ):
        assert server.ask("POST", "/predict", form(("file", name, wav)), FORM).json["file"] == shown
    answer = server.ask("POST", "/predict?name=..%2F..%2Fx%0d%0aset-cookie:a.wav", wav)
    assert answer.json["file"] == "x set-cookie:a.wav"
    assert "set-cookie" not in answer.headers


HOW = "send one file as the part 'file' of the form (curl -F file=@x.wav)"


def test_forms_that_are_none(server: Server, wav: bytes) -> None:
    for body, words in (
        (form(), f"the form has no file named 'file'; {HOW}"),
        (form(("other", "x.wav", wav)), f"the form has no file named 'file'; {HOW}"),
        (
            form(*[("file", "x.wav", b"")] * 5000),
            f"Too many files. Maximum number of files is 1; {HOW}",
        ),
        (
            form(("file", "x.wav", wav)).replace(b'; filename="x.wav"', b""),
            f"Too many fields. Maximum number of fields is 0; {HOW}",
        ),
        (b"no form at all", f"Invalid multipart data; {HOW}"),
    ):
        answer = server.ask("POST", "/predict", body, FORM)
        assert (answer.status, answer.words) == (400, words)
    odd = form(("file", "a\\.wav", wav))
    answer = server.ask(
        "POST", "/predict", odd, {"content-type": FORM["content-type"] + "; charset=punycode"}
    )
    words = f"the form is not in the charset that it names; {HOW}"
    assert (answer.status, answer.words) == (400, words)
    answer = server.ask("POST", "/predict", b"", {"content-type": "multipart/form-data"})
    assert (answer.status, answer.words) == (400, f"Missing boundary in multipart; {HOW}")


def test_questions_that_are_not_known(server: Server, wav: bytes) -> None:
    for query in ("trak=1", "track=yes", "attention="):
        answer = server.ask("POST", f"/predict?{query}", wav)
        assert (answer.status, answer.words) == (
            400,
            f"'{query}' is not known; there are track=1, attention=1 and name=TEXT",
        )
    answer = server.ask("GET", "/predict")
    words = "asked in the wrong way; POST a recording to /predict, GET the others"
    assert (answer.status, answer.words) == (405, words)


def test_other_pages_are_refused(server: Server, wav: bytes) -> None:
    for headers in (
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ):
        assert server.ask("POST", "/predict", wav, headers).status == 403
    assert server.ask("POST", "/predict", wav, {"origin": server.url.rstrip("/")}).status == 200


def talk(server: Server, sent: bytes, timeout_s: float = 30) -> bytes:
    """What comes back over a bare connection until the server closes it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s) as connection:
        connection.sendall(sent)
        received = b""
        while block := connection.recv(65536):
            received += block
    return received


def test_what_is_no_http(server: Server) -> None:
    for sent in (
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + bytes(50) + b"\r\n\r\n",
    ):
        received = talk(server, sent)
        assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        body = received.partition(b"\r\n\r\n")[2]
        assert json.loads(body) == {"error": "this is not HTTP; ask with a browser or curl"}


def test_slow_clients_hold_nobody_up(models: dict[str, Path], wav: bytes) -> None:
    """Bare connections, half a request, half an upload: others are answered, and these are closed in time."""
    served = Server(models["blstmatt"], "patient", code=HASTY)
    half = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 32044\r\n"
    with ThreadPoolExecutor(3) as clients:
        slow = [clients.submit(talk, served, sent) for sent in (b"", half, half + b"\r\n" + wav[:1000])]
        time.sleep(0.2)
        assert served.ask("POST", "/predict", wav).status == 200
        silent, header, body = (each.result() for each in slow)
    assert silent == b""
    assert header.startswith(b"HTTP/1.1 408 ")
    assert json.loads(header.partition(b"\r\n\r\n")[2]) == {"error": "no request came within 1.5 s"}
    assert body.startswith(b"HTTP/1.1 408 ")
    words = "the upload was not complete within 2.5 s; try again"
    assert json.loads(body.partition(b"\r\n\r\n")[2]) == {"error": words}
    assert served.ask("GET", "/health").json["requests"] == 0
    assert served.stop() == 0


def test_no_answer_in_time(models: dict[str, Path], wav: bytes) -> None:
    served = Server(models["blstmatt"], "impatient", code=HASTY)
    answer = served.ask("POST", "/predict", wav)
    words = "no answer within 0.001 s; try again, or send a shorter recording"
    assert (answer.status, answer.words) == (503, words)
    assert served.ask("GET", "/health").json["requests"] == 0
    assert served.stop() == 0
    assert "Traceback" not in served.log


def requests_of(server: Server) -> int:
    """The requests that a server is at work on."""
    return int(server.ask("GET", "/health").json["requests"])


def test_too_many_at_a_time(server: Server, wav: bytes) -> None:
    """Sixteen uploads that do not end fill all places; the next gets words, and later a place again."""
    begin = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 32044\r\n\r\n"
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(16)]
    for connection in held:
        connection.sendall(begin)
    until(lambda: requests_of(server) == 16, 60, "sixteen requests")
    answer = server.ask("POST", "/predict", wav)
    words = "16 requests are being answered; try again in a second"
    assert (answer.status, answer.words, answer.headers["retry-after"]) == (503, words, "1")
    for connection in held:
        connection.close()
    until(lambda: requests_of(server) == 0, 60, "the end of the uploads")
    assert server.ask("POST", "/predict", wav).status == 200


def test_too_many_connections(server: Server) -> None:
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(64)]
    words = b'{"error": "too many connections are open; try again in a second"}'
    until(lambda: talk(server, b"").endswith(b"\r\n\r\n" + words), 60, "the refusal")
    for connection in held:
        connection.close()
    until(lambda: server.ask("GET", "/health").status == 200, 60, "an answer again")


def test_the_log_tells_no_content_and_no_fault(server: Server, wav: bytes) -> None:
    """After all of the above; this test stands last among those of one server."""
    told = server.log.count("POST /predict")
    server.ask("POST", "/predict?name=secret-name.wav", wav)
    server.ask("POST", "/predict", form(("file", "secret-name.wav", wav)), FORM)
    until(lambda: server.log.count("POST /predict") >= told + 2, 60, "the lines of the log")
    assert "secret" not in server.log
    assert "Traceback" not in server.log
    line = r"[A-Z]+ /\S* (?:\d{3}|no answer), \d+ ms|\d{3} [\w ]+, before any request"
    assert [
        row for row in server.log.splitlines() if not re.fullmatch(rf"[\d:T-]{{19}} (?:{line})", row)
    ] == []


# ---------------------------------------------------------------------------------------- beginning and end


@pytest.mark.parametrize(
    ("number", "code", "last"), [(signal.SIGINT, 0, "stopped"), (signal.SIGTERM, 143, "")]
)
def test_ends_when_told(models: dict[str, Path], number: int, code: int, last: str) -> None:
    served = Server(models["blstmatt"])
    assert served.ask("GET", "/health").status == 200
    begin = time.monotonic()
    assert served.stop(number) == code
    assert time.monotonic() - begin < soon()
    assert served.log.splitlines()[-1].endswith(last)
    assert "Traceback" not in served.log


def test_a_port_in_use(models: dict[str, Path], run_verb: RunVerb) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_verb("serve", models["blstmatt"], "--port", port)
    words = (
        f"ser: error: port {port} of 127.0.0.1: is in use; end what uses it, or choose another with --port\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words)


def test_other_hosts_need_an_option(models: dict[str, Path], run_verb: RunVerb) -> None:
    done = run_verb("serve", models["blstmatt"], "--host", "0.0.0.0")
    words = (
        "ser: error: --host 0.0.0.0: others could reach the server then, which has no password and no "
        "encryption: whoever does can use it, and what is sent can be read on the way; say --open-to-network "
        "if that is what you want (try --help)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", words)
    done = run_verb("serve", models["blstmatt"], "--host", "example.org")
    words = "ser: error: --host example.org: is no IP address; give one of this machine's, such as 127.0.0.1"
    assert (done.returncode, done.stderr) == (2, f"{words} (try --help)\n")


def test_no_model(tmp_path: Path, run_verb: RunVerb) -> None:
    done = run_verb("serve", tmp_path, "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ser: error: {tmp_path}: ")
    assert done.stderr.count("\n") == 1


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    for package, shown in (("uvicorn", "uvicorn"), ("python_multipart", "python-multipart")):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, lost=package: None if name == lost else known(name)
        )
        with pytest.raises(DataError) as caught:
            serve.main(["exp/model"])
        assert str(caught.value) == f"{shown} is not installed; run utils/install.sh --extra serve"
