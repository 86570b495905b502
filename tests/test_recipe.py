"""The recipe from the corpus to the table, as a user runs it, on a small embedded corpus."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.data.tsv import read_tsv
from ser.interpret.maps import Attended
from ser.interpret.statistics import VowelConsonant
from ser.reporting.results import check_seal
from tests.recipe import ENVIRONMENT, RESULTS, command, contents, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_what_a_run_leaves(finished: Path) -> None:
    data, exp = finished / "data", finished / "exp"
    for part in ("all", "folds/paper_dev/train", "folds/paper_dev/test", "folds/paper_dev-dev/test"):
        check = [sys.executable, "-m", "ser", "validate_data_dir", str(data / part)]
        done = subprocess.run(check, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
    speakers = [
        set(tables.read_table(data / "folds" / part / "utt2spk").values())
        for part in ("paper_dev/train", "paper_dev/test", "paper_dev-dev/train", "paper_dev-dev/test")
    ]
    assert speakers[1] == {"Ses05_F", "Ses05_M"}
    assert not speakers[0] & speakers[1]
    assert speakers[2] | speakers[3] == speakers[0]
    assert not speakers[2] & speakers[3]
    model = exp / "paper_dev" / "blstmatt" / "seed1"
    left = {path.name for path in model.iterdir()}
    assert left == {
        *("model.safetensors", "model.json", "history.tsv", "config.yaml", "emotions.txt"),
        *("tb", "made.json", ".lock", "decode_test"),
    }
    assert list((model / "tb").glob("events.*"))
    assert (exp / "results.tsv").exists()
    assert not list(finished.rglob("*.part"))


def test_what_stage_8_leaves(finished: Path) -> None:
    out = finished / "exp" / "interpret" / "blstmatt" / "corpus"
    attended = read_tsv(out / "seed1" / "phone_attn.tsv", Attended)
    frames = {key: int(n) for key, n in tables.read_table(finished / "data/all/utt2num_frames").items()}
    decoded = tables.read_table(finished / "exp/paper_dev/blstmatt/seed1/decode_test/attn.scp")
    assert {row.utt for row in attended} == set(decoded)
    for utt in decoded:
        rows = [row for row in attended if row.utt == utt]
        assert sum(row.mass for row in rows) == pytest.approx(1, abs=1e-4)
        assert sum(row.frames for row in rows) == frames[utt]
    table = read_tsv(out / "vowel_consonant.tsv", VowelConsonant)
    assert [(row.frames, row.seed, row.utterances, row.speakers) for row in table] == [
        ("all", "seed1", len(decoded), 2),
        ("speech", "seed1", len(decoded), 2),
    ]
    for name in ("phone_stats.tsv", "phone_tests.tsv"):
        assert len((out / name).read_text().splitlines()) > 1
    if not all(importlib.util.find_spec(package) for package in ("captum", "matplotlib")):
        pytest.skip("utils/install.sh --extra interpret is not done")
    conditions = {line.split("\t")[1] for line in (out / "masking_stats.tsv").read_text().splitlines()[1:]}
    assert conditions == {"top", "bottom", "random", "vowel", "consonant"}
    for name in ("vowel_consonant", "phones", "emotions", "masking", "page"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 10_000
        assert (out / "figures" / f"{name}.svg").read_text().startswith("<?xml")


def test_dry_run_and_report(repo: Path, small_release: Path, finished: Path) -> None:
    """What is done is told from what is not, nothing is made, and stage 9 has left its report."""
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    done = run(command(repo, finished, small_release, "--seeds", "1 2", "--dry-run"))
    assert done.returncode == 0, done.stderr
    assert "train: 9 tasks, 5 done, 4 to do\n" in done.stdout
    assert "decode: 9 tasks, 5 done, 4 to do\n" in done.stdout
    assert done.stdout.count("csa_30/seed2\n") == 2
    assert "seed1\n" not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    check_seal(finished / "exp" / "RESULTS.md")
    text = (finished / "exp" / "RESULTS.md").read_text()
    assert "- command: ./run.sh --corpus mini --corpus-dir .../release" in text
    assert str(finished) not in text
    page = (finished / "exp" / "report.html").read_text()
    assert "Context length" not in page  # there is one context
    for word in (
        "Learning curves",
        "Weight of csa_30 in syscomb_dev",
        "Attention",
        "Leakage checks",
        "syscomb_dev",
    ):
        assert word in page


def test_dry_run_on_a_fresh_folder(repo: Path, small_release: Path, tmp_path: Path) -> None:
    """All stages are planned, those whose folds are not made yet too, and nothing is left."""
    fuse = ["--fuse", "both=csa_20 csa_30:0.5", "--contexts", "20 30", "--dry-run"]
    done = run(command(repo, tmp_path, small_release, *fuse))
    assert done.returncode == 0, done.stderr
    exp = tmp_path / "exp"
    assert done.stdout.splitlines() == [
        f"stage 0: prepare {tmp_path}/data/all: to do",
        "stage 1: features fbank, energy and speech activity: to do",
        "stage 2: protocol paper_dev of mini: to do; folds paper_dev (tuned on test of paper_dev-dev)",
        "train: 4 tasks, 4 to do",
        *(
            f"  to do  {exp}/paper_dev/{system}"
            for system in ("blstmatt/seed1", "csa_20/seed1", "csa_30/seed1", "majority/seed0")
        ),
        "decode: 4 tasks, 4 to do",
        *(
            f"  to do  {exp}/paper_dev/{system}/decode_test"
            for system in ("blstmatt/seed1", "csa_20/seed1", "csa_30/seed1", "majority/seed0")
        ),
        "stage 6: score blstmatt, csa_20, csa_30, majority",
        f"stage 7: fuse both = csa_20 x csa_30, weights 1 0.5; {exp}/results.tsv",
        "stage 8: interpret blstmatt, alignment corpus",
        f"stage 9: report {exp}/report.html",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_second_protocol_in_one_folder_is_refused(repo: Path, small_release: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    done = run(command(repo, finished, small_release, "--protocol", "paper"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        f"ser: error: {finished}/exp: holds results of the protocol paper_dev of mini; choose another "
        f"--exp-dir for paper of mini, or remove it: rm -r {finished}/exp\n"
    )
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_again_makes_nothing_again(repo: Path, small_release: Path, finished: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name in RESULTS}
    models = {path: path.stat().st_mtime_ns for path in finished.rglob("model.safetensors")}
    done = run(command(repo, finished, small_release))
    assert done.returncode == 0, done.stderr
    del stamps[finished / "exp" / "results.tsv"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert {path: path.stat().st_mtime_ns for path in models} == models


def test_the_device_makes_nothing_again(
    repo: Path, small_release: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU is asked for where none is: the steps are told of it, but there is nothing to compute."""
    monkeypatch.setitem(ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "")
    exp = finished / "exp"
    before = {path: path.stat().st_mtime_ns for path in exp.rglob("post")}
    options = ["--use-gpu", "yes", "--jobs-per-gpu", "2", "--stage", "3", "--stop-stage", "5"]
    done = run(command(repo, finished, small_release, *options))
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in exp.rglob("post")} == before
    for step in ("train", "decode"):
        assert f" {step}.sh: no GPU is used, so --jobs-per-gpu 2 has no effect" in done.stderr
    assert " --use-gpu yes" in (exp / "tasks" / "log" / "train.job.1.log").read_text().splitlines()[0]
    assert " --use-gpu yes " in (exp / "tasks" / "log" / "decode.1.log").read_text().splitlines()[0]


