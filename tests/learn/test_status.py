"""What would run: done, begun, failed, stale, to do."""

from __future__ import annotations

import os
from pathlib import Path

from ser import config
from ser.data.folds import FoldLine
from ser.learn import fitting, status
from ser.learn.decoding import decode_folder
from ser.learn.tasks import Task
from ser.plan import Plan, PlannedSystem
from tests.learn.conftest import MakePart

STATES = ("done", "fresh", "begun", "failed", "stale")


def make_plan(tmp_path: Path, yaml: Path) -> Plan:
    """Five systems of one seed, in a fold that tests on other speakers."""
    systems = tuple(
        PlannedSystem(name, name, None, (7,), True, ("fbank",), "global", "csa", str(yaml), False)
        for name in STATES
    )
    return Plan(
        corpus="small", protocol="one", exp=tmp_path / "exp", folds=tmp_path / "folds", data=tmp_path / "all",
        systems=systems, fusions=(), interpret=(), alignment="corpus", sets=("fbank",), also=(),
        expected=(FoldLine("1", "-", "-"),),
    )  # fmt: skip


def test_every_state_of_a_task(make_part: MakePart, tmp_path: Path, csa_yaml: Path) -> None:
    train, test = make_part("folds/1/train"), make_part("folds/1/test", "ef", seed=2)
    plan = make_plan(tmp_path, csa_yaml)
    trees = {name: config.resolve(csa_yaml, ["training.epochs=1"]) for name in STATES}
    folders = {name: plan.model("1", name, 7) for name in STATES}
    for name in ("done", "stale"):
        fitting.train(Task(train, None, folders[name], 7, trees[name], "x"), use_gpu="no", tensorboard=False)
    trees["stale"] = config.resolve(csa_yaml, ["training.epochs=2"])
    folders["begun"].mkdir(parents=True)
    (folders["begun"] / status.CHECKPOINT).touch()
    lists = plan.exp / "tasks"
    (lists / "log").mkdir(parents=True)
    (lists / "train.tsv").write_text("")
    log = lists / "log" / "train_4.3.log"  # the fourth of all, the third that is not the first
    log.write_text(
        "# python3 -m ser train\n# Started at Mon\n#\none\ntwo\nthree\nfour\nfive\nsix\n"
        "# Accounting: time=2 threads=1\n# Ended (code 137; signal 9) at Mon, elapsed time 2 seconds\n"
    )
    assert status.trainings_text(plan, trees) == (
        "train: 5 tasks, 1 done, 1 begun, 1 failed, 1 stale, 1 to do\n"
        f"  to do  {folders['fresh']}\n"
        f"  begun  {folders['begun']}\n"
        f"  failed {folders['failed']}\n"
        f"         {log}: ended with code 137; its last lines:\n"
        "         two\n         three\n         four\n         five\n         six\n"
        f"  stale  {folders['stale']}\n"
        f"         {folders['stale']}: was made differently: system.training.epochs: 1 -> 2; choose another "
        "--exp-dir, or remove the folder to train it again"
    )
    os.utime(log, (0, 0))
    assert "1 failed" not in status.trainings_text(plan, trees)  # the log is older than the list
    assert status.decodings_text(plan).startswith("decode: 5 tasks, 5 to do\n")
    decode_folder(folders["done"], test, folders["done"] / "decode_test", use_gpu="no")
    assert status.decodings_text(plan) == "decode: 5 tasks, 1 done, 4 to do\n" + "\n".join(
        f"  to do  {folders[name]}/decode_test" for name in STATES[1:]
    )


def test_all_stages_before_anything_is_there(tmp_path: Path, csa_yaml: Path) -> None:
    plan = make_plan(tmp_path, csa_yaml)
    text = status.plan_text(plan, {name: config.resolve(csa_yaml) for name in STATES}, range(10))
    lines = [line for line in text.splitlines() if not line.startswith("  to do")]
    assert lines == [
        f"stage 0: prepare {tmp_path}/all: to do",
        "stage 1: features fbank: to do",
        "stage 2: protocol one of small: to do; folds 1",
        "train: 5 tasks, 5 to do",
        "decode: 5 tasks, 5 to do",
        "stage 6: score done, fresh, begun, failed, stale",
        f"stage 7: fuse nothing; {tmp_path}/exp/results.tsv",
        "stage 8: interpret nothing, alignment corpus",
        f"stage 9: report {tmp_path}/exp/report.html",
    ]
