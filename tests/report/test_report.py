"""What is reported of an experiment: numbers against their definition, refusals, the seal."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.data.published import Published
from ser.errors import DataError
from ser.plan import PlannedFusion, read_plan, write_plan
from ser.reporting import differences, figures, provenance, results, sheets
from ser.reporting.report import make_report
from ser.reporting.sheet import Score, Sheet
from ser.reporting.study import read_study
from ser.reporting.uses import USES
from ser.scoring.evaluate import score_folder
from tests.report.experiment import FACTS, SKILLS, WARNING, Made, planned_system

RunVerb = Callable[..., "subprocess.CompletedProcess[str]"]


def table(sheet: Sheet) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet.csv())))


def test_the_numbers_are_those_of_score(made: Made) -> None:
    """Means over the seeds of what stage 6 writes, of every system, padded ones too."""
    rows = {row["system"]: row for row in table(sheets.systems(read_study("x", made.plan)))}
    assert set(rows) == {*SKILLS, "csa_30 padded", "csa_60 padded"}  # no utterance is shorter than 20 frames
    for name, row in rows.items():
        system, _, padded = name.partition(" ")
        folders = sorted(
            (made.exp / "pooled" / system).glob("seed*/decode_test" + ("/padded" if padded else ""))
        )
        results = [score_folder(made.folds / "pooled", folder, num_draws=0) for folder in folders]
        assert row["scored/total"] == f"{results[0]['n_scored']}/{results[0]['n_total']}"
        assert row["normalisation"] == results[0].get("note_normalisation", "-")
        for key in sheets.MEASURES:
            values = [float(result[key]) for result in results]
            assert float(row[key]) == pytest.approx(np.mean(values), abs=1e-6)
            if len(values) > 1:
                assert float(row[f"{key}_sd"]) == pytest.approx(np.std(values, ddof=1), abs=1e-6)
        for folder in folders:
            shutil.rmtree(folder / "score")


def test_published_numbers_stand_in_a_column_that_says_so(made: Made) -> None:
    plain = sheets.systems(read_study("x", made.plan))
    assert sheets.OTHER_PROTOCOL not in plain.columns
    printed = {
        "csa_30": Published(68.8, 59.4, "some turns"),
        "blstmatt": Published(None, 58.14, "other turns"),
        "csa_60": Published(71.0, None, "some turns"),
    }
    own = [dataclasses.replace(each, published=printed.get(each.name)) for each in made.plan.systems]
    sheet = sheets.systems(read_study("x", dataclasses.replace(made.plan, systems=tuple(own))))
    assert sheet.columns == (*plain.columns, "as published, other protocol")
    cells = {row[0]: row[-1] for row in sheet.rows}
    assert {name: cell for name, cell in cells.items() if cell is not None} == {
        "csa_30": "acc 68.8, uar 59.4",
        "blstmatt": "uar 58.1",
        "csa_60": "acc 71.0",
    }
    assert [row[:-1] for row in sheet.rows] == [list(row) for row in plain.rows]
    assert sheet.note == plain.note + (
        " 'As published, other protocol' is what a system's own paper prints, in per cent, of other turns "
        "(blstmatt); some turns (csa_30, csa_60): other folds and sizes, if not another corpus; nothing "
        "follows from comparing it."
    )


def test_parts_add_up_to_the_whole(made: Made) -> None:
    study = read_study("x", made.plan)
    folds = table(sheets.by_fold(study))
    styles = table(sheets.by_style(study) or pytest.fail("no styles"))
    for system in ("blstmatt", "syscomb"):  # these score everything
        pooled = study.system(system).values(study.test, "acc").mean()  # type: ignore[union-attr]
        weighted = sum(int(row["n"]) * float(row[system]) for row in folds[:-1]) / len(made.labels)
        assert weighted == pytest.approx(pooled, abs=1e-5)
        own = [row for row in styles if row["system"] == system]
        assert {row["style"] for row in own} == {"improvised", "scripted"}
        counts = [int(row["scored/total"].split("/")[0]) for row in own]
        apart = sum(n * float(row["acc"]) for n, row in zip(counts, own, strict=True)) / sum(counts)
        assert apart == pytest.approx(pooled, abs=1e-5)
    assert folds[-1]["fold"] == "mean ± sd of the rows"
    assert len(table(sheets.by_speaker(study))) == 6 + 1


def test_table1_holds_the_papers_rows_in_its_order(made: Made) -> None:
    rows = table(sheets.table1(read_study("iemocap", made.plan)))
    printed = [(row["system"], row["paper UA"], row["paper WA"]) for row in rows]
    assert [name for name, _, _ in printed][:7] == [
        *("factor analysis [41]", "CNN_LSTM [42]", "CNN_RecCap [24]", "CNN_GRU-SeqCap [24]"),
        *("attention pooling [43]", "multimodal attention [44]", "BLSTMATT"),
    ]
    assert [name for name, _, _ in printed][7:18] == [f"CSA {context}" for context in range(20, 121, 10)]
    assert ("SYSCOMB, BLSTMATT and CSA 30", "0.805000", "0.740000") in printed
    read = {
        row["system"]: (float(row["read as acc"]), float(row["read as uar"]))
        for row in rows
        if row["read as acc"]
    }
    assert read["BLSTMATT"] == pytest.approx((0.602, 0.6025))
    assert read["CSA 120"] == pytest.approx((0.444, 0.463))
    ours = next(row for row in rows if row["system"] == "BLSTMATT")
    assert float(ours["our ua_eq6"]) == pytest.approx((1 + float(ours["our acc"])) / 2, abs=1e-6)
    assert next(row for row in rows if row["system"] == "CSA 120")["our acc"] == ""


def test_differences(made: Made) -> None:
    study = read_study("x", made.plan)
    compared = {(each.first, each.second): each for each in differences.compare(study)}
    others = {name for name in SKILLS if name != "blstmatt"}
    asked = {("blstmatt", name) for name in others} | {
        ("csa_30", "csa_20"),
        ("csa_30", "csa_60"),
        ("csa_30", "syscomb"),
        ("majority", "syscomb"),
    }
    assert set(compared) == asked
    chance = compared["blstmatt", "majority"]  # one run, beside each of the other's
    assert (chance.n_runs, chance.n_utts, chance.verdict) == (3, 120, differences.SUPPORTED)
    assert chance.interval is not None
    assert chance.interval[1] < 0
    near = compared["blstmatt", "syscomb"]
    assert near.verdict == differences.UNSUPPORTED
    assert near.p_holm >= near.p
    blstmatt, csa = study.system("blstmatt"), study.system("csa_60")
    assert blstmatt is not None
    assert csa is not None
    both = compared["blstmatt", "csa_60"]
    assert both.n_utts == int(csa.scored.sum()) < 120
    change = csa.values(study.test, "uar") - blstmatt.values(study.test, "uar", csa.scored)
    assert both.difference == pytest.approx(change.mean())


def test_pairs_follow_the_plan(made: Made) -> None:
    """The first system, and the fusion, beside others; the fused system beside its other contexts."""

    def names(**changes: object) -> list[tuple[str, str]]:
        study = read_study("x", dataclasses.replace(made.plan, **changes))  # type: ignore[arg-type]
        return [(first.name, second.name) for first, second in differences.pairs(study)]

    first = [("blstmatt", name) for name in ("csa_20", "csa_30", "csa_60", "syscomb", "majority")]
    rest = [("csa_30", "csa_20"), ("csa_30", "csa_60"), ("csa_30", "syscomb"), ("majority", "syscomb")]
    assert names() == first + rest
    assert names(fusions=()) == [pair for pair in first if "syscomb" not in pair]
    stems = tuple(dataclasses.replace(system, stem=system.name, context=None) for system in made.plan.systems)
    assert names(systems=stems) == [
        *first,
        ("csa_30", "syscomb"),
        ("csa_20", "syscomb"),
        ("csa_60", "syscomb"),
        rest[-1],
    ]
    swapped = dataclasses.replace(made.plan.fusions[0], systems=("csa_30", "blstmatt"))
    assert names(fusions=(swapped,)) == [*first, ("majority", "syscomb")]  # no pair twice


@pytest.mark.parametrize(
    ("p", "interval", "verdict"),
    [
        (0.01, (0.1, 0.2), "supported"),
        (0.01, (-0.1, 0.2), "for these speakers only"),
        (0.01, None, "for these speakers only"),
        (0.06, (0.1, 0.2), "not supported"),
    ],
)
def test_verdicts(p: float, interval: tuple[float, float] | None, verdict: str) -> None:
    assert differences.Comparison("a", "b", 0.15, interval, p, p, 9, 1).verdict == verdict


def test_the_order_of_folders_and_the_number_of_reports_change_nothing(made: Made) -> None:
    one = make_report("x", made.plan, "./run.sh")
    two = make_report("x", made.plan, "./run.sh")
    assert [sheet.csv() for sheet in one.sheets] == [sheet.csv() for sheet in two.sheets]
    assert [figure.svg for figure in one.figures] == [figure.svg for figure in two.figures]
    assert [figure.title for figure in one.figures] == [
        "Context length of csa",
        "Each speaker",
        "Calibration",
        "Learning curves",
    ]


def test_calibration_speaks_of_what_it_draws(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST", len(SKILLS) - 2)
    study = read_study("x", made.plan)
    results = sheets.calibrations(study)
    drawn = [each for each in results if each.system not in ("csa_20", "csa_60")]
    means = {each.system: each.ece.mean() for each in drawn}
    best, worst = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    figure = figures.calibration(study, results)
    assert figure.reading.startswith(f"Of the systems drawn, {best} is closest to its word (")
    assert f", {worst} farthest from it (" in figure.reading
    assert {row["system"] for row in table(figure.sheet)} == {each.system for each in results}


def test_the_plan_is_stated(made: Made) -> None:
    report = make_report("x", made.plan, "")
    assert "in 3 folds of the protocol loso (f0, f1, f2), " in report.summary
    sheet = next(sheet for sheet in report.sheets if sheet.name == "plan")
    assert sheet.note == "Folds of the protocol 'loso'."
    assert sheet.text() == [
        ["blstmatt", "blstmatt", "fbank", "speaker", "-", "-", "1 2 3"],
        ["csa_20", "csa", "fbank", "speaker", "20", "-", "1 2 3"],
        ["csa_30", "csa", "fbank", "speaker", "30", "-", "1 2 3"],
        ["csa_60", "csa", "fbank", "speaker", "60", "-", "1 2 3"],
        ["syscomb", "blstmatt + csa_30", "-", "-", "-", "1 0.4", "1 2 3"],
        ["majority", "majority", "-", "none", "-", "-", "0"],
    ]


def test_the_normalisation_that_auto_took_is_stated(own: Made) -> None:
    """As decoding noted it; where folds differ both are."""
    systems = tuple(
        dataclasses.replace(each, norm="auto") if each.sets else each for each in own.plan.systems
    )
    plan = dataclasses.replace(own.plan, systems=systems)
    for notes in (own.exp / "pooled" / "csa_30").rglob("notes"):
        notes.write_text("normalisation global+speaker\n")
    report = make_report("x", plan, "")
    norms = {row[0]: row[3] for row in next(s for s in report.sheets if s.name == "plan").text()}
    assert (norms["blstmatt"], norms["csa_30"]) == ("auto: speaker", "auto: global+speaker")
    systems_rows = {row[0]: row[2] for row in report.sheets[0].text()}
    assert (systems_rows["blstmatt"], systems_rows["csa_30"]) == ("speaker", "global+speaker")
    said = "(speaker: it uses all of a test speaker's audio, without labels)"
    assert f"Feature normalisation: global, speaker {said}." in report.summary


def test_cells() -> None:
    sheet = Sheet(
        "s",
        "S",
        ("a", "b", "c"),
        [["x|y", Score(0.861, 0.023, (0.83, 0.891)), None], ["z", Score(-0.01, signed=True), 0.04]],
    )
    assert sheet.text() == [["x|y", "86.1 ± 2.3 [83.0, 89.1]", "-"], ["z", "\N{MINUS SIGN}1.0", "0.0400"]]
    assert (
        sheet.csv()
        == "a,b,b_sd,b_low,b_high,c\nx|y,0.861000,0.023000,0.830000,0.891000,\nz,-0.010000,,,,0.04\n"
    )
    assert sheet.markdown().splitlines()[:3] == [
        "| a | b | c |",
        "|---|---:|---:|",
        "| x\\|y | 86.1 ± 2.3 [83.0, 89.1] | - |",
    ]


# ---------------------------------------------------------------------------------------------- RESULTS.md


def test_a_hand_edit_is_refused(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    results.write(path, make_report("x", made.plan, ""))
    results.check_seal(path)
    text = path.read_text()
    spoilt = re.sub(
        r"\| blstmatt \| log-mel \| speaker \| 3 \| 120/120 \| \d",
        "| blstmatt | log-mel | speaker | 3 | 120/120 | 9",
        text,
    )
    for other, message in [
        (spoilt, "was changed since it was generated; make it again with stage 9"),
        (text + "more\n", "its last line is not the seal of a generated file; make it with stage 9"),
        ("# Results\n", "its last line is not the seal of a generated file; make it with stage 9"),
    ]:
        assert other != text
        path.write_text(other)
        with pytest.raises(DataError) as error:
            results.check_seal(path)
        assert str(error.value) == f"{path}: {message}"


def test_the_recipes_results_are_as_generated(repo: Path) -> None:
    for path in repo.glob("egs/*/RESULTS*.md"):
        results.check_seal(path)


@pytest.mark.slow
def test_results_stay_when_only_the_date_would_change(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    report = make_report("x", made.plan, "")
    report.facts["report"] = "made 2000-01-01 00:00 UTC"
    results.write(path, report)
    before = path.read_text()
    assert "2000-01-01" in before
    results.write(path, make_report("x", made.plan, ""))
    assert path.read_text() == before
    results.write(path, make_report("x", made.plan, "./run.sh --nj 3"))
    assert "./run.sh --nj 3" in path.read_text()
    assert "2000-01-01" not in path.read_text()


def test_provenance(made: Made) -> None:
    facts = provenance.collect("./run.sh --corpus-dir=/a/b/emodb --seeds '1 2'", made.exp, list(SKILLS)).facts
    assert facts["command"] == "./run.sh --corpus-dir=.../emodb --seeds '1 2'"
    assert re.match(r"[0-9a-f]{40}|not known", facts["commit"])
    assert "numpy " in facts["versions"]
    # 4 systems x 3 folds x 3 seeds, 36 s each
    assert facts["trainings"] == "36, 2023-11-14, 0.4 hours of wall-clock time, summed over them"
    assert provenance.trainings(made.exp, ["blstmatt"]).startswith("9, 2023-11-14, ")
    assert provenance.event_times(b"") == []
    assert provenance.event_times(bytes(30)) == []


# ----------------------------------------------------------------------------------------------- refusals


def message(own: Made) -> str:
    with pytest.raises(DataError) as error:
        read_study("x", read_plan(own.exp))
    return str(error.value)


def replan(own: Made, **changes: object) -> None:
    """Write the plan with some fields changed."""
    write_plan(dataclasses.replace(read_plan(own.exp), **changes))  # type: ignore[arg-type]


def test_without_a_plan(run_verb: RunVerb, own: Made) -> None:
    (own.exp / "plan.json").unlink()
    said = run_verb("report", own.exp)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == f"ser: error: {own.exp}/plan.json: no such file; run.sh writes it, or ser plan\n"


def test_what_the_plan_names_and_nobody_made(own: Made) -> None:
    fusion = PlannedFusion("both", ("blstmatt", "csa_30"), None, (1, 2))
    replan(own, fusions=(fusion,))
    pooled = own.exp / "pooled"
    assert message(own).splitlines() == [
        f"{pooled}/both/seed{seed}/decode_test: no such folder; run stage 7" for seed in (1, 2)
    ]
    replan(own, fusions=(), also=("guest",))
    assert message(own) == (
        f"{pooled}/guest: has no seed<k>/decode_test; put the posteriors of all folds there, or leave the "
        "name out of 'also'"
    )


def test_what_the_plan_does_not_name_is_not_read(own: Made) -> None:
    shutil.copytree(own.exp / "pooled" / "csa_30", own.exp / "pooled" / "guest")
    assert [runs.name for runs in read_study("x", own.plan).runs] == ["blstmatt", "csa_30"]
    replan(own, also=("guest",))
    study = read_study("x", read_plan(own.exp))
    assert [(runs.name, runs.seeds) for runs in study.runs][1:] == [
        (name, ("1", "2")) for name in ("csa_30", "guest")
    ]
    pairs = [(first.name, second.name) for first, second in differences.pairs(study)]
    assert pairs == [("blstmatt", "csa_30"), ("blstmatt", "guest")]


def test_before_anything_was_scored(run_verb: RunVerb, own: Made) -> None:
    shutil.rmtree(own.exp / "pooled")
    said = run_verb("report", own.exp)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        f"ser: error: {own.exp}/pooled: no such folder; nothing was scored yet, run stages 3 to 7 first\n"
    )
    (own.exp / "pooled").mkdir()
    missing = [
        f"{own.exp}/pooled/{name}/seed{seed}/decode_test"
        for name in ("blstmatt", "csa_30")
        for seed in (1, 2)
    ]
    assert message(own) == (
        f"{missing[0]}: no such folder; run stage 6 (4 places: {', '.join(missing[:3])}, ...)"
    )
    shutil.rmtree(own.folds)
    assert message(own) == f"{own.folds}/pooled/emotions.txt: no such file; run stage 0"
    assert not (own.exp / "RESULTS.md").exists()


def test_a_folder_deleted_truncated_or_of_another_version(own: Made) -> None:
    pooled = own.exp / "pooled"
    (pooled / "blstmatt" / "seed1" / "decode_test" / "post").unlink()
    post = pooled / "csa_30" / "seed2" / "decode_test" / "post"
    text = post.read_text()
    post.write_text(text[: len(text) // 2])
    said = message(own).splitlines()
    assert said[0] == f"{pooled}/blstmatt/seed1/decode_test/post: no such file; run steps/decode.sh"
    assert re.match(rf"{post}:\d+: the last line has no newline, the file may be cut short", said[1])
    post.write_text("".join(f"{line}\n" for line in text.splitlines()[:-3]))
    assert "3 of the 32 keys" in message(own).splitlines()[1]
    post.write_text(text)
    shutil.rmtree(pooled / "blstmatt" / "seed1")
    assert message(own) == f"{pooled}/blstmatt/seed1/decode_test: no such folder; run stage 6"
    replan(own, systems=(planned_system("blstmatt", (2,)), planned_system("csa_30", (1, 2))))
    study = read_study("x", read_plan(own.exp))
    assert {runs.name: runs.seeds for runs in study.runs} == {"blstmatt": ("2",), "csa_30": ("1", "2")}
    emotions = pooled / "blstmatt" / "seed2" / "decode_test" / "emotions.txt"
    emotions.write_text("hap 0\nang 1\nneu 2\nsad 3\n")
    assert message(own) == (
        f"{emotions}: its classes are hap ang neu sad, those of {own.folds}/pooled/emotions.txt are ang "
        "hap neu sad; make both with the same classes in the settings of the corpus"
    )


def test_decoded_by_another_version_has_no_padded_variant(own: Made) -> None:
    for folder in (own.exp / "pooled").rglob("padded"):
        shutil.rmtree(folder)
    (own.folds / "checks.tsv").unlink()
    study = read_study("x", own.plan)
    assert all(runs.padded is None for runs in study.runs)
    assert sheets.checks(study) is None
    (own.exp / "f0" / "blstmatt" / "seed1" / "history.tsv").write_text("epoch\tloss\n1\n")
    with pytest.raises(
        DataError, match=r"history.tsv: is no table of epochs; train again into another folder"
    ):
        make_report("x", own.plan, "")


def test_segments_that_overlap_are_counted(own: Made) -> None:
    head = "fold\tsubset\tutterances\tspeakers\trecordings\tshared_speakers\tshared_recordings"
    (own.folds / "checks.tsv").write_text(f"{head}\toverlapping_utterances\nf0\ttest\t8\t2\t8\t0\t0\t3\n")
    sheet = sheets.checks(read_study("x", own.plan))
    assert sheet is not None
    assert sheet.rows == [["f0", "test", 8, 2, 8, 0, 0, 3]]
    assert sheet.columns[-1] == "overlapping utterances"
    assert sheet.note == (
        "Speakers and recordings (by digests of features) that a subset shares with another subset of its "
        "fold: none in any fold. Overlapping utterances share part of a recording with one of another subset."
    )


def test_the_corpus_and_what_stages_0_to_2_warned_of(own: Made) -> None:
    sheet = sheets.corpus(read_study("x", own.plan))
    assert sheet is not None
    assert sheet.rows == [
        *([fact.fact, fact.value, fact.warning] for fact in FACTS),
        ["folds", "protocol loso", WARNING],
    ]
    report = make_report("x", own.plan, "")
    assert report.summary.endswith(" Of the corpus and its folds there are 2 warnings: see Corpus.")
    text = results.results_text(report)
    assert "| sampling rate | 119 of 16000 Hz, 1 of 8000 Hz | 1 of 120 utterances has a lower" in text
    (own.folds / "warnings.txt").unlink()
    sheet = sheets.corpus(read_study("x", own.plan))
    assert sheet is not None
    assert sheet.rows[-1] == ["folds", "protocol loso", ""]
    (own.folds.parent / "summary.tsv").unlink()  # of an older version
    assert sheets.corpus(read_study("x", own.plan)) is None


def test_sessions_shared_with_training_are_said_with_the_numbers(own: Made) -> None:
    said = "Test utterances are of sessions that other speakers are trained on (see Corpus)"
    report = make_report("x", own.plan, "")
    assert said not in report.summary
    for notes in (own.exp / "pooled" / "blstmatt").rglob("notes"):
        notes.write_text("normalisation speaker\nsessions shared with training, by other speakers\n")
    report = make_report("x", own.plan, "")
    assert said in report.summary
    assert said in report.sheets[0].note


def test_a_fold_without_a_class(own: Made) -> None:
    """It counts for what it has: no division by zero, and the class's recall is that of the other folds."""
    for path in (own.folds / "f0" / "test" / "utt2emo", own.folds / "pooled" / "utt2emo"):
        labels = tables.read_table(path)
        tables.write_table(
            path,
            {utt: "ang" if utt.startswith("f0") and emo == "sad" else emo for utt, emo in labels.items()},
        )
    report = make_report("x", own.plan, "")
    rows = {row["fold"]: row for sheet in report.sheets if sheet.name == "folds" for row in table(sheet)}
    assert 0 <= float(rows["f0"]["blstmatt"]) <= 1
    classes = next(table(sheet) for sheet in report.sheets if sheet.name == "classes")
    assert all(row["sad recall"] for row in classes)


