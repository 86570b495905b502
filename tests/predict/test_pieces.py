"""Pieces of recordings: their samples and times, whatever the format and rate; what happens to bad files."""

from __future__ import annotations

import logging
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.data.corpus import AudioConfig
from ser.data.segments import RecordingSegment
from ser.errors import DataError
from ser.feats.audio import load_samples
from ser.feats.base import Floats
from ser.predict.pieces import Pieces
from ser.predict.segments import SegmentRule
from ser.predict.sources import Source

RATE = 16000


def sources_of(*paths: Path) -> list[Source]:
    return [Source(path.name, RecordingSegment(path)) for path in paths]


def pieces_of(sources: Sequence[Source], rule: str = "auto", **options: object) -> Pieces:
    return Pieces(sources, SegmentRule.parse(rule), rate_hz=RATE, **options)  # type: ignore[arg-type]


def speech(seconds: float, rate: int = RATE, seed: int = 0, level: float = 0.1) -> Floats:
    """Noise that comes and goes, 1 s each."""
    wave = np.random.default_rng(seed).normal(0, level, round(seconds * rate))
    wave[(np.arange(len(wave)) // rate) % 2 == 0] *= 1e-3
    return wave.clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_24"), ("a.ogg", "VORBIS")]
)
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("rule", ["whole", "vad", "1.7"])
def test_a_piece_is_what_a_segment_of_the_file_is(
    tmp_path: Path, name: str, subtype: str, rate: int, rule: str
) -> None:
    """Cut while it is read, a piece has the samples that reading just these seconds of the file gives."""
    soundfile.write(tmp_path / name, speech(40, rate), rate, subtype=subtype)
    audio = AudioConfig(RATE, None, "convert")
    pieces = list(pieces_of(sources_of(tmp_path / name), rule).read("x"))
    assert (len(pieces) == 1) == (rule == "whole")
    for piece in pieces:
        segment = RecordingSegment(tmp_path / name, piece.start_s, piece.end_s)
        expected = load_samples(segment, audio)
        assert piece.samples.shape == expected.shape
        assert np.abs(piece.samples - expected).max() <= (1e-6 if subtype == "VORBIS" else 0)
        assert piece.notes == (("sampled at 8000 Hz",) if rate == 8000 else ())


def test_mp3_is_read_on_from_its_beginning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A decoder that is sent elsewhere gives other samples, and complains on standard error."""
    soundfile.write(tmp_path / "a.mp3", speech(40), RATE)
    whole = load_samples(tmp_path / "a.mp3", AudioConfig(RATE, None, "refuse"))
    capfd.readouterr()
    pieces = pieces_of(sources_of(tmp_path / "a.mp3"))
    for _ in range(2):
        read = list(pieces.read("x"))
        assert len(read) > 4
        for piece in read:
            expected = whole[round(piece.start_s * RATE) : round(piece.end_s * RATE)]
            assert np.abs(piece.samples - expected).max() <= 1e-6
    assert capfd.readouterr().err == ""


def test_any_name_of_a_file(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \x1b[31m\n.wav")
    soundfile.write(tmp_path / "a.wav", speech(2), RATE)
    (tmp_path / "a.wav").rename(tmp_path / name)
    (piece,) = pieces_of(sources_of(tmp_path / name)).read("x")
    assert piece.source == name


def test_parts_have_times_of_their_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speech(20), RATE)
    source = Source("a", RecordingSegment(tmp_path / "a.wav", 4.0, 14.5), "anna")
    first, second = pieces_of([source], "5").read("x")
    assert [(piece.source, piece.speaker) for piece in (first, second)] == [("a", "anna")] * 2
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (4.0, 9.0, 9.0, 14.5)
    whole, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert np.array_equal(second.samples, whole[9 * RATE : 14 * RATE + RATE // 2])


def test_reading_again_gives_the_same(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", speech(50), RATE)
    pieces = pieces_of(sources_of(tmp_path / "a.flac"), "vad")
    once, again = list(pieces.read("x")), list(pieces.read("y"))
    assert len(once) > 3
    assert [(a.start_s, a.end_s) for a in once] == [(b.start_s, b.end_s) for b in again]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(once, again, strict=True))


def test_long_silence_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes between two words take no memory: no read is longer than a block or a piece."""
    wave = np.zeros(600 * RATE, np.float32)
    wave[:RATE] = wave[-RATE:] = speech(2)[RATE:]
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    sizes = []
    read = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, frames: int, **options: object) -> Floats:
        sizes.append(frames)
        return read(self, frames, **options)  # type: ignore[no-any-return]

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    pieces = list(pieces_of(sources_of(tmp_path / "a.wav")).read("x"))
    assert [round(piece.start_s) for piece in pieces] == [0, 599]
    assert max(sizes) <= 1 << 18


@pytest.mark.slow
def test_three_hours_take_little_memory(tmp_path: Path) -> None:
    """Their samples would be 346 MB, the energies of their frames are 4 MB; finding speech takes more."""
    hour = np.concatenate([speech(60, 8000, seed) for seed in range(60)])
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1, "PCM_U8") as out:
        for _ in range(3):
            out.write(hour)
    pieces = pieces_of(sources_of(tmp_path / "a.wav"))
    del hour
    tracemalloc.start()
    times = [(piece.start_s, piece.end_s) for piece in pieces.read("x")]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(times) > 900
    assert times[-1][1] > 3 * 3600 - 1.2
    assert peak < 60e6


