"""The best system of an experiment: by dev results where all have them, and a command that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ser.data import tables
from ser.errors import DataError
from ser.plan import Plan, PlannedSystem, write_plan
from ser.reporting.best import advice, best_system
from ser.verbs import best_model

SEEDS = (1, 2)


def system(name: str, *sets: str) -> PlannedSystem:
    return PlannedSystem(name, name, None, SEEDS, True, sets, "auto", name, f"{name}.yaml", False)


def score(folder: Path, uar: str) -> None:
    (folder / "score").mkdir(parents=True)
    tables.write_table(folder / "score" / "result.txt", {"uar": uar})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Three systems in two folds: a is best on test, b on dev, c reads nothing."""
    data, folds, exp = tmp_path / "my data", tmp_path / "folds", tmp_path / "exp"
    for folder in (data, folds, exp):
        folder.mkdir()
    (folds / "1" / "test").mkdir(parents=True)
    for folder, number in ((data, 9), (folds / "1" / "test", 1)):
        tables.write_table(folder / "wav.scp", {"u": f"/corpus/u {number}.wav"})
    (folds / "folds.tsv").write_text(
        "fold\ttune_fold\ttune_set\n1\t1-dev\ttest\n1-dev\t-\t-\n2\t2-dev\ttest\n2-dev\t-\t-\n"
    )
    for name, dev, test in (("a", "0.5", "0.9"), ("b", "0.7", "0.8"), ("c", "0.99", "0.99")):
        for seed in SEEDS:
            score(exp / "pooled" / name / f"seed{seed}" / "decode_test", test)
            for fold in "12":
                score(exp / f"{fold}-dev" / name / f"seed{seed}" / "decode_test", dev)
                model = exp / fold / name / f"seed{seed}"
                model.mkdir(parents=True)
                norm = "speaker" if name == "b" else "global"
                features = {"settings": {"features": {"norm": norm, "level": "none"}}}
                (model / "model.json").write_text(json.dumps(features))
    systems = (system("a", "fbank"), system("b", "fbank"), system("c"))
    return Plan("toy", "loso", exp, folds, data, systems, (), (), "corpus", ("fbank",), ())


def test_dev_results_decide(plan: Plan, repo: Path) -> None:
    best = best_system(plan)
    assert best is not None
    assert list(advice(plan, best)) == [
        "best system         b: UAR 70.0 % on dev speakers",
        f"its model           {plan.exp}/1/b/seed1",
        f"try it              . {repo}/path.sh && python3 -m ser predict --speaker-of file "
        f"{plan.exp}/1/b/seed1 '/corpus/u 1.wav'",
        "                    it is of the fold 1; for one of all speakers run again with --protocol all and "
        "another --exp-dir",
    ]


def test_test_results_decide_where_some_have_no_others(
    plan: Plan, caplog: pytest.LogCaptureFixture, repo: Path
) -> None:
    caplog.set_level("INFO")
    (plan.exp / "2-dev" / "a" / "seed2" / "decode_test" / "score" / "result.txt").unlink()
    (plan.exp / "results.tsv").touch()
    write_plan(plan)
    assert best_model.main([str(plan.exp)]) == 0
    assert caplog.messages[:4] == [
        f"  all numbers         {plan.exp}/results.tsv",
        "  best system         a: UAR 90.0 % on test speakers, as not all have dev results",
        f"  its model           {plan.exp}/1/a/seed1",
        f"  try it              . {repo}/path.sh && python3 -m ser predict "
        f"{plan.exp}/1/a/seed1 '/corpus/u 1.wav'",
    ]


def test_without_systems_or_scores(plan: Plan) -> None:
    only = Plan("toy", "loso", plan.exp, plan.folds, plan.data, (system("c"),), (), (), "corpus", (), ())
    assert best_system(only) is None
    for path in plan.exp.glob("*-dev"):
        path.rename(plan.exp / f"old{path.name}")
    path = plan.exp / "pooled" / "b" / "seed1" / "decode_test" / "score" / "result.txt"
    tables.write_table(path, {"acc": "0.5"})
    with pytest.raises(DataError) as error:
        best_system(plan)
    assert str(error.value) == f"{path}: has no uar; run stage 6 again"
