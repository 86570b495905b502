"""Baselines as systems: from a training part and a test part to a folder that is scored like any other."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser.data import files, tables
from ser.data.labels import EMOTIONS, read_utt2emo, same_emotions
from ser.errors import DataError, UsageError
from ser.feats.functionals import DIGESTS, SETS
from ser.scoring.system import System, write_system
from ser.systems import svm

log = logging.getLogger("ser")

Doubles = npt.NDArray[np.float64]
SEARCH = "search.tsv"


@dataclass(frozen=True)
class Baseline:
    """What a baseline is made of."""

    functionals: str | None  # one of SETS; None looks at no audio
    norm: str = "none"  # speaker (each speaker's own statistics) or global (those of the training part)


BASELINES = {"majority": Baseline(None)} | {
    f"svm_{name}_{norm}": Baseline(name, norm) for name in SETS for norm in ("global", "speaker")
}


@dataclass(frozen=True)
class Part:
    """The utterances of a data folder, in key order."""

    folder: Path
    keys: list[str]
    speakers: list[str]
    labels: npt.NDArray[np.int64]  # class indices


def make_baseline(name: str, data: Path, train: Path, test: Path, out: Path) -> None:
    """Train a baseline on one part and write its posteriors for another.

    ``out`` becomes a system (:mod:`ser.scoring.system`); an SVM leaves ``search.tsv`` there too, the uar on
    held-out speakers of the training part for each cost.  Of the test part's labels nothing is used; the
    normalisation ``speaker`` uses all of its audio.  A folder that is up to date is left as it is.

    Args:
        name: one of :data:`BASELINES`.
        data: the folder whose functionals are used, data/all.
        train: data folder of the training part.
        test: data folder of the test part.
        out: the folder to make.

    Raises:
        UsageError: no such baseline, or scikit-learn is not installed.
        DataError: tables or functionals are missing or wrong, or a speaker is in both parts.
    """
    if name not in BASELINES:
        near = difflib.get_close_matches(name, BASELINES, n=1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(BASELINES)}"
        raise UsageError(f"baseline {name} is unknown; {meant}")
    baseline = BASELINES[name]
    inputs = {
        f"{part.name}/{file}": part / file for part in (train, test) for file in ("utt2spk", EMOTIONS)
    } | {f"{train.name}/utt2emo": train / "utt2emo"}
    if baseline.functionals is not None:
        inputs |= {file: data / baseline.functionals / file for file in (DIGESTS, files.MADE)}
    for path in inputs.values():
        if not path.exists():
            made = "steps/make_functionals.sh" if path.parent.parent == data else "stages 0 to 2"
            raise DataError(f"{path}: no such file; run {made}")
    if files.is_made(out, {"system": name}, inputs):
        log.info("%s: up to date", out)
        return
    emotions = same_emotions(train / EMOTIONS, test / EMOTIONS)
    known, other = _read_part(train, emotions), _read_part(test, None)
    both = sorted(set(known.speakers) & set(other.speakers))
    if both:
        raise DataError(
            f"{test}: speaker {', '.join(both[:3])} is in {train} too; name parts of one fold that share none"
        )
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        if baseline.functionals is None:
            rows = majority(known, len(emotions), len(other.keys))
            notes: dict[str, str] = {}
        else:
            rows = _svm(baseline, data, known, other, len(emotions), out)
            notes = {"features": SETS[baseline.functionals], "normalisation": baseline.norm}
        system = System(str(out), emotions, dict(zip(other.keys, rows, strict=True)), {}, {}, notes)
        write_system(out, system, {"system": name}, inputs)
    log.info("%s: %d utterances", out, len(other.keys))


def majority(train: Part, num_classes: int, number: int) -> Doubles:
    """The shares of the classes in the training part, ``number`` times, (number, K)."""
    shares = np.bincount(train.labels, minlength=num_classes) / len(train.labels)
    return np.tile(shares, (number, 1))


def _svm(baseline: Baseline, data: Path, train: Part, test: Part, num_classes: int, out: Path) -> Doubles:
    """Posteriors (M, K) of an SVM, and ``search.tsv``."""
    assert baseline.functionals is not None
    reader = tables.ArkReader(data / f"{baseline.functionals}.scp", made_by="steps/make_functionals.sh")
    known, other = (_read_vectors(reader, part) for part in (train, test))
    if baseline.norm == "speaker":
        known = svm.standardise_speakers(known, train.speakers)
        other = svm.standardise_speakers(other, test.speakers)
    within = baseline.norm == "global"
    try:
        choice = svm.choose(known, train.labels, train.speakers, num_classes, within=within)
    except DataError as error:
        raise DataError(f"{train.folder}: {error}") from error
    if within:
        known, other = svm.standardise(known, known), svm.standardise(other, known)
    with files.whole_file(out / SEARCH) as stream:
        stream.write("cost\tuar\tchosen\n")
        stream.writelines(
            f"{cost:g}\t{uar:.6f}\t{'yes' if cost == choice.cost else 'no'}\n"
            for cost, uar in choice.search.items()
        )
    scores = svm.fit_and_score(known, train.labels, other, [choice.cost], num_classes)[choice.cost]
    return svm.posteriors(scores, choice.scale)


def _read_part(folder: Path, emotions: tuple[str, ...] | None) -> Part:
    """A part; its labels are read only where ``emotions`` are given."""
    speakers = tables.read_table(folder / "utt2spk", made_by="stage 2")
    labels: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
    if emotions is not None:
        table = read_utt2emo(folder / "utt2emo", emotions)
        tables.same_keys(table, folder / "utt2emo", speakers, folder / "utt2spk")
        index = {name: number for number, name in enumerate(emotions)}
        labels = np.array([index[table[key]] for key in speakers], dtype=np.int64)
    return Part(folder, list(speakers), list(speakers.values()), labels)


def _read_vectors(reader: tables.ArkReader, part: Part) -> Doubles:
    """The functionals of a part, (N, D)."""
    missing = sorted(set(part.keys) - reader.places.keys())
    if missing:
        raise DataError(
            f"{reader.path}: has no {', '.join(missing[:3])} of {part.folder}; run steps/make_functionals.sh "
            "on the folder that was divided"
        )
    return np.stack([reader.read(key).astype(np.float64) for key in part.keys])


def read_tasks(path: Path) -> list[tuple[str, Path, Path, Path]]:
    """A task list: system, training part, test part and folder to make a line, tab-separated.

    Raises:
        DataError: missing, or a line with another number of fields.
    """
    fields = ("system", "train", "test", "out")
    lines = tables.read_tasks(path, fields, "list the baselines, see steps/make_baseline.sh")
    return [(system, Path(train), Path(test), Path(out)) for system, train, test, out in lines]
