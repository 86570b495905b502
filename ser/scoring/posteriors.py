"""Posteriors: a folder with ``post`` and ``emotions.txt``: decoded, fused, pooled, or somebody else's.

======================  =================================================================================
``post``                ``<utt>  [ p0 p1 .. ]``: probabilities in the order of ``emotions.txt``
``emotions.txt``        ``<class> <index>``
``hyp``                 ``<utt> <class>``: the most probable class; for display, never read
``not_scored``          optional, ``<utt> <reason>``: utterances that the system could not decide
``chunk2utt``           optional, ``<chunk> <utt>``: ``post`` is about chunks of utterances
``notes``               optional, ``<key> <value>``: what must be said with every number, such as
                        ``normalisation speaker``; copied to whatever is made of the posteriors
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
VARIANTS = ("chunks", "padded")  # sub-folders of a decode folder that are pooled and scored by themselves


@dataclass(frozen=True)
class Posteriors:
    """What a system gives for the utterances of a subset (or for chunks of them)."""

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


def read_posteriors(folder: Path, *, key2utt: Path | None = None) -> Posteriors:
    """Read a folder of posteriors.

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
    return Posteriors(
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
    """The files of posteriors that something was made of, for ``made.json``.

    Args:
        folders: name -> folder of posteriors.

    Returns:
        ``<name>/<file>`` -> path, of the files that exist.
    """
    return {
        f"{name}/{file}": folder / file
        for name, folder in folders.items()
        for file in FILES
        if (folder / file).exists()
    }


def write_posteriors(
    folder: Path,
    output: Posteriors,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
    also: Iterable[Path] = (),
) -> list[Path]:
    """Write a folder of posteriors; ``made.json`` comes last, so that half a folder never counts as made.

    Args:
        folder: made if need be; files of earlier posteriors in it are replaced or removed.
        output: what to write.
        settings: what it was made with, for ``made.json``.
        inputs: what it was made from, for ``made.json``.
        also: files that were made with it, for ``made.json``.

    Returns:
        The files that were written.

    Raises:
        DataError: no utterance has posteriors, or some are no numbers.
    """
    if not output.posteriors:
        raise DataError(f"{folder}: no utterance has posteriors, nothing can be scored; check not_scored")
    if lost := [utt for utt, row in output.posteriors.items() if not np.isfinite(row).all()]:
        raise DataError(
            f"{folder}: the posteriors of {', '.join(lost[:3])} would be NaN or infinite, none is written; "
            "are their features as large as those the system was trained on?"
        )
    (folder / files.MADE).unlink(missing_ok=True)
    write_emotions(folder / EMOTIONS, output.emotions)
    for name, table in (
        ("not_scored", output.not_scored),
        ("chunk2utt", output.chunk2utt),
        ("notes", output.notes),
    ):
        if table:
            tables.write_table(folder / name, table)
        else:
            (folder / name).unlink(missing_ok=True)
    hypotheses = decide(np.stack(list(output.posteriors.values())))
    hyp = {utt: output.emotions[index] for utt, index in zip(output.posteriors, hypotheses, strict=True)}
    tables.write_table(folder / "hyp", hyp)
    tables.write_vectors(folder / "post", output.posteriors)
    outputs = [folder / name for name in (*FILES, "hyp") if (folder / name).exists()]
    files.write_made(folder, settings, inputs, [*outputs, *also])
    return [*outputs, folder / files.MADE]


def merge_notes(outputs: Iterable[Posteriors]) -> dict[str, str]:
    """The notes of several outputs in one: differing values of a key are joined with ``+``."""
    values: dict[str, list[str]] = {}
    for output in outputs:
        for key, value in output.notes.items():
            known = values.setdefault(key, [])
            known.extend(word for word in value.split("+") if word not in known)
    return {key: "+".join(words) for key, words in values.items()}


def pool_folders(out_dir: Path, folders: Sequence[Path]) -> Posteriors:
    """Put the test utterances of all folds into one folder, so that one score covers the corpus.

    Args:
        out_dir: the folder of the pooled posteriors; left as it is when it was made of just these folders.
        folders: one decode folder per fold.

    Raises:
        DataError: an utterance is in two folds, or the classes differ.
    """
    settings = {"pooled": [str(folder) for folder in folders]}
    inputs = input_files({str(number): folder for number, folder in enumerate(folders)})
    if files.is_made(out_dir, settings, inputs):
        return read_posteriors(out_dir)
    outputs = [read_posteriors(folder) for folder in folders]
    for folder in folders[1:]:
        same_emotions(folders[0] / EMOTIONS, folder / EMOTIONS)
    pooled = pool(outputs)
    write_posteriors(out_dir, pooled, settings, inputs)
    return pooled


def pool_variants(out_dir: Path, folders: Sequence[Path]) -> list[Path]:
    """Pool decode folders, and their variants (chunks, short utterances padded) where any has them.

    Args:
        out_dir: as for :func:`pool_folders`; a variant goes into the sub-folder of its name.
        folders: one decode folder per fold.

    Returns:
        The folders of the pooled posteriors, ``out_dir`` first.

    Raises:
        DataError: as :func:`pool_folders`, or a fold lacks a variant.
    """
    names = ["", *(name for name in VARIANTS if any((folder / name).is_dir() for folder in folders))]
    for name in names:
        pool_folders(out_dir / name, [folder / name for folder in folders])
    return [out_dir / name for name in names]


def pool(outputs: Sequence[Posteriors]) -> Posteriors:
    """The union of outputs of the same classes that share no utterance.

    Raises:
        DataError: an utterance is in two of them.
    """
    home: dict[str, str] = {}
    problems = []
    for output in outputs:
        for utt in sorted(output.keys):
            if utt in home:
                problems.append(
                    f"{output.name}: the utterance {utt} is in {home[utt]} too; "
                    "pool folds whose test sets share no utterance"
                )
            home[utt] = output.name
    if problems:
        raise all_of(problems, shown=3)

    def union(maps: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        return {key: value for each in maps for key, value in each.items()}

    return Posteriors(
        name=" + ".join(output.name for output in outputs),
        emotions=outputs[0].emotions,
        posteriors=union(output.posteriors for output in outputs),
        not_scored=union(output.not_scored for output in outputs),
        chunk2utt=union(output.chunk2utt for output in outputs),
        notes=merge_notes(outputs),
    )
