"""Silero VAD as an extractor."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from ser.data.corpus import AudioConfig
from ser.errors import ConfigError
from ser.feats.base import Timing
from ser.feats.sets import load_set
from ser.feats.silero import Silero, SileroSettings

CONF = Path(__file__).parents[2] / "conf"


def test_other_sampling_rates_are_refused() -> None:
    with pytest.raises(ConfigError) as error:
        load_set(CONF / "silero.yaml", AudioConfig(22050, None, "refuse"))
    assert str(error.value) == (
        f"{CONF}/silero.yaml: Silero VAD takes recordings at 8000 or 16000 Hz, audio.sampling_rate_hz is "
        "22050; correct it"
    )


@pytest.mark.slow
def test_each_frame_is_what_the_package_gives() -> None:
    """Whatever was computed before, and with the end padded; the number of torch's threads stays."""
    package = pytest.importorskip("silero_vad", reason="utils/install.sh --extra vad is not done")
    samples = (0.1 * np.random.default_rng(0).standard_normal(5000)).astype(np.float32)
    threads = torch.get_num_threads()
    extractor = Silero(SileroSettings("silero"), 16000)
    assert extractor.timing == Timing(0.032, 0.016)
    extractor.compute(samples[::-1], "b")
    got = extractor.compute(samples, "a")
    assert torch.get_num_threads() == threads
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = package.load_silero_vad()
    torch.set_num_threads(threads)
    padded = torch.from_numpy(np.pad(samples, (0, 10 * 512 - 5000)))[None]
    with torch.inference_mode():
        expected = network.audio_forward(padded, 16000)
    assert got.shape == (10, 1)
    np.testing.assert_allclose(got[:, 0], expected[0].numpy(), atol=1e-6)
    np.testing.assert_array_equal(extractor.compute(samples, "a"), got)
