"""A corpus as an experiment sees it: ``conf/corpus.yaml``, its classes, labels, audio and protocols."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ser import config
from ser.data.tables import check_key
from ser.errors import ConfigError, DataError

Keep = dict[str, tuple[str, ...]]
Test = Literal["each"] | dict[str, tuple[str, ...]] | tuple[str, ...]


@dataclass(frozen=True)
class AudioConfig:
    """What the recordings must be, and what may be done when they are something else."""

    sampling_rate_hz: int  # of the features' input
    channel: int | None  # which channel of a recording with several, from 0; null refuses such a recording
    resample: Literal["refuse", "convert"]  # a recording with another sampling rate

    def __post_init__(self) -> None:
        """Refuse numbers that no recording has."""
        if self.sampling_rate_hz < 1:
            raise ValueError(f"sampling_rate_hz must be above 0, got {self.sampling_rate_hz}")
        if self.channel is not None and self.channel < 0:
            raise ValueError(f"channel must be null or counted from 0, got {self.channel}")


@dataclass(frozen=True)
class DevConfig:
    """The development subset of a fold: speakers taken out of its training subset."""

    speakers: int
    refit: bool  # true: tune in an extra fold, then train on all of the training subset

    def __post_init__(self) -> None:
        """Refuse an empty subset."""
        if self.speakers < 1:
            raise ValueError(
                f"speakers must be at least 1, got {self.speakers} (write dev: null for no dev subset)"
            )


@dataclass(frozen=True)
class Protocol:
    """How a corpus is split into training, development and test subsets."""

    group: Literal["speaker", "session", "fold"]  # what stays together
    test: Test  # "each" group in turn, one fold that tests on these groups, or fold -> groups it tests on
    dev: DevConfig | None
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

    name: str
    module: str  # what reads the release: a name of ser.corpora.CORPORA, or my_package.my_module:NAME
    classes: tuple[str, ...]  # the class order, place = index
    labels: dict[str, str]  # the release's label -> class; utterances with another label are left out
    audio: AudioConfig
    keep: Keep  # attribute -> allowed values
    protocol: str  # the one taken when --protocol names none
    protocols: dict[str, Protocol]
    checks: dict[str, dict[str, int]] | None  # attribute -> value -> expected number of utterances

    def __post_init__(self) -> None:
        """Refuse class lists, label maps and protocol names that do not fit together."""
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


def _check_classes(classes: tuple[str, ...], labels: Mapping[str, str]) -> None:
    if len(classes) < 2:
        raise ValueError(f"classes must be at least 2, got {', '.join(classes) or 'none'}")
    for name in classes:
        try:
            check_key(name, "classes")
        except DataError as error:
            raise ValueError(f"classes: {name!r} may hold only letters, digits and _.@%+=:,-") from error
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
