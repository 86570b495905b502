"""Cuts: lhotse itself reads them, and finds in them what the data folder holds."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser.corpora import write_manifest
from ser.data import members, tables
from ser.data.cuts import make_cuts
from ser.data.datadir import make_views
from ser.errors import DataError

RATE_HZ = 16000
AUDIO = {"sampling_rate_hz": RATE_HZ, "channel": None, "resample": "refuse"}


def recording(
    name: str, path: Path, num_samples: int, rate_hz: int = RATE_HZ, channels: int = 1
) -> dict[str, Any]:
    """A recording with its file, of lhotse's form."""
    samples = np.random.default_rng(num_samples).normal(0, 0.1, (num_samples, channels))
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    numbers = list(range(channels))
    return {
        "id": name,
        "sources": [{"type": "file", "channels": numbers, "source": str(path)}],
        "sampling_rate": rate_hz,
        "num_samples": num_samples,
        "duration": num_samples / rate_hz,
        "channel_ids": numbers,
    }


def supervision(name: str, of: str, start_s: float, length_s: float, **more: Any) -> dict[str, Any]:
    """A supervision of speaker s1."""
    custom = {"emotion": "joy", "session": "1", "ratings": [3.0, 4.0]}
    own = {"id": name, "recording_id": of, "start": start_s, "duration": length_s, "channel": 0}
    return {**own, "text": "well", "speaker": "s1", "gender": "F", "custom": custom, **more}


def make_data(
    folder: Path,
    recordings: Sequence[Mapping[str, Any]],
    supervisions: Sequence[Mapping[str, Any]],
    num_frames: Mapping[str, int],
    *,
    compress: str = "none",
    audio: Mapping[str, Any] = AUDIO,
) -> Path:
    """Manifests, and a data folder with features of the utterances that ``num_frames`` names."""
    write_manifest(folder / "manifests" / "recordings.jsonl.gz", recordings)
    write_manifest(folder / "manifests" / "supervisions.jsonl.gz", supervisions)
    data = folder / "all"
    (data / "fbank").mkdir(parents=True)
    tables.write_table(data / "utt2spk", dict.fromkeys(num_frames, "s1"))
    tables.write_table(data / "utt2emo", dict.fromkeys(num_frames, "hap"))
    tables.write_table(data / "utt2num_frames", num_frames)
    (data / "frame_shift").write_text("0.01\n")
    (data / "feats.yaml").write_text(f"set: fbank\naudio: {dict(audio)}\n".replace("None", "null"))
    with tables.ArkWriter(data / "fbank" / "feats", compress) as ark:
        for number, name in enumerate(sorted(num_frames)):
            rng = np.random.default_rng(number)
            ark.write(name, rng.normal(5, 3, (num_frames[name], 23)).astype(np.float32))
    (data / "feats.scp").write_bytes((data / "fbank" / "feats.scp").read_bytes())
    return data


def load(path: Path) -> dict[str, Any]:
    """The cuts of a file by id, as lhotse reads them."""
    pytest.importorskip("kaldi_native_io")
    from lhotse import CutSet

    return {cut.id: cut for cut in CutSet.from_jsonl_lazy(path)}


def check(path: Path, feats: Path, tolerance: float = 0.0) -> dict[str, Any]:
    """What must hold for any cuts: valid in lhotse's eyes, features of kaldiio's, one supervision inside."""
    from lhotse.qa import validate_cut

    cuts = load(path)
    theirs = kaldiio.load_scp(str(feats))
    assert list(cuts) == sorted(cuts)
    for cut in cuts.values():
        validate_cut(cut, read_data=True)
        np.testing.assert_allclose(cut.load_features(), theirs[cut.id], rtol=0, atol=tolerance)
        assert cut.num_frames == len(theirs[cut.id])
        (told,) = cut.supervisions
        assert (told.start, told.duration) == (0.0, cut.duration)
        for items in (told.alignment or {}).values():
            assert all(item.start >= cut.start and item.end <= cut.end + 1e-8 for item in items)
    return cuts


