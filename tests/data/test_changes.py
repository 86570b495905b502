"""A corpus that has changed since its data folder was made: said in words, and redone where that is safe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from ser.data import files, tables
from ser.data.changes import read_tables, table_changes
from ser.data.corpus_tables import make_data_dir
from ser.errors import StaleError
from tests.data.test_datadir import CONFIG, items, replaced, write

Items = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture
def corpus(tmp_path: Path) -> Items:
    """Recordings and supervisions, to be changed."""
    return items(tmp_path)


@pytest.fixture
def data(corpus: Items, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """A finished ``all`` with finished features and folds beside it."""
    out = tmp_path / "data" / "all"
    make_data_dir(write(tmp_path / "manifests", *corpus), out, CONFIG)
    for folder in (out / "fbank", tmp_path / "data" / "folds", tmp_path / "data" / "folds_session"):
        folder.mkdir()
        files.write_made(folder, {}, {}, [])
    (out / "feats.scp").write_text("a-1 x.ark:5\na-2 x.ark:50\nb-1 x.ark:90\n")
    caplog.clear()
    return out


def again(corpus: Items, out: Path) -> None:
    make_data_dir(write(out.parents[1] / "manifests", *corpus), out, CONFIG)


def supervision(corpus: Items, name: str) -> dict[str, Any]:
    return next(item for item in corpus[1] if item["id"] == name)


def without(corpus: Items, *names: str) -> Items:
    one, two = ([item for item in part if item["id"] not in names] for part in corpus)
    return one, two


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_changes_in_words() -> None:
    spk = {name: name[0] for name in ("a1", "a2", "b1", "b2", "c1")}
    old = {
        "utt2spk": spk,
        "utt2emo": dict.fromkeys(spk, "ang"),
        "text": {"a1": "x", "b1": "y"},
        "spk2utt": {},
    }
    old["utt2style"] = dict.fromkeys(spk, "s")
    new_spk = {"a1": "a", "a2": "z", "b1": "b", "b2": "b", "d1": "d"}
    new = {"utt2spk": new_spk, "utt2emo": dict.fromkeys(new_spk, "sad"), "text": {"a1": "z", "a2": "v"}}
    assert table_changes(old, new) == [
        "1 utterance fewer: c1",
        "1 utterance more: d1",
        "1 transcript changed: a1",
        "1 transcript fewer: b1",
        "1 transcript more: a2",
        "4 labels changed: a1, a2, b1, ...",
        "1 speaker changed: a2",
        "the table spk2utt is gone",
        "the table utt2style is gone",
    ]
    assert table_changes(old, old) == []


def test_a_changed_phone_discards_nothing(
    corpus: Items, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the CTM is replaced; files that do not differ are not even touched."""
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    supervision(corpus, "b-1")["alignment"]["phone"][0][0] = "b"
    again(corpus, data)
    assert told(caplog) == [f"{data}: the corpus has changed: 1 phone alignment changed: b-1"]
    assert (data / "phone.ctm").read_text().endswith("b-1 1 0.0 0.25 SIL\nb-1 1 0.25 0.5 b\n")
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"phone.ctm", "made.json"}
    caplog.clear()
    again(corpus, data)
    assert told(caplog) == []
    assert files.lost_outputs(data) == []


def test_changed_labels_leave_the_features(
    corpus: Items, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervision(corpus, "a-2")["custom"]["emotion"] = "A"
    supervision(corpus, "a-1")["custom"]["emotion"] = "S"
    for item in corpus[1]:
        item["text"] = ""
    again(corpus, data)
    assert told(caplog) == [
        f"{data}: the corpus has changed: 2 labels changed: a-1, a-2; the table text is gone"
    ]
    assert tables.read_table(data / "utt2emo") == {"a-1": "sad", "a-2": "ang", "b-1": "ang"}
    assert not (data / "text").exists()
    assert (data / "feats.scp").exists()
    assert (data / "fbank" / "made.json").exists()


def test_utterances_that_features_know_are_refused_in_words(corpus: Items, data: Path) -> None:
    before = read_tables(data, ["utt2spk", "wav.scp"])
    folds = f"{data.parent}/folds {data.parent}/folds_session"
    supervision(corpus, "b-2")["custom"]["emotion"] = "S"  # had no class
    with pytest.raises(StaleError) as error:
        again(without(corpus, "a-1"), data)
    assert str(error.value) == (
        f"{data}: was made differently: 1 utterance fewer: a-1; 1 utterance more: b-2; choose another "
        f"folder, or remove them: rm -r {data} {folds}"
    )
    assert read_tables(data, ["utt2spk", "wav.scp"]) == before


def test_utterances_that_nothing_depends_on_yet_are_redone(
    corpus: Items, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after stage 1 has refused a recording, whose line was then taken out of the corpus."""
    (data / "fbank" / "made.json").unlink()
    again(without(corpus, "a-1"), data)
    assert told(caplog) == [f"{data}: the corpus has changed: 1 utterance fewer: a-1"]
    assert tables.read_table(data / "utt2spk") == {"a-2": "a", "b-1": "b"}
    assert tables.read_table(data / "spk2utt") == {"a": "a-2", "b": "b-1"}
    assert files.lost_outputs(data) == []


def test_a_corrected_table_is_not_replaced(corpus: Items, data: Path) -> None:
    (data / "utt2emo").write_text("a-1 sad\na-2 sad\nb-1 ang\n")
    supervision(corpus, "b-1")["alignment"]["phone"][0][0] = "b"
    with pytest.raises(StaleError) as error:
        again(corpus, data)
    assert str(error.value) == (
        f"{data}/utt2emo: was changed since it was made; put it back, or remove the file to "
        "have it made again"
    )
    supervision(corpus, "a-1")["custom"]["emotion"] = "S"  # now the corpus says the same
    again(corpus, data)
    assert tables.read_table(data / "utt2emo") == {"a-1": "sad", "a-2": "sad", "b-1": "ang"}
    assert files.lost_outputs(data) == []


def test_a_replacement_that_was_stopped_is_ended(
    corpus: Items, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervision(corpus, "a-1")["custom"]["emotion"] = "S"
    supervision(corpus, "b-1")["alignment"]["phone"][0][0] = "b"
    replace, calls = Path.replace, []

    def stop(path: Path, target: Path) -> Path:
        if target.parent == data:
            calls.append(target)
            if len(calls) == 2:
                raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        again(corpus, data)
    monkeypatch.undo()
    assert len(files.lost_outputs(data)) == 1  # one table is new, the record is not
    again(corpus, data)
    assert files.lost_outputs(data) == []
    assert tables.read_table(data / "utt2emo")["a-1"] == "sad"


def test_other_settings_are_refused(data: Path) -> None:
    with pytest.raises(StaleError) as error:
        make_data_dir(data.parents[1] / "manifests", data, replaced(CONFIG, keep={"style": ("scripted",)}))
    assert str(error.value) == (
        f"{data}: was made differently: keep.style: (not set) -> ['scripted']; choose another "
        f"folder, or remove them: rm -r {data} {data.parent}/folds {data.parent}/folds_session"
    )
