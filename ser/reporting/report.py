"""The content of a report, before it is written as Markdown or as a page."""

from __future__ import annotations

from dataclasses import dataclass

from ser.errors import plural
from ser.plan import Plan
from ser.reporting import figures, fusions, sheets
from ser.reporting.differences import SUPPORTED, Comparison, compare
from ser.reporting.figures import Figure
from ser.reporting.provenance import collect
from ser.reporting.sheet import Score, Sheet
from ser.reporting.study import Study, fusion_curves, learning_curves, read_study, settings_texts
from ser.reporting.uses import uses


@dataclass(frozen=True)
class Report:
    """What is reported of an experiment."""

    name: str
    summary: str  # a paragraph
    sheets: list[Sheet]  # in their order
    confusions: list[Sheet]  # one for each system
    figures: list[Figure]
    settings: dict[str, str]  # system -> its config.yaml
    facts: dict[str, str]  # command, commit, versions, machine, time


def make_report(name: str, plan: Plan, command: str) -> Report:
    """Read an experiment and make its tables and figures.

    Args:
        name: of the corpus.
        plan: of the experiment.
        command: the command line that made it.

    Raises:
        DataError: nothing was scored yet, or something cannot be used.
    """
    study = read_study(name, plan)
    comparisons = compare(study)
    calibrations = sheets.calibrations(study)
    tables = [
        sheets.systems(study),
        fusions.fusions(study, comparisons),
        sheets.table1(study),
        sheets.differences(comparisons, study) if comparisons else None,
        sheets.by_class(study),
        sheets.by_fold(study) if len(study.fold_names) > 1 else None,
        sheets.by_speaker(study),
        sheets.by_style(study),
        sheets.calibration(calibrations),
        sheets.corpus(study),
        sheets.plan(study),
        sheets.training_speakers(study),
        sheets.checks(study),
    ]
    drawn = [
        *figures.contexts(study, comparisons),
        figures.speakers(study),
        figures.calibration(study, calibrations),
        figures.learning(study, learning_curves(study)),
        *map(figures.fusion, fusion_curves(study)),
    ]
    return Report(
        name,
        summary(study, comparisons),
        [table for table in tables if table],
        [sheets.confusion(study, runs) for runs in study.runs],
        [figure for figure in drawn if figure],
        settings_texts(study),
        collect(command, plan.exp, [system.name for system in plan.systems]).facts,
    )


def summary(study: Study, comparisons: list[Comparison]) -> str:
    """A paragraph: the test data, the main numbers, and what must be said with them."""
    best = max(study.runs, key=lambda runs: float(runs.values(study.test, "uar").mean()))
    most = max(len(runs.seeds) for runs in study.runs)
    norms = sorted({norm for runs in study.runs for norm in runs.norms})
    supported = [f"{each.second} and {each.first}" for each in comparisons if each.verdict == SUPPORTED]
    sentences = [
        f"{len(study.test.utts)} test utterances of {plural(len(study.test.speaker_names), 'speaker')} in "
        f"{plural(len(study.fold_names), 'fold')} of the protocol {study.plan.protocol} "
        f"({', '.join(study.fold_names[:12])}), "
        f"{len(study.test.emotions)} classes ({', '.join(study.test.emotions)}), "
        f"up to {plural(most, 'seed')}.",
        f"The highest UAR is that of {best.name}: "
        f"{Score.of(best.values(study.test, 'uar'), study.interval(best, 'uar'))} % (± over the "
        f"seeds, [..] 95 % over speakers), accuracy {Score.of(best.values(study.test, 'acc'))} %.",
    ]
    if comparisons:
        sentences.append(
            f"Of {len(comparisons)} differences tested, supported are {len(supported)}"
            + (f" ({'; '.join(supported)})" if 0 < len(supported) <= 6 else "")
            + f", {len(comparisons) - len(supported)} not."
        )
    if norms:
        speaker = (
            " (speaker: it uses all of a test speaker's audio, without labels)" if "speaker" in norms else ""
        )
        sentences.append(f"Feature normalisation: {', '.join(norms)}{speaker}.")
    if marked := [f"{runs.name} {uses(runs)}" for runs in study.runs if uses(runs)]:
        sentences.append(f"More than the recording of an utterance is read: {'; '.join(marked)}.")
    if any(runs.notes.get("split") == "speaker-dependent" for runs in study.runs):
        sentences.append(
            "All numbers are speaker-dependent: speakers that are tested on are trained on, too."
        )
    if any("sessions" in runs.notes for runs in study.runs):
        sentences.append(sheets.SHARED)
    if any(runs.scored.sum() < len(runs.scored) for runs in study.runs):
        sentences.append("Not every system scores every utterance: n stands beside each.")
    corpus = sheets.corpus(study)
    if number := sum(bool(row[-1]) for row in corpus.rows) if corpus else 0:
        sentences.append(
            f"Of the corpus and its folds there {'is' if number == 1 else 'are'} "
            f"{plural(number, 'warning')}: see Corpus."
        )
    return " ".join(sentences)
