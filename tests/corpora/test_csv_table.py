from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

from ser import corpora
from ser.corpora.csv_table import prepare_csv
from ser.data import tables
from ser.data.corpus import CorpusConfig, load_corpus
from ser.data.validate import validate
from ser.errors import DataError
from tests.corpora.wavs import write_wav

TABLE = """\
path,speaker,emotion,text,gender,fold,style
wav/1.wav,anna,happy,"Well, hello.",f,1,read
wav/2.wav,anna,sad,,f,1,read

wav/3.wav,ben,angry,"two
lines",Male,2,free
wav/4.wav,ben,neutral,,m,2,free
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 5):
        write_wav(tmp_path / "own" / "wav" / f"{number}.wav", number)
    (tmp_path / "own" / "table.csv").write_text(TABLE)
    return tmp_path / "own"


@pytest.fixture
def config(repo: Path) -> CorpusConfig:
    return load_corpus(repo / "egs" / "csv" / "conf" / "corpus.yaml")


def supervisions(table: Path, config: CorpusConfig) -> dict[str, Any]:
    return {item.id: item for item in prepare_csv(table, config=config)["supervisions"]}


def test_a_table_is_read(folder: Path, config: CorpusConfig) -> None:
    found = supervisions(folder / "table.csv", config)
    assert list(found) == ["anna_wav-1", "anna_wav-2", "ben_wav-3", "ben_wav-4"]
    anna, ben = found["anna_wav-1"], found["ben_wav-3"]
    assert (anna.speaker, anna.gender, anna.text, anna.duration) == ("anna", "f", "Well, hello.", 0.05)
    assert anna.custom == {"emotion": "happy", "fold": "1", "style": "read"}
    assert (ben.gender, ben.text) == ("m", "two lines")
    assert found["anna_wav-2"].text is None
    recordings = {item.id: item for item in prepare_csv(folder, config=config)["recordings"]}
    assert recordings["ben_wav-4"].sources[0].source == str(folder / "wav" / "4.wav")


@pytest.mark.parametrize(
    ("delimiter", "name", "encoding"), [("\t", "t.tsv", "utf-8"), (";", "t.csv", "utf-8-sig")]
)
def test_tabs_semicolons_marks_and_carriage_returns(
    folder: Path, config: CorpusConfig, delimiter: str, name: str, encoding: str
) -> None:
    rows = [["Path", " Speaker ", "emotion"], ["wav/1.wav", "anna", "happy"], ["wav/2.wav", "ben", "sad"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (folder / name).write_bytes(text.encode(encoding))
    found = supervisions(folder / name, config)
    assert {(item.speaker, item.custom["emotion"]) for item in found.values()} == {
        ("anna", "happy"),
        ("ben", "sad"),
    }


def message(folder: Path, text: str, config: CorpusConfig) -> list[str]:
    """What is said of a table with this text, without the table's name."""
    table = folder / "table.csv"
    table.write_text(text)
    with pytest.raises(DataError) as error:
        prepare_csv(table, config=config)
    return str(error.value).replace(f"{table}", "T").replace(f"{folder}/", "").splitlines()


def test_missing_columns(folder: Path, config: CorpusConfig) -> None:
    said = message(folder, "file,speaker,label\nwav/1.wav,anna,happy\n", config)
    assert said == [
        "T:1: has no column path, emotion; the first line must name path, speaker and emotion, and may name "
        "text, gender, start, end, duration and fold (it names file, speaker, label); rename file to path; "
        "rename label to emotion"
    ]
    assert message(folder, "path,emotion\nwav/1.wav,happy\n", config)[0].endswith(
        "(it names path, emotion); where nobody knows who speaks, give every line the same speaker, and take "
        "--protocol kfold_utterances"
    )
    assert message(folder, "", config)[0].endswith("(it names nothing)")
    assert message(folder, "path,speaker,emotion,path\n", config) == [
        "T:1: names the column path twice; rename one of them"
    ]
    assert message(folder, "path,speaker,emotion\n", config) == [
        "T: lists no recording; give each a line below the first"
    ]


