"""Pooling, fusing, scoring and tabulating a whole experiment, as its plan says."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ser.data import tables
from ser.data.tuning import TuningSource, write_tuning
from ser.errors import DataError
from ser.plan import Plan, PlannedFusion, write_plan
from ser.reporting import figures
from ser.reporting.scores import fuse_systems, score_systems
from ser.reporting.study import fusion_curves, read_study
from ser.verbs import fuse, pool_folds, score, tabulate
from tests.report.experiment import make_experiment

SKILLS = {"blstmatt": 0.8, "csa_30": 0.7, "csa_60": 0.6, "majority": 0.0}
FUSIONS = (
    PlannedFusion("two", ("blstmatt", "csa_30"), (0.4,), (1, 2)),
    PlannedFusion("two_dev", ("blstmatt", "csa_30"), None, (1, 2)),
    PlannedFusion("four_dev", ("blstmatt", "csa_30", "csa_60", "majority"), None, (1, 2)),
)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Two folds, each of which has a fold to tune on: the other one's speakers under other names."""
    monkeypatch.chdir(tmp_path)
    made = make_experiment(Path(), SKILLS, (1, 2), num_folds=2, per_speaker=10)
    shutil.rmtree("exp/pooled")
    lines = ["fold\ttune_fold\ttune_set\n"]
    for fold, other in (("f0", "f1"), ("f1", "f0")):
        lines += [f"{fold}\t{fold}-dev\ttest\n", f"{fold}-dev\t-\t-\n"]
        for place in ("folds", "exp"):
            shutil.copytree(f"{place}/{other}", f"{place}/{fold}-dev")
    for path in [*Path().glob("*/f?-dev/test/utt2*"), *Path().glob("exp/f?-dev/**/decode_test/**/[pnh]o*")]:
        path.write_text(path.read_text().replace("f0", "d0").replace("f1", "d1"))
    for table in Path().glob("folds/f?-dev/test/utt2spk"):
        tables.write_table(table, {utt: utt.split("-")[0] for utt in tables.read_table(table)})
    Path("folds/folds.tsv").write_text("".join(lines))
    planned = dataclasses.replace(made.plan, fusions=FUSIONS)
    write_plan(planned)
    return planned


def contents(folder: Path) -> dict[str, bytes]:
    """All files of an experiment but its plan and logs."""
    files = [path for path in folder.rglob("*") if path.is_file() and "tasks" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "plan.json"}


def run_plan() -> None:
    """Stages 6 and 7 by the plan."""
    assert score.main(["--plan", "exp"]) == 0
    assert fuse.main(["--plan", "exp"]) == 0


def run_folders(plan: Plan) -> None:
    """The same, folder by folder."""
    names = [system.name for system in plan.systems]
    for name in names:
        for output in plan.outputs(name):
            assert score.main([str(output.data), str(output.folder)]) == 0
    for fusion in plan.fusions:
        for run in plan.fusion_runs(fusion):
            options: list[str | Path] = ["--data", run.test] if run.tuning else []
            for each in run.tuning:
                options += ["--dev-data", each.data]
                options += [word for folder in each.members for word in ("--dev-decode", folder)]
            options += ["--criterion", fusion.criterion] if run.tuning else []
            options += ["--leave-out-shared"] if len(run.tuning) > 1 else []
            options += ["--mode", "mean"] if fusion.weights == () else []
            assert fuse.main([*map(str, options), str(run.out), *map(str, run.members)]) == 0
            assert score.main([str(run.test), str(run.out)]) == 0
    for name in [*names, *(fusion.name for fusion in plan.fusions)]:
        for pool in plan.pools(name):
            for variant in ("", "padded") if name.startswith("csa") else ("",):
                members = [str(member / variant) for member in pool.members]
                assert pool_folds.main([str(pool.folder / variant), *members]) == 0
                assert score.main(["folds/pooled", str(pool.folder / variant)]) == 0


def test_a_plan_gives_what_its_folders_give(plan: Plan) -> None:
    before = contents(plan.exp)
    run_plan()
    by_plan = contents(plan.exp)
    shutil.rmtree(plan.exp)
    for name, text in before.items():
        (plan.exp / name).parent.mkdir(parents=True, exist_ok=True)
        (plan.exp / name).write_bytes(text)
    run_folders(plan)
    assert contents(plan.exp) == by_plan
    assert "pooled/csa_60/seed2/decode_test/padded/score/errors.txt" in by_plan
    assert "f1/four_dev/seed1/decode_test/score/result.txt" in by_plan
    assert by_plan["f0/four_dev/seed2/decode_test/fusion.txt"].count(b"majority/seed0/decode_test\n") == 2