def test_stages_alone_repeat_the_numbers(repo: Path, small_release: Path, finished: Path) -> None:
    before = contents(finished / "exp", *RESULTS)
    for path in finished.rglob("decode_*"):
        shutil.rmtree(path, ignore_errors=True)
    done = run(command(repo, finished, small_release, "--stage", "5"))
    assert done.returncode == 0, done.stderr
    assert contents(finished / "exp", *RESULTS) == before
    for path in finished.rglob("score"):
        shutil.rmtree(path)
    for stage, change, told in (
        ("5", "csa:optim.lr=1.0e-3", "optim.lr: 0.002 -> 0.001"),
        ("9", "csa:unit.pooling=vote", "unit.pooling: mean -> vote"),
    ):
        done = run(command(repo, finished, small_release, "--stage", stage, "--set", change))
        assert done.returncode == 1
        assert f"1: was trained with other settings: {told}; ask for its settings" in done.stderr
    done = run(command(repo, finished, small_release, "--stage", "6", "--stop-stage", "6"))
    assert done.returncode == 0, done.stderr
    again = contents(finished / "exp", "result.txt")
    assert again
    assert all(before[name] == content for name, content in again.items())
    done = run(command(repo, finished, small_release, "--stage", "7"))
    assert done.returncode == 0, done.stderr
    assert contents(finished / "exp", *RESULTS) == before


