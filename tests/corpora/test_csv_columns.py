"""Columns that have a meaning, that look as if they had one, and tables as spreadsheets write them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ser.corpora.csv_columns import read_columns
from ser.corpora.csv_table import prepare_csv
from ser.data.corpus import CorpusConfig, load_corpus
from ser.data.split import fixed_split
from ser.errors import DataError
from tests.corpora.wavs import write_wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 10):
        write_wav(tmp_path / f"{number}.wav", number)
    return tmp_path


@pytest.fixture
def config(repo: Path) -> CorpusConfig:
    return load_corpus(repo / "egs" / "csv" / "conf" / "corpus.yaml")


def customs(folder: Path, text: str | bytes, config: CorpusConfig) -> list[dict[str, str]]:
    """``custom`` of each line, in the order of the ids."""
    table = folder / "t.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [dict(item.custom) for item in prepare_csv(table, config=config)["supervisions"]]


def refusal(folder: Path, text: str, config: CorpusConfig) -> list[str]:
    with pytest.raises(DataError) as error:
        customs(folder, text, config)
    return str(error.value).replace(f"{folder}/t.csv", "T").replace(f"{folder}/", "").splitlines()


# ------------------------------------------------------------------------------------------------ meanings


START, END = (f"rename it to {name} if that is what it holds (in seconds); " for name in ("start", "end"))
FOLD = "rename it to fold if that is what it holds; "
PART = "two of start, end and duration (in seconds) say which part of a recording is meant; "
CHANNEL = "audio.channel of corpus.yaml says which one is read, of all recordings; "
STARTS = (
    "from", "from_s", "time_start", "segment_begin", "timestamp", "stime", "frame_start", "sample_start",
    "start_sample", "Start (s)",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("channel", CHANNEL),
        ("Sampling Rate", "the rate is read from each recording; "),
        ("lang", "keep of corpus.yaml can choose by it; "),
        ("onset", "rename it to start if that is what it holds (in seconds); "),
        (
            "offset",
            "rename it to start if the utterance starts there, or to end if it ends there (in seconds); ",
        ),
        *((name, START) for name in STARTS),
        *((name, END) for name in ("to", "to (s)", "Stop time", "segment_end", "etime", "stop_sample")),
        *((name, CHANNEL) for name in ("channel_id", "audio_channel", "chn")),
        *((name, FOLD) for name in ("usage", "cv", "fold_nr", "set")),
        ("segment", PART),
        ("n_samples", PART),
        ("partition_", "rename it to fold if that is what it holds; "),
        ("starts", "rename it to start if that is what it holds (in seconds); "),
        ("transcript", "rename it to text if that is what it holds; "),
        ("file", "the table has path; "),
        ("Speaker ID", "the table has speaker; "),
        ("spk", "the table has speaker; "),
        ("emotions", "the table has emotion; "),
        ("label", "the table has emotion; "),
    ],
)
def test_a_column_that_looks_like_a_setting_is_named(
    folder: Path, config: CorpusConfig, caplog: pytest.LogCaptureFixture, name: str, line: str
) -> None:
    text = f"path,speaker,emotion,{name},age\n1.wav,a,sad,x,30\n2.wav,a,happy,y,30\n"
    low = name.lower()
    assert customs(folder, text, config)[0] == {"emotion": "sad", low: "x", "age": "30"}
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [
        f"{folder}/t.csv: column '{low}' is not used: {line}if it is not meant, rename it to _{low}"
    ]


@pytest.mark.parametrize("start", ["onset", "begin", "Start time"])
def test_offset_is_the_end_beside_a_start(start: str) -> None:
    names = ["path", "speaker", "emotion", start, "offset"]
    assert read_columns(names, "T:1").unused(()) == [
        f"column {name!r} is not used: {line}if it is not meant, rename it to _{name}"
        for name, line in ((start.lower(), START), ("offset", END))
    ]
    known = read_columns(["path", "speaker", "emotion", "start", "offset"], "T:1").unused(())
    assert known == [f"column 'offset' is not used: {END}if it is not meant, rename it to _offset"]


def test_columns_of_other_names_are_left_alone() -> None:
    names = ["path", "speaker", "emotion", "age", "valence", "native_language", "session", "style", "vendor"]
    assert read_columns(names, "T:1").unused(()) == []


def test_columns_that_are_not_used_stand_before_the_faults(folder: Path, config: CorpusConfig) -> None:
    turns = "".join(f"1.wav,a,sad,{n},{n + 1}\n" for n in range(14))
    start, end = (
        f"rename it to {name} if that is what it holds (in seconds); if it is not meant, rename it to"
        for name in ("start", "end")
    )
    assert refusal(folder, f"path,speaker,emotion,onset,stop\n{turns}", config) == [
        f"T: column 'onset' is not used: {start} _onset",
        f"T: column 'stop' is not used: {end} _stop",
        "T:3: is the recording of line 2 again; keep one of them, or correct the other, or give start and "
        "end if they are parts of it (13 lines: 3, 4, 5, ...)",
    ]


def test_what_is_chosen_by_or_left_out_is_not_named(
    folder: Path, repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_corpus(repo / "egs" / "csv" / "conf" / "corpus.yaml", ["keep.lang=[de]"])
    caplog.set_level(logging.INFO)
    text = "path,speaker,emotion,lang,_channel,session,age\n1.wav,a,sad,de,1,1,30\n2.wav,a,happy,de,0,1,30\n"
    assert customs(folder, text, config)[1] == {"emotion": "happy", "lang": "de", "session": "1", "age": "30"}
    assert caplog.messages == [
        f"{folder}/t.csv: 2 lines; columns: path, speaker, emotion; attributes lang, session, age"
    ]


# ------------------------------------------------------------------------------------------------ the split

SPLIT = "path,speaker,emotion,{}\n1.wav,a,sad,Training\n2.wav,b,happy,VAL\n3.wav,c,sad,Eval\n"


@pytest.mark.parametrize("name", ["fold", "Split", "subset", "partition", "set", "Usage"])
def test_a_split_is_a_fold_of_the_subsets_names(
    folder: Path, config: CorpusConfig, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    made = customs(folder, SPLIT.format(name), config)
    assert [custom["fold"] for custom in made] == ["train", "dev", "test"]
    assert all(set(custom) == {"emotion", "fold"} for custom in made)
    assert (
        f"{folder}/t.csv: the column {name.lower()} holds a fixed split, which the protocol loso does not "
        "use; --protocol folds does"
    ) in caplog.messages


def test_a_column_split_of_other_values_stays_an_attribute(
    folder: Path, config: CorpusConfig, caplog: pytest.LogCaptureFixture
) -> None:
    text = "path,speaker,emotion,split\n1.wav,a,sad,x 1\n2.wav,b,happy,\n"
    assert customs(folder, text, config) == [{"emotion": "sad", "split": "x 1"}, {"emotion": "happy"}]
    assert any("column 'split' is not used: rename it to fold if" in line for line in caplog.messages)


def test_mixed_and_missing_folds_are_refused(folder: Path, config: CorpusConfig) -> None:
    rows = [f"{n}.wav,a,sad,{fold}\n" for n, fold in enumerate(["train", "1", "2", "", "test"], 1)]
    assert refusal(folder, "path,speaker,emotion,fold\n" + "".join(rows), config) == [
        "T:3: fold is 1 here, and train in line 2; name all of them train, dev and test, or none",
        "T:4: fold is 2 here, and train in line 2; name all of them train, dev and test, or none",
        "T:5: has no fold, line 2 has one; give every line one",
    ]
    assert refusal(folder, "path,speaker,emotion,fold\n1.wav,a,sad,f 1\n", config) == [
        "T:2: fold: the id 'f 1' has characters other than letters, digits and _.@%+=:,-; rename it where "
        "the corpus is prepared"
    ]
    with pytest.raises(
        DataError, match="^T:1: has the columns split and subset; rename the one that divides "
    ):
        read_columns(["path", "speaker", "emotion", "split", "subset"], "T:1")


@pytest.mark.parametrize("name", ["fold", "split", "set"])
def test_names_that_begin_with_train_are_folds_that_are_not_tested_on_in_turn(
    folder: Path, config: CorpusConfig, name: str
) -> None:
    rows = "1.wav,a,sad,Train-clean\n2.wav,b,sad,dev-clean\n3.wav,c,sad,test-clean\n"
    folds = [custom["fold"] for custom in customs(folder, f"path,speaker,emotion,{name}\n{rows}", config)]
    assert folds == ["Train-clean", "dev-clean", "test-clean"]
    with pytest.raises(DataError, match="Train-clean would be tested on, by its name it is to train on; "):
        fixed_split(folds, "utt2fold")


def test_a_speaker_for_each_line_is_told(
    folder: Path, config: CorpusConfig, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "".join(f"{n}.wav,s{n},sad\n" for n in range(1, 6))
    customs(folder, f"path,speaker,emotion\n{rows}", config)
    assert caplog.messages[-1] == (
        f"{folder}/t.csv: 5 speakers for 5 lines; if it is not known who speaks, give every line the same "
        "speaker and take a protocol with group: utterance (of egs/csv: --protocol kfold_utterances)"
    )


# ------------------------------------------------------------------------------------------------- grouping


def test_faults_of_a_kind_are_one_line(folder: Path, config: CorpusConfig) -> None:
    names = iter(range(1000, 2000))
    rows = [
        *(f"{next(names)}.wav,a,hapy" for _ in range(48)),
        *(f"my file {'abcdefg'[n]}.wav,a,sad" for n in range(7)),
        *("1.wav,a" for _ in range(5)),
        *(f"{n}.wav,,sad" for n in range(1, 5)),
    ]
    known = "(did you mean happy?); map it to a class there, or name the labels to take with keep.emotion"
    assert refusal(folder, "path,speaker,emotion\n" + "\n".join(rows), config) == [
        f"T:2: emotion hapy is none of labels in {config.source} {known} (48 lines: 2, 3, 4, ...)",
        "T:2: 1000.wav: no such file; correct the path, or remove the line (55 lines: 2, 3, 4, ...)",
        "T:57: has 2 columns, the first line has 3; correct the line, quoting what holds a ',' (5 lines: 57, "
        "58, 59, ...)",
        "T:62: speaker: is empty; fill it in, or remove the line (4 lines: 62, 63, 64, ...)",
    ]


def test_many_unknown_labels_are_one_line(folder: Path, config: CorpusConfig) -> None:
    names = ["sadd", *(f"lab{n}" for n in range(1, 9))]
    rows = "".join(f"{n}.wav,a,{name}\n" for n, name in enumerate(names, 1))
    assert refusal(folder, f"path,speaker,emotion\n{rows}", config) == [
        f"T:2: emotion: has 9 values that labels in {config.source} lacks (sadd (sad?), lab1, lab2, ...); "
        "map them to classes there, or name the labels to take with keep.emotion (9 lines: 2, 3, 4, ...)"
    ]


def test_labels_of_another_case_are_one_line(folder: Path, config: CorpusConfig) -> None:
    names = ["NEUTRAL", "ANGRY", "Sad"] * 3
    rows = "".join(f"{n}.wav,a,{name}\n" for n, name in enumerate(names, 1))
    assert refusal(folder, f"path,speaker,emotion\n{rows}", config) == [
        f"T:2: emotion: write the labels as in {config.source}: neutral for NEUTRAL, angry for ANGRY, sad "
        "for Sad; or map them there (9 lines: 2, 3, 4, ...)"
    ]


# ---------------------------------------------------------------------------------------------------- Excel

PLAIN = "path;speaker;emotion\n1.wav;a;sad\n2.wav;b;happy\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"path;speaker;emotion;;\r\n1.wav;a;sad;;\r\n2.wav;b;happy;;\r\n",
        b"path;speaker;emotion;;\r\n1.wav;a;sad;;\r\n2.wav;b;happy\r\n",  # Excel leaves them out at times
        b"sep=;\r\npath;speaker;emotion\r\n1.wav;a;sad\r\n2.wav;b;happy\r\n",
        b'"sep=;"\r\npath;speaker;emotion\r\n1.wav;a;sad\r\n2.wav;b;happy\r\n',
        b"sep=|\npath|speaker|emotion\n1.wav|a|sad\n2.wav|b|happy\n",
        PLAIN.encode() + b";;\r\n" * 5000,
        PLAIN.encode() + b"\n" * 5000,
        PLAIN.replace("\n", "\r").encode(),  # an old Macintosh's
        PLAIN.replace(";", "\t").encode("utf-16"),  # "Unicode text"
        b"\xfe\xff" + PLAIN.replace("\n", "\r\n").encode("utf-16-be"),
        b"path,,speaker,emotion\n1.wav,,a,sad\n2.wav,,b,happy\n",
    ],
)
def test_what_excel_saves_is_read(folder: Path, config: CorpusConfig, raw: bytes) -> None:
    (folder / "t.csv").write_bytes(raw)
    made = prepare_csv(folder / "t.csv", config=config)["supervisions"]
    assert [(item.id, item.speaker, item.custom) for item in made] == [
        ("a_1", "a", {"emotion": "sad"}), ("b_2", "b", {"emotion": "happy"}),
    ]  # fmt: skip


def test_lines_below_a_separator_keep_their_numbers(folder: Path, config: CorpusConfig) -> None:
    assert refusal(folder, "sep=;\npath;speaker;emotion;;\n1.wav;a;sad;x;\n2.wav;a;hapy\n", config)[0] == (
        "T:3: has 4 columns, the first line has 3; correct the line, quoting what holds a ';'"
    )
    assert refusal(folder, "sep=;\nspeaker;emotion\n", config)[0].startswith("T:2: has no column path;")
    assert refusal(folder, "path,,speaker,emotion\n1.wav,x,a,sad\n", config) == [
        "T:2: column 2 holds 'x', and has no name; name it in the first line, or empty it"
    ]


def test_utf_16_without_a_mark_says_what_to_do(folder: Path, config: CorpusConfig) -> None:
    (folder / "t.csv").write_bytes(PLAIN.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"t.csv:1: holds the control character '\\x00'; save it as UTF-8$"):
        prepare_csv(folder / "t.csv", config=config)
