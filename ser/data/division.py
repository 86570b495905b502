"""Who is trained on, tuned on and tested on: the division that a protocol of the corpus asks for."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ser.data import split, tables
from ser.data.corpus import Keep, Protocol
from ser.data.kfold import deal_out
from ser.errors import ConfigError, DataError

log = logging.getLogger("ser")

POOLED = "pooled"  # no fold may have this name
NONE = "-"
_GROUP_TABLES = {"session": "utt2session", "fold": "utt2fold"}
_KEEP_TABLES = {"speaker": "utt2spk", "class": "utt2emo"}  # any other attribute x stands in utt2x


@dataclass(frozen=True)
class Fold:
    """One division of the utterances."""

    name: str
    subsets: dict[str, list[str]]  # "train", "dev" if any, "test" if any -> utterances, sorted
    tune_fold: str = NONE  # the fold whose posteriors tune this one's fusion, ...
    tune_set: str = NONE  # ... and the subset of it they are of


@dataclass(frozen=True)
class SpeakerInfo:
    """The speaker of each utterance, and what is known of them."""

    utt2spk: dict[str, str]
    utt2group: dict[str, str]
    genders: dict[str, str]  # speaker -> f or m; empty if not known
    utt2class: dict[str, str] = field(default_factory=dict)  # only if folds are drawn


def divide(
    name: str,
    protocol: Protocol,
    speakers: SpeakerInfo,
    data: Path,
    known: Mapping[str, Protocol] | None = None,
) -> list[Fold]:
    """The folds of a protocol, in the order of their names, each extra fold behind the one it tunes.

    Folds whose names are those of subsets, however spelt, are a fixed split, not folds to test on in turn.

    Args:
        name: of the protocol, and of its fold if it has only one.
        protocol: who is tested on, and how many speakers tune.
        speakers: of the utterances that the protocol keeps.
        data: where that was read, for messages.
        known: all protocols of the corpus, to name another one in messages.

    Raises:
        ConfigError: the protocol tests on a group that does not exist.
        DataError: too few speakers are left, or too few groups for the number of folds.
    """
    if protocol.test == "none":
        return [Fold(name, {"train": list(speakers.utt2group)})]
    groups = sorted(set(speakers.utt2group.values()))
    by_utterance = _by_utterance(known or {})
    if protocol.drawn is not None:
        if problem := _too_few(name, protocol, len(groups), by_utterance):
            raise DataError(f"{data}: {problem}")
        tests = deal_out(
            speakers.utt2group, speakers.utt2class, protocol.drawn["folds"], protocol.drawn["seed"]
        )
    elif protocol.test == "each":
        fixed = split.fixed_split(groups, str(data / "utt2fold")) if protocol.group == "fold" else {}
        if "dev" in fixed:
            return [_fixed(fixed, speakers)]
        if fixed:
            tests = {split.FOLD: set(fixed["test"])}
        elif len(groups) < 2:
            way = by_utterance if protocol.group == "speaker" else "take a protocol with group: speaker"
            raise DataError(
                f"{data}: has only the {protocol.group} {groups[0]}, nothing would be left to train on; {way}"
            )
        else:
            tests = {group: {group} for group in groups}
    else:
        tests = _listed(name, protocol, groups, data)
    folds = [
        fold
        for test, members in tests.items()
        for fold in _divide(test, members, (name, protocol), speakers, data)
    ]
    names = Counter([POOLED, *(fold.name for fold in folds)])
    twice = [fold for fold, number in names.items() if number > 1]
    if twice:
        raise DataError(f"{data}: two folds would be named {', '.join(twice)}; rename the {protocol.group}")
    return folds


def _fixed(fixed: Mapping[str, Sequence[str]], speakers: SpeakerInfo) -> Fold:
    """The fold of a split that has a dev subset of its own."""
    subsets = {
        subset: [name for name, group in speakers.utt2group.items() if group in names]
        for subset, names in fixed.items()
    }
    return Fold(split.FOLD, subsets, split.FOLD, "dev")


def _by_utterance(known: Mapping[str, Protocol]) -> str:
    """What to do where there are too few speakers."""
    name = next((name for name, protocol in known.items() if protocol.group == "utterance"), None)
    way = (
        f"--protocol {name}"
        if name
        else "a protocol with group: utterance, such as kfold_utterances of egs/csv"
    )
    return f"take {way} (its numbers are speaker-dependent)"


def _too_few(name: str, protocol: Protocol, num_groups: int, by_utterance: str) -> str:
    """What is wrong if there are fewer groups than folds are to be drawn, and what to do; else ""."""
    assert protocol.drawn is not None
    num_folds = protocol.drawn["folds"]
    if num_groups >= num_folds:
        return ""
    remedy = (
        f"--set corpus:protocols.{name}.test.folds={num_groups} makes as many folds"
        if num_groups > 1
        else by_utterance
    )
    what = f"{num_groups} {protocol.group}{'s' if num_groups > 1 else ''}"
    return f"has {what}, too few for {num_folds} folds; {remedy}"


def _listed(name: str, protocol: Protocol, groups: Sequence[str], data: Path) -> dict[str, set[str]]:
    """Fold -> the groups that it tests on, of folds that the settings list."""
    for group in (group for listed in protocol.listed.values() for group in listed):
        if group not in groups:
            near = difflib.get_close_matches(group, groups, n=1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(groups)}"
            raise ConfigError(f"protocols.{name}.test: {data} has no {protocol.group} {group}; {meant}")
    return {fold or name: set(listed) for fold, listed in sorted(protocol.listed.items())}


def _divide(
    name: str, test: set[str], named: tuple[str, Protocol], speakers: SpeakerInfo, data: Path
) -> Iterator[Fold]:
    """The fold that tests on the groups ``test``, and the extra one it is tuned on, if any."""
    setting, protocol = f"corpus:protocols.{named[0]}", named[1]
    tables.check_key(name, str(data))
    subsets: dict[str, list[str]] = {"train": [], "test": []}
    for utterance, group in speakers.utt2group.items():
        subsets["test" if group in test else "train"].append(utterance)
    if not subsets["train"]:
        raise DataError(f"{data}: fold {name} tests on every {protocol.group}, nothing is left to train on")
    if protocol.dev is None:
        yield Fold(name, subsets)
        return
    rest = {speakers.utt2spk[utterance] for utterance in subsets["train"]}
    tested = {speakers.utt2spk[utterance] for utterance in subsets["test"]}
    if protocol.dev.speakers >= len(rest):
        fewer = f"--set {setting}.dev.speakers={len(rest) - 1}, or " if len(rest) > 1 else ""
        raise DataError(
            f"{data}: fold {name} has {len(rest)} training speaker{'s' if len(rest) > 1 else ''}, "
            f"{protocol.dev.speakers} cannot be taken for tuning; {fewer}--set {setting}.dev=null tunes "
            "nothing"
        )
    chosen = set(pick_dev_speakers(rest, tested, speakers.genders, protocol.dev.speakers))
    dev = [utterance for utterance in subsets["train"] if speakers.utt2spk[utterance] in chosen]
    train = [utterance for utterance in subsets["train"] if speakers.utt2spk[utterance] not in chosen]
    if protocol.dev.refit:
        yield Fold(name, subsets, f"{name}-dev", "test")
        yield Fold(f"{name}-dev", {"train": train, "test": dev})
    else:
        yield Fold(name, {"train": train, "dev": dev, "test": subsets["test"]}, name, "dev")


def pick_dev_speakers(
    candidates: Iterable[str], tested: Iterable[str], genders: Mapping[str, str], number: int
) -> list[str]:
    """Speakers for tuning: the next ones behind the tested, going round, women and men in turn.

    Args:
        candidates: the speakers to choose from.
        tested: the speakers of the test subset.
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


