"""Folds that are drawn: groups dealt out so that every fold has its share of each class."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping


def deal_out(
    utt2group: Mapping[str, str], utt2class: Mapping[str, str], num_folds: int, seed: int
) -> dict[str, set[str]]:
    """Deal groups out to folds.

    The largest group goes first (those of one size in an order that the seed draws), each to the fold that
    thereby deviates least from an equal share of every class: that of the smallest growth of
    ``sum_c (n_fc / N_c)^2``, with n_fc the utterances of class c in fold f and N_c those in all folds.

    Args:
        utt2group: utterance -> its group.
        utt2class: utterance -> its class.
        num_folds: how many folds, at most as many as there are groups.
        seed: another one gives other folds; the same gives the same on every machine.

    Returns:
        Fold (``"1"``, ``"2"``, ..., with leading zeros from ten folds on) -> its groups, at least one each.
    """
    totals = Counter(utt2class[name] for name in utt2group)
    counts: dict[str, Counter[str]] = {}
    for name, group in utt2group.items():
        counts.setdefault(group, Counter())[utt2class[name]] += 1

    def drawn(group: str) -> str:
        return hashlib.sha256(f"{seed} {group}".encode()).hexdigest()

    order = sorted(counts, key=lambda group: (-counts[group].total(), drawn(group)))
    loads: list[Counter[str]] = [Counter() for _ in range(num_folds)]
    folds: list[set[str]] = [set() for _ in range(num_folds)]
    sizes = [0] * num_folds
    for group in order:
        own = [(name, count / totals[name] ** 2) for name, count in counts[group].items()]
        growths = [(sum(load[name] * share for name, share in own), sizes[i]) for i, load in enumerate(loads)]
        chosen = min(range(num_folds), key=growths.__getitem__)
        loads[chosen].update(counts[group])
        sizes[chosen] += counts[group].total()
        folds[chosen].add(group)
    width = len(str(num_folds))
    return {f"{number:0{width}d}": groups for number, groups in enumerate(folds, 1)}
