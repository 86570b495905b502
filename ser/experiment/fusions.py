"""Which systems of an experiment are fused, and with which weights."""

from __future__ import annotations

from collections.abc import Sequence

from ser.data.corpus import Protocol
from ser.errors import UsageError, short
from ser.experiment.asked import FUSED, PAPER_CONTEXT, Experiment, meant
from ser.plan import PlannedFusion, PlannedSystem
from ser.ranges import read_number


def plan_fusions(
    experiment: Experiment, planned: Sequence[PlannedSystem], name: str, protocol: Protocol
) -> tuple[PlannedFusion, ...]:
    """The fusions that were asked for, or the paper's where its systems are there.

    Args:
        experiment: what was asked for.
        planned: the systems.
        name: of the protocol.
        protocol: whose dev speakers weights are tuned on.

    Raises:
        UsageError: a fusion of an unknown system, of one system, of weights that are none, or to be tuned
            where there are no dev speakers.
    """
    if experiment.fuse == ("none",):
        return ()
    if experiment.fuse:
        fusions = [_fusion(text, number, planned) for number, text in enumerate(experiment.fuse, 1)]
        for fusion in fusions:
            if fusion.weights is None and protocol.dev is None:
                raise UsageError(
                    f"fuse: {fusion.name}: its weights are to be tuned, but the protocol {name} has no dev "
                    "speakers; give weights, SYSTEM:WEIGHT, or choose another --protocol"
                )
        return tuple(fusions)
    first = next((system for system in planned if system.name == FUSED[0]), None)
    family = [system for system in planned if FUSED[1] in (system.stem, system.name)]
    if first is None or not family:
        return ()
    second = next((system for system in family if system.context == PAPER_CONTEXT), family[0])
    pair, seeds = (first.name, second.name), first.seeds
    fusions = [PlannedFusion("syscomb", pair, (experiment.fusion_weight,), seeds)]
    return tuple(fusions + ([PlannedFusion("syscomb_dev", pair, None, seeds)] if protocol.dev else []))


def _fusion(text: str, number: int, planned: Sequence[PlannedSystem]) -> PlannedFusion:
    """A fusion from ``[NAME=]SYSTEM[:WEIGHT] ...``."""
    name, sign, rest = text.partition("=")
    words = (rest if sign else text).split()
    name = name.strip() if sign else ("fusion" if number == 1 else f"fusion_{number}")
    known = {system.name: system for system in planned}
    members, weights = [], []
    for word in words:
        member, colon, weight = word.partition(":")
        if member not in known:
            raise UsageError(
                f"fuse: {name}: {member} is no system of this experiment; {meant(member, known)}"
            )
        members.append(member)
        weights.append(_weight(weight, f"fuse: {name}: {word}") if colon else None)
    if len(members) < 2 or len(set(members)) < len(members):
        raise UsageError(f"fuse: {name}: name two systems or more, each once, got '{' '.join(words)}'")
    if weights[0] not in (None, 1.0):
        raise UsageError(
            f"fuse: {name}: the first system has the weight 1; give those of the others beside it"
        )
    given = [weight for weight in weights[1:] if weight is not None]
    if given and len(given) < len(members) - 1:
        raise UsageError(
            f"fuse: {name}: give a weight to each system after the first, or to none to tune them"
        )
    seeds = max((known[member].seeds for member in members), key=len)
    return PlannedFusion(name, tuple(members), tuple(given) if given else None, seeds)


def _weight(text: str, where: str) -> float:
    try:
        weight = read_number(text)
    except ValueError as error:
        raise UsageError(f"{where}: '{short(text)}' is no weight; write a number of at least 0") from error
    if weight < 0:
        raise UsageError(f"{where}: a weight is a number of at least 0")
    return weight
