"""What the aligner reads of a data folder: the words, and the cepstra of the features in ``<data>/align``.

``steps/make_align_fbank.sh`` makes that: features with conf/align_fbank.yaml, and their CMVN statistics.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from ser import config
from ser.align.cepstra import cepstra
from ser.align.lexicon import Lexicon, read_words, unknown_error, unknown_words
from ser.align.phone_model import AlignConfig
from ser.data import tables
from ser.errors import DataError
from ser.feats import cmvn
from ser.feats.cmvn import Doubles, Floats
from ser.feats.extract import load_used_settings

MADE_BY = "steps/make_align_fbank.sh"
INPUTS = ("text", "utt2spk", "align/fbank.yaml", "align/fbank/utt2digest")  # all that an alignment depends on


class Speech:
    """The utterances of a data folder as the aligner hears them."""

    def __init__(self, data: Path, settings: AlignConfig) -> None:
        """Read the tables.

        Raises:
            DataError: one is missing, or they are about different utterances.
        """
        folder = data / "align"
        self._settings = settings
        self._features = tables.ArkReader(folder / "feats.scp", made_by=MADE_BY)
        self._sums = tables.ArkReader(folder / f"{cmvn.STEM}.scp", made_by=MADE_BY)
        self._utt2spk = tables.read_table(data / "utt2spk", made_by="stage 0")
        tables.same_keys(self._utt2spk, data / "utt2spk", self._features.places, folder / "feats.scp")
        self._speakers: dict[str, list[str]] = defaultdict(list)
        for name, speaker in self._utt2spk.items():
            self._speakers[speaker].append(name)
        self._speaker_sums: dict[str, Doubles] = {}
        path = folder / "utt2num_frames"
        frames = tables.read_table(path, made_by=MADE_BY)
        self.num_frames = tables.convert(frames, path, tables.positive_int, "<frames>")
        fbank = load_used_settings(folder).fbank
        self.shift_s = fbank.shift_samples / fbank.sampling_rate_hz
        # where the boundary before frame 0 would lie: half way between the middles of two windows
        outside = 0 if not fbank.snip_edges else fbank.length_samples - fbank.shift_samples
        self.offset_s = outside / 2 / fbank.sampling_rate_hz

    @property
    def names(self) -> list[str]:
        """All utterances, sorted."""
        return list(self._utt2spk)

    def frames(self, name: str) -> Floats:
        """Cepstra and differences of an utterance, normalised by its speaker, (T, 3C)."""
        features = self._features.read(name, self.num_frames[name])
        speaker = self._utt2spk[name]
        if speaker not in self._speaker_sums:
            self._speaker_sums[speaker] = np.sum(
                [self._sums.read(other) for other in self._speakers[speaker]], axis=0
            )
        sums = self._speaker_sums[speaker]
        return cepstra(features, sums, self._settings.num_cepstra, self._settings.delta_window)


def read_transcripts(data: Path, lexicon: Lexicon, source: object) -> dict[str, list[str]]:
    """Utterance -> its words, of those that have any.

    Raises:
        DataError: words that the lexicon does not have, all in one message.
    """
    path = data / "text"
    words = read_words(tables.read_table(path, made_by="stage 0, from a corpus with transcripts"), lexicon)
    if unknown := unknown_words(words, lexicon):
        remedy = "add them to it, or make it with steps/make_lexicon.sh"
        raise unknown_error(unknown, path, source, remedy)
    return {name: line for name, line in words.items() if line}


def check_features(data: Path, model: Path) -> None:
    """Make sure that the features are of the kind that the model was trained on.

    Raises:
        DataError: they were made with other settings.
    """
    ours, theirs = data / "align" / "fbank.yaml", model / "fbank.yaml"
    one, other = (config.read_yaml(path)["fbank"] for path in (ours, theirs))
    if changed := sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)):
        raise DataError(
            f"{ours}: the features are not those of the model {model}: {', '.join(changed)} differ; "
            f"make them with the settings in {theirs}"
        )
