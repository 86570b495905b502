"""What the recipe leaves can be used as it is: models of a finished run say what its stage 5 said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ser
from ser.data import tables
from ser.data.segments import read_recordings
from ser.feats.audio import load_samples
from ser.feats.sets import read_set
from ser.predict.result import Piece

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_models_of_a_finished_run(finished: Path) -> None:
    data = finished / "data" / "folds" / "paper_dev" / "test"
    audio, speakers = read_set(data).audio, tables.read_table(data / "utt2spk")
    waves = {key: load_samples(segment, audio) for key, segment in read_recordings(data).items()}
    pieces = [
        Piece(key, speakers[key], 0.0, len(samples) / audio.sampling_rate_hz, samples)
        for key, samples in waves.items()
    ]
    folders = sorted(path.parent for path in (finished / "exp" / "paper_dev").glob("*/*/model.json"))
    assert {folder.parent.name for folder in folders} == {"blstmatt", "csa_30", "majority"}
    for folder in folders:
        model = ser.load(folder, use_gpu="no")
        statistics = model.speakers(pieces) if model.needs_speakers else None
        results = {result.source: result.posterior for result in model.results(pieces, statistics)}
        assert list(results) == [piece.source for piece in pieces]
        for key, row in tables.read_vectors(folder / "decode_test" / "post").items():
            np.testing.assert_allclose(results[key], row, atol=1e-6)
