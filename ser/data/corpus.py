"""A corpus as an experiment sees it: ``conf/corpus.yaml``, its classes, labels, audio and protocols."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ser import config
from ser.data.tables import check_key
from ser.errors import ConfigError, DataError
from ser.ranges import Range

MAX_RATE_HZ = 384_000  # the highest sampling rate that a recording may have
Keep = dict[str, tuple[str, ...]]
Test = Literal["each"] | dict[str, tuple[str, ...]] | tuple[str, ...]


@dataclass(frozen=True)
class AudioConfig:
    """What the recordings must be, and what may be done when they are something else."""

    sampling_rate_hz: Annotated[int, Range(1, 768000)]  # of the features' input
    # which channel of a recording with several, from 0; null refuses such a recording
    channel: Annotated[int, Range(0, 1023)] | None
    resample: Literal["refuse", "convert"]  # a recording with another sampling rate


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

    group: Literal["speaker", "session", "fold"]  # what stays together
    test: Test  # "each" group in turn, one fold that tests on these groups, or fold -> groups it tests on
    dev: DevConfig | None  # null: no dev subset
    keep: Keep  # attribute -> allowed values, for this protocol only

    def __post_init__(self) -> None:
        """Refuse an empty or repeating test list."""
        lists = list(self.test.values()) if isinstance(self.test, dict) else [self.test]
        if not lists or not all(lists):
            raise ValueError(f"test must be 'each' or name at least one {self.group}")
        named = [] if self.test == "each" else [group for groups in lists for group in groups]
        twice = sorted({group for group in named if named.count(group) > 1})
        if twice:
            raise ValueError(f"test names a {self.group} twice: {', '.join(twice)}")
        _check_keep(self.keep)


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

    def __post_init__(self) -> None:
        """Refuse names that are no file names; class lists, labels and protocols that do not fit together."""
        for what, names in (("name", (self.name,)), ("classes", self.classes), ("protocols", self.protocols)):
            _check_names(what, names)
        _check_classes(self.classes, self.labels)
        _check_keep(self.keep)
        if self.protocol not in self.protocols:
            raise ValueError(_unknown("protocol", self.protocol, self.protocols))

    def named_protocol(self, name: str | None) -> tuple[str, Protocol]:
        """The protocol of that name, or the default one, with its name.

        Raises:
            ConfigError: no protocol has that name.
        """
        name = self.protocol if name is None else name
        if name not in self.protocols:
            raise ConfigError(_unknown("--protocol", name, self.protocols))
        return name, self.protocols[name]


def load_corpus(path: Path, overrides: Sequence[str] = ()) -> CorpusConfig:
    """Read ``conf/corpus.yaml``.

    Args:
        path: the settings file.
        overrides: ``"a.b=value"`` each, as of ``--set``.

    Raises:
        ConfigError: what :func:`ser.config.load` refuses, or settings that do not fit together.
    """
    return config.load(CorpusConfig, path, overrides)


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


def _check_keep(keep: Keep) -> None:
    for attribute, values in keep.items():
        if not values:
            raise ValueError(f"keep.{attribute} must name at least one value")


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{what} {name} is unknown; {meant}"
