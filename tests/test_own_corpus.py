"""A corpus of one's own is one module and one settings file, or a folder of egs with just the latter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.data import tables

MODULE = '''
"""Recordings <folder>/<speaker>/<label>_<number>.wav."""
from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from ser.corpora.base import Corpus

def prepare_mine(corpus_dir, *, num_jobs=1):
    recordings, supervisions = [], []
    for path in sorted(corpus_dir.glob("*/*.wav")):
        name = f"{path.parent.name}_{path.stem}"
        recording = Recording.from_file(path, recording_id=name)
        recordings.append(recording)
        supervisions.append(
            SupervisionSegment(
                name, name, 0.0, recording.duration, speaker=path.parent.name,
                custom={"emotion": path.stem.split("_")[0]},
            )
        )
    return {
        "recordings": RecordingSet.from_recordings(recordings),
        "supervisions": SupervisionSet.from_segments(supervisions),
    }

CORPUS = Corpus(prepare_mine, release="folder of MINE")
'''
SETTINGS = """
name: mine
module: mine_corpus.release:CORPUS
classes: [low, high]
labels: {low: low, high: high}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse, on_mixed_rate: warn, on_silent: warn}
keep: {}
protocol: last
protocols:
  last: {group: speaker, test: [e, f], dev: {speakers: 2, refit: true}, keep: {}}
checks: {emotion: {low: 18, high: 18}}
"""
QUICK = [
    *(
        "--set",
        "training.epochs=3",
        "--set",
        "blstmatt:model.hidden=8",
        "--set",
        "csa:model.channels=[4,8,16]",
    ),
    *("--nj", "2", "--use-gpu", "no", "--seeds", "1"),
]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A package with the module, the settings and a release of six speakers."""
    (tmp_path / "code" / "mine_corpus").mkdir(parents=True)
    (tmp_path / "code" / "mine_corpus" / "release.py").write_text(MODULE)
    (tmp_path / "mine.yaml").write_text(SETTINGS)
    random = np.random.default_rng(0)
    for speaker in "abcdef":
        for label, pitch_hz in (("low", 150.0), ("high", 900.0)):
            for number in range(3):
                times = np.arange(16000 + 800 * number) / 16000
                wave = np.sin(2 * np.pi * pitch_hz * random.uniform(0.9, 1.1) * times)
                samples = 0.3 * wave + random.normal(0, 0.02, len(times))
                path = tmp_path / "release" / speaker / f"{label}_{number}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, 16000)
    return tmp_path


def run(top: Path, mine: Path, *args: str) -> subprocess.CompletedProcess[str]:
    where = [f"--{kind}-dir={mine / kind}" for kind in ("data", "exp")]
    environment = {"SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(mine / "code")}
    return subprocess.run(
        [str(top / "run.sh"), "--corpus-dir", str(mine / "release"), *where, *args, *QUICK],
        cwd=mine,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_a_module_and_a_settings_file(repo: Path, mine: Path) -> None:
    """Without --corpus the settings of egs/csv are taken; the path is the caller's own."""
    done = run(repo, mine, "--corpus-conf", "mine.yaml", "--stop-stage", "2")
    assert done.returncode == 0, done.stderr
    assert "ok: emotion high: 18" in done.stdout
    assert set(tables.read_table(mine / "data" / "all" / "utt2emo").values()) == {"low", "high"}
    assert set(tables.read_table(mine / "data/folds/last/test/utt2spk").values()) == {"e", "f"}
    lines = (mine / "exp" / "tasks" / "train.tsv").read_text().splitlines()
    assert [line.split("\t")[2] for line in lines] == [
        f"{mine}/exp/{model}"
        for model in (
            *("last/blstmatt/seed1", "last-dev/blstmatt/seed1", "last/csa_30/seed1", "last-dev/csa_30/seed1"),
            "last/majority/seed0",
        )
    ]
    assert "hidden: 8\n" in (mine / "exp/conf/blstmatt.yaml").read_text()
    assert "norm: auto\n" in (mine / "exp/conf/blstmatt.yaml").read_text()  # not the paper's


def checkout(repo: Path, top: Path) -> Path:
    """The repository by links, with a folder egs in which there is room."""
    (top / "egs").mkdir(parents=True)
    for name in ("run.sh", "path.sh"):
        (top / name).write_text((repo / name).read_text())
        (top / name).chmod(0o755)
    for name in ("conf", "local", "ser", "steps", "utils", "egs/csv", "egs/iemocap"):
        (top / name).symlink_to(repo / name)
    return top


@pytest.mark.slow
def test_a_folder_with_nothing_but_its_settings(repo: Path, mine: Path) -> None:
    top = checkout(repo, mine / "top")
    recipe = top / "egs" / "mine"
    (recipe / "conf").mkdir(parents=True)
    (recipe / "conf" / "corpus.yaml").write_text(SETTINGS)
    done = run(top, mine, "--corpus", "mine", "--dry-run")
    assert done.returncode == 0, done.stderr
    links = [
        "conf/blstmatt.yaml",
        "conf/csa.yaml",
        "conf/table1.yaml",
        "run.sh",
        "cmd.sh",
        "path.sh",
        "local",
        "steps",
        "utils",
    ]
    assert f"egs/mine: linked {' '.join(links)} to what other recipes have;" in done.stderr
    assert all((recipe / name).is_symlink() and (recipe / name).exists() for name in links)
    assert not (mine / "data").exists()
    assert not (mine / "exp").exists()
    again = run(top, mine, "--corpus", "mine", "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "linked" not in again.stderr


def test_a_module_that_is_not_found(repo: Path, mine: Path) -> None:
    (mine / "code" / "mine_corpus" / "release.py").unlink()
    done = run(repo, mine, "--corpus-conf", "mine.yaml", "--stop-stage", "0")
    assert done.returncode == 1
    assert (
        "module mine_corpus.release:CORPUS: mine_corpus.release cannot be imported (ModuleNotFoundError: "
        "No module named 'mine_corpus.release'); correct the name, or put its folder on PYTHONPATH"
        in done.stderr
    )
