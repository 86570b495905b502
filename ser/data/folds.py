"""Folds: train, dev and test subsets as views on ``data/all``.

No speaker is in two subsets of a fold, which is checked on the files as they were written, and no recording,
under whatever name, which is checked by digests of the features.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser import config as settings_io
from ser import reading
from ser.data import tables
from ser.data.confounding import (
    TRAINING_SPEAKERS,
    SpeakerGroup,
    confounding_text,
    group_speakers,
    speakers_text,
    write_training_speakers,
)
from ser.data.corpus import CorpusConfig
from ser.data.datadir import COPIED, main_set, make_views, source_of, up_to_date, utterance_tables, whole_dir
from ser.data.division import NONE, POOLED, Fold, divide, kept_utterances, read_speaker_info, tested
from ser.data.files import files_below, whole_file, write_made
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo
from ser.data.tuning import TUNING, TuningSource, other_sources, read_tuning, write_tuning
from ser.errors import DataError, all_of

Doubles = npt.NDArray[np.float64]
log = logging.getLogger("ser")

FOLDS, CHECKS = "folds.tsv", "checks.tsv"
_CHECKS_HEAD = "fold subset utterances speakers recordings shared_speakers shared_recordings".split()


class FoldLine(NamedTuple):
    """A line of ``folds.tsv``, with those of ``tuning.tsv`` that go with it."""

    name: str
    tune_fold: str  # the fold whose posteriors tune this one's fusion; "-" for none
    tune_set: str  # the subset of it that they are of
    others: tuple[TuningSource, ...] = ()  # further posteriors that may tune it


def make_folds(data: Path, out: Path, config: CorpusConfig, protocol: str | None = None) -> None:
    """Divide a data folder as a protocol of ``conf/corpus.yaml`` says.

    Writes ``<out>/<fold>/{train,dev,test}``, each a data folder, ``<out>/pooled``, all that the folds test on
    together, ``<out>/folds.tsv``, ``<out>/tuning.tsv``, what else fusions may be tuned on, if anything,
    ``<out>/checks.tsv``, what was checked for leakage, and ``<out>/training_speakers.tsv``, how many classes
    the training speakers show.  If ``data`` has a main set of features, each subset has CMVN statistics of
    its speakers (``cmvn.scp``; ``train`` also has those of all of it, ``cmvn_global.scp``).

    Args:
        data: a data folder with features; those of the main set need ``cmvn_utt.scp``.
        out: the folder to make, as a whole; a finished one is left alone if it is the same.
        config: the corpus.
        protocol: the name of the protocol; None takes the default one.

    Raises:
        ConfigError: there is no such protocol, or it names groups that do not exist.
        StaleError: ``out`` was made otherwise.
        DataError: ``data`` is not complete, a class has nothing to train on, or a speaker or a recording
            would be in two subsets.
    """
    name, chosen = config.named_protocol(protocol)
    settings = {"protocol": name, **settings_io.to_dict(chosen)}
    features = _feature_files(data)
    names = [*utterance_tables(data), *COPIED, "spk2gender"]
    inputs = {file: data / file for file in names if (data / file).exists()} | features
    if up_to_date(out, settings, inputs):
        return
    utt2spk = tables.read_table(data / "utt2spk", made_by="stage 0")
    utterances = kept_utterances(data, utt2spk, chosen.keep)
    folds = divide(name, chosen, read_speaker_info(data, utt2spk, chosen, utterances), data)
    _check_classes(folds, data)
    stats = _read_stats(features["cmvn_utt.scp"]) if "cmvn_utt.scp" in features else None
    digests = _digests(stats, features)
    check_copies(folds, digests, data)
    with whole_dir(out) as staging:
        views = {
            staging / fold.name / subset: keys for fold in folds for subset, keys in fold.subsets.items()
        }
        make_views(data, {**views, staging / POOLED: tested(folds)})
        check_speakers(staging, folds)
        if stats is not None:
            _write_cmvn(stats, utt2spk, views, staging, out)
        write_folds(staging / FOLDS, folds)
        if sources := other_sources(folds, utt2spk):
            write_tuning(staging / TUNING, sources)
        _write_checks(staging / CHECKS, folds, utt2spk, digests)
        groups = _training_speakers(folds, utt2spk, data)
        write_training_speakers(staging / TRAINING_SPEAKERS, groups)
        write_made(staging, settings, inputs, files_below(staging))
    log.info("%s: protocol %s, folds %s", out, name, " ".join(fold.name for fold in folds))
    log.info("%s: %s", out, speakers_text(groups))
    if warning := confounding_text(groups):
        log.warning("%s: %s", out, warning)


def _training_speakers(folds: Sequence[Fold], utt2spk: Mapping[str, str], data: Path) -> list[SpeakerGroup]:
    emotions = read_emotions(data / EMOTIONS)
    utt2emo = read_utt2emo(data / "utt2emo", emotions)
    utt2dur = tables.read_table(data / "utt2dur") if (data / "utt2dur").exists() else {}
    return group_speakers(folds, utt2spk, utt2emo, utt2dur, len(emotions))


# ------------------------------------------------------------------------------------------------ features


class _Stats(NamedTuple):
    """CMVN statistics of utterances."""

    keys: list[str]
    sums: Doubles  # (len(keys), 2, F + 1)


def _feature_files(data: Path) -> dict[str, Path]:
    """The files of a feature set that folds depend on: of the main set, else of any that has vectors."""
    main = main_set(data)
    names: tuple[str, ...] = ("cmvn_utt.scp", "utt2digest")
    if main is not None:
        folder = source_of(data) / main
    else:
        sets = sorted(
            path.parent for path in data.glob("*/utt2digest") if (path.parent / "made.json").exists()
        )
        if not sets:
            raise DataError(f"{data}: has no features; run stage 1 (steps/extract.sh)")
        folder, names = sets[0], ("utt2digest",)
    files = {name: folder / name for name in names}
    for name, path in files.items():
        if not path.exists():
            made_by = "stage 2 (steps/compute_cmvn.sh)" if name == "cmvn_utt.scp" else "stage 1 again"
            raise DataError(f"{path}: no such file; run {made_by}")
    return files


def _read_stats(path: Path) -> _Stats:
    """The statistics of all utterances."""
    reader = tables.ArkReader(path, made_by="stage 2 (steps/compute_cmvn.sh)")
    first = reader.read(next(iter(reader.places)))
    sums: Doubles = np.empty((len(reader.places), *first.shape))
    for number, key in enumerate(reader.places):
        sums[number] = reader.read(key, 2, first.shape[1])
    return _Stats(list(reader.places), sums)


def _digests(stats: _Stats | None, features: Mapping[str, Path]) -> dict[str, str]:
    """Utterance -> digest of its audio.

    Features of the same audio have the same sums, whatever its name, header or format; without features of
    frames the bytes of the recordings are compared.
    """
    if stats is None:
        return tables.read_table(features["utt2digest"])
    return {
        key: hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest()
        for key, row in zip(stats.keys, stats.sums, strict=True)
    }


# -------------------------------------------------------------------------------------------------- checks


def _check_classes(folds: Sequence[Fold], data: Path) -> None:
    """Refuse a fold with a class that it cannot learn; warn of one that it cannot test."""
    emotions = read_emotions(data / EMOTIONS)
    utt2emo = read_utt2emo(data / "utt2emo", emotions)
    problems: list[str] = []
    for fold in folds:
        for subset, names in fold.subsets.items():
            present = {utt2emo[name] for name in names}
            absent = [name for name in emotions if name not in present]
            if absent and subset == "train":
                problems.append(
                    f"{data / 'utt2emo'}: fold {fold.name} has no {', '.join(absent)} to train on; "
                    "leave the class out of conf/corpus.yaml, or choose another protocol"
                )
            elif absent:
                log.warning("fold %s: %s has no %s", fold.name, subset, ", ".join(absent))
    if problems:
        raise all_of(problems)


def check_speakers(out: Path, folds: Sequence[Fold]) -> None:
    """Make sure, from the files as written, that no speaker is in two subsets of a fold.

    Args:
        out: folder of the folds.
        folds: those to look at.

    Raises:
        DataError: speakers are in two subsets; up to three of each fold are named.
    """
    problems: list[str] = []
    for fold in folds:
        speakers = {
            subset: set(tables.read_table(out / fold.name / subset / "utt2spk").values())
            for subset in fold.subsets
        }
        for one, two in combinations(fold.subsets, 2):
            both = sorted(speakers[one] & speakers[two])
            if both:
                named = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
                problems.append(
                    f"fold {fold.name}: speaker {named} would be in {one} and in {two}; "
                    "group by speaker, or correct utt2spk and utt2session"
                )
    if problems:
        raise all_of(problems)


def check_copies(folds: Sequence[Fold], digests: Mapping[str, str], data: Path) -> None:
    """Make sure that no recording is in two subsets of a fold; warn of one that is in a subset twice.

    Args:
        folds: those to look at.
        digests: utterance -> digest of its audio.
        data: where the utterances are, for messages.

    Raises:
        DataError: recordings are in two subsets; each pair is named once.
    """
    same: dict[str, list[str]] = defaultdict(list)
    for utterance, digest in digests.items():
        same[digest].append(utterance)
    copies = [names for names in same.values() if len(names) > 1]
    if not copies:
        return
    problems: dict[tuple[str, str], str] = {}
    for fold in folds:
        subsets = {name: subset for subset, names in fold.subsets.items() for name in names}
        for names in copies:
            for one, two in combinations([name for name in names if name in subsets], 2):
                if subsets[one] != subsets[two]:
                    text = f"are the same audio, and would be in {subsets[one]} and in {subsets[two]}"
                    problems.setdefault((one, two), f"{data}: {one} and {two} {text} of fold {fold.name}")
    if problems:
        raise all_of([f"{text}; remove one of them" for text in problems.values()])
    log.warning("%s: holds %d recordings twice, such as %s", data, len(copies), " ".join(copies[0]))


# ------------------------------------------------------------------------------------------------- writing


def write_folds(path: Path, folds: Sequence[Fold]) -> None:
    """Write ``folds.tsv``: each fold, and the fold and subset whose posteriors tune it (``-`` for none)."""
    with whole_file(path) as stream:
        stream.write("fold\ttune_fold\ttune_set\n")
        stream.writelines(f"{fold.name}\t{fold.tune_fold}\t{fold.tune_set}\n" for fold in folds)


def read_folds(folds_dir: Path) -> list[FoldLine]:
    """Read ``folds.tsv`` and ``tuning.tsv``.

    Args:
        folds_dir: what :func:`make_folds` made.

    Raises:
        DataError: the first is missing, or one is no such table.
    """
    path = folds_dir / FOLDS
    text = reading.read_text(path, "run stage 2 again", missing="run stage 2")
    head, *lines = [line.split("\t") for line in text.splitlines()] or [[]]
    names = {tables.check_key(line[0], str(path)) for line in lines} | {NONE}
    if (
        head != ["fold", "tune_fold", "tune_set"]
        or not lines
        or any(
            len(line) != 3 or line[1] not in names or line[2] not in ("dev", "test", NONE) for line in lines
        )
    ):
        raise DataError(f"{path}: is no list of folds; run stage 2 again")
    others = read_tuning(folds_dir / TUNING, names)
    return [FoldLine(line[0], line[1], line[2], others.get(line[0], ())) for line in lines]


def final_folds(folds_dir: Path) -> list[str]:
    """The names of the folds that results are of, without the extra ones that fusion is tuned on.

    Raises:
        DataError: ``folds.tsv`` is missing or no such table.
    """
    lines = read_folds(folds_dir)
    extra = {line.tune_fold for line in lines if line.tune_fold != line.name}
    return [line.name for line in lines if line.name not in extra]


def _write_checks(
    path: Path, folds: Sequence[Fold], utt2spk: Mapping[str, str], digests: Mapping[str, str]
) -> None:
    """Write ``checks.tsv``: what each subset holds, and how much of it other subsets of its fold hold too."""
    with whole_file(path) as stream:
        stream.write("\t".join(_CHECKS_HEAD) + "\n")
        for fold in folds:
            speakers, recordings = (
                {subset: {table[name] for name in names} for subset, names in fold.subsets.items()}
                for table in (utt2spk, digests)
            )
            for subset, names in fold.subsets.items():
                counts = [len(names), len(speakers[subset]), len(recordings[subset])]
                for values in (speakers, recordings):
                    others = set().union(*(values[other] for other in values if other != subset))
                    counts.append(len(values[subset] & others))
                stream.write("\t".join([fold.name, subset, *map(str, counts)]) + "\n")


def _write_cmvn(
    stats: _Stats,
    utt2spk: Mapping[str, str],
    views: Mapping[Path, Sequence[str]],
    staging: Path,
    out: Path,
) -> None:
    """Write the statistics of each view's speakers, and of all of a training subset."""
    row = {key: number for number, key in enumerate(stats.keys)}
    for folder, names in views.items():
        known, index = np.unique(np.array([utt2spk[name] for name in names]), return_inverse=True)
        order = np.argsort(index, kind="stable")
        rows = np.array([row[name] for name in names])[order]
        starts = np.searchsorted(index[order], np.arange(len(known)))
        sums = np.add.reduceat(stats.sums[rows], starts, axis=0)  # (speakers, 2, F + 1)
        _write_stats(folder / "cmvn", {str(name): sums[i] for i, name in enumerate(known)}, staging, out)
        if folder.name == "train":
            _write_stats(folder / "cmvn_global", {"global": sums.sum(axis=0)}, staging, out)


def _write_stats(stem: Path, stats: Mapping[str, Doubles], staging: Path, out: Path) -> None:
    """Write one ark and its scp, which names the ark where it will be when ``staging`` has become ``out``."""
    with tables.ArkWriter(stem) as writer:
        for key in sorted(stats):
            writer.write(key, stats[key])
    scp = stem.with_name(f"{stem.name}.scp")
    now, then = str(staging.resolve()), str(out.resolve())
    tables.write_table(scp, {key: then + place[len(now) :] for key, place in tables.read_table(scp).items()})