@pytest.mark.parametrize("compress", ["none", "CM", "CM2"])
def test_whole_recordings(tmp_path: Path, compress: str) -> None:
    """Frames that lie wholly inside end 15 ms before the recording; the supervision is cut to them."""
    recordings = [recording(name, tmp_path / f"{name}.wav", 32000 + 77 * i) for i, name in enumerate("abc")]
    alignment = {"phone": [["SIL", 0.0, 0.5, -3.0], ["AH", 0.5, 1.5]], "word": [["well", 1.99, 0.01]]}
    told = [supervision(item["id"], item["id"], 0.0, item["duration"]) for item in recordings]
    told[0]["alignment"] = alignment
    told[2]["custom"] = {"emotion": "boredom"}  # has no class
    data = make_data(tmp_path, recordings, told, {"a": 198, "b": 198}, compress=compress)
    make_cuts(tmp_path / "manifests", data)
    tolerance = 0.0 if compress == "none" else 1e-5  # the readers round what they unpack
    cuts = check(data / "cuts.jsonl.gz", data / "feats.scp", tolerance)
    assert list(cuts) == ["a", "b"]
    a = cuts["a"]
    assert (a.start, a.duration, a.channel, a.num_frames, a.num_features) == (0.0, 1.98, 0, 198, 23)
    (told_a,) = a.supervisions
    assert (told_a.id, told_a.speaker, told_a.gender, told_a.text) == ("a", "s1", "F", "well")
    assert told_a.custom == {"emotion": "joy", "session": "1", "ratings": [3.0, 4.0], "emotion_class": "hap"}
    items = {tier: [tuple(item) for item in items] for tier, items in told_a.alignment.items()}
    assert items == {"phone": [("SIL", 0.0, 0.5, -3.0), ("AH", 0.5, 1.48, None)], "word": []}
    assert a.load_audio().shape == (1, 31680)
    assert cuts["b"].supervisions[0].alignment is None


def test_segments_of_a_recording(tmp_path: Path) -> None:
    """Ids of the data folder begin with the speaker; alignments stay on the recording's time line."""
    long = recording("talk", tmp_path / "talk.wav", 160000)
    told = [
        supervision("t1", "talk", 1.25, 2.0, alignment={"phone": [["AH", 1.25, 1.0], ["B", 2.25, 1.0]]}),
        supervision("t2", "talk", 3.5, 6.5),
    ]
    data = make_data(tmp_path, [long], told, {"s1-t1": 198, "s1-t2": 648})
    make_cuts(tmp_path / "manifests", data)
    cuts = check(data / "cuts.jsonl.gz", data / "feats.scp")
    assert [(cut.start, cut.duration) for cut in cuts.values()] == [(1.25, 1.98), (3.5, 6.48)]
    (first,) = cuts["s1-t1"].supervisions
    assert (first.id, first.recording_id) == ("t1", "talk")
    assert [tuple(item)[:3] for item in first.alignment["phone"]] == [("AH", 1.25, 1.0), ("B", 2.25, 0.98)]
    spans = [(cut.start, cut.duration) for cut in cuts["s1-t1"].trim_to_alignments("phone")]
    assert spans == [(1.25, 1.0), (2.25, 0.98)]
    whole, _ = soundfile.read(tmp_path / "talk.wav", dtype="float32")
    np.testing.assert_array_equal(cuts["s1-t1"].load_audio()[0], whole[20000 : 20000 + 31680])


