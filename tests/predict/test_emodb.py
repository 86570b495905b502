"""Models trained on EMO-DB, in use: of every test file the posteriors of stage 5."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import ser
from ser.data import tables
from ser.feats.vad import VadConfig
from tests.predict import recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SPEAKERS, TESTED = ("03", "08", "09"), ("03",)
VAD = VadConfig("energy", 0.0, 0.0, 40.0, 5, 0.3)  # conf/vad.yaml
CASES = {
    "blstmatt_small": ["features.norm=speaker"],
    "csa_small": ["features.norm=global", "features.level=utterance"],
    "svm_egemaps_speaker": [],
    "svm_egemaps_global": [],
}


@pytest.fixture(scope="module")
def fold(emodb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers, one of whom is tested."""
    if not all(importlib.util.find_spec(package) for package in ("opensmile", "sklearn")):
        pytest.skip("utils/install.sh --extra baselines is not done")
    corpus = recipe.emodb_corpus(emodb, SPEAKERS, TESTED)
    return recipe.make_data(tmp_path_factory.mktemp("emodb"), corpus, "CM2", ["egemaps"], VAD)


@pytest.mark.parametrize("system", CASES)
def test_equals_stage_5(system: str, fold: Path, tmp_path: Path) -> None:
    folder = recipe.train(fold, tmp_path, system, CASES[system])
    expected = tables.read_vectors(folder / "decode_test" / "post")
    assert len(expected) == 39
    model = ser.load(folder, use_gpu="no")
    wavs = tables.read_table(fold / "test" / "wav.scp")
    pieces = list(recipe.read_pieces(fold / "test"))
    speakers = model.speakers(pieces)
    together = {result.source: result for result in model.results(reversed(pieces), speakers)}
    for key, row in expected.items():
        alone = model.predict(wavs[key], speaker="03", speakers=speakers)
        np.testing.assert_allclose(alone.posterior, row, atol=1e-6)
        np.testing.assert_allclose(together[key].posterior, row, atol=1e-6)
        assert alone.notes == together[key].notes == ()
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        (result,) = model.results(pieces[:1], speakers)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(result.posterior, expected[pieces[0].source], atol=1e-6)
