"""Model folders: weights as safetensors, all else as JSON and YAML, so that reading one runs nothing.

========================  ===============================================================================
``model.json``            the system, its settings, the class order, settings of its feature sets, seed,
                          versions, and the digest of the weights
``model.safetensors``     ``network.*`` or ``model.*``: what was learnt; ``stats.<set>``: statistics of the
                          training subset, (2, F + 1) float64
``config.yaml``           the settings, for people and for the report
========================  ===============================================================================
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

import ser
from ser import config, reading, systems
from ser.cli import log
from ser.data import registry
from ser.data.datadir import main_set
from ser.data.durations import known_durations
from ser.data.files import whole_file
from ser.data.labels import EMOTIONS, write_emotions
from ser.data.tables import check_key, read_table
from ser.data.turns import TurnUse
from ser.errors import CheckpointError, DataError, shown
from ser.feats.base import ONE_SCALE
from ser.feats.speech import SpeechUse, vad_settings
from ser.feats.stores import set_settings, set_versions
from ser.feats.subset import Subset
from ser.learn import packages
from ser.learn.calibration import FILE as CALIBRATION
from ser.learn.calibration import Calibration, parse_calibration
from ser.learn.packages import ModelFiles
from ser.learn.tasks import CONFIG, MODEL, OLD_MODEL, OLD_VERSION, WEIGHTS, Task
from ser.systems.base import Arrays, Network, Sizes, System

FORMAT = 2
VERSIONS = "feature_versions"  # what a model says of the libraries that made its features
REMEDY = "train it again (stage 3 or 4)"
_PACKAGES = ("torch", "numpy", "scikit-learn")


@dataclass(frozen=True)
class TrainedModel:
    """A model folder or a package: all that decoding needs.

    Attributes:
        folder: where it was read: the folder, or the package.
        system: a :class:`~ser.systems.base.Network` or :class:`~ser.systems.base.Estimator`.
        settings: those it was trained with.
        emotions: class order.
        sets: feature set -> the settings of its features.
        sizes: what the network was made for.
        arrays: what was learnt, by name.
        stats: feature set -> statistics of its training subset, (2, F + 1) float64.
        facts: all of ``model.json``.
        calibration: what makes its posteriors mean what they say; None where it has none.
    """

    folder: Path
    system: Any
    settings: Any
    emotions: tuple[str, ...]
    sets: dict[str, dict[str, Any]]
    sizes: Sizes
    arrays: Arrays
    stats: dict[str, npt.NDArray[np.float64]]
    facts: dict[str, Any]
    calibration: Calibration | None = None

    @property
    def norm(self) -> Any:
        """How its features are normalised."""
        return self.settings.features.norm if hasattr(self.settings, "features") else "none"

    @cached_property
    def network(self) -> Any:
        """The network, in evaluation mode, where it was last moved to; at first the CPU.

        Raises:
            CheckpointError: the weights are of another network.
        """
        import torch

        path = self.folder / WEIGHTS
        state = {name: torch.from_numpy(values) for name, values in self.arrays.items()}
        with reading.guarded(path, REMEDY, CheckpointError, what="are the weights of another network"):
            if not registry.is_outside(self.settings.system):
                with torch.device("meta"):  # what is claimed takes no memory before it is found to be true
                    self.system.build(self.settings, self.sizes).load_state_dict(state, assign=True)
            network = self.system.build(self.settings, self.sizes)
            network.load_state_dict(state)
        return network.eval()


def versions() -> dict[str, str]:
    """What makes a model."""
    known = {"ser": ser.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return known


def save_model(
    folder: Path,
    *,
    settings: Any,
    emotions: Sequence[str],
    sets: Mapping[str, Mapping[str, Any]],
    sizes: Sizes,
    arrays: Mapping[str, npt.NDArray[Any]],
    stats: Mapping[str, npt.NDArray[np.float64]],
    facts: Mapping[str, Any],
) -> None:
    """Write what was learnt; ``model.json`` comes last and has the digest of the weights.

    Raises:
        DataError: it holds NaN or infinity.
    """
    named = {f"model.{name}": np.array(values, order="C") for name, values in arrays.items()}
    named |= {f"stats.{name}": np.array(values, order="C") for name, values in stats.items()}
    for name, values in named.items():
        if not np.isfinite(values).all():
            raise DataError(f"{folder}: {name} holds NaN or infinity; lower optim.lr, or set optim.clip_norm")
    content = safetensors.numpy.save(named)
    with whole_file(folder / WEIGHTS, "wb") as stream:
        stream.write(content)
    tree = config.to_dict(settings)
    record = {
        "format": FORMAT,
        "settings": tree,
        "emotions": list(emotions),
        "sets": {name: dict(values) for name, values in sets.items()},
        "sizes": asdict(sizes),
        **facts,
        "versions": versions(),
        "weights": hashlib.sha256(content).hexdigest(),
    }
    with whole_file(folder / MODEL) as stream:
        json.dump(record, stream, indent=1)
        stream.write("\n")


def load_model(folder: Path, allow: Sequence[str] = ()) -> TrainedModel:
    """Read a model folder, a package, or the folder that a package was unpacked to.

    Args:
        folder: of :func:`save_model`, or see :mod:`ser.learn.packages`.
        allow: code outside ``ser`` that a model may name as its system, which is then imported.

    Raises:
        CheckpointError: there is no usable model in it, or it names code that is not allowed.
    """
    files = ModelFiles(folder, MODEL, REMEDY)
    path = files.path(files.facts)
    record = _read_record(files)
    with reading.guarded(path, files.remedy, CheckpointError, what="is not a model of this version"):
        systems.check_allowed(record["settings"]["system"], allow, path)
        system, settings = systems.build_settings(record["settings"], f"{path} (settings)")
        emotions = tuple(check_key(name, str(path)) for name in list(record["emotions"]))
        sets = {check_key(name, str(path)): dict(values) for name, values in record["sets"].items()}
        sizes = config.build(Sizes, record["sizes"], f"{path} (sizes)")
        if len(set(emotions)) != sizes.num_classes:
            raise reading.BadFileError(
                f"names {len(set(emotions))} classes, its network has {sizes.num_classes}"
            )
        if hasattr(settings, "features") and set(settings.features.sets) != sets.keys():
            raise reading.BadFileError("reads other feature sets than it was made for")
        digest = record["weights"]
    arrays, stats = _read_weights(files, digest)
    calibration = _read_calibration(files, record, emotions)
    model = TrainedModel(folder, system, settings, emotions, sets, sizes, arrays, stats, record, calibration)
    _check_stats(model)
    return model


def _check_stats(model: TrainedModel) -> None:
    """Make sure that a network has the statistics of its training subset, if it normalises by them."""
    path = model.folder / WEIGHTS
    needed = model.sets if model.norm == "global" and isinstance(model.system, Network) else ()
    for name in (*needed, *model.stats):
        values = model.stats.get(name)
        shape = (2, model.sizes.features.get(name, 0) + 1)
        if values is None or values.shape != shape or not np.isfinite(values).all():
            raise CheckpointError(f"{path}: has no statistics of the set {shown(name)}; {REMEDY}")


def read_facts(folder: Path) -> dict[str, Any]:
    """What ``model.json`` says.

    Raises:
        CheckpointError: there is none, or it is damaged or of another version.
    """
    return _read_record(ModelFiles(folder, MODEL, REMEDY))


def _read_record(files: ModelFiles) -> dict[str, Any]:
    path, old = files.path(files.facts), files.path(OLD_MODEL)
    if not files.packed and not path.exists() and old.exists():
        raise CheckpointError(f"{old}: {OLD_VERSION}; remove the folder and {REMEDY}")
    missing, what = "train the model first (stage 3 or 4)", "is cut short, damaged, or no model at all"
    with reading.guarded(path, files.remedy, CheckpointError, what=what, detail=False):
        record = json.loads(files.read(files.facts, missing=missing))
    written = record.get("format") if isinstance(record, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise CheckpointError(
            f"{path}: is of a newer version (format {str(written)[:20]}, this one reads {FORMAT}); update ser"
        )
    if not isinstance(record, dict) or written != FORMAT:
        raise CheckpointError(f"{path}: was not written by this version of the recipe; {files.remedy}")
    return record


def _read_weights(files: ModelFiles, digest: object) -> tuple[Arrays, dict[str, npt.NDArray[np.float64]]]:
    path, content = files.path(WEIGHTS), files.read(WEIGHTS)
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(
            f"{path}: is cut short, damaged, or not the weights of {files.facts} beside it; {files.remedy}"
        )
    with reading.guarded(path, files.remedy, CheckpointError, what="is no safetensors file"):
        named = safetensors.numpy.load(content)
    groups: dict[str, Arrays] = {"model": {}, "stats": {}}
    for name, values in named.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = values
    return groups["model"], groups["stats"]


def _read_calibration(
    files: ModelFiles, record: Mapping[str, Any], emotions: Sequence[str]
) -> Calibration | None:
    """The calibration, if there is one; that of a package is the one whose digest it says."""
    path = files.path(CALIBRATION)
    if not files.has(CALIBRATION) and not (files.packed and packages.DIGEST in record):
        return None
    content = files.read(CALIBRATION)
    if files.packed and hashlib.sha256(content).hexdigest() != record.get(packages.DIGEST):
        raise CheckpointError(f"{path}: is damaged, or not the calibration of this model; {files.remedy}")
    return parse_calibration(content, emotions, path)


def summary_of(system: System, arrays: Arrays, sizes: Sizes) -> dict[str, Any]:
    """What ``model.json`` says of what was learnt: a mapping ``summary``, where the system has one."""
    summary = {} if system.summary is None else system.summary(arrays, sizes)
    return {"summary": summary} if summary else {}


def tell_summary(folder: Path, facts: Mapping[str, Any]) -> None:
    """Show the summary that some facts of a model have."""
    if summary := facts.get("summary"):
        log.info("%s: %s", folder, ", ".join(f"{name} {value}" for name, value in summary.items()))


def sizes_of(subset: Subset, emotions: Sequence[str]) -> Sizes:
    """What a network must fit to learn from a training subset."""
    return Sizes(
        {name: features.dim for name, features in subset.inputs.items()},
        len(emotions),
        {name: len(classes) for name, classes in subset.target_names.items()},
        {name: features.layout for name, features in subset.inputs.items() if features.layout != ONE_SCALE},
        subset.turns.vocabulary if subset.turns else (),
    )


def feature_facts(data: Path, settings: Any, sets: Sequence[str]) -> dict[str, Any]:
    """What a model says of its features besides their settings.

    Args:
        data: the training subset's folder.
        settings: of the system.
        sets: the feature sets that it reads.

    Returns:
        How much it was trained on; versions of the libraries that made them, by feature set, where there are
        any; of a system that asks for speech activity, how that was decided, and the main set, in whose
        frames it is.
    """
    facts: dict[str, Any] = {"training_data": _training_data(data)}
    names = dict.fromkeys(sets)
    if SpeechUse.of(settings).is_asked:
        main = main_set(data)
        facts["vad"] = vad_settings(data)
        names |= dict.fromkeys(str(name) for name in (facts["vad"].get("set"), main))
        if main is not None and main != sets[0]:
            facts["vad_main"] = {"set": main, **set_settings(data, main)}
    versions = {name: made for name in names if (made := set_versions(data, name))}
    return facts | ({VERSIONS: versions} if versions else {})


def _training_data(data: Path) -> dict[str, Any]:
    """How much a training subset is; names nobody."""
    utt2emo, speakers = read_table(data / "utt2emo"), read_table(data / "utt2spk")
    return {
        "utterances": len(utt2emo),
        "speakers": len(set(speakers.values())),
        "seconds": round(sum(known_durations(data).values()), 2),
        "classes": dict(sorted(Counter(utt2emo.values()).items())),
    }


def check_audio_alone(model: TrainedModel) -> None:
    """Refuse a model that reads more than recordings, for uses that have nothing else.

    Raises:
        CheckpointError: it reads transcripts, or whole dialogues.
    """
    if words := TurnUse.of(model.settings).words:
        raise CheckpointError(
            f"{model.folder}: its system reads {words}, which recordings do not have; decode a data folder "
            f"that has them: ser decode {model.folder} <data> <out>"
        )


def describe(task: Task, emotions: Sequence[str]) -> None:
    """Write down what is trained before it is trained: ``config.yaml`` and ``emotions.txt``."""
    write_settings(task.folder, task.tree)
    write_emotions(task.folder / EMOTIONS, emotions)


def write_settings(folder: Path, tree: Mapping[str, Any]) -> None:
    """Write ``config.yaml``."""
    with whole_file(folder / CONFIG) as stream:
        stream.write(config.dump(tree))


def update_decoding(folder: Path, settings: Any) -> None:
    """Give a trained model other settings of decoding, on which its training did not depend.

    Raises:
        CheckpointError: there is no usable model in the folder.
    """
    record = read_facts(folder) | {"settings": config.to_dict(settings)}
    with whole_file(folder / MODEL) as stream:
        json.dump(record, stream, indent=1)
        stream.write("\n")
