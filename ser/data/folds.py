"""Folds: who is trained on, tuned on and tested on, as views on ``data/all``.

No speaker is in two parts of a fold, which is checked on the files as they were written, and no recording,
under whatever name, which is checked by digests of the features.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser import config as settings_io
from ser.data import tables
from ser.data.corpus import CorpusConfig, Keep, Protocol
from ser.data.datadir import COPIED, make_views, up_to_date, utterance_tables, whole_dir
from ser.data.files import whole_file, write_made
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo
from ser.errors import ConfigError, DataError, all_of

Doubles = npt.NDArray[np.float64]
log = logging.getLogger("ser")

FOLDS, POOLED, CHECKS = "folds.tsv", "pooled", "checks.tsv"
NONE = "-"
_GROUP_TABLES = {"speaker": "utt2spk", "session": "utt2session", "fold": "utt2fold"}
_KEEP_TABLES = {"speaker": "utt2spk", "class": "utt2emo"}  # any other attribute x stands in utt2x


@dataclass(frozen=True)
class Fold:
    """One division of the utterances."""

    name: str
    parts: dict[str, list[str]]  # "train", "dev" if any, "test" -> utterances, sorted
    tune_fold: str = NONE  # the fold whose posteriors tune this one's fusion, ...
    tune_set: str = NONE  # ... and the part of it they are of


@dataclass(frozen=True)
class People:
    """Who spoke what."""

    utt2spk: dict[str, str]
    utt2group: dict[str, str]
    genders: dict[str, str]  # speaker -> f or m; empty if not known


def make_folds(data: Path, out: Path, config: CorpusConfig, protocol: str | None = None) -> None:
    """Divide a data folder as a protocol of ``conf/corpus.yaml`` says.

    Writes ``<out>/<fold>/{train,dev,test}``, each a data folder with CMVN statistics of its speakers
    (``cmvn.scp``; ``train`` also has those of all of it, ``cmvn_global.scp``), ``<out>/pooled``, all that the
    folds test on together, ``<out>/folds.tsv``, and ``<out>/checks.tsv``, what was checked for leakage.

    Args:
        data: a data folder with features and ``cmvn_utt.scp``.
        out: the folder to make, as a whole; a finished one is left alone if it is the same.
        config: the corpus.
        protocol: the name of the protocol; None takes the default one.

    Raises:
        ConfigError: there is no such protocol, or it names groups that do not exist.
        StaleError: ``out`` was made otherwise.
        DataError: ``data`` is not complete, a class has nothing to train on, or a speaker or a recording
            would be in two parts.
    """
    name, chosen = config.named_protocol(protocol)
    stats = tables.ArkReader(data / "cmvn_utt.scp", made_by="stage 2 (steps/compute_cmvn.sh)")
    settings = {"protocol": name, **settings_io.to_dict(chosen)}
    tables_used = [*utterance_tables(data), *COPIED, "spk2gender"]
    inputs = {file: data / file for file in tables_used if (data / file).exists()}
    if up_to_date(out, settings, inputs):
        return
    utt2spk = tables.read_table(data / "utt2spk", made_by="stage 0")
    utterances = _kept(data, utt2spk, chosen.keep)
    folds = plan(name, chosen, _read_people(data, utt2spk, chosen, utterances), data)
    _check_classes(folds, data)
    every = _read_stats(stats)
    # features of the same audio have the same sums, whatever its name, header or format
    digests = {
        key: hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest()
        for key, row in zip(stats.places, every, strict=True)
    }
    check_copies(folds, digests, data)
    with whole_dir(out) as part:
        views = {part / fold.name / where: names for fold in folds for where, names in fold.parts.items()}
        make_views(data, {**views, part / POOLED: tested(folds)})
        check_speakers(part, folds)
        _write_cmvn(every, list(stats.places), utt2spk, views, part, out)
        write_folds(part / FOLDS, folds)
        _write_checks(part / CHECKS, folds, utt2spk, digests)
        write_made(part, settings, inputs)
    log.info("%s: protocol %s, folds %s", out, name, " ".join(fold.name for fold in folds))


# ------------------------------------------------------------------------------------------------- planning


def plan(name: str, protocol: Protocol, people: People, data: Path) -> list[Fold]:
    """The folds of a protocol, in the order of their names, each extra fold behind the one it tunes.

    Args:
        name: of the protocol, and of its fold if it has only one.
        protocol: who is tested on, and how many speakers tune.
        people: who spoke what.
        data: where that was read, for messages.

    Raises:
        ConfigError: the protocol tests on a group that does not exist.
        DataError: too few speakers are left.
    """
    groups = sorted(set(people.utt2group.values()))
    if protocol.test == "each":
        if len(groups) < 2:
            raise DataError(
                f"{data}: has only the {protocol.group} {groups[0]}, nothing would be left to train on"
            )
        tests = {group: {group} for group in groups}
    else:
        lists = protocol.test if isinstance(protocol.test, dict) else {name: protocol.test}
        for group in (group for listed in lists.values() for group in listed):
            if group not in groups:
                near = difflib.get_close_matches(group, groups, n=1)
                meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(groups)}"
                raise ConfigError(f"protocols.{name}.test: {data} has no {protocol.group} {group}; {meant}")
        tests = {fold: set(listed) for fold, listed in sorted(lists.items())}
    folds = [
        fold for test, members in tests.items() for fold in _divide(test, members, protocol, people, data)
    ]
    names = Counter([POOLED, *(fold.name for fold in folds)])
    twice = [fold for fold, number in names.items() if number > 1]
    if twice:
        raise DataError(f"{data}: two folds would be named {', '.join(twice)}; rename the {protocol.group}")
    return folds


def _divide(name: str, test: set[str], protocol: Protocol, people: People, data: Path) -> Iterator[Fold]:
    """The fold that tests on the groups ``test``, and the extra one it is tuned on, if any."""
    tables.check_key(name, str(data))
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for utterance, group in people.utt2group.items():
        parts["test" if group in test else "train"].append(utterance)
    if not parts["train"]:
        raise DataError(f"{data}: fold {name} tests on every {protocol.group}, nothing is left to train on")
    if protocol.dev is None:
        yield Fold(name, parts)
        return
    rest = {people.utt2spk[utterance] for utterance in parts["train"]}
    tested = {people.utt2spk[utterance] for utterance in parts["test"]}
    if protocol.dev.speakers >= len(rest):
        raise DataError(
            f"{data}: fold {name} has {len(rest)} training speakers, {protocol.dev.speakers} cannot be taken "
            f"for tuning; lower dev.speakers of the protocol"
        )
    chosen = set(pick_dev_speakers(rest, tested, people.genders, protocol.dev.speakers))
    dev = [utterance for utterance in parts["train"] if people.utt2spk[utterance] in chosen]
    train = [utterance for utterance in parts["train"] if people.utt2spk[utterance] not in chosen]
    if protocol.dev.refit:
        yield Fold(name, parts, f"{name}-dev", "test")
        yield Fold(f"{name}-dev", {"train": train, "test": dev})
    else:
        yield Fold(name, {"train": train, "dev": dev, "test": parts["test"]}, name, "dev")


def pick_dev_speakers(
    candidates: Iterable[str], tested: Iterable[str], genders: Mapping[str, str], number: int
) -> list[str]:
    """Speakers for tuning: the next ones behind the tested, going round, women and men in turn.

    Args:
        candidates: the speakers to choose from.
        tested: the speakers of the test part.
        genders: speaker -> f or m; empty if not known.
        number: how many, fewer than ``candidates``.

    >>> pick_dev_speakers(["01", "02", "04", "05"], ["03"], {"01": "f", "02": "m", "04": "m", "05": "m"}, 2)
    ['04', '01']
    """
    last = max(tested)
    ring = sorted(candidates, key=lambda speaker: (speaker < last, speaker))
    chosen: list[str] = []
    while len(chosen) < number:
        counts = Counter(genders.get(speaker, "") for speaker in chosen)
        left = [speaker for speaker in ring if speaker not in chosen]
        fewest = min(counts[genders.get(speaker, "")] for speaker in left)
        chosen.append(next(speaker for speaker in left if counts[genders.get(speaker, "")] == fewest))
    return chosen


def _kept(data: Path, utt2spk: Mapping[str, str], keep: Keep) -> list[str]:
    """The utterances that a protocol's ``keep`` allows, sorted."""
    names = list(utt2spk)
    total = len(names)
    for attribute, values in keep.items():
        path = data / _KEEP_TABLES.get(attribute, f"utt2{attribute}")
        if attribute == "gender":
            genders = tables.read_table(
                data / "spk2gender", made_by="stage 0, with a corpus that has genders"
            )
            table = {name: genders[utt2spk[name]] for name in names}
        else:
            table = tables.read_table(
                path, made_by=f"stage 0, with a corpus that has the attribute {attribute}"
            )
        unknown = sorted(set(values) - set(table.values()))
        if unknown:
            raise ConfigError(
                f"keep.{attribute}: no utterance of {data} has {', '.join(unknown)}; "
                f"known are {', '.join(sorted(set(table.values()))[:10])}"
            )
        names = [name for name in names if table.get(name) in values]
    if not names:
        raise DataError(f"{data}: keep leaves no utterance; correct keep of the protocol")
    if keep:
        log.info("%s: the protocol keeps %d of %d utterances", data, len(names), total)
    return names


