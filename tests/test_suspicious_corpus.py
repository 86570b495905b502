"""What is suspicious about a corpus and its folds: on the screen, with the numbers, and in the report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.data import tables
from tests.recipe import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CONF = """
base: {base}
audio: {{channel: 0}}
protocol: last
protocols:
  last: {{group: speaker, test: [c, d], dev: null, keep: {{}}}}
"""
SILENT = (
    "1 of 30 utterances has silent audio (a-a_wav-a_silent): nothing can be learnt from it, and a decision "
    "on it is a guess; replace the recordings, or set audio.on_silent to refuse or drop"
)
COPIES = "1 recording counts more than once, in training or in scores (a-a_wav-a_angry1 = a-a_wav-a_copy)"
LACKING = "1 subset lacks a class (last test has no sad): its mean recall is over the classes that it has"
SESSIONS = (
    "6 of 12 test utterances are of a session that other speakers are trained on (folds last): in the same "
    "room, on the same topic, at times at once; a protocol with group: session keeps sessions apart"
)
NOTE = "sessions shared with training, by other speakers"


@pytest.fixture
def corpus(tmp_path: Path, repo: Path) -> Path:
    """Four speakers in two and a half sessions; d is never sad, and neither is c."""
    rng = np.random.default_rng(0)
    rows = []

    def add(speaker: str, name: str, emotion: str, samples: np.ndarray, suffix: str = "wav") -> None:
        path = tmp_path / "wav" / f"{speaker}_{name}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, samples, 16000)
        session = {"a": "1", "b": "2", "c": "2", "d": "3"}[speaker]
        rows.append(f"wav/{path.name},{speaker},{emotion},{session}")

    for speaker in "abcd":
        for emotion in ("angry", "happy", "neutral", "sad"):
            for number in (1, 2):
                if emotion != "sad" or speaker in "ab":
                    add(speaker, f"{emotion}{number}", emotion, rng.normal(0, 0.05, 8000))
    add("a", "silent", "sad", np.zeros(8000))
    add("a", "copy", "angry", soundfile.read(tmp_path / "wav" / "a_angry1.wav")[0], "flac")
    (tmp_path / "table.csv").write_text("\n".join(["path,speaker,emotion,session", *rows]) + "\n")
    (tmp_path / "corpus.yaml").write_text(CONF.format(base="corpus_csv.yaml"))
    text = (repo / "egs" / "csv" / "conf" / "corpus.yaml").read_text()
    (tmp_path / "corpus_csv.yaml").write_text(text)
    return tmp_path


def command(repo: Path, corpus: Path, out: Path, *args: str) -> list[str]:
    where = ["--data-dir", str(out / "data"), "--exp-dir", str(out / "exp")]
    what = ["--corpus-dir", str(corpus / "table.csv"), "--corpus-conf", str(corpus / "corpus.yaml")]
    return [str(repo / "run.sh"), *what, *where, "--nj", "2", "--use-gpu", "no", "--fuse", "none", *args]


def recipe(repo: Path, corpus: Path, *args: str) -> tuple[str, str]:
    quick = ("--seeds", "1", "--set", "training.epochs=1", "--set", "model.hidden=8")
    done = run(command(repo, corpus, corpus, "--systems", "blstmatt", *quick, *args))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def told(stderr: str) -> list[str]:
    """The warnings, without what stands before them."""
    return re.findall(r"^[\dT:-]+ (?:\S+: )?warning: (?:/\S+: )?(.*)$", stderr, re.MULTILINE)


def test_from_the_table_to_the_report(repo: Path, corpus: Path) -> None:
    stdout, stderr = recipe(repo, corpus)
    summary = stdout.partition("corpus csv: ")[2].splitlines()[1:14]
    assert max(map(len, summary)) <= 78
    assert [line for line in summary if line.startswith("!")] == [
        "! silent        1 below -70 dBFS, all without any signal",
        "! copies        1 utterance with the audio of another",
        "! class sad     5: a 3, b 2, c 0, d 0",
    ]
    assert "  class ang     9: a 3, b 2, c 2, d 2" in summary
    early = [f"protocol last: {warning}" for warning in (LACKING, SESSIONS)]  # before the features
    warnings = [warning for warning in told(stderr) if warning not in early]
    assert len(told(stderr)) - len(warnings) == 2
    assert warnings[0] == SILENT
    assert warnings[-3:] == [LACKING, SESSIONS, COPIES]
    assert f"blstmatt: {NOTE}\n" in stdout
    text = (corpus / "exp" / "RESULTS.md").read_text()
    note = "Test utterances are of sessions that other speakers are trained on"
    for warning in (SILENT, LACKING, SESSIONS, COPIES, note):
        assert warning in text
    page = (corpus / "exp" / "report.html").read_text()
    assert all(warning in page for warning in (SILENT, LACKING, SESSIONS))
    stamp = (corpus / "data" / "levels.tsv").stat().st_mtime_ns
    again, errors = recipe(repo, corpus, "--stop-stage", "2")
    spoken = "no speech in "  # said when it is decided
    assert told(errors) == [
        warning for warning in warnings if not warning.startswith(spoken)
    ]  # all up to date
    assert again.startswith(stdout[: stdout.index("class ang")])
    assert (corpus / "data" / "levels.tsv").stat().st_mtime_ns == stamp


def test_what_is_dropped_is_in_no_table(repo: Path, corpus: Path) -> None:
    stdout, stderr = recipe(repo, corpus, "--stop-stage", "2", "--set", "audio.on_silent=drop")
    assert "! left out      1 by audio.on_silent\n" in stdout
    assert told(stderr)[0] == "1 utterance left out by audio.on_silent, which is drop (a_wav-a_silent)"
    tested = tables.read_table(corpus / "data" / "folds" / "last" / "test" / "utt2spk")
    trained = tables.read_table(corpus / "data" / "folds" / "last" / "train" / "utt2spk")
    assert (len(tested), len(trained)) == (12, 17)
    assert not [name for name in (*tested, *trained) if "silent" in name]


def test_tables_of_ones_own_are_summarised_in_stage_1(repo: Path, corpus: Path) -> None:
    recipe(repo, corpus, "--stop-stage", "0")
    own = corpus / "own" / "data" / "all"
    own.mkdir(parents=True)
    for name in ("wav.scp", "utt2spk", "utt2emo", "emotions.txt"):
        (own / name).write_text((corpus / "data" / "all" / name).read_text())
    line = command(repo, corpus, corpus / "own", "--systems", "majority", "--stage", "1", "--stop-stage", "1")
    done = run(line)
    assert done.returncode == 0, done.stderr
    valid, title, size = done.stdout.splitlines()[:3]
    assert valid == f"{own}: valid, 30 utterances, 4 speakers"
    assert (title, size) == (f"corpus csv: {own}", "  utterances    30 of 4 speakers, 0.2 minutes")
    assert any(
        warning.startswith("1 of 30 utterances has silent audio (a-a_wav-a_silent)")
        for warning in told(done.stderr)
    )
    done = run([*line, "--set", "audio.on_silent=refuse"])
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"ser: error: {own}: 1 of 30 utterances has silent audio (a-a_wav-a_silent); replace the recordings, "
        "or set audio.on_silent to warn or drop\n"
    )
