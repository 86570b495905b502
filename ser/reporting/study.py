"""What a report is about: an experiment's systems, and what their training and fusion left behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ser.data import tables
from ser.errors import DataError
from ser.scoring.metrics import Counts, Floats
from ser.scoring.runs import Runs, Utterances, final_folds, read_runs, read_test
from ser.scoring.significance import mean_bootstrap

CSA = re.compile(r"csa_(\d+)")
OURS = re.compile(r"blstmatt|csa_\d+|syscomb(_dev)?")
NUM_DRAWS = 2000  # of the bootstrap over speakers
SEED = 0


@dataclass(frozen=True)
class Study:
    """An experiment that was scored."""

    name: str  # of the corpus
    exp: Path  # has <fold>/<system>/seed<k> and pooled/<system>/seed<k>
    folds: Path
    test: Utterances
    runs: tuple[Runs, ...]  # ours first, then the baselines
    confusions: dict[str, Counts]  # system -> (R, S, K, K)

    def system(self, name: str) -> Runs | None:
        """The system of that name."""
        return next((runs for runs in self.runs if runs.name == name), None)

    @cached_property
    def contexts(self) -> list[int]:
        """The context lengths of CSA, in frames, rising."""
        found = (CSA.fullmatch(runs.name) for runs in self.runs)
        return sorted(int(match[1]) for match in found if match)

    @cached_property
    def fold_names(self) -> list[str]:
        """The folds of the results."""
        return final_folds(self.folds)

    @cached_property
    def fused(self) -> str:
        """The CSA that was fused with BLSTMATT: as fusion.txt says, else 30 frames, else the first."""
        for path in sorted(self.exp.glob("*/syscomb/seed*/decode_test/fusion.txt")):
            second = Path(tables.read_table(path).get("system_2", ""))
            if len(second.parts) > 2:
                return second.parts[-3]
        contexts = self.contexts or [0]
        return f"csa_{30 if 30 in contexts else contexts[0]}"

    @cached_property
    def complete(self) -> bool:
        """Whether every system scored every utterance."""
        return all(runs.scored.all() for runs in self.runs)

    def interval(self, runs: Runs, metric: str) -> tuple[float, float] | None:
        """The 95 % interval over speakers of the mean over the runs."""
        return mean_bootstrap(self.confusions[runs.name], metric, NUM_DRAWS, SEED)


def read_study(name: str, exp: Path, folds: Path) -> Study:
    """Read an experiment.

    Args:
        name: of the corpus.
        exp: where models and results are.
        folds: what stage 2 wrote.

    Raises:
        DataError: nothing was scored yet, or something cannot be used.
    """
    test = read_test(folds, ("style",))
    runs = sorted(read_runs(exp / "pooled", folds, test), key=_rank)
    every = [*runs, *(each.padded for each in runs if each.padded)]
    return Study(name, exp, folds, test, tuple(runs), {each.name: each.confusions(test) for each in every})


def _rank(runs: Runs) -> int:
    """BLSTMATT, CSA, fusions, then whatever else there is; sorting keeps the order within."""
    if CSA.fullmatch(runs.name):
        return 1
    return {"blstmatt": 0, "syscomb": 2, "syscomb_dev": 3}.get(runs.name, 4)


# ------------------------------------------------------------------------------------- training and fusion


@dataclass(frozen=True)
class Curve:
    """How a system was learnt, over all folds and seeds."""

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
            study.exp / fold / runs.name / f"seed{seed}" / "history.tsv"
            for fold in study.fold_names
            for seed in runs.seeds
        ]
        histories = [read_history(path) for path in paths if path.exists()]
        losses = {}
        for key in ("train_loss", "dev_loss"):
            found = [history[key] for history in histories if key in history]
            if found:
                losses[key] = _stacked(found)
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
    head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    names = head.split("\t")
    try:
        rows = [
            [float(field) if field != "-" else float("nan") for field in line.split("\t")] for line in lines
        ]
        return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    except ValueError as error:
        raise DataError(f"{path}: is no table of epochs; train again into another folder") from error


@dataclass(frozen=True)
class FusionCurve:
    """What the weights of a fusion gave on the tuning data, a row for each fold and seed."""

    weights: Floats  # (W,)
    uar: Floats  # (F, W)
    nll: Floats  # (F, W)
    chosen: Floats  # (F,)


def fusion_curve(study: Study) -> FusionCurve | None:
    """Read the ``fusion.txt`` of the fusion whose weight was tuned; None if there is none.

    Raises:
        DataError: one that cannot be read.
    """
    trials, chosen = [], []
    for path in sorted(study.exp.glob("*/syscomb_dev/seed*/decode_test/fusion.txt")):
        table = tables.read_table(path)
        lines = [table[key].split() for key in sorted(table) if key.startswith("dev_curve_2_")]
        try:
            trials.append([(float(line[1]), float(line[3]), float(line[5])) for line in lines])
            chosen.append(float(table["weights"].split()[1]))
        except (IndexError, KeyError, ValueError) as error:
            raise DataError(f"{path}: is no record of a tuned fusion; fuse again (stage 7)") from error
    if not trials or not trials[0]:
        return None
    if any(len(row) != len(trials[0]) for row in trials):
        raise DataError(f"{study.exp}: its fusions were tuned on different grids; fuse again (stage 7)")
    values = np.array(trials)  # (F, W, 3)
    return FusionCurve(values[0, :, 0], values[:, :, 1], values[:, :, 2], np.array(chosen))


def settings_texts(study: Study) -> dict[str, str]:
    """Each system's ``config.yaml``, of the first fold and seed."""
    found = {}
    for runs in study.runs:
        for fold in study.fold_names:
            path = study.exp / fold / runs.name / f"seed{runs.seeds[0]}" / "config.yaml"
            if path.exists():
                found[runs.name] = path.read_text(encoding="utf-8")
                break
    return found
