"""What ``ser predict`` makes besides its table: files of each recording, names, a page; what is not used."""

from __future__ import annotations

import html
import importlib.util
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.errors import DataError, UsageError
from ser.predict.model import load
from ser.predict.spoken import Speech, Symbol
from ser.predict.track import TrackSettings, smooth
from ser.predict.views import ViewOptions, Views, _Names
from ser.verbs import predict
from tests.predict.heard import EMOTIONS, HOSTILE, RATE_HZ, beeps, spoken
from tests.predict.trained import make_model

CTM = "a 1 0.1 0.4 hello\na 1 0.5 0.5 there\nb 1 0.0 0.2 else\n"
PHONES = "a 1 0.1 0.2 h\na 1 0.3 0.2 o\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, recordings of which two have the same name, alignments."""
    top = tmp_path_factory.mktemp("views")
    make_model(top / "model")
    for name, seconds in (("a", 1.5), ("x/b", 2.0), ("y/b", 2.5)):
        (top / "wav" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(top / "wav" / f"{name}.wav", beeps(seconds, 0.2, 0.9), RATE_HZ)
    (top / "word.ctm").write_text(CTM)
    (top / "talk.phone.ctm").write_text(PHONES)
    return top


@pytest.fixture(autouse=True)
def _place(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(folder)


def test_tracks_of_recordings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is what the model says, smoothed; equal names are told apart, and it is said how."""
    options = ["--track-window", "0.5", "--track-hop", "0.1", "--smooth", "0.2", "--track-format", "jsonl"]
    assert (
        predict.main(["model", "wav", "--out", f"{tmp_path}/o.tsv", "--track", f"{tmp_path}/t", *options])
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["a.jsonl", "b.jsonl", "b_2.jsonl"]
    assert "wav/y/b.wav: its files are called b_2" in caplog.messages
    windows = "windows of 0.5 s, one every 0.1 s, normalised as the whole piece that they are cut from"
    assert f"track: {windows}" in caplog.messages
    model = load("model", use_gpu="no")
    for name, path in (("a", "a"), ("b", "x/b"), ("b_2", "y/b")):
        result = model.predict(f"wav/{path}.wav", track=TrackSettings(0.5, 0.1))
        assert result.track is not None
        expected = smooth(result.track, 0.2)
        rows = [json.loads(line) for line in (tmp_path / "t" / f"{name}.jsonl").read_text().splitlines()]
        np.testing.assert_allclose([row["start"] for row in rows], expected.start_s, atol=1e-6)
        np.testing.assert_allclose(
            [[row["posterior"][emotion] for emotion in model.emotions] for row in rows],
            expected.posteriors,
            atol=1e-6,
        )


def test_a_recording_in_pieces_is_one_track(tmp_path: Path) -> None:
    """On the recording's time line."""
    samples = np.concatenate([beeps(2, 0.2, 1.2)] * 6)
    soundfile.write(tmp_path / "long.wav", samples, RATE_HZ)
    words = ["model", f"{tmp_path}/long.wav", "--segments", "3", "--out", f"{tmp_path}/o.tsv"]
    assert (
        predict.main([*words, "--track", f"{tmp_path}/t", "--track-window", "1", "--track-hop", "0.5"]) == 0
    )
    head, *lines = (tmp_path / "t" / "long.tsv").read_text().splitlines()
    assert head == "start\tend\temotion\tp_ang\tp_hap\tp_neu\tp_sad"
    times = [tuple(map(float, line.split("\t")[:2])) for line in lines]
    starts = [3.0 * piece + 0.5 * window for piece in range(4) for window in range(5)]
    assert times == [(start, start + 1) for start in starts]


@pytest.mark.slow
def test_figures_and_a_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for package in ("matplotlib", "jinja2"):
        pytest.importorskip(package)
    views = ["--figure", f"{tmp_path}/f", "--figure-format", "svg", "--html", f"{tmp_path}/p.html"]
    align = ["--alignment", "word.ctm", "--alignment", "talk.phone.ctm"]
    assert predict.main(["model", "wav", "--out", f"{tmp_path}/o.tsv", *views, *align]) == 0
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["a.svg", "b.svg", "b_2.svg"]
    text = (tmp_path / "p.html").read_text()
    assert re.findall(r'<section class="recording".*?>\n<h2 [^>]*>(.*?)</h2>', text) == [
        "wav/a.wav",
        "wav/x/b.wav",
        "wav/y/b.wav",
    ]
    data = [json.loads(each) for each in re.findall(r'<script type="application/json">(.*?)</script>', text)]
    assert [row[2] for row in data[0]["tiers"]["word"]] == ["hello", "there"]
    assert [row[2] for row in data[0]["tiers"]["phone"]] == ["h", "o"]
    for line in (
        "ang, hap, neu, sad",
        "by the statistics of what the model was trained on",
        "the system&#39;s own",
    ):
        assert line in text
    assert text.count('src="data:audio/mpeg;base64,') == 3
    assert not [text for text in caplog.messages if "not used" in text]


@pytest.mark.slow
def test_the_limits_of_the_model_stand_on_the_page(tmp_path: Path) -> None:
    """Those of the model that comes with ser, too."""
    pytest.importorskip("jinja2")
    page = tmp_path / "p.html"
    assert (
        predict.main(["wav/a.wav", "--speaker-of", "all", "--out", f"{tmp_path}/o.tsv", "--html", str(page)])
        == 0
    )
    text = html.unescape(page.read_text())
    limits = load("emodb", use_gpu="no").limits
    assert limits
    assert all(f'<p class="note">{limit}</p>' in text for limit in limits)
    assert "<dd>the calibrated posterior</dd>" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--track-format", "csv"], "--track-format is not used without --track"),
        (["--figure-format", "pdf"], "--figure-format is not used without --figure"),
        (["--alignment", "word.ctm"], "--alignment is not used without --figure or --html"),
        (["--track-window", "1"], "--track-window is not used without --track, --figure or --html"),
        (["--track-hop", "1"], "--track-hop is not used without --track, --figure or --html"),
        (["--smooth", "1"], "--smooth is not used without --track, --figure or --html"),
    ],
)
def test_what_is_not_used_is_said(
    words: list[str], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert predict.main(["model", "wav/a.wav", "--out", f"{tmp_path}/o.tsv", *words]) == 0
    assert [text for text in caplog.messages if "not used" in text] == [message]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--track-window", "1", "--track-hop", "2"],
            "the hop of a track must not exceed its window (1 s), got 2; see --track-window and --track-hop",
        ),
        (
            ["--track-window", "0"],
            "the window of a track must be at least 0.01 s, got 0; see --track-window and --track-hop",
        ),
        (["--smooth", "-1"], "--smooth must be from 0 to 60 s, got -1"),
        (["--smooth", "nan"], "--smooth must be from 0 to 60 s, got nan"),
        (
            ["--html", "x.html", "--alignment", "gone.ctm"],
            "--alignment gone.ctm: no such file or folder; name an alignment",
        ),
        (
            ["--html", "x.html", "--alignment", "wav/a.wav"],
            "--alignment wav/a.wav: does it hold words or phones? Name it word.ctm or phone.ctm, or give a "
            "TextGrid",
        ),
    ],
)
def test_what_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        predict.main(["model", "wav/a.wav", "--out", f"{tmp_path}/o.tsv", "--track", f"{tmp_path}/t", *words])
    assert str(error.value) == message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "options", "message"),
    [
        ("praatio", {"track": Path("t"), "track_format": "textgrid"}, "TextGrids need praatio; {}interpret"),
        ("matplotlib", {"figure": Path("f")}, "figures need matplotlib; {}interpret"),
        ("jinja2", {"html": Path("p")}, "the page needs jinja2; {}report"),
    ],
)
def test_packages_that_are_not_installed(
    package: str, options: dict[str, Path], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(UsageError) as error:
        ViewOptions(**options).check()  # type: ignore[arg-type]
    assert str(error.value) == message.format("install it with: utils/install.sh --extra ")


def test_names_of_files_are_safe_and_each_is_there_once() -> None:
    names = _Names()
    hostile = [
        "a/x.wav",
        "b/X.wav",
        "../../etc/passwd",
        "..",
        "-",
        ".hidden.wav",
        HOSTILE,
        "käse 1.flac",
        "x_2.wav",
    ]
    found = [names.of(name) for name in hostile]
    assert found[:6] == ["x", "X_2", "passwd", "recording", "recording_2", "hidden"]
    assert found[7:] == ["käse_1", "x_2_2"]
    assert len({name.lower() for name in found}) == len(found)
    assert all(re.fullmatch(r"[\w-][\w.-]{0,110}", name) for name in found)


def test_no_page_without_recordings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("jinja2")
    views = Views(ViewOptions(html=tmp_path / "p.html"), RATE_HZ, "m", {"track": "windows"}, [])
    assert list(views.show([])) == []
    assert caplog.messages == [f"{tmp_path}/p.html: is not written, no recording could be used"]
    assert not list(tmp_path.iterdir())


def test_files_of_a_recording_are_there_before_the_next_ones(tmp_path: Path) -> None:
    """A run of many recordings keeps none of them longer than needed."""
    views = Views(ViewOptions(track=tmp_path), RATE_HZ, "m", {}, [])
    made = [spoken(name, 2, 1)[1] for name in ("a", "b", "c")]
    passed = []
    for result in views.show(made):
        passed.append((result.source, sorted(path.name for path in tmp_path.iterdir())))
    assert passed == [("a", []), ("b", ["a.tsv"]), ("c", ["a.tsv", "b.tsv"])]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tsv", "b.tsv", "c.tsv"]
    assert (tmp_path / "a.tsv").read_text().splitlines()[0].split("\t")[3:] == [f"p_{e}" for e in EMOTIONS]


def test_alignments_are_found_by_recording(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    speech = Speech([folder / "word.ctm", folder / "talk.phone.ctm"])
    assert speech.of("wav/a.wav") == {
        "word": [Symbol("hello", 0.1, 0.5), Symbol("there", 0.5, 1.0)],
        "phone": [Symbol("h", 0.1, pytest.approx(0.3)), Symbol("o", 0.3, 0.5)],
    }
    assert list(speech.of("b")) == ["word"]
    assert caplog.messages == []
    assert speech.of("c.wav") == {}
    assert caplog.messages == ["--alignment: has nothing of c.wav; its words and phones are not shown"]
    assert Speech([]).of("c.wav") == {}
    pytest.importorskip("praatio")
    from ser.align.textgrid import write_textgrid

    write_textgrid(tmp_path / "c.TextGrid", {"word": [("so", 0.25, 0.5)], "phone": [("s", 0.25, 0.25)]}, 1.0)
    for path in (tmp_path, tmp_path / "c.TextGrid"):
        assert Speech([path]).of("c.wav") == {
            "word": [Symbol("so", 0.25, 0.75)],
            "phone": [Symbol("s", 0.25, 0.5)],
        }
    (tmp_path / "word.ctm").write_text("a 1 x 0.4 hello\n")
    with pytest.raises(DataError, match=r"word.ctm:1: expected '<utterance> <channel> <start s>"):
        Speech([tmp_path / "word.ctm"])
