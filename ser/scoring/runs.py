"""All systems of an experiment side by side: every run's posteriors in one array, joined by key.

Shapes: N utterances, K classes, R runs (seeds) of a system, S speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser.data import tables
from ser.data.labels import EMOTIONS, same_emotions
from ser.errors import DataError, all_of
from ser.scoring.evaluate import References, match, read_references
from ser.scoring.metrics import METRICS, Counts, Floats, decide
from ser.scoring.system import read_system
from ser.scoring.table import natural

DECODE, PADDED = "decode_test", "padded"
Bools = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Utterances:
    """The utterances that all systems are tested on, over all folds, and what is true of them."""

    emotions: tuple[str, ...]
    utts: tuple[str, ...]  # N, sorted
    truth: Counts  # (N,)
    speakers: Names  # (N,)
    folds: Names  # (N,) the fold that tests on it
    attributes: dict[str, Names] = field(default_factory=dict)  # such as style -> (N,)

    @cached_property
    def speaker_names(self) -> list[str]:
        """S names, sorted."""
        return sorted(set(self.speakers.tolist()))

    @cached_property
    def speaker_index(self) -> Counts:
        """(N,), into the names."""
        return np.searchsorted(np.array(self.speaker_names), self.speakers)


@dataclass(frozen=True)
class Runs:
    """One system: its posteriors of every run."""

    name: str
    seeds: tuple[str, ...]  # R
    posteriors: Floats  # (R, N, K); NaN where an utterance is not scored
    notes: dict[str, str]
    padded: Runs | None = None  # the same with short utterances padded, where that makes a difference

    @cached_property
    def scored(self) -> Bools:
        """Which utterances every run scored, (N,)."""
        return np.asarray(~np.isnan(self.posteriors[:, :, 0]).any(0))

    @cached_property
    def hypotheses(self) -> Counts:
        """The decided classes, (R, N); meaningless where not scored."""
        return decide(np.nan_to_num(self.posteriors))

    def confusions(self, test: Utterances, chosen: Bools | None = None) -> Counts:
        """A matrix for each run and speaker, (R, S, K, K), over the utterances scored (and chosen)."""
        K, S = len(test.emotions), len(test.speaker_names)
        rows = self.scored if chosen is None else self.scored & chosen
        counts: Counts = np.zeros((len(self.seeds), S, K, K), np.int64)
        run = np.arange(len(self.seeds))[:, None]
        place = (run, test.speaker_index[rows], test.truth[rows], self.hypotheses[:, rows])
        np.add.at(counts, place, 1)
        return counts

    def values(self, test: Utterances, metric: str, chosen: Bools | None = None) -> Floats:
        """A score of each run, (R,); NaN where it does not exist."""
        return METRICS[metric](self.confusions(test, chosen).sum(1))


def read_test(folds: Path, attributes: Sequence[str] = ()) -> Utterances:
    """Read what stage 2 wrote of the test parts of all folds.

    Args:
        folds: has ``folds.tsv``, ``pooled`` and ``<fold>/test``.
        attributes: names x of which ``pooled/utt2x`` is read, where it is there.

    Raises:
        DataError: a table is missing or wrong.
    """
    pooled = folds / "pooled"
    references = read_references(pooled)
    utts = tuple(sorted(references.labels))
    home = {
        utt: fold
        for fold in final_folds(folds)
        for utt in tables.read_table(folds / fold / "test" / "utt2spk", made_by="stage 2")
    }
    tables.same_keys(home, f"the test parts of {folds}", utts, pooled / "utt2emo")
    found = {name: pooled / f"utt2{name}" for name in attributes if (pooled / f"utt2{name}").exists()}
    return Utterances(
        references.emotions,
        utts,
        np.array([references.labels[utt] for utt in utts], np.int64),
        np.array([references.speakers[utt] for utt in utts]),
        np.array([home[utt] for utt in utts]),
        {name: _column(tables.read_table(path), utts) for name, path in found.items()},
    )


def _column(table: dict[str, str], utts: Sequence[str]) -> Names:
    return np.array([table.get(utt, "-") for utt in utts])


def final_folds(folds: Path) -> list[str]:
    """The folds of the results, without the extra ones that fusion is tuned on.

    Raises:
        DataError: ``folds.tsv`` is missing or no such table.
    """
    path = folds / "folds.tsv"
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        if head.split("\t") != ["fold", "tune_fold", "tune_set"] or any(len(row) != 3 for row in rows):
            raise ValueError(head)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run stage 2") from error
    except ValueError as error:
        raise DataError(f"{path}: is no list of folds; run stage 2 again") from error
    extra = {tune for fold, tune, _ in rows if tune != fold}
    return [fold for fold, _, _ in rows if fold not in extra]


def read_runs(pooled: Path, folds: Path, test: Utterances) -> list[Runs]:
    """Read ``<pooled>/<system>/seed<k>/decode_test`` of all systems and seeds.

    Args:
        pooled: such as ``exp/pooled``.
        folds: of the test parts, for messages and checks.
        test: the utterances.

    Returns:
        In natural order of the names (``csa_30`` before ``csa_100``).

    Raises:
        DataError: nothing was scored yet, a folder is incomplete, of other classes or of other utterances;
            all problems at once.
    """
    if not pooled.is_dir():
        raise DataError(f"{pooled}: no such folder; nothing was scored yet, run stages 3 to 7 first")
    places: dict[str, list[Path]] = {}
    for folder in sorted(pooled.glob("*/seed*/"), key=lambda path: natural(str(path))):
        places.setdefault(folder.parent.name, []).append(folder / DECODE)
    if not places:
        raise DataError(f"{pooled}: has no <system>/seed<k>; nothing was scored yet, run stages 3 to 7 first")
    references = read_references(folds / "pooled")
    found, problems = [], []
    for name, folders in places.items():
        try:
            found.append(_read_system(name, folders, references, test))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise all_of(problems)
    return found


def _read_system(name: str, folders: Sequence[Path], references: References, test: Utterances) -> Runs:
    seeds = tuple(folder.parent.name.removeprefix("seed") for folder in folders)
    posteriors, notes = _stack(folders, references, test)
    padded = None
    inner = [folder / PADDED for folder in folders]
    if np.isnan(posteriors).any() and all(folder.is_dir() for folder in inner):
        padded = Runs(f"{name} padded", seeds, *_stack(inner, references, test))
    return Runs(name, seeds, posteriors, notes, padded)


def _stack(
    folders: Sequence[Path], references: References, test: Utterances
) -> tuple[Floats, dict[str, str]]:
    posteriors: Floats = np.full((len(folders), len(test.utts), len(test.emotions)), np.nan)
    notes: dict[str, str] = {}
    for run, folder in enumerate(folders):
        system = read_system(folder)
        same_emotions(references.folder / EMOTIONS, folder / EMOTIONS)
        material = match(system, references)
        posteriors[run, np.searchsorted(test.utts, material.keys)] = material.posteriors
        notes |= system.notes
    return posteriors, notes
