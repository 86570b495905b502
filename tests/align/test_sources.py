"""From any source to frames."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ser.align.frames import make_alignment, read_alignment
from ser.align.sources import export_textgrids
from ser.corpora import write_manifest
from ser.data import files, tables
from ser.data.alignment import AlignmentConfig, SourceConfig, Span, read_ctm, write_ctm
from ser.data.manifests import read_items
from ser.errors import DataError, UsageError
from ser.verbs import make_alignment as verb
from tests.interpret.conftest import PHONES, write_corpus

CONFIG = AlignmentConfig(SourceConfig("frames", 10.0, 0, 3, 2), SourceConfig("audio", 10.0, 0, 3, 5))
TIMES = {
    "u1": [("sil", 0.0, 0.1), ("t", 0.1, 0.05), ("a", 0.15, 0.15)],
    "u2": [("s", 0.0, 0.2), ("e", 0.2, 0.2)],
}
FRAMES = {"u1": 30, "u2": 40, "u3": 25}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "all", TIMES, FRAMES)
    return tmp_path / "all"


def make(source: Path, data: Path, **more: object) -> Path:
    out = data.parent / "aligned"
    options: dict[str, object] = {"config": CONFIG, "phones": PHONES, "tiers": {}, **more}
    make_alignment(source, data, out, **options)  # type: ignore[arg-type]
    return out


def test_the_corpus_own(data: Path) -> None:
    out = make(data, data)
    alignment = read_alignment(out, data)
    assert alignment.phones["u1"] == [Span("sil", 0, 10), Span("t", 10, 5), Span("a", 15, 15)]
    assert alignment.phones["u2"] == [Span("s", 0, 20), Span("e", 20, 20)]
    assert alignment.not_aligned == {"u3": "no phones in all"}


def test_a_ctm_of_audio_times_and_a_folder_of_the_aligner(data: Path, tmp_path: Path) -> None:
    write_ctm(tmp_path / "mine.ctm", {**TIMES, "elsewhere": TIMES["u1"]})
    alignment = read_alignment(make(tmp_path / "mine.ctm", data), data)
    assert alignment.phones["u1"] == [
        Span("sil", 0, 9),
        Span("t", 9, 5),
        Span("a", 14, 15),
    ]  # middles at 12.5 ms
    folder = tmp_path / "k2"
    write_ctm(folder / "phone.ctm", {"u1": TIMES["u1"]})
    write_ctm(folder / "word.ctm", {"u1": [("HAT", 0.1, 0.2)]})
    (folder / "not_aligned").write_text("u2 no path\nu9 no path\n")
    alignment = read_alignment(make(folder, data), data)
    assert alignment.words == {"u1": [Span("HAT", 9, 20)]}
    assert alignment.not_aligned == {"u2": "no path", "u3": "no phones in k2"}


def test_raw_ids_are_found_too(data: Path, tmp_path: Path) -> None:
    """A CTM and an aligner's folder, its reasons too, may name utterances as the corpus does."""
    write_ctm(tmp_path / "new.ctm", TIMES)
    expected = read_alignment(make(tmp_path / "new.ctm", data), data)
    tables.write_table(data / "utt2raw", {"u1": "turn_1", "u2": "u2", "u3": "turn_3"})
    folder = tmp_path / "theirs"
    write_ctm(folder / "phone.ctm", {"turn_1": TIMES["u1"], "u2": TIMES["u2"], "turn_9": TIMES["u2"]})
    (folder / "not_aligned").write_text("turn_3 no path\n")
    (tmp_path / "theirs.ctm").write_bytes((folder / "phone.ctm").read_bytes())
    for source, reason in ((tmp_path / "theirs.ctm", "no phones in theirs.ctm"), (folder, "no path")):
        alignment = read_alignment(make(source, data), data)
        assert alignment.phones == expected.phones
        assert alignment.not_aligned == {"u3": reason}
    write_ctm(tmp_path / "both.ctm", {"turn_1": TIMES["u1"], "u1": TIMES["u1"]})
    with pytest.raises(DataError) as error:
        make(tmp_path / "both.ctm", data)
    assert str(error.value) == f"{tmp_path}/both.ctm: has u1 under its raw id turn_1 too; keep one of them"


