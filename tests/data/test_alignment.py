"""Times and frames of alignments."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.data.alignment import (
    Clock,
    SourceConfig,
    Span,
    read_ctm,
    read_frames,
    to_frames,
    write_ctm,
    write_frames,
)
from ser.errors import DataError

AUDIO = Clock(0.01, 0.0125, SourceConfig("audio", 10.0, 0, 2, 3))  # 25 ms windows every 10 ms
SPHINX = Clock(0.01, 0.0125, SourceConfig("frames", 10.0, 0, 2, 3))


def test_frames_of_sphinx_come_back_as_they_were() -> None:
    """IEMOCAP's rows (first, last) became seconds as first / 100 and (last + 1) / 100."""
    rows = [("SIL", 0, 43), ("AY", 44, 52), ("D", 53, 60)]
    segments = [(s, first / 100, round((last + 1) / 100 - first / 100, 8)) for s, first, last in rows]
    assert to_frames(segments, 61, SPHINX, "x") == [Span("SIL", 0, 44), Span("AY", 44, 9), Span("D", 53, 8)]


def test_two_frames_later_is_a_setting() -> None:
    clock = Clock(0.01, 0.0125, SourceConfig("frames", 10.0, 2, 2, 3))
    assert to_frames([("AY", 0.0, 0.1), ("D", 0.1, 0.08)], 20, clock, "x") == [
        Span("AY", 2, 10),
        Span("D", 12, 8),
    ]


def test_frames_of_20_ms_lie_in_the_aligners_frames_of_10_ms() -> None:
    """Frame i has the middle of the aligner's frame 2 i, whatever the shift."""
    clock = Clock(0.02, 0.0125, SourceConfig("frames", 10.0, 0, 2, 3))
    rows = [("SIL", 0, 43), ("AY", 44, 52), ("D", 53, 53), ("Z", 54, 60)]
    segments = [(symbol, first / 100, (last + 1 - first) / 100) for symbol, first, last in rows]
    spans = to_frames(segments, 31, clock, "x")
    assert spans == [Span("SIL", 0, 22), Span("AY", 22, 5), Span("Z", 27, 4)]
    later = Clock(0.02, 0.0125, SourceConfig("frames", 10.0, 2, 2, 3))
    assert to_frames(segments, 31, later, "x") == [Span("SIL", 1, 22), Span("AY", 23, 5), Span("Z", 28, 3)]


def test_audio_times_are_seen_from_the_middle_of_the_window() -> None:
    """Frame i covers i * 10 .. i * 10 + 25 ms; its middle, i * 10 + 12.5 ms, decides."""
    spans = to_frames([("a", 0.0, 0.0325), ("b", 0.0325, 0.0175), ("c", 0.05, 0.05)], 9, AUDIO, "x")
    assert spans == [Span("a", 0, 2), Span("b", 2, 2), Span("c", 4, 5)]


def test_gaps_stay_and_segments_without_a_frame_go() -> None:
    spans = to_frames([("a", 0.0, 0.03), ("b", 0.036, 0.003), ("c", 0.06, 0.06)], 12, SPHINX, "x")
    assert spans == [Span("a", 0, 3), Span("c", 6, 6)]


def test_ends_are_clipped_by_a_frame_or_two_and_no_more() -> None:
    assert to_frames([("a", 0.0, 0.12)], 10, SPHINX, "x") == [Span("a", 0, 10)]
    assert to_frames([("a", 0.0, 0.1), ("b", 0.1, 0.02)], 10, SPHINX, "x") == [Span("a", 0, 10)]
    with pytest.raises(DataError) as error:
        to_frames([("a", 0.0, 0.13)], 10, SPHINX, "phone.ctm: u1: phones")
    assert str(error.value) == (
        "phone.ctm: u1: phones: the alignment ends with frame 13, the features with frame 10; "
        "max_longer_frames is 2: is it of this recording? Otherwise raise max_longer_frames "
        "(conf/alignment.yaml)"
    )
    with pytest.raises(DataError) as error:
        to_frames([("a", 0.0, 0.06)], 10, SPHINX, "phone.ctm: u1: phones")
    assert str(error.value) == (
        "phone.ctm: u1: phones: the alignment ends with frame 6, the features with frame 10; "
        "max_shorter_frames is 3: is it of this recording? Otherwise raise max_shorter_frames "
        "(conf/alignment.yaml)"
    )
    assert to_frames([("a", 0.0, 0.06)], 10, SPHINX, "x", covers=False) == [Span("a", 0, 6)]