def test_svms_join_a_finished_run(repo: Path, small_release: Path, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("opensmile", reason="utils/install.sh --extra baselines is not done")
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "data" / "folds")  # views of the folder that was copied
    systems = ["--systems", "blstmatt csa majority svm_egemaps svm_egemaps_speaker"]
    done = run(command(repo, tmp_path / "run", small_release, "--stage", "1", "--stop-stage", "7", *systems))
    assert done.returncode == 0, done.stderr
    # svm_egemaps has norm: auto, and a speaker of this small corpus says too little
    for system, norm in (("svm_egemaps", "global"), ("svm_egemaps_speaker", "speaker")):
        result = tables.read_table(tmp_path / f"run/exp/pooled/{system}/seed0/decode_test/score/result.txt")
        assert result["n_scored"] == result["n_total"]
        assert (result["note_features"], result["note_normalisation"]) == ("egemaps", norm)
        assert f"\n{system}" in done.stdout
    before = contents(finished / "exp", "post", "history.tsv")
    after = contents(tmp_path / "run" / "exp", "post", "history.tsv")
    assert {name: after[name] for name in before} == before


def test_a_system_that_leaves_silence_out_joins_a_finished_run(
    repo: Path, small_release: Path, finished: Path, tmp_path: Path
) -> None:
    """Folds stay as they are; attention and maps are in all frames, whatever is read."""
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "data" / "folds")  # views of the folder that was copied
    before = contents(finished / "exp", "post", "history.tsv")
    options = ["--systems", "blstmatt csa majority t=blstmatt", "--interpret", "t", "--stage", "1"]
    options += [
        f"--set=t:features.{key}" for key in ("vad.use=trim", "vad.margin_ms=0.0", "cmvn.over=speech")
    ]
    done = run(command(repo, tmp_path / "run", small_release, *options, "--stop-stage", "8"))
    assert done.returncode == 0, done.stderr
    assert "/data/all/vad.scp: up to date\n" in done.stderr
    after = contents(tmp_path / "run" / "exp", "post", "history.tsv")
    assert {name: after[name] for name in before if not name.startswith("interpret/")} == {
        name: content for name, content in before.items() if not name.startswith("interpret/")
    }
    decoded = tmp_path / "run/exp/paper_dev/t/seed1/decode_test"
    assert tables.read_table(decoded / "notes")["speech"] == "vad trim, cmvn over speech"
    speech = tables.ArkReader(tmp_path / "run/data/all/vad.scp")
    attention = tables.ArkReader(decoded / "attn.scp")
    cut = 0
    for key in attention.places:
        places = np.flatnonzero(speech.read(key))
        weights = attention.read(key, len(speech.read(key)))
        assert np.flatnonzero(weights).tolist() == list(range(places[0], places[-1] + 1))
        cut += len(weights) - len(places)
    assert cut > 0
    assert (tmp_path / "run/exp/interpret/t/corpus/masking_stats.tsv").exists()


