"""Small data folders, and posteriors to score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

EMOTIONS = ("ang", "hap", "neu", "sad")
Maker = Callable[..., Path]


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def make_data(tmp_path: Path) -> Maker:
    """Make a data folder from utterance -> class; the speaker is what stands before the first ``-``."""

    def make(name: str, labels: Mapping[str, str], emotions: Sequence[str] = EMOTIONS) -> Path:
        folder = tmp_path / name
        _write(folder / "emotions.txt", [f"{emotion} {index}" for index, emotion in enumerate(emotions)])
        _write(folder / "utt2emo", [f"{utt} {labels[utt]}" for utt in sorted(labels)])
        _write(folder / "utt2spk", [f"{utt} {utt.split('-')[0]}" for utt in sorted(labels)])
        return folder

    return make


@pytest.fixture
def make_output(tmp_path: Path) -> Maker:
    """Make a folder of posteriors from utterance -> probabilities; other files by name, as lines."""

    def make(
        name: str,
        posteriors: Mapping[str, Sequence[float]],
        emotions: Sequence[str] = EMOTIONS,
        **tables: Mapping[str, str],
    ) -> Path:
        folder = tmp_path / name
        _write(folder / "emotions.txt", [f"{emotion} {index}" for index, emotion in enumerate(emotions)])
        rows = {utt: " ".join(map(str, row)) for utt, row in posteriors.items()}
        _write(folder / "post", [f"{utt}  [ {rows[utt]} ]" for utt in sorted(rows)])
        for file, table in tables.items():
            _write(folder / file, [f"{key} {table[key]}" for key in sorted(table)])
        return folder

    return make