def test_one_speaker_has_no_interval(own: Made) -> None:
    for path in (
        own.folds / "f0" / "test" / "utt2spk",
        own.folds / "f1" / "test" / "utt2spk",
        own.folds / "pooled" / "utt2spk",
    ):
        tables.write_table(path, dict.fromkeys(tables.read_table(path), "one"))
    study = read_study("x", own.plan)
    assert study.interval(study.runs[0], "uar") is None
    assert all(each.verdict != differences.SUPPORTED for each in differences.compare(study))


def test_what_reads_more_than_recordings_is_marked(own: Made) -> None:
    """In the table, below it, in the summary; and without such a system there is no such column."""
    report = make_report("x", own.plan, "")
    assert "uses" not in report.sheets[0].columns
    assert USES not in report.sheets[0].note
    assert "More than the recording" not in report.summary
    for name, notes in (("blstmatt", ["later_turns", "transcripts"]), ("csa_30", ["later_turns"])):
        for path in (own.exp / "pooled" / name).rglob("notes"):
            tables.write_table(path, {"normalisation": "speaker"} | dict.fromkeys(notes, "used"))
    report = make_report("x", own.plan, "")
    rows = {row["system"]: row["uses"] for row in table(report.sheets[0])}
    both, turns = "uses transcripts, uses later turns", "uses later turns"
    assert {name: mark for name, mark in rows.items() if mark} == {
        "blstmatt": both,
        "csa_30": turns,
        "csa_30 padded": turns,
    }
    assert USES in report.sheets[0].note
    marked = f"blstmatt {both}; csa_30 {turns}."
    assert f"More than the recording of an utterance is read: {marked}" in report.summary