def _read_people(
    data: Path, utt2spk: Mapping[str, str], protocol: Protocol, utterances: Sequence[str]
) -> People:
    path = data / _GROUP_TABLES[protocol.group]
    if protocol.group == "speaker":
        groups = dict(utt2spk)
    elif path.exists():
        groups = tables.read_table(path)
        tables.same_keys(groups, path, utt2spk, data / "utt2spk")
    else:
        raise DataError(
            f"{path}: no such file, the corpus has no {protocol.group}s; take a protocol with group: speaker"
        )
    gender_path = data / "spk2gender"
    genders = tables.read_table(gender_path) if gender_path.exists() else {}
    return People(
        {name: utt2spk[name] for name in utterances}, {name: groups[name] for name in utterances}, genders
    )


def tested(folds: Sequence[Fold]) -> list[str]:
    """All utterances that the folds test on, without those of extra folds for tuning; sorted."""
    extra = {fold.tune_fold for fold in folds if fold.tune_fold != fold.name}
    return sorted({name for fold in folds if fold.name not in extra for name in fold.parts["test"]})


# -------------------------------------------------------------------------------------------------- checks


def _check_classes(folds: Sequence[Fold], data: Path) -> None:
    """Refuse a fold with a class that it cannot learn; warn of one that it cannot test."""
    emotions = read_emotions(data / EMOTIONS)
    utt2emo = read_utt2emo(data / "utt2emo", emotions)
    problems: list[str] = []
    for fold in folds:
        for where, names in fold.parts.items():
            found = {utt2emo[name] for name in names}
            absent = [name for name in emotions if name not in found]
            if absent and where == "train":
                problems.append(
                    f"{data / 'utt2emo'}: fold {fold.name} has no {', '.join(absent)} to train on; "
                    "leave the class out of conf/corpus.yaml, or choose another protocol"
                )
            elif absent:
                log.warning("fold %s: %s has no %s", fold.name, where, ", ".join(absent))
    if problems:
        raise all_of(problems)


