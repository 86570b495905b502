"""Manifests from elsewhere: taken as they must be, or refused with the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ser.data.manifests import read_manifests
from ser.errors import DataError
from tests.fuzz.readers import recording, supervision, write_items

FIELD = "it lacks a field, or holds something else in it"


def refusal(folder: Path, changes: dict[str, Any], source: dict[str, Any] | None = None) -> str:
    """What is said of a supervision with other fields, and of another source of its recording."""
    name = changes.get("id", "a")
    first = recording(name)
    if source is not None:
        first["sources"] = [source]
    own = ("sampling_rate", "num_samples", "transforms")
    first |= {key: changes.pop(key) for key in own if key in changes}
    write_items(folder / "recordings.jsonl.gz", [recording("0"), first])
    write_items(folder / "supervisions.jsonl.gz", [supervision("0"), supervision(name) | changes])
    with pytest.raises(DataError) as error:
        read_manifests(folder)
    return str(error.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("source", [None, "", 5, [1], "a\nb.wav", "a\x1b[2J.wav"])
def test_a_source_is_the_name_of_a_file(source: Any, tmp_path: Path) -> None:
    entry = {"type": "file", "channels": [0], "source": source}
    message = refusal(tmp_path, {}, entry)
    assert message.startswith("supervisions.jsonl.gz:2: a cannot be used: ")
    assert "source" in message


@pytest.mark.parametrize("channels", [None, [], 2, "01"])
def test_channels_are_a_list(channels: Any, tmp_path: Path) -> None:
    message = refusal(tmp_path, {}, {"type": "file", "channels": channels, "source": "a.wav"})
    assert message.startswith(
        "supervisions.jsonl.gz:2: a cannot be used: its recording has no source, or no channels"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling_rate": 0}, "its recording has 24000 samples at 0 Hz"),
        ({"sampling_rate": True}, "its recording has 24000 samples at True Hz"),
        ({"sampling_rate": 2**31}, "its recording has 24000 samples at 2147483648 Hz"),
        ({"sampling_rate": "16000"}, "its recording has 24000 samples at '16000' Hz"),
        ({"num_samples": float("nan")}, "its recording has nan samples at 16000 Hz"),
        ({"num_samples": -5}, "its recording has -5 samples at 16000 Hz"),
        ({"transforms": [{"name": "Speed"}]}, "its recording has transforms, which are not applied"),
        ({"duration": float("nan")}, "it is not all of its recording"),
        ({"duration": float("inf")}, "it is not all of its recording"),
        ({"start": float("nan")}, "it is not all of its recording"),
        ({"duration": "1.5"}, FIELD),
        ({"text": ["well"]}, FIELD),
        ({"text": "a\x1b]0;owned\x07"}, "text is not text of one line: 'a\\x1b]0;owned\\x07'"),
        ({"custom": {"emotion": "sad", "style": "a\nb c"}}, "style is not text of one line: 'a\\nb c'"),
        ({"custom": {"emotion": ["sad"]}}, "it has no emotion"),
        ({"custom": "sad"}, FIELD),
        ({"gender": 5}, "gender is not text of one line: 5"),
        ({"alignment": "phone"}, FIELD),
        ({"alignment": {"phone": "abc"}}, FIELD),
        ({"alignment": {"phone": [["a", -0.5, 1.0]]}}, "phone: ['a', -0.5, 1.0] is no symbol with a start"),
        ({"alignment": {"phone": [["a", float("nan"), 1.0]]}}, "phone: ['a', nan, 1.0] is no symbol with"),
        ({"alignment": {"phone": [["a", 0.0, -1.0]]}}, "phone: ['a', 0.0, -1.0] is no symbol with a start"),
        ({"alignment": {"phone": [["a b", 0.0, 1.0]]}}, "phone: ['a b', 0.0, 1.0] is no symbol with a start"),
        ({"alignment": {"phone": [[None, 0.0, 1.0]]}}, "phone: [None, 0.0, 1.0] is no symbol with a start"),
    ],
)  # fmt: skip
def test_what_a_manifest_may_not_hold(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, changes).startswith(f"supervisions.jsonl.gz:2: a cannot be used: {message}")


@pytest.mark.parametrize("kind", ["/tmp/victim", "../../x", "..", "-rf", "a b", ""])
def test_the_name_of_an_alignment_is_no_path(kind: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, {"alignment": {kind: [["a", 0.0, 1.0]]}})
    assert message.startswith("supervisions.jsonl.gz:2: a cannot be used: its alignment: the id ")


@pytest.mark.parametrize("key", ["/tmp/victim", "..", ".lock", "-rf", "a" * 201])
def test_ids_and_speakers_are_no_paths(key: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, {"id": key, "recording_id": key}).startswith("supervisions.jsonl.gz:2: the id ")
    assert refusal(tmp_path, {"speaker": key}).startswith(
        "supervisions.jsonl.gz:2: a cannot be used: its speaker: the id "
    )


def test_a_recording_stands_once(tmp_path: Path) -> None:
    write_items(tmp_path / "recordings.jsonl.gz", [recording("a"), recording("a")])
    write_items(tmp_path / "supervisions.jsonl.gz", [supervision("a")])
    with pytest.raises(DataError, match="recordings.jsonl.gz:2: 'a' appears twice; keep one of them"):
        read_manifests(tmp_path)