def test_overlaps_and_disorder_are_refused() -> None:
    with pytest.raises(DataError) as error:
        to_frames([("a", 0.0, 0.05), ("b", 0.04, 0.06)], 10, SPHINX, "x: u1: phones")
    assert str(error.value) == (
        "x: u1: phones: b at 0.04 s begins before the one ahead of it ends (0.05 s); a frame can belong to "
        "one segment only, correct the times"
    )
    with pytest.raises(DataError) as error:
        to_frames([("a", 0.05, 0.05), ("b", 0.0, 0.05)], 10, SPHINX, "x: u1: phones")
    assert str(error.value) == "x: u1: phones: b at 0 s comes after 0.05 s; sort the rows by time"
    # rounding to 10 ms, as CTMs have it, may make neighbours meet in a frame
    spans = to_frames([("a", 0.0, 0.054), ("b", 0.05, 0.05)], 10, SPHINX, "x")
    assert spans == [Span("a", 0, 5), Span("b", 5, 5)]


@given(
    st.lists(st.tuples(st.floats(0, 0.05), st.floats(1e-4, 0.3)), min_size=1, max_size=20),
    st.sampled_from([AUDIO, SPHINX]),
)
def test_every_frame_is_in_one_segment_at_most(pieces: list[tuple[float, float]], clock: Clock) -> None:
    segments, time = [], 0.0
    for gap, length in pieces:
        segments.append(("a", time + gap, length))
        time += gap + length
    num_frames = max(1, math.ceil(time / 0.01) - 1)
    spans = to_frames(segments, num_frames, clock, "x", covers=False)
    frames = [frame for span in spans for frame in range(span.first, span.end)]
    assert frames == sorted(set(frames))
    assert all(0 <= frame < num_frames for frame in frames)
    middle = clock.middle_s if clock is AUDIO else 0.005
    for span in spans:  # each frame's time lies in a segment
        for frame in range(span.first, span.end):
            moment = middle + frame * 0.01
            assert any(s - 1e-6 <= moment <= s + length + 1e-6 for _, s, length in segments)


def test_times_come_back(tmp_path: Path) -> None:
    times = {"b": [("x", 0.5, 0.25), ("y", 0.75, 0.1)], "a": [("(", 0.0, 1.89825)]}
    write_ctm(tmp_path / "phone.ctm", times)
    assert (tmp_path / "phone.ctm").read_text() == "a 1 0.0 1.89825 (\nb 1 0.5 0.25 x\nb 1 0.75 0.1 y\n"
    assert read_ctm(tmp_path / "phone.ctm") == times


def test_a_ctm_of_someone_else(tmp_path: Path) -> None:
    path = tmp_path / "x.ctm"
    path.write_text(";; made by a tool\nu2 A 0.1 0.2 HELLO 0.98\nu1 1 0 0 empty\n\nu2 A  0.30 0.2\tYOU\n")
    assert read_ctm(path) == {"u2": [("HELLO", 0.1, 0.2), ("YOU", 0.3, 0.2)], "u1": []}


def test_what_is_wrong_in_a_ctm_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.ctm"
    path.write_text("u1 1 0.1 HELLO\nu1 1 -1 0.2 A\nu1 1 0 nan A\nu1 A 0 1 a\nu1 B 1 1 b\n")
    form = "expected '<utterance> <channel> <start s> <duration s> <symbol>'"
    with pytest.raises(DataError) as error:
        read_ctm(path)
    assert str(error.value).splitlines() == [
        f"{path}:1: {form}, got 'u1 1 0.1 HELLO'; correct the row",
        f"{path}:2: {form}, got 'u1 1 -1 0.2 A'; correct the row",
        f"{path}:3: {form}, got 'u1 1 0 nan A'; correct the row",
        f"{path}:5: u1 has the channels A and B; keep one of them",
    ]
    path.write_text("\n")
    with pytest.raises(DataError, match=r"x\.ctm: is empty; make it again"):
        read_ctm(path)
    with pytest.raises(DataError, match=r"y\.ctm: no such file; name an alignment, or make it"):
        read_ctm(tmp_path / "y.ctm")


def test_frames_come_back_and_faults_are_told(tmp_path: Path) -> None:
    path = tmp_path / "phone.frames"
    spans = {"b": [Span("x", 0, 3), Span("y", 5, 2)], "a": [Span("z", 1, 1)]}
    write_frames(path, spans)
    assert path.read_text() == "a 1 1 1 z\nb 1 0 3 x\nb 1 5 2 y\n"
    assert read_frames(path, {"a": 2, "b": 7}) == spans
    path.write_text("a 1 0 3 x\na 1 2 2 y\na 1 4 2 z\na 1 x 2 z\nc 1 0 1 x\n")
    with pytest.raises(DataError) as error:
        read_frames(path, {"a": 5})
    assert str(error.value).splitlines() == [
        f"{path}:2: frame 2 of a is in the row before too; run steps/make_alignment.sh again",
        f"{path}:3: a ends with frame 6, its features with 5; run steps/make_alignment.sh again",
        f"{path}:4: expected '<utterance> 1 <first frame> <frames> <symbol>', got 'a 1 x 2 z'; "
        "run steps/make_alignment.sh again",
        f"{path}:5: c is not in utt2num_frames; align this data",
    ]
