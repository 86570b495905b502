"""The recipe on a corpus as hard as real data: it learns there, and what leaves silence out does its part."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from tests.recipe import run


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """260 turns of mini under real conditions, of which 235 have the four classes."""
    out = tmp_path_factory.mktemp("corpus") / "real"
    options = ["--scale", "0.4", "--engine", "formant", "--conditions", "real"]
    done = run([sys.executable, "-m", "ser", "make_mini_corpus", *options, str(out)])
    assert done.returncode == 0, done.stderr
    return out


def uars(repo: Path, release: Path, folder: Path) -> dict[str, float]:
    """Train BLSTMATT with and without speech activity on Sessions 1 to 3, test on the other four speakers.

    Returns:
        System -> uar in per cent.
    """
    line = [str(repo / "run.sh"), "--corpus", "mini", "--corpus-dir", str(release), "--stop-stage", "7"]
    line += [
        "--data-dir",
        str(folder / "data"),
        "--exp-dir",
        str(folder / "exp"),
        "--nj",
        "1",
        "--use-gpu",
        "no",
    ]
    line += ["--protocol", "paper", "--set", 'corpus:protocols.paper.test=["4","5"]', "--seeds", "1"]
    line += ["--fuse", "none", "--systems", "everything=blstmatt speech=blstmatt"]
    line += ["--set", "model.pooled_norm=none"]  # which makes up for a part of what silence does
    line += ["--set", "everything:features.vad.use=none", "--set", "everything:features.cmvn.over=all"]
    line += ["--set", "speech:features.vad.use=trim", "--set", "speech:features.cmvn.over=speech"]
    done = run(line)
    assert done.returncode == 0, done.stderr
    with (folder / "exp" / "results.tsv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if row["seed"] == "1"]
    assert {row["n_scored"] for row in rows} == {rows[0]["n_total"]}
    return {row["system"]: 100 * float(row["uar"]) for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_speech_activity_finds_the_classes_in_hard_recordings(
    repo: Path, release: Path, tmp_path: Path
) -> None:
    """At least 60 uar where chance is 25, and 8 more than of all frames.

    Measured uar with and without speech activity, training seeds 1, 2, 3, at these sizes: corpus of seed 0
    (as here) 73, 71, 73 against 55, 52, 49; seed 1: 71, 78, 79 against 65, 64, 59; seed 2: 71, 73, 71 against
    61, 61, 60.  So uar is at least 71 here, and the difference at least 18.
    """
    uar = uars(repo, release, tmp_path)
    assert set(uar) == {"everything", "speech"}
    assert uar["speech"] >= 60, uar
    assert uar["speech"] >= uar["everything"] + 8, uar
