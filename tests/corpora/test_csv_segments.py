"""Parts of recordings, as a table's start, end and duration say them."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path
from typing import Any

import pytest

from ser.corpora.csv_table import prepare_csv
from ser.data.corpus import CorpusConfig, load_corpus
from ser.errors import DataError

RATE_HZ = 16000


@pytest.fixture
def config(repo: Path) -> CorpusConfig:
    return load_corpus(repo / "egs" / "csv" / "conf" / "corpus.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """c.wav of 5.7 s, and d/e.wav of 2 s."""
    (tmp_path / "d").mkdir()
    for name, seconds in (("c.wav", 5.7), ("d/e.wav", 2.0)):
        with wave.open(str(tmp_path / name), "wb") as stream:
            stream.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            stream.writeframes(bytes(2 * round(seconds * RATE_HZ)))
    return tmp_path


def prepare(folder: Path, text: str, config: CorpusConfig) -> dict[str, list[dict[str, Any]]]:
    table = folder / "t.csv"
    table.write_text(text)
    return {
        name: [item.to_dict() for item in manifest]
        for name, manifest in prepare_csv(table, config=config).items()
    }


def refusal(folder: Path, text: str, config: CorpusConfig) -> list[str]:
    with pytest.raises(DataError) as error:
        prepare(folder, text, config)
    return str(error.value).replace(f"{folder}/t.csv", "T").replace(f"{folder}/", "").splitlines()


def times(made: dict[str, list[dict[str, Any]]]) -> list[tuple[object, ...]]:
    keys = ("id", "recording_id", "start", "duration", "speaker")
    return [(*(item[key] for key in keys), item["custom"]["emotion"]) for item in made["supervisions"]]


PARTS = [
    ("A_c-0000000-0001900", "c", 0.0, 1.9, "A", "happy"),
    ("B_c-0001900-0005700", "c", 1.9, 3.8, "B", "sad"),
]


@pytest.mark.parametrize(
    "text",
    [
        "path,speaker,emotion,start,end\nc.wav,A,happy,0,1.9\nc.wav,B,sad,1.9,5.7\n",
        "path,speaker,emotion,start,duration\nc.wav,A,happy,0,1.9\nc.wav,B,sad,1.9,3.8\n",
        "path,speaker,emotion,end,duration\nc.wav,A,happy,1.9,1.9\nc.wav,B,sad,5.7,3.8\n",
        "path,speaker,emotion,start,end,duration\nc.wav,A,happy,0,1.9,\nc.wav,B,sad,1.9,5.7,3.8\n",
        "path,speaker,emotion,start,end\nc.wav,A,happy,0,1.9\nc.wav,B,sad,1.9,5.709\n",  # rounded upwards
    ],
)
def test_two_of_start_end_and_duration_are_a_part(folder: Path, config: CorpusConfig, text: str) -> None:
    made = prepare(folder, text, config)
    rows = [(*row[:3], pytest.approx(row[3], abs=1e-9), *row[4:]) for row in PARTS]
    if "5.709" in text:
        rows[1] = ("B_c-0001900-0005709", *rows[1][1:])
    assert times(made) == rows
    (recording,) = made["recordings"]
    assert (recording["id"], recording["num_samples"]) == ("c", 91200)
    assert recording["sources"][0]["source"] == str(folder / "c.wav")


def test_without_times_it_is_all_of_the_recording(folder: Path, config: CorpusConfig) -> None:
    """Beside others that are parts; a duration alone is what the file has."""
    text = "path,speaker,emotion,start,end,duration\nc.wav,A,happy,0,1.9,\nd/e.wav,B,sad,,,2\n"
    made = prepare(folder, text, config)
    assert times(made)[1] == ("B_d-e", "B_d-e", 0.0, 2.0, "B", "sad")
    assert [item["id"] for item in made["recordings"]] == ["B_d-e", "c"]
    text = "path,speaker,emotion,duration\nc.wav,A,happy,5.7\nd/e.wav,B,sad,2.05\n"
    assert [row[2:4] for row in times(prepare(folder, text, config))] == [(0.0, 5.7), (0.0, 2.0)]


def test_all_of_a_recording_beside_a_part_of_it(folder: Path, config: CorpusConfig) -> None:
    text = "path,speaker,emotion,start,end\nc.wav,A,happy,,\nc.wav,A,happy,1,2\n"
    assert [row[:4] for row in times(prepare(folder, text, config))] == [
        ("A_c", "c", 0.0, 5.7), ("A_c-0001000-0002000", "c", 1.0, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "end", "duration", "message"),
    [
        ("0", "6", "", "ends at 6 s, c.wav has 5.7 s; correct the times"),
        ("0", "5.72", "", "ends at 5.72 s, c.wav has 5.7 s; correct the times"),
        ("6", "", "1", "ends at 7 s, c.wav has 5.7 s; correct the times"),
        ("0", "1900", "", "ends at 1900 s, c.wav has 5.7 s; write seconds, not milliseconds"),
        ("2", "1", "", "runs from 2 to 1 s; correct the times"),
        ("1", "1", "", "runs from 1 to 1 s; correct the times"),
        ("", "1", "2", "runs from -1 to 1 s; correct the times"),
        (
            "1",
            "2",
            "1.5",
            "start 1 and duration 1.5 make 2.5 s, and end is 2; correct one of them, or leave one empty",
        ),
        (
            "1",
            "",
            "",
            "has start alone; give two of start, end and duration, or none for all of the recording",
        ),
        (
            "",
            "1",
            "",
            "has end alone; give two of start, end and duration, or none for all of the recording",
        ),
        (
            "",
            "",
            "1.9",
            "duration is 1.9 s, c.wav has 5.7 s; give the start too if it is a part, or correct it",
        ),
        ("0:00:01", "2", "", "start is a number of seconds, not '0:00:01'; write 1"),
        ("0", "1:02:03.5", "", "end is a number of seconds, not '1:02:03.5'; write 3723.5"),
        ("0", "00:02", "", "end is a number of seconds, not '00:02'; write 2"),
        ("0", '"1,9"', "", "end is a number of seconds, not '1,9'; write 1.9"),
        ("-1", "2", "", "start is a number of seconds, not '-1'; write a number such as 12.5"),
        ("0", "nan", "", "end is a number of seconds, not 'nan'; write a number such as 12.5"),
        ("0", "1_0", "", "end is a number of seconds, not '1_0'; write a number such as 12.5"),
    ],
)
def test_times_that_cannot_be_are_refused(
    folder: Path, config: CorpusConfig, start: str, end: str, duration: str, message: str
) -> None:
    text = (
        f"path,speaker,emotion,start,end,duration\nd/e.wav,B,sad,,,\nc.wav,A,happy,{start},{end},{duration}\n"
    )
    assert refusal(folder, text, config) == [f"T:3: {message}"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_read_where_they_divide_no_columns(
    folder: Path, config: CorpusConfig, delimiter: str
) -> None:
    text = "path;speaker;emotion;start;end\nc.wav;A;happy;0,95;1,9\n".replace(";", delimiter)
    (folder / "t.csv").write_text(text)
    (made,) = prepare_csv(folder / "t.csv", config=config)["supervisions"]
    assert (made.id, made.start, made.duration) == ("A_c-0000950-0001900", 0.95, 0.95)


def test_the_same_part_twice_and_parts_that_contradict(folder: Path, config: CorpusConfig) -> None:
    text = """\
