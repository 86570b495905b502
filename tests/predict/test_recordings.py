"""What is kept of recordings: waveforms, audio, curves; exact, and bounded."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser.predict.recordings import MAX_BINS, Collector, Waveform, curves, encode, label_place
from ser.predict.result import Piece, Track
from ser.predict.track import smooth, stretches
from tests.predict.heard import RATE_HZ, beeps, recordings, result, spoken


@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 30_000)), min_size=1, max_size=5))
def test_a_waveform_is_the_extremes_of_its_bins(parts: list[tuple[int, int]]) -> None:
    """Wherever pieces lie and in whatever order they come."""
    rng = np.random.default_rng(len(parts))
    whole = rng.normal(size=130_000).astype(np.float32)
    waveform, added = Waveform(), np.zeros(130_000, np.float32)
    for first, number in parts:
        waveform.add(first, whole[first : first + number])
        added[first : first + number] = whole[first : first + number]
    assert len(waveform.low) <= MAX_BINS + 1
    for bin_, (low, high) in enumerate(zip(waveform.low, waveform.high, strict=True)):
        begin = waveform.first + bin_ * waveform.bin_samples
        own = np.append(added[max(begin, 0) : begin + waveform.bin_samples], 0)
        assert (low, high) == (own.min(), own.max())
    touched = np.flatnonzero(added)
    assert waveform.first <= touched[0]
    assert waveform.end > touched[-1]


def test_hours_take_no_more_than_minutes() -> None:
    waveform = Waveform()
    block = beeps(10, 5)
    for number in range(0, 1080, 90):  # three hours
        waveform.add(number * len(block), block)
    assert len(waveform.low) <= MAX_BINS
    assert waveform.high.max() == pytest.approx(0.5, abs=1e-3)


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(content), dtype="float32")


@pytest.mark.parametrize(
    ("rate_hz", "kind"), [(16000, "audio/mpeg"), (8000, "audio/ogg"), (10000, "audio/ogg")]
)
def test_audio_keeps_its_times(rate_hz: int, kind: str) -> None:
    """A tone is heard where it was, to a few milliseconds, and the pause between pieces is kept."""
    time = np.arange(2 * rate_hz) / rate_hz
    tone = (16000 * np.sin(2 * np.pi * 440 * time) * ((time > 0.5) & (time < 0.7))).astype(np.int16)
    audio = encode([(8 * rate_hz, tone), (5 * rate_hz, tone)], rate_hz)
    assert audio.kind == kind
    samples, rate = decoded(audio.content)
    assert (len(samples), rate) == (5 * rate_hz, rate_hz)
    loud = np.flatnonzero(np.abs(samples) > 0.25) / rate_hz
    assert loud[0] == pytest.approx(0.5, abs=0.005)
    assert loud[loud < 2][-1] == pytest.approx(0.7, abs=0.005)
    assert loud[loud > 2][0] == pytest.approx(3.5, abs=0.005)


def test_long_audio_is_encoded_in_blocks() -> None:
    """Libsndfile's Vorbis encoder takes no more than a stack of samples at once."""
    audio = encode([(0, np.zeros(3_000_000, np.int16))], 10000)
    assert len(decoded(audio.content)[0]) == 3_000_000


def test_audio_up_to_the_limit() -> None:
    """A recording's audio is there whole or not at all, and gives its share back when it does not fit."""
    pieces = [spoken("a", 3, 1), spoken("b", 4, 2), spoken("b", 4, 3, start_s=20), spoken("c", 6, 4)]
    made = recordings(*pieces, audio_s=9.5)
    assert [each.source for each in made] == ["a", "b", "c"]
    assert [each.audio is not None for each in made] == [True, False, True]
    assert all(each.waveform is not None for each in made)
    assert recordings(spoken("a", 3, 1), audio_s=0)[0].audio is None


def test_a_recording_begins_with_its_first_piece() -> None:
    [made] = recordings(spoken("a", 2, 1, start_s=100), spoken("a", 2, 2, start_s=50))
    assert (made.start_s, made.end_s) == (50, 102)
    assert [each.start_s for each in made.results] == [50, 100]
    assert made.audio is not None
    assert len(decoded(made.audio.content)[0]) == 52 * RATE_HZ
    assert made.waveform is not None
    assert 0 <= 50 * RATE_HZ - made.waveform.first < made.waveform.bin_samples


