"""What each fusion is made of, with which weights, and whether it is above its best member."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser.errors import DataError
from ser.plan import PlannedFusion
from ser.reporting.differences import SUPPORTED, Comparison
from ser.reporting.sheet import Cell, Score, Sheet
from ser.reporting.study import Study, read_fusions
from ser.scoring.metrics import Floats


def fusions(study: Study, comparisons: Sequence[Comparison]) -> Sheet | None:
    """The weights of every fusion's members over its folds and seeds; None without a fusion.

    Args:
        study: what was scored.
        comparisons: those of its systems, of :func:`ser.reporting.differences.compare`.

    Raises:
        DataError: a record of a fusion cannot be used.
    """
    rows: list[list[Cell]] = []
    sentences = []
    for fusion in study.plan.fusions:
        runs = study.system(fusion.name)
        if runs is None:
            continue
        weights = read_weights(study, fusion)
        track, fused = study.plan.track(fusion.name), Score.of(runs.values(study.test, "uar"))
        for place, (member, seed) in enumerate(study.plan.members(fusion, fusion.seeds[0])):
            alone = study.system(member)
            name = f"{member} seed {seed}" if member in fusion.over_seeds else member
            column = weights[:, place]
            rows.append(
                [
                    fusion.name,
                    track,
                    fused,
                    name,
                    Score.of(alone.values(study.test, "uar")) if alone else None,
                    *(f"{value:.2f}" for value in (column.mean(), column.min(), column.max())),
                ]
            )
        sentences.append(against_best(study, fusion, comparisons))
    if not rows:
        return None
    note = (
        "UAR in per cent, ± over the seeds; of a member that of all its seeds. Weights are exponents of the "
        f"members' posteriors, over the folds and seeds. {' '.join(filter(None, sentences))}"
    )
    columns = ("fusion", "track", "uar", "member", "its uar", "mean weight", "lowest", "highest")
    return Sheet("fusions", "Fusions and their members", columns, rows, note)


def read_weights(study: Study, fusion: PlannedFusion) -> Floats:
    """The weights of a fusion, (F, M): a row for each fold and seed where they are tuned, else one.

    Raises:
        DataError: a ``fusion.txt`` that has other weights than the plan has members.
    """
    number = len(study.plan.members(fusion, fusion.seeds[0]))
    if fusion.weights is not None:
        return np.array([[1.0, *fusion.weights] if fusion.weights else [1 / number] * number])
    rows = []
    for path, record in read_fusions(study.plan, fusion).items():
        try:
            rows.append([float(word) for word in record["weights"].split()])
        except (KeyError, ValueError) as error:
            raise DataError(f"{path}: is no record of a fusion; fuse again (stage 7)") from error
        if len(rows[-1]) != number:
            raise DataError(
                f"{path}: has {len(rows[-1])} weights, the plan has {number} members; fuse again (stage 7)"
            )
    return np.array(rows)


def against_best(study: Study, fusion: PlannedFusion, comparisons: Sequence[Comparison]) -> str:
    """Whether a fusion is above its best member, and whether the difference is supported; a sentence."""
    best = study.best_member(fusion)
    tested = [each for each in comparisons if best and {each.first, each.second} == {fusion.name, best.name}]
    if not tested or best is None:
        return ""
    comparison = tested[0]
    gain = comparison.difference if comparison.second == fusion.name else -comparison.difference
    points = f"{abs(100 * gain):.1f}"
    where = "level with" if points == "0.0" else f"{points} points {'above' if gain > 0 else 'below'}"
    verdict = "the difference is supported" if comparison.verdict == SUPPORTED else comparison.verdict
    return f"{fusion.name} is {where} its best member, {best.name}: {verdict}."
