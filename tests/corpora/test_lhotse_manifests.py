"""Any lhotse manifests as a corpus: what they say is what is written."""

from __future__ import annotations

import dataclasses
import gzip
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.audio import AudioSource
from lhotse.supervision import AlignmentItem

from ser import corpora
from ser.corpora.lhotse_manifests import prepare_lhotse
from ser.data import tables
from ser.data.corpus import CorpusConfig, load_corpus
from ser.data.corpus_tables import make_data_dir
from ser.data.manifests import read_manifests
from ser.errors import ConfigError, DataError

CONF = Path(__file__).parents[2] / "egs" / "lhotse" / "conf" / "corpus.yaml"
LABELS = ("angry", "happy", "neutral", "sad")


def config(*overrides: str) -> CorpusConfig:
    return load_corpus(CONF, overrides)


def sound(path: Path, num_samples: int = 16000, rate_hz: int = 16000, channels: int = 1) -> Path:
    """A file of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(num_samples).normal(0, 0.1, (num_samples, channels))
    soundfile.write(path, noise, rate_hz)
    return path


def told(name: str, of: Recording, emotion: str | None = "happy", **more: Any) -> SupervisionSegment:
    """A supervision of all of a recording."""
    speaker = more.pop("speaker", f"s{name[-1]}")
    custom = {"emotion": emotion} if emotion else None
    own = {"start": 0.0, "duration": of.duration, "speaker": speaker, "custom": custom}
    return SupervisionSegment(id=name, recording_id=of.id, **{**own, **more})


def four_recordings(folder: Path) -> list[Recording]:
    """``rec0`` to ``rec3``."""
    paths = [sound(folder / "audio" / f"{number}.wav", 16000 + number) for number in range(4)]
    return [Recording.from_file(path, recording_id=f"rec{number}") for number, path in enumerate(paths)]


def one_of_each(recordings: list[Recording]) -> list[SupervisionSegment]:
    """``u0`` to ``u3``, each of another recording, speaker and class."""
    return [told(f"u{n}", of, label) for n, (of, label) in enumerate(zip(recordings, LABELS, strict=True))]


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    return four_recordings(tmp_path)


@pytest.fixture
def supervisions(recordings: list[Recording]) -> list[SupervisionSegment]:
    return one_of_each(recordings)


def write(
    folder: Path,
    recordings: Sequence[Recording],
    supervisions: Sequence[SupervisionSegment],
    names: tuple[str, str] = ("x_recordings_all.jsonl.gz", "x_supervisions_all.jsonl.gz"),
) -> Path:
    """Manifests as lhotse writes them."""
    folder.mkdir(exist_ok=True)
    RecordingSet.from_recordings(recordings).to_file(folder / names[0])
    SupervisionSet.from_segments(supervisions).to_file(folder / names[1])
    return folder


def prepared(place: Path, *overrides: str) -> tuple[dict[str, Recording], dict[str, SupervisionSegment]]:
    """What is written of manifests, by id."""
    manifests = prepare_lhotse(place, config=config(*overrides))
    return tuple({item.id: item for item in manifests[kind]} for kind in ("recordings", "supervisions"))  # type: ignore[return-value]


def refused(place: Path, *lines: str, overrides: Sequence[str] = ()) -> None:
    with pytest.raises(DataError) as caught:
        prepare_lhotse(place, config=config(*overrides))
    assert str(caught.value).splitlines() == list(lines)


@pytest.mark.parametrize(
    "names",
    [
        ("recordings.jsonl.gz", "supervisions.jsonl.gz"),
        ("x_recordings_train.jsonl", "x_supervisions_train.jsonl"),
        ("train-recordings.jsonl.gz", "segments.jsonl.gz"),
    ],
)
def test_whole_recordings_under_any_names(
    tmp_path: Path,
    recordings: list[Recording],
    supervisions: list[SupervisionSegment],
    names: tuple[str, str],
) -> None:
    place = write(tmp_path / "manifests", recordings, supervisions, names)
    written, utterances = prepared(place)
    assert list(written) == list(utterances) == ["u0", "u1", "u2", "u3"]
    for number, (name, item) in enumerate(utterances.items()):
        assert (item.recording_id, item.speaker, item.custom) == (
            name,
            f"s{number}",
            {"emotion": LABELS[number]},
        )
        assert (item.start, item.duration) == (0.0, written[name].duration)
        assert written[name].num_samples == 16000 + number
        assert written[name].sources[0].source == recordings[number].sources[0].source
    again = prepared(place / names[1])  # the file of supervisions alone
    assert again == (written, utterances)


def test_all_the_way_to_a_data_folder(
    tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]
) -> None:
    rows = [AlignmentItem("", 0.0, 0.25), AlignmentItem("AH", 0.25, 0.5), AlignmentItem("B", 0.75, 0.25, 0.9)]
    supervisions[1] = dataclasses.replace(
        supervisions[1],
        gender="Female",
        text="well",
        alignment={"phones": rows, "word": rows[1:2], "tone": rows},
    )
    for item in supervisions:
        item.custom |= {"fold": "test" if item.id == "u3" else "train", "style": "acted", "votes": [1, 2]}
    place = write(tmp_path / "manifests", recordings, supervisions)
    corpora.prepare("lhotse", place, tmp_path / "out", config=config())
    make_data_dir(tmp_path / "out", tmp_path / "all", config())
    for item in read_manifests(tmp_path / "out"):
        assert item.attributes["style"] == "acted"
    wavs = tables.read_table(tmp_path / "all" / "wav.scp")
    assert list(wavs.values()) == [str(tmp_path / "audio" / f"{number}.wav") for number in range(4)]
    emotions = tables.read_table(tmp_path / "all" / "utt2emo")
    assert list(emotions.values()) == ["ang", "hap", "neu", "sad"]
    assert sorted(tables.read_table(tmp_path / "all" / "utt2fold").values()) == ["test", *["train"] * 3]
    ctm = (tmp_path / "all" / "phone.ctm").read_text().splitlines()
    assert [line.split()[2:] for line in ctm] == [["0.25", "0.5", "AH"], ["0.75", "0.25", "B"]]
    assert (tmp_path / "all" / "word.ctm").exists()
    assert not (tmp_path / "all" / "tone.ctm").exists()


def test_what_is_not_used_is_said(
    tmp_path: Path,
    recordings: list[Recording],
    supervisions: list[SupervisionSegment],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for item in supervisions:
        item.custom |= {"votes": [1, 2], "style": "acted", "session": "1"}
    supervisions[0].alignment = {"tone": [AlignmentItem("4", 0.0, 0.5)]}
    supervisions += [told("v0", recordings[0], None), told("v1", recordings[1], None)]
    place = write(tmp_path / "manifests", recordings, supervisions)
    (place / "feats.jsonl").write_text('{"storage_type": "kaldiio"}\n')
    prepared(place)
    assert caplog.messages == [
        f"{place}: not used: feats.jsonl",
        f"{place}: 2 supervisions without emotion are left out",
        "fields of custom that only keep can choose by: style",
        "fields of custom that are not used, being no single values: votes",
        "alignments that are not used, neither of phones nor words: tone",
    ]


def test_fields_of_other_names(tmp_path: Path, recordings: list[Recording]) -> None:
    own = [
        told(f"u{n}", of, None, speaker=None, custom={"mood": label, "who": f"p{n}", "day": n // 2})
        for n, (of, label) in enumerate(zip(recordings, LABELS, strict=True))
    ]
    place = write(tmp_path / "manifests", recordings, own)
    overrides = ["fields={emotion: mood, speaker: who, session: day}"]
    _, utterances = prepared(place, *overrides)
    assert [item.speaker for item in utterances.values()] == ["p0", "p1", "p2", "p3"]
    assert [item.custom["emotion"] for item in utterances.values()] == list(LABELS)
    assert [item.custom["session"] for item in utterances.values()] == ["0", "0", "1", "1"]
    _, utterances = prepared(place, "fields={emotion: mood, speaker: recording_id}")
    assert [item.speaker for item in utterances.values()] == ["rec0", "rec1", "rec2", "rec3"]


def test_several_files_are_folds(
    tmp_path: Path,
    recordings: list[Recording],
    supervisions: list[SupervisionSegment],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    place = tmp_path / "manifests"
    for part, own in (("train", slice(0, 3)), ("test", slice(3, 4))):
        names = (f"x_recordings_{part}.jsonl.gz", f"x_supervisions_{part}.jsonl.gz")
        write(place, recordings[own], supervisions[own], names)
    _, utterances = prepared(place)
    assert [item.custom["fold"] for item in utterances.values()] == ["train", "train", "train", "test"]
    message = "fold is what the names of the files say: test 1, train 3 (--protocol folds takes it)"
    assert message in caplog.messages
    supervisions[3].custom["fold"] = "z"
    write(
        place,
        recordings[3:],
        supervisions[3:],
        ("x_recordings_test.jsonl.gz", "x_supervisions_test.jsonl.gz"),
    )
    assert [item.custom.get("fold") for item in prepared(place)[1].values()] == [None, None, None, "z"]


def test_supervisions_that_are_parts_of_a_recording(tmp_path: Path) -> None:
    """They are written as they stand: times of the recording, whose id they have."""
    talk = Recording.from_file(sound(tmp_path / "talk.wav", 80000), recording_id="b1/talk 1")
    rows = {"word": [AlignmentItem("well", 2.25, 0.5)]}
    own = [
        told("t/0", talk, start=0.0, duration=2.0),
        told("t/1", talk, "sad", start=2.0, duration=3.004, alignment=rows),
    ]
    written, utterances = prepared(write(tmp_path / "manifests", [talk], own))
    (name,) = written
    assert name == "b1_talk_1-bd5281e1"
    first, second = utterances.values()
    assert [item.recording_id for item in (first, second)] == [name, name]
    assert [(item.start, item.duration) for item in (first, second)] == [(0.0, 2.0), (2.0, 3.0)]
    assert second.alignment == rows
    assert first.id.startswith("t_0-")


def test_cuts(tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]) -> None:
    """A supervision's times are those of its cut, which begins somewhere in a recording."""
    rows = {"word": [AlignmentItem("well", 0.5, 0.25)]}
    own = [
        *supervisions[:3],
        told("u3", recordings[3], "sad", start=0.25, duration=0.5, alignment=rows),
    ]
    cuts = CutSet.from_manifests(
        RecordingSet.from_recordings(recordings), SupervisionSet.from_segments(own)
    ).trim_to_supervisions()
    path = tmp_path / "x_cuts.jsonl.gz"
    cuts.to_file(path)
    with gzip.open(path, "rt") as stream:
        last = [json.loads(line) for line in stream][-1]
    assert (last["start"], last["supervisions"][0]["start"]) == (0.25, 0.0)
    for place in (path, tmp_path):
        written, utterances = prepared(place)
        assert list(written) == ["rec3", "u0", "u1", "u2"]
        assert (utterances["u3"].start, utterances["u3"].duration) == (0.25, 0.5)
        assert utterances["u3"].alignment == rows
        assert utterances["u0"].custom == {"emotion": "angry"}


