"""Utterances whose features are in memory, as a system reads them; see :mod:`ser.feats.subset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ser.feats.speech import SpeechTable, SpeechUse
from ser.feats.stores import Store
from ser.feats.subset import Doubles, Features, Norm, Subset


class MemorySubset(Subset):
    """Utterances whose features are in memory, without labels; numbers are their keys."""

    cut_it = "cut it into pieces"

    def __init__(
        self,
        places: Sequence[str],
        speakers: Sequence[str],
        stores: Sequence[Store],
        norm: Norm,
        *,
        global_stats: Mapping[str, Doubles],
        speech: SpeechUse,
        table: SpeechTable | None,
        speaker_stats: Mapping[str, Mapping[str, Doubles]] | None,
    ) -> None:
        """Normalise them as those of a data folder.

        Args:
            places: of the utterances, for messages, N > 0.
            speakers: of the utterances.
            stores: a feature set each, the main one of the system first.
            norm: which statistics normalise the features.
            global_stats: statistics of the training subset for each set, for ``norm="global"``.
            speech: which frames of an utterance are read, which statistics are of, whose level is subtracted.
            table: where speech is, if ``speech`` asks for it.
            speaker_stats: of all that each speaker says, what :meth:`Features.speaker_stats` gave for each
                set, and an estimator's ``speaker_stats`` for "" ; None: of these utterances.
        """
        self._places, self.folder = places, Path(places[0])
        self.keys = [str(number) for number in range(len(places))]
        self.speakers, self.people = dict(zip(self.keys, speakers, strict=True)), list(speakers)
        self.labels, self.targets, self.target_names = np.empty(0, dtype=np.int64), {}, {}
        self.inputs = {
            store.name: Features(
                store,
                self.speakers,
                norm,
                global_stats.get(store.name),
                speech,
                table,
                (speaker_stats or {}).get(store.name),
            )
            for store in stores
        }
        self.speaker_stats = (speaker_stats or {}).get("")

    def name_of(self, index: int) -> str:
        """An utterance, for messages."""
        return self._places[index]
