"""How far the tasks of a list are: what would run, what is done, what failed; starts without torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.data import files
from ser.data.fold_checks import NOTES
from ser.data.tables import check_key
from ser.data.turns import turn_files
from ser.errors import CheckpointError, DataError, StaleError, all_of
from ser.feats.stores import feature_files
from ser.feats.vad import FOLDER
from ser.learn import tasks
from ser.learn.models import read_facts
from ser.learn.tasks import CHECKPOINT, MODEL
from ser.plan import TASKS, Plan

DONE, BEGUN, FAILED, TO_DO, STALE = "done", "begun", "failed", "to do", "stale"
LAST_LINES = 5  # of a failed task's log
DECODED = {"format": 3}  # of what decoding writes; 2 has padded/, 3 is of models without pickles
_ENDED = re.compile(r"^# (?:Ended \(code |Finished at .* with status )(\d+)", re.MULTILINE)
_FOOTER = re.compile(r"# (Accounting: |Ended \(|Finished at |Started at )")


@dataclass(frozen=True)
class Progress:
    """How far one task is."""

    folder: Path
    state: str  # one of the five above
    detail: Sequence[str] = ()  # lines that say more


def decode_inputs(model: Path, data: Path) -> dict[str, Path]:
    """The files that a decoding depends on.

    Raises:
        DataError: the data lacks a feature set that the model reads.
    """
    inputs = {"model": model / MODEL, "utt2spk": data / "utt2spk"}
    if (data / NOTES).exists():
        inputs[NOTES] = data / NOTES
    sets, speech, settings = model_inputs(model)
    return inputs | feature_files(data, sets, speech=speech) | turn_files(data, settings)


def model_inputs(model: Path) -> tuple[list[str], bool, dict[str, Any]]:
    """The feature sets that a model reads, whether it reads speech activity, and its settings.

    None of that if the model is not there yet, or is no model.
    """
    try:
        facts = read_facts(model)
        sets, settings = facts.get("sets"), facts.get("settings")
        names = [check_key(name, str(model / MODEL)) for name in sets] if isinstance(sets, dict) else []
    except (CheckpointError, DataError):
        return [], False, {}
    return names, "vad" in facts, settings if isinstance(settings, dict) else {}


def training_state(task: tasks.Task, logs: Sequence[Path], listed: float) -> Progress:
    """How far a training is.

    Args:
        task: the training.
        logs: where it may have left a log; the newest counts.
        listed: when its list was made; an older log may be another task's.
    """
    try:
        if tasks.finished(task):
            return Progress(task.folder, DONE)
    except StaleError as error:
        return Progress(task.folder, STALE, [str(error)])
    except DataError:
        return Progress(task.folder, TO_DO)  # its data is still to be made
    there = [log for log in logs if log.exists() and log.stat().st_mtime >= listed]
    if there:
        log = max(there, key=lambda path: path.stat().st_mtime)
        code, last = read_log(log)
        if code:
            return Progress(task.folder, FAILED, [f"{log}: ended with code {code}; its last lines:", *last])
    begun = (task.folder / CHECKPOINT).exists()
    return Progress(task.folder, BEGUN if begun else TO_DO)


def is_decoded(model: Path, data: Path, out: Path) -> bool:
    """Whether a decoding is there, of this model and this data."""
    try:
        inputs = decode_inputs(model, data)
    except DataError:
        return False
    return all(path.exists() for path in inputs.values()) and files.is_made(out, DECODED, inputs, tell=False)


def read_log(path: Path) -> tuple[int | None, list[str]]:
    """The exit code in a log's footer (None: no log, or not ended), and the last lines above it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, []
    codes = _ENDED.findall(text)
    lines = [line for line in text.partition("\n#\n")[2].splitlines() if not _FOOTER.match(line)]
    return (int(codes[-1]) if codes else None), lines[-LAST_LINES:]


def progress_text(name: str, states: Sequence[Progress]) -> str:
    """Summary: counts by state, then each task that is not done."""
    counts = Counter(each.state for each in states)
    shares = ", ".join(
        f"{counts[state]} {state}" for state in (DONE, BEGUN, FAILED, STALE, TO_DO) if counts[state]
    )
    lines = [f"{name}: {len(states)} tasks, {shares}"]
    for each in states:
        if each.state != DONE:
            lines.append(f"  {each.state:<6} {each.folder}")
            lines += [f"         {line}" for line in each.detail]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ the plan


