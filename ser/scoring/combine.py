"""Fuse decode folders into a new one, with weights that are given or found on tuning data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser.data import files, tables
from ser.data.labels import EMOTIONS, same_emotions
from ser.errors import DataError, UsageError
from ser.scoring.evaluate import References, match, read_references
from ser.scoring.fusion import Fused, Tuning, fuse, tune
from ser.scoring.system import System, input_files, merge_notes, read_system, write_system

FUSION = "fusion.txt"


@dataclass(frozen=True)
class TuneOn:
    """Where weights are found: never the data that is scored with them."""

    dev_data: Path  # a data folder
    dev_decode: tuple[Path, ...]  # the same systems in the same order, decoded on it
    data: Path  # the data folder that the systems to fuse were decoded on
    criterion: str  # nll or uar


def fuse_folders(
    out_dir: Path,
    folders: Sequence[Path],
    *,
    mode: str,
    weights: Sequence[float] = (),
    on: TuneOn | None = None,
) -> dict[str, str]:
    """Fuse systems; ``out_dir`` is left as it is when it was made from the same files in the same way.

    Args:
        out_dir: the fused system: ``post``, ``hyp``, ``emotions.txt``, ``not_scored``, ``fusion.txt``.
        folders: M decode folders of the same utterances and classes.
        mode: one of :data:`ser.scoring.fusion.MODES`.
        weights: M - 1 numbers, those of the systems after the first; none in mode ``product``.
        on: find the weights there instead.

    Returns:
        What ``fusion.txt`` holds.

    Raises:
        UsageError: a wrong number of weights or tuning folders.
        DataError: folders that do not go together; tuning data that shares a speaker with the test data.
    """
    _check_usage(folders, mode, weights, on)
    settings: dict[str, object] = {"mode": mode, "systems": [str(folder) for folder in folders]}
    inputs = input_files({f"system{number}": folder for number, folder in enumerate(folders, 1)})
    if on:
        settings |= {"criterion": on.criterion, "dev": [str(on.dev_data), *map(str, on.dev_decode)]}
        inputs |= input_files({f"dev{number}": folder for number, folder in enumerate(on.dev_decode, 1)})
        for name, folder in (("dev_data", on.dev_data), ("data", on.data)):
            tables_read = (EMOTIONS, "utt2emo", "utt2spk")
            inputs |= {f"{name}/{file}": folder / file for file in tables_read if (folder / file).exists()}
    else:
        settings["weights"] = list(weights)
    if files.is_made(out_dir, settings, inputs) and (out_dir / FUSION).exists():
        return tables.read_table(out_dir / FUSION)
    systems = _read_systems(folders)
    tuning = _tune(on, systems, folders, mode) if on else None
    used = tuning.weights if tuning else [1.0, *(weights or [1.0] * (len(folders) - 1))]
    fused = fuse(systems, used, mode)
    record = _record(folders, mode, used, fused) | (_tuning_record(on, tuning) if on and tuning else {})
    (out_dir / files.MADE).unlink(missing_ok=True)
    tables.write_table(out_dir / FUSION, record)
    result = System(
        str(out_dir), systems[0].emotions, fused.posteriors, fused.not_scored, notes=merge_notes(systems)
    )
    write_system(out_dir, result, settings, inputs)
    return record


def _check_usage(folders: Sequence[Path], mode: str, weights: Sequence[float], on: TuneOn | None) -> None:
    if len(folders) < 2:
        raise UsageError("give two decode folders or more to fuse")
    if mode == "product" and (weights or on):
        raise UsageError("--mode product takes no weights; leave them out, or take --mode power")
    if weights and on:
        raise UsageError("weights are given or tuned, not both; leave out --weights or --dev-data")
    if mode != "product" and not on and len(weights) != len(folders) - 1:
        raise UsageError(
            f"{len(folders)} systems need {len(folders) - 1} weights, got {len(weights)}; give one for each "
            "system after the first"
        )
    if any(not 0 <= weight < float("inf") for weight in weights):
        raise UsageError("--weights: a weight is a number of at least 0")
    if on and len(on.dev_decode) != len(folders):
        raise UsageError(
            f"{len(folders)} systems need as many --dev-decode, got {len(on.dev_decode)}; give the same "
            "systems in the same order"
        )


def _read_systems(folders: Sequence[Path]) -> list[System]:
    systems = [read_system(folder) for folder in folders]
    for folder, system in zip(folders, systems, strict=True):
        same_emotions(folders[0] / EMOTIONS, folder / EMOTIONS)
        if system.chunk2utt:
            raise DataError(f"{folder}: has posteriors of chunks; fuse the folder with those of utterances")
    return systems


def _tune(on: TuneOn, systems: Sequence[System], folders: Sequence[Path], mode: str) -> Tuning:
    dev, test = read_references(on.dev_data), read_references(on.data)
    for data in (on.dev_data, on.data):
        same_emotions(folders[0] / EMOTIONS, data / EMOTIONS)
    for system in systems:
        match(system, test)
    _check_disjoint(dev, test)
    return tune([match(system, dev) for system in _read_systems(on.dev_decode)], mode, on.criterion)


def _check_disjoint(dev: References, test: References) -> None:
    for what, shared in (
        ("utterance", dev.labels.keys() & test.labels.keys()),
        ("speaker", set(dev.speakers.values()) & set(test.speakers.values())),
    ):
        if shared:
            names = ", ".join(sorted(shared)[:3])
            raise DataError(
                f"{dev.folder}: shares {len(shared)} {what}s with {test.folder} ({names}); tune the "
                "weights on other speakers than those that are scored"
            )


def _record(folders: Sequence[Path], mode: str, weights: Sequence[float], fused: Fused) -> dict[str, str]:
    lines = {
        "mode": mode,
        "n_fused": str(len(fused.posteriors)),
        "n_not_scored": str(len(fused.not_scored)),
        "n_partial": str(fused.n_partial),
        "weights": " ".join(f"{weight:g}" for weight in weights),
    }
    return lines | {f"system_{number}": str(folder) for number, folder in enumerate(folders, 1)}


def _tuning_record(on: TuneOn, tuning: Tuning) -> dict[str, str]:
    lines = {
        "criterion": on.criterion,
        "dev_data": str(on.dev_data),
        "dev_n_utts": str(tuning.n_utts),
    }
    lines |= {f"dev_system_{number}": str(folder) for number, folder in enumerate(on.dev_decode, 1)}
    for number, curve in enumerate(tuning.curves, 2):
        for step, trial in enumerate(curve):
            lines[f"dev_curve_{number}_{step:02d}"] = (
                f"weight {trial.weight:g} uar {trial.uar:.6f} nll {trial.nll:.6f}"
            )
    return lines


def fusion_text(out_dir: Path, record: Mapping[str, str]) -> str:
    """A fusion for people."""
    how = f"tuned on {record['dev_data']} ({record['criterion']})" if "criterion" in record else "as given"
    return (
        f"{out_dir}\n  {record['mode']} fusion, weights {record['weights']} {how}\n"
        f"  {record['n_fused']} utterances, {record['n_partial']} of them not from all systems; "
        f"{record['n_not_scored']} not scored"
    )
