"""The figures of a report: a drawing, a sentence that reads it, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.reporting import plots
from ser.reporting.differences import SUPPORTED, Comparison
from ser.reporting.sheet import Cell, Score, Sheet, counted
from ser.reporting.sheets import Calibration, coverage
from ser.reporting.study import CSA, Curve, FusionCurve, Study

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


def contexts(study: Study, comparisons: Sequence[Comparison]) -> Figure | None:
    """Score against context; None with fewer than two contexts."""
    if len(study.contexts) < 2:
        return None
    rows: list[list[Cell]] = []
    means = {}
    for context in study.contexts:
        runs = study.system(f"csa_{context}")
        for each in filter(None, (runs, runs.padded if runs else None)):
            scores = [Score.of(each.values(study.test, m), study.interval(each, m)) for m in ("acc", "uar")]
            rows.append([context, "padded" if each is not runs else "dropped", coverage(each), *scores])
        if runs:
            means[context] = float((runs.padded or runs).values(study.test, "uar").mean())
    best = max(means, key=lambda context: means[context])
    worst = min(means, key=lambda context: means[context])
    held = [each for each in comparisons if CSA.fullmatch(each.first) and CSA.fullmatch(each.second)]
    supported = [each.second.removeprefix("csa_") for each in held if each.verdict == SUPPORTED]
    against = study.fused.removeprefix("csa_")
    shown = (
        f"against context {against} the difference is supported for {', '.join(supported)} only"
        if supported
        else f"no difference from context {against} is supported"
    )
    reading = (
        f"Context {best} has the highest UAR, {_per_cent(means[best])}, context {worst} the lowest, "
        f"{_per_cent(means[worst])}; {shown}."
    )
    sheet = Sheet("contexts", "", ("context", "short utterances", "scored/total", "acc", "uar"), rows)
    alt = "Line plot of UAR with 95 % intervals against the context of CSA, and BLSTMATT as a level line."
    return Figure("Context length", reading, alt, plots.draw_contexts(study, "uar"), sheet)


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
        f"Training loss, mean over {counted(len(study.fold_names), 'fold')} and the seeds: {'; '.join(ends)}."
    )
    alt = "Line plot of the loss against the epoch, a line for each system; the shade spans folds and seeds."
    sheet = Sheet("learning", "", ("system", "loss", "epoch", "mean", "lowest", "highest"), rows)
    return Figure("Learning curves", reading, alt, plots.draw_learning(chosen), sheet)


def fusion(curve: FusionCurve | None) -> Figure | None:
    """UAR on the tuning data against the weight; None where no weight was tuned."""
    if curve is None:
        return None
    rows: list[list[Cell]] = [
        [f"{weight:g}", float(uar), float(nll), int(np.isclose(curve.chosen, weight).sum())]
        for weight, uar, nll in zip(curve.weights, curve.uar.mean(0), curve.nll.mean(0), strict=True)
    ]
    level = curve.uar.mean(0)
    near = float(np.interp(0.4, curve.weights, level))
    reading = (
        f"The weights chosen on dev run from {curve.chosen.min():g} to {curve.chosen.max():g} (median "
        f"{np.median(curve.chosen):g}); at the median UAR on dev is "
        f"{_per_cent(float(np.interp(np.median(curve.chosen), curve.weights, level)))}, at the paper's 0.4 "
        f"{_per_cent(near)}, at 0 (BLSTMATT alone) {_per_cent(float(level[0]))}."
    )
    alt = "Line plot of UAR and loss on the tuning data against the weight of CSA; bars: weights chosen."
    sheet = Sheet("fusion_weight", "", ("weight", "uar on dev", "loss on dev", "times chosen"), rows)
    return Figure("Fusion weight", reading, alt, plots.draw_fusion(curve), sheet)


def calibration(study: Study, found: Sequence[Calibration]) -> Figure:
    """Accuracy against confidence."""
    rows: list[list[Cell]] = [
        [each.system, number + 1, int(count), float(confidence), float(accuracy)]
        for each in found
        for number, (count, confidence, accuracy) in enumerate(
            zip(each.pooled.counts, each.pooled.confidence, each.pooled.accuracy, strict=True)
        )
        if count
    ]
    drawn = [each for each in found if each.system in principal(study)]
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
    """The systems that are drawn where all would be too many: without the contexts that are not fused."""
    names = [runs.name for runs in study.runs]
    if len(names) > MOST:
        names = [name for name in names if not CSA.fullmatch(name) or name == study.fused]
    return set(names[:MOST])