def test_fusions_of_any_systems_and_of_seeds(plan: Plan) -> None:
    """They too are what their folders give: several sets to tune on, all seeds of a system."""
    fusions = (
        PlannedFusion("any", ("blstmatt", "csa_60", "majority"), None, (1, 2), "logistic"),
        PlannedFusion("all", ("csa_30", "blstmatt"), None, (2,), "logistic", ("csa_30",)),
        PlannedFusion("seeds", ("csa_60",), (), (0,), "logistic", ("csa_60",)),
    )
    plan = dataclasses.replace(plan, fusions=fusions)
    write_plan(plan)
    sources = {"f0": [TuningSource("f1-dev", "f1", "test")]}
    write_tuning(plan.folds / "tuning.tsv", sources)
    for folder in Path("exp/f1").glob("*/seed*"):
        model = Path("exp/f1-dev") / folder.relative_to("exp/f1")
        shutil.copytree(folder / "decode_test", model / "decode_tested")
    before = contents(plan.exp)
    run_plan()
    by_plan = contents(plan.exp)
    record = tables.read_table(Path("exp/f0/any/seed2/decode_test/fusion.txt"))
    assert (record["dev_data"], record["dev2_data"]) == ("folds/f0-dev/test", "folds/f1/test")
    assert record["dev2_system_3"] == "exp/f1-dev/majority/seed0/decode_tested"
    assert "dev2_data" not in tables.read_table(Path("exp/f1/any/seed2/decode_test/fusion.txt"))
    record = tables.read_table(Path("exp/f1/all/seed2/decode_test/fusion.txt"))
    assert [record[f"system_{number}"] for number in (1, 2, 3)] == [
        f"exp/f1/{name}/decode_test" for name in ("csa_30/seed1", "csa_30/seed2", "blstmatt/seed2")
    ]
    record = tables.read_table(Path("exp/f1/seeds/seed0/decode_test/fusion.txt"))
    assert (record["mode"], record["weights"]) == ("mean", "0.5 0.5")
    shutil.rmtree(plan.exp)
    for name, text in before.items():
        (plan.exp / name).parent.mkdir(parents=True, exist_ok=True)
        (plan.exp / name).write_bytes(text)
    write_plan(plan)
    run_folders(plan)
    assert contents(plan.exp) == by_plan
    assert fusion_curves(read_study("x", plan)) == []


