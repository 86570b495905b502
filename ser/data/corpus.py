"""A corpus as an experiment sees it: ``conf/corpus.yaml``, its classes, labels, audio and protocols."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from ser import config, reading
from ser.data.tables import check_key
from ser.errors import ConfigError, DataError
from ser.ranges import Range

RESOLVED = "with its base and all overrides; written by `ser plan`."  # ends the first line of such a file
MAX_RATE_HZ = 384_000  # the highest sampling rate that a recording may have
Channel = Annotated[int, Range(0, 1023)]
ChannelChoice = tuple[Channel, ...] | Literal["mix"] | Channel | None
Field = Literal["emotion", "speaker", "session", "fold"]
Keep = dict[str, tuple[str, ...]]
KFOLD = {"folds": Range(2, 1000), "seed": Range(0, 2**31 - 1)}  # the keys of a test that is drawn
ALL = "all"  # the protocol that needs no settings
Test = Literal["each", "none"] | dict[str, tuple[str, ...]] | dict[str, int] | tuple[str, ...]


@dataclass(frozen=True)
class AudioConfig:
    """What the recordings must be, and what may be done when they are something else."""

    sampling_rate_hz: Annotated[int, Range(1, 768000)]  # of the features' input
    # which channel of a recording, from 0; a list: the first of them that it has, so that [1, 0] takes mono
    # files too; mix: the mean of all; null: the only one, a recording with several is refused
    channel: ChannelChoice
    resample: Literal["refuse", "convert"]  # a recording with another sampling rate

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        if self.channel == ():
            raise ValueError("channel must name at least one channel")


def channels_of(choice: ChannelChoice, num_channels: int) -> list[int]:
    """The channels whose mean is taken of a recording: one, or all of a mix.

    Args:
        choice: ``audio.channel``.
        num_channels: of the recording.

    Raises:
        ValueError: the recording is refused; says why and what to do.

    >>> [channels_of(choice, 2) for choice in (1, (2, 0), "mix")]
    [[1], [0], [0, 1]]
    """
    if choice == "mix":
        return list(range(num_channels))
    remedy = "set audio.channel to"
    if choice is None:
        if num_channels > 1:
            ways = f"the one to use, 0 to {num_channels - 1}, or to mix"
            raise ValueError(f"has {num_channels} channels; {remedy} {ways}")
        return [0]
    wanted = choice if isinstance(choice, tuple) else (choice,)
    chosen = [number for number in wanted if number < num_channels][:1]
    if not chosen:
        has = "1 channel" if num_channels == 1 else f"{num_channels} channels"
        names, more = " or ".join(map(str, wanted)), ", ".join(map(str, [*wanted, 0]))
        raise ValueError(
            f"has {has}, so there is no channel {names}; {remedy} [{more}] to take 0 of such a one"
        )
    return chosen


@dataclass(frozen=True)
class CorpusAudio(AudioConfig):
    """What the recordings of a corpus must be, and what becomes of those that spoil it."""

    # recordings with a lower sampling rate than the others: their upper filters hold next to nothing
    on_mixed_rate: Literal["warn", "refuse", "drop"]
    on_silent: Literal["warn", "refuse", "drop"]  # utterances whose chosen channel is below -70 dBFS


@dataclass(frozen=True)
class DevConfig:
    """The development subset of a fold: speakers taken out of its training subset."""

    speakers: Annotated[int, Range(1, 1000000)]  # how many
    refit: bool  # true: tune in an extra fold, then train on all of the training subset


@dataclass(frozen=True)
class Protocol:
    """How a corpus is split into training, development and test subsets."""

    group: Literal["speaker", "session", "fold", "utterance"]  # what stays together; utterance: nothing
    # "each" group in turn, "none" (one fold that trains on all), one fold that tests on these groups, fold ->
    # groups it tests on, or {folds: k, seed: n}: k folds of groups, drawn so that each has its share of every
    # class
    test: Test
    dev: DevConfig | None  # null: no dev subset
    keep: Keep  # attribute -> allowed values, for this protocol only

    def __post_init__(self) -> None:
        """Refuse an empty or repeating test list, and dev speakers where nothing keeps speakers together."""
        if self.drawn is not None:
            _check_drawn(self.drawn)
        elif self.group == "utterance":
            raise ValueError("test must be {folds: k, seed: n} where group is utterance")
        elif self.test == "none":
            if self.dev is not None:
                raise ValueError("dev must be null where test is none, which trains on all")
        elif not self.test or not all(self.listed.values()):
            raise ValueError(f"test must be 'each', 'none', or name at least one {self.group}")
        if self.group == "utterance" and self.dev is not None:
            raise ValueError("dev must be null where group is utterance")
        named = [group for groups in self.listed.values() for group in groups]
        twice = sorted({group for group in named if named.count(group) > 1})
        if twice:
            raise ValueError(f"test names a {self.group} twice: {', '.join(twice)}")
        _check_keep(self.keep)

    @property
    def drawn(self) -> dict[str, int] | None:
        """``folds`` and ``seed``, if the folds are drawn."""
        if not isinstance(self.test, dict):
            return None
        return {key: value for key, value in self.test.items() if isinstance(value, int)} or None

    @property
    def listed(self) -> dict[str, tuple[str, ...]]:
        """Fold -> the groups it tests on, where they are listed; one list is that of a fold named ``""``."""
        if isinstance(self.test, dict):
            return {fold: groups for fold, groups in self.test.items() if not isinstance(groups, int)}
        return {} if isinstance(self.test, str) else {"": self.test}


@dataclass(frozen=True)
class CorpusConfig:
    """``conf/corpus.yaml``: all that makes one corpus differ from another."""

    name: str  # of the corpus; the variable of this name (IEMOCAP) may say where its release is
    module: str  # what reads the release: a name of ser.corpora.CORPORA, or my_package.my_module:NAME
    classes: tuple[str, ...]  # the class order, place = index
    labels: dict[str, str]  # the release's label -> class; utterances with another label are left out
    audio: CorpusAudio
    keep: Keep  # attribute -> allowed values
    protocol: str  # the one taken when --protocol names none
    protocols: dict[str, Protocol]
    # attribute -> value -> expected number of utterances
    checks: dict[str, dict[str, Annotated[int, Range(0, 1000000000)]]] | None
    # of lhotse manifests, may be left out: emotion, speaker, session, fold -> the field of custom that has it
    fields: dict[Field, str] | None = None
    source: str = field(default="conf/corpus.yaml", compare=False)  # no key: the file that messages name

    def __post_init__(self) -> None:
        """Refuse names that are no file names; class lists, labels and protocols that do not fit together."""
        for what, names in (("name", (self.name,)), ("classes", self.classes), ("protocols", self.protocols)):
            _check_names(what, names)
        _check_classes(self.classes, self.labels)
        _check_keep(self.keep)
        if self.protocol not in self.all_protocols:
            raise ValueError(_unknown("protocol", self.protocol, self.all_protocols))

    @property
    def all_protocols(self) -> dict[str, Protocol]:
        """Its own, and ``all``, which every corpus has: train on all speakers, for a model to take away."""
        return {ALL: Protocol(group="speaker", test="none", dev=None, keep={}), **self.protocols}

    def named_protocol(self, name: str | None) -> tuple[str, Protocol]:
        """The protocol of that name, or the default one, with its name.

        Raises:
            ConfigError: no protocol has that name.
        """
        name = self.protocol if name is None else name
        if name not in self.all_protocols:
            raise ConfigError(_unknown("--protocol", name, self.all_protocols))
        return name, self.all_protocols[name]


def load_corpus(path: Path, overrides: Sequence[str] = ()) -> CorpusConfig:
    """Read ``conf/corpus.yaml``.

    Args:
        path: the settings file.
        overrides: ``"a.b=value"`` each, as of ``--set``.

    Raises:
        ConfigError: what :func:`ser.config.load` refuses, or settings that do not fit together.
    """
    return replace(config.load(CorpusConfig, path, overrides), source=written_from(path))


def written_from(path: Path) -> str:
    """The settings file that somebody wrote: of one of ``ser plan``'s the file that it was resolved from."""
    first, _, _ = reading.read_text(path, "name a YAML file", ConfigError).partition("\n")
    match = re.fullmatch(rf"# (.+) {re.escape(RESOLVED)}", first)
    return match[1] if match else str(path)


