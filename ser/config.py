"""Settings: YAML files read into frozen dataclasses, every key named exactly once.

A settings class has no default values, so that a value stands in one place, the YAML file (but None, for a
key that may be left out); a missing, unknown or mistyped key is an error that names the nearest one.  A file
that begins with ``base: <file>`` says only what differs from that one; ``--set a.b=value`` (YAML syntax) is
the only other override.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import math
import re
import types
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ser import reading
from ser.errors import ConfigError, short, shown
from ser.ranges import Range

T = TypeVar("T")
BASE = "base"
LIMIT = 1 << 19  # bytes of a settings file; YAML is slow to read
SHARED = Path(__file__).resolve().parents[1] / "conf"  # the checkout's settings, shared by all recipes


def find_conf(name: str) -> Path:
    """A settings file of the recipe at work: ``conf/<name>`` of the current folder, else the shared one.

    For defaults only: a path that a user gives is taken as it is.
    """
    own = Path("conf", name)
    return own if own.exists() or not (SHARED / name).exists() else SHARED / name


def load(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read a settings file.

    Args:
        cls: the dataclass it must fit.
        path: a YAML file.
        overrides: ``"a.b=value"``, the value in YAML syntax; later ones win.

    Raises:
        ConfigError: as :func:`resolve`, or a key that is missing, unknown or of another type.
    """
    return build(cls, resolve(path, overrides), str(path))


def resolve(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A settings file with what its base says, and with overrides; no key is checked.

    ``base: <file name>`` is looked up beside the file, unless that is the file itself, then in the shared
    ``conf/``.  Mappings are merged key by key; anything else replaces what the base says.

    Args:
        path: a YAML file.
        overrides: ``"a.b=value"``, the value in YAML syntax; later ones win.

    Raises:
        ConfigError: no such file, no YAML; a base that is missing, no file name, or leads back to a file
            that it is the base of.
    """
    tree = _with_base(path, ())
    for override in overrides:
        apply(tree, override)
    return tree


def _with_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    tree = read_yaml(path)
    if BASE not in tree:
        return tree
    name = tree.pop(BASE)
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise ConfigError(
            f"{path}: base must be the name of a file beside it or in the shared conf/, got {shown(name)}; "
            "write it without a folder"
        )
    places = [path.parent / name, SHARED / name]
    base = next((place for place in places if place.is_file() and place.resolve() != path.resolve()), None)
    if base is None:
        raise ConfigError(f"{path}: base {name} is neither beside it nor in {SHARED}; name a file that is")
    seen = (*above, path.resolve())
    if base.resolve() in seen:
        chain = " -> ".join(place.name for place in (*seen[seen.index(base.resolve()) :], base))
        raise ConfigError(f"{path}: base {name} leads back to itself ({chain}); take one of them out")
    return merge(_with_base(base, seen), tree)


def merge(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``tree`` with ``changes``: mappings key by key, anything else replaced.

    >>> merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": 3}, "d": []})
    {'a': {'b': 1, 'c': 3}, 'd': []}
    """
    merged = dict(tree)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]  # old is a mapping
    return merged


def read_yaml(path: Path) -> dict[str, Any]:
    """Parse a YAML file whose top is a mapping."""
    text = reading.read_text(
        path, "name a YAML file", ConfigError, missing="name an existing settings file", limit=LIMIT
    )
    try:
        tree = _parse(text, path)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML ({error.problem}); correct the line") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold '<key>: <value>' lines, got {shown(tree)}; correct the file")
    return tree


def _parse(text: str, source: object) -> Any:
    """What YAML text holds; MarkedYAMLError, or ConfigError for all that has no line."""
    try:
        with reading.guarded(source, "correct it", ConfigError, what="not YAML"):
            return copy.deepcopy(_loaded(text))
    except ConfigError as error:
        if isinstance(error.__cause__, yaml.MarkedYAMLError):
            raise error.__cause__ from None
        raise


@functools.lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    """What YAML text holds, which is slow to read, and the same in the folders of all folds."""
    return yaml.load(text, Loader=_Plain)


# YAML 1.1, which PyYAML reads, takes 1e-3 and 1.0e6 for text; YAML 1.2 and everybody else for numbers.
_EXPONENT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$")


