"""The embedded corpus under real conditions: the same turns, other recordings, times that stay true."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from ser.corpora.mini import align, audio
from ser.corpora.mini.conditions import MICROPHONES, Conditions, Microphone, real_conditions, recorded
from ser.corpora.mini.design import ENDINGS, SPEAKERS, Dialog, Turn, plan, random_state
from tests.corpora.test_mini_release import alignment, make

DESIGN = [(dialog, turn) for dialog in plan(seed=0, scale=0.1) for turn in dialog.turns]
EVEN = Microphone({100.0: 0.0}, -200.0)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One corpus under plain and under real conditions."""
    folder = tmp_path_factory.mktemp("mini")
    for name in ("plain", "real"):
        done = make(folder / name, "--engine", "formant", "--conditions", name)
        assert done.returncode == 0, done.stderr
    return {name: folder / name for name in ("plain", "real")}


def read(release: Path, dialog: Dialog, turn: Turn) -> np.ndarray:
    path = release / dialog.folder / "sentences" / "wav" / dialog.name / f"{turn.name}.wav"
    with wave.open(str(path), "rb") as stream:
        return np.frombuffer(stream.readframes(stream.getnframes()), "<i2").astype(float) / 32768


def phones(release: Path, dialog: Dialog, turn: Turn) -> list[tuple[int, int, str]]:
    """First and last frame and name of every phone, with its neighbours."""
    rows = alignment(release, dialog, turn, "phseg")[1:-2]
    fields = [row.split(maxsplit=3) for row in rows]
    return [(int(first), int(last), name) for first, last, _, name in fields]


def db(samples: np.ndarray) -> float:
    return float(10 * np.log10((samples**2).mean()))


@pytest.mark.slow
def test_alignments_move_with_the_silence(releases: dict[str, Path]) -> None:
    for dialog, turn in DESIGN:
        own = real_conditions(0, turn)
        plain, real = (len(read(releases[name], dialog, turn)) for name in ("plain", "real"))
        assert real == plain + 160 * (own.lead_frames + own.tail_frames)
        if not turn.aligned:
            continue
        (_, lead, _), *spoken, (tail, end, _) = phones(releases["plain"], dialog, turn)
        moved = [(a + own.lead_frames, b + own.lead_frames, name) for a, b, name in spoken]
        assert phones(releases["real"], dialog, turn) == [
            (0, lead + own.lead_frames, "SIL"),
            *moved,
            (tail + own.lead_frames, end + own.lead_frames + own.tail_frames, "SIL"),
        ]


@pytest.mark.slow
def test_speech_is_heard_where_it_is_said_to_be(releases: dict[str, Path]) -> None:
    """Silence at both ends is at least 18 dB below the speech between."""
    for dialog, turn in DESIGN:
        if turn.aligned and not turn.tag:
            samples = read(releases["real"], dialog, turn)
            (_, lead, _), *_, (tail, _, _) = phones(releases["real"], dialog, turn)
            first, last = (lead + 1) * 160, tail * 160
            ends = np.concatenate(
                [samples[: first - 320], samples[last + 1600 :]]
            )  # what rings on is left out
            assert db(samples[first:last]) - db(ends + 1e-6) > 18, turn.name


@pytest.mark.slow
def test_the_real_release_says_that_it_is_one(releases: dict[str, Path]) -> None:
    plain, real = ((releases[name] / "README.txt").read_text().splitlines()[2] for name in releases)
    assert plain == "Made by `python3 -m ser make_mini_corpus` with the engine formant 1, seed 0, scale 0.1."
    assert real == plain[:-1] + ", conditions real."
    done = make(releases["plain"].with_name("real"), "--engine", "formant", "--words", "emotional")
    assert "made 80 turns" in done.stderr, "one of other conditions is replaced"
    read_me = (releases["real"] / "README.txt").read_text().splitlines()[2]
    assert read_me == plain[:-1] + ", words emotional."
    said = "".join(path.read_text("latin-1") for path in releases["real"].rglob("transcriptions/S*.txt"))
    endings = {ending for endings in ENDINGS.values() for ending in endings}
    assert 35 < sum(map(said.count, endings)) < 72


def test_conditions_differ_by_speaker_and_recording() -> None:
    turns = [turn for dialog in plan(seed=0, scale=1.0) for turn in dialog.turns]
    every = [real_conditions(0, turn) for turn in turns]
    gains = np.array([item.gain_db for item in every])
    assert -20 <= gains.min() < -17
    assert -3 < gains.max() <= 0
    of_speakers = [gains[[turn.speaker == name for turn in turns]].mean() for name in SPEAKERS]
    assert np.ptp(of_speakers) > 8
    assert {name: real_conditions(0, Turn("u", name, "ang", "x")).gain_db for name in SPEAKERS} == {
        name: real_conditions(0, Turn("u", name, "sad", "y")).gain_db for name in SPEAKERS
    }, "not by label"
    silence_s = np.array([(item.lead_frames, item.tail_frames) for item in every]) / 100
    assert 0.42 <= silence_s.min() < 0.6
    assert 1.4 < silence_s.max() <= 1.82
    assert silence_s.mean() == pytest.approx(1.0, abs=0.1)
    snrs = np.array([item.snr_db for item in every])
    assert 35 <= snrs.min() < 36
    assert 64 < snrs.max() <= 65
    second = np.array([item.microphone is MICROPHONES[1] for item in every])
    for name in SPEAKERS:
        assert 0.3 < second[[turn.speaker == name for turn in turns]].mean() < 0.7


def tone(hz: float) -> np.ndarray:
    """A second of a tone of root mean square 0.05 between a tenth of a second of silence."""
    pause = np.zeros(1600)
    return np.concatenate([pause, np.sin(2 * np.pi * hz * np.arange(16000) / 16000) * 0.05 * 2**0.5, pause])


def test_a_recording_has_its_silence_level_and_noise() -> None:
    own = Conditions(100, 70, -12.0, 35.0, EVEN)
    samples, lead = recorded(tone(1000), 1600, own, random_state(0, "x"))
    assert lead == 100 * align.FRAME + 1600
    assert len(samples) == 19200 + 170 * align.FRAME
    speech = 20 * np.log10(0.05) - 12
    assert db(samples[lead + 100 : lead + 15900]) == pytest.approx(speech, abs=0.05)
    assert db(samples[: lead - 100]) == pytest.approx(speech - 35, abs=1)
    assert db(samples[lead + 16100 :]) == pytest.approx(speech - 35, abs=1)


@pytest.mark.parametrize(("hz", "gain_db"), [(800, 0), (1549, 3), (3000, 6), (5000, 0), (6124, -10)])
def test_the_second_microphone_has_its_response(hz: float, gain_db: float) -> None:
    own = Conditions(0, 0, 0.0, 200.0, MICROPHONES[1])
    samples, lead = recorded(tone(hz), 1600, own, random_state(0, "x"))
    level = db(samples[lead + 200 : lead + 15800])
    assert level == pytest.approx(20 * np.log10(0.05) + gain_db, abs=0.7)


@pytest.mark.parametrize(("number", "noise_db"), [(0, -95), (1, -85)])
def test_a_microphone_has_its_own_noise(number: int, noise_db: float) -> None:
    own = Conditions(100, 100, 0.0, 200.0, MICROPHONES[number])
    samples, lead = recorded(tone(1000), 1600, own, random_state(0, "x"))
    assert db(samples[: lead - 200]) == pytest.approx(noise_db, abs=0.3)
    assert audio.to_pcm(samples).dtype == np.int16
