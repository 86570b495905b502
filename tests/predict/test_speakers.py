"""Who speaks: tables, files, folders, everybody; what is refused and warned of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ser.data.segments import RecordingSegment
from ser.errors import DataError, UsageError
from ser.predict.sources import Source
from ser.predict.speakers import SpeakerOf, read_speakers, with_speakers

FILES = ("x/a.wav", "x/b.wav", "y/a.wav", "y/c.flac")
SOURCES = [Source(name, RecordingSegment(Path(name))) for name in FILES]


def speakers(table: Path | None = None, speaker_of: SpeakerOf | None = None) -> list[str]:
    return [source.speaker for source in with_speakers(SOURCES, table, speaker_of, "exp/m")]


def refusal(table: Path) -> str:
    with pytest.raises(DataError) as error:
        speakers(table)
    return str(error.value)


def test_speaker_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert speakers(speaker_of="file") == list(FILES)
    assert speakers(speaker_of="folder") == ["x", "x", "y", "y"]
    assert speakers(speaker_of="all") == ["all"] * 4
    start = "normalisation: by the statistics of each speaker;"
    assert caplog.messages == [
        f"{start} 4 speakers, by --speaker-of file",
        f"{start} 2 speakers, by --speaker-of folder",
        f"{start} 1 speaker, by --speaker-of all",
    ]


def test_nobody_says_who_speaks() -> None:
    with pytest.raises(UsageError) as error:
        speakers()
    assert str(error.value) == (
        "exp/m: normalises the features of each speaker by all that each says; say who speaks: --speakers "
        "TABLE (columns file and speaker, or utt2spk), --speaker-of file (each file a speaker of its own), "
        "folder (each folder a speaker) or all (one speaker)"
    )


def test_tables_of_recordings_may_say_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    named = [source._replace(speaker="s1") for source in SOURCES]
    assert with_speakers(named, None, None, "m") == named
    assert caplog.messages == [
        "normalisation: by the statistics of each speaker; 1 speaker, by the tables of recordings"
    ]
    with pytest.raises(DataError) as error:
        with_speakers([*named[:2], *SOURCES[2:]], None, None, "m")
    assert str(error.value) == (
        "the tables of recordings: names no speaker of 2 of 4 recordings (y/a.wav, y/c.flac); add them, or "
        "leave the recordings out"
    )


def test_ids_of_utt2spk_are_kaldis(tmp_path: Path) -> None:
    (tmp_path / "utt2spk").write_text("x/a.wav carl\n")
    what = "has characters other than letters, digits and _.@%+=:,-; rename it where the corpus is prepared"
    assert refusal(tmp_path / "utt2spk") == f"{tmp_path}/utt2spk:1: the id 'x/a.wav' {what}"


def test_a_table_names_files_in_four_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    table = tmp_path / "x" / "who.tsv"
    table.write_text("file\tspeaker\nx/b.wav\tanna\nc\tbert\na.wav\tcarl\n../y/a.wav\tdora\n")
    assert speakers(Path("x/who.tsv")) == ["carl", "anna", "dora", "bert"]


def test_a_table_by_hand_need_not_be_sorted(tmp_path: Path) -> None:
    table = tmp_path / "utt2spk"
    table.write_text("c bert\nb.wav anna\n")
    sources = [SOURCES[3], SOURCES[1]]
    assert [each.speaker for each in with_speakers(sources, table, None, "m")] == ["bert", "anna"]


def test_two_ways_to_say_it_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        speakers(tmp_path / "utt2spk", "all")
    assert str(error.value) == "--speakers and --speaker-of both say who speaks; give one of them"


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "who.tsv"
    assert refusal(missing) == f"{missing}: no such file; name a table of speakers, in UTF-8"


def test_a_table_that_misses_files(tmp_path: Path) -> None:
    table = tmp_path / "utt2spk"
    table.write_text("a anna\nb anna\n")
    assert refusal(table) == (
        f"--speakers {table}: names no speaker of 3 of 4 recordings (x/a.wav, y/a.wav, y/c.flac); add them, "
        "or leave the recordings out"
    )


def test_a_table_of_other_names(tmp_path: Path) -> None:
    table = tmp_path / "utt2spk"
    table.write_text("s1-a s1\ns1-b s1\n")
    assert refusal(table) == (
        f"--speakers {table}: names no speaker of 4 of 4 recordings (x/a.wav, x/b.wav, y/a.wav, ...), but of "
        "s1-a, s1-b; add them, or leave the recordings out"
    )


def test_faults_of_a_table(tmp_path: Path) -> None:
    table = tmp_path / "who.csv"
    table.write_text("file,speaker\na.wav,anna\nb.wav,\na.wav,bert\n")
    assert refusal(table) == (
        f"{table}:3: names no file or no speaker; fill it in, or remove the line\n"
        f"{table}:4: a.wav has the speaker anna above; keep one"
    )
    table.write_text("name,who\n")
    assert refusal(table) == (
        f"{table}:1: has no column path, speaker; the first line must name path and speaker, and may name "
        "others (it names name, who)"
    )


def test_utt2spk_and_tables_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "utt2spk").write_text("a anna\nb bert\n")
    (tmp_path / "who").write_text("file\tspeaker\nb\tbert\na\tanna\n")
    assert (
        read_speakers(tmp_path / "utt2spk") == read_speakers(tmp_path / "who") == {"a": "anna", "b": "bert"}
    )
