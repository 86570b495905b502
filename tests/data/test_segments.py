"""Segments of recordings: from manifests into data folders, views and folds, and their faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.data import tables
from ser.data.corpus import CorpusAudio, CorpusConfig, DevConfig, Protocol
from ser.data.corpus_tables import make_data_dir
from ser.data.datadir import make_view
from ser.data.durations import Shortest
from ser.data.folds import make_folds
from ser.data.labels import write_emotions
from ser.data.segments import Overlap, RecordingSegment, overlaps, read_recordings
from ser.data.validate import Summary, validate
from ser.errors import DataError
from ser.feats import extract
from ser.feats.sets import load_set
from tests.data.test_datadir import write
from tests.feats.conftest import make

CONF = Path(__file__).parents[2] / "conf"
AUDIO = CorpusAudio(16000, None, "refuse", "warn", "warn")
LOSO = Protocol("speaker", "each", None, {})
CONFIG = CorpusConfig(
    "toy", "csv", ("hap", "sad"), {"happy": "hap", "sad": "sad"}, AUDIO, {}, "loso", {"loso": LOSO}, None
)
# utterance -> recording, speaker, label, start and duration in seconds
SPOKEN = {
    "A-1": ("c", "A", "happy", 0.0, 1.9),
    "B-1": ("c", "B", "sad", 1.9, 1.1),
    "A-2": ("d", "A", "sad", 0.25, 1.0),
    "B-2": ("d", "B", "happy", 1.0, 1.0),
    "C-1": ("e", "C", "happy", 0.0, 1.0),
    "C-2": ("f", "C", "sad", 0.0, 1.0),
}
DURATIONS = {"c": 3.0, "d": 2.0, "e": 1.0, "f": 1.0}


def write_manifests(top: Path, spoken: dict[str, tuple[str, str, str, float, float]]) -> Path:
    """Manifests, and recordings of noise."""
    recordings, supervisions = [], []
    for number, name in enumerate(sorted({recording for recording, *_ in spoken.values()})):
        samples = int(DURATIONS[name] * 16000)
        noise = 0.1 * np.random.default_rng(number).standard_normal(samples)
        soundfile.write(top / f"{name}.wav", noise, 16000, subtype="PCM_16")
        source = {"type": "file", "channels": [0], "source": str(top / f"{name}.wav")}
        recordings.append(
            {"id": name, "sources": [source], "sampling_rate": 16000, "num_samples": samples, "duration": 1.0}
        )
    for name, (recording, speaker, label, start, duration) in spoken.items():
        phones = [["p", start + 0.1, 0.25], ["q", start + 0.35, 0.5]]
        supervisions.append(
            {
                "id": name, "recording_id": recording, "start": start, "duration": duration, "channel": 0,
                "speaker": speaker, "custom": {"emotion": label}, "alignment": {"phone": phones},
            }
        )  # fmt: skip
    return write(top / "manifests", recordings, supervisions)


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    return write_manifests(tmp_path, SPOKEN)


@pytest.fixture
def data(manifests: Path, tmp_path: Path) -> Path:
    make_data_dir(manifests, tmp_path / "all", CONFIG)
    return tmp_path / "all"


def test_the_tables_are_kaldis(data: Path, tmp_path: Path) -> None:
    texts = {name: (data / name).read_text() for name in ("segments", "wav.scp", "reco2dur", "utt2dur")}
    assert texts == {
        "segments": (
            "A-1 c 0.0 1.9\nA-2 d 0.25 1.25\nB-1 c 1.9 3.0\nB-2 d 1.0 2.0\nC-1 e 0.0 1.0\nC-2 f 0.0 1.0\n"
        ),
        "wav.scp": "".join(f"{name} {tmp_path}/{name}.wav\n" for name in "cdef"),
        "reco2dur": "c 3.0\nd 2.0\ne 1.0\nf 1.0\n",
        "utt2dur": "A-1 1.9\nA-2 1.0\nB-1 1.1\nB-2 1.0\nC-1 1.0\nC-2 1.0\n",
    }
    assert validate(data, need=["wav.scp"]) == Summary(6, 3)
    assert (data / "phone.ctm").read_text() == "".join(
        f"{utt} 1 0.1 0.25 p\n{utt} 1 0.35 0.5 q\n" for utt in sorted(SPOKEN)
    )


def test_without_segments_there_are_no_tables_of_them(tmp_path: Path) -> None:
    whole = {"C-1": SPOKEN["C-1"], "C-2": SPOKEN["C-2"]}
    make_data_dir(write_manifests(tmp_path, whole), tmp_path / "all", CONFIG)
    assert not (tmp_path / "all" / "segments").exists()
    assert not (tmp_path / "all" / "reco2dur").exists()
    assert tables.read_table(tmp_path / "all" / "wav.scp") == {
        "C-1": f"{tmp_path}/e.wav",
        "C-2": f"{tmp_path}/f.wav",
    }


def test_only_recordings_of_what_is_kept_are_named(manifests: Path, tmp_path: Path) -> None:
    config = CorpusConfig(**{**CONFIG.__dict__, "keep": {"speaker": ("A", "B")}})
    make_data_dir(manifests, tmp_path / "all", config)
    assert list(tables.read_table(tmp_path / "all" / "wav.scp")) == ["c", "d"]
    assert list(tables.read_table(tmp_path / "all" / "reco2dur")) == ["c", "d"]


def test_a_view_has_the_recordings_of_its_segments(data: Path, tmp_path: Path) -> None:
    view = tmp_path / "view"
    make_view(data, view, ["B-1", "A-1", "C-2"])
    assert (view / "segments").read_text() == "A-1 c 0.0 1.9\nB-1 c 1.9 3.0\nC-2 f 0.0 1.0\n"
    assert (view / "wav.scp").read_text() == f"c {tmp_path}/c.wav\nf {tmp_path}/f.wav\n"
    assert (view / "reco2dur").read_text() == "c 3.0\nf 1.0\n"
    assert validate(view, need=["wav.scp"]) == Summary(3, 3)
    tables.write_table(data / "reco2dur", {"c": "3.0"})
    with pytest.raises(
        DataError, match=f"^{data}/reco2dur: its keys are not those of {data}/segments: 3 only"
    ):
        make_view(data, tmp_path / "other", ["B-1"])


def test_speakers_that_overlap_are_told(
    manifests: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_data_dir(manifests, tmp_path / "all", CONFIG)
    assert caplog.messages == [
        f"{manifests}/supervisions.jsonl.gz: has 1 pair of utterances that share audio of a recording (A-2 "
        "and B-2 0.25 s) and are of two speakers; a protocol that parts these tests on what it hears in "
        "training"
    ]


def test_folds_of_segments(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    features = load_set(CONF / "fbank.yaml", AUDIO)
    make(data, features, 2)
    caplog.clear()
    make_folds(data, tmp_path / "folds", CONFIG)
    assert caplog.messages == [
        "1 pair of utterances that share audio of a recording (A-2 and B-2 0.25 s) and are in "
        "two subsets of a fold (A, B), which so tests on what it hears in training; group by what keeps them "
        "together, or correct segments"
    ]
    assert (tmp_path / "folds" / "checks.tsv").read_text().splitlines() == [
        "fold\tsubset\tutterances\tspeakers\trecordings\tshared_speakers\tshared_recordings\t"
        "overlapping_utterances",
        *("A\ttrain\t4\t2\t4\t0\t0\t1", "A\ttest\t2\t1\t2\t0\t0\t1"),
        *("B\ttrain\t4\t2\t4\t0\t0\t1", "B\ttest\t2\t1\t2\t0\t0\t1"),
        *("C\ttrain\t4\t2\t4\t0\t0\t0", "C\ttest\t2\t1\t2\t0\t0\t0"),
    ]
    views = [path.parent for path in (tmp_path / "folds").rglob("utt2spk")]
    assert [len(validate(view, need=["wav.scp"])) for view in views] == [2] * 7
    assert list(tables.read_table(tmp_path / "folds" / "C" / "test" / "wav.scp")) == ["e", "f"]


@pytest.mark.parametrize("frames", [True, False])
def test_the_same_segment_twice_is_a_copy(manifests: Path, tmp_path: Path, frames: bool) -> None:
    del manifests
    twice = SPOKEN | {"C-3": ("c", "C", "sad", 1.9, 1.1)}
    make_data_dir(write_manifests(tmp_path, twice), tmp_path / "all", CONFIG)
    data = tmp_path / "all"
    make(data, load_set(CONF / "fbank.yaml", AUDIO), 1)
    if frames:
        extract.make_main(data, "fbank")
        write_sums(data)
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", CONFIG)
    assert str(error.value) == (
        f"{data}: B-1 and C-3 are the same audio, and would be in test and in train of fold B; "
        "remove one of them"
    )


def write_sums(data: Path) -> None:
    """Statistics of the features of each utterance, as stage 2 has them."""
    reader = tables.ArkReader(data / "feats.scp")
    with tables.ArkWriter(data / "fbank" / "cmvn_utt") as cmvn:
        for utt in reader.places:
            values = reader.read(utt).astype(np.float64)
            sums = np.zeros((2, values.shape[1] + 1))
            sums[0, :-1], sums[1, :-1], sums[0, -1] = values.sum(0), (values**2).sum(0), len(values)
            cmvn.write(utt, sums)


def test_a_dev_subset_may_overlap_too(tmp_path: Path) -> None:
    make_data_dir(write_manifests(tmp_path, SPOKEN), tmp_path / "all", CONFIG)
    make(tmp_path / "all", load_set(CONF / "fbank.yaml", AUDIO), 1)
    protocol = Protocol("speaker", ("C",), DevConfig(1, False), {})
    config = CorpusConfig(**{**CONFIG.__dict__, "protocol": "c", "protocols": {"c": protocol}})
    make_folds(tmp_path / "all", tmp_path / "folds", config)
    lines = (tmp_path / "folds" / "checks.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[1::6] for line in lines] == [["train", "1"], ["dev", "1"], ["test", "0"]]


def parts(**times: tuple[float, float | None]) -> dict[str, RecordingSegment]:
    return {name: RecordingSegment(Path("x.wav"), *span) for name, span in times.items()}


def test_overlaps_are_found_by_file() -> None:
    spans = parts(a=(0.0, 5.0), b=(1.0, 2.0), c=(2.0, 3.0), d=(4.995, 6.0), e=(5.5, None))
    assert [(pair.first, pair.second, round(pair.shared_s, 6)) for pair in overlaps(spans)] == [
        ("a", "b", 1.0),
        ("a", "c", 1.0),
        ("d", "e", 0.5),
    ]
    other = {"f": RecordingSegment(Path("y.wav"), 0.0, 5.0)}
    assert list(overlaps(parts(a=(0.0, 5.0)) | other)) == []
    assert list(overlaps(parts(a=(1.0, 2.0), b=(1.0, 2.0)))) == [Overlap("a", "b", 1.0)]


# --------------------------------------------------------------------------------------- tables of one's own


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The least that a data folder with segments has."""
    write_manifests(tmp_path, SPOKEN)
    folder = tmp_path / "own"
    folder.mkdir()
    tables.write_table(folder / "wav.scp", {"c": tmp_path / "c.wav", "d": tmp_path / "d.wav"})
    (folder / "segments").write_text("A-1 c 0 1.9\nA-2 d 0.25 1.25\nB-1 c 1.9 -1\n")
    tables.write_table(folder / "utt2spk", {"A-1": "A", "A-2": "A", "B-1": "B"})
    tables.write_table(folder / "utt2emo", {"A-1": "hap", "A-2": "sad", "B-1": "sad"})
    write_emotions(folder / "emotions.txt", ("hap", "sad"))
    return folder