def test_frames_that_reach_the_end_or_beyond_it(tmp_path: Path) -> None:
    """Of Kaldi's snip_edges=false, whose last 10 ms are not all there, and of padding a frame more."""
    sound = recording("a", tmp_path / "a.wav", 16090)
    for number, (frames, loaded) in enumerate([(101, 101), (100, 100), (102, 101)]):
        folder = tmp_path / str(number)
        data = make_data(folder, [sound], [supervision("a", "a", 0.0, 16090 / RATE_HZ)], {"a": frames})
        make_cuts(folder / "manifests", data)
        cut = load(data / "cuts.jsonl.gz")["a"]
        assert cut.features.num_frames == frames
        theirs = kaldiio.load_scp(str(data / "feats.scp"))["a"]
        np.testing.assert_array_equal(cut.load_features(), theirs[:loaded])
        assert cut.load_audio().shape == (1, min(frames * 160, 16090))


def test_another_rate_and_a_chosen_channel(tmp_path: Path) -> None:
    from lhotse import Recording

    stereo = recording("a", tmp_path / "a.wav", 96001, 48000, channels=2)
    mono = recording("b", tmp_path / "b.wav", 48000, 48000)
    audio = {"sampling_rate_hz": RATE_HZ, "channel": 1, "resample": "convert"}
    told = [supervision(item["id"], item["id"], 0.0, item["duration"]) for item in (stereo, mono)]
    data = make_data(tmp_path, [stereo, mono], told, {"a": 198, "b": 98}, audio=audio)
    make_cuts(tmp_path / "manifests", data)
    cuts = load(data / "cuts.jsonl.gz")
    for item in (stereo, mono):
        wanted = Recording.from_dict(item).resample(RATE_HZ)
        assert cuts[item["id"]].recording == wanted
    assert [cut.channel for cut in cuts.values()] == [1, 0]
    assert [cut.supervisions[0].channel for cut in cuts.values()] == [1, 0]
    assert cuts["a"].sampling_rate == RATE_HZ
    assert cuts["a"].load_features().shape == (198, 23)


def test_channels_that_are_mixed(tmp_path: Path) -> None:
    stereo = recording("a", tmp_path / "a.wav", 32000, channels=2)
    told = [supervision("a", "a", 0.0, 2.0)]
    data = make_data(tmp_path, [stereo], told, {"a": 198}, audio={**AUDIO, "channel": "mix"})
    make_cuts(tmp_path / "manifests", data)
    cut = check(data / "cuts.jsonl.gz", data / "feats.scp")["a"]
    assert (type(cut).__name__, cut.channel, cut.load_audio().shape) == ("MultiCut", [0, 1], (2, 31680))


def test_what_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    sound = recording("a", tmp_path / "a.wav", 32000)
    data = make_data(tmp_path, [sound], [supervision("a", "a", 0.0, 2.0)], {"a": 198})
    make_cuts(tmp_path / "manifests", data)
    path = data / "cuts.jsonl.gz"
    first, content = path.stat(), path.read_bytes()
    make_cuts(tmp_path / "manifests", data)
    assert path.stat().st_ino == first.st_ino
    path.unlink()
    make_cuts(tmp_path / "manifests", data)
    assert path.read_bytes() == content
    tables.write_table(data / "utt2emo", {"a": "sad"})
    make_cuts(tmp_path / "manifests", data)
    assert b'"emotion_class":"sad"' in gzip.decompress(path.read_bytes())


def test_own_tables_have_no_cuts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    make_cuts(tmp_path / "manifests", tmp_path / "all")
    message = f"{tmp_path}/all: no cuts for lhotse, there are no manifests in {tmp_path}/manifests"
    assert caplog.messages == [message]
    assert not (tmp_path / "all").exists()


def test_frames_between_samples_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sound = recording("a", tmp_path / "a.wav", 22050, 11025)
    audio = {"sampling_rate_hz": 11025, "channel": None, "resample": "refuse"}
    data = make_data(tmp_path, [sound], [supervision("a", "a", 0.0, 2.0)], {"a": 198}, audio=audio)
    make_cuts(tmp_path / "manifests", data)
    what = "cuts without features: a frame every 110.25 samples is not what lhotse can describe"
    assert f"{data}/cuts.jsonl.gz: {what}" in caplog.messages
    cut = load(data / "cuts.jsonl.gz")["a"]
    assert (cut.has_features, cut.duration, cut.supervisions[0].duration) == (False, 2.0, 2.0)