def _trainings(plan: Plan, trees: Mapping[str, Mapping[str, Any]]) -> Iterator[tasks.Task]:
    """All trainings of a plan, with the settings (system -> tree) that they would be trained with."""
    for train, dev, folder, seed, settings in plan.trainings():
        tree, place = trees[Path(folder).parent.name], Path(folder)
        yield tasks.Task(Path(train), None if dev == "-" else Path(dev), place, int(seed), tree, settings)


def refuse_other_models(plan: Plan, trees: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to use models that were trained with other settings than are asked for now.

    Args:
        plan: of the experiment.
        trees: system -> its settings.

    Raises:
        StaleError: which models, and what differs.
    """
    problems = []
    for task in _trainings(plan, trees):
        if (task.folder / MODEL).exists() and (changed := tasks.config_changes(task)):
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            problems.append(
                f"{task.folder}: was trained with other settings: {'; '.join(changed[:5])}{more}; ask for "
                "its settings, choose another --exp-dir, or begin with stage 3"
            )
    if problems:
        raise StaleError(str(all_of(problems)))


def trainings_text(plan: Plan, trees: Mapping[str, Mapping[str, Any]]) -> str:
    """How far all trainings of a plan are.

    Args:
        plan: of the experiment.
        trees: system -> its settings, as they would be trained with.
    """
    lists = plan.exp / TASKS
    listed = (lists / "train.tsv").stat().st_mtime if (lists / "train.tsv").exists() else 0.0
    num_first = sum(1 for _ in plan.trainings(plan.systems[:1]))
    states = []
    for number, task in enumerate(_trainings(plan, trees), 1):
        alone = f"train_3.{number}" if number <= num_first else f"train_4.{number - num_first}"
        logs = [lists / "log" / f"{name}.log" for name in (f"train.{number}", alone)]
        states.append(training_state(task, logs, listed))
    return progress_text("train", states)


def decodings_text(plan: Plan) -> str:
    """How far all decodings of a plan are."""
    states = []
    for model, data, out, *_ in plan.decodings():
        done = is_decoded(Path(model), Path(data), Path(out))
        states.append(Progress(Path(out), DONE if done else TO_DO))
    return progress_text("decode", states)


def plan_text(plan: Plan, trees: Mapping[str, Mapping[str, Any]], stages: range) -> str:
    """What an experiment has, stage by stage, and how far that is."""
    folds = ", ".join(
        line.name + (f" (tuned on {line.tune_set} of {line.tune_fold})" if line.tune_fold != "-" else "")
        for line in plan.final
    )
    stage_1 = [*plan.sets, *([FOLDER] if plan.vad else [])]
    made = [plan.data / name / files.MADE for name in stage_1]
    names = ", ".join(system.name for system in plan.systems)
    fusions = "; ".join(
        f"{fusion.name} = {' x '.join(fusion.words.split())}, weights {fusion.weights_text}"
        for fusion in plan.fusions
    )
    by_stage = {
        0: f"prepare {plan.data}: {_done(plan.data / files.MADE)}",
        1: f"features {', '.join(plan.sets)}{' and speech activity' if plan.vad else ''}: {_done(*made)}",
        2: f"protocol {plan.protocol} of {plan.corpus}: {_done(plan.folds / files.MADE)}; folds {folds}",
        3: trainings_text(plan, trees) if stages.start <= 4 and stages.stop > 3 else "",
        5: decodings_text(plan) if 5 in stages else "",
        6: f"score {names}",
        7: f"fuse {fusions or 'nothing'}; {plan.exp / 'results.tsv'}",
        8: f"interpret {', '.join(plan.interpret) or 'nothing'}, alignment {plan.alignment_name}",
        9: f"report {plan.exp / 'report.html'}",
    }
    lines = []
    for stage, text in by_stage.items():
        if stage in (3, 5):
            lines += [text] if text else []
        elif stage in stages:
            lines.append(f"stage {stage}: {text}")
    return "\n".join(lines)


def _done(*paths: Path) -> str:
    return DONE if all(path.exists() for path in paths) else TO_DO
