"""Tables of one's own, from which a run may begin at stage 1: checked first, derived ones made or checked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ser.data import tables
from tests.corpora.wavs import write_wav
from tests.recipe import ENVIRONMENT

RunVerb = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Four tables of eight utterances."""
    data = tmp_path / "data" / "all"
    names = {f"{speaker}-{emotion}": speaker for speaker in "abcd" for emotion in ("hap", "sad")}
    tables.write_table(data / "utt2spk", names)
    tables.write_table(data / "utt2emo", {name: name[2:] for name in names})
    wavs = {name: write_wav(tmp_path / f"{name}.wav", number) for number, name in enumerate(names)}
    tables.write_table(data / "wav.scp", wavs)
    (data / "emotions.txt").write_text("hap 0\nsad 1\n")
    return data


def test_spk2utt_is_made_where_it_is_missing(own: Path, run_verb: RunVerb) -> None:
    done = run_verb("validate_data_dir", "--no-feats", own)
    assert (done.returncode, (own / "spk2utt").exists()) == (0, False)  # a check writes nothing
    done = run_verb("validate_data_dir", "--before-features", own)
    assert (done.returncode, done.stdout) == (0, f"{own}: valid, 8 utterances, 4 speakers\n")
    assert (own / "spk2utt").read_text() == "".join(f"{s} {s}-hap {s}-sad\n" for s in "abcd")
    (own / "spk2utt").write_text("a a-hap\n")
    done = run_verb("validate_data_dir", "--before-features", own)
    assert done.returncode == 1
    assert done.stderr == (
        f"ser: error: {own}/spk2utt: is not utt2spk turned round; remove it or make it from that\n"
    )


def test_what_stage_1_makes_again_is_passed_over(own: Path, run_verb: RunVerb) -> None:
    (own / "feats.scp").write_text("a-hap gone.ark:6\n")
    (own / "utt2num_frames").write_text("a-hap 9\n")
    assert run_verb("validate_data_dir", "--before-features", own).returncode == 0
    assert run_verb("validate_data_dir", own).returncode == 1


def test_what_is_wrong_is_the_users_to_correct(own: Path, run_verb: RunVerb) -> None:
    """There is no stage 0 here that could be run again."""
    (own / "utt2emo").write_text((own / "utt2emo").read_text().replace("c-sad sad", "c-sad joy"))
    (own.parents[1] / "d-hap.wav").unlink()
    (own / "phone.ctm").write_text("d-hap 1 0 x p\n")
    done = run_verb("validate_data_dir", "--before-features", own)
    assert done.stderr.replace(f"{own}/", "").replace(str(own.parents[1]), "").splitlines() == [
        "ser: error: utt2emo:6: expected '<utterance> <hap|sad>', got 'c-sad joy'; correct it",
        "wav.scp:7: d-hap: /d-hap.wav: no such file; put it there, or correct the path",
        "phone.ctm:1: expected '<utterance> 1 <start s> <duration s> <symbol>', got 'd-hap 1 0 x p'; "
        "correct it",
    ]
    (own / "emotions.txt").write_text("hap 0\nsad 2\n")
    assert "emotions.txt:2: expected '<class> 1', got 'sad 2'; correct it" in faults(run_verb, own)
    (own / "emotions.txt").unlink()
    (own / "utt2emo").unlink()
    said = "emotions.txt: no such file; make it: a line '<class> <index>' for each class, from 0"
    assert {said, "utt2emo: no such file; make it, or name another"} <= set(faults(run_verb, own))


def faults(run_verb: RunVerb, own: Path) -> list[str]:
    done = run_verb("validate_data_dir", "--before-features", own)
    return done.stderr.removeprefix("ser: error: ").replace(f"{own}/", "").splitlines()


@pytest.mark.slow
def test_a_run_from_stage_1_checks_the_tables_first(own: Path, repo: Path) -> None:
    line = [str(repo / "run.sh"), "--corpus", "csv", "--stage", "1", "--stop-stage", "1", "--nj", "1"]
    line += ["--data-dir", str(own.parent), "--exp-dir", str(own.parents[1] / "exp"), "--systems", "majority"]
    line += ["--set", "classes=[hap, sad]", "--set", "corpus:labels={hap: hap, sad: sad}"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=120)

    emotions = (own / "utt2emo").read_text()
    (own / "utt2emo").write_text(emotions.replace("c-sad sad\n", ""))
    done = run()
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"{own}/utt2emo: its keys are not those of {own}/utt2spk: 1 only in {own}/utt2spk (c-sad); "
        "add what is missing, or take out what is too much\n"
    )
    assert not (own / "fbank").exists()
    (own / "utt2emo").write_text(emotions)
    assert run().returncode == 0
    assert (own / "spk2utt").read_text().splitlines()[0] == "a a-hap a-sad"


@pytest.mark.slow
def test_folds_of_a_table_that_lacks_an_utterance(own: Path, repo: Path, run_verb: RunVerb) -> None:
    corpus, fbank = repo / "egs/csv/conf/corpus.yaml", repo / "conf/fbank.yaml"
    for options in (["--job", 1, corpus, own, fbank], ["--merge", "--main", corpus, own, fbank]):
        assert run_verb("extract", *options).returncode == 0
    assert run_verb("compute_cmvn", own).returncode == 0
    (own / "utt2emo").write_text((own / "utt2emo").read_text().replace("c-sad sad\n", ""))
    done = run_verb("make_folds", own, own.parent / "folds", "--config", corpus)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"{own}/utt2emo: its keys are not those of {own}/utt2spk: 1 only in {own}/utt2spk (c-sad); run the "
        "stage that makes the older of the two again\n"
    )
