"""Pooling, fusing and scoring of a whole experiment, as its plan says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ser.errors import DataError, all_of
from ser.plan import Plan, PlannedFusion
from ser.scoring.combine import TuningData, TuningSet, fuse_folders, fusion_text
from ser.scoring.evaluate import NUM_DRAWS, SEED, score_folder, summary
from ser.scoring.posteriors import pool_variants
from ser.scoring.table import Row, natural, read_systems

DECODE = "decode_test"


def score_systems(
    plan: Plan, *, allow_missing: bool = False, num_draws: int = NUM_DRAWS, seed: int = SEED
) -> Iterator[str]:
    """Score every subset that the plan's systems decode, pool the test subsets of all folds, score the pools.

    The summaries of single folds go into ``<exp>/tasks/log/score.log``.

    Args:
        plan: of the experiment.
        allow_missing: see :func:`ser.scoring.evaluate.match`.
        num_draws: draws of the bootstrap over speakers.
        seed: of the bootstrap.

    Yields:
        The summary of each pool, and of what the plan names in ``also``.

    Raises:
        DataError: posteriors are missing or cannot be used.
    """

    def score(data: Path, folder: Path) -> str:
        result = score_folder(data, folder, allow_missing=allow_missing, num_draws=num_draws, seed=seed)
        return summary(folder, result)

    with _log(plan, "score.log") as log:
        for system in plan.systems:
            for output in plan.outputs(system.name):
                print(score(output.data, output.folder), file=log)
    for system in plan.systems:
        for folder in pool_system(plan, system.name):
            yield score(plan.folds / "pooled", folder)
    for name in plan.also:
        for folder in _also_folders(plan, name).values():
            yield score(plan.folds / "pooled", folder)


def fuse_systems(plan: Plan, *, mode: str) -> Iterator[str]:
    """Make every fusion of the plan in all folds, score it, pool the folds, score the pools.

    The summaries of single folds go into ``<exp>/tasks/log/fuse.log``.

    Args:
        plan: of the experiment.
        mode: one of :data:`ser.scoring.fusion.MODES`, of all fusions but those of the seeds of one system.

    Yields:
        The summary of each pool.

    Raises:
        DataError: posteriors are missing, or do not go together.
    """
    with _log(plan, "fuse.log") as log:
        for fusion in plan.fusions:
            for text in _fuse_folds(plan, fusion, mode):
                print(text, file=log)
    for fusion in plan.fusions:
        for folder in pool_system(plan, fusion.name):
            yield summary(folder, score_folder(plan.folds / "pooled", folder))


def _fuse_folds(plan: Plan, fusion: PlannedFusion, mode: str) -> Iterator[str]:
    mode = "mean" if fusion.weights == () else mode
    for run in plan.fusion_runs(fusion):
        sets = tuple(TuningSet(each.data, tuple(each.members)) for each in run.tuning)
        # no model behind these posteriors was trained on a speaker of the test subset: see ser.data.tuning
        tuning = TuningData(sets, run.test, fusion.criterion, len(sets) > 1) if sets else None
        record = fuse_folders(run.out, run.members, mode=mode, weights=fusion.weights or (), tuning=tuning)
        yield fusion_text(run.out, record)
        yield summary(run.out, score_folder(run.test, run.out))


@contextmanager
def _log(plan: Plan, name: str) -> Iterator[TextIO]:
    folder = plan.exp / "tasks" / "log"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).unlink(missing_ok=True)  # it may be a link, to what is somebody else's
    with open(folder / name, "x", buffering=1, encoding="utf-8") as stream:
        yield stream


def pool_system(plan: Plan, name: str) -> list[Path]:
    """Pool the test subsets of all folds of a system or a fusion, for each seed.

    Returns:
        The folders of the pooled posteriors, variants behind the folder that they are in.
    """
    return [folder for pool in plan.pools(name) for folder in pool_variants(pool.folder, pool.members)]


def table_rows(plan: Plan, decode: str) -> list[Row]:
    """The results of all that the plan names, in the order of its table.

    Args:
        plan: of the experiment.
        decode: such as ``decode_test``.

    Raises:
        DataError: something was not pooled or not scored.
    """
    return read_systems(
        {
            name: {seed: folder.parent / decode for seed, folder in folders.items()}
            for name, folders in pooled_folders(plan).items()
        },
        {name: plan.track(name) for name in plan.table()},
    )


def pooled_folders(plan: Plan) -> dict[str, dict[str, Path]]:
    """The pooled posteriors of all that the plan names, in the order of its table.

    Returns:
        Name -> seed -> ``<exp>/pooled/<name>/seed<k>/decode_test``.

    Raises:
        DataError: a folder is missing; all of them at once.
    """
    fusions = {fusion.name for fusion in plan.fusions}
    names: dict[str, dict[str, Path]] = {}
    problems = []
    for name in plan.table():
        if name in plan.also:
            names[name] = _also_folders(plan, name)
            continue
        names[name] = {str(pool.seed): pool.folder for pool in plan.pools(name)}
        stage = 7 if name in fusions else 6
        problems += [
            f"{folder}: no such folder; run stage {stage}"
            for folder in names[name].values()
            if not folder.is_dir()
        ]
    if problems:
        raise all_of(problems)
    return names


def _also_folders(plan: Plan, name: str) -> dict[str, Path]:
    home = plan.exp / "pooled" / name
    folders = sorted(home.glob(f"seed*/{DECODE}/"), key=lambda path: natural(str(path)))
    if not folders:
        raise DataError(
            f"{home}: has no seed<k>/{DECODE}; put the posteriors of all folds there, or leave the name "
            "out of 'also'"
        )
    return {folder.parent.name.removeprefix("seed"): folder for folder in folders}
