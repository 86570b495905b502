"""The decision on speech against Kaldi's algorithm in plain loops, and the table it is written to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ser import config
from ser.data import tables
from ser.errors import ConfigError, DataError, StaleError
from ser.feats import extract
from ser.feats.sets import load_set
from ser.feats.speech import vad_settings
from ser.feats.vad import VadConfig, compute_vad, decide
from tests.feats.conftest import make, plain
from tests.lost import check_made_again

CONF = Path(__file__).parents[2] / "conf"
KALDI = VadConfig("energy", 5.0, 0.5, None, 0, 0.6)  # Kaldi's defaults
LOUDEST = VadConfig("energy", None, 0.0, 20.0, 0, 0.6)


def kaldi_vad(energies: list[float], settings: VadConfig) -> list[float]:
    """ComputeVadEnergy of Kaldi's ivector/voice-activity-detection.cc, in its loops."""
    total = len(energies)
    assert settings.vad_energy_threshold is not None
    threshold = settings.vad_energy_threshold + settings.vad_energy_mean_scale * sum(energies) / total
    voiced = []
    for t in range(total):
        high, seen = 0, 0
        for u in range(t - settings.vad_frames_context, t + settings.vad_frames_context + 1):
            if 0 <= u < total:
                seen += 1
                high += energies[u] > threshold
        voiced.append(1.0 if high >= seen * settings.vad_proportion_threshold else 0.0)
    return voiced


@given(
    st.lists(st.integers(-4, 20).map(float), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 5),
    st.sampled_from([0.12, 0.3, 0.5, 0.6]),
)
def test_the_decision_is_kaldis(
    energies: list[float], mean_scale: float, context: int, proportion: float
) -> None:
    settings = VadConfig("energy", 5.0, mean_scale, None, context, proportion)
    assert decide(np.array(energies, np.float32), settings).tolist() == kaldi_vad(energies, settings)


def test_rules_by_numbers() -> None:
    db = np.log(10) / 10
    energies = np.array([10.0, 30.0, 30.0 - 20 * db + 1e-6, 30.0 - 20 * db - 1e-3, 0.0, 12.6])
    assert decide(energies, KALDI).astype(int).tolist() == [0, 1, 1, 1, 0, 0]  # above 5 + 0.5 * 16.93 = 13.46
    assert decide(energies, LOUDEST).astype(int).tolist() == [0, 1, 1, 0, 0, 0]
    both = VadConfig("energy", 26.0, 0.0, 20.0, 1, 0.5)
    assert decide(energies, both).astype(int).tolist() == [1, 0, 0, 0, 0, 0]  # 1 of 2; 1 of 3


def test_the_default_follows_the_loudest_frame_whatever_the_level() -> None:
    settings = config.load(VadConfig, CONF / "vad.yaml")
    assert (settings.set, settings.below_loudest_db) == ("energy", 40.0)
    energies = np.concatenate([np.full(50, 8.0), np.full(60, 20.0), np.full(40, 9.0)])
    speech = np.flatnonzero(decide(energies, settings))
    assert (speech[0], speech[-1], len(speech)) == (48, 111, 64)  # 4 of 11 frames are enough, 3 are not
    np.testing.assert_array_equal(decide(energies - 7, settings), decide(energies, settings))
    assert not decide(np.full(50, np.log(2.0**-23)), settings).any()  # digital silence
    energies[10:13] = 20.0  # a click of 30 ms
    np.testing.assert_array_equal(np.flatnonzero(decide(energies, settings)), speech)


def test_no_rule_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vad.yaml"
    path.write_text("base: vad.yaml\nvad_energy_threshold: null\nbelow_loudest_db: null\n")
    with pytest.raises(ConfigError) as error:
        config.load(VadConfig, path)
    assert str(error.value) == (
        f"{path}: vad_energy_threshold or below_loudest_db must be a number; correct it"
    )


# -------------------------------------------------------------------------------------------------- the table


@pytest.fixture
def extracted(data: Path) -> Path:
    """The data folder with the main set and the energies."""
    for name in ("fbank", "energy"):
        make(data, load_set(CONF / f"{name}.yaml", data.parents[1] / "conf" / "corpus.yaml"), 1)
    extract.make_main(data, "fbank")
    return data


