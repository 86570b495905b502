"""Tracks: which windows there are, what smoothing does, which intervals come of them; exact values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.feats.base import Timing
from ser.predict.result import Doubles, Track
from ser.predict.track import (
    Interval,
    TrackSettings,
    chunk_times,
    intervals,
    join,
    place,
    smooth,
    stretches,
    window_rows,
    window_times,
)


def random_track(seed: int, windows: int = 20, gap: bool = True) -> Track:
    rng = np.random.default_rng(seed)
    start = 0.5 * np.arange(windows)
    if gap:
        start[windows // 2 :] += 3.25
    return Track(start, start + 2.0, rng.dirichlet(np.full(3, 0.4), windows))


# ------------------------------------------------------------------------------------------------- windows


@given(st.floats(0.05, 30), st.floats(0.05, 5), st.integers(1, 8))
def test_windows_cover_a_piece_and_no_more(duration: float, window: float, hops: int) -> None:
    settings = TrackSettings(window, max(0.01, window / hops))
    times = window_times(duration, settings)
    expected, start = [], 0.0
    while start + window <= duration + 1e-9:  # an independent loop
        expected.append(start)
        start = len(expected) * settings.hop
    if not expected:
        assert times.tolist() == [[0.0, duration]]
        return
    if expected[-1] + window < duration - 1e-9:
        expected.append(duration - window)
    assert times[:, 0].tolist() == pytest.approx(expected)
    assert times[0, 0] == 0
    assert times[-1, 1] == pytest.approx(duration, abs=1e-8)
    assert (times[:, 1] - times[:, 0]).tolist() == pytest.approx([window] * len(times))


def test_the_frames_of_a_window_are_those_whose_middle_lies_in_it() -> None:
    """Frames 0 to 99 have their middles at 12.5 ms, 22.5 ms ...; 30 to 49 are not read."""
    timing, frames = Timing(0.01, 0.0125), np.delete(np.arange(100), np.arange(30, 50))
    times = np.array([[0.0, 0.2], [0.1, 0.3025], [0.35, 0.45], [0.9, 1.01]])
    rows = window_rows(times, timing, frames)
    for (begin, end), (start_s, end_s) in zip(rows, times, strict=True):
        own = [frame for frame in frames if start_s <= 0.0125 + 0.01 * frame + 1e-9 < end_s]
        assert frames[begin:end].tolist() == own
    assert (rows[:, 1] - rows[:, 0]).tolist() == [19, 20, 0, 11]


def test_the_times_of_chunks() -> None:
    """Frame 0 stands for 7.5 to 17.5 ms; frames 4 and 5 of the piece are not read."""
    frames = np.array([0, 1, 2, 3, 6, 7, 8])
    times = chunk_times(np.array([0, 2, 4]), np.array([4, 4, 3]), Timing(0.01, 0.0125), frames)
    assert times.ravel().tolist() == pytest.approx([0.0075, 0.0475, 0.0275, 0.0875, 0.0675, 0.0975])
    coarse = chunk_times(np.array([0]), np.array([1]), Timing(0.5, 0.1), frames)
    assert coarse.tolist() == [[0.0, 0.35]]  # nothing is before the piece


def test_a_track_lies_within_its_piece() -> None:
    track = place(np.array([[0.0, 1.0], [0.5, 1.51]]), np.eye(2), 10.0, 11.5)
    assert track.start_s.tolist() == [10.0, 10.5]
    assert track.end_s.tolist() == [11.0, 11.5]


@pytest.mark.parametrize(
    ("window", "hop", "message"),
    [
        (0.0, None, "the window of a track must be at least 0.01 s, got 0"),
        (math.nan, None, "the window of a track must be at least 0.01 s, got nan"),
        (1.0, -1.0, "the hop of a track must be at least 0.01 s, got -1"),
        (1.0, 1.5, "the hop of a track must not exceed its window (1 s), got 1.5"),
        (None, 2.5, "the hop of a track must not exceed its window (2 s), got 2.5"),
    ],
)
def test_settings_that_make_no_track(window: float | None, hop: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        TrackSettings(window, hop)
    assert str(error.value) == message


def test_what_a_track_is() -> None:
    assert TrackSettings().describe(True) == "the system's own chunks"
    windows = "normalised as the whole piece that they are cut from"
    assert TrackSettings().describe(False) == f"windows of 2 s, one every 0.5 s, {windows}"
    assert TrackSettings(hop_s=0.1).describe(True) == f"windows of 2 s, one every 0.1 s, {windows}"


# --------------------------------------------------------------------------------------------- afterwards


def smoothed_by_hand(track: Track, seconds: float) -> Doubles:
    middles = (track.start_s + track.end_s) / 2
    rows = []
    for middle in middles:
        distance = np.abs(middles - middle) / seconds
        weights = np.where(distance <= 4, np.exp(-0.5 * distance**2), 0)
        rows.append((weights / weights.sum()) @ track.posteriors)
    return np.array(rows)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0, 60.0])
def test_smoothing_is_a_mean_over_a_gaussian(seconds: float) -> None:
    track = random_track(1)
    smoothed = smooth(track, seconds)
    np.testing.assert_allclose(smoothed.posteriors, smoothed_by_hand(track, seconds), rtol=0, atol=1e-12)
    np.testing.assert_allclose(smoothed.posteriors.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert smoothed.start_s.tolist() == track.start_s.tolist()


def test_smoothing_where_windows_are_out_of_order() -> None:
    """A short window within a long one has its middle before it."""
    track = Track(np.array([0.0, 1.0, 2.0]), np.array([9.0, 2.0, 4.0]), np.eye(3))
    np.testing.assert_allclose(smooth(track, 1.0).posteriors, smoothed_by_hand(track, 1.0), atol=1e-12)


def test_smoothing_leaves_what_is_alone_alone() -> None:
    track = random_track(2)
    assert smooth(track, 0) is track
    one = Track(np.zeros(1), np.ones(1), np.array([[0.25, 0.75]]))
    assert smooth(one, 5).posteriors.tolist() == [[0.25, 0.75]]
    level = Track(track.start_s, track.end_s, np.tile([0.5, 0.25, 0.25], (20, 1)))
    np.testing.assert_allclose(smooth(level, 2).posteriors, level.posteriors, atol=1e-15)
    for seconds in (-1.0, 61.0, math.nan):
        with pytest.raises(ValueError, match=f"a track is smoothed over 0 to 60 s, got {seconds:g}"):
            smooth(track, seconds)


def test_tracks_of_pieces_become_one_of_the_recording() -> None:
    late = place(np.array([[0.0, 1.0]]), np.array([[0.1, 0.9]]), 7.0, 8.0)
    early = place(np.array([[0.0, 1.0], [0.5, 1.5]]), np.array([[0.2, 0.8], [0.3, 0.7]]), 1.0, 2.5)
    track = join([late, early])
    assert track is not None
    assert track.start_s.tolist() == [1.0, 1.5, 7.0]
    assert track.end_s.tolist() == [2.0, 2.5, 8.0]
    assert track.posteriors[:, 0].tolist() == [0.2, 0.3, 0.1]
    assert join([]) is None


def test_windows_share_their_overlap_by_halves() -> None:
    track = Track(np.array([0.0, 0.5, 1.0, 5.0]), np.array([2.0, 2.5, 3.0, 7.0]), np.tile(0.5, (4, 2)))
    assert stretches(track).tolist() == [[0, 1.25], [1.25, 1.75], [1.75, 3.0], [5.0, 7.0]]
    nested = Track(np.array([0.0, 2.0, 5.0]), np.array([10.0, 4.0, 15.0]), np.tile(0.5, (3, 2)))
    edges = stretches(nested)
    assert (np.diff(edges.ravel()) >= 0).all()


def test_intervals_of_the_likeliest_class() -> None:
    posteriors = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3]])
    track = Track(np.array([0.0, 1.0, 2.0, 3.0, 9.0]), np.array([2.0, 3.0, 4.0, 5.0, 10.0]), posteriors)
    assert intervals(track, ("ang", "neu")) == [
        Interval("ang", 0.0, 2.5, pytest.approx((1.5 * 0.9 + 1.0 * 0.6) / 2.5)),
        Interval("neu", 2.5, 3.5, pytest.approx(0.8)),
        Interval("ang", 3.5, 5.0, pytest.approx(0.5)),  # of equals the first
        Interval("ang", 9.0, 10.0, pytest.approx(0.7)),  # a gap divides
    ]


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_intervals_say_of_every_time_what_its_window_says(seed: int, windows: int) -> None:
    track = random_track(seed, windows)
    names = ("a", "b", "c")
    edges, rows = stretches(track), intervals(track, names)
    assert all(one.end_s <= two.start_s for one, two in zip(rows, rows[1:], strict=False))
    for (start, end), row in zip(edges, track.posteriors, strict=True):
        middle = (start + end) / 2
        [own] = [each for each in rows if each.start_s <= middle < each.end_s]
        assert own.emotion == names[row.argmax()]
    total = sum(each.end_s - each.start_s for each in rows)
    assert total == pytest.approx((edges[:, 1] - edges[:, 0]).sum())
