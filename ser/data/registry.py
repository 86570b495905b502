"""What a setting names: an entry of a registry, or an object of the user's own package.

A registry maps names to places, ``"ser.feats.fbank:Fbank"``: nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from ser.errors import ConfigError


def is_outside(name: str) -> bool:
    """Whether a name is a place in somebody's own package rather than an entry of a registry.

    >>> is_outside("fbank"), is_outside("my_package.my_module:NAME")
    (False, True)
    """
    return ":" in name


def find(key: str, name: str, registry: Mapping[str, str], source: object) -> Any:
    """Import the object that a setting names.

    Args:
        key: the setting, such as ``extractor``.
        name: its value: a key of ``registry``, or ``my_package.my_module:NAME``.
        registry: name -> ``module:NAME``.
        source: the file that the setting stands in, for messages.

    Raises:
        ConfigError: no such entry, a module that cannot be imported, or one without that name.
    """
    if not is_outside(name) and name not in registry:
        near = difflib.get_close_matches(name, registry, n=1)
        known = f"known are {', '.join(registry)}, or my_package.my_module:NAME for your own"
        raise ConfigError(
            f"{source}: {key} {name} is unknown; {f'did you mean {near[0]}?' if near else known}"
        )
    place = registry.get(name, name)
    module_name, _, attribute = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module does while it is imported
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"{source}: {key} {name}: {module_name or 'no module'} cannot be imported "
            f"({type(error).__name__}: {reason}); correct the name, or put its folder on PYTHONPATH"
        ) from error
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        meant = f"did you mean {near[0]}?" if near else "correct the name behind the colon"
        raise ConfigError(
            f"{source}: {key} {name}: {module_name} has no {attribute or 'empty name'}; {meant}"
        )
    return getattr(module, attribute)


def require(key: str, name: str, thing: object, pieces: Collection[str], source: object, home: str) -> None:
    """Make sure that what a setting names has all pieces of its contract.

    Args:
        key: the setting.
        name: its value.
        thing: what :func:`find` gave, or what that made.
        pieces: names of attributes; properties are not evaluated.
        source: the file that the setting stands in.
        home: where the contract is written down, such as ``ser/feats/base.py``.

    Raises:
        ConfigError: pieces are missing; all of them are named.
    """
    absent = object()
    missing = [piece for piece in pieces if inspect.getattr_static(thing, piece, absent) is absent]
    if missing:
        raise ConfigError(f"{source}: {key} {name}: has no {', '.join(missing)}; {home} says what it needs")
