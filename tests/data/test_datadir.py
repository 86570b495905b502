from __future__ import annotations

import gzip
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.data import tables
from ser.data.alignment import read_ctm
from ser.data.corpus import CorpusAudio, CorpusConfig, Protocol
from ser.data.corpus_tables import make_data_dir
from ser.data.datadir import make_view, whole_dir
from ser.data.durations import Shortest
from ser.data.manifests import count_checks, read_manifests
from ser.data.validate import Summary, validate
from ser.errors import DataError, StaleError

CONFIG = CorpusConfig(
    name="toy",
    module="csv",
    classes=("ang", "sad"),
    labels={"A": "ang", "S": "sad"},
    audio=CorpusAudio(16000, None, "refuse", "warn", "warn"),
    keep={},
    protocol="loso",
    protocols={"loso": Protocol("speaker", "each", None, {})},
    checks={"emotion": {"A": 2, "X": 2}, "class": {"sad": 1}, "total": {"utterances": 4, "speakers": 2}},
)
# id, speaker, gender, label, style
TOY = [
    ("b-1", "b", "Female", "A", "scripted"),
    ("a-2", "a", "m", "S", "improvised"),
    ("a-1", "a", "m", "A", "improvised"),
    ("b-2", "b", "f", "X", "scripted"),
]


def audio(on_mixed_rate: str = "warn", on_silent: str = "warn") -> CorpusAudio:
    return CorpusAudio(16000, None, "refuse", on_mixed_rate, on_silent)  # type: ignore[arg-type]


def write_silence_or_noise(path: Path, rng: np.random.Generator | None) -> None:
    soundfile.write(path, np.zeros(24000) if rng is None else rng.uniform(-0.1, 0.1, 24000), 16000)


def replaced(config: CorpusConfig, **changes: Any) -> CorpusConfig:
    return CorpusConfig(**{**config.__dict__, **changes})