def test_the_verb_writes_kaldis_table(
    extracted: Path, run_verb: Callable[..., CompletedProcess[str]], caplog: pytest.LogCaptureFixture
) -> None:
    done = run_verb("compute_vad", CONF / "vad.yaml", extracted)
    assert (done.returncode, done.stdout) == (0, "")
    settings = config.load(VadConfig, CONF / "vad.yaml")
    energies, speech = (tables.ArkReader(extracted / p) for p in ("energy/feats.scp", "vad.scp"))
    frames = tables.read_table(extracted / "utt2num_frames")
    assert list(speech.places) == list(frames)
    for key, total in frames.items():
        vector = speech.read(key, int(total))
        assert (vector.dtype, vector.shape) == (np.float32, (int(total),))
        np.testing.assert_array_equal(vector, decide(energies.read(key)[:, 0], settings))
    total = sum(map(int, frames.values()))
    assert done.stderr.endswith(f"{extracted}/vad.scp: 100.0 % of {total} frames are speech\n")
    assert vad_settings(extracted) == {
        **yaml.safe_load((CONF / "vad.yaml").read_text()),
        "made": yaml.safe_load((extracted / "energy" / "settings.yaml").read_text()),
    }
    again = run_verb("compute_vad", CONF / "vad.yaml", extracted)
    assert again.stderr.endswith(f"{extracted}/vad.scp: up to date\n")
    with caplog.at_level(logging.INFO):
        check_made_again(
            extracted / "vad",
            {"../vad.scp", "../vad.yaml", "vad.ark", "vad.scp"},
            lambda: compute_vad(extracted, settings, plain),
            caplog,
        )


def test_utterances_without_speech_are_named(extracted: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    compute_vad(extracted, VadConfig("energy", 1e6, 0.0, None, 0, 0.6), plain)
    assert caplog.messages[-2:] == [
        f"{extracted}/vad.scp: 0.0 % of 227 frames are speech",
        f"{extracted}/vad.scp: no speech in 7 of 7 utterances (utt0, utt1, utt2, utt3, utt4, ...); all their "
        "frames will be read",
    ]
    assert not tables.ArkReader(extracted / "vad.scp").read("utt0").any()


def test_frames_of_another_shift_are_taken_at_their_times(extracted: Path, tmp_path: Path) -> None:
    """Energies every 20 ms of windows of 20 ms: each frame of the main set takes the nearest in time."""
    path = tmp_path / "slow.yaml"
    path.write_text("base: energy.yaml\nframe_length_ms: 20.0\nframe_shift_ms: 20.0\n")
    make(extracted, load_set(path, extracted.parents[1] / "conf" / "corpus.yaml"), 1)
    slow = tables.ArkReader(extracted / "slow" / "feats.scp").read("utt3")[:, 0]
    threshold = float(np.median(slow))
    compute_vad(extracted, VadConfig("slow", threshold, 0.0, None, 0, 0.6), plain)
    speech = tables.ArkReader(extracted / "vad.scp").read("utt3")
    assert 0 < speech.sum() < len(speech)
    for t, value in enumerate(speech):
        middle_s = 0.0125 + 0.01 * t
        nearest = min(range(len(slow)), key=lambda s: abs(0.01 + 0.02 * s - middle_s))
        assert value == (slow[nearest] > threshold)


def test_other_settings_and_views_are_refused(extracted: Path) -> None:
    compute_vad(extracted, KALDI, plain)
    with pytest.raises(StaleError) as stale:
        compute_vad(extracted, VadConfig("energy", 5.5, 0.5, None, 0, 0.6), plain)
    assert str(stale.value) == (
        f"{extracted}/vad: was made differently: vad_energy_threshold: 5.0 -> 5.5; choose another data "
        f"folder, or remove {extracted}/vad to make it again"
    )
    with pytest.raises(DataError) as error:
        compute_vad(extracted, VadConfig("silero", 0.5, 0.0, None, 0, 0.6), plain)
    assert str(error.value) == (
        f"{extracted}/silero/settings.yaml: no such file; run stage 1 (steps/extract.sh) with the feature "
        "set silero"
    )
    (extracted / "source").write_text("elsewhere\n")
    with pytest.raises(DataError) as error:
        compute_vad(extracted, KALDI, plain)
    assert str(error.value) == (
        f"{extracted}: is a view; decide on speech activity in the folder that it is a view of"
    )