def check_speakers(out: Path, folds: Sequence[Fold]) -> None:
    """Make sure, from the files as written, that no speaker is in two parts of a fold.

    Args:
        out: folder of the folds.
        folds: those to look at.

    Raises:
        DataError: some are; up to three of each fold are named.
    """
    problems: list[str] = []
    for fold in folds:
        speakers = {
            where: set(tables.read_table(out / fold.name / where / "utt2spk").values())
            for where in fold.parts
        }
        for one, two in combinations(fold.parts, 2):
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
    """Make sure that no recording is in two parts of a fold; warn of one that stands twice in a part.

    Args:
        folds: those to look at.
        digests: utterance -> digest of its features.
        data: where the utterances are, for messages.

    Raises:
        DataError: some are; each pair is named once.
    """
    same: dict[str, list[str]] = defaultdict(list)
    for utterance, digest in digests.items():
        same[digest].append(utterance)
    copies = [names for names in same.values() if len(names) > 1]
    if not copies:
        return
    problems: dict[tuple[str, str], str] = {}
    for fold in folds:
        where = {name: part for part, names in fold.parts.items() for name in names}
        for names in copies:
            for one, two in combinations([name for name in names if name in where], 2):
                if where[one] != where[two]:
                    text = f"are the same audio, and would be in {where[one]} and in {where[two]}"
                    problems.setdefault((one, two), f"{data}: {one} and {two} {text} of fold {fold.name}")
    if problems:
        raise all_of([f"{text}; remove one of them" for text in problems.values()])
    log.warning("%s: %d recordings stand there twice, such as %s", data, len(copies), " ".join(copies[0]))


