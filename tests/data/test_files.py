"""Files appear whole or not at all, folders have one owner, and finished output knows what made it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser.data import files
from ser.errors import DataError, StaleError


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a"
    with files.whole_file(path) as stream:
        stream.write("é\n")
        assert not path.exists()
    assert path.read_bytes() == "é\n".encode()
    with files.whole_file(path, "wb") as stream:
        stream.write(b"\r\n")
    assert path.read_bytes() == b"\r\n"
    assert [item.name for item in path.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_fails_the_old_file_stays(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_text("old\n")

    def fail() -> None:
        with files.whole_file(path) as stream:
            stream.write("new\n")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old\n"
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DataError) as error, files.whole_file(path) as stream:
            stream.write("x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(error.value) == (
        f"{path}: cannot be written (File too large); free some space or choose another folder, "
        "then run the same command again"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_that_shows_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with (
        pytest.raises(DataError, match="No space left on device"),
        files.whole_file(tmp_path / "a") as stream,
    ):
        stream.write("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DataError) as error, files.whole_file(tmp_path / "a" / "b"):
        pass
    assert str(error.value).startswith(f"{tmp_path}/a/b: cannot be written (")


def test_an_unrelated_fault_inside_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), files.whole_file(tmp_path / "a"):
        (tmp_path / "elsewhere").read_text()
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from ser.data.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DataError) as error, files.locked(folder):
            pass
        host = os.uname().nodename
        assert str(error.value) == (
            f"{folder}: in use by process {other.pid} on {host}; wait for it to end, stop it, "
            "or choose another folder"
        )
        other.send_signal(signal.SIGKILL)
        other.wait()
    for _ in range(2):  # the lock went with the process
        with files.locked(folder):
            pass


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of somebody\n")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a").symlink_to(victim)
    with files.whole_file(folder / "a") as stream:
        stream.write("new\n")
    assert victim.read_text() == "of somebody\n"
    assert not (folder / "a").is_symlink()


@pytest.mark.parametrize("kind", ["symlink", "hard link", "pipe", "folder"])
def test_what_is_no_lock_is_refused(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of somebody\n")
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / ".lock"
    make = {"pipe": os.mkfifo, "folder": Path.mkdir}
    if kind in make:
        make[kind](path)
    else:
        (path.symlink_to if kind == "symlink" else path.hardlink_to)(victim)
    with pytest.raises(DataError, match=r"^\S+/out/\.lock: .*; remove it") as error, files.locked(folder):
        pass
    assert "\n" not in str(error.value)
    assert victim.read_text() == "of somebody\n"


def test_a_folder_named_like_a_leftover_stays(tmp_path: Path) -> None:
    (tmp_path / ".a.part").mkdir()
    (tmp_path / ".b.part").write_text("")
    with files.locked(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".a.part", ".lock"}


def test_finished_output_is_known_by_settings_and_inputs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("1\n")
    settings = {"a": {"b": 1, "c": (1, 2)}, "d": None}
    folder = tmp_path / "out"
    assert not files.is_made(folder, settings, {"source": source})
    files.write_made(folder, settings, {"source": source}, [])
    assert files.is_made(folder, settings, {"source": source}, remedy="x")
    time.sleep(0.01)
    os.utime(source)  # another date is no other content
    assert files.is_made(folder, settings, {"source": source}, remedy="x")
    (folder / files.MADE).write_text('{"sett')
    assert not files.is_made(folder, settings, {"source": source}, remedy="x")


def test_stale_output_says_what_differs_and_what_to_do(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("1\n")
    files.write_made(tmp_path, {"a": {"b": 1}, "gone": 2}, {"source": source}, [])
    source.write_text("2\n")
    changed = {"a": {"b": 2}, "new": True}
    assert not files.is_made(tmp_path, changed, {"source": source})
    with pytest.raises(StaleError) as error:
        files.is_made(tmp_path, changed, {"source": source}, remedy=f"remove it: rm -r {tmp_path}")
    assert str(error.value) == (
        f"{tmp_path}: was made differently: source has changed; a.b: 1 -> 2; "
        f"gone: 2 -> (not set); new: (not set) -> True; remove it: rm -r {tmp_path}"
    )


def test_a_key_that_is_null_is_not_set() -> None:
    assert files.differences({"a": {"b": None}, "d": None}, {"a": {"c": None}}) == []
    old, new = {"a": None, "b": 1, "c": 0}, {"a": 2, "b": None}
    assert files.differences(old, new) == ["a: None -> 2", "b: 1 -> None", "c: 0 -> (not set)"]
    assert files.differences({}, {"c": False}) == ["c: (not set) -> False"]


def test_inputs_that_differ_are_named_in_words(tmp_path: Path) -> None:
    texts = [tmp_path / name for name in "abc"]
    for path in texts:
        path.write_text("1\n")
    out = tmp_path / "out"
    out.mkdir()
    files.write_made(out, {}, {"a": texts[0], "b": texts[1]}, [])
    texts[0].write_text("2\n")
    now = {"a": texts[0], "c": texts[2]}
    for words, told in (
        (list, "a has changed; b is gone; c is new"),
        (lambda: ["1 label changed: x"], "1 label changed: x"),
    ):
        with pytest.raises(StaleError) as error:
            files.is_made(out, {}, now, remedy="stop", words=words)
        assert str(error.value) == f"{out}: was made differently: {told}; stop"


def test_many_differences_are_counted(tmp_path: Path) -> None:
    files.write_made(tmp_path, {f"k{i}": 0 for i in range(8)}, {}, [])
    with pytest.raises(StaleError) as error:
        files.is_made(tmp_path, {f"k{i}": 1 for i in range(8)}, {}, remedy="stop")
    assert str(error.value) == (
        f"{tmp_path}: was made differently: k0: 0 -> 1; k1: 0 -> 1; k2: 0 -> 1; k3: 0 -> 1; k4: 0 -> 1 "
        "(and 3 more); stop"
    )


def test_the_record_is_the_same_for_the_same_work(tmp_path: Path) -> None:
    texts = []
    for settings in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        files.write_made(tmp_path, settings, {}, [])
        texts.append((tmp_path / files.MADE).read_text())
    assert texts[0] == texts[1]


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.file_digest(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_lost_outputs_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out, small, large = tmp_path / "out", tmp_path / "out" / "small", tmp_path / "beside"
    out.mkdir()
    small.write_text("abc")
    large.write_bytes(bytes(files.CHEAP_BYTES + 1))
    files.write_made(out, {}, {}, [small, large])
    made = json.loads((out / files.MADE).read_text())
    assert made["outputs"] == {
        "../beside": [files.CHEAP_BYTES + 1],
        "small": [3, files.file_digest(small)[:16]],
    }
    assert files.is_made(out, {}, {}, remedy="x")
    small.write_text("abd")
    assert files.lost_outputs(out) == [small]
    assert not files.is_made(out, {}, {}, remedy="x", tell=False)
    assert caplog.messages == []
    large.write_bytes(b"")
    assert not files.is_made(out, {}, {}, remedy="x")
    assert caplog.messages == [f"{large}: is gone or damaged (and 1 more); making it again"]
    with pytest.raises(StaleError):  # what it was made with comes first
        files.is_made(out, {"a": 1}, {}, remedy="x")


def test_large_outputs_are_read_only_when_asked_for(tmp_path: Path) -> None:
    large = tmp_path / "large"
    for thorough in (False, True):
        large.write_bytes(bytes(files.CHEAP_BYTES + 1))
        files.write_made(tmp_path, {}, {}, [large], thorough=thorough)
        large.write_bytes(bytes(files.CHEAP_BYTES) + b"1")
        assert files.is_made(tmp_path, {}, {})
        assert files.is_made(tmp_path, {}, {}, thorough=True) is not thorough


def test_a_record_of_an_older_version_names_no_outputs(tmp_path: Path) -> None:
    (tmp_path / files.MADE).write_text('{"inputs": {}, "settings": {}}')
    assert files.is_made(tmp_path, {}, {})
    assert files.lost_outputs(tmp_path) == []