def _check_names(what: str, names: Iterable[str]) -> None:
    for name in names:
        try:
            check_key(name, what)
        except DataError as error:
            raise ValueError(str(error).partition(";")[0]) from error


def _check_classes(classes: tuple[str, ...], labels: Mapping[str, str]) -> None:
    if len(classes) < 2:
        raise ValueError(f"classes must be at least 2, got {', '.join(classes) or 'none'}")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ValueError(f"classes names {', '.join(twice)} twice")
    for label, name in labels.items():
        if name not in classes:
            raise ValueError(_unknown(f"labels.{label}:", name, classes))
    silent = [name for name in classes if name not in labels.values()]
    if silent:
        raise ValueError(f"labels: no label maps to {', '.join(silent)}")


def _check_drawn(drawn: Mapping[str, int]) -> None:
    if drawn.keys() != KFOLD.keys():
        raise ValueError(f"test must have the keys folds and seed to be drawn, got {', '.join(drawn)}")
    for key, bounds in KFOLD.items():
        if not bounds.holds(drawn[key]):
            raise ValueError(f"test.{key} must be a whole number {bounds}, got {drawn[key]}")


def _check_keep(keep: Keep) -> None:
    for attribute, values in keep.items():
        if not values:
            raise ValueError(f"keep.{attribute} must name at least one value")


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{what} {name} is unknown; {meant}"