# ------------------------------------------------------------------------------------------------- writing


def write_folds(path: Path, folds: Sequence[Fold]) -> None:
    """Write ``folds.tsv``: each fold, and the fold and part whose posteriors tune it (``-`` for none)."""
    with whole_file(path) as stream:
        stream.write("fold\ttune_fold\ttune_set\n")
        stream.writelines(f"{fold.name}\t{fold.tune_fold}\t{fold.tune_set}\n" for fold in folds)


def _write_checks(
    path: Path, folds: Sequence[Fold], utt2spk: Mapping[str, str], digests: Mapping[str, str]
) -> None:
    """Write ``checks.tsv``: what each part holds, and how much of that other parts of its fold hold too."""
    with whole_file(path) as stream:
        stream.write("fold\tpart\tutterances\tspeakers\trecordings\tshared_speakers\tshared_recordings\n")
        for fold in folds:
            speakers, recordings = (
                {part: {table[name] for name in names} for part, names in fold.parts.items()}
                for table in (utt2spk, digests)
            )
            for part, names in fold.parts.items():
                counts = [len(names), len(speakers[part]), len(recordings[part])]
                for held in (speakers, recordings):
                    others = set().union(*(held[other] for other in held if other != part))
                    counts.append(len(held[part] & others))
                stream.write("\t".join([fold.name, part, *map(str, counts)]) + "\n")


def _read_stats(reader: tables.ArkReader) -> Doubles:
    """The statistics of all utterances, (N, 2, F + 1)."""
    first = reader.read(next(iter(reader.places)))
    every: Doubles = np.empty((len(reader.places), *first.shape))
    for number, key in enumerate(reader.places):
        every[number] = reader.read(key, 2, first.shape[1])
    return every


def _write_cmvn(
    every: Doubles,
    keys: Sequence[str],
    utt2spk: Mapping[str, str],
    views: Mapping[Path, Sequence[str]],
    part: Path,
    out: Path,
) -> None:
    """Write the statistics of each view's speakers, and of all of a training part."""
    row = {key: number for number, key in enumerate(keys)}
    for folder, names in views.items():
        known, index = np.unique(np.array([utt2spk[name] for name in names]), return_inverse=True)
        order = np.argsort(index, kind="stable")
        rows = np.array([row[name] for name in names])[order]
        starts = np.searchsorted(index[order], np.arange(len(known)))
        sums = np.add.reduceat(every[rows], starts, axis=0)  # (speakers, 2, F + 1)
        _write_stats(folder / "cmvn", {str(name): sums[i] for i, name in enumerate(known)}, part, out)
        if folder.name == "train":
            _write_stats(folder / "cmvn_global", {"global": sums.sum(axis=0)}, part, out)


def _write_stats(stem: Path, stats: Mapping[str, Doubles], part: Path, out: Path) -> None:
    """Write one ark and its scp, which names the ark where it will be when ``part`` has become ``out``."""
    with tables.ArkWriter(stem) as writer:
        for key in sorted(stats):
            writer.write(key, stats[key])
    scp = stem.with_name(f"{stem.name}.scp")
    now, then = str(part.resolve()), str(out.resolve())
    tables.write_table(scp, {key: then + place[len(now) :] for key, place in tables.read_table(scp).items()})
