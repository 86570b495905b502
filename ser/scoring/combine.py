"""Fuse decode folders into a new one, with weights that are given or found on tuning data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ser.data import files, tables
from ser.data.labels import EMOTIONS, same_emotions
from ser.errors import DataError, UsageError
from ser.scoring.evaluate import References, Scored, match, read_references, reference_files
from ser.scoring.fusion import LOGISTIC, UNWEIGHTED, Fused, Tuning, fuse, tune
from ser.scoring.log_linear import CALIBRATION_UTTS, PRIOR_UTTS
from ser.scoring.posteriors import (
    Posteriors,
    input_files,
    merge_notes,
    read_posteriors,
    write_posteriors,
)

FUSION = "fusion.txt"


class TuningSet(NamedTuple):
    """One data folder that weights are tuned on."""

    data: Path
    decode: tuple[Path, ...]  # folders of posteriors on it: the same systems in the same order


@dataclass(frozen=True)
class TuningData:
    """Data that weights are tuned on: never the data that is scored with them."""

    sets: tuple[TuningSet, ...]
    data: Path  # the data folder of the posteriors to fuse
    criterion: str  # one of ser.scoring.fusion.CRITERIA
    # of speakers who are in data too, utterances are left out; false refuses them
    leave_out_shared: bool = False


def fuse_folders(
    out_dir: Path,
    folders: Sequence[Path],
    *,
    mode: str,
    weights: Sequence[float] = (),
    tuning: TuningData | None = None,
) -> dict[str, str]:
    """Fuse folders; ``out_dir`` is left as it is when it was made from the same files in the same way.

    Args:
        out_dir: the fused posteriors: ``post``, ``hyp``, ``emotions.txt``, ``not_scored``, ``fusion.txt``.
        folders: M decode folders of the same utterances and classes.
        mode: one of :data:`ser.scoring.fusion.MODES`.
        weights: M - 1 numbers, those of the systems after the first; none in modes that have their own.
        tuning: find the weights on these data instead.

    Returns:
        What ``fusion.txt`` holds.

    Raises:
        UsageError: a wrong number of weights or tuning folders, or a criterion that the mode cannot have.
        DataError: folders that do not go together; tuning data that shares a speaker with the test data, or
            none but such.
    """
    _check_usage(folders, mode, weights, tuning)
    settings, inputs = _provenance(folders, mode, weights, tuning)
    if files.is_made(out_dir, settings, inputs):
        return tables.read_table(out_dir / FUSION)
    outputs = _read_outputs(folders)
    tuned = _tune(tuning, outputs, folders, mode) if tuning else None
    used = tuned.weights if tuned else _given_weights(len(folders), mode, weights)
    fused = fuse(outputs, used, mode, keep_sum=bool(tuning and tuning.criterion == LOGISTIC))
    record = _record(folders, mode, used, fused)
    if tuning and tuned:
        record |= _tuning_record(tuning, tuned)
    (out_dir / files.MADE).unlink(missing_ok=True)
    tables.write_table(out_dir / FUSION, record)
    result = Posteriors(
        str(out_dir), outputs[0].emotions, fused.posteriors, fused.not_scored, notes=merge_notes(outputs)
    )
    write_posteriors(out_dir, result, settings, inputs, [out_dir / FUSION])
    return record


def _provenance(
    folders: Sequence[Path], mode: str, weights: Sequence[float], tuning: TuningData | None
) -> tuple[dict[str, object], dict[str, Path]]:
    """Settings and input files of a fusion, for ``made.json``."""
    settings: dict[str, object] = {"mode": mode, "systems": [str(folder) for folder in folders]}
    inputs = input_files({f"system{number}": folder for number, folder in enumerate(folders, 1)})
    if not tuning:
        return settings | {"weights": list(weights)}, inputs
    settings |= {
        "criterion": tuning.criterion,
        "dev": [str(path) for each in tuning.sets for path in (each.data, *each.decode)],
        "leave_out_shared": tuning.leave_out_shared,
    }
    if tuning.criterion == LOGISTIC:
        settings["prior_utts"] = [PRIOR_UTTS, CALIBRATION_UTTS]
    for number, each in enumerate(tuning.sets, 1):
        name = _dev_name(number)
        inputs |= input_files({f"{name}{place}": folder for place, folder in enumerate(each.decode, 1)})
        inputs |= reference_files(f"{name}_data", each.data)
    return settings, inputs | reference_files("data", tuning.data)


def _dev_name(number: int) -> str:
    """What the data of a tuning set are called in records: ``dev``, ``dev2``, ``dev3`` ..."""
    return "dev" if number == 1 else f"dev{number}_"


def _given_weights(number: int, mode: str, weights: Sequence[float]) -> list[float]:
    """The weights of so many systems where none are tuned."""
    if mode in UNWEIGHTED:
        return [1 / number if mode == "mean" else 1.0] * number
    return [1.0, *weights]


def _check_usage(
    folders: Sequence[Path], mode: str, weights: Sequence[float], tuning: TuningData | None
) -> None:
    if len(folders) < 2:
        raise UsageError("give two decode folders or more to fuse")
    if mode in UNWEIGHTED and (weights or tuning):
        raise UsageError(f"--mode {mode} takes no weights; leave them out, or take --mode power")
    if tuning and tuning.criterion == LOGISTIC and mode != "power":
        raise UsageError(f"--criterion {LOGISTIC} finds exponents; take --mode power, or another criterion")
    if weights and tuning:
        raise UsageError("weights are given or tuned, not both; leave out --weights or --dev-data")
    if mode not in UNWEIGHTED and not tuning and len(weights) != len(folders) - 1:
        raise UsageError(
            f"{len(folders)} systems need {len(folders) - 1} weights, got {len(weights)}; give one for each "
            "system after the first"
        )
    if any(not 0 <= weight < float("inf") for weight in weights):
        raise UsageError("--weights: a weight is a number of at least 0")
    for each in tuning.sets if tuning else ():
        if len(each.decode) != len(folders):
            raise UsageError(
                f"{len(folders)} systems need as many --dev-decode, got {len(each.decode)}; give the same "
                "systems in the same order"
            )


def _read_outputs(folders: Sequence[Path]) -> list[Posteriors]:
    outputs = [read_posteriors(folder) for folder in folders]
    for folder, output in zip(folders, outputs, strict=True):
        same_emotions(folders[0] / EMOTIONS, folder / EMOTIONS)
        if output.chunk2utt:
            raise DataError(f"{folder}: has posteriors of chunks; fuse the folder with those of utterances")
    return outputs


def _tune(tuning: TuningData, outputs: Sequence[Posteriors], folders: Sequence[Path], mode: str) -> Tuning:
    test = read_references(tuning.data)
    for folder in (tuning.data, *(path for each in tuning.sets for path in (each.data, each.decode[0]))):
        same_emotions(folders[0] / EMOTIONS, folder / EMOTIONS)
    for output in outputs:
        match(output, test)
    scored = [_scored(each, test, tuning) for each in tuning.sets]
    joined = [_join(system) for system in zip(*scored, strict=True)]
    if not joined[0].keys:
        raise DataError(
            f"{tuning.sets[0].data}: has no speaker who is not in {test.folder}; tune the weights on others"
        )
    return tune(joined, mode, tuning.criterion)


def _scored(each: TuningSet, test: References, tuning: TuningData) -> list[Scored]:
    """The systems on a tuning set, on utterances of speakers alone who are not tested."""
    dev = read_references(each.data)
    if not tuning.leave_out_shared:
        _check_disjoint(dev, test)
    tested = set(test.speakers.values())
    chosen = {utt for utt, speaker in dev.speakers.items() if speaker not in tested} - test.labels.keys()
    return [match(output, dev).only(chosen) for output in _read_outputs(each.decode)]


def _join(sets: Sequence[Scored]) -> Scored:
    """One system on several sets; an utterance may be in more than one, so each has a name of its own."""
    return Scored(
        [f"{number:06d} {key}" for number, each in enumerate(sets) for key in each.keys],
        np.concatenate([each.references for each in sets]),
        np.concatenate([each.posteriors for each in sets]),
        [speaker for each in sets for speaker in each.speakers],
        sum(each.n_total for each in sets),
    )


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


def _tuning_record(tuning: TuningData, tuned: Tuning) -> dict[str, str]:
    lines = {"criterion": tuning.criterion, "dev_n_utts": str(tuned.n_utts)}
    for number, each in enumerate(tuning.sets, 1):
        name = _dev_name(number).rstrip("_")
        lines[f"{name}_data"] = str(each.data)
        lines |= {f"{name}_system_{place}": str(folder) for place, folder in enumerate(each.decode, 1)}
    for number, curve in enumerate(tuned.curves, 2):
        for step, trial in enumerate(curve):
            lines[f"dev_curve_{number}_{step:02d}"] = (
                f"weight {trial.weight:g} uar {trial.uar:.6f} nll {trial.nll:.6f}"
            )
    return lines


def fusion_text(out_dir: Path, record: Mapping[str, str]) -> str:
    """Summary of a fusion, for display."""
    how = "as given"
    if "criterion" in record:
        more = sum(key.startswith("dev") and key.endswith("_data") for key in record) - 1
        how = f"tuned on {record['dev_data']}{f' and {more} more' if more else ''} ({record['criterion']})"
    return (
        f"{out_dir}\n  {record['mode']} fusion, weights {record['weights']} {how}\n"
        f"  {record['n_fused']} utterances, {record['n_partial']} of them not from all systems; "
        f"{record['n_not_scored']} not scored"
    )
