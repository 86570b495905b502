"""Fixtures of the aligner's tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ser.data.phones import PhoneSet


@pytest.fixture
def english() -> PhoneSet:
    """A small English phone set."""
    return PhoneSet(
        name="small",
        vowel=("AH", "AY", "EH", "IY"),
        consonant=("D", "DH", "K", "L", "N", "S", "T", "W", "Z"),
        silence=("SIL",),
        filler=("+LAUGHTER+",),
        parts={},
        silence_words=("<sil>",),
        filler_words=("++LAUGHTER++", "++NOISE++"),
    )


@pytest.fixture(scope="session")
def k2_python(repo: Path) -> str:
    """The interpreter that has k2, as the steps find it."""
    result = subprocess.run(
        ["bash", "-c", ". ./path.sh && . utils/log.sh && . utils/k2.sh && require_k2"],
        cwd=repo, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        pytest.skip(result.stderr.strip())
    return result.stdout.strip()
