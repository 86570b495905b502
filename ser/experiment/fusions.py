"""Which systems of an experiment are fused, and with which weights."""

from __future__ import annotations

from collections.abc import Sequence

from ser.data.corpus import Protocol
from ser.errors import UsageError, short
from ser.experiment.asked import FUSED, PAPER_CONTEXT, Experiment, meant
from ser.plan import ALL_SEEDS, ONE_FOLD, PlannedFusion, PlannedSystem
from ser.ranges import read_number
from ser.scoring.fusion import LOGISTIC


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
    if protocol.test == "none":
        if experiment.fuse:
            raise UsageError(f"fuse: the protocol {name} tests on nobody, nothing is fused; leave it out")
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
    tuned = PlannedFusion("syscomb_dev", pair, None, seeds, ONE_FOLD)
    return tuple(fusions + ([tuned] if protocol.dev else []))


def _fusion(text: str, number: int, planned: Sequence[PlannedSystem]) -> PlannedFusion:
    """A fusion from ``[NAME=]SYSTEM[:WEIGHT] ...``; ``SYSTEM@*`` is a system over all its seeds."""
    name, sign, rest = text.partition("=")
    words = (rest if sign else text).split()
    name = name.strip() if sign else ("fusion" if number == 1 else f"fusion_{number}")
    where = f"fuse: {name}"
    known = {system.name: system for system in planned}
    members, weights, over_seeds = [], [], []
    for word in words:
        asked, colon, weight = word.partition(":")
        member = asked.removesuffix(ALL_SEEDS)
        if member not in known:
            raise UsageError(f"{where}: {member} is no system of this experiment; {meant(member, known)}")
        members.append(member)
        weights.append(_weight(weight, f"{where}: {word}") if colon else None)
        over_seeds += [member] if asked != member else []
    seeds = [known[member].seeds for member in members if member not in over_seeds]
    count = len(seeds) + sum(len(known[member].seeds) for member in over_seeds)
    if count < 2 or len(set(members)) < len(members):
        raise UsageError(
            f"{where}: name two systems or more, each once, or SYSTEM{ALL_SEEDS} of several seeds, got "
            f"'{' '.join(words)}'"
        )
    given = () if len(members) == 1 else _given_weights(weights, bool(over_seeds), where)
    own = max(seeds, key=len, default=(0,))
    return PlannedFusion(name, tuple(members), given, own, LOGISTIC, tuple(over_seeds))


def _given_weights(weights: Sequence[float | None], over_seeds: bool, where: str) -> tuple[float, ...] | None:
    """The weights of the systems after the first, None where they are to be tuned."""
    if over_seeds and any(weight is not None for weight in weights):
        raise UsageError(f"{where}: beside a system over its seeds weights are tuned; give none")
    if weights[0] not in (None, 1.0):
        raise UsageError(f"{where}: the first system has the weight 1; give those of the others beside it")
    given = [weight for weight in weights[1:] if weight is not None]
    if given and len(given) < len(weights) - 1:
        raise UsageError(f"{where}: give a weight to each system after the first, or to none to tune them")
    return tuple(given) if given else None


def _weight(text: str, where: str) -> float:
    try:
        weight = read_number(text)
    except ValueError as error:
        raise UsageError(f"{where}: '{short(text)}' is no weight; write a number of at least 0") from error
    if weight < 0:
        raise UsageError(f"{where}: a weight is a number of at least 0")
    return weight