def items(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Manifest entries of the toy corpus; the audio files exist, but are empty."""
    recordings, supervisions = [], []
    for name, speaker, gender, label, style in TOY:
        audio = folder / f"{name}.wav"
        audio.touch()
        recordings.append(
            {
                "id": name,
                "sources": [{"type": "file", "channels": [0], "source": str(audio)}],
                "sampling_rate": 16000,
                "num_samples": 24000,
                "duration": 1.5,
                "channel_ids": [0],
            }
        )
        supervisions.append(
            {
                "id": name,
                "recording_id": name,
                "start": 0,
                "duration": 1.5,
                "channel": 0,
                "text": f" words  of\u2028{name} ",
                "speaker": speaker,
                "gender": gender,
                "custom": {"emotion": label, "style": style, "session": speaker},
                "alignment": {"phone": [["p", 0.25, 0.5, None], ["SIL", 0.0, 0.25, None]]},
            }
        )
    return recordings, supervisions


def write(folder: Path, recordings: list[dict[str, Any]], supervisions: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, entries in (("recordings", recordings), ("supervisions", supervisions)):
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return folder


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    return write(tmp_path / "manifests", *items(tmp_path))


def test_every_table_is_written_sorted(manifests: Path, tmp_path: Path) -> None:
    out = tmp_path / "data" / "all"
    make_data_dir(manifests, out, CONFIG)
    written = {path.name: path.read_text() for path in out.iterdir() if path.name != "made.json"}
    assert written == {
        "wav.scp": f"a-1 {tmp_path}/a-1.wav\na-2 {tmp_path}/a-2.wav\nb-1 {tmp_path}/b-1.wav\n",
        "utt2spk": "a-1 a\na-2 a\nb-1 b\n",
        "spk2utt": "a a-1 a-2\nb b-1\n",
        "utt2raw": "a-1 a-1\na-2 a-2\nb-1 b-1\n",
        "utt2emo": "a-1 ang\na-2 sad\nb-1 ang\n",
        "utt2dur": "a-1 1.5\na-2 1.5\nb-1 1.5\n",
        "text": "a-1 words of a-1\na-2 words of a-2\nb-1 words of b-1\n",
        "spk2gender": "a m\nb f\n",
        "utt2session": "a-1 a\na-2 a\nb-1 b\n",
        "utt2style": "a-1 improvised\na-2 improvised\nb-1 scripted\n",
        "phone.ctm": "".join(f"{u} 1 0.0 0.25 SIL\n{u} 1 0.25 0.5 p\n" for u in ("a-1", "a-2", "b-1")),
        "emotions.txt": "ang 0\nsad 1\n",
    }
    assert validate(out, need=["wav.scp"]) == Summary(3, 2)


def test_dialogues_are_written_where_all_utterances_say_theirs(tmp_path: Path) -> None:
    recordings, supervisions = items(tmp_path)
    for number, item in enumerate(supervisions):
        item["custom"] |= {"dialogue": f"d{number % 2}", "turn": number}
    out = tmp_path / "all"
    make_data_dir(write(tmp_path / "manifests", recordings, supervisions), out, CONFIG)
    names = {item["id"]: number for number, item in enumerate(supervisions) if item["id"] != "b-2"}
    assert tables.read_table(out / "utt2dialogue") == {key: f"d{number % 2}" for key, number in names.items()}
    assert tables.read_table(out / "utt2turn") == {key: str(number) for key, number in names.items()}
    del supervisions[0]["custom"]["turn"]
    out = tmp_path / "other"
    make_data_dir(write(tmp_path / "others", recordings, supervisions), out, CONFIG)
    assert (out / "utt2dialogue").exists()
    assert not (out / "utt2turn").exists()


def test_utterances_are_named_by_their_speakers(tmp_path: Path) -> None:
    """Manifests keep the raw ids; every table, the alignment too, has the names, sorted by them."""
    recordings, supervisions = items(tmp_path)
    for item in [*recordings, *supervisions]:
        item["id"] = {"b-1": "b-1", "b-2": "b-2", "a-1": "z", "a-2": "turn_2"}[item["id"]]
    for item in supervisions:
        item["recording_id"] = item["id"]
    folder = write(tmp_path / "manifests", recordings, supervisions)
    out = tmp_path / "all"
    make_data_dir(folder, out, CONFIG)
    names = {"a-turn_2": "turn_2", "a-z": "z", "b-1": "b-1"}
    assert tables.read_table(out / "utt2raw") == names
    assert tables.read_table(out / "wav.scp")["a-z"] == f"{tmp_path}/a-1.wav"
    assert (out / "spk2utt").read_text() == "a a-turn_2 a-z\nb b-1\n"
    assert list(read_ctm(out / "phone.ctm")) == sorted(names)
    for name in ("utt2spk", "utt2emo", "utt2dur", "text", "utt2session", "utt2style"):
        assert list(tables.read_table(out / name)) == sorted(names)
    make_view(out, tmp_path / "view", ["a-z"])
    assert tables.read_table(tmp_path / "view" / "utt2raw") == {"a-z": "z"}


def test_a_data_folder_of_raw_ids_is_refused(manifests: Path, tmp_path: Path) -> None:
    """What an older version made has other names."""
    out = tmp_path / "all"
    make_data_dir(manifests, out, CONFIG)
    record = json.loads((out / "made.json").read_text())
    del record["settings"]["utterances"]
    (out / "made.json").write_text(json.dumps(record))
    with pytest.raises(StaleError) as error:
        make_data_dir(manifests, out, CONFIG)
    assert str(error.value) == (
        f"{out}: was made differently: utterances: (not set) -> <speaker>-<raw id>; "
        f"choose another folder, or remove it: rm -r {out}"
    )


def test_what_is_left_out_is_counted(
    manifests: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ser")
    config = replaced(CONFIG, keep={"style": ("improvised",)})
    make_data_dir(manifests, tmp_path / "all", config)
    assert (
        f"{manifests}/supervisions.jsonl.gz: kept 2 of 4 utterances; left out 1 by label (X 1), 1 by keep"
        in caplog.messages
    )


def test_the_same_again_is_left_alone_and_a_difference_refused(manifests: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    make_data_dir(manifests, out, CONFIG)
    before = (out / "wav.scp").stat().st_mtime_ns
    make_data_dir(manifests, out, CONFIG)
    assert (out / "wav.scp").stat().st_mtime_ns == before
    with pytest.raises(StaleError) as error:
        make_data_dir(manifests, out, replaced(CONFIG, classes=("sad", "ang")))
    assert str(error.value) == (
        f"{out}: was made differently: classes: ['ang', 'sad'] -> ['sad', 'ang']; "
        f"choose another folder, or remove it: rm -r {out}"
    )


def test_utterances_too_short_for_features_stop_stage_0(manifests: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    need = [Shortest("fbank", 400, 16000), Shortest("slow", 24001, 16000)]
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, out, CONFIG, need)
    too_short = (
        "3 utterances are too short for the features slow, which take 1500.06 ms ({}); leave them out of the "
        "corpus"
    )
    names = ("a-1", "a-2", "b-1")
    placed = ", ".join(f"{name}: 1500 ms of {tmp_path}/{name}.wav" for name in names)
    assert str(error.value) == f"{manifests}/supervisions.jsonl.gz: {too_short.format(placed)}"
    assert not out.exists()
    make_data_dir(manifests, out, CONFIG, need[:1])
    listed = ", ".join(f"{name}: 1500 ms" for name in tables.read_table(out / "utt2dur"))
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, out, CONFIG, need)  # of a finished folder too
    assert str(error.value) == f"{out}/utt2dur: {too_short.format(listed)}"
    make_data_dir(manifests, out, CONFIG, [Shortest("slow", 24000, 16000)])


def test_protocols_do_not_touch_the_data(manifests: Path, tmp_path: Path) -> None:
    make_data_dir(manifests, tmp_path / "all", CONFIG)
    other = replaced(CONFIG, protocols={"loso": Protocol("session", "each", None, {})}, checks=None)
    make_data_dir(manifests, tmp_path / "all", other)


def test_a_folder_of_the_users_own_is_not_overwritten(manifests: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "notes").touch()
    with pytest.raises(
        DataError, match="all: holds files, but no made.json of a finished run; choose another"
    ):
        make_data_dir(manifests, tmp_path / "all", CONFIG)
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["notes"]


def test_a_class_without_utterances_is_an_error(manifests: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, tmp_path / "all", replaced(CONFIG, labels={"A": "ang", "T": "sad"}))
    assert str(error.value) == (
        f"{manifests}/supervisions.jsonl.gz: no utterance of class sad (labels in the corpus: A, S, X); "
        "correct classes, labels or keep in conf/corpus.yaml"
    )
    assert not (tmp_path / "all").exists()


def test_an_unknown_attribute_of_keep_names_the_known(manifests: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="a-1 has no stile, which keep asks for \\(it has emotion, gender, session"
    ):
        make_data_dir(manifests, tmp_path / "all", replaced(CONFIG, keep={"stile": ("improvised",)}))


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (
            CorpusAudio(8000, None, "refuse", "warn", "warn"),
            "has 16000 Hz, audio.sampling_rate_hz says 8000; set audio.resample to convert",
        ),
        (
            CorpusAudio(16000, 1, "refuse", "warn", "warn"),
            "has 1 channel, so there is no channel 1; set audio.channel to [1, 0] to take 0 of such a one",
        ),
    ],
)
def test_audio_of_another_form_is_refused(
    manifests: Path, tmp_path: Path, audio: CorpusAudio, message: str
) -> None:
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, tmp_path / "all", replaced(CONFIG, audio=audio))
    assert str(error.value).splitlines()[0] == f"{tmp_path}/a-1.wav: {message}"
    assert len(str(error.value).splitlines()) == 3


def test_silent_audio_is_refused_or_left_out(manifests: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, *_ in TOY:
        write_silence_or_noise(tmp_path / f"{name}.wav", None if name == "a-1" else rng)
    out = tmp_path / "data" / "all"
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, out, replaced(CONFIG, audio=audio(on_silent="refuse")))
    assert str(error.value) == (
        f"{manifests}: 1 of 3 utterances has silent audio (a-1); replace the recordings, or set "
        "audio.on_silent to warn or drop"
    )
    assert not out.exists()
    dropping = replaced(CONFIG, audio=audio(on_silent="drop"))
    make_data_dir(manifests, out, dropping)
    assert (out / "left_out").read_text() == "a-1 audio.on_silent\n"
    assert (out / "utt2spk").read_text() == "a-2 a\nb-1 b\n"
    assert (out / "spk2utt").read_text() == "a a-2\nb b-1\n"
    assert validate(out, need=["wav.scp"]) == Summary(2, 2)
    stamp = (out / "made.json").stat().st_mtime_ns
    make_data_dir(manifests, out, dropping)  # the same again
    make_data_dir(manifests, tmp_path / "data" / "warned", CONFIG)
    assert (out / "made.json").stat().st_mtime_ns == stamp
    assert not (tmp_path / "data" / "warned" / "left_out").exists()
    with pytest.raises(
        StaleError, match=r"was made differently: left_out\.a-1: audio\.on_silent -> \(not set\)"
    ):
        make_data_dir(manifests, out, CONFIG)


def test_an_action_that_changes_nothing_makes_nothing_again(manifests: Path, tmp_path: Path) -> None:
    """So a folder of an earlier version, which knew no such settings, stays what it is."""
    rng = np.random.default_rng(0)
    for name, *_ in TOY:
        write_silence_or_noise(tmp_path / f"{name}.wav", rng)
    out = tmp_path / "data" / "all"
    make_data_dir(manifests, out, CONFIG)
    record = (out / "made.json").read_bytes()
    assert b"on_silent" not in record
    make_data_dir(manifests, out, replaced(CONFIG, audio=audio("drop", "refuse")))
    assert (out / "made.json").read_bytes() == record


def test_a_corpus_of_silence_is_not_dropped_as_a_whole(manifests: Path, tmp_path: Path) -> None:
    for name, *_ in TOY:
        write_silence_or_noise(tmp_path / f"{name}.wav", None)
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, tmp_path / "all", replaced(CONFIG, audio=audio(on_silent="drop")))
    assert str(error.value) == (
        f"{manifests}: audio.on_mixed_rate and audio.on_silent drop all 3 utterances (a-1, a-2, b-1); are "
        "these the recordings, and is audio.channel right?"
    )


def test_several_channels_need_a_choice(tmp_path: Path) -> None:
    recordings, supervisions = items(tmp_path)
    recordings[0]["sources"][0]["channels"] = [0, 1]
    folder = write(tmp_path / "manifests", recordings, supervisions)
    with pytest.raises(DataError) as error:
        make_data_dir(folder, tmp_path / "all", CONFIG)
    assert str(error.value) == (
        f"{tmp_path}/b-1.wav: has 2 channels; set audio.channel to the one to use, 0 to 1, or to mix"
    )
    make_data_dir(
        folder, tmp_path / "one", replaced(CONFIG, audio=CorpusAudio(16000, 0, "refuse", "warn", "warn"))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "a 1"}, "the id 'a 1' has characters other than"),
        (
            {"start": 0.5},
            "a-1 cannot be used: it lasts from 0.5 to 2 s, its recording 1.5 s; prepare the corpus again",
        ),
        ({"recording_id": "c-9"}, "a-1: there is no recording 'c-9'; prepare the corpus again"),
        ({"speaker": None}, "a-1 cannot be used: it has no speaker; prepare the corpus again"),
        ({"custom": {}}, "a-1 cannot be used: it has no emotion; prepare the corpus again"),
        ({"id": "a-2", "recording_id": "a-2"}, "a-2 appears twice; keep one of them"),
    ],
)
def test_manifests_that_cannot_be_used_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    recordings, supervisions = items(tmp_path)
    supervisions[2].update(change)
    folder = write(tmp_path / "manifests", recordings, supervisions)
    with pytest.raises(DataError) as error:
        read_manifests(folder)
    assert str(error.value).startswith(f"{folder}/supervisions.jsonl.gz:3: {message}")


def test_damaged_manifests_are_named(manifests: Path) -> None:
    path = manifests / "recordings.jsonl.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="recordings.jsonl.gz: cut short or not gzip"):
        read_manifests(manifests)
    path.write_bytes(gzip.compress(b'{"id": "a"}\n{oops\n'))
    with pytest.raises(DataError, match="recordings.jsonl.gz:2: no manifest entry"):
        read_manifests(manifests)
    path.unlink()
    with pytest.raises(DataError, match="recordings.jsonl.gz: no such file; run stage 0"):
        read_manifests(manifests)


def test_expected_numbers_are_compared(manifests: Path) -> None:
    assert count_checks(read_manifests(manifests), CONFIG) == [
        (True, "ok: emotion A: 2"),
        (False, "differs: emotion X: 1, expected 2"),
        (True, "ok: class sad: 1"),
        (True, "ok: total utterances: 4"),
        (True, "ok: total speakers: 2"),
    ]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_dir(tmp_path / "out") as staging:
            (staging / "file").touch()
            raise DataError("no")

    with pytest.raises(DataError, match="^no$"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    gone = tmp_path / f".out.{socket.gethostname()}.999999999.part"
    gone.mkdir()
    with whole_dir(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --------------------------------------------------------------------------------------------- validating


@pytest.fixture
def data(manifests: Path, tmp_path: Path) -> Path:
    make_data_dir(manifests, tmp_path / "data", CONFIG)
    return tmp_path / "data"


def faults(folder: Path) -> list[str]:
    with pytest.raises(DataError) as error:
        validate(folder, need=["wav.scp"])
    return str(error.value).splitlines()


def test_all_faults_of_all_tables_are_listed_at_once(data: Path, tmp_path: Path) -> None:
    (data / "utt2emo").write_text("a-1 ang\na-2 joy\nb-1 ang\n")
    (data / "utt2dur").write_text("a-1 1.5\na-2 -1\nb-1 1.5\n")
    (data / "utt2style").write_text("a-1 x\nb-1 x\n")
    (data / "text").write_text("b-1 x\na-1 x\n")
    (data / "utt2num_frames").write_text("a-1 10\na-2 0\nb-1 10\n")
    (data / "spk2utt").write_text("a a-1 a-2 b-1\n")
    (data / "feats.scp").write_text("a-1 gone.ark:5\na-2 gone.ark:50[0:3]\nb-1 gone.ark:9\n")
    (tmp_path / "a-2.wav").unlink()
    found = faults(data)
    assert f"{data}/utt2emo:2: expected '<utterance> <ang|sad>', got 'a-2 joy'; run stage 0 again" in found
    assert any(
        line.startswith(f"{data}/utt2dur:2: expected '<key> <seconds above 0>', got 'a-2 -1'")
        for line in found
    )
    assert any(
        line.startswith(f"{data}/utt2num_frames:2: expected '<key> <frames above 0>', got 'a-2 0'")
        for line in found
    )
    assert (
        f"{data}/utt2style: its keys are not those of {data}/utt2spk: 1 only in {data}/utt2spk (a-2); "
        "run the stage that makes the older of the two again"
    ) in found
    assert any(line.startswith(f"{data}/text:2: 'a-1' comes after 'b-1'") for line in found)
    assert f"{data}/spk2utt: is not utt2spk turned round; remove it or make it from that" in found
    assert (
        f"{data}/feats.scp:1: a-1: gone.ark: no such file; run the stage that makes it again (4 places: "
        f"{data}/feats.scp:1, {data}/feats.scp:2, {data}/feats.scp:3, ...)"
    ) in found
    assert len(found) == 7


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "b-1 1 1.0 0.5",
            "expected '<utterance> 1 <start s> <duration s> <symbol>', got 'b-1 1 1.0 0.5'; run",
        ),
        (
            "b-1 1 1.0 0.0 p",
            "expected '<utterance> 1 <start s> <duration s> <symbol>', got 'b-1 1 1.0 0.0 p'",
        ),
        ("b-1 1 0.1 0.5 p", "b-1 at 0.1 s is not in order; run stage 0 again"),
        ("b-1 1 1.2 0.5 p", "b-1 ends at 1.700 s, utt2dur says 1.5; run stage 0 again"),
        ("c-1 1 0.0 0.5 p", "c-1 ends at 0.500 s, utt2dur says nothing; run stage 0 again"),
    ],
)
def test_a_wrong_line_of_an_alignment_is_named(data: Path, line: str, message: str) -> None:
    with open(data / "phone.ctm", "a") as stream:
        stream.write(f"{line}\n")
    assert [fault[: len(str(data)) + len(message) + 14] for fault in faults(data)] == [
        f"{data}/phone.ctm:7: {message}"
    ]


def test_feature_sets_are_checked(data: Path, tmp_path: Path) -> None:
    for name in ("fbank", "egemaps"):
        (data / name).mkdir()
        (data / name / "settings.yaml").touch()
        (data / name / "feats.scp").write_text("a-1 gone.ark:5\nb-1 gone.ark:9\n")
    (data / "fbank" / "utt2num_frames").write_text("a-1 10\na-2 0\nb-1 10\n")
    (data / "feats.yaml").write_text("set: wide\n")
    listed = faults(data)
    for name in ("fbank", "egemaps"):
        assert (
            f"{data}/{name}/feats.scp:1: a-1: gone.ark: no such file; run the stage that makes it again"
            in listed
        )
        assert any(
            line.startswith(f"{data}/{name}/feats.scp: its keys are not those of {data}/utt2spk: 1 only in")
            for line in listed
        )
    assert any(line.startswith(f"{data}/fbank/utt2num_frames:2: expected '<key> <frames") for line in listed)
    assert f"{data}/feats.yaml: names the set wide, which {data} does not have; run stage 1 again" in listed
    assert len(listed) == 8
    view = tmp_path / "view"
    make_view(data, view, ["a-1"])
    (view / "source").write_text("/nowhere\n")
    assert faults(view) == [
        f"{view}/source: names /nowhere, which is no folder; run stage 2 again, elsewhere"
    ]


def test_an_order_that_only_kaldi_minds_is_a_warning(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tables of one's own may name utterances as they like."""
    caplog.set_level(logging.WARNING, "ser")
    validate(data, need=[])
    assert caplog.messages == []
    (data / "utt2spk").write_text("a-1 b\na-2 a\nb-1 b\n")
    (data / "spk2utt").write_text("a a-2\nb a-1 b-1\n")
    assert validate(data, need=[]) == Summary(3, 2)
    assert caplog.messages == [
        f"{data}/utt2spk: a-2 of speaker a comes after a-1 of speaker b; the recipe takes that, Kaldi's own "
        "tools do not: they need utterances that sort by speaker, such as a-a-2"
    ]


def test_raw_ids_are_checked(data: Path) -> None:
    (data / "utt2raw").write_text("a-1 x\na-2 x\nb-1 y\n")
    assert faults(data) == [
        f"{data}/utt2raw: a-1 and a-2 have the same raw id x; correct one, or remove the table"
    ]


def test_missing_tables_and_folders_are_named(data: Path) -> None:
    (data / "utt2emo").unlink()
    (data / "wav.scp").unlink()
    assert faults(data) == [
        f"{data}/utt2emo: no such file; run stage 0",
        f"{data}/wav.scp: no such file; run the stage that makes it",
    ]
    with pytest.raises(DataError, match="nowhere: no such folder; run stage 0"):
        validate(Path("nowhere"))


def test_the_verb_prints_one_line_or_every_fault(
    data: Path, run_verb: Callable[..., CompletedProcess[str]]
) -> None:
    good = run_verb("validate_data_dir", "--no-feats", data)
    assert (good.returncode, good.stdout) == (0, f"{data}: valid, 3 utterances, 2 speakers\n")
    bad = run_verb("validate_data_dir", data)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == f"ser: error: {data}/feats.scp: no such file; run the stage that makes it\n"


def test_a_view_of_unknown_utterances_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^{data}/utt2spk: has no x-1; name utterances of {data}$"):
        make_view(data, tmp_path / "view", ["a-1", "x-1"])
    (data / "spk2gender").write_text("a m\n")
    with pytest.raises(DataError, match="spk2gender: its keys are not those of the speakers of"):
        make_view(data, tmp_path / "view", ["a-1"])


def test_a_view_is_a_valid_data_folder(data: Path, tmp_path: Path) -> None:
    (data / "frame_shift").write_text("0.01\n")
    (data / "utt2lang").write_text("a-1 de\na-2 de\nb-1 de\n")
    (data / "text").write_text("b-1 only this one\n")
    view = tmp_path / "view"
    make_view(data, view, ["a-2", "a-1"])
    assert validate(view, need=["wav.scp"]) == Summary(2, 1)
    assert (view / "utt2lang").read_text() == "a-1 de\na-2 de\n"
    assert (view / "spk2gender").read_text() == "a m\n"
    assert (view / "frame_shift").read_text() == "0.01\n"
    assert (view / "emotions.txt").read_text() == "ang 0\nsad 1\n"
    assert not (view / "text").exists()
    assert not (view / "made.json").exists()


def test_speech_activity_is_of_all_utterances_and_stays_in_its_folder(data: Path, tmp_path: Path) -> None:
    """Folds do not change when it is decided; what reads them looks for it in the source."""
    ark = tmp_path / "vad.ark"
    ark.write_bytes(b"")
    (data / "vad.scp").write_text(f"a-1 {ark}:5\na-2 {ark}:9\nb-1 {ark}:13\n")
    assert validate(data, need=["wav.scp"]) == Summary(3, 2)
    make_view(data, tmp_path / "view", ["a-1"])
    assert not (tmp_path / "view" / "vad.scp").exists()
    (data / "vad.scp").write_text(f"a-1 {ark}:5\nb-1 {tmp_path}/none.ark:13\n")
    with pytest.raises(DataError) as error:
        validate(data, need=["wav.scp"])
    assert str(error.value).split("\n") == [
        f"{data}/vad.scp: its keys are not those of {data}/utt2spk: 1 only in {data}/utt2spk (a-2); run "
        "the stage that makes the older of the two again",
        f"{data}/vad.scp:2: b-1: {tmp_path}/none.ark: no such file; run the stage that makes it again",
    ]


@pytest.mark.parametrize(
    "verb", ["make_data_dir", "validate_data_dir", "make_folds", "compute_cmvn", "prepare"]
)
def test_the_verbs_start_without_torch_and_lhotse(repo: Path, verb: str) -> None:
    code = (
        f"import sys, ser.verbs.{verb}; print([m for m in ('torch', 'lhotse', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_a_lost_table_is_made_again_and_nothing_else_is_touched(
    manifests: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "all"
    make_data_dir(manifests, out, CONFIG)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "feats.scp").write_text("a feature table\n")
    (out / "utt2emo").unlink()
    (out / "wav.scp").write_text("")
    make_data_dir(manifests, out, CONFIG)
    assert caplog.messages[-1] == f"{out}/utt2emo: is gone or damaged (and 1 more); making it again"
    assert (out / "feats.scp").read_text() == "a feature table\n"
    assert {name: (out / name).read_bytes() for name in before} == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_table_that_was_edited_is_not_overwritten(manifests: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    make_data_dir(manifests, out, CONFIG)
    before = (out / "utt2emo").read_text()
    edited = before.replace(" ang", " sad", 1)
    (out / "utt2emo").write_text(edited)
    (out / "wav.scp").unlink()
    with pytest.raises(StaleError) as error:
        make_data_dir(manifests, out, CONFIG)
    assert str(error.value) == (
        f"{out}/utt2emo: was changed since it was made; put it back, or remove the file to have it made again"
    )
    assert (out / "utt2emo").read_text() == edited
    (out / "utt2emo").unlink()
    make_data_dir(manifests, out, CONFIG)
    assert (out / "utt2emo").read_text() == before
    assert (out / "wav.scp").exists()
