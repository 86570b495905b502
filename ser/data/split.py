"""A fixed split: folds whose names are those of the subsets, train, dev and test, however they are spelt."""

from __future__ import annotations

import re
from collections.abc import Collection

from ser.errors import DataError

FOLD = "split"  # the name of a fixed split's only fold
_SPELLINGS = {
    "train": ("train", "training", "trn"),
    "dev": ("dev", "devel", "development", "val", "valid", "validation", "cv"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
_SUBSETS = {word: subset for subset, words in _SPELLINGS.items() for word in words}


def subset_named(fold: str) -> str | None:
    """The subset that the name of a fold spells, or None.

    >>> [subset_named(name) for name in ("Training", "VAL", "test_set", "evaluation", "1", "test1")]
    ['train', 'dev', 'test', 'test', None, None]
    """
    return _SUBSETS.get(re.sub(r"[\s_-]*(set|split)$", "", fold.strip().lower()))


def begins_with_train(fold: str) -> bool:
    """Whether the name of a fold begins with a word for training, and is none: no one means to test on it.

    >>> [begins_with_train(name) for name in ("Train-clean", "trn.1", "train2", "train", "trainer")]
    [True, True, True, False, False]
    """
    words = re.split(r"[\W\d_]+", fold.strip().lower())
    return subset_named(fold) is None and _SUBSETS.get(words[0]) == "train"


def fixed_split(folds: Collection[str], where: str) -> dict[str, list[str]]:
    """The folds of each subset, if their names are those of a fixed split; else nothing.

    Args:
        folds: the names of all folds.
        where: they stand, for messages.

    Returns:
        ``"train"``, ``"dev"`` (if there is one) and ``"test"`` -> names of folds.

    Raises:
        DataError: some folds are named like subsets and some are not, one begins with the word train, or
            there is no train or no test.
    """
    subsets = {fold: subset_named(fold) for fold in sorted(folds)}
    if begun := [fold for fold in subsets if begins_with_train(fold)]:
        raise DataError(
            f"{where}: has the folds {', '.join(list(subsets)[:5])}; {begun[0]} would be tested on, by its "
            "name it is to train on; name the subsets of a fixed split train, dev and test, or the folds "
            "otherwise"
        )
    if not any(subsets.values()):
        return {}
    others = [fold for fold, subset in subsets.items() if subset is None]
    if others:
        named = ", ".join(fold for fold, subset in subsets.items() if subset)
        raise DataError(
            f"{where}: has the folds {named}, which are subsets, and {', '.join(others[:3])}; name all of "
            "them train, dev and test, or none"
        )
    split = {
        subset: names
        for subset in _SPELLINGS
        if (names := [f for f, known in subsets.items() if known == subset])
    }
    for subset in ("train", "test"):
        if subset not in split:
            raise DataError(
                f"{where}: has the folds {', '.join(subsets)}, but no {subset}; a fixed split has train and "
                "test, and may have dev"
            )
    return split
