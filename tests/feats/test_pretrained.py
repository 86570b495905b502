"""Frames of pretrained encoders: tiny random ones of each family, and the real Whisper base where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ser.data.corpus import AudioConfig
from ser.feats.base import Extractor, Floats
from ser.feats.sets import FeatureSet, load_set
from tests.feats.encoders import (
    FAMILIES,
    make_encoder,
    wav2vec2_layers,
    whisper_layers,
)

AUDIO = AudioConfig(16000, None, "refuse")
CONF = Path(__file__).resolve().parents[2] / "conf" / "whisper.yaml"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a tiny model of each family."""
    top = tmp_path_factory.mktemp("models")
    return {family: make_encoder(top / family, family) for family in FAMILIES}


def the_set(model: Path, *overrides: str, audio: AudioConfig = AUDIO) -> FeatureSet:
    first = [f"model={model}", "layers=all", "chunk_s=2", "overlap_s=0.5", "device=cpu"]
    return load_set(CONF, audio, overrides=[*first, *overrides])


def encoder(model: Path, *overrides: str) -> Extractor:
    return the_set(model, *overrides).make()


def speechlike(num_samples: int, seed: int = 1) -> Floats:
    """Noise whose loudness and colour change, so that no two frames are alike."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(num_samples)
    smooth = np.convolve(noise, np.ones(9) / 9, "same")
    slow = np.sin(np.arange(num_samples) / 2100) ** 2
    return (0.2 * (slow * smooth + (1 - slow) * 0.3 * noise)).astype(np.float32)


@pytest.mark.parametrize("num_samples", [201, 399, 1600, 1601, 9600 + 319])
def test_whisper_is_the_papers(tiny: dict[str, Path], num_samples: int) -> None:
    samples = speechlike(num_samples)
    expected = whisper_layers(tiny["whisper"], samples)
    features = encoder(tiny["whisper"]).compute(samples, "a")
    assert features.shape == (len(expected[0]), 4 * 16)
    np.testing.assert_allclose(features, np.concatenate(expected, axis=1), atol=1e-4)


@pytest.mark.parametrize("family", ["wav2vec2", "wav2vec2-large"])
@pytest.mark.parametrize("num_samples", [400, 1600, 3199])
def test_wav2vec2_is_the_papers(tiny: dict[str, Path], family: str, num_samples: int) -> None:
    samples = speechlike(num_samples)
    expected = wav2vec2_layers(tiny[family], samples)
    features = encoder(tiny[family]).compute(samples, "a")
    assert features.shape == (len(expected[0]), 4 * 16)
    np.testing.assert_allclose(features, np.concatenate(expected, axis=1), atol=1e-4)
