"""Systems: one file each, with its settings, its network (or estimator) and its loss.

To list or look up systems imports none of them; torch comes with the networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser import config
from ser.data import registry
from ser.errors import CheckpointError, ConfigError
from ser.feats.speech import NOT_ASKED, SpeechUse

SYSTEMS = {
    "attention_pooling": "ser.systems.attention_pooling:SYSTEM",
    "blstmatt": "ser.systems.blstmatt:SYSTEM",
    "cnn_capsules": "ser.systems.cnn_capsules:SYSTEM",
    "cnn_lstm": "ser.systems.cnn_lstm:SYSTEM",
    "csa": "ser.systems.csa:SYSTEM",
    "factor_analysis": "ser.systems.factor_analysis:SYSTEM",
    "finetuned": "ser.systems.finetuned:SYSTEM",
    "majority": "ser.systems.majority:SYSTEM",
    "multimodal": "ser.systems.multimodal:SYSTEM",
    "pooled": "ser.systems.pooled:SYSTEM",
    "svm": "ser.systems.svm:SYSTEM",
}
# what utils/install.sh --extra must have installed for it
EXTRAS = {"factor_analysis": "baselines", "svm": "baselines"}
UNSEEDED = frozenset({"majority", "svm"})  # of these, whose results no random seed changes
MAX_PARAMETERS = 1 << 30  # of a network; training takes 16 bytes for each
_KEY, _HOME = "system", "ser/systems/base.py"
_NETWORK_FIELDS = ("system", "features", "unit", "augmentation", "optim", "training")


def find(code: Any, source: str) -> Any:
    """The :class:`~ser.systems.base.System` that the key ``system`` names.

    Args:
        code: one of :data:`SYSTEMS`, or ``my_package.my_module:NAME``.
        source: where it stood, for messages.

    Raises:
        ConfigError: there is none, or it lacks pieces of what a system must have.
    """
    from ser.systems.base import Estimator, Network

    if not isinstance(code, str):
        raise ConfigError(
            f"{source}: {_KEY} must name one of {', '.join(SYSTEMS)}, or my_package.my_module:NAME, "
            f"got {code!r}; add it"
        )
    system = registry.find(_KEY, code, SYSTEMS, source)
    if not isinstance(system, (Network, Estimator)):
        raise ConfigError(
            f"{source}: {_KEY} {code}: is no Network and no Estimator but {type(system).__name__}; "
            f"{_HOME} says what it needs"
        )
    if not (isinstance(system.settings, type) and dataclasses.is_dataclass(system.settings)):
        raise ConfigError(
            f"{source}: {_KEY} {code}: its settings are no dataclass; {_HOME} says what it needs"
        )
    fields = {field.name for field in dataclasses.fields(system.settings)}
    needed = _NETWORK_FIELDS if isinstance(system, Network) else (_KEY,)
    if missing := [name for name in needed if name not in fields]:
        raise ConfigError(
            f"{source}: {_KEY} {code}: its settings have no {', '.join(missing)}; {_HOME} says what it needs"
        )
    return system


def is_seeded(code: str, source: str) -> bool:
    """Whether a random seed changes what a system learns; imports only code outside ``ser``."""
    if registry.is_outside(code):
        return bool(find(code, source).seeded)
    return code not in UNSEEDED


def build_settings(tree: Mapping[str, Any], source: str) -> tuple[Any, Any]:
    """A system and its settings, from what its YAML file holds.

    Raises:
        ConfigError: no known ``system``, or settings that do not fit it.
    """
    from ser.systems.base import Estimator

    system = find(tree.get(_KEY), source)
    settings = config.build(system.settings, tree, source)
    if isinstance(system, Estimator) and SpeechUse.of(settings) != NOT_ASKED:
        raise ConfigError(
            f"{source}: features.vad, cmvn and level are for networks, estimators get features as they were "
            "made; leave them out"
        )
    return system, settings


def load_settings(path: Path, overrides: Sequence[str] = ()) -> tuple[Any, Any]:
    """Read the settings file of a system.

    Returns:
        The :class:`~ser.systems.base.System`, and its settings.

    Raises:
        ConfigError: as :func:`ser.config.load`, or no known ``system``.
    """
    return build_settings(config.resolve(path, overrides), str(path))


def check_network(system: Any, settings: Any, sizes: Any, source: object) -> None:
    """Refuse settings that no network can be made of; none is made, so it takes no memory.

    Nothing is said of estimators, nor of code outside ``ser``, which may do more than make a network.

    Args:
        system: of :func:`find`.
        settings: its settings.
        sizes: the :class:`~ser.systems.base.Sizes` that the network must fit.
        source: where the settings stood, for messages.

    Raises:
        ConfigError: they do not fit the sizes, or have more than :data:`MAX_PARAMETERS`.
    """
    if not hasattr(system, "build"):
        return
    _check_order(settings, sizes, source)
    if registry.is_outside(settings.system):
        return
    import torch

    try:
        with torch.device("meta"):
            network = system.build(settings, sizes)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}; correct it") from error
    size = sum(parameter.numel() for parameter in network.parameters())
    if size > MAX_PARAMETERS:
        raise ConfigError(
            f"{source}: the network would have {size:,} parameters, more than {MAX_PARAMETERS:,}; lower the "
            "sizes in model"
        )


def _check_order(settings: Any, sizes: Any, source: object) -> None:
    """Refuse changes over filters of features whose values lie on no scale."""
    changes = {name: getattr(settings.augmentation, name) for name in ("freq_masks", "filter_gain")}
    used = [f"augmentation.{name}" for name, value in changes.items() if value]
    unordered = [name for name in sizes.features if not sizes.layout(name).ordered]
    if used and unordered:
        raise ConfigError(
            f"{source}: {' and '.join(used)} change neighbouring filters, but the values of the set "
            f"'{unordered[0]}' have no order; set to 0: {', '.join(used)}"
        )


def check_allowed(code: object, allowed: Sequence[str], source: Path, what: str = "system") -> None:
    """Refuse a model whose system is code outside ``ser``, unless the caller allowed that by name.

    Args:
        code: what the model names.
        allowed: code that the caller trusts.
        source: the model, for messages.
        what: the code is of the model.

    Raises:
        CheckpointError: it was not.
    """
    if isinstance(code, str) and registry.is_outside(code) and code not in allowed:
        raise CheckpointError(
            f"{source}: its {what} is code outside this package, {code}, which loading would run; if you "
            f"trust it, allow it by name: --allow-code {code}"
        )