def test_all_faults_are_listed_with_their_lines(folder: Path, config: CorpusConfig) -> None:
    (folder / "wav" / "empty.wav").touch()
    (folder / "wav" / "noise.wav").write_text("no audio, but long enough to be some")
    shutil.copy(folder / "wav" / "1.wav", folder / "wav" / "copy.wav")
    shutil.copy(folder / "wav" / "2.wav", folder / "wav" / "again.wav")
    text = """\
path,speaker,emotion,text,gender,fold
wav/1.wav,anna,happy,,f,1
wav/gone.wav,anna,sad,,f,1
wav/2.wav,anna,hapy,"a
b",f,1
wav/2.wav,anna,joy,,f,1
wav/empty.wav,ben,sad,,m,2
wav/noise.wav,ben,sad,,m,2
wav/copy.wav,ben,happy,,m,2
wav/again.wav,anna,sad,,f,
wav/3.wav,ben,sad,,f,2
wav/4.wav,ben,sad
wav/4.wav,,sad,,,2
wav/4.wav,b n,sad,,,2
wav/4.wav,carl,sad,,x,2
"""
    known = ", ".join(config.labels)
    remedy = "map it to a class there, or name the labels to take with keep.emotion"
    assert message(folder, text, config) == [
        "T:3: wav/gone.wav: no such file; correct the path, or remove the line",
        f"T:4: emotion hapy is none of labels in {config.source} (did you mean happy?); {remedy}",
        f"T:6: emotion joy is none of labels in {config.source} (known are {known}); {remedy}",
        "T:6: is the recording of line 4 again; keep one of them, or correct the other, or give start and "
        "end if they are parts of it",
        "T:7: wav/empty.wav: is empty (0 bytes); correct the path, or remove the line",
        "T:8: wav/noise.wav: is no audio file, or is damaged; correct the path, or remove the line",
        "T:9: wav/copy.wav is the same audio as line 2, whose speaker is anna, not ben; "
        "correct one of them, or remove it",
        "T:10: has no fold, line 2 has one; give every line one",
        "T:10: wav/again.wav is the same audio as line 4, whose emotion is hapy, not sad; "
        "correct one of them, or remove it",
        "T:11: speaker ben is f here, and m in line 7; correct one of them",
        "T:12: has 3 columns, the first line has 6; correct the line, quoting what holds a ','",
        "T:13: speaker: is empty; fill it in, or remove the line",
        "T:14: speaker: the id 'b n' has characters other than letters, digits and _.@%+=:,-; "
        "rename it where the corpus is prepared",
        "T:15: gender is f, m, or empty, not 'x'; correct it",
    ]


def test_text_that_is_no_table(folder: Path, config: CorpusConfig) -> None:
    said = message(folder, 'path,speaker,emotion\nwav/1.wav,anna,happy\nwav/2.wav,"ben"x,sad\n', config)
    assert said == ["T:3: cannot be read from here on (',' expected after '\"'); correct the quotes"]
    (folder / "table.csv").write_bytes("path,speaker,emotion\nwav/1.wav,jörg,sad\n".encode("latin-1"))
    with pytest.raises(DataError, match="table.csv:2: is not UTF-8; save it as UTF-8"):
        prepare_csv(folder / "table.csv", config=config)


def test_which_table(folder: Path, config: CorpusConfig, tmp_path: Path) -> None:
    (folder / "other.tsv").touch()
    with pytest.raises(
        DataError, match="own: holds 2 CSV or TSV files: other.tsv, table.csv; name the table"
    ):
        prepare_csv(folder, config=config)
    with pytest.raises(DataError, match="none.csv: no such file; name the table of recordings, a CSV or TSV"):
        prepare_csv(tmp_path / "none.csv", config=config)


def test_labels_that_are_not_wanted_are_left_out(folder: Path, repo: Path) -> None:
    (folder / "table.csv").write_text(TABLE.replace("sad", "joyful"))
    settings = repo / "egs" / "csv" / "conf" / "corpus.yaml"
    config = load_corpus(settings, ["keep.emotion=[happy,angry,neutral]"])
    assert len(supervisions(folder / "table.csv", config)) == 4


def test_ids_are_safe_and_differ(folder: Path, config: CorpusConfig) -> None:
    names = ["ä.wav", "ö.wav", "a b.wav", "../wav/1.wav"]
    for number, name in enumerate(names[:3]):
        write_wav(folder / name, 10 + number)
    (folder / "sub").mkdir()
    table = folder / "sub" / "t.csv"
    rows = [f"../{name},anna,sad\n" for name in names[:3]] + ["../wav/1.wav,anna,sad\n"]
    table.write_text("path,speaker,emotion\n" + "".join(rows))
    ids = list(supervisions(table, config))
    assert len(set(ids)) == 4
    assert "anna_wav-1" in ids
    assert all(tables.check_key(name, "") for name in ids)


def test_made_again_only_when_something_changed(folder: Path, config: CorpusConfig, tmp_path: Path) -> None:
    def prepare() -> int:
        corpora.prepare("csv", folder / "table.csv", tmp_path / "out", config=config)
        return (tmp_path / "out" / "recordings.jsonl.gz").stat().st_mtime_ns

    first = prepare()
    assert prepare() == first
    write_wav(folder / "wav" / "1.wav", 99, rate_hz=8000)
    second = prepare()
    assert second != first
    (folder / "wav" / "1.wav").unlink()
    with pytest.raises(DataError, match="table.csv:2: .*wav/1.wav: no such file"):
        prepare()