def faults(folder: Path, **more: Any) -> list[str]:
    with pytest.raises(DataError) as error:
        validate(folder, need=["wav.scp"], **more)
    return str(error.value).replace(f"{folder.parent}/", "").splitlines()


def test_a_kaldi_folder_with_segments(own: Path, tmp_path: Path) -> None:
    assert validate(own, need=["wav.scp"]) == Summary(3, 2)
    assert read_recordings(own) == {
        "A-1": RecordingSegment(tmp_path / "c.wav", 0.0, 1.9),
        "A-2": RecordingSegment(tmp_path / "d.wav", 0.25, 1.25),
        "B-1": RecordingSegment(tmp_path / "c.wav", 1.9, None),
    }


EXPECTED = "<recording> <start s> <end s>, the end behind the start, or -1 for that of the recording'"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "A-2 d 1.25 1.25",
            f"own/segments:2: expected '<key> {EXPECTED}, got 'A-2 d 1.25 1.25'; correct the line",
        ),
        (
            "A-2 d 1.25 0.25",
            f"own/segments:2: expected '<key> {EXPECTED}, got 'A-2 d 1.25 0.25'; correct the line",
        ),
        (
            "A-2 d -1 1.25",
            f"own/segments:2: expected '<key> {EXPECTED}, got 'A-2 d -1 1.25'; correct the line",
        ),
        ("A-2 d 0 nan", f"own/segments:2: expected '<key> {EXPECTED}, got 'A-2 d 0 nan'; correct the line"),
        ("A-2 d 0 inf", f"own/segments:2: expected '<key> {EXPECTED}, got 'A-2 d 0 inf'; correct the line"),
        ("A-2 d 0", f"own/segments:2: expected '<key> {EXPECTED}, got 'A-2 d 0'; correct the line"),
        ("A-2 d 0 1 1", f"own/segments:2: expected '<key> {EXPECTED}, got 'A-2 d 0 1 1'; correct the line"),
        (
            "A-2 d 0.25 2.02",
            "own/segments:2: A-2: d.wav (0.25 to 2.02 s): is not in its recording, which lasts 2 s; "
            "correct the times",
        ),
        (
            "A-2 d 2 -1",
            "own/segments:2: A-2: d.wav (2 to the end): is not in its recording, which lasts 2 s; "
            "correct the times",
        ),
    ],
)
def test_lines_of_segments_that_are_wrong(own: Path, line: str, message: str) -> None:
    (own / "segments").write_text(f"A-1 c 0 1.9\n{line}\nB-1 c 1.9 -1\n")
    assert faults(own) == [message]


