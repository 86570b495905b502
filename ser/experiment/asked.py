"""What may be asked for: the keys of ``--experiment FILE``, and of the options of run.sh.

A system is a word ``[NAME=]CONF[_CONTEXT]``: CONF is a file of ``conf/`` without its suffix (or the path of a
YAML file), a context is given to a system trained on chunks, NAME is what its folders are called.  A
fusion is ``[NAME=]SYSTEM[:WEIGHT] SYSTEM[:WEIGHT] ...``; without weights they are tuned on dev speakers.
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
from ser.errors import ConfigError, UsageError
from ser.reading import is_plain

FUSED = ("blstmatt", "csa")  # the paper's fusion, of the systems or families of these names ...
PAPER_CONTEXT = 30  # ... of which the one with this context is taken, where there are several
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Experiment:
    """What may be asked for; the keys of ``--experiment FILE``, and of the options of run.sh."""

    systems: tuple[str, ...] = (*FUSED, "majority")
    contexts: tuple[int, ...] = (PAPER_CONTEXT,)  # of systems trained on chunks whose word names none
    seeds: tuple[int, ...] = (777,)
    protocol: str | None = None  # of corpus.yaml; null: its own choice
    fuse: tuple[str, ...] = ()  # "none" is none; nothing: syscomb and syscomb_dev, where their systems are
    fusion_weight: float = 0.4  # of the second system in syscomb (paper: 0.4)
    interpret: tuple[str, ...] | None = None  # null: the first of the paper's fusion, where it is there
    alignment: str = "corpus"
    also: tuple[str, ...] = ()  # systems of others in <exp>/pooled
    set: tuple[str, ...] = ()  # "[NAME:]KEY=VALUE"


def read_experiment(path: Path | None, options: Sequence[str]) -> Experiment:
    """What a file says, with what options ``KEY=VALUE`` say instead; an empty VALUE says nothing.

    Raises:
        ConfigError: a file that cannot be used, or an unknown key in it.
        UsageError: an option with an unknown key or a value of another kind.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _converted(config.resolve(path), str(path), ConfigError)
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
                converted[key] = float(value) if kind is float else str(value)
        except (TypeError, ValueError) as problem:
            what = {"contexts": "whole numbers", "seeds": "whole numbers"}.get(key, config.describe(kind))
            raise error(f"{source}: {key} must be {what}, got {value!r}; correct it") from problem
    return converted


def _number(word: object) -> int:
    if isinstance(word, bool) or not re.fullmatch(r"\d+", str(word), re.ASCII):
        raise ValueError(word)
    return int(str(word))


def _check_numbers(experiment: Experiment) -> None:
    for name, values, least, most in (
        ("contexts", experiment.contexts, 1, 10**6),
        ("seeds", experiment.seeds, 0, LARGEST_SEED),
    ):
        if not values:
            raise UsageError(f"{name}: at least one number is needed")
        for value in values:
            if not least <= value <= most:
                raise UsageError(f"{name}: {value} is not from {least} to {most}; choose another")
            if values.count(value) > 1:
                raise UsageError(f"{name}: {value} is named twice; name it once")
    if not 0 <= experiment.fusion_weight < float("inf"):
        raise UsageError(
            f"fusion_weight: a weight is a number of at least 0, got {experiment.fusion_weight:g}"
        )


def meant(name: str, known: Collection[str]) -> str:
    """What was probably meant by an unknown name."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
