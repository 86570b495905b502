"""A data folder of noise, for tests of feature sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ser.data import tables
from ser.feats import extract
from ser.feats.sets import FeatureSet

CORPUS = """\
name: toy
module: csv
classes: [a, b]
labels: {A: a, B: b}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse, on_mixed_rate: warn, on_silent: warn}
keep: {}
protocol: loso
protocols:
  loso: {group: speaker, test: each, dev: null, keep: {}}
checks: null
"""


def plain(items: Sequence[str], _what: str) -> Iterable[str]:
    return items


def noise(seed: int, num_samples: int) -> npt.NDArray[np.float64]:
    return 0.1 * np.random.default_rng(seed).standard_normal(num_samples)


def make(data: Path, features: FeatureSet, num_jobs: int) -> None:
    """All shards of a set, and their merge."""
    for job in range(1, num_jobs + 1):
        extract.make_shard(data, features, job, num_jobs, plain)
    extract.merge_shards(data, features, num_jobs)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its inode and date: what was written again differs."""
    stats = {
        path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"
    }
    return {str(path.relative_to(folder)): (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with seven recordings, ``utt0`` to ``utt6``, and conf/corpus.yaml beside it."""
    folder = tmp_path / "data" / "all"
    folder.mkdir(parents=True)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "corpus.yaml").write_text(CORPUS)
    wavs = {}
    for i in range(7):
        wavs[f"utt{i}"] = tmp_path / "wav" / f"{i}.wav"
        wavs[f"utt{i}"].parent.mkdir(exist_ok=True)
        soundfile.write(wavs[f"utt{i}"], noise(i, 4000 + 500 * i), 16000)
    tables.write_table(folder / "wav.scp", wavs)
    return folder
