from __future__ import annotations

import gzip
import json
import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ser.data import tables
from ser.data.alignment import read_ctm
from ser.data.corpus import CorpusAudio, CorpusConfig, Protocol
from ser.data.corpus_tables import make_data_dir
from ser.data.datadir import make_view, whole_dir
from ser.data.durations import Shortest
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
