"""Trainings that share one GPU, through the recipe's own step: how long all take; that they stay the same."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from tests.gpu.cases import Bench, Case
from tests.gpu.processes import keep_log, same_models, start, wait
from tests.gpu.rows import Rows
from tests.gpu.speed import open_subset

TASKS = 4
# Cases, what is overridden, how many trainings share the GPU; on one each takes some seconds.
SHARED = (
    ("csa paper", ("training.epochs=6", "features.norm=none"), (1, 2, 4)),
    ("blstmatt paper", ("training.epochs=4", "training.batch_size=1"), (1, 4)),
)


def measure_sharing(bench: Bench, rows: Rows) -> None:
    """``steps/train.sh --jobs-per-gpu``: a worker that trains one after the other, and several at once."""
    for name, overrides, counts in SHARED[:1] if bench.tiny else SHARED:
        with rows.attempt(name):
            _measure_sharing(bench, rows, bench.case(name), overrides, (1, 2) if bench.tiny else counts)


def _measure_sharing(
    bench: Bench, rows: Rows, case: Case, overrides: tuple[str, ...], counts: tuple[int, ...]
) -> None:
    """Train the same list anew for each number of trainings at once."""
    first_models: list[Path] = []
    first_s = 0.0
    for count in counts:
        path, models = _write_list(bench, case, overrides, count)
        title = f"{case.name}: {len(models)} trainings, {count} at once"
        command = ["steps/train.sh", "--use-gpu", bench.use_gpu, "--jobs-per-gpu", count, "--nj", count, path]
        ended = wait(start([*command, "--tensorboard", "false"], **_one_gpu(bench)))
        logs = [path.parent / "log" / f"{path.stem}.{number}.log" for number in range(1, len(models) + 1)]
        texts = [log.read_text(encoding="utf-8") for log in logs if log.exists()]
        keep_log(bench, title, replace(ended, text="\n".join([ended.text, *texts])))
        rows.check(f"{title}: every training ends", ended.code == 0, ended.error or "works", "works")
        if ended.code != 0:
            continue
        rows.note(f"{title}, start-up included", ended.seconds, "s")
        rows.note(f"{title}: last epochs, together", sum(map(_last_rate, texts[:count])), "frames/s")
        if not first_models:
            first_models, first_s = models, ended.seconds
            continue
        rows.note(f"{title}: as fast as {counts[0]} at once", first_s / ended.seconds, "times")
        verdicts = [same_models(one, two) for one, two in zip(first_models, models, strict=True)]
        said = next((text for same, text in verdicts if not same), "all bits")
        rows.check(f"{title}: the same models", said == "all bits", said, "all bits")


def _write_list(bench: Bench, case: Case, overrides: tuple[str, ...], count: int) -> tuple[Path, list[Path]]:
    """A list of trainings that differ by their seeds, and their model folders."""
    folder = bench.work / "sharing" / case.name.replace(" ", "_") / str(count)
    folder.mkdir(parents=True)
    train = bench.subset("train")
    if case.on_chunks:
        open_subset(bench)  # the larger subset, which it makes
        train = bench.work / "data" / "speed"
    models = [folder / f"seed{seed}" for seed in range(1, (2 if bench.tiny else TASKS) + 1)]
    lines = [
        [train, "-", model, seed, case.conf, *case.overrides, *overrides]
        for seed, model in enumerate(models, 1)
    ]
    path = folder / "list.tsv"
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path, models


def _one_gpu(bench: Bench) -> dict[str, str]:
    """The variable that leaves one GPU to be seen."""
    return (
        {}
        if bench.tiny
        else {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
    )


def _last_rate(log: str) -> float:
    """Frames per second of the last epoch that a training tells."""
    return float(re.findall(r", (\d+) frames/s$", log, re.MULTILINE)[-1])