def kept_utterances(data: Path, utt2spk: Mapping[str, str], keep: Keep) -> list[str]:
    """The utterances that a protocol's ``keep`` allows, sorted.

    Raises:
        ConfigError: ``keep`` names a value that no utterance has.
        DataError: the corpus does not have the attribute, or no utterance is left.
    """
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


def read_speaker_info(
    data: Path, utt2spk: Mapping[str, str], protocol: Protocol, utterances: Sequence[str]
) -> SpeakerInfo:
    """The speakers of ``utterances``, their groups and their genders.

    Raises:
        DataError: the corpus does not have the protocol's groups.
    """
    path = data / _GROUP_TABLES.get(protocol.group, "utt2spk")
    if protocol.group == "speaker":
        groups = dict(utt2spk)
    elif protocol.group == "utterance":
        groups = {name: name for name in utt2spk}
    elif path.exists():
        groups = tables.read_table(path)
        tables.same_keys(groups, path, utt2spk, data / "utt2spk")
    else:
        name = protocol.group
        raise DataError(
            f"{data}: the corpus has no {name}s; in a table of recordings, rename the column that holds them "
            f"to {name}, or add one, or take a protocol with group: speaker"
        )
    gender_path = data / "spk2gender"
    genders = tables.read_table(gender_path) if gender_path.exists() else {}
    classes = tables.read_table(data / "utt2emo", made_by="stage 0") if protocol.drawn is not None else {}
    if classes:
        tables.same_keys(classes, data / "utt2emo", utt2spk, data / "utt2spk")
    return SpeakerInfo(
        {name: utt2spk[name] for name in utterances},
        {name: groups[name] for name in utterances},
        genders,
        {name: classes[name] for name in utterances if classes},
    )


def tested(folds: Sequence[Fold]) -> list[str]:
    """All utterances that the folds test on, without those of extra folds for tuning; sorted."""
    extra = {fold.tune_fold for fold in folds if fold.tune_fold != fold.name}
    return sorted({name for fold in folds if fold.name not in extra for name in fold.subsets.get("test", ())})
