"""Several systems on the same utterances: the posteriors of all runs in one array, joined by key.

Shapes: N utterances, K classes, R runs (seeds) of a system, S speakers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser.data import tables
from ser.data.folds import final_folds
from ser.data.labels import EMOTIONS, same_emotions
from ser.errors import DataError, all_of
from ser.scoring.evaluate import References, match
from ser.scoring.metrics import METRICS, Counts, Floats, decide
from ser.scoring.posteriors import read_posteriors

PADDED = "padded"
Bools = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Utterances:
    """The test utterances of all folds, with class, speaker, fold and other attributes."""

    emotions: tuple[str, ...]
    utts: tuple[str, ...]  # N, sorted
    truth: Counts  # (N,)
    speakers: Names  # (N,)
    folds: Names  # (N,) the fold whose test subset it is in
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
    """The posteriors of one system in all runs."""

    name: str
    seeds: tuple[str, ...]  # R
    posteriors: Floats  # (R, N, K); NaN where an utterance is not scored
    notes: dict[str, str]
    padded: Runs | None = None  # the same with short utterances padded, where that makes a difference

    @cached_property
    def scored(self) -> Bools:
        """Which utterances every run scored, (N,)."""
        return np.asarray(~np.isnan(self.posteriors[:, :, 0]).any(0))

    @property
    def norms(self) -> list[str]:
        """How features were normalised, of all members and folds: ``speaker``, ``global`` ...; as noted."""
        return self.notes["normalisation"].split("+") if "normalisation" in self.notes else []

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
        cells = (run, test.speaker_index[rows], test.truth[rows], self.hypotheses[:, rows])
        np.add.at(counts, cells, 1)
        return counts

    def values(self, test: Utterances, metric: str, chosen: Bools | None = None) -> Floats:
        """A score of each run, (R,); NaN where it does not exist."""
        return METRICS[metric](self.confusions(test, chosen).sum(1))


def read_test(folds: Path, references: References, attributes: Sequence[str] = ()) -> Utterances:
    """Read the test utterances of all folds.

    Args:
        folds: has ``folds.tsv``, ``pooled`` and ``<fold>/test``, of stage 2.
        references: of ``<folds>/pooled``.
        attributes: names x of which ``pooled/utt2x`` is read, where it is there.

    Raises:
        DataError: a table is missing or wrong.
    """
    pooled = folds / "pooled"
    utts = tuple(sorted(references.labels))
    home = {
        utt: fold
        for fold in final_folds(folds)
        for utt in tables.read_table(folds / fold / "test" / "utt2spk", made_by="stage 2")
    }
    tables.same_keys(home, f"the test subsets of {folds}", utts, pooled / "utt2emo")
    paths = {name: pooled / f"utt2{name}" for name in attributes if (pooled / f"utt2{name}").exists()}
    return Utterances(
        references.emotions,
        utts,
        np.array([references.labels[utt] for utt in utts], np.int64),
        np.array([references.speakers[utt] for utt in utts]),
        np.array([home[utt] for utt in utts]),
        {name: _column(tables.read_table(path), utts) for name, path in paths.items()},
    )


def _column(table: dict[str, str], utts: Sequence[str]) -> Names:
    return np.array([table.get(utt, "-") for utt in utts])


def read_runs(
    systems: Mapping[str, Mapping[str, Path]], test: Utterances, references: References
) -> list[Runs]:
    """Read the pooled posteriors of systems.

    Args:
        systems: name -> seed -> folder of posteriors.
        test: the utterances.
        references: of the same utterances.

    Returns:
        In the order of ``systems``.

    Raises:
        DataError: a folder is incomplete, of other classes or of other utterances; all problems at once.
    """
    runs, problems = [], []
    for name, folders in systems.items():
        try:
            runs.append(_read_system(name, folders, test, references))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise all_of(problems)
    return runs


def _read_system(name: str, folders: Mapping[str, Path], test: Utterances, references: References) -> Runs:
    seeds = tuple(folders)
    posteriors, notes = _stack([*folders.values()], test, references)
    padded = None
    inner = [folder / PADDED for folder in folders.values()]
    if np.isnan(posteriors).any() and all(folder.is_dir() for folder in inner):
        padded = Runs(f"{name} padded", seeds, *_stack(inner, test, references))
    return Runs(name, seeds, posteriors, notes, padded)


def _stack(
    folders: Sequence[Path], test: Utterances, references: References
) -> tuple[Floats, dict[str, str]]:
    posteriors: Floats = np.full((len(folders), len(test.utts), len(test.emotions)), np.nan)
    notes: dict[str, str] = {}
    for run, folder in enumerate(folders):
        output = read_posteriors(folder)
        same_emotions(references.folder / EMOTIONS, folder / EMOTIONS)
        scored = match(output, references)
        posteriors[run, np.searchsorted(test.utts, scored.keys)] = scored.posteriors
        notes |= output.notes
    return posteriors, notes
