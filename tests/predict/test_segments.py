"""How recordings are cut: against a plain loop over the rules, and on recordings with known pauses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser import config
from ser.data.segments import RecordingSegment
from ser.errors import UsageError
from ser.feats.audio import stream_samples
from ser.feats.base import Floats
from ser.feats.energy import EnergySettings
from ser.feats.vad import VadConfig, decide
from ser.predict import segments
from ser.predict.segments import SegmentRule, Span, in_samples, speech_spans, windows

REPO = Path(__file__).resolve().parents[2]
RATE = 16000


def noise(seconds: float, level: float, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def recording(tmp_path: Path, parts: list[tuple[float, float]], name: str = "a.wav") -> Path:
    """Noise of (seconds, level) each, one after another."""
    wave = np.concatenate([noise(*part, seed=number) for number, part in enumerate(parts)])
    soundfile.write(tmp_path / name, wave, RATE, subtype="FLOAT")
    return tmp_path / name


def cut(path: Path, rule: str) -> list[tuple[float, float]]:
    with stream_samples(path, lambda _: [0]) as stream:
        spans = SegmentRule.parse(rule).spans(stream)
        return [(first / stream.rate_hz, end / stream.rate_hz) for first, end in spans]


def test_settings_are_those_of_conf() -> None:
    assert config.load(VadConfig, REPO / "conf" / "vad.yaml") == segments.VAD
    assert config.load(EnergySettings, REPO / "conf" / "energy.yaml") == segments.ENERGY


# ------------------------------------------------------------------------------------------------ the rules


def plain_rules(energies: Floats) -> list[Span]:
    """Rules 1 to 5 frame by frame, at 100 frames a second."""
    speech = decide(np.minimum(energies, np.sort(energies)[int(0.999 * (len(energies) - 1))]), segments.VAD)
    spans: list[list[int]] = []
    for frame in np.flatnonzero(speech).tolist():
        if spans and frame - spans[-1][1] < 50:
            spans[-1][1] = frame + 1
        else:
            spans.append([frame, frame + 1])
    if any(end - begin >= 30 for begin, end in spans):
        spans = [[begin, end] for begin, end in spans if end - begin >= 30]
    joined: list[list[int]] = []
    for begin, end in spans:
        if joined:
            first, last = joined[-1]
            if (last - first < 100 or end - begin < 100) and begin - last <= 200 and end - first <= 1500:
                joined[-1][1] = end
                continue
        joined.append([begin, end])
    parts: list[Span] = []
    for begin, end in joined:
        while end - begin > 1500:
            means = {
                place: float(np.sum(energies[place - 10 : place + 10].astype(np.float64)))
                for place in range(begin + 750, min(begin + 1500, end - 100) + 1)
            }
            place = min(means, key=lambda place: (round(means[place], 6), place))
            parts.append((begin, place))
            begin = place
        parts.append((begin, end))
    return parts


@pytest.mark.parametrize("seed", range(6))
def test_speech_spans_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stretches = []
    for number in range(60):
        length = int(rng.choice([5, 20, 40, 80, 150, 400, 2300]))
        level = 12.0 if number % 2 else 0.5
        stretches.append(level + rng.normal(0, 1.0, length))
    energies = np.concatenate(stretches).astype(np.float32)
    spans = speech_spans(energies, 100.0)
    assert spans == plain_rules(energies)
    assert len(spans) > 10
    assert max(end - begin for begin, end in spans) <= 1500
    assert all(one[1] <= two[0] for one, two in pairwise(spans))


def test_a_slammed_door_hides_nothing() -> None:
    """Three frames 60 dB above speech in 60 s; without rule 1's quantile nothing else would be speech."""
    energies = np.full(6000, 0.5, np.float32)
    energies[1000:1500] = energies[3000:3500] = 12.0
    energies[5000:5003] = 26.0
    assert not decide(energies, segments.VAD)[1000:1500].any()
    assert speech_spans(energies, 100.0) == [(998, 1502), (2998, 3502)]


def test_no_speech_is_no_span() -> None:
    assert speech_spans(np.full(300, -16.0, np.float32), 100.0) == []


def test_margins_take_at_most_half_of_a_pause() -> None:
    spans = in_samples([(10, 20), (25, 40), (100, 110)], 160, 120.0, 20000, 1600)
    assert spans == [(120, 3720), (3720, 8120), (14520, 19320)]
    assert in_samples([], 160, 120.0, 20000, 1600) == []


@pytest.mark.parametrize("total", [1, 3, 4, 5, 6, 7, 8, 9, 10, 4001])
def test_windows_cover_everything_once(total: int) -> None:
    spans = windows(total, 4)
    assert [first for first, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == total
    assert all(end - first == 4 for first, end in spans[:-1])
    assert min(total, 2) <= spans[-1][1] - spans[-1][0] < 6 or total < 2


# --------------------------------------------------------------------------------------------- on recordings


def test_speech_between_pauses(tmp_path: Path) -> None:
    """Loud stretches 60 dB above the rest; edges to a frame and the margin."""
    parts = [(1.0, 1e-4), (3.0, 0.1), (0.3, 1e-4), (2.0, 0.1), (1.2, 1e-4), (4.0, 0.1), (2.0, 1e-4)]
    spans = cut(recording(tmp_path, parts), "vad")
    expected = [(1.0, 6.3), (7.5, 11.5)]  # a pause of 0.3 s parts nothing
    assert np.abs(np.array(spans) - np.array(expected)).max() < 0.17
    for (begin, end), (first, last) in zip(spans, expected, strict=True):
        assert begin < first
        assert end > last


def test_times_are_those_of_the_recording_at_any_rate(tmp_path: Path) -> None:
    parts = [(1.0, 1e-4), (3.0, 0.1), (1.0, 1e-4), (2.0, 0.1)]
    at_16k = cut(recording(tmp_path, parts), "vad")
    wave, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    soundfile.write(tmp_path / "b.wav", np.repeat(wave, 3)[: len(wave) * 3], 48000, subtype="FLOAT")
    assert np.abs(np.array(cut(tmp_path / "b.wav", "vad")) - np.array(at_16k)).max() < 0.011


def test_auto_takes_short_ones_whole(tmp_path: Path) -> None:
    short = recording(tmp_path, [(2.0, 1e-4), (26.0, 0.1), (2.0, 1e-4)])
    long = recording(tmp_path, [(2.0, 1e-4), (26.1, 0.1), (2.0, 1e-4)], "b.wav")
    assert cut(short, "auto") == [(0.0, 30.0)]
    assert cut(long, "auto") == cut(long, "vad")
    assert cut(long, "whole") == [(0.0, 30.1)]
    pieces = cut(long, "auto")
    assert len(pieces) >= 2
    assert max(end - begin for begin, end in pieces) <= 15.2
    assert pieces[0][1] == pieces[1][0]  # cut within speech: nothing is lost, nothing is twice


def test_windows_of_a_part_of_a_recording(tmp_path: Path) -> None:
    path = recording(tmp_path, [(10.0, 0.1)])
    with stream_samples(RecordingSegment(path, 2.0, 9.0), lambda _: [0]) as stream:
        assert SegmentRule.parse("2").spans(stream) == [
            (0, 32000),
            (32000, 64000),
            (64000, 96000),
            (96000, 112000),
        ]
        assert stream.first == 32000


@pytest.mark.parametrize("text", ["", "never", "0", "0.05", "-1", "nan", "inf", "1e9"])
def test_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        SegmentRule.parse(text)
    assert str(error.value) == f"--segments must be auto, vad, whole or seconds from 0.1 to 86400, got {text}"
