"""Which trained system of an experiment is the best, and the command that tries its model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import ser
from ser import reading
from ser.data import tables
from ser.data.division import NONE
from ser.data.tuning import TEST, TuningSource
from ser.errors import DataError
from ser.plan import Plan, PlannedSystem

MODEL = "model.json"


@dataclass(frozen=True)
class Best:
    """The best system of an experiment.

    Attributes:
        system: of the plan.
        model: one of its model folders: of the first fold and seed.
        measure: by what it is the best, for display.
    """

    system: PlannedSystem
    model: Path
    measure: str


def best_system(plan: Plan) -> Best | None:
    """The system with the highest UAR: on dev speakers where all systems have such results, else on test.

    Baselines that read no features are left out, systems that read more than recordings, and fusions, which
    are no single model.

    Returns:
        It; None where there is no such system.

    Raises:
        DataError: it was not scored.
    """
    systems = [system for system in plan.systems if system.sets and not system.beyond_audio]
    if not systems:
        return None
    if not plan.tested:
        return _best(plan, systems[0], "trained on all speakers, tested on nobody")
    dev = {system.name: _dev_scores(plan, system) for system in systems}
    words = "dev" if all(dev.values()) else "test"
    scores = dev if words == "dev" else {system.name: _test_scores(plan, system) for system in systems}
    first = max(systems, key=lambda system: fmean(scores[system.name]))
    which = "" if words == "dev" else ", as not all have dev results"
    return _best(plan, first, f"UAR {100 * fmean(scores[first.name]):.1f} % on {words} speakers{which}")


def _best(plan: Plan, system: PlannedSystem, measure: str) -> Best:
    return Best(system, plan.model(plan.final[0].name, system.name, system.seeds[0]).resolve(), measure)


def _dev_scores(plan: Plan, system: PlannedSystem) -> list[float]:
    """UAR of each fold and seed on the fold's tuning speakers; nothing where some have none."""
    scores = []
    for line in plan.final:
        for seed in system.seeds:
            source = TuningSource(line.tune_fold, line.tune_fold, line.tune_set)
            folder = plan.decoded(source, system.name, seed)
            if line.tune_fold == NONE or not (folder / "score" / "result.txt").exists():
                return []
            scores.append(_uar(folder))
    return scores


def _test_scores(plan: Plan, system: PlannedSystem) -> list[float]:
    return [_uar(pool.folder) for pool in plan.pools(system.name)]


def _uar(folder: Path) -> float:
    path = folder / "score" / "result.txt"
    value = tables.read_table(path, made_by="stage 6 (steps/score.sh)").get("uar", "")
    try:
        return float(value)
    except ValueError as error:
        raise DataError(f"{path}: has no uar; run stage 6 again") from error


def _asks_who_speaks(path: Path) -> bool:
    """Whether a model takes statistics of speakers."""
    with reading.guarded(path, "train it again (stage 3 or 4)", what="is no model of this version"):
        features = reading.read_json(path, "train it again (stage 3 or 4)")["settings"].get("features", {})
        return "speaker" in (features.get("norm"), features.get("level"))


def advice(plan: Plan, best: Best) -> Iterator[str]:
    """What to do with the best system, a line each: its model, and the command that tries it."""
    yield f"best system         {best.system.name}: {best.measure}"
    yield f"its model           {best.model}"
    tested = plan.folds / plan.final[0].name / TEST / "wav.scp"
    table = tables.read_table(tested if tested.exists() else plan.data / "wav.scp")
    recording = next(iter(table.values()))
    speakers = " --speaker-of file" if _asks_who_speaks(best.model / MODEL) else ""
    path_sh = shlex.quote(str(Path(ser.__file__).parents[1] / "path.sh"))
    words = " ".join(map(shlex.quote, (str(best.model), recording)))
    yield f"try it              . {path_sh} && python3 -m ser predict{speakers} {words}"
    if len(plan.final) > 1:
        yield (
            f"                    it is of the fold {plan.final[0].name}; for one of all speakers run again "
            "with --protocol all and another --exp-dir"
        )