def test_manifests_of_another_corpus(tmp_path: Path) -> None:
    sound = recording("a", tmp_path / "a.wav", 32000)
    data = make_data(tmp_path, [sound], [supervision("a", "a", 0.0, 2.0)], {"a": 198, "b": 198})
    with pytest.raises(DataError) as caught:
        make_cuts(tmp_path / "manifests", data)
    assert str(caught.value) == (
        f"the supervisions of {tmp_path}/manifests: its keys are not those of {data}/utt2spk: 1 only in "
        f"{data}/utt2spk (b); run the stage that makes the older of the two again"
    )


def test_a_view_has_the_cuts_of_its_utterances(tmp_path: Path) -> None:
    recordings = [recording(name, tmp_path / f"{name}.wav", 32000) for name in "abc"]
    told = [supervision(name, name, 0.0, 2.0) for name in "abc"]
    data = make_data(tmp_path, recordings, told, dict.fromkeys("abc", 198))
    make_cuts(tmp_path / "manifests", data)
    make_views(data, {tmp_path / "x": ["a", "c"], tmp_path / "y": ["b"]})
    assert list(load(tmp_path / "x" / "cuts.jsonl.gz")) == ["a", "c"]
    assert list(check(tmp_path / "y" / "cuts.jsonl.gz", data / "feats.scp")) == ["b"]


@pytest.mark.slow
def test_the_recipe_makes_cuts_for_every_subset(finished: Path) -> None:
    data = finished / "data"
    feats = data / "all" / "feats.scp"
    cuts = check(data / "all" / "cuts.jsonl.gz", feats)
    classes = tables.read_table(data / "all" / "utt2emo")
    assert {name: cut.supervisions[0].custom["emotion_class"] for name, cut in cuts.items()} == classes
    assert all(
        cut.supervisions[0].alignment["phone"]
        for name, cut in cuts.items()
        if name != "Ses03_M-Ses03M_impro03_M001"
    )
    subsets = [path.parent for path in sorted((data / "folds").rglob("utt2spk"))]
    assert len(subsets) >= 4
    for subset in subsets:
        speakers = {name: cut.supervisions[0].speaker for name, cut in load(subset / "cuts.jsonl.gz").items()}
        assert speakers == tables.read_table(subset / "utt2spk")


@given(st.lists(st.text(max_size=90), unique=True, max_size=9), st.data())
def test_members_are_one_text_and_stay_what_they_are(names: list[str], draw: st.DataObject) -> None:
    import json
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder, "x.jsonl.gz")
        packed = {
            name: members.pack({"id": name, "n": i, "s": "x" * (i * 40000)}) for i, name in enumerate(names)
        }
        members.write(path, packed.values())
        assert members.read(path, "make it again") == packed
        kept = [name for name in names if draw.draw(st.booleans())]
        members.write(path, (packed[name] for name in kept))
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")[:-1] if kept else []
        assert [json.loads(line)["id"] for line in lines] == kept


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda raw: raw[:-3], "cut short or not gzip (it ends within a member)"),
        (lambda raw: raw + b"x", "cut short or not gzip (it ends within a member)"),
        (lambda raw: raw + raw, "a appears twice"),
        (lambda raw: raw + gzip.compress(b"{}\n"), "cut short or not gzip (it has no 'id')"),
    ],
)
def test_damaged_members(tmp_path: Path, change: Any, what: str) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(change(members.pack({"id": "a"})))
    with pytest.raises(DataError) as caught:
        members.read(path, "make it again")
    assert str(caught.value) == f"{path}: {what}; make it again"