def test_what_is_printed_and_logged(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    run_plan()
    first = capsys.readouterr().out
    heads = [line for line in first.splitlines() if line.startswith("exp/")]
    assert heads[:3] == [
        f"exp/pooled/{rest}"
        for rest in ("blstmatt/seed1/decode_test", "blstmatt/seed2/decode_test", "csa_30/seed1/decode_test")
    ]
    assert heads[3] == "exp/pooled/csa_30/seed1/decode_test/padded"
    assert heads[-1] == "exp/pooled/four_dev/seed2/decode_test"
    log = Path("exp/tasks/log/score.log").read_text()
    assert (
        log.count("utterances scored") == (3 * 2 + 1) * 4
    )  # three with two seeds, one with one; two folds and two to tune on
    assert "exp/f1-dev/csa_30/seed2/decode_test\n" in log
    log = Path("exp/tasks/log/fuse.log").read_text()
    assert log.count("utterances scored") == log.count("power fusion") == 3 * 2 * 2
    stamps = {path: path.stat().st_mtime_ns for path in plan.exp.rglob("score/*")}
    run_plan()
    assert {path: path.stat().st_mtime_ns for path in plan.exp.rglob("score/*")} == stamps
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(first.splitlines())


def test_table(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    run_plan()
    shutil.copytree("exp/pooled/two", "exp/pooled/left_over")
    assert tabulate.main(["--plan", "exp", "--out", "exp/results.tsv"]) == 0
    rows = [line.split("\t")[:2] for line in Path("exp/results.tsv").read_text().splitlines()[1:]]
    order = ["blstmatt", "csa_30", "csa_60", "two", "two_dev", "four_dev", "majority"]
    runs = ("1", "2", "mean", "sd")
    assert rows == [[name, run] for name in order for run in (("0", "mean") if name == "majority" else runs)]
    assert "left_over" not in capsys.readouterr().out
    write_plan(dataclasses.replace(plan, also=("left_over",)))
    assert tabulate.main(["--plan", "exp", "--decode", "decode_test"]) == 0
    assert "\nleft_over          2         40/40 " in capsys.readouterr().out


def test_systems_of_others_are_scored_with_the_plan(plan: Plan) -> None:
    run_plan()
    shutil.copytree("exp/pooled/two", "exp/pooled/guest")
    shutil.rmtree("exp/pooled/guest/seed1/decode_test/score")
    texts = list(score_systems(dataclasses.replace(plan, also=("guest",))))
    assert texts[-2].startswith("exp/pooled/guest/seed1/decode_test\n")
    assert Path("exp/pooled/guest/seed1/decode_test/score/result.txt").exists()


def test_curves_of_tuned_fusions(plan: Plan) -> None:
    run_plan()
    curves = fusion_curves(read_study("x", plan))
    assert [(curve.fusion, curve.before, curve.system, curve.given) for curve in curves] == [
        ("two_dev", ("blstmatt",), "csa_30", 0.4),
        ("four_dev", ("blstmatt",), "csa_30", None),
        ("four_dev", ("blstmatt", "csa_30"), "csa_60", None),
        ("four_dev", ("blstmatt", "csa_30", "csa_60"), "majority", None),
    ]
    assert all(curve.uar.shape == (4, 14) for curve in curves)  # folds x seeds, weights
    drawn = [figures.fusion(curve) for curve in curves]
    assert [figure.title for figure in drawn][2:] == [
        "Weight of csa_60 in four_dev",
        "Weight of majority in four_dev",
    ]
    assert "; at the median UAR on dev is " in drawn[0].reading
    assert ", at the given 0.4 " in drawn[0].reading
    assert ", at 0 (blstmatt and csa_30 alone) " in drawn[2].reading
    assert len({figure.sheet.name for figure in drawn}) == len(drawn)
    path = Path("exp/f0/two_dev/seed1/decode_test/fusion.txt")
    record = tables.read_table(path)
    tables.write_table(path, {key: value for key, value in record.items() if key != "dev_curve_2_03"})
    with pytest.raises(DataError) as error:
        fusion_curves(read_study("x", plan))
    assert str(error.value) == (
        "exp/f0/two_dev/seed2/decode_test/fusion.txt: was tuned on another grid than the first fold; fuse "
        "again (stage 7)"
    )


# ----------------------------------------------------------------------------------------------- refusals


def refusal(plan: Plan, verb: str = "fuse") -> str:
    with pytest.raises(DataError) as error:
        list(fuse_systems(plan, mode="power") if verb == "fuse" else score_systems(plan))
    return str(error.value)


def only(plan: Plan, *numbers: int) -> Plan:
    """The plan with some of its fusions."""
    return dataclasses.replace(plan, fusions=tuple(plan.fusions[number] for number in numbers))


def reorder(folder: Path, emotions: Sequence[str]) -> None:
    (folder / "emotions.txt").write_text("".join(f"{name} {k}\n" for k, name in enumerate(emotions)))


@pytest.mark.parametrize("fold", ["f0", "f0-dev"])
def test_fusion_of_systems_of_other_classes(plan: Plan, fold: str) -> None:
    one, two = (Path(f"exp/{fold}/{name}/seed1/decode_test") for name in ("blstmatt", "csa_30"))
    reorder(two, ("hap", "ang", "neu", "sad"))
    assert refusal(only(plan, 1)) == (
        f"{two}/emotions.txt: its classes are hap ang neu sad, those of {one}/emotions.txt are ang hap neu "
        "sad; make both with the same classes in the settings of the corpus"
    )


def test_fusion_tuned_on_systems_of_other_classes(plan: Plan) -> None:
    for name in ("blstmatt", "csa_30"):
        reorder(Path(f"exp/f0-dev/{name}/seed1/decode_test"), ("hap", "ang", "neu", "sad"))
    assert refusal(only(plan, 1)) == (
        "exp/f0-dev/blstmatt/seed1/decode_test/emotions.txt: its classes are hap ang neu sad, those of "
        "exp/f0/blstmatt/seed1/decode_test/emotions.txt are ang hap neu sad; make both with the "
        "same classes in the settings of the corpus"
    )


def test_fusion_of_systems_of_other_test_utterances(plan: Plan) -> None:
    two = Path("exp/f1/csa_30/seed1/decode_test")
    post = tables.read_table(two / "post")
    gone = next(iter(post))
    tables.write_table(two / "post", {utt: f" {row}" for utt, row in post.items() if utt != gone})
    one = "exp/f1/blstmatt/seed1/decode_test"
    assert refusal(only(plan, 0)) == (
        f"{one}: its keys are not those of {two}: 1 only in {one} ({gone}); run the stage that makes the "
        "older of the two again"
    )


def test_a_system_that_was_not_decoded(plan: Plan) -> None:
    system = dataclasses.replace(plan.systems[0], name="unknown")
    message = "exp/f0/unknown/seed1/decode_test/emotions.txt: no such file; run steps/decode.sh"
    assert refusal(dataclasses.replace(plan, systems=(system,)), "score") == message
    fusion = PlannedFusion("x", ("blstmatt", "unknown"), (1.0,), (1,))
    assert refusal(dataclasses.replace(plan, systems=(*plan.systems, system), fusions=(fusion,))) == message


def test_a_fold_without_a_variant(plan: Plan) -> None:
    shutil.rmtree("exp/f1/csa_60/seed1/decode_test/padded")
    assert refusal(plan, "score") == (
        "exp/f1/csa_60/seed1/decode_test/padded/emotions.txt: no such file; run steps/decode.sh"
    )
