"""What a report is about: an experiment's systems, and what their training and fusion left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ser import reading
from ser.data import tables
from ser.errors import DataError
from ser.plan import ONE_FOLD, Plan, PlannedFusion
from ser.reporting.scores import pooled_folders
from ser.scoring.combine import FUSION
from ser.scoring.evaluate import read_references
from ser.scoring.metrics import Counts, Floats
from ser.scoring.runs import Runs, Utterances, read_runs, read_test
from ser.scoring.significance import mean_bootstrap

NUM_DRAWS = 2000  # of the bootstrap over speakers
SEED = 0


@dataclass(frozen=True)
class Study:
    """An experiment that was scored."""

    name: str  # of the corpus
    plan: Plan
    test: Utterances
    runs: tuple[Runs, ...]  # in the order of the plan's table
    confusions: dict[str, Counts]  # system -> (R, S, K, K)

    def system(self, name: str) -> Runs | None:
        """The runs of the system of that name."""
        return next((runs for runs in self.runs if runs.name == name), None)

    @property
    def first(self) -> Runs:
        """The plan's first system, beside which all others are put."""
        return self.runs[[runs.name for runs in self.runs].index(self.plan.systems[0].name)]

    @cached_property
    def contexts(self) -> dict[str, dict[int, str]]:
        """Systems that differ by their context alone: stem -> context in frames, rising -> system."""
        stems: dict[str, dict[int, str]] = {}
        for system in sorted(self.plan.systems, key=lambda system: system.context or 0):
            if system.context is not None:
                stems.setdefault(system.stem, {})[system.context] = system.name
        return stems

    def siblings(self, name: str) -> list[str]:
        """The systems that differ from one by their context alone, by rising context, itself included."""
        families = [list(family.values()) for family in self.contexts.values()]
        return next((family for family in families if name in family), [])

    @cached_property
    def fusion(self) -> PlannedFusion | None:
        """The main fusion: the plan's first, or one of the same systems whose weights are tuned."""
        several = [fusion for fusion in self.plan.fusions if len(fusion.systems) > 1]
        fusions = [fusion for fusion in several if self.system(fusion.name)]
        same = [fusion for fusion in fusions if fusion.systems == fusions[0].systems]
        return next((fusion for fusion in same if fusion.weights is None), same[0] if same else None)

    def best_member(self, fusion: PlannedFusion) -> Runs | None:
        """The member of a fusion with the highest UAR, as seen on test: at the fusion's expense."""
        members = [runs for runs in self.runs if runs.name in fusion.systems]
        return max(members, key=lambda runs: float(runs.values(self.test, "uar").mean()), default=None)

    @property
    def fused(self) -> str | None:
        """The second system of the main fusion."""
        return self.fusion.systems[1] if self.fusion else None

    @cached_property
    def ours(self) -> set[str]:
        """Fusions, and the seeded systems that are of one family with a member of a fusion."""
        names = {fusion.name for fusion in self.plan.fusions}
        members = {name for fusion in self.plan.fusions for name in fusion.systems}
        stems = {system.stem for system in self.plan.systems if system.name in members}
        return names | {system.name for system in self.plan.systems if system.seeded and system.stem in stems}

    @cached_property
    def fold_names(self) -> list[str]:
        """The folds of the results."""
        return [line.name for line in self.plan.final]

    def interval(self, runs: Runs, metric: str) -> tuple[float, float] | None:
        """The 95 % interval over speakers of the mean over the runs."""
        return mean_bootstrap(self.confusions[runs.name], metric, NUM_DRAWS, SEED)


def read_study(name: str, plan: Plan) -> Study:
    """Read an experiment.

    Args:
        name: of the corpus.
        plan: of the experiment.

    Raises:
        DataError: something was not scored yet, or cannot be used.
    """
    references = read_references(plan.folds / "pooled")
    test = read_test(plan.folds, references, ("style",))
    if not (plan.exp / "pooled").is_dir():
        raise DataError(
            f"{plan.exp / 'pooled'}: no such folder; nothing was scored yet, run stages 3 to 7 first"
        )
    runs = read_runs(pooled_folders(plan), test, references)
    both = [*runs, *(each.padded for each in runs if each.padded)]
    return Study(name, plan, test, tuple(runs), {each.name: each.confusions(test) for each in both})


# ------------------------------------------------------------------------------------- training and fusion


@dataclass(frozen=True)
class Curve:
    """Losses of a system's trainings, over all folds and seeds."""

    system: str
    losses: dict[str, Floats]  # train_loss, dev_loss -> (trainings, epochs); NaN behind an early end


