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
        ({"duration": float("nan")}, "it lasts from 0 to nan s, its recording 1.5 s"),
        ({"duration": float("inf")}, "it lasts from 0 to inf s, its recording 1.5 s"),
        ({"duration": 1.511}, "it lasts from 0 to 1.511 s, its recording 1.5 s"),
        ({"duration": 0.0}, "it lasts from 0 to 0 s, its recording 1.5 s"),
        ({"duration": -1.0, "start": 1.2}, "it lasts from 1.2 to 0.2 s, its recording 1.5 s"),
        ({"start": float("nan")}, "it lasts from nan to nan s, its recording 1.5 s"),
        ({"start": -0.1}, "it lasts from -0.1 to 1.4 s, its recording 1.5 s"),
        ({"start": 1.5, "duration": 0.005}, "it lasts from 1.5 to 1.505 s, its recording 1.5 s"),
        ({"start": "0"}, FIELD),
        (
            {"start": 0.6, "duration": 0.8},
            "phone: ['a', 0.0, 0.5] begins before its utterance, which does at 0.6 s",
        ),
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


def test_several_supervisions_of_one_recording(tmp_path: Path) -> None:
    write_items(tmp_path / "recordings.jsonl.gz", [recording("a"), recording("b")])
    times = {"b": (0.0, 1.505), "x": (0.0, 0.25), "y": (0.5, 1.009)}
    segments = [
        supervision(name)
        | {"recording_id": "b" if name == "b" else "a", "start": start, "duration": duration}
        | ({"alignment": {"phone": [["q", 0.495, 0.25], ["r", 0.75, 0.5]]}} if name == "y" else {})
        for name, (start, duration) in times.items()
    ]
    write_items(tmp_path / "supervisions.jsonl.gz", segments)
    b, x, y = read_manifests(tmp_path)
    assert [(item.id, item.recording_id, item.path) for item in (b, x, y)] == [
        ("b", "b", "/corpus/b.wav"),
        ("x", "a", "/corpus/a.wav"),
        ("y", "a", "/corpus/a.wav"),
    ]
    assert [(item.start_s, item.duration_s, item.recording_s, item.is_whole) for item in (b, x, y)] == [
        (0.0, 1.5, 1.5, True),  # an end that is off by 10 ms is that of the recording
        (0.0, 0.25, 1.5, False),
        (0.5, 1.0, 1.5, False),
    ]
    assert x.alignment == {"phone": [("a", 0.0, 0.5), ("b", 0.5, 0.25)]}
    assert y.alignment == {"phone": [("q", 0.0, pytest.approx(0.245)), ("r", 0.25, 0.5)]}  # its own time


def test_a_recording_without_supervision_is_named(tmp_path: Path) -> None:
    write_items(tmp_path / "recordings.jsonl.gz", [recording("a"), recording("b")])
    write_items(tmp_path / "supervisions.jsonl.gz", [supervision("x") | {"recording_id": "a"}])
    with pytest.raises(DataError) as error:
        read_manifests(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/recordings.jsonl.gz:2: b has no supervision in {tmp_path}/supervisions.jsonl.gz; "
        "prepare the corpus again"
    )


def test_a_recording_stands_once(tmp_path: Path) -> None:
    write_items(tmp_path / "recordings.jsonl.gz", [recording("a"), recording("a")])
    write_items(tmp_path / "supervisions.jsonl.gz", [supervision("a")])
    with pytest.raises(DataError, match="recordings.jsonl.gz:2: 'a' appears twice; keep one of them"):
        read_manifests(tmp_path)
