"""What may be asked for: the keys of ``--experiment FILE``, and of the options of run.sh.

A system is a word ``[NAME=]CONF[_CONTEXT]``: CONF is a file of ``conf/`` without its suffix (or the path of a
YAML file), a context is given to a system trained on chunks, NAME is what its folders are called.  A file
with nothing but the key ``systems`` stands for the words that it lists.  A fusion is
``[NAME=]SYSTEM[:WEIGHT] SYSTEM[:WEIGHT] ...``; without weights they are tuned on dev speakers.
``SYSTEM@*`` is the system with all its seeds: alone their mean, beside others each with a tuned weight.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ser import config
from ser.errors import ConfigError, UsageError, shown
from ser.ranges import read_number
from ser.reading import is_plain

FUSED = ("blstmatt", "csa")  # the paper's fusion, of the systems or families of these names ...
PAPER_CONTEXT = 30  # ... of which the one with this context is taken, where there are several
LARGEST_SEED = 2**63 - 1
SOURCES = ("corpus", "k2")  # of alignments that are no path


@dataclass(frozen=True)
class Experiment:
    """What may be asked for; the keys of ``--experiment FILE``, and of the options of run.sh."""

    systems: tuple[str, ...] = (*FUSED, "majority")
    # of systems trained on chunks whose word names none; null: that of their settings
    contexts: tuple[int, ...] | None = None
    seeds: tuple[int, ...] = (777,)
    protocol: str | None = None  # of corpus.yaml; null: its own choice
    fuse: tuple[str, ...] = ()  # "none" is none; nothing: syscomb and syscomb_dev, where their systems are
    fusion_weight: float = 0.4  # of the second system in syscomb (paper: 0.4)
    interpret: tuple[str, ...] | None = None  # null: the first of the paper's fusion, where it is there
    alignment: str = "corpus"
    also: tuple[str, ...] = ()  # systems of others in <exp>/pooled
    word_vectors: str | None = None  # text.vectors of all systems that read transcripts
    set: tuple[str, ...] = ()  # "[NAME:]KEY=VALUE"


def read_experiment(path: Path | None, options: Sequence[str]) -> Experiment:
    """What a file says, with what options ``KEY=VALUE`` say instead; an empty VALUE says nothing.

    Relative paths in the file are seen from its folder.

    Raises:
        ConfigError: a file that cannot be used, or an unknown key in it.
        UsageError: an option with an unknown key or a value of another kind; an alignment that is not there.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _converted(config.resolve(path), str(path), ConfigError)
        values |= _seen_from(path.parent, values)
    given: dict[str, list[str]] = {}
    for option in options:
        key, sign, text = option.partition("=")
        if not sign:
            raise UsageError(f"{option}: expected KEY=VALUE, such as seeds='1 2'")
        if not (text.isprintable() or is_plain(text) and "\t" not in text):
            raise UsageError(f"{key}: has a tab, a newline or another control character: {text!r}")
        if text:
            given.setdefault(key, []).append(text)
    repeated = ("fuse", "set")
    texts = {key: list(items) if key in repeated else items[-1] for key, items in given.items()}
    values |= _converted(texts, "the options", UsageError)
    experiment = Experiment(**values)
    _check_numbers(experiment)
    if experiment.alignment not in SOURCES and not Path(experiment.alignment).exists():
        raise UsageError(
            f"alignment: {experiment.alignment}: no such file or folder; name a CTM file, a folder of "
            "them or of TextGrids, corpus or k2"
        )
    return experiment


def _converted(
    tree: Mapping[str, Any], source: str, error: type[ConfigError] | type[UsageError]
) -> dict[str, Any]:
    """Values in the types of :class:`Experiment`; a text of words does for a list."""
    hints = get_type_hints(Experiment)
    converted: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(hints)}"
            raise error(f"{source}: an experiment has no key {key}; {meant}")
        kind = hints[key]
        kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        item = next((get_args(each)[0] for each in kinds if get_args(each)), None)
        try:
            if value is None and type(None) in kinds:
                converted[key] = None
            elif item is not None:
                words = value.split() if isinstance(value, str) and key not in ("fuse", "set") else value
                words = [words] if isinstance(words, str) else words
                converted[key] = tuple(_number(word) if item is int else str(word) for word in words)
            else:
                converted[key] = read_number(str(value)) if kind is float else str(value)
        except (TypeError, ValueError) as problem:
            what = {"contexts": "whole numbers", "seeds": "whole numbers"}.get(key, config.describe(kind))
            raise error(f"{source}: {key} must be {what}, got {shown(value)}; correct it") from problem
    return converted


def _seen_from(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a file that name files, their relative paths joined to the file's folder."""
    joined: dict[str, Any] = {}
    if "systems" in values:
        parts = [re.fullmatch(r"([^=]*=)?(.*)", word, re.DOTALL) for word in values["systems"]]
        joined["systems"] = tuple(
            f"{part[1] or ''}{folder / part[2] if is_path(part[2]) else part[2]}" for part in parts if part
        )
    if values.get("alignment", "k2") not in SOURCES:
        joined["alignment"] = str(folder / values["alignment"])
    if values.get("word_vectors"):
        joined["word_vectors"] = str(folder / Path(values["word_vectors"]).expanduser())
    return joined


def is_path(conf: str) -> bool:
    """Whether a system is named by the path of its settings file."""
    return "/" in conf or conf.endswith(".yaml")


def _number(word: object) -> int:
    if isinstance(word, bool) or not re.fullmatch(r"\d+", str(word), re.ASCII):
        raise ValueError(word)
    return int(str(word))


def _check_numbers(experiment: Experiment) -> None:
    for name, values, least, most in (
        ("contexts", experiment.contexts, 1, 10**6),
        ("seeds", experiment.seeds, 0, LARGEST_SEED),
    ):
        if values is None:
            continue
        if not values:
            raise UsageError(f"{name}: at least one number is needed")
        for value in values:
            if not least <= value <= most:
                raise UsageError(f"{name}: {value} is not from {least} to {most}; choose another")
            if values.count(value) > 1:
                raise UsageError(f"{name}: {value} is named twice; name it once")
    if experiment.fusion_weight < 0:
        raise UsageError(
            f"fusion_weight: a weight is a number of at least 0, got {experiment.fusion_weight:g}"
        )


def meant(name: str, known: Collection[str]) -> str:
    """What was probably meant by an unknown name."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