@pytest.mark.slow
def test_the_script_makes_a_data_folder_with_folds(folder: Path, repo: Path, tmp_path: Path) -> None:
    data = tmp_path / "all"
    result = subprocess.run(
        ["local/prepare.sh", "--corpus-dir", str(folder), str(tmp_path / "manifests"), str(data)],
        cwd=repo / "egs" / "csv",
        env={**os.environ, "SER_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert tables.read_table(data / "utt2fold")["ben-ben_wav-3"] == "2"
    assert tables.read_table(data / "utt2style")["ben-ben_wav-3"] == "free"
    assert tables.read_table(data / "spk2gender") == {"anna": "f", "ben": "m"}
    assert tables.read_table(data / "text") == {
        "anna-anna_wav-1": "Well, hello.",
        "ben-ben_wav-3": "two lines",
    }
    assert validate(data, need=["wav.scp"]) == (4, 2)


@pytest.mark.slow
def test_the_recipe_refuses_the_same_audio_in_another_format(emodb: Path, repo: Path, tmp_path: Path) -> None:
    """Real recordings; one of them stands there again as a FLAC file of another speaker."""
    emotions = {"W": "anger", "F": "happiness", "N": "neutral", "T": "sadness"}
    wavs = [
        path for path in sorted((emodb / "wav").glob("*.wav")) if path.stem[:2] in ("03", "08", "09", "10")
    ]
    rows = [f"{path},{path.stem[:2]},{emotions[path.stem[5]]}\n" for path in wavs]
    samples, rate = soundfile.read(wavs[0])
    soundfile.write(tmp_path / "copy.flac", samples, rate)
    table = tmp_path / "table.csv"

    def run(*copies: str) -> subprocess.CompletedProcess[str]:
        table.write_text("path,speaker,emotion\n" + "".join([*rows, *copies]))
        where = [f"--{kind}-dir={tmp_path}/{kind}{len(copies)}" for kind in ("data", "exp")]
        return subprocess.run(
            [
                "./run.sh",
                "--corpus",
                "csv",
                "--corpus-dir",
                str(table),
                *where,
                "--stop-stage",
                "2",
                "--nj",
                "1",
            ],
            cwd=repo,
            env={**os.environ, "SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data0" / "folds" / "10-dev" / "train" / "feats.scp").exists()
    done = run(f"copy.flac,10,{emotions[wavs[0].stem[5]]}\n")
    assert done.returncode == 1
    first = tables.read_table(tmp_path / "data1" / "all" / "wav.scp")
    names = sorted(name for name in first if name.endswith(wavs[0].stem) or name == "10-10_copy")
    assert len(names) == 2
    assert f"{names[0]} and {names[1]} are the same audio, and would be in" in done.stderr
    assert "remove one of them" in done.stderr
    assert not (tmp_path / "data1" / "folds").exists()


@pytest.mark.slow
def test_the_recipe_never_tests_on_train(repo: Path, tmp_path: Path) -> None:
    """A column split of train, valid and eval through run.sh: its subsets are the rows that it names."""
    subsets = dict(zip("abcdef", ["train", "train", "Train", "valid", "eval", "eval"], strict=True))
    rows = []
    for speaker, subset in subsets.items():
        for number, label in enumerate(("angry", "happy", "neutral", "sad")):
            path = write_wav(tmp_path / f"{speaker}{number}.wav", ord(speaker) * 10 + number)
            rows.append(f"{path.name},{speaker},{label},{subset}\n")
    (tmp_path / "t.csv").write_text("path,speaker,emotion,split\n" + "".join(rows))

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        where = [f"--{kind}-dir={tmp_path / kind}" for kind in ("data", "exp")]
        return subprocess.run(
            ["./run.sh", "--corpus=csv", f"--corpus-dir={tmp_path}/t.csv", *where, "--nj=1", *options],
            cwd=repo,
            env={**os.environ, "SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("--protocol=folds", "--stop-stage=2")
    assert done.returncode == 0, done.stderr
    assert (
        "protocol folds: 1 fold; 3 trainings (1 blstmatt, 1 csa_30, 1 majority), 5 decodings" in done.stderr
    )
    split = tmp_path / "data" / "folds_folds" / "split"
    speakers = {name: set(tables.read_table(split / name / "utt2spk").values()) for name in os.listdir(split)}
    assert speakers == {"train": {"a", "b", "c"}, "dev": {"d"}, "test": {"e", "f"}}
    lines = (tmp_path / "exp" / "tasks" / "train.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [[f"{split}/train", f"{split}/dev"]] * 3
    done = run("--protocol=kfold", "--stop-stage=0", "--set=corpus:protocols.kfold.test.folds=7")
    assert done.returncode == 1
    assert (
        "has 6 speakers, too few for 7 folds; --set corpus:protocols.kfold.test.folds=6 makes" in done.stderr
    )
