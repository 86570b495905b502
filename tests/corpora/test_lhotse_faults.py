"""Manifests that are refused, and what is prepared again."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.audio import AudioSource
from lhotse.augmentation import Volume

from ser import corpora
from ser.corpora.lhotse_manifests import prepare_lhotse
from ser.errors import DataError
from tests.corpora.test_lhotse_manifests import (
    config,
    four_recordings,
    one_of_each,
    refused,
    sound,
    told,
    write,
)


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    return four_recordings(tmp_path)


@pytest.fixture
def supervisions(recordings: list[Recording]) -> list[SupervisionSegment]:
    return one_of_each(recordings)


def test_sound_that_is_no_file_as_it_is(
    tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]
) -> None:
    """Each kind is one line, with the first three of its entries."""
    recordings[0].transforms = [Volume(0.5)]
    recordings[1].sources[0] = AudioSource("command", [0], "cat a.wav")
    recordings[2].sources[0] = AudioSource("url", [0], "https://example.org/a.wav")
    supervisions[3].channel = 1
    supervisions += [told(f"v{n}", recordings[1]) for n in range(3)]
    place = write(tmp_path / "manifests", recordings, supervisions)
    where = place / "x_supervisions_all.jsonl.gz"
    save = "write the sound to files first: cuts.save_audios(folder) of lhotse gives cuts of them"
    refused(
        place,
        f"{where}:1: u0: its recording has transforms (Volume), which are not applied; {save}",
        f"{where}:2: u1: its sound comes of a command, not of a file; {save} (4 entries: u1, v0, v1, ...)",
        f"{where}:3: u2: its sound comes of a url, not of a file; {save}",
        f"{where}:4: u3: is of channel 1, which its recording does not have; correct one of them",
    )


def test_supervisions_that_cannot_be_used(
    tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]
) -> None:
    supervisions[0].speaker = supervisions[1].speaker = None
    supervisions[0].custom["style"] = "acted"
    supervisions[2].recording_id = "gone"
    supervisions[3].channel = [0, 1]
    place = write(tmp_path / "manifests", recordings, supervisions)
    where = place / "x_supervisions_all.jsonl.gz"
    refused(
        place,
        f"{where}:1: u0: has no speaker, and none may be in two subsets; name the field of custom (emotion, "
        "style) that says it, --set corpus:fields.speaker=FIELD, or, if each recording is of another "
        "speaker, --set corpus:fields.speaker=recording_id (2 entries: u0, u1)",
        f"{where}:3: u2: its recording is not in the manifests; put its manifest beside them",
        f"{where}:4: u3: is of several channels at once; give it one of them, the best recorded",
    )


def test_times_and_files_that_do_not_fit(
    tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]
) -> None:
    supervisions[0].duration = 1.5
    supervisions[1].start = 0.9
    recordings[2].sampling_rate = 8000
    sound(tmp_path / "audio" / "3.wav", 8000)
    place = write(tmp_path / "manifests", recordings, supervisions)
    where = place / "x_supervisions_all.jsonl.gz"
    refused(
        place,
        f"{where}:1: u0: is not within its recording (0 to 1.5 s of 1 s); correct its times "
        "(2 entries: u0, u1)",
        f"{where}:3: u2: its recording is another one in the manifest than in the file (8000 Hz, 1.00 s and "
        "16000 Hz, 1.00 s); make the manifest again (2 entries: u2, u3)",
    )
    (tmp_path / "audio" / "1.wav").unlink()
    with pytest.raises(DataError, match=f"recordings_all.jsonl.gz:2: {tmp_path}/audio/1.wav: no such file"):
        prepare_lhotse(place, config=config())


def test_no_emotion_anywhere(tmp_path: Path, recordings: list[Recording]) -> None:
    place = write(
        tmp_path / "manifests", recordings, [told("u0", recordings[0], None, custom={"mood": "happy"})]
    )
    refused(
        place,
        f"{place}: no supervision has emotion in custom (custom has mood); name the field that has the "
        "emotion: --set corpus:fields.emotion=FIELD",
    )


def test_cuts_that_cannot_be_used(
    tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]
) -> None:
    cuts = CutSet.from_manifests(
        RecordingSet.from_recordings(recordings[:3]), SupervisionSet.from_segments(supervisions[:2])
    )
    one, two, three = cuts
    path = tmp_path / "cuts.jsonl"
    CutSet.from_cuts([one.append(two).with_id("ab"), three.with_id("c"), two.with_id("d")]).to_file(path)
    with open(path, "a") as stream:
        stream.write(json.dumps({**two.with_id("e").to_dict()}) + "\n")
        stream.write(json.dumps({**one.with_id("f").to_dict(), "recording": None}) + "\n")
    refused(
        path,
        f"{path}:1: ab: is a MixedCut, of several sounds; write it to a file first: cuts.save_audios(folder) "
        "of lhotse",
        f"{path}:2: c: is a cut without supervision; leave it out: cuts.filter of lhotse",
        f"{path}:5: f: is a cut without recording; attach it, since features are made anew",
        f"{path}:4: u1: is a supervision that stands here again; name the file to take, or keep one of them",
    )


def test_a_supervision_that_windows_cut(tmp_path: Path, recordings: list[Recording]) -> None:
    cuts = CutSet.from_manifests(
        RecordingSet.from_recordings(recordings[:1]),
        SupervisionSet.from_segments([told("u0", recordings[0], None, custom={"emotion": "hap"})]),
    )
    path = tmp_path / "cuts.jsonl"
    cuts.cut_into_windows(recordings[0].duration / 2).to_file(path)
    refused(
        path,
        f"{path}:2: u0: is a supervision with parts in several cuts; make cuts of whole supervisions: "
        "cuts.trim_to_supervisions() of lhotse",
    )


def test_where_there_are_no_manifests(tmp_path: Path, recordings: list[Recording]) -> None:
    refused(tmp_path / "none", f"{tmp_path}/none: no such file or folder; name lhotse manifests")
    refused(
        tmp_path, f"{tmp_path}: holds neither supervisions nor cuts (*.jsonl, *.jsonl.gz); name their folder"
    )
    (tmp_path / "x.json").write_text("[]")
    refused(
        tmp_path,
        f"{tmp_path}: holds no manifest of JSON lines; convert those you have: lhotse copy x.json x.jsonl.gz",
    )
    place = write(tmp_path / "manifests", recordings, [told("u0", recordings[0])])
    (place / "x_recordings_all.jsonl.gz").unlink()
    refused(place, f"{place}: holds supervisions and no recordings; put the manifest of those there too")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[1]", "no manifest entry (no mapping)"),
        ("x", "no manifest entry (Expecting value: line 1 column 1 (char 0))"),
        ('{"id": "a", "recording_id": "a", "start": "x", "duration": 1}', "no manifest entry (start is 'x')"),
        (
            '{"id": "a", "recording_id": "a", "start": 0, "duration": 1, "alignment": {"word": [["x"]]}}',
            "no manifest entry (a row of an alignment is ['x'])",
        ),
        ('{"sources": []}', "no manifest entry (it has no 'id')"),
    ],
)
def test_entries_that_are_none(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "supervisions.jsonl"
    path.write_text(line + "\n")
    refused(path, f"{path}:1: {what}; make the manifest again")


def test_two_recordings_of_one_id(
    tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]
) -> None:
    place = write(tmp_path / "manifests", recordings, supervisions)
    other = place / "y_recordings.jsonl.gz"
    RecordingSet.from_recordings([dataclasses.replace(recordings[1], id="rec0")]).to_file(other)
    first = place / "x_recordings_all.jsonl.gz"
    refused(place, f"{other}:1: the recording rec0 is another one in {first}:1; keep one of them")


def test_changed_sound_or_settings_prepare_it_again(
    tmp_path: Path,
    recordings: list[Recording],
    supervisions: list[SupervisionSegment],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    place = write(tmp_path / "manifests", recordings, supervisions)
    out = tmp_path / "out"

    def messages(*overrides: str) -> list[str]:
        caplog.clear()
        corpora.prepare("lhotse", place, out, config=config(*overrides))
        return [message for message in caplog.messages if message.startswith(str(out))]

    assert messages() == [f"{out}: 4 utterances"]
    assert messages() == [f"{out}: up to date"]
    assert messages("fields={speaker: recording_id}") == [f"{out}: 4 utterances"]
    assert messages() == [f"{out}: 4 utterances"]
    sound(tmp_path / "audio" / "1.wav", 16002)
    assert messages() == [f"{out}: 4 utterances"]
