"""The embedded corpus's recipe through Slurm and Grid Engine: the numbers are run.pl's, bit for bit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .daemons import REPO, Daemons, until
from .grid_engine import GridEngine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

QUICK = [
    *(
        "--set",
        "training.epochs=2",
        "--set",
        "blstmatt:model.hidden=8",
        "--set",
        "csa:model.channels=[4,8,16]",
    ),
    *("--nj", "2", "--use-gpu", "no", "--seeds", "1", "--stop-stage", "7"),
]
OURS = {"SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
RESULTS = (
    "post",
    "hyp",
    "result.txt",
    "results.tsv",
    "history.tsv",
    "fusion.txt",
    "utt2num_frames",
    "model.safetensors",
)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpus, a tenth of its size, and all that run.pl makes of it."""
    folder = tmp_path_factory.mktemp("local")
    command = [sys.executable, "-m", "ser", "make_mini_corpus", "--scale", "0.1", str(folder / "release")]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | OURS, cwd=REPO)
    done = recipe(folder, folder, dict(os.environ))
    assert done.returncode == 0, done.stderr
    return folder


def recipe(folder: Path, local: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run all stages, with all that they write below ``folder``."""
    where = ["--data-dir", str(folder / "data"), "--exp-dir", str(folder / "exp")]
    command = [str(REPO / "run.sh"), "--corpus", "mini", "--corpus-dir", str(local / "release")]
    return subprocess.run(
        [*command, *where, *QUICK], env=env | OURS, capture_output=True, text=True, check=False, timeout=600
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of all results; fusion.txt names its inputs, without the folder here."""
    paths = [path for path in sorted(folder.rglob("*")) if path.name in RESULTS]
    here = f"{folder}/".encode()
    return {str(path.relative_to(folder)): path.read_bytes().replace(here, b"") for path in paths}


def test_the_numbers_are_run_pl_s(cluster: Daemons, local: Path, folder: Path) -> None:
    done = recipe(folder, local, cluster.env | {"cmd_backend": cluster.name})
    assert done.returncode == 0, done.stderr
    ours, theirs = contents(folder), contents(local)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    trained = (folder / "exp" / "tasks" / "q" / "train.log").read_text()
    array = "-t 1-5" if isinstance(cluster, GridEngine) else "--array=1-5%2"
    assert array in trained  # both networks on both folds, the majority class on one
    for log in ("data/all/q/extract_fbank.log", "data/all/q/compute_cmvn.log", "exp/tasks/q/decode.log"):
        assert re.search(r"ubmitted", (folder / log).read_text())


def test_a_requeued_training_goes_on(cluster: Daemons, local: Path, folder: Path) -> None:
    """As after a preemption: it is started again by the scheduler, and ends as if nothing had been."""
    part = local / "data" / "folds" / "paper_dev"
    settings = ["egs/mini/conf/blstmatt.yaml", "model.hidden=8", "training.epochs=100"]
    for name in ("whole", "requeued"):
        line = [str(part / "train"), str(part / "dev"), str(folder / name / "model"), "1", *settings]
        (folder / name).mkdir()
        (folder / name / "one.tsv").write_text("\t".join(line) + "\n")
    train = ["steps/train.sh", "--use-gpu", "no", "--cmd"]
    whole = [*train, "run.pl", str(folder / "whole" / "one.tsv")]
    subprocess.run(whole, check=True, capture_output=True, env=os.environ | OURS, cwd=REPO)
    runner = "queue.pl -r y" if isinstance(cluster, GridEngine) else "slurm.pl"
    told = folder / "stderr"
    with told.open("w") as stderr:
        process = subprocess.Popen(
            [*train, runner, str(folder / "requeued" / "one.tsv")],
            env=cluster.env | OURS,
            cwd=REPO,
            stderr=stderr,
        )
    log = folder / "requeued" / "log" / "one.1.log"
    until(lambda: log.exists() and "epoch 5/" in log.read_text(), 200, "the fifth epoch")
    answer = re.search(r"(?:job|job-array) (\d+)", (folder / "requeued" / "q" / "one.log").read_text())
    assert answer
    if isinstance(cluster, GridEngine):
        cluster.do("qmod", "-rj", answer[1])
    else:
        cluster.do("scontrol", "requeue", answer[1])
    back = f"{cluster.program}: JOB 1 was put back into the queue by the scheduler"
    until(lambda: back in told.read_text() or process.poll() is not None, 60, "the word of the requeue")
    if not isinstance(cluster, GridEngine):
        # Slurm itself waits two minutes. slurmd compares whole seconds: what begins in that of the first
        # run's end counts as ended too.
        cluster.do("scontrol", "update", f"JobId={answer[1]}", "StartTime=now+2")
    assert process.wait(timeout=300) == 0, told.read_text()
    assert back in told.read_text()
    assert log.read_text().count("# Started at") == 2
    assert "goes on in epoch" in log.read_text()
    for name in ("history.tsv", "model.safetensors"):
        results = [(folder / run / "model" / name).read_bytes() for run in ("whole", "requeued")]
        assert results[0] == results[1]
