"""A system is a folder with ``post`` and ``emotions.txt``: ours, fused, pooled, or somebody else's.

======================  =================================================================================
``post``                ``<utt>  [ p0 p1 .. ]``: probabilities in the order of ``emotions.txt``
``emotions.txt``        ``<class> <index>``
``hyp``                 ``<utt> <class>``: the most probable class; written for people, never read
``not_scored``          optional, ``<utt> <reason>``: utterances that the system could not decide
``chunk2utt``           optional, ``<chunk> <utt>``: ``post`` is about chunks of utterances
``notes``               optional, ``<key> <value>``: what must be said with every number, such as
                        ``normalisation speaker``; copied to whatever is made of the system
======================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ser.data import files, tables
from ser.data.labels import EMOTIONS, read_emotions, same_emotions, write_emotions
from ser.errors import DataError, all_of
from ser.scoring.metrics import Floats, decide

SUM_TOLERANCE = 1e-3  # how far the probabilities of an utterance may be from summing to 1
FILES = ("post", EMOTIONS, "not_scored", "chunk2utt", "notes")  # what is read


@dataclass(frozen=True)
class System:
    """What one system says about some utterances (or about chunks of them)."""

    name: str  # the folder, for messages
    emotions: tuple[str, ...]  # K classes
    posteriors: dict[str, Floats]  # utterance -> (K,), sums to 1
    not_scored: dict[str, str] = field(default_factory=dict)  # utterance -> reason
    chunk2utt: dict[str, str] = field(default_factory=dict)  # empty: post is about utterances
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """The utterances that were given to the system, scored or not."""
        return self.posteriors.keys() | self.not_scored.keys()


def read_system(folder: Path, *, key2utt: Path | None = None) -> System:
    """Read a system's folder.

    Args:
        folder: see the table above.
        key2utt: a map to use in place of ``<folder>/chunk2utt``.

    Raises:
        DataError: a table that cannot be used, values that are no probabilities, or an utterance that
            is both in ``post`` and in ``not_scored``.
    """
    emotions = read_emotions(folder / EMOTIONS, made_by="steps/decode.sh")
    path = folder / "post"
    vectors = tables.read_vectors(path, len(emotions), made_by="steps/decode.sh")
    _check_probabilities(vectors, path)
    not_scored = _optional_table(folder / "not_scored")
    if twice := sorted(vectors.keys() & not_scored.keys()):
        raise DataError(
            f"{folder / 'not_scored'}: {twice[0]} has posteriors in {path} too; "
            "remove the utterance from one of them"
        )
    return System(
        name=str(folder),
        emotions=emotions,
        posteriors={key: np.array(vector) for key, vector in vectors.items()},
        not_scored=not_scored,
        chunk2utt=tables.read_table(key2utt) if key2utt else _optional_table(folder / "chunk2utt"),
        notes=_optional_table(folder / "notes"),
    )


def _optional_table(path: Path) -> dict[str, str]:
    return tables.read_table(path) if path.exists() and path.stat().st_size else {}


def _check_probabilities(vectors: Mapping[str, Sequence[float]], path: Path) -> None:
    problems = []
    for number, (key, vector) in enumerate(vectors.items(), 1):
        if min(vector) < 0 or max(vector) > 1 or abs(sum(vector) - 1) > SUM_TOLERANCE:
            problems.append(
                f"{path}:{number}: {key}: the values must be in 0..1 and sum to 1, these sum to "
                f"{sum(vector):.6g}; write probabilities, not logits or logarithms"
            )
    if problems:
        raise all_of(problems)


def input_files(folders: Mapping[str, Path]) -> dict[str, Path]:
    """The files of systems that something was made of, for ``made.json``: name -> path."""
    return {
        f"{name}/{file}": folder / file
        for name, folder in folders.items()
        for file in FILES
        if (folder / file).exists()
    }


def write_system(
    folder: Path, system: System, settings: Mapping[str, Any], inputs: Mapping[str, Path]
) -> None:
    """Write a system's folder; its ``made.json`` comes last, so that half a folder is never taken for one.

    Args:
        folder: made if need be; files of an earlier system in it are replaced or removed.
        system: what to write.
        settings: what it was made with, for ``made.json``.
        inputs: what it was made from, for ``made.json``.

    Raises:
        DataError: there is nothing to write: no utterance has posteriors.
    """
    if not system.posteriors:
        raise DataError(f"{folder}: no utterance has posteriors, nothing can be scored; check not_scored")
    (folder / files.MADE).unlink(missing_ok=True)
    write_emotions(folder / EMOTIONS, system.emotions)
    for name, table in (
        ("not_scored", system.not_scored),
        ("chunk2utt", system.chunk2utt),
        ("notes", system.notes),
    ):
        if table:
            tables.write_table(folder / name, table)
        else:
            (folder / name).unlink(missing_ok=True)
    hypotheses = decide(np.stack(list(system.posteriors.values())))
    hyp = {utt: system.emotions[index] for utt, index in zip(system.posteriors, hypotheses, strict=True)}
    tables.write_table(folder / "hyp", hyp)
    tables.write_vectors(folder / "post", system.posteriors)
    files.write_made(folder, settings, inputs)


def merge_notes(systems: Iterable[System]) -> dict[str, str]:
    """The notes of several systems in one: differing values of a key are joined with ``+``."""
    values: dict[str, list[str]] = {}
    for system in systems:
        for key, value in system.notes.items():
            known = values.setdefault(key, [])
            known.extend(part for part in value.split("+") if part not in known)
    return {key: "+".join(parts) for key, parts in values.items()}


def pool_folders(out_dir: Path, folders: Sequence[Path]) -> System:
    """Put the test utterances of all folds into one system, so that one score covers the corpus.

    Args:
        out_dir: the pooled system's folder; left as it is when it was made of just these folders.
        folders: one decode folder per fold.

    Raises:
        DataError: an utterance is in two folds, or the classes differ.
    """
    settings = {"pooled": [str(folder) for folder in folders]}
    inputs = input_files({str(number): folder for number, folder in enumerate(folders)})
    systems = [read_system(folder) for folder in folders]
    for folder in folders[1:]:
        same_emotions(folders[0] / EMOTIONS, folder / EMOTIONS)
    pooled = pool(systems)
    if not files.is_made(out_dir, settings, inputs):
        write_system(out_dir, pooled, settings, inputs)
    return pooled


def pool(systems: Sequence[System]) -> System:
    """The union of systems of the same classes that share no utterance.

    Raises:
        DataError: an utterance is in two of them.
    """
    home: dict[str, str] = {}
    problems = []
    for system in systems:
        for utt in sorted(system.keys):
            if utt in home:
                problems.append(
                    f"{system.name}: the utterance {utt} is in {home[utt]} too; "
                    "pool folds whose test sets share no utterance"
                )
            home[utt] = system.name
    if problems:
        raise all_of(problems, shown=3)

    def union(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        return {key: value for part in parts for key, value in part.items()}

    return System(
        name=" + ".join(system.name for system in systems),
        emotions=systems[0].emotions,
        posteriors=union(system.posteriors for system in systems),
        not_scored=union(system.not_scored for system in systems),
        chunk2utt=union(system.chunk2utt for system in systems),
        notes=merge_notes(systems),
    )
