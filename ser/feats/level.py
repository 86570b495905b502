"""Levels: the mean log energy of an utterance or a speaker, which may be subtracted from features.

Shapes: T frames of an utterance, F values of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Level = Literal["none", "utterance", "speaker"]
Utterances = Callable[[], Iterable[tuple[str, npt.NDArray[np.floating]]]]


def mean_level(sums: Doubles) -> float:
    """The mean over frames and values of features (T, F) whose CMVN statistics are ``sums`` (2, F + 1)."""
    return float(sums[0, :-1].mean() / sums[0, -1])


def lowered(sums: Doubles, level: float) -> Doubles:
    """The statistics (2, F + 1) of features minus ``level``, of ``sums``, those of the features."""
    lower = sums.copy()
    lower[0, :-1] -= level * sums[0, -1]
    lower[1, :-1] += level * (level * sums[0, -1] - 2 * sums[0, :-1])
    return lower


class Sums:
    """Statistics of the utterances of a subset, and their levels."""

    def __init__(
        self,
        utterances: Utterances,
        speakers: Mapping[str, str],
        level: Level,
        known: Mapping[str, Doubles] | None = None,
    ) -> None:
        """Read the levels, if any are asked for.

        Args:
            utterances: goes through the utterances and their CMVN statistics, (2, F + 1).
            speakers: utterance -> speaker.
            level: whose level is subtracted.
            known: statistics over all that each speaker says, for ``level="speaker"``; None: the subset is
                all of it.
        """
        self._utterances, self._speakers, self.level = utterances, speakers, level
        self._levels: dict[str, float] = {}
        if level == "speaker" and known is not None:
            self._levels = {speaker: mean_level(known[speaker]) for speaker in set(speakers.values())}
        elif level != "none":
            groups = added(((self._group(key), own) for key, own in utterances()))
            self._levels = {name: mean_level(sums) for name, sums in groups.items()}

    def _group(self, key: str) -> str:
        return key if self.level == "utterance" else self._speakers[key]

    def level_of(self, key: str) -> float:
        """What is subtracted from the features of an utterance."""
        return 0.0 if self.level == "none" else self._levels[self._group(key)]

    def of_speakers(self) -> dict[str, Doubles]:
        """Statistics of each speaker, the level subtracted."""
        if self.level == "none":
            return added((self._speakers[key], own) for key, own in self._utterances())
        return added(
            (self._speakers[key], lowered(own.astype(np.float64), self.level_of(key)))
            for key, own in self._utterances()
        )


def added(pairs: Iterable[tuple[str, npt.NDArray[np.floating]]]) -> dict[str, Doubles]:
    """The sum of the statistics of each name, by name."""
    sums: dict[str, Doubles] = {}
    for name, own in pairs:
        sums[name] = sums[name] + own if name in sums else own.astype(np.float64)
    return dict(sorted(sums.items()))