def test_a_sweep_in_another_order_gives_the_same_numbers(
    repo: Path, small_release: Path, finished: Path, tmp_path: Path
) -> None:
    """One job instead of two, other tasks first; a context that is not fused has no tuning fold."""
    shutil.copytree(finished / "data", tmp_path / "data")
    line = ["--contexts", "20 30", "--stage", "3", "--stop-stage", "7", "--nj", "1"]
    done = run(command(repo, tmp_path, small_release, *line))
    assert done.returncode == 0, done.stderr
    before, after = (contents(folder / "exp", "post", "history.tsv") for folder in (finished, tmp_path))
    new = {name for name in after if "/csa_20/" in name}
    assert {name.split("/")[0] for name in new} == {"paper_dev", "pooled"}
    assert {name: after[name] for name in set(after) - new} == {
        name: content for name, content in before.items() if not name.startswith("interpret/")
    }


def test_iemocap_recipe_in_one_job(repo: Path, small_release: Path, finished: Path, tmp_path: Path) -> None:
    """The embedded corpus goes through IEMOCAP's own recipe unchanged; the number of jobs changes nothing."""
    done = run(command(repo, tmp_path, small_release, "--nj", "1", "--protocol", "paper", corpus="iemocap"))
    assert done.returncode == 0, done.stderr
    assert ", expected 10039\n" in done.stdout
    assert re.search(r"^syscomb +1 +\d+/\d+ +\d", done.stdout, re.MULTILINE)
    assert "syscomb_dev" not in done.stdout
    names = ("utt2emo", "utt2spk", "utt2num_frames", "text", "utt2dur")
    theirs = contents(finished / "data" / "all", *names)
    del theirs["energy/utt2num_frames"]  # the paper's systems do not ask for speech activity
    assert contents(tmp_path / "data" / "all", *names) == theirs
    data = tables.ArkReader(tmp_path / "data" / "all" / "feats.scp")
    assert {data.read(key).shape[1] for key in data.places} == {23}  # the paper's filters
    line = ["--nj", "1", "--stop-stage", "1", "--set", "fbank:num_mel_bins=40"]
    done = run(command(repo, tmp_path / "mini", small_release, *line, corpus="iemocap"))
    assert done.returncode == 0, done.stderr
    one, other = (
        tables.ArkReader(folder / "data" / "all" / "feats.scp") for folder in (tmp_path / "mini", finished)
    )
    assert len(one.places) == len(data.places)
    assert all((one.read(key) == other.read(key)).all() for key in one.places)


