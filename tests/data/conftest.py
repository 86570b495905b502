"""What several tests of data folders start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.test_datadir import items, write


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """Manifests of the toy corpus of test_datadir.py."""
    return write(tmp_path / "manifests", *items(tmp_path))
