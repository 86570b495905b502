"""The members of fusions, their weights, and the sentence on the best of them."""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np
import pytest

from ser.data import tables
from ser.errors import DataError
from ser.plan import PlannedFusion
from ser.reporting import differences, sheets
from ser.reporting.fusions import against_best, fusions, read_weights
from ser.reporting.study import Study, read_study
from tests.report.experiment import Made, make_experiment

TUNED = PlannedFusion("syscomb", ("blstmatt", "csa_30"), None, (1, 2, 3), "logistic")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The fusion's weights are tuned; fold and seed stand in them."""
    made = make_experiment(tmp_path_factory.mktemp("tuned"))
    plan = dataclasses.replace(made.plan, fusions=(TUNED,))
    for number, run in enumerate(plan.fusion_runs(TUNED)):
        tables.write_table(run.out / "fusion.txt", {"mode": "power", "weights": f"{0.1 * number:g} 0.5"})
    return read_study("x", plan)


def test_weights_over_folds_and_seeds(tuned: Study) -> None:
    assert read_weights(tuned, TUNED) == pytest.approx(np.array([[0.1 * i, 0.5] for i in range(9)]))
    sheet = fusions(tuned, differences.compare(tuned)) or pytest.fail("no fusion")
    rows = list(csv.DictReader(io.StringIO(sheet.csv())))
    assert [(row["fusion"], row["track"], row["member"]) for row in rows] == [
        ("syscomb", "log-mel", "blstmatt"),
        ("syscomb", "log-mel", "csa_30"),
    ]
    assert [[row[key] for key in ("mean weight", "lowest", "highest")] for row in rows] == [
        ["0.40", "0.00", "0.80"],
        ["0.50", "0.50", "0.50"],
    ]
    best = next(runs for runs in tuned.runs if runs.name == "blstmatt")
    assert float(rows[0]["its uar"]) == pytest.approx(best.values(tuned.test, "uar").mean(), abs=1e-6)


def test_the_sentence_is_that_of_the_comparison(tuned: Study) -> None:
    comparisons = differences.compare(tuned)
    pair = next(each for each in comparisons if {each.first, each.second} == {"blstmatt", "syscomb"})
    points = 100 * pair.difference
    side = "above" if points > 0 else "below"
    assert abs(points) >= 0.1
    assert pair.verdict == differences.UNSUPPORTED
    sentence = against_best(tuned, TUNED, comparisons)
    assert sentence == (
        f"syscomb is {abs(points):.1f} points {side} its best member, blstmatt: not supported."
    )
    turned = dataclasses.replace(pair, first="syscomb", second="blstmatt", difference=-pair.difference)
    assert against_best(tuned, TUNED, [turned]) == sentence
    sure = dataclasses.replace(pair, difference=0.0213, p_holm=0.01, interval=(0.01, 0.03))
    assert against_best(tuned, TUNED, [sure]) == (
        "syscomb is 2.1 points above its best member, blstmatt: the difference is supported."
    )
    level = dataclasses.replace(pair, difference=0.0)
    assert against_best(tuned, TUNED, [level]).startswith("syscomb is level with its best member, blstmatt: ")
    assert against_best(tuned, TUNED, []) == ""


def test_every_fusion_is_tested_against_its_best_member(made: Made) -> None:
    """Also one of which neither is the plan's first system."""
    other = PlannedFusion("syscomb", ("csa_60", "csa_20"), (1.0,), (1, 2, 3))
    study = read_study("x", dataclasses.replace(made.plan, fusions=(other,)))
    best = study.best_member(other)
    assert best is not None
    assert best.name == "csa_20"
    compared = {frozenset((one.name, two.name)) for one, two in differences.pairs(study)}
    assert frozenset(("csa_20", "syscomb")) in compared
    assert read_weights(study, other).tolist() == [[1.0, 1.0]]


def test_the_seeds_of_one_system(made: Made) -> None:
    """Equal weights; it is no main fusion, of which the report asks for a second system."""
    ensemble = PlannedFusion("syscomb", ("csa_30",), (), (0,), "logistic", ("csa_30",))
    plan = dataclasses.replace(made.plan, fusions=(ensemble,))
    assert plan.members(ensemble, 0) == [("csa_30", 1), ("csa_30", 2), ("csa_30", 3)]
    study = dataclasses.replace(read_study("x", made.plan), plan=plan)
    assert (study.fusion, study.fused) == (None, None)
    sheet = fusions(study, []) or pytest.fail("no fusion")
    assert [row[3] for row in sheet.rows] == [f"csa_30 seed {seed}" for seed in (1, 2, 3)]
    assert [row[5] for row in sheet.rows] == ["0.33"] * 3


def test_another_number_of_weights(tuned: Study) -> None:
    path = tuned.plan.fusion_runs(TUNED)[4].out / "fusion.txt"
    before = path.read_text()
    for weights, message in (
        ("0.1 0.2 0.3", "has 3 weights, the plan has 2 members; fuse again (stage 7)"),
        ("0.1 x", "is no record of a fusion; fuse again (stage 7)"),
    ):
        tables.write_table(path, {"weights": weights})
        with pytest.raises(DataError) as error:
            read_weights(tuned, TUNED)
        assert str(error.value) == f"{path}: {message}"
    path.write_text(before)


def test_no_fusion_no_table(own: Made) -> None:
    study = read_study("x", own.plan)
    assert fusions(study, differences.compare(study)) is None


def test_log_loss_is_the_mean_surprise(made: Made) -> None:
    study = read_study("x", made.plan)
    rows = {each.system: each for each in sheets.calibrations(study)}
    shares = np.bincount(study.test.truth, minlength=4) / len(study.test.truth)
    by_hand = -(shares * np.log([0.4, 0.2, 0.2, 0.2])).sum()  # what majority says of each class
    assert rows["majority"].log_loss == pytest.approx([by_hand])
    best = study.system("blstmatt")
    assert best is not None
    own = -np.log(best.posteriors[:, np.arange(len(study.test.utts)), study.test.truth]).mean(1)
    assert rows["blstmatt"].log_loss == pytest.approx(own)


def test_training_speakers_are_reported_over_all_folds(own: Made) -> None:
    study = read_study("x", own.plan)
    assert sheets.training_speakers(study) is None  # folds of others
    (own.folds / "training_speakers.tsv").write_text(
        "fold\tnum_shown\tnum_classes\tspeakers\tutterances\tleast_s\tmedian_s\tmost_s\n"
        "f0\t1\t4\t7\t70\t10.00\t20.00\t30.00\nf0\t4\t4\t2\t30\t50.00\t60.00\t70.00\n"
        "f1\t1\t4\t8\t80\t11.00\t22.00\t31.00\nf1\t4\t4\t1\t20\t55.00\t55.00\t55.00\n"
    )
    sheet = sheets.training_speakers(study) or pytest.fail("none")
    assert sheet.text() == [
        ["1", "7 to 8", "70 to 80", "10", "21", "31"],
        ["4", "1 to 2", "20 to 30", "50", "58", "70"],
    ]
    assert sheet.note == (
        "Training speakers (2 folds): 7 to 8 show 1 of 4 classes, with 10 to 31 s of speech each (median 21);"
        " 1 to 2 show 4 of 4 classes, with 50 to 70 s of speech each (median 58). Speaker and class are "
        "confounded: 70 to 80 % of the training utterances are of speakers who show at most half of the "
        "classes. A system may learn speakers in place of classes, and normalisation by speaker hides the "
        "classes (features.norm auto takes global then). s: speech of a speaker."
    )
    (own.folds / "training_speakers.tsv").unlink()