def learning_curves(study: Study) -> list[Curve]:
    """Read ``<fold>/<system>/seed<k>/history.tsv`` of the folds of the results.

    Raises:
        DataError: a history that is no such table.
    """
    curves = []
    for runs in study.runs:
        paths = [
            study.plan.exp / fold / runs.name / f"seed{seed}" / "history.tsv"
            for fold in study.fold_names
            for seed in runs.seeds
        ]
        histories = [read_history(path) for path in paths if path.exists()]
        losses = {
            key: _stacked([history[key] for history in histories if key in history])
            for key in ("train_loss", "dev_loss")
            if any(key in history for history in histories)
        }
        if losses:
            curves.append(Curve(runs.name, losses))
    return curves


def _stacked(rows: Sequence[list[float]]) -> Floats:
    stacked = np.full((len(rows), max(map(len, rows))), np.nan)
    for number, row in enumerate(rows):
        stacked[number, : len(row)] = row
    return stacked


def read_history(path: Path) -> dict[str, list[float]]:
    """The columns of a ``history.tsv``: a line an epoch."""
    remedy = "train again into another folder"
    head, *lines = reading.read_text(path, remedy).splitlines() or [""]
    names = head.split("\t")
    try:
        rows = [
            [float(field) if field != "-" else float("nan") for field in line.split("\t")] for line in lines
        ]
        return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    except ValueError as error:
        raise DataError(f"{path}: is no table of epochs; {remedy}") from error


@dataclass(frozen=True)
class FusionCurve:
    """What the weights of one system in a fusion gave on the tuning data, a row for each fold and seed."""

    fusion: str
    before: tuple[str, ...]  # the systems that it was added to
    system: str
    given: float | None  # its weight in a fusion of the same systems whose weights are given
    weights: Floats  # (W,)
    uar: Floats  # (F, W)
    nll: Floats  # (F, W)
    chosen: Floats  # (F,)


def fusion_curves(study: Study) -> list[FusionCurve]:
    """Read the ``fusion.txt`` of fusions tuned on a grid: a curve for each system after the first.

    Raises:
        DataError: one that cannot be read, or the folds of a fusion were tuned differently.
    """
    curves = []
    for fusion in study.plan.fusions:
        if fusion.weights is None and fusion.criterion == ONE_FOLD and study.system(fusion.name):
            records = read_fusions(study.plan, fusion)
            numbers = range(1, len(fusion.systems)) if records else ()
            curves += [_fusion_curve(study, fusion, number, records) for number in numbers]
    return curves


def read_fusions(plan: Plan, fusion: PlannedFusion) -> dict[Path, dict[str, str]]:
    """The ``fusion.txt`` of each fold and seed: path -> what it holds."""
    paths = [run.out / FUSION for run in plan.fusion_runs(fusion)]
    return {path: tables.read_table(path, made_by="stage 7") for path in paths}


def _fusion_curve(
    study: Study, fusion: PlannedFusion, number: int, records: Mapping[Path, Mapping[str, str]]
) -> FusionCurve:
    """The curve of the system at place ``number`` (from 0) of a fusion."""
    trials, chosen = [], []
    for path, record in records.items():
        lines = [record[key].split() for key in sorted(record) if key.startswith(f"dev_curve_{number + 1}_")]
        try:
            trials.append([(float(line[1]), float(line[3]), float(line[5])) for line in lines])
            chosen.append(float(record["weights"].split()[number]))
        except (IndexError, KeyError, ValueError) as error:
            raise DataError(f"{path}: is no record of a tuned fusion; fuse again (stage 7)") from error
        if not lines or len(lines) != len(trials[0]):
            raise DataError(f"{path}: was tuned on another grid than the first fold; fuse again (stage 7)")
    values = np.array(trials)  # (F, W, 3)
    same = (each for each in study.plan.fusions if each.systems == fusion.systems and each.weights)
    return FusionCurve(
        fusion.name,
        fusion.systems[:number],
        fusion.systems[number],
        next((each.weights[number - 1] for each in same if each.weights), None),
        values[0, :, 0],
        values[:, :, 1],
        values[:, :, 2],
        np.array(chosen),
    )


def settings_texts(study: Study) -> dict[str, str]:
    """Each system's ``config.yaml``, of the first fold and seed."""
    texts = {}
    for runs in study.runs:
        for fold in study.fold_names:
            path = study.plan.exp / fold / runs.name / f"seed{runs.seeds[0]}" / "config.yaml"
            if path.exists():
                texts[runs.name] = reading.read_text(path, "train again into another folder")
                break
    return texts
