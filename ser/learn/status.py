"""How far the tasks of a list are: what would run, what is done, what failed; starts without torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser.data import files
from ser.errors import DataError, StaleError
from ser.learn import settings, tasks

DONE, BEGUN, FAILED, TO_DO, STALE = "done", "begun", "failed", "to do", "stale"
LAST_LINES = 5  # of a failed task's log
MODEL, CHECKPOINT = "model.pt", "checkpoint.pt"
DECODED = {"format": 2}  # of what decoding writes; 2 has padded/
_ENDED = re.compile(r"^# (?:Ended \(code |Finished at .* with status )(\d+)", re.MULTILINE)
_FOOTER = re.compile(r"# (Accounting: |Ended \(|Finished at |Started at )")


@dataclass(frozen=True)
class Progress:
    """How far one task is."""

    folder: Path
    state: str  # one of the five above
    detail: Sequence[str] = ()  # lines that say more


def decode_inputs(model: Path, data: Path) -> dict[str, Path]:
    """The files that a decoding depends on."""
    inputs = {"model": model / MODEL}
    return inputs | {name: data / name for name in ("feats.scp", "utt2num_frames", "utt2spk")}


def look(path: Path) -> list[Progress]:
    """Look at the tasks of a list: trainings, decodings or baselines.

    Raises:
        DataError: the list is missing or is neither.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run.sh --dry-run makes it") from error
    if all(line.count("\t") == 2 for line in lines):
        return [_decoding(line) for line in lines]
    if all(line.count("\t") == 3 for line in lines):
        return [_baseline(line) for line in lines]
    return [_training(path, number) for number in range(1, len(lines) + 1)]


def _training(path: Path, number: int) -> Progress:
    task, config, overrides = tasks.read_task(path, number)
    try:
        if tasks.finished(task, settings.load(config, overrides)):
            return Progress(task.folder, DONE)
    except StaleError as error:
        return Progress(task.folder, STALE, [str(error)])
    except DataError:
        return Progress(task.folder, TO_DO)  # its data is still to be made
    log = path.parent / "log" / f"{path.stem}.{number}.log"
    code, last = read_log(log)
    if code and log.stat().st_mtime >= path.stat().st_mtime:  # an older log may be of another list's task
        return Progress(task.folder, FAILED, [f"{log}: ended with code {code}; its last lines:", *last])
    begun = (task.folder / CHECKPOINT).exists()
    return Progress(task.folder, BEGUN if begun else TO_DO)


def _decoding(line: str) -> Progress:
    model, data, out = map(Path, line.split("\t"))
    inputs = decode_inputs(model, data)
    made = all(path.exists() for path in inputs.values()) and files.is_made(out, DECODED, inputs)
    return Progress(out, DONE if made else TO_DO)


def _baseline(line: str) -> Progress:
    """A baseline is done when it has ended once; whether it is up to date it sees itself, in seconds."""
    out = Path(line.split("\t")[3])
    return Progress(out, DONE if (out / files.MADE).exists() else TO_DO)


def read_log(path: Path) -> tuple[int | None, list[str]]:
    """The exit code in a log's footer (None: no log, or not ended), and the last lines above it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, []
    codes = _ENDED.findall(text)
    lines = [line for line in text.partition("\n#\n")[2].splitlines() if not _FOOTER.match(line)]
    return (int(codes[-1]) if codes else None), lines[-LAST_LINES:]


def progress_text(path: Path, found: Sequence[Progress]) -> str:
    """For people: how many are how far, then each that is not done."""
    counts = Counter(each.state for each in found)
    states = (DONE, BEGUN, FAILED, STALE, TO_DO)
    shares = ", ".join(f"{counts[state]} {state}" for state in states if counts[state])
    lines = [f"{path.stem}: {len(found)} tasks, {shares}"]
    for each in found:
        if each.state != DONE:
            lines.append(f"  {each.state:<6} {each.folder}")
            lines += [f"         {line}" for line in each.detail]
    return "\n".join(lines)
