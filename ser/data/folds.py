"""Folds: train, dev and test subsets as views on ``data/all``.

No speaker is in two subsets of a fold, which is checked on the files as they were written, and no recording,
under whatever name, which is checked by digests of the features.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser import config as settings_io
from ser import reading
from ser.data import tables
from ser.data.changes import read_tables, table_changes
from ser.data.confounding import (
    TRAINING_SPEAKERS,
    SpeakerGroup,
    confounding_text,
    group_speakers,
    speakers_text,
    training_speakers,
    write_training_speakers,
)
from ser.data.corpus import CorpusConfig, Protocol
from ser.data.datadir import (
    COPIED,
    CUTS,
    SOURCE,
    main_set,
    make_views,
    source_of,
    up_to_date,
    utterance_tables,
    whole_dir,
)
from ser.data.division import NONE, POOLED, Fold, divide, kept_utterances, read_speaker_info, tested
from ser.data.durations import known_durations
from ser.data.files import files_below, whole_file, write_made
from ser.data.fold_checks import (
    CHECKS,
    check_classes,
    check_copies,
    find_overlaps,
    read_warnings,
    session_warnings,
    shared_sessions,
    tell,
    write_checks,
    write_notes,
    write_warnings,
)
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo
from ser.data.normalisation import NormChoice, choose_norm, norm_text, norm_warning
from ser.data.segments import recording_tables
from ser.data.tuning import TUNING, TuningSource, other_sources, read_tuning, write_tuning
from ser.errors import DataError, all_of, examples

Doubles = npt.NDArray[np.float64]
log = logging.getLogger("ser")

FOLDS = "folds.tsv"


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
    ``<out>/checks.tsv``, what was checked for leakage, ``<out>/training_speakers.tsv``, how many classes the
    training speakers show, and ``<out>/warnings.txt``, all of which are logged.  If ``data`` has a main set
    of features, each subset has CMVN statistics of its speakers (``cmvn.scp``; ``train`` also has those of
    all of it, ``cmvn_global.scp``).  A subset may have ``notes``, see :data:`ser.data.fold_checks.NOTES`.

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
    names = [*utterance_tables(data), *recording_tables(data), *COPIED, "spk2gender", CUTS]
    inputs = {file: data / file for file in names if (data / file).exists()} | features
    if up_to_date(out, settings, inputs, lambda: _changed_tables(data, out, chosen)):
        tell(read_warnings(out))
        return
    folds, lacking = plan_folds(data, config, protocol)
    utt2spk = tables.read_table(data / "utt2spk")
    stats = _read_stats(features["cmvn_utt.scp"]) if "cmvn_utt.scp" in features else None
    digests = _digests(stats, features)
    overlapping, overlap_warnings = find_overlaps(folds, data)
    facts = fold_facts(folds, data)
    warnings = [*fold_warnings(facts, lacking), *check_copies(folds, digests, data), *overlap_warnings]
    with whole_dir(out) as staging:
        views = {
            staging / fold.name / subset: keys for fold in folds for subset, keys in fold.subsets.items()
        }
        if names := tested(folds):
            views[staging / POOLED] = names
        make_views(data, views)
        if chosen.group != "utterance":
            check_speakers(staging, folds)
        write_notes(views, chosen, {staging / fold / "test" for fold in facts.shared})
        if stats is not None:
            views.pop(staging / POOLED, None)
            _write_cmvn(stats, utt2spk, views, staging, out)
        write_folds(staging / FOLDS, folds)
        if sources := other_sources(folds, utt2spk):
            write_tuning(staging / TUNING, sources)
        write_checks(staging / CHECKS, folds, utt2spk, digests, overlapping)
        write_training_speakers(staging / TRAINING_SPEAKERS, facts.groups)
        write_warnings(staging, warnings)
        write_made(staging, settings, inputs, files_below(staging))
    log.info("%s: protocol %s, folds %s", out, name, " ".join(fold.name for fold in folds))
    log.info("%s: %s", out, speakers_text(facts.groups))
    if not norm_warning(facts.choices):
        log.info("%s: %s", out, norm_text(facts.choices))
    tell(warnings)


class FoldFacts(NamedTuple):
    """What is known of folds without features."""

    folds: Sequence[Fold]
    shared: dict[str, int]  # see shared_sessions
    groups: list[SpeakerGroup]  # training speakers of the folds of the results
    choices: dict[str, NormChoice]  # the normalisation that fits each fold


def fold_facts(folds: Sequence[Fold], data: Path) -> FoldFacts:
    """Look at the sessions and the training speakers of folds of a data folder."""
    utt2spk, emotions = tables.read_table(data / "utt2spk"), read_emotions(data / EMOTIONS)
    utt2emo, durations_s = read_utt2emo(data / "utt2emo", emotions), known_durations(data)
    extra = {fold.tune_fold for fold in folds if fold.tune_fold != fold.name}
    facts = FoldFacts(folds, shared_sessions(folds, data), [], {})
    for fold in folds:
        speakers = training_speakers(fold.subsets["train"], utt2spk, utt2emo, durations_s)
        facts.choices[fold.name] = choose_norm(speakers, len(emotions))
        if fold.name not in extra:
            facts.groups.extend(group_speakers(fold.name, speakers, len(emotions)))
    return facts


def fold_warnings(facts: FoldFacts, lacking: Sequence[str]) -> list[str]:
    """What of folds a user must know that needs no features; ``lacking`` is of :func:`plan_folds`."""
    return [
        *lacking,
        *session_warnings(facts.folds, facts.shared),
        *filter(None, (confounding_text(facts.groups), norm_warning(facts.choices))),
    ]


def plan_folds(data: Path, config: CorpusConfig, protocol: str | None = None) -> tuple[list[Fold], list[str]]:
    """The folds of a protocol, checked as far as that can be done without features, and warnings of classes.

    Args:
        data: a data folder, of which ``utt2spk``, ``utt2emo``, ``emotions.txt`` and the table of the
            protocol's groups are read.
        config: the corpus.
        protocol: the name of the protocol; None takes the default one.

    Raises:
        ConfigError: there is no such protocol, or it names groups that do not exist.
        DataError: too few speakers, a class has nothing to train on, or a speaker would be in two subsets.
    """
    name, chosen = config.named_protocol(protocol)
    utt2spk = tables.read_table(data / "utt2spk", made_by="stage 0")
    utterances = kept_utterances(data, utt2spk, chosen.keep)
    speakers = read_speaker_info(data, utt2spk, chosen, utterances)
    folds = divide(name, chosen, speakers, data, config.protocols)
    lacking = check_classes(folds, data, config.source)
    if chosen.group != "utterance":
        _refuse_shared(
            {
                fold.name: {
                    subset: {utt2spk[name] for name in names} for subset, names in fold.subsets.items()
                }
                for fold in folds
            }
        )
    return folds, lacking


def _changed_tables(data: Path, out: Path, protocol: Protocol) -> list[str]:
    """What differs between the tables of a data folder and their copies in folds, in words."""
    names = utterance_tables(data)
    kept = set(kept_utterances(data, tables.read_table(data / "utt2spk"), protocol.keep))
    new = {
        name: {key: value for key, value in table.items() if key in kept}
        for name, table in read_tables(data, names).items()
    }
    old: dict[str, dict[str, str]] = {}
    folds = sorted(path.parent.parent for path in out.glob(f"*/train/{SOURCE}"))
    for view in sorted(path.parent for fold in folds[:1] for path in fold.glob(f"*/{SOURCE}")):  # has all
        for name, table in read_tables(view, utterance_tables(view)).items():
            old.setdefault(name, {}).update(table)
    return table_changes(old, new) if "utt2spk" in old else []


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

    Features of the same audio have the same sums, whatever its name, header or format; silence is no audio,
    and the same as none.  Without features of frames the bytes of the recordings are compared.
    """
    if stats is None:
        return tables.read_table(features["utt2digest"])
    sums, squares, numbers = stats.sums[:, 0, :-1], stats.sums[:, 1, :-1], stats.sums[:, 0, -1:]
    constant = np.all(np.isclose(squares * numbers, sums**2, rtol=1e-9, atol=0), axis=1)  # (N,)
    return {
        key: hashlib.blake2b(key.encode() if silent else row.tobytes(), digest_size=16).hexdigest()
        for key, row, silent in zip(stats.keys, stats.sums, constant.tolist(), strict=True)
    }


# -------------------------------------------------------------------------------------------------- checks


def check_speakers(out: Path, folds: Sequence[Fold]) -> None:
    """Make sure, from the files as written, that no speaker is in two subsets of a fold.

    Args:
        out: folder of the folds.
        folds: those to look at.

    Raises:
        DataError: speakers are in two subsets; up to three of each fold are named.
    """
    _refuse_shared(
        {
            fold.name: {
                subset: set(tables.read_table(out / fold.name / subset / "utt2spk").values())
                for subset in fold.subsets
            }
            for fold in folds
        }
    )


def _refuse_shared(speakers: Mapping[str, Mapping[str, set[str]]]) -> None:
    """Refuse speakers in two subsets of a fold, given fold -> subset -> its speakers."""
    problems: list[str] = []
    for fold, subsets in speakers.items():
        for one, two in combinations(subsets, 2):
            both = sorted(subsets[one] & subsets[two])
            if both:
                problems.append(
                    f"fold {fold}: speaker {examples(both)} would be in {one} and in {two}; "
                    "group by speaker, or correct utt2spk, utt2session or utt2fold (the column fold of a "
                    "table)"
                )
    if problems:
        raise all_of(problems)


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