path,speaker,emotion,start,end
c.wav,A,happy,0,1.9
c.wav,A,happy,0,1.9
c.wav,A,sad,1.5,3
c.wav,B,sad,2,4
c.wav,B,sad,4,5.7
c.wav,B,sad,5,5.5
c.wav,A,happy,5.4,5.7
d/e.wav,B,angry,0.5,1
d/e.wav,A,angry,,
"""
    assert refusal(folder, text, config) == [
        "T:3: is the part of a recording of line 2 again; keep one of them, or correct the other",
        "T:4: 1.5 to 3 s overlaps line 2, 0 to 1.9 s, whose emotion is happy, not sad; correct the times, or "
        "one of the two",
        "T:5: 2 to 4 s overlaps line 4, 1.5 to 3 s, whose speaker is A, not B; correct the times, or one "
        "of the two",
        "T:10: all of the recording overlaps line 9, 0.5 to 1 s, whose speaker is B, not A; correct the "
        "times, or one of the two",
    ]


def test_a_copy_under_another_name_is_the_same_audio(folder: Path, config: CorpusConfig) -> None:
    shutil.copy(folder / "c.wav", folder / "f.wav")
    head = "path,speaker,emotion,start,end\nc.wav,A,happy,0,1.9\n"
    assert refusal(folder, f"{head}f.wav,A,sad,1,3\n", config) == [
        "T:3: f.wav is the same audio as line 2, whose emotion is happy, not sad; correct one of them, or "
        "remove it"
    ]
    assert len(times(prepare(folder, f"{head}f.wav,A,sad,2,3\n", config))) == 2


def test_two_recordings_of_one_id_are_refused(folder: Path, config: CorpusConfig) -> None:
    shutil.copy(folder / "d" / "e.wav", folder / "c.wave")
    text = "path,speaker,emotion,start,end\nc.wav,A,happy,0,1\nc.wave,A,happy,1,2\n"
    with pytest.raises(DataError) as error:
        prepare(folder, text, config)
    assert str(error.value) == (
        f"{folder}/t.csv: {folder}/c.wave and {folder}/c.wav would both have the id c; rename one of them"
    )