def test_textgrids_named_by_raw_ids(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("praatio", reason="utils/install.sh --extra interpret is not done")
    tables.write_table(data / "utt2raw", {"u1": "turn_1", "u2": "turn_2", "u3": "turn_3"})
    grids = tmp_path / "grids"
    assert export_textgrids(data, data, grids) == 2
    assert sorted(path.name for path in grids.iterdir()) == ["u1.TextGrid", "u2.TextGrid"]
    config = AlignmentConfig(CONFIG.corpus, CONFIG.corpus)
    frames = (make(grids, data, config=config) / "phone.frames").read_bytes()
    (grids / "u1.TextGrid").rename(grids / "turn_1.TextGrid")
    out = make(grids, data, config=config)
    assert (out / "phone.frames").read_bytes() == frames
    write_ctm(tmp_path / "theirs.ctm", {"turn_2": TIMES["u2"]})
    assert export_textgrids(tmp_path / "theirs.ctm", data, tmp_path / "again") == 1
    assert (tmp_path / "again" / "u2.TextGrid").exists()


def test_textgrids_there_and_back(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("praatio", reason="utils/install.sh --extra interpret is not done")
    assert export_textgrids(data, data, tmp_path / "grids") == 2
    config = AlignmentConfig(CONFIG.corpus, CONFIG.corpus)
    frames = (make(data, data) / "phone.frames").read_bytes()
    assert (make(tmp_path / "grids", data, config=config) / "phone.frames").read_bytes() == frames


def test_parts_become_phones(tmp_path: Path) -> None:
    data = tmp_path / "all"
    write_corpus(data, {"u1": [("a", 0.0, 0.1), ("t", 0.1, 0.05), ("!t", 0.15, 0.05)]}, {"u1": 20})
    phones = replace(PHONES, parts={"t": ("t", "!t")})
    alignment = read_alignment(make(data, data, phones=phones), data)
    assert alignment.phones["u1"] == [Span("a", 0, 10), Span("t", 10, 10)]


def test_manifests_get_the_alignment(data: Path, tmp_path: Path) -> None:
    """What is written is a manifest of lhotse's."""
    lhotse = pytest.importorskip("lhotse")
    manifests = tmp_path / "manifests"
    items = [
        {"id": u, "recording_id": u, "start": 0.0, "duration": n / 100, "channel": 0, "text": "x",
         "alignment": {"phone": [["old", 0.0, 0.1, None]]}}
        for u, n in FRAMES.items()
    ]  # fmt: skip
    write_manifest(manifests / "supervisions.jsonl.gz", items)
    write_manifest(manifests / "recordings.jsonl.gz", items)
    write_ctm(tmp_path / "mine.ctm", TIMES)
    out = make(tmp_path / "mine.ctm", data, manifests=manifests)
    supervisions = lhotse.load_manifest(out / "supervisions.jsonl.gz")
    assert [(i.symbol, i.start, i.duration) for i in supervisions["u2"].alignment["phone"]] == TIMES["u2"]
    assert [item["alignment"] for _, item in read_items(out / "supervisions.jsonl.gz")][2] == {}


def test_manifests_keep_their_raw_ids(data: Path, tmp_path: Path) -> None:
    names = {"u1": "turn_1", "u2": "turn_2", "u3": "turn_3"}
    tables.write_table(data / "utt2raw", names)
    items = [{"id": name, "recording_id": name, "start": 0.0} for name in [*names.values(), "left_out"]]
    write_manifest(tmp_path / "manifests" / "supervisions.jsonl.gz", items)
    write_manifest(tmp_path / "manifests" / "recordings.jsonl.gz", items)
    write_ctm(tmp_path / "mine.ctm", {"u1": TIMES["u1"], "turn_2": TIMES["u2"]})
    out = make(tmp_path / "mine.ctm", data, manifests=tmp_path / "manifests")
    written = {item["id"]: item["alignment"] for _, item in read_items(out / "supervisions.jsonl.gz")}
    assert written == {
        "turn_1": {"phone": [[*row, None] for row in TIMES["u1"]]},
        "turn_2": {"phone": [[*row, None] for row in TIMES["u2"]]},
        "turn_3": {},
    }


def test_manifests_of_segments_get_the_times_of_the_recording(data: Path, tmp_path: Path) -> None:
    items = [
        {"id": u, "recording_id": "r", "start": 1.3, "duration": n / 100, "channel": 0}
        for u, n in FRAMES.items()
    ]
    write_manifest(tmp_path / "manifests" / "supervisions.jsonl.gz", items)
    write_manifest(tmp_path / "manifests" / "recordings.jsonl.gz", [{"id": "r"}])
    write_ctm(tmp_path / "mine.ctm", TIMES)
    out = make(tmp_path / "mine.ctm", data, manifests=tmp_path / "manifests")
    phones = {
        item["id"]: item["alignment"].get("phone") for _, item in read_items(out / "supervisions.jsonl.gz")
    }
    assert phones["u2"] == [
        [symbol, round(1.3 + start, 6), length, None] for symbol, start, length in TIMES["u2"]
    ]


def test_faults_of_all_utterances_are_told_at_once(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.ctm"
    write_ctm(
        path, {"u1": [("a", 0.0, 0.4)], "u2": [("s", 0.0, 0.3), ("e", 0.2, 0.2)], "u3": [("a", 0.0, 0.25)]}
    )
    with pytest.raises(DataError) as error:
        make(path, data)
    assert str(error.value).splitlines() == [
        f"{path}: u1: phones: the alignment ends with frame 39, the features with frame 30; "
        "max_longer_frames is 3: is it of this recording? Otherwise raise max_longer_frames "
        "(conf/alignment.yaml)",
        f"{path}: u2: phones: e at 0.2 s begins before the one ahead of it ends (0.3 s); a frame can "
        "belong to one segment only, correct the times",
    ]
    write_ctm(path, {"u1": [("AH0", 0.0, 0.3)]})
    with pytest.raises(
        DataError, match=r"mine\.ctm: phones that the phone set tiny does not have: AH0 \(1\)"
    ):
        make(path, data)
    write_ctm(path, {"u7": [("a", 0.0, 0.3)]})
    with pytest.raises(
        DataError, match=r"mine\.ctm: has no phone of any utterance of .*; are its ids the same\?"
    ):
        make(path, data)
    with pytest.raises(UsageError, match=r"--alignment .*nothing: is no alignment: no CTM file"):
        make(tmp_path / "nothing", data)
    assert not (tmp_path / "aligned" / "made.json").exists()


def test_what_is_up_to_date_is_left_alone(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.ctm"
    write_ctm(path, TIMES)
    out = make(path, data)
    stamp = (out / "phone.frames").stat().st_mtime_ns
    make(path, data)
    assert (out / "phone.frames").stat().st_mtime_ns == stamp
    (out / files.MADE).unlink()  # killed before its end
    (out / "phone.frames").write_text("half a")
    make(path, data)
    assert read_alignment(out, data).phones["u1"][0] == Span("sil", 0, 9)
    write_ctm(path, {**TIMES, "u3": [("a", 0.0, 0.25)]})
    make(path, data)
    assert read_alignment(out, data).not_aligned == {}


def test_alignment_of_other_features_is_refused(data: Path) -> None:
    out = make(data, data)
    (data / "fbank" / "utt2num_frames").write_text("u1 28\nu2 40\nu3 25\n")
    with pytest.raises(DataError) as error:
        read_alignment(out, data)
    assert str(error.value) == (
        f"{out}/phone.frames:3: u1 ends with frame 30, its features with 28; run steps/make_alignment.sh "
        "again"
    )


def test_the_verb(data: Path, tmp_path: Path, run_verb: object, repo: Path) -> None:
    (tmp_path / "phones.yaml").write_text(json.dumps(asdict(PHONES)))
    conf = repo / "conf" / "alignment.yaml"
    line = (
        "make_alignment",
        data,
        data,
        tmp_path / "out",
        "--config",
        conf,
        "--phones",
        tmp_path / "phones.yaml",
    )
    done = run_verb(*line)  # type: ignore[operator]
    assert done.returncode == 0, done.stderr
    assert "2 utterances aligned, 1 not (u3; see not_aligned)" in done.stderr
    assert (tmp_path / "out" / "not_aligned").read_text() == "u3 no phones in all\n"
    done = run_verb(*line, "--tier", "tone=x")  # type: ignore[operator]
    assert done.returncode == 2
    assert "tone=x: expected one of phone, word, syllable, =NAME behind it" in done.stderr
    assert len(read_ctm(data / "phone.ctm")) == 2


def test_settings_are_the_recipes_or_the_shared_ones(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phone set stands in the recipe's conf/, how times are read in the shared one."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "phones.yaml").write_text(json.dumps(asdict(PHONES)))
    monkeypatch.chdir(tmp_path)
    assert verb.main([str(data), str(data), "out"]) == 0
    assert read_alignment(tmp_path / "out", data).phones["u2"] == [Span("s", 0, 20), Span("e", 20, 20)]


def test_an_alignment_that_does_not_keep_its_features(data: Path) -> None:
    out = make(data, data)
    (out / "feats.yaml").unlink()
    with pytest.raises(DataError) as error:
        read_alignment(out, data)
    assert str(error.value) == f"{out}/feats.yaml: no such file; run steps/make_alignment.sh again"