def test_other_settings_are_refused(repo: Path, small_release: Path, finished: Path) -> None:
    line = command(
        repo, finished, small_release, "--stage", "4", "--stop-stage", "4", "--set", "optim.lr=1.0e-3"
    )
    done = run(line)
    assert done.returncode == 1
    assert re.search(
        r"exp/paper_dev/csa_30/seed1: was made differently: system\.optim\.lr: 0\.002 -> 0\.001; choose "
        r"another --exp-dir, or remove the folder to train it again",
        done.stderr,
    ), done.stderr
    line = command(repo, finished, small_release, "--stage", "1", "--stop-stage", "1", "--compress", "CM2")
    done = run(line)
    assert done.returncode == 1
    assert re.search(r"data/all\S*: was made differently: compress: none -> CM2", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (1, "data/all: no such folder; run stage 0"),
        (2, "data/all"),
        (3, "data/folds/folds.tsv: no such file; run stage 2"),
        (4, "data/folds/folds.tsv: no such file; run stage 2"),
        (5, "data/folds/folds.tsv: no such file; run stage 2"),
        (6, "data/folds/folds.tsv: no such file; run stage 2"),
        (7, "data/folds/folds.tsv: no such file; run stage 2"),
    ],
)
def test_missing_inputs_name_the_stage(
    repo: Path, small_release: Path, tmp_path: Path, stage: int, message: str
) -> None:
    done = run(command(repo, tmp_path, small_release, "--stage", str(stage), "--stop-stage", str(stage)))
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("stage", "removed", "message"),
    [
        (5, "exp/paper_dev/blstmatt/seed1/model.json", "no such file; train the model first (stage 3 or 4)"),
        (
            6,
            "exp/paper_dev/csa_30/seed1/decode_test/post",
            "decode_test/post: no such file; run steps/decode.sh",
        ),
    ],
)
def test_missing_outputs_of_a_stage_before(
    repo: Path, small_release: Path, finished: Path, tmp_path: Path, stage: int, removed: str, message: str
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    (tmp_path / "copy" / removed).unlink()
    line = command(repo, tmp_path / "copy", small_release, "--stage", str(stage), "--stop-stage", str(stage))
    done = run(line)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_two_runs_in_one_folder(repo: Path, small_release: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with subprocess.Popen(["flock", str(data / ".lock"), "sleep", "60"]) as other:
        time.sleep(0.5)
        done = run(command(repo, tmp_path, small_release, "--stage", "1"))
        other.terminate()
    assert done.returncode == 1
    assert (
        f"error: {data}: another run is at work here; wait for it, or choose other folders (--data-dir, "
        "--exp-dir)" in done.stderr
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--stage", "abc"], "run.sh: error: option '--stage' is a whole number, not 'abc' (try --help)\n"),
        (["--stge", "3"], "run.sh: error: unknown option '--stge'; did you mean '--stage'? (try --help)\n"),
        (["--nj"], "run.sh: error: option '--nj' needs a value (try --help)\n"),
        (
            ["--contexts", "20 x"],
            "error: the options: contexts must be whole numbers, got '20 x'; correct it (try --help)\n",
        ),
        (
            ["--stage", "5", "--stop-stage", "3"],
            "error: --stage 5 --stop-stage 3: stages are 0 to 9, the first one before the last "
            "(try --help)\n",
        ),
        (
            ["--stage", "9", "--stop-stage", "99"],
            "error: --stage 9 --stop-stage 99: stages are 0 to 9, the first one before the last "
            "(try --help)\n",
        ),
        (
            ["--exp-dir", "a\tb"],
            "error: --exp-dir: has a tab, a newline or another control character; rename the folder "
            "(try --help)\n",
        ),
        (
            ["--exp-dir", "JOB/exp"],
            "error: --data-dir, --exp-dir, --corpus-conf: runners take JOB, as a word, for a job's number; "
            "rename the folder (try --help)\n",
        ),
        (
            ["--data-dir", "/tmp/one", "--exp-dir", "/tmp/./one"],
            "error: --data-dir and --exp-dir are one folder (try --help)\n",
        ),
        (
            ["--contexts", "*"],
            "error: the options: contexts must be whole numbers, got '*'; correct it (try --help)\n",
        ),
        (
            ["--set", "optim.lr=1\tx"],
            "error: set: has a tab, a newline or another control character: 'optim.lr=1\\tx' (try --help)\n",
        ),
        (
            ["--corpus", "../../x"],
            "error: --corpus '../../x': is a name, one of cremad, csv, emodb, iemocap, lhotse, mini, ravdess "
            "(try --help)\n",
        ),
        (
            ["--systems", "majority svm_egemap"],
            "error: systems: svm_egemap: there is no conf/svm_egemap.yaml; did you mean svm_egemaps? "
            "(try --help)\n",
        ),
        (["extra"], "error: unexpected argument 'extra'; everything is said with options (try --help)\n"),
        (
            ["--corpus", "EMO-DB"],
            "error: --corpus EMO-DB: there is no such recipe; did you mean emodb? known are cremad, csv, "
            "emodb, iemocap, lhotse, mini, ravdess (try --help)\n",
        ),
        (
            ["--corpus", "xyz"],
            "error: --corpus xyz: there is no such recipe; known are cremad, csv, emodb, iemocap, lhotse, "
            "mini, ravdess (try --help)\n",
        ),
    ],
)
def test_wrong_usage(repo: Path, args: list[str], message: str) -> None:
    corpus = [] if "--corpus" in args else ["--corpus", "mini"]
    done = run([str(repo / "run.sh"), *corpus, *args])
    assert done.returncode == 2
    assert done.stderr.endswith(message)
    assert done.stdout == ""