# ------------------------------------------------------------------------------------------------ bad files


@pytest.fixture
def bad(tmp_path: Path) -> list[Source]:
    """A good recording between ones of every fault."""
    good = speech(2)
    (tmp_path / "text.wav").write_text("no audio at all, but a text\n" * 9)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", good[:0], RATE)
    soundfile.write(tmp_path / "silent.wav", np.full(RATE, 0.25), RATE)
    nan = good.copy()
    nan[1234] = np.nan
    soundfile.write(tmp_path / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", good[RATE:][:160], RATE)
    soundfile.write(tmp_path / "two.wav", np.stack([good, good], 1), RATE)
    soundfile.write(tmp_path / "good.wav", good, RATE)
    soundfile.write(tmp_path / "whole.wav", good, RATE)
    content = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[:40000])
    (tmp_path / "m4a.wav").write_bytes(b"\0\0\0\x20ftypM4A ")
    names = "text empty none silent gone nan short good two cut m4a whole".split()
    return sources_of(*(tmp_path / f"{name}.wav" for name in names))


def test_bad_files_are_told_in_a_line_each(bad: list[Source], caplog: pytest.LogCaptureFixture) -> None:
    pieces = pieces_of(bad, least_samples=400)
    assert [piece.source for piece in pieces.read("x")] == ["good.wav", "whole.wav"]
    folder = bad[0].recording.path.parent
    remedy = "replace it, or leave it out"
    assert caplog.messages == [
        f"text.wav: is no audio that can be read (Format not recognised); {remedy}",
        f"empty.wav: is empty (0 bytes); {remedy}",
        f"none.wav: has no samples; {remedy}",
        "silent.wav: is silent, all of its samples are the same; check the channel (--channel)",
        f"gone.wav: no such file; {remedy}",
        f"nan.wav: has samples that are NaN or infinite; {remedy}",
        f"short.wav: is too short, 10 ms, the model takes 25 ms; {remedy}",
        "two.wav: has 2 channels; --channel mix takes the mean of all, --channel 0, 1, ... one",
        f"cut.wav: is cut short, 24044 bytes of its samples are not there; {remedy}",
        "m4a.wav: is MPEG-4 or QuickTime (such as .m4a), which is not read (convert it: ffmpeg -i "
        f"{folder}/m4a.wav {folder}/m4a.fixed.wav); {remedy}",
    ]
    assert list(pieces.failures) == [message.partition(":")[0] for message in caplog.messages]
    caplog.clear()
    assert len(list(pieces.read("x"))) == 2
    assert caplog.messages == []  # told once


def test_strict_stops_at_the_first(bad: list[Source]) -> None:
    pieces = pieces_of([bad[7], *bad], strict=True)
    read = pieces.read("x")
    assert next(read).source == "good.wav"
    with pytest.raises(DataError) as error:
        next(read)
    assert str(error.value) == (
        "text.wav: is no audio that can be read (Format not recognised); replace it, or leave it out"
    )


def test_a_recording_that_breaks_on_the_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was read before counts; the message has the recording's name."""
    soundfile.write(tmp_path / "a.flac", speech(60), RATE)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    pieces = list(pieces_of(sources_of(tmp_path / "a.flac"), "5").read("x"))
    assert 4 <= len(pieces) <= 6
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("a.flac: ")
    assert caplog.messages[0].endswith("; replace it, or leave it out")


def test_recordings_without_speech(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(40 * RATE, np.float32), RATE)
    assert list(pieces_of(sources_of(tmp_path / "a.wav"), "vad").read("x")) == []
    assert caplog.messages == ["a.wav: has no speech; --segments whole takes all of it"]


def test_channels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = np.stack([speech(2, seed=1), speech(2, seed=2)], 1)
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype="FLOAT")
    for channel, expected in ((1, both[:, 1]), ("mix", both.mean(axis=1)), ((5, 0), both[:, 0])):
        (piece,) = pieces_of(sources_of(tmp_path / "a.wav"), channel=channel).read("x")
        assert np.allclose(piece.samples, expected, atol=1e-7)
    assert list(pieces_of(sources_of(tmp_path / "a.wav"), channel=2).read("x")) == []
    assert caplog.messages == [
        "a.wav: has 2 channels, so there is no channel 2; --channel mix takes the mean of all, "
        "--channel 0, 1, ... one"
    ]


def test_what_was_done_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    soundfile.write(tmp_path / "a.wav", speech(40, 8000), 8000)
    soundfile.write(tmp_path / "b.wav", speech(2), RATE)
    soundfile.write(tmp_path / "c.wav", speech(3, level=1e-4), RATE, subtype="FLOAT")
    pieces = pieces_of(sources_of(*(tmp_path / name for name in ("a.wav", "b.wav", "c.wav"))))
    read = list(pieces.read("x"))
    assert caplog.messages == [
        f"1 recording (longer than 30 s) cut by speech activity into {len(read) - 2} pieces",
        "1 of 3 recordings sampled below the model's 16000 Hz (a.wav: 8000 Hz), so higher sounds are missing",
    ]
    assert len(read) > 4
    assert [piece.notes for piece in read[-2:]] == [(), ("silent (-85 dBFS)",)]
    caplog.clear()
    list(pieces_of(sources_of(tmp_path / "a.wav"), "5").read("x"))
    assert caplog.messages[0] == "1 recording cut by windows of 5 s into 8 pieces"