def test_recordings_that_do_not_fit(own: Path, tmp_path: Path) -> None:
    (own / "segments").write_text("A-1 c 0 1.9\nA-2 x 0.25 1.25\nB-1 c 1.9 -1\n")
    assert faults(own) == [
        "own/wav.scp: its keys are not those of own/segments: 1 only in own/wav.scp (d), 1 only in "
        "own/segments (x); add what is missing, or take out what is too much",
        "own/segments:2: A-2: wav.scp has no recording x; add it there, or remove the line",
    ]
    (own / "segments").write_text("A-1 c 0 1.9\nB-1 d 1.9 -1\n")
    assert faults(own) == [
        "own/segments: its keys are not those of own/utt2spk: 1 only in own/utt2spk (A-2); add what is "
        "missing, or take out what is too much"
    ]
    (tmp_path / "c.wav").write_text("no audio")
    (tmp_path / "d.wav").unlink()
    (own / "segments").write_text("A-1 c 0 1.9\nA-2 c 0.25 1.25\nB-1 d 1.9 -1\n")
    assert faults(own) == [
        "own/wav.scp:2: d: d.wav: no such file; put it there, or correct the path",
        "c.wav: is no audio file, or is damaged; copy it again from the release",
    ]
    (own / "wav.scp").unlink()
    assert faults(own) == ["own/wav.scp: no such file; make it, or name another"]


