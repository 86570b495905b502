"""Synthetic experiments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.experiment import Made, make_experiment


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One experiment for all tests that only read it."""
    return make_experiment(tmp_path_factory.mktemp("experiment"))


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """A small experiment that a test may spoil."""
    return make_experiment(
        tmp_path, {"blstmatt": 0.8, "csa_30": 0.7}, seeds=(1, 2), num_folds=2, per_speaker=8
    )