def test_relative_paths_are_looked_for_above_the_manifests(
    tmp_path: Path, recordings: list[Recording], supervisions: list[SupervisionSegment]
) -> None:
    for number, item in enumerate(recordings):
        item.sources[0].source = f"audio/{number}.wav"
    place = write(tmp_path / "manifests", recordings, supervisions)
    written, _ = prepared(place)
    assert written["u2"].sources[0].source == str(tmp_path / "audio" / "2.wav")


def test_a_file_for_each_channel(tmp_path: Path) -> None:
    """Two people on a telephone, each in a file of his own."""
    sources = [
        AudioSource("file", [number], str(sound(tmp_path / f"{who}.wav", 32000)))
        for number, who in enumerate(("caller", "agent"))
    ]
    call = Recording("call", sources, 16000, 32000, 2.0, channel_ids=[0, 1])
    own = [told("c0", call, channel=0), told("c1", call, "sad", channel=1)]
    written, utterances = prepared(write(tmp_path / "manifests", [call], own))
    assert {name: item.sources[0].source for name, item in written.items()} == {
        "c0": str(tmp_path / "caller.wav"),
        "c1": str(tmp_path / "agent.wav"),
    }
    assert [item.channel for item in utterances.values()] == [0, 0]


def test_a_channel_of_a_file_with_several(tmp_path: Path) -> None:
    stereo = Recording.from_file(sound(tmp_path / "a.wav", channels=2), recording_id="a")
    place = write(tmp_path / "manifests", [stereo], [told("u1", stereo, channel=1)])
    where = place / "x_supervisions_all.jsonl.gz"
    for wanted, said in ((None, "null"), (0, "0")):
        refused(
            place,
            f"{where}:1: u1: is of channel 1 of 2, audio.channel is {said}; say --set corpus:audio.channel=1 "
            "if all are of that one, else write each channel to a file",
            overrides=[f"audio.channel={'null' if wanted is None else wanted}"],
        )
    assert prepared(place, "audio.channel=1")[0]["u1"].num_channels == 2


def test_resampling_that_stage_1_does_anyway(tmp_path: Path) -> None:
    plain = Recording.from_file(sound(tmp_path / "a.wav", 48000, 48000), recording_id="a")
    place = write(tmp_path / "manifests", [plain.resample(16000)], [told("u1", plain)])
    written, _ = prepared(place)
    assert (written["u1"].sampling_rate, written["u1"].num_samples, written["u1"].transforms) == (
        48000,
        48000,
        None,
    )
    save = "write the sound to files first: cuts.save_audios(folder) of lhotse gives cuts of them"
    write(tmp_path / "manifests", [plain.resample(8000)], [told("u1", plain)])
    refused(
        place,
        f"{place}/x_supervisions_all.jsonl.gz:1: u1: its recording has transforms (Resample), which are not "
        f"applied; {save}",
    )


def test_fields_are_of_lhotse_manifests_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        corpora.prepare("csv", tmp_path, tmp_path / "out", config=config("fields={emotion: mood}"))
    assert str(caught.value) == "corpus.yaml: fields is not what csv goes by; take it out"
