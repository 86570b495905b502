"""Speech activity for the small subsets of the tests, as stages 1 and 2 leave it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser.data import tables
from ser.feats import cmvn
from ser.feats.speech import speech_or_all


def add_speech(folder: Path, silent: tuple[str, ...] = ()) -> dict[str, npt.NDArray[np.bool_]]:
    """Give a data folder ``vad.scp``, ``vad.yaml`` and statistics over speech.

    Args:
        folder: of ``write_part``.
        silent: utterances without speech.

    Returns:
        Utterance -> speech (T,): not the first three frames, nor the last four, nor a stretch in the middle.
    """
    (folder / "feats.yaml").write_text(
        "set: fbank\nsettings: {num_mel_bins: 6}\ntiming: {shift_s: 0.01, middle_s: 0.0125}\n"
    )
    frames = {key: int(n) for key, n in tables.read_table(folder / "utt2num_frames").items()}
    masks = {}
    for key, total in frames.items():
        frame = np.arange(total)
        masks[key] = (
            (frame >= 3) & (frame < total - 4) & (np.abs(frame - total // 2) > 1) & (key not in silent)
        )
    with tables.ArkWriter(folder / "vad") as writer:
        for key, mask in masks.items():
            writer.write(key, mask.astype(np.float32))
    (folder / "vad.yaml").write_text("set: energy\nvad_energy_threshold: 5.0\n")
    (folder / "fbank").mkdir()
    features = tables.ArkReader(folder / "feats.scp")
    with tables.ArkWriter(folder / "fbank" / "cmvn_utt") as writer:
        for key in masks:
            writer.write(key, cmvn.stats(features.read(key)))
    with tables.ArkWriter(folder / "fbank" / "cmvn_utt_speech") as writer:
        for key, mask in masks.items():
            writer.write(key, cmvn.stats(features.read(key)[speech_or_all(mask)]))
    return masks
