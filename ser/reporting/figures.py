"""The figures of a report: a drawing, a sentence that reads it, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ser.errors import plural
from ser.reporting import plots
from ser.reporting.differences import SUPPORTED, Comparison
from ser.reporting.sheet import Cell, Score, Sheet
from ser.reporting.sheets import Calibration, coverage
from ser.reporting.study import Curve, FusionCurve, Study

MOST = 8  # systems in one drawing; its CSV has all


@dataclass(frozen=True)
class Figure:
    """One figure of the page."""

    title: str
    reading: str  # what it shows, in one sentence
    alt: str  # what is drawn, for those who do not see it
    svg: str
    sheet: Sheet  # the numbers


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"


def contexts(study: Study, comparisons: Sequence[Comparison]) -> list[Figure]:
    """Score against context, a figure for all systems that differ by their context alone (two or more)."""
    return [
        _contexts(study, stem, family, comparisons)
        for stem, family in study.contexts.items()
        if len(family) > 1
    ]


def _contexts(
    study: Study, stem: str, family: Mapping[int, str], comparisons: Sequence[Comparison]
) -> Figure:
    rows: list[list[Cell]] = []
    means = {}
    for context, name in family.items():
        runs = study.system(name)
        for each in filter(None, (runs, runs.padded if runs else None)):
            scores = [Score.of(each.values(study.test, m), study.interval(each, m)) for m in ("acc", "uar")]
            rows.append([context, "padded" if each is not runs else "dropped", coverage(each), *scores])
        if runs:
            means[context] = float((runs.padded or runs).values(study.test, "uar").mean())
    best = max(means, key=lambda context: means[context])
    worst = min(means, key=lambda context: means[context])
    reading = (
        f"Context {best} has the highest UAR, {_per_cent(means[best])}, context {worst} the lowest, "
        f"{_per_cent(means[worst])}{_context_differences(study, family, comparisons)}."
    )
    name = f"contexts_{stem}"
    sheet = Sheet(name, "", ("context", "short utterances", "scored/total", "acc", "uar"), rows)
    level = "" if study.first.name in family.values() else f", and {study.first.name} as a level line"
    alt = f"Line plot of UAR with 95 % intervals against the context of {stem}{level}."
    drawing = plots.draw_contexts(study, stem, "uar", name)
    return Figure(f"Context length of {stem}", reading, alt, drawing, sheet)


def _context_differences(study: Study, family: Mapping[int, str], comparisons: Sequence[Comparison]) -> str:
    """The end of a sentence: for which contexts a difference from the one that is fused is supported."""
    names = {name: context for context, name in family.items()}
    tested = [each for each in comparisons if each.first in names and each.second in names]
    tested = [each for each in tested if study.fused in (each.first, each.second)]
    if study.fused is None or not tested:
        return ""
    against = names[study.fused]
    supported = [
        str(names[each.first] if each.second == study.fused else names[each.second])
        for each in tested
        if each.verdict == SUPPORTED
    ]
    if not supported:
        return f"; no difference from context {against} is supported"
    return f"; against context {against} the difference is supported for {', '.join(supported)} only"


def speakers(study: Study) -> Figure:
    """A dot for each speaker."""
    rows: list[list[Cell]] = []
    spread = {}
    for runs in study.runs:
        means = []
        for name in study.test.speaker_names:
            chosen = study.test.speakers == name
            rows.append(
                [runs.name, name, *(Score.of(runs.values(study.test, m, chosen)) for m in ("acc", "uar"))]
            )
            means.append(runs.values(study.test, "uar", chosen).mean())
        spread[runs.name] = (float(np.nanmin(means)), float(np.nanmax(means)))
    name, (low, high) = max(spread.items(), key=lambda item: item[1][1] - item[1][0])
    reading = (
        f"Speakers differ more than systems: from {_per_cent(low)} to {_per_cent(high)} UAR in {name}."
        if len(study.test.speaker_names) > 1
        else "There is one speaker; nothing can be said about others."
    )
    best = [float(runs.values(study.test, "uar").mean()) for runs in study.runs]
    if high - low <= max(best) - min(best):
        reading = (
            f"The widest spread over speakers is that of {name}: {_per_cent(low)} to {_per_cent(high)} UAR."
        )
    alt = "Dot plot: a row for each system, a dot for each speaker's UAR, a bar for their mean."
    sheet = Sheet("speaker_dots", "", ("system", "speaker", "acc", "uar"), rows)
    return Figure("Each speaker", reading, alt, plots.draw_speakers(study, "uar"), sheet)


def learning(study: Study, curves: Sequence[Curve]) -> Figure | None:
    """Loss over the epochs; None where no training left a history."""
    if not curves:
        return None
    rows: list[list[Cell]] = [
        [
            curve.system,
            key,
            epoch + 1,
            *(float(f(losses[:, epoch])) for f in (np.nanmean, np.nanmin, np.nanmax)),
        ]
        for curve in curves
        for key, losses in curve.losses.items()
        for epoch in range(losses.shape[1])
    ]
    chosen = [curve for curve in curves if curve.system in principal(study)]
    ends = [
        f"{curve.system} from {np.nanmean(losses[:, 0]):.2f} to {np.nanmean(losses[:, -1]):.2f} nats in "
        f"{losses.shape[1]} epochs"
        for curve in chosen
        for losses in [curve.losses["train_loss"]]
    ]
    reading = (
        f"Training loss, mean over {plural(len(study.fold_names), 'fold')} and the seeds: {'; '.join(ends)}."
    )
    alt = "Line plot of the loss against the epoch, a line for each system; the shade spans folds and seeds."
    sheet = Sheet("learning", "", ("system", "loss", "epoch", "mean", "lowest", "highest"), rows)
    return Figure("Learning curves", reading, alt, plots.draw_learning(chosen), sheet)


def fusion(curve: FusionCurve) -> Figure:
    """UAR on the tuning data against the weight of one system of a fusion."""
    rows: list[list[Cell]] = [
        [f"{weight:g}", float(uar), float(nll), int(np.isclose(curve.chosen, weight).sum())]
        for weight, uar, nll in zip(curve.weights, curve.uar.mean(0), curve.nll.mean(0), strict=True)
    ]
    level = curve.uar.mean(0)

    def at(weight: float) -> str:
        return _per_cent(float(np.interp(weight, curve.weights, level)))

    given = "" if curve.given is None else f"at the given {curve.given:g} {at(curve.given)}, "
    median = float(np.median(curve.chosen))
    reading = (
        f"The weights chosen on dev run from {curve.chosen.min():g} to {curve.chosen.max():g} (median "
        f"{median:g}); at the median UAR on dev is {at(median)}, {given}at 0 "
        f"({' and '.join(curve.before)} alone) {at(0)}."
    )
    alt = (
        f"Line plot of UAR and loss on the tuning data against the weight of {curve.system}; "
        "bars: weights chosen."
    )
    name = f"fusion_weight_{curve.fusion}_{curve.system}"
    sheet = Sheet(name, "", ("weight", "uar on dev", "loss on dev", "times chosen"), rows)
    return Figure(
        f"Weight of {curve.system} in {curve.fusion}", reading, alt, plots.draw_fusion(curve, name), sheet
    )


def calibration(study: Study, calibrations: Sequence[Calibration]) -> Figure:
    """Accuracy against confidence."""
    rows: list[list[Cell]] = [
        [each.system, number + 1, int(count), float(confidence), float(accuracy)]
        for each in calibrations
        for number, (count, confidence, accuracy) in enumerate(
            zip(each.pooled.counts, each.pooled.confidence, each.pooled.accuracy, strict=True)
        )
        if count
    ]
    drawn = [each for each in calibrations if each.system in principal(study)]
    errors = {each.system: float(each.ece.mean()) for each in drawn}
    best, worst = min(errors, key=lambda name: errors[name]), max(errors, key=lambda name: errors[name])
    reading = (
        f"Of the systems drawn, {best} is closest to its word (expected calibration error "
        f"{_per_cent(errors[best])}), {worst} farthest from it ({_per_cent(errors[worst])}); below the "
        "diagonal a system is surer than it is right."
    )
    alt = "Reliability diagram: share of right decisions against their confidence, a line for each system."
    sheet = Sheet("reliability", "", ("system", "bin", "decisions", "mean confidence", "right"), rows)
    return Figure("Calibration", reading, alt, plots.draw_reliability(drawn), sheet)


def principal(study: Study) -> set[str]:
    """The systems that are drawn where all would be too many: of several contexts the one that is fused."""
    names = [runs.name for runs in study.runs]
    if len(names) > MOST:
        families = [list(family.values()) for family in study.contexts.values()]
        kept = {study.fused if study.fused in family else family[0] for family in families}
        names = [name for name in names if name in kept or not study.siblings(name)]
    return set(names[:MOST])