def test_durations_that_contradict_the_audio(own: Path) -> None:
    tables.write_table(own / "reco2dur", {"c": "3.005", "d": "2.5"})
    tables.write_table(own / "utt2dur", {"A-1": "1.9", "A-2": "1.009", "B-1": "3.0"})
    assert faults(own) == [
        "own/reco2dur:2: d: says 2.5 s, it lasts 2 s; correct it",
        "own/utt2dur:3: B-1: says 3 s, it lasts 1.1 s; correct it",
    ]


def test_segments_too_short_for_features(own: Path) -> None:
    (own / "segments").write_text("A-1 c 0 0.0249\nA-2 d 0.25 0.275\nB-1 c 1.9 -1\n")
    need = [Shortest("fbank", 400, 16000), Shortest("egemaps", 960, 16000)]
    assert faults(own, shortest=need) == [
        "own/segments: 1 utterance is too short for the features fbank, which take 25 ms (A-1: 24.875 ms); "
        "leave it out of the corpus",
        "own/segments: 2 utterances are too short for the features egemaps, which take 60 ms (A-1: 24.875 "
        "ms, A-2: 25 ms); leave them out of the corpus",
    ]


def test_a_command_is_refused_as_by_stage_1(own: Path) -> None:
    (own / "wav.scp").write_text("c cat c.wav |\nd cat d.wav |\n")
    command = "is a command; wav.scp must name files, so write its output to one"
    assert faults(own) == [
        f"own/wav.scp:1: c: cat c.wav |: {command}",
        f"own/wav.scp:2: d: cat d.wav |: {command}",
    ]
    features = load_set(CONF / "fbank.yaml", AUDIO)
    with pytest.raises(DataError) as error:
        make(own, features, 1)
    assert str(error.value).splitlines()[0] == f"cat c.wav |: {command}"
