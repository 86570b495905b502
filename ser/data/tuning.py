"""On which posteriors the weights of a fold's fusion may be tuned, besides those of its own extra fold.

Weights that are used for some test speakers must not depend on these speakers: neither on posteriors of
their utterances, nor on models that were trained on them.  Where tuning is done in extra folds (``refit``),
those of other folds may serve as well.  The models of an extra fold were trained neither on its dev speakers
nor on the speakers that its fold tests on.  Their posteriors of all these serve every fold whose test
speakers are among them, without the utterances of the latter.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ser import reading
from ser.data.division import NONE, Fold
from ser.data.files import whole_file
from ser.errors import DataError

TUNING, TEST = "tuning.tsv", "test"
_HEAD = "fold model_fold data_fold subset".split()
_REMEDY = "run stage 2 again"


class TuningSource(NamedTuple):
    """Posteriors to tune on; utterances of speakers that are tested with the weights are left out of them."""

    model_fold: str  # whose models they are of
    data_fold: str  # whose subset they are on: the same fold, or the one that it is the extra fold of
    subset: str


def other_sources(folds: Sequence[Fold], utt2spk: Mapping[str, str]) -> dict[str, tuple[TuningSource, ...]]:
    """The sources besides a fold's own, of each fold that has any.

    Args:
        folds: all folds of a protocol, extra ones among them.
        utt2spk: the speaker of each utterance.

    Returns:
        Name of the fold -> sources, in the order of the folds.
    """
    final = [fold for fold in folds if fold.tune_fold not in (NONE, fold.name)]
    extra = {fold.tune_fold for fold in final}
    decoded = {fold.name: {utt2spk[name] for name in fold.subsets.get(TEST, ())} for fold in folds}
    trained = {
        fold.name: {utt2spk[name] for name in fold.subsets["train"]} for fold in folds if fold.name in extra
    }

    def sources(fold: Fold) -> Iterator[TuningSource]:
        tested = decoded[fold.name]
        for other in final:
            model = other.tune_fold
            if other is not fold and tested.isdisjoint(trained[model]):
                for home in (model, other.name):
                    if decoded[home] - tested:
                        yield TuningSource(model, home, TEST)

    found = {fold.name: tuple(sources(fold)) for fold in final}
    return {name: listed for name, listed in found.items() if listed}


def write_tuning(path: Path, sources: Mapping[str, Sequence[TuningSource]]) -> None:
    """Write ``tuning.tsv``: a line for each fold and source."""
    with whole_file(path) as stream:
        stream.write("\t".join(_HEAD) + "\n")
        stream.writelines(
            "\t".join([fold, *source]) + "\n" for fold, listed in sources.items() for source in listed
        )


def read_tuning(path: Path, folds: Collection[str]) -> dict[str, tuple[TuningSource, ...]]:
    """Read ``tuning.tsv``; where there is none, no fold has other sources than its own.

    Args:
        path: the table.
        folds: the names of all folds.

    Raises:
        DataError: it is no such table.
    """
    if not os.path.lexists(path):
        return {}
    head, *lines = [line.split("\t") for line in reading.read_text(path, _REMEDY).splitlines()] or [[]]
    if head != _HEAD or any(
        len(line) != len(_HEAD) or not set(line[:3]) <= set(folds) or line[3] != TEST for line in lines
    ):
        raise DataError(f"{path}: is no list of what these folds are tuned on; {_REMEDY}")
    sources: dict[str, list[TuningSource]] = {}
    for fold, *source in lines:
        sources.setdefault(fold, []).append(TuningSource(*source))
    return {fold: tuple(listed) for fold, listed in sources.items()}