def test_tracks_are_smoothed_over_the_whole_recording() -> None:
    pieces = [spoken("a", 2, 1), spoken("a", 2, 2, start_s=2)]
    plain, smoothed = recordings(*pieces)[0].track, recordings(*pieces, smooth_s=0.7)[0].track
    assert plain is not None
    assert smoothed is not None
    expected = smooth(plain, 0.7).posteriors
    np.testing.assert_array_equal(smoothed.posteriors, expected)
    assert np.abs(smoothed.posteriors - plain.posteriors).max() > 0.05


def test_recordings_without_results_leave_nothing_behind() -> None:
    collector = Collector(RATE_HZ, sound=True, audio_s=60)
    pieces = [Piece(name, "", 0.0, 1.0, beeps(1, 0.5)) for name in "abcd"]
    list(collector.watch(pieces))
    assert collector.add(result("b", 0, 1, 1)) is None
    before = collector.add(result("d", 0, 1, 1))
    assert before is not None
    assert before.source == "b"
    assert before.waveform is not None
    assert collector.finish() is not None
    assert collector._sounds == {}
    assert collector.finish() is None


def test_curves_go_through_the_middles_and_stop_at_gaps() -> None:
    start = np.array([0.0, 0.5, 1.0, 8.0])
    posteriors = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    drawn = curves(Track(start, start + 2, posteriors), 100)
    assert [times.tolist() for times, _ in drawn] == [[0, 1, 1.5, 2, 3], [8, 9, 10]]
    assert [values[:, 0].tolist() for _, values in drawn] == [[0.1, 0.1, 0.2, 0.3, 0.3], [0.4] * 3]


def test_gaps_that_nobody_can_see_are_not_drawn() -> None:
    """Of an hour a pause of 2 s is less than a point of a screen; one of 30 s is seen."""
    start = np.concatenate([np.arange(900) * 2.0, 1802 + np.arange(885) * 2.0, 3602 + np.arange(5) * 2.0])
    posteriors = np.random.default_rng(1).dirichlet([1, 1], len(start))
    drawn = curves(Track(start, start + 2, posteriors), 10_000)
    assert [(times[0], times[-1]) for times, _ in drawn] == [(0, 3572), (3602, 3612)]


def test_long_tracks_are_drawn_by_means() -> None:
    start = 0.5 * np.arange(1001)
    posteriors = np.random.default_rng(1).dirichlet([1, 1], 1001)
    track = Track(start, start + 0.5, posteriors)
    [(times, values)] = curves(track, 100)
    assert len(times) == 91 + 2  # groups of 11
    np.testing.assert_allclose(values[1], posteriors[:11].mean(axis=0))
    np.testing.assert_allclose(values[-2], posteriors[-11:].mean(axis=0))
    np.testing.assert_allclose(values.sum(axis=1), 1)
    assert (times[0], times[-1]) == (0, 500.5)
    assert times[1] == pytest.approx(5 * 0.5 + 0.25)
    assert stretches(track).shape == (1001, 2)


def test_attention_is_drawn_against_uniform() -> None:
    pieces = [spoken("a", 2, 1), spoken("a", 3, 2, start_s=5)]
    [made] = recordings(*pieces)
    drawn = made.attention(10_000)
    assert len(drawn) == 2
    for (_, own), (times, values) in zip(pieces, drawn, strict=True):
        assert own.attention is not None
        np.testing.assert_allclose(values, own.attention.astype(float) * len(own.attention))
        assert values.mean() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(times, own.start_s + 0.0125 + 0.01 * np.arange(len(times)))
    coarse = made.attention(100)
    assert sum(len(times) for times, _ in coarse) <= 102
    np.testing.assert_allclose(coarse[0][1][0], drawn[0][1][:5].mean())


def test_a_name_stands_where_its_area_is_thickest_and_has_room() -> None:
    times, values = np.array([0.0, 5.0, 10.0]), np.array([[0.5, 0.5], [0.1, 0.9], [0.9, 0.1]])
    drawn = [(times, values), (times + 20, values[:, ::-1])]
    assert label_place(drawn, 0, 4.0, 0.2) == pytest.approx((25.0, 0.29))  # from 23 to 27: at least 0.58
    assert label_place(drawn[:1], 0, 4.0, 0.2) == pytest.approx((8.0, 0.13))
    assert label_place(drawn[:1], 1, 4.0, 0.2) == pytest.approx((5.0, 0.71))
    assert label_place(drawn, 0, 11.0, 0.2) is None
    assert label_place(drawn, 0, 4.0, 0.95) is None
