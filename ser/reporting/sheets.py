"""The tables of a report."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser import reading
from ser.data import confounding
from ser.data.corpus_summary import read_summary
from ser.data.fold_checks import read_warnings
from ser.data.published import Published
from ser.plan import OPEN
from ser.reporting.differences import NUM_SWAPS, Comparison
from ser.reporting.sheet import Cell, Score, Sheet
from ser.reporting.study import NUM_DRAWS, Study
from ser.reporting.uses import USES, uses
from ser.scoring.calibration import NUM_BINS, Reliability, log_loss, reliability
from ser.scoring.metrics import METRICS, Floats, precisions, recalls
from ser.scoring.runs import Bools, Names, Runs
from ser.scoring.significance import mean_bootstrap

MEASURES = ("acc", "uar", "ua_eq6", "wa_eq6")
TABLE1 = Path(__file__).with_name("table1.tsv")
OTHER_PROTOCOL = "as published, other protocol"
SPREAD = (
    "Per cent; ± is the standard deviation over the seeds, [..] the 95 % bootstrap interval over speakers"
)

SHARED = (
    "Test utterances are of sessions that other speakers are trained on (see Corpus): the numbers are not "
    "those of new sessions."
)


def coverage(runs: Runs) -> str:
    """``<scored>/<total>``."""
    return f"{int(runs.scored.sum())}/{len(runs.scored)}"


def _scores(
    study: Study, runs: Runs, chosen: Bools | None = None, intervals: Sequence[str] = ()
) -> list[Cell]:
    """The four measures, mean and deviation over the runs."""
    counts = runs.confusions(study.test, chosen)
    return [
        Score.of(
            METRICS[name](counts.sum(1)),
            mean_bootstrap(counts, name, NUM_DRAWS, 0) if name in intervals else None,
        )
        for name in MEASURES
    ]


def systems(study: Study) -> Sheet:
    """All systems, pooled over the folds; the variant with short utterances padded below its system."""
    rows, marked = list[list[Cell]](), any(map(uses, study.runs))
    for runs in study.runs:
        for each in filter(None, (runs, runs.padded)):
            counts = _scores(study, each, intervals=("acc", "uar"))
            norm = each.notes.get("normalisation", "-")
            track = study.plan.track(runs.name)
            used = [uses(each)] * marked
            rows.append([each.name, track, norm, *used, len(each.seeds), coverage(each), *counts])
    columns = ["system", "track", "normalisation", *["uses"] * marked, "seeds", "scored/total", *MEASURES]
    note = (
        f"{SPREAD} (of {len(study.test.speaker_names)}). The track is that of the features that a system, or "
        f"all members of a fusion, read; {OPEN}: unlike ones."
    )
    if any("speaker" in runs.norms for runs in study.runs):
        note += " Normalisation by speaker uses all of a test speaker's audio, without labels."
    note += f" {USES}" if marked else ""
    if any(runs.notes.get("split") == "speaker-dependent" for runs in study.runs):
        note += " The split is speaker-dependent: speakers that are tested on are trained on, too."
    if any("sessions" in runs.notes for runs in study.runs):
        note += " " + SHARED
    if any(runs.padded for runs in study.runs):
        note += (
            " A system of chunks may drop utterances shorter than its context, so n differs; a row 'padded' "
            "scores these too, by one chunk that repeats the last frame, so that all such rows share one "
            "test set."
        )
    if published := {each.name: each.published for each in study.plan.systems if each.published}:
        columns.append(OTHER_PROTOCOL)
        for row in rows:
            row.append(_printed(published.get(str(row[0]))))
        note += _published_note(published)
    return Sheet("systems", "All systems, folds pooled", tuple(columns), rows, note)


def _printed(published: Published | None) -> Cell:
    """``acc 68.8, uar 59.4``; None where a system's paper prints nothing."""
    if published is None:
        return None
    numbers = {"acc": published.acc, "uar": published.uar}
    return ", ".join(f"{name} {value:.1f}" for name, value in numbers.items() if value is not None)


