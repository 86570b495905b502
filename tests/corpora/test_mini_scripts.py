"""local/make_mini_corpus.sh and local/prepare.sh: from nothing to a Kaldi data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ser import corpora
from ser.corpora.mini.design import plan
from ser.data import files
from ser.data.corpus import load_corpus
from ser.errors import DataError

RECIPE = Path(__file__).parents[2] / "egs" / "mini"
CLASSES = {"ang": "ang", "hap": "hap", "exc": "hap", "neu": "neu", "sad": "sad"}


def script(*command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SER_PYTHON": str(Path(sys.executable).with_name("python3"))}
    return subprocess.run(command, cwd=RECIPE, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_corpus_and_its_data_directory(tmp_path: Path) -> None:
    release = str(tmp_path / "local" / "mini_release")  # where preparing looks, and would make it
    made = script("local/make_mini_corpus.sh", "--scale", "0.1", "--engine", "formant", release)
    assert made.returncode == 0, made.stderr
    assert "made 80 turns" in made.stderr
    done = script("local/prepare.sh", str(tmp_path / "manifests"), str(tmp_path / "all"))
    assert done.returncode == 0, done.stderr
    assert "made 80 turns" not in done.stderr
    turns = {turn.name: turn for dialog in plan(seed=0, scale=0.1) for turn in dialog.turns}
    kept = [name for name, turn in turns.items() if turn.label in CLASSES]
    names = {f"{turn[:5]}_{turn[-4]}-{turn}": turn for turn in kept}  # Ses01_F-Ses01F_impro01_F000
    read = {
        table: dict(line.split(" ", 1) for line in (tmp_path / "all" / table).read_text().splitlines())
        for table in ("utt2raw", "utt2emo", "utt2spk", "utt2session", "text", "spk2gender")
    }
    assert read["utt2raw"] == names
    assert read["utt2emo"] == {name: CLASSES[turns[turn].label] for name, turn in names.items()}
    assert read["utt2spk"] == {name: name[:7] for name in names}
    assert read["utt2session"] == {name: name[4] for name in names}
    assert read["text"] == {name: turns[turn].text for name, turn in names.items()}
    assert read["spk2gender"] == {f"Ses0{n}_{sex}": sex.lower() for n in range(1, 6) for sex in "FM"}


def test_preparing_makes_the_corpus_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(out: Path, *, num_jobs: int) -> None:
        asked.append((out, num_jobs))
        out.mkdir(parents=True, exist_ok=True)
        (out / "made.json").write_text("{}")

    monkeypatch.setattr("ser.corpora.mini.release.make_release", make)
    monkeypatch.delenv("MINI", raising=False)
    config = load_corpus(RECIPE / "conf/corpus.yaml")
    own = tmp_path / "local" / "mini_release"
    for _ in range(2):
        assert corpora.locate(config, None, tmp_path / "manifests", num_jobs=3) == own
    assert corpora.locate(config, tmp_path / "other", tmp_path / "manifests") == tmp_path / "other"
    monkeypatch.setenv("MINI", str(tmp_path / "third"))
    assert corpora.locate(config, None, tmp_path / "manifests") == tmp_path / "third"
    assert asked == [(own, 3), (tmp_path / "other", 1), (tmp_path / "third", 1)]


def test_making_needs_one_folder() -> None:
    done = script("local/make_mini_corpus.sh")
    assert done.returncode == 2
    assert done.stderr.endswith("error: the following arguments are required: out\n")


def test_the_settings() -> None:
    config = load_corpus(RECIPE / "conf/corpus.yaml")
    assert config.classes == ("ang", "hap", "neu", "sad")
    assert config.labels == CLASSES
    assert config.protocol == "paper_dev"
    assert list(config.protocols) == ["paper", "paper_dev", "session"]
    assert [config.protocols[name].test for name in config.protocols] == [("5",), ("5",), "each"]


def test_a_damaged_corpus_is_made_again_where_nobody_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(out: Path, *, num_jobs: int) -> None:  # noqa: ARG001
        out.mkdir(parents=True, exist_ok=True)
        (out / "a.wav").write_text("sound")
        files.write_made(out, {}, {}, [out / "a.wav"])

    monkeypatch.setattr("ser.corpora.mini.release.make_release", make)
    monkeypatch.delenv("MINI", raising=False)
    config = load_corpus(RECIPE / "conf/corpus.yaml")
    release = corpora.locate(config, None, tmp_path / "manifests")
    (release / "a.wav").write_text("")
    with pytest.raises(DataError) as error:
        corpora.locate(config, release, tmp_path / "manifests")
    assert str(error.value) == (
        f"{release}/a.wav: is gone or damaged; remove {release} to have the corpus made again"
    )
    assert corpora.locate(config, None, tmp_path / "manifests") == release
    assert (release / "a.wav").read_text() == "sound"
