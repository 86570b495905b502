"""Whatever a file from elsewhere holds, its reader takes it or says in one line what is wrong, and soon."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser.errors import SerError
from tests.fuzz.readers import READERS, Reader

pytestmark = pytest.mark.timeout(60)  # what hangs ends here
CPU_S, MESSAGE = 5.0, 3000  # of one file; characters of a line of an error
PACKED = ("recordings", "supervisions")
BYTES = [
    *(
        b"",
        b"\0",
        b"\n",
        b"\r\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x1b[2J",
        b"nan",
        b"-1",
        b"1e999",
        b"9" * 5000,
    ),
    *(
        b"2020-99-99",
        b"..",
        b"../../x",
        b"-rf",
        b"|",
        b"=cmd|' /C calc'!A0",
        b'"',
        b"'",
        b"{",
        b"[",
        b"]",
        b":",
    ),
    *(b"\t", b" ", b"*a", b"&a", b"null", b"true", b"[" * 2000, b"\xf0\x9f\x98\x80", b"\x7f\xff\xff\xff"),
    *(b"\xff\xff\xff\xff", b"\x00\x00\x00\x80"),
]
KINDS = ["cut", "drop", "insert", "replace", "copy", "flip"]
EDIT = st.tuples(st.sampled_from(KINDS), st.floats(0, 1), st.integers(1, 40), st.sampled_from(BYTES))


def damage(content: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    """Cut, drop, insert, replace, copy bytes of a file, or flip a bit."""
    for kind, share, size, piece in edits:
        at = int(share * len(content))
        end = at + size
        content = {
            "cut": content[:at],
            "drop": content[:at] + content[end:],
            "insert": content[:at] + piece + content[at:],
            "replace": content[:at] + piece + content[at + len(piece) :],
            "copy": content[:end] + content[at:],
            "flip": content[:at]
            + bytes(byte ^ (1 << size % 8) for byte in content[at : at + 1])
            + content[at + 1 :],
        }[kind]
    return content


def told(reader: Reader, folder: Path) -> str:
    """What a reader says of its file, which must be an error of one line each; empty if it takes it."""
    begun = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(folder)
    except SerError as error:
        message = str(error)
        assert all(len(line) < MESSAGE for line in message.split("\n")), message[:500]
        assert time.process_time() - begun < CPU_S
        return message
    assert time.process_time() - begun < CPU_S
    return ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a good file for each reader."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            READERS[name].make(made[name])
        return made[name]

    return make


@pytest.mark.parametrize("name", READERS)
def test_the_good_file_is_read(name: str, tmp_path: Path) -> None:
    READERS[name].make(tmp_path)
    if name != "plan":
        assert told(READERS[name], tmp_path) == ""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dead_link(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def unix_socket(path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    try:  # a socket's path may have 107 characters
        os.chdir(path.parent)
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("place", [fifo, device, unix_socket, dead_link, loop, Path.mkdir])
@pytest.mark.parametrize("name", [name for name in READERS if name not in ("override", "weights")])
def test_what_is_no_file_is_refused(name: str, place: Callable[[Path], None], tmp_path: Path) -> None:
    reader = READERS[name]
    reader.make(tmp_path)
    (tmp_path / reader.name).unlink()
    place(tmp_path / reader.name)
    if name == "source" and place in (dead_link, loop):
        return  # no view
    assert told(reader, tmp_path)


CONTENTS = {
    "empty": b"",
    "zeros": bytes(5000),
    "noise": bytes(range(256)) * 20,
    "latin": "größer\n".encode("latin-1") * 9,
    "deep_list": b"[" * 100_000,
    "deep_map": b"a: " + b"{b: " * 20_000,
    "deep_json": b'{"id":' * 100_000,
    "digits": b"a: " + b"9" * 5000 + b"\n",
    "date": b"a: 2020-99-99\n",
    "line": b"x" * 1_000_000,
    "lines": b"x y\n" * 100_000,
    "escape": b"a \x1b]0;owned\x07\n",
    "newlines": b"\n" * 100_000,
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", READERS)
def test_other_content_is_told(name: str, content: str, tmp_path: Path) -> None:
    reader = READERS[name]
    reader.make(tmp_path)
    raw = CONTENTS[content]
    (tmp_path / reader.name).write_bytes(gzip.compress(raw) if name in PACKED else raw)
    message = told(reader, tmp_path)
    assert message or name in ("override", "lexicon", "csv", "iemocap_text", "source", "table")
    assert len(message) < 100_000


def check_damaged(name: str, folder: Path, edits: list[tuple[str, float, int, bytes]], target: Path) -> None:
    """One damaged file, in a folder of its own."""
    reader = READERS[name]
    shutil.copytree(folder, target)
    raw = (folder / reader.name).read_bytes()
    if name in PACKED and edits[0][2] % 4:  # else the packed bytes themselves
        raw = gzip.compress(damage(gzip.decompress(raw), edits))
    else:
        raw = damage(raw, edits)
    (target / reader.name).write_bytes(raw)
    for scp in target.glob("*.scp"):
        scp.write_text(scp.read_text(errors="replace").replace(str(folder), str(target)), errors="replace")
    try:
        told(reader, target)
    finally:
        shutil.rmtree(target)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    folder = whole(name)

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(st.lists(EDIT, min_size=1, max_size=3))
    def check(edits: list[tuple[str, float, int, bytes]]) -> None:
        check_damaged(name, folder, edits, tmp_path / "damaged")

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files(name: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    folder = whole(name)

    @settings(max_examples=200, suppress_health_check=list(HealthCheck))
    @given(st.lists(EDIT, min_size=1, max_size=5))
    def check(edits: list[tuple[str, float, int, bytes]]) -> None:
        check_damaged(name, folder, edits, tmp_path / "damaged")

    check()
