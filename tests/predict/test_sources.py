"""What inputs name: files, folders, tables, data folders, standard input; and what is said of the rest."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import pytest

from ser.data import tables
from ser.data.segments import RecordingSegment
from ser.errors import DataError, UsageError
from ser.predict.sources import Source, find_sources, standard_input
from tests.corpora.wavs import write_wav


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """An empty folder to be in."""
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*inputs: str) -> list[str]:
    return [source.name for source in find_sources(inputs)]


def refusal(*inputs: str) -> str:
    with pytest.raises(DataError) as error:
        find_sources(inputs)
    return str(error.value)


def test_a_folder_in_natural_order(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("f/s10/a.wav", "f/s9/a2.FLAC", "f/s9/a10.mp3", "f/s9/a1.ogg", "f/b.wav"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    assert names("f") == ["f/b.wav", "f/s9/a1.ogg", "f/s9/a2.FLAC", "f/s9/a10.mp3", "f/s10/a.wav"]
    assert caplog.messages == []


def test_what_a_folder_holds_besides_is_named(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_wav(place / "f/a.wav", 0)
    for name in ("f/notes.txt", "f/b.txt", "f/._a.wav", "f/README", "f/call.m4a", "f/.git/x.wav"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).touch()
    (place / "f/loop").symlink_to(place / "f")
    assert names("f") == ["f/a.wav"]
    assert caplog.messages == [
        "f: 1 recording; passed over: 1 .m4a, 2 .txt, 2 hidden, 1 linked, 1 without suffix "
        "(f/._a.wav, f/.git, f/README, ...)",
        "f: 1 recording of kinds that are not read (f/call.m4a); convert what you need, such as with ffmpeg",
    ]


def test_the_same_twice_is_taken_once(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_wav(place / "f/a.wav", 0)
    write_wav(place / "f/b.wav", 1)
    assert names("f/b.wav", "f", "f/b.wav") == ["f/b.wav", "f/a.wav"]
    assert caplog.messages == ["2 recordings named twice: taken once"]


def test_names_that_a_shell_or_a_spreadsheet_takes_for_more(place: Path) -> None:
    for name in ("=1+1.wav", "-a.wav", "@b.wav"):
        (place / name).touch()
    (source,) = find_sources(["=1+1.wav"])
    assert source == Source("./=1+1.wav", RecordingSegment(Path("=1+1.wav")))
    assert names("-a.wav", "./@b.wav") == ["./-a.wav", "./@b.wav"]


def test_wav_scp(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables.write_table(place / "wav.scp", {"b": "wav/b.wav", "a": "/other/a.flac"})
    assert find_sources(["wav.scp"]) == [
        Source("a", RecordingSegment(Path("/other/a.flac"))),
        Source("b", RecordingSegment(Path("wav/b.wav"))),
    ]
    tables.write_table(place / "segments", {"u": "a 0 1"})
    find_sources([str(place / "wav.scp")])
    assert caplog.messages == [
        f"{place}/wav.scp: segments beside it is not read; name the folder {place} for that"
    ]


def test_commands_are_refused(place: Path) -> None:
    (place / "x.scp").write_text("a a.wav\nb sox b.wav -t wav - |\n")
    command = "is a command; wav.scp must name files, so write its output to one"
    assert refusal("x.scp") == f"x.scp:2: b: sox b.wav -t wav - |: {command}"
    (place / "x.csv").write_text("path\nsox b.wav -t wav - |\n")
    command = command.replace("wav.scp", "the table")
    assert refusal("x.csv") == f"x.csv:2: sox b.wav -t wav - |: {command}"


def test_a_data_folder(place: Path) -> None:
    (place / "d").mkdir()
    tables.write_table(place / "d/wav.scp", {"r": "r.wav"})
    tables.write_table(place / "d/segments", {"u1": "r 0.5 2", "u2": "r 3 -1"})
    tables.write_table(place / "d/utt2spk", {"u1": "anna", "u2": "bert"})
    assert find_sources(["d"]) == [
        Source("u1", RecordingSegment(Path("r.wav"), 0.5, 2.0), "anna"),
        Source("u2", RecordingSegment(Path("r.wav"), 3.0, None), "bert"),
    ]
    tables.write_table(place / "d/utt2spk", {"u1": "anna", "u3": "bert"})
    assert refusal("d") == (
        "d/utt2spk: its keys are not those of d: 1 only in d/utt2spk (u3), 1 only in d (u2); correct the "
        "folder"
    )


def test_a_table(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    (place / "t").mkdir()
    (place / "t/x.csv").write_text(
        "path;Speaker;start;duration;emotion\nwav/ä b.wav;anna;1,5;2,25;joy\n../c.wav;bert;;;\n", "utf-8"
    )
    assert find_sources(["t/x.csv"]) == [
        Source("t/wav/ä b.wav", RecordingSegment(Path("t/wav/ä b.wav"), 1.5, 3.75), "anna"),
        Source("t/../c.wav", RecordingSegment(Path("t/../c.wav")), "bert"),
    ]
    assert caplog.messages == ["t/x.csv: columns path, speaker, start, duration; not used: emotion"]


def test_a_table_of_results_is_one_of_parts(place: Path) -> None:
    (place / "x.tsv").write_text(
        "file\tstart\tend\temotion\na.wav\t0.000\t1.500\tang\na.wav\t1.500\t4.000\tsad\n"
    )
    path = Path("a.wav")
    assert find_sources(["x.tsv"]) == [
        Source("a.wav", RecordingSegment(path, 0.0, 1.5)),
        Source("a.wav", RecordingSegment(path, 1.5, 4.0)),
    ]


def test_faults_of_a_table(place: Path) -> None:
    (place / "x.csv").write_text("path,start,end\na.wav,2,1\n,0,1\nb.wav,x,1\nc.wav,0\n")
    assert refusal("x.csv") == (
        "x.csv:2: runs from 2 to 1 s; correct the times\n"
        "x.csv:3: path: is empty; fill it in, or remove the line\n"
        "x.csv:4: start is a number of seconds, not 'x'; write a number such as 12.5\n"
        "x.csv:5: has 2 columns, the first line has 3; correct the line, quoting what holds a ','"
    )
    (place / "y.csv").write_text("name,start\na,0\n")
    assert refusal("y.csv") == (
        "y.csv:1: has no column path; the first line must name path, and may name others (it names name, "
        "start)"
    )
    (place / "z.csv").write_text("path\n")
    assert refusal("z.csv") == "z.csv: lists no recording; give each a line below the first"


def test_what_is_not_there(place: Path) -> None:
    ways = "name recordings, a folder of them, a wav.scp, a CSV or TSV table, or -"
    assert refusal("a.wav") == f"a.wav: no such file or folder; {ways}"
    (place / "f").mkdir()
    assert refusal("f") == (
        "f: holds no recording (.wav, .flac, .mp3, .ogg ...), and no model.json, if it is meant as a model; "
        "name a folder that does, or the files themselves"
    )


def test_one_name_for_two_recordings(place: Path) -> None:
    tables.write_table(place / "x.scp", {"a": "1.wav"})
    tables.write_table(place / "y.scp", {"a": "2.wav"})
    assert refusal("x.scp", "y.scp") == (
        "a: names two recordings, 1.wav and 2.wav; rename one of them, or give the two in runs of their own"
    )


class _Piped:
    """Standard input into which bytes are piped."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        return False


def test_standard_input_is_kept_while_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(3_000_000)
    monkeypatch.setattr("sys.stdin", _Piped(content))
    with standard_input(["-"]) as path:
        assert path is not None
        assert path.read_bytes() == content
        assert find_sources(["-"], path) == [Source("-", RecordingSegment(path))]
    assert not path.exists()
    with standard_input(["a.wav"]) as nothing:
        assert nothing is None
    with pytest.raises(UsageError) as error:
        standard_input(["-", "-"]).__enter__()
    assert str(error.value) == "- (standard input) can be named once"
