"""What the aligner reads of a data folder: the words, and the cepstra of a feature set's log energies.

``steps/extract.sh`` makes the set, ``steps/compute_cmvn.sh --set`` its CMVN statistics.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from ser.align.features import ALIGN_SET, frame_timing
from ser.align.lexicon import Lexicon, read_words, unknown_error, unknown_words
from ser.align.phone_model import AlignConfig
from ser.data import tables
from ser.data.datadir import MAIN
from ser.errors import DataError
from ser.feats import cmvn
from ser.feats.base import Floats
from ser.feats.cepstra import cepstra
from ser.feats.cmvn import Doubles
from ser.feats.sets import SETTINGS, FeatureSet, read_set, set_folder


def data_files(data: Path, features: str) -> dict[str, Path]:
    """All files of a data folder that an alignment depends on: name -> path.

    Args:
        data: the data folder.
        features: name of the feature set.

    Raises:
        DataError: one is missing.
    """
    folder = set_folder(data, features)
    tables_of_set = {f"{features}/{name}": folder / name for name in (SETTINGS, "utt2digest")}
    paths = {name: data / name for name in ("text", "utt2spk")} | tables_of_set
    for name, path in paths.items():
        if not path.exists():
            made_by = "steps/extract.sh" if name in tables_of_set else "stage 0"
            raise DataError(f"{path}: no such file; run {made_by}")
    return paths


class Speech:
    """The utterances of a data folder as the aligner hears them.

    Attributes:
        num_frames: utterance -> T.
        shift_s: from frame to frame.
        offset_s: the boundary before frame t lies at ``offset_s + t * shift_s``, half way between the middles
            of two windows.
    """

    def __init__(self, data: Path, settings: AlignConfig, features: str = ALIGN_SET) -> None:
        """Read the tables.

        Args:
            data: the data folder.
            settings: of the cepstra.
            features: name of the feature set.

        Raises:
            DataError: a table is missing, or they are about different utterances.
        """
        folder = set_folder(data, features)
        made_by = f"steps/extract.sh with the feature set {features}"
        timing = frame_timing(read_set(data, features))
        self.shift_s = timing.shift_s
        self.offset_s = timing.middle_s - timing.shift_s / 2
        self._settings = settings
        self._features = tables.ArkReader(folder / "feats.scp", made_by=made_by)
        cmvn_made_by = f"steps/compute_cmvn.sh --set {features}"
        self._sums = tables.ArkReader(folder / f"{cmvn.STEM}.scp", made_by=cmvn_made_by)
        self._utt2spk = tables.read_table(data / "utt2spk", made_by="stage 0")
        tables.same_keys(self._utt2spk, data / "utt2spk", self._features.places, folder / "feats.scp")
        self._speakers: dict[str, list[str]] = defaultdict(list)
        for name, speaker in self._utt2spk.items():
            self._speakers[speaker].append(name)
        self._speaker_sums: dict[str, Doubles] = {}
        path = folder / "utt2num_frames"
        frames = tables.read_table(path, made_by=made_by)
        self.num_frames = tables.convert(frames, path, tables.positive_int, "<frames>")

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


def check_features(data: Path, trained_on: FeatureSet, model: Path) -> None:
    """Make sure that the features are of the kind that a phone model was trained on.

    Args:
        data: the data folder.
        trained_on: the set that the model's folder keeps.
        model: that folder.

    Raises:
        DataError: they were made with other settings.
    """
    path = set_folder(data, trained_on.name) / SETTINGS
    ours, theirs = read_set(data, trained_on.name).settings, trained_on.settings
    if changed := sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)):
        raise DataError(
            f"{path}: the features are not those of the model {model}: {', '.join(changed)} differ; "
            f"make them with the settings in {model / MAIN}"
        )
