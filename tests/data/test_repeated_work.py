"""What is asked for again and again is worked out once, and never stale."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from ser import config
from ser.data import files
from ser.data.datadir import whole_dir
from ser.errors import DataError
from ser.scoring.evaluate import Scored
from ser.scoring.fusion import tune


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts the files that are read for a digest."""
    spy = Mock(side_effect=files._digest)
    monkeypatch.setattr(files, "_digest", spy)
    return spy


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last change be some time ago."""
    later = time.time_ns() + 10**10
    monkeypatch.setattr(files.time, "time_ns", lambda: later)


def test_a_file_is_digested_once(tmp_path: Path, read: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    settle(monkeypatch)
    assert files.file_digest(path) == files.file_digest(path) == files.file_digest(path)
    assert read.call_count == 1


def test_a_changed_file_is_digested_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    settle(monkeypatch)
    state, before = path.stat(), files.file_digest(path)
    path.write_text("two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # the same size and date
    assert files.file_digest(path) != before


def test_a_file_that_was_just_written_is_read(tmp_path: Path, read: Mock) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    assert files.file_digest(path) == files.file_digest(path)
    assert read.call_count == 2


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/a: no such file; put it back, or make it again"):
        files.file_digest(tmp_path / "a")


def test_a_folder_is_put_on_the_disk_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = Mock(side_effect=os.fsync)
    monkeypatch.setattr(files.os, "fsync", synced)
    with whole_dir(tmp_path / "made") as staging:
        for name in ("a", "b/c", "b/made.json", "made.json"):
            with files.whole_file(staging / name) as stream:
                stream.write(name)
        assert synced.call_count == 0
    assert synced.call_count == 4
    with files.whole_file(tmp_path / "alone") as stream:
        stream.write("x")
    assert synced.call_count == 5


def test_a_disk_that_fails_then_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(DataError, match=r"/made: cannot be made \(No space left on device\)"):  # noqa: SIM117
        with whole_dir(tmp_path / "made") as staging, files.whole_file(staging / "a") as stream:
            stream.write("x")
    assert list(tmp_path.iterdir()) == []


def test_what_a_reader_does_to_settings_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: {b: 1}\n")
    config.read_yaml(path)["a"]["b"] = 2
    assert config.read_yaml(path) == {"a": {"b": 1}}


class Keys(list[str]):
    """Keys that nobody may go through to find one."""

    def index(self, *_: object) -> int:  # type: ignore[override]
        raise AssertionError


def test_tuning_finds_utterances_at_once() -> None:
    keys = Keys(f"utt{number:06d}" for number in range(100))
    rows = np.random.default_rng(0).random((len(keys), 2))
    rows /= rows.sum(1, keepdims=True)
    one = Scored(keys, np.arange(100) % 2, rows, keys, len(keys))
    assert tune([one, one], "power", "uar").n_utts == 100