class _Plain(yaml.SafeLoader):
    """YAML's safe loader, refusing a key that stands twice in one mapping, and aliases.

    An alias stands for as much as its anchor: a few lines of them for more than the memory holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not read", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # refused below
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key)} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _PlainDumper(yaml.SafeDumper):
    """Quotes a text that :class:`_Plain` would take for a number."""


for _kind in (_Plain, _PlainDumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def apply(tree: dict[str, Any], override: str) -> None:
    """Set one key of nested mappings, in place.

    Args:
        tree: what a settings file holds.
        override: ``"a.b=value"``, the value in YAML syntax.

    Raises:
        ConfigError: it is no such text, its value is no YAML, or ``a`` has no keys of its own.
    """
    name, sign, text = override.partition("=")
    if not sign or not name:
        raise ConfigError(f"--set {short(override)}: expected <key>=<value>, such as optim.lr=5e-5")
    try:
        value = _parse(text, f"--set {short(name)}")
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {short(override)}: the value is not YAML; quote it") from error
    *parents, leaf = name.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {short(override)}: {parent} has no keys of its own; correct the key")
        tree = child
    tree[leaf] = value


def build(cls: type[T], tree: Any, source: str, prefix: str = "") -> T:
    """Make the dataclass ``cls`` from a parsed mapping; ``source`` and ``prefix`` say where it stood.

    Raises:
        ConfigError: a key is missing, unknown or of another type, or ``__post_init__`` refuses a value.
    """
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{source}: {prefix.rstrip('.')} must be a mapping, got {shown(tree)}; correct it")
    hints = key_types(cls)
    names = list(hints)
    for key in tree:
        if key not in names:
            near = difflib.get_close_matches(str(key)[:64], names, n=1)
            meant = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(names)}"
            raise ConfigError(f"{source}: unknown key {prefix}{short(str(key))}; {meant}")
    optional = {
        field.name
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if not (field.default is field.default_factory is dataclasses.MISSING)
    }
    for name in names:
        if name not in tree and name not in optional:
            raise ConfigError(f"{source}: missing key {prefix}{name}; add it ({describe(hints[name])})")
    values = {name: _value(hints[name], tree[name], source, prefix + name) for name in names if name in tree}
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{source}: {prefix}{error}; correct it") from error


def key_types(cls: type) -> dict[str, Any]:
    """The keys of a settings class and what each may be; a field with ``compare=False`` is no setting."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.compare}


def accepts(kind: Any, names: Sequence[str]) -> bool:
    """Whether settings of a kind may have a key, given by the names on the way to it.

    >>> accepts(dict[str, tuple[str, ...]], ["emotion"]), accepts(dict[str, int], ["emotion", "sad"])
    (True, False)
    """
    origin, args = get_origin(kind), get_args(kind)
    if not names:
        return True
    if origin is Annotated:
        return accepts(args[0], names)
    if origin in (Union, types.UnionType):
        return any(accepts(each, names) for each in args)
    if origin is dict:
        return accepts(args[1], names[1:])
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        child = key_types(kind).get(names[0])
        return child is not None and accepts(child, names[1:])
    return False


def _value(kind: Any, value: Any, source: str, key: str) -> Any:
    """``value`` as a ``kind``; lists become tuples, whole numbers become floats where one is wanted."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _in_range(args[1], _value(args[0], value, source, key), source, key)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, source, f"{key}.")
    if origin in (Union, types.UnionType):
        return _optional(args, value, source, key)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(args[0], item, source, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {
            _value(args[0], name, source, f"{key} (its key {shown(name)})"): _value(
                args[1], item, source, f"{key}.{name}"
            )
            for name, item in value.items()
        }
    if origin is Literal and value in args and type(value) is not bool:
        return value
    if kind is float and type(value) in (int, float):
        return _finite(value, source, key)
    if isinstance(kind, type) and origin is None and type(value) is kind:
        return value
    raise ConfigError(
        f"{source}: {key} must be {describe(kind)}, got {shown(value)}{_hint(value)}; correct it"
    )


def _finite(value: float, source: str, key: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{source}: {key} must be a finite number, got {shown(value)}; correct it")
    return number


def _in_range(bounds: Range, value: Any, source: str, key: str) -> Any:
    if not bounds.holds(value):
        raise ConfigError(f"{source}: {key} must be {bounds}, got {shown(value)}; correct it")
    return value


def _optional(kinds: Sequence[Any], value: Any, source: str, key: str) -> Any:
    """``value`` as the first of several kinds that it fits."""
    if value is None and type(None) in kinds:
        return None
    *others, last = [kind for kind in kinds if kind is not type(None)]
    for kind in others:
        try:
            return _value(kind, value, source, key)
        except ConfigError:
            continue
    if others and isinstance(value, str) and last is not str:
        choices = " or ".join(map(describe, kinds))
        raise ConfigError(f"{source}: {key} must be {choices}, got {shown(value)}; correct it")
    return _value(last, value, source, key)


def _hint(value: Any) -> str:
    """What YAML may have misread."""
    if isinstance(value, bool):
        return " (YAML reads a bare on, off, yes or no as true or false; quote it)"
    return ""


def describe(kind: Any) -> str:
    """A type in words.

    >>> describe(tuple[int, ...]), describe(Literal["a", "b"]), describe(float | None)
    ('a list of a whole number', 'one of a, b', 'a number or null')
    >>> describe(Annotated[int, Range(1, 9)])
    'a whole number from 1 to 9'
    """
    simple = {
        float: "a number",
        int: "a whole number",
        str: "a string",
        bool: "true or false",
        type(None): "null",
    }
    if kind in simple:
        return simple[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{describe(args[0])} {args[1]}"
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(arg) for arg in args))
    if origin is tuple:
        return f"a list of {describe(args[0])}"
    return "a mapping"


def to_dict(config: Any) -> dict[str, Any]:
    """A settings object as plain nested mappings and lists, fit for YAML and JSON."""
    tree: dict[str, Any] = dataclasses.asdict(
        config, dict_factory=lambda items: {k: list(v) if isinstance(v, tuple) else v for k, v in items}
    )
    return {key: tree[key] for key in key_types(type(config))}


def dump(tree: Mapping[str, Any]) -> str:
    """YAML text of nested mappings, in the order of the keys."""
    text: str = yaml.dump(dict(tree), Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
    return text