def _published_note(published: Mapping[str, Published]) -> str:
    """Of what the published numbers are, for display; ``published`` by the systems' names."""
    texts = []
    for of in dict.fromkeys(each.of for each in published.values()):
        names = ", ".join(name for name, each in published.items() if each.of == of)
        texts.append(f"{of} ({names})")
    return (
        f" '{OTHER_PROTOCOL.capitalize()}' is what a system's own paper prints, in per cent, of "
        f"{'; '.join(texts)}: other folds and sizes, if not another corpus; nothing "
        "follows from comparing it."
    )


def table1(study: Study) -> Sheet:
    """The paper's Table 1, row by row, beside the systems of the same names."""
    with open(TABLE1, encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t"))
    rows: list[list[Cell]] = []
    for line in lines:
        ua, wa = (float(line[key]) / 100 if line[key] else None for key in ("ua", "wa"))
        ours = study.system(line["row"])
        if ua is None and wa is None and ours is None:
            continue
        if line["row"]:
            reading: list[Cell] = [Score(2 * ua - 1) if ua else None, Score(1.5 * wa - 0.5) if wa else None]
        else:
            reading = [None, None]
        cells = _scores(study, ours) if ours else [None] * len(MEASURES)
        counts = coverage(ours) if ours else None
        printed = [None if share is None else Score(share) for share in (ua, wa)]
        rows.append([line["system"], *printed, *reading, counts, *cells, line["measure"]])
    columns = ("system", "paper UA", "paper WA", "read as acc", "read as uar", "our n")
    here = (
        ""
        if study.name == "iemocap"
        else f" The paper's figures are of IEMOCAP, ours of {study.name}: another task."
    )
    note = (
        "The paper's UA and WA are its eq. 6, one class against the rest: for four classes UA = (1 + "
        "acc) / 2 exactly, so 80.1 is an accuracy of 60.2 %, and uar is about 1.5 WA - 0.5. Chance is "
        "62.5 / 50.0 on that scale. The rows not read as acc and uar are other measures on parts of "
        f"the corpus, and stand in the paper's columns as printed; nothing follows from comparing them.{here}"
    )
    return Sheet(
        "table1",
        "Table 1 again",
        (*columns, *(f"our {name}" for name in MEASURES), "what the row measures"),
        rows,
        note,
    )


# ---------------------------------------------------------------------------------------------- in groups


def by_class(study: Study) -> Sheet:
    """Recall and precision of every class."""
    rows: list[list[Cell]] = []
    for runs in study.runs:
        pooled = study.confusions[runs.name].sum(1)  # (R, K, K)
        measured = [function(pooled) for function in (recalls, precisions)]
        rows.append(
            [
                runs.name,
                *(Score.of(values[:, k]) for k in range(len(study.test.emotions)) for values in measured),
            ]
        )
    columns = [f"{name} {what}" for name in study.test.emotions for what in ("recall", "precision")]
    return Sheet("classes", "Each class", ("system", *columns), rows, "Per cent; ± over the seeds.")


def _by_group(study: Study, groups: Names, metric: str) -> list[list[Cell]]:
    """A row for each group, then mean and deviation over the groups; a column for each system."""
    names = sorted(set(groups.tolist()))
    values = {
        name: [runs.values(study.test, metric, groups == name) for runs in study.runs] for name in names
    }
    rows: list[list[Cell]] = [
        [name, int((groups == name).sum()), *(Score.of(each) for each in values[name])] for name in names
    ]
    if len(names) > 1:
        spread: list[Cell] = ["mean ± sd of the rows", len(groups)]
        for column in range(len(study.runs)):
            spread.append(Score.of(np.array([values[name][column].mean() for name in names])))
        rows.append(spread)
    return rows


def by_fold(study: Study) -> Sheet:
    """Accuracy in each fold."""
    columns = ("fold", "n", *(runs.name for runs in study.runs))
    rows = _by_group(study, study.test.folds, "acc")
    note = "Accuracy, per cent; ± over the seeds, in the last row over the folds."
    return Sheet("folds", "Each fold", columns, rows, note)


def by_speaker(study: Study) -> Sheet:
    """Mean recall of each speaker."""
    columns = ("speaker", "n", *(runs.name for runs in study.runs))
    rows = _by_group(study, study.test.speakers, "uar")
    note = (
        "UAR over the classes that the speaker's utterances have, per cent; ± over the seeds, in the "
        "last row over the speakers."
    )
    return Sheet("speakers", "Each speaker", columns, rows, note)


def by_style(study: Study) -> Sheet | None:
    """Improvised and scripted turns apart, where the corpus has both."""
    styles = study.test.attributes.get("style")
    names = [] if styles is None else sorted(set(styles.tolist()) - {"-"})
    if styles is None or len(names) < 2:
        return None
    rows: list[list[Cell]] = []
    for runs in study.runs:
        for name in names:
            chosen = styles == name
            n = f"{int((chosen & runs.scored).sum())}/{int(chosen.sum())}"
            rows.append([runs.name, name, n, *_scores(study, runs, chosen)])
    return Sheet(
        "styles",
        " and ".join(names).capitalize() + " turns",
        ("system", "style", "scored/total", *MEASURES),
        rows,
        "The same models, scored on the turns of each style alone. Per cent; ± over the seeds.",
    )


def confusion(study: Study, runs: Runs) -> Sheet:
    """The confusion matrix, per cent of each reference's row, mean over the runs."""
    counts = study.confusions[runs.name].sum((0, 1))  # (K, K)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    rows: list[list[Cell]] = [
        [name, *(Score(float(share)) for share in row), int(total) // len(runs.seeds)]
        for name, row, total in zip(study.test.emotions, shares, counts.sum(1), strict=True)
    ]
    return Sheet(
        f"confusion_{runs.name}",
        runs.name,
        ("reference", *study.test.emotions, "n"),
        rows,
        "Per cent of the row.",
    )


# ------------------------------------------------------------------------------------------- differences


def differences(comparisons: Sequence[Comparison], study: Study) -> Sheet:
    """Every comparison, with its verdict."""
    rows: list[list[Cell]] = []
    for each in comparisons:
        change = Score(each.difference, None, each.interval, signed=True)
        rows.append(
            [
                f"{each.second} - {each.first}",
                each.n_utts,
                each.n_runs,
                change,
                each.p,
                each.p_holm,
                each.verdict,
            ]
        )
    columns = ("difference in uar", "n", "seeds", "points", "p", "p (Holm)", "verdict")
    note = (
        "Points of UAR on the utterances that both systems scored, mean over the seeds that both have; "
        f"[..] is the 95 % interval of a paired bootstrap over speakers and seeds ({NUM_DRAWS} draws). p "
        "is by approximate randomisation, an utterance's outcomes of all seeds swapped together "
        f"({NUM_SWAPS} draws), and Holm's correction is over the {len(rows)} comparisons. 'supported': "
        "corrected p < 0.05 and the interval leaves 0 out. 'for these speakers only': p < 0.05, but "
        "other speakers or seeds could turn the sign. 'not supported': the data do not tell the two "
        "systems apart."
    )
    if len(study.test.speaker_names) < 6:
        note += f" With {len(study.test.speaker_names)} speakers the interval is too narrow to be trusted."
    return Sheet("differences", "Which differences hold", columns, rows, note)


# ------------------------------------------------------------------------------------------- calibration


@dataclass(frozen=True)
class Calibration:
    """How far the confidence of one system agrees with its accuracy."""

    system: str
    pooled: Reliability  # of all runs together
    ece: Floats  # (R,)
    log_loss: Floats  # (R,) nats


def calibrations(study: Study) -> list[Calibration]:
    """The calibration of every system."""
    results = []
    for runs in study.runs:
        rows, truth = runs.posteriors[:, runs.scored], study.test.truth[runs.scored]
        pooled = reliability(rows.reshape(-1, rows.shape[-1]), np.tile(truth, len(rows)))
        ece = np.array([reliability(run, truth).ece for run in rows])
        losses = np.array([log_loss(run, truth) for run in rows])
        results.append(Calibration(runs.name, pooled, ece, losses))
    return results


def calibration(calibrations: Sequence[Calibration]) -> Sheet:
    """Expected calibration error, mean confidence and accuracy of every system."""
    rows: list[list[Cell]] = []
    for each in calibrations:
        counts = each.pooled.counts
        filled = counts > 0
        means = [
            float((v[filled] * counts[filled]).sum() / counts.sum())
            for v in (each.pooled.confidence, each.pooled.accuracy)
        ]
        loss = float(each.log_loss.mean())
        rows.append([each.system, Score.of(each.ece), loss, Score(means[0]), Score(means[1])])
    return Sheet(
        "calibration",
        "Calibration",
        ("system", "ECE", "log loss", "mean confidence", "acc"),
        rows,
        f"Per cent; expected calibration error over {NUM_BINS} bins of equal width; ± over the seeds. "
        "Log loss: mean of -log p(reference), nats. Confidence is the highest posterior.",
    )


# ---------------------------------------------------------------------------- corpus, plan and its folds


def corpus(study: Study) -> Sheet | None:
    """What the corpus holds, and what stages 0 to 2 warned of."""
    facts: list[list[Cell]] = [[*fact] for fact in read_summary(study.plan.data)]
    protocol = f"protocol {study.plan.protocol}"
    warnings: list[list[Cell]] = [["folds", protocol, text] for text in read_warnings(study.plan.folds)]
    if not facts and not warnings:
        return None
    rows = facts + (warnings or [["folds", protocol, ""]])
    note = "Every recording was read once; levels are RMS in dB of full scale, without the mean."
    return Sheet("corpus", "Corpus", ("fact", "value", "warning"), rows, note)


def plan(study: Study) -> Sheet:
    """What each system is, and what each fusion is made of."""
    fusions = {fusion.name: fusion for fusion in study.plan.fusions}
    systems = {system.name: system for system in study.plan.systems}
    rows: list[list[Cell]] = []
    for runs in study.runs:
        seeds = " ".join(runs.seeds)
        if fusion := fusions.get(runs.name):
            members = " + ".join(fusion.words.split())
            rows.append([runs.name, members, None, None, None, fusion.weights_text, seeds])
        elif system := systems.get(runs.name):
            sets = " ".join(system.sets)
            taken = "+".join(runs.norms) if system.norm == "auto" else ""
            norm = ": ".join(filter(None, (system.norm, taken)))
            rows.append([runs.name, system.code, sets or None, norm, system.context, None, seeds])
        else:
            rows.append([runs.name, "not of the plan's own", None, None, None, None, seeds])
    note = f"Folds of the protocol '{study.plan.protocol}'."
    columns = ("system", "kind or members", "features", "normalisation", "context", "weights", "seeds")
    return Sheet("plan", "What was compared", columns, rows, note)


def training_speakers(study: Study) -> Sheet | None:
    """How many classes the training speakers show; None for folds that were made by others."""
    path = study.plan.folds / confounding.TRAINING_SPEAKERS
    if not path.exists():
        return None
    groups = confounding.read_training_speakers(path)
    rows: list[list[Cell]] = [
        [each.num_shown, each.speakers, each.utterances, *(f"{seconds:.0f}" for seconds in each[3:])]
        for each in confounding.over_folds(groups)
    ]
    columns = ("classes shown", "speakers", "utterances", "least s", "median s", "most s")
    texts = [confounding.speakers_text(groups), confounding.confounding_text(groups)]
    note = " ".join(f"{text[0].upper()}{text[1:]}." for text in texts if text)
    return Sheet("training_speakers", "Training speakers", columns, rows, f"{note} s: speech of a speaker.")


def checks(study: Study) -> Sheet | None:
    """The check of stage 2 for speakers and recordings in two subsets of a fold."""
    path = study.plan.folds / "checks.tsv"
    if not path.exists():
        return None
    text = reading.read_text(path, "run stage 2 again")
    with reading.guarded(path, "run stage 2 again"):
        head, *lines = (line.split("\t") for line in text.splitlines())
        rows: list[list[Cell]] = [[*line[:2], *map(int, line[2:])] for line in lines]
        if any(len(row) != len(head) for row in rows):
            raise reading.BadFileError("has lines of several lengths")
        shared = sum(int(field) for line in lines for field in line[5:7])
    note = (
        "Speakers and recordings (by digests of features) that a subset shares with another subset of its "
        + ("fold: none in any fold." if shared == 0 else f"fold: {shared}.")
    )
    if len(head) > 7:
        note += " Overlapping utterances share part of a recording with one of another subset."
    return Sheet("checks", "Leakage checks", tuple(name.replace("_", " ") for name in head), rows, note)
