"""Which normalisation fits a training subset: by each speaker where that is sound, else by all of the subset.

It is what ``features.norm: auto`` takes.  Only the training subset is looked at, and neither features nor the
system matter, so that all systems of a fold have the same.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ser.data import tables
from ser.data.confounding import TrainingSpeaker, group_speakers, is_confounded, training_speakers
from ser.data.durations import known_durations
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo
from ser.errors import examples

AUTO = "auto"
# A typical (median) training speaker must have so much. Of fewer utterances few classes share a speaker's
# statistics, which so take the class away: of SVMs on EMO-DB and RAVDESS, normalisation by speaker is on
# average above that by the training subset from 8 utterances on, and 5 points below it with 4
# (docs/results.md).
LEAST_UTTERANCES = 8
LEAST_S = 10.0
LITTLE_S = 5.0  # speech of a speaker by which normalisation is warned of


class NormChoice(NamedTuple):
    """What ``auto`` takes for a training subset."""

    norm: Literal["speaker", "global"]
    reason: str


def choose_norm(speakers: Sequence[TrainingSpeaker], num_classes: int) -> NormChoice:
    """By speaker where speaker and class are not confounded and a typical speaker says enough.

    Args:
        speakers: of the training subset.
        num_classes: of the corpus.

    >>> choose_norm([TrainingSpeaker(4, 34, 96.0)] * 9, 4).norm
    'speaker'
    """
    utterances = statistics.median(speaker.utterances for speaker in speakers)
    speech_s = statistics.median(speaker.speech_s for speaker in speakers)
    obstacles = {
        "there is 1 training speaker": len(speakers) == 1,
        "speaker and class are confounded": is_confounded(group_speakers("", speakers, num_classes)),
        f"a typical training speaker has fewer than {LEAST_UTTERANCES} utterances": (
            utterances < LEAST_UTTERANCES
        ),
        "how much speech a training speaker has is not known without utt2dur": speech_s == 0,
        f"a typical training speaker has less than {LEAST_S:g} s of speech": speech_s < LEAST_S,
    }
    for reason, stands in obstacles.items():
        if stands:
            return NormChoice("global", reason)
    return NormChoice("speaker", "speaker and class are not confounded, and training speakers say enough")


def norm_of(train: Path) -> NormChoice:
    """What fits a training subset.

    Args:
        train: its data folder.

    Raises:
        DataError: a table is missing or damaged.
    """
    utt2spk = tables.read_table(train / "utt2spk", made_by="stage 2")
    emotions = read_emotions(train / EMOTIONS)
    utt2emo = read_utt2emo(train / "utt2emo", emotions)
    tables.same_keys(utt2emo, train / "utt2emo", utt2spk, train / "utt2spk")
    return choose_norm(training_speakers(utt2spk, utt2spk, utt2emo, known_durations(train)), len(emotions))


def norm_files(train: Path) -> dict[str, Path]:
    """The files of a training subset that :func:`norm_of` reads: name -> path."""
    timed = ("utt2dur",) if (train / "utt2dur").exists() else ("utt2num_frames", "frame_shift")
    return {name: train / name for name in ("utt2spk", "utt2emo", *timed) if (train / name).exists()}


def norm_text(choices: Mapping[str, NormChoice]) -> str:
    """What ``auto`` takes in the folds of a protocol and why, in one line.

    Args:
        choices: fold -> what it takes there.
    """
    return f"features.norm {AUTO} takes {'; '.join(_groups(choices))}"


def norm_warning(choices: Mapping[str, NormChoice]) -> str:
    """A warning where folds differ in their normalisation, else nothing."""
    if len({choice.norm for choice in choices.values()}) == 1:
        return ""
    return (
        f"{norm_text(choices)}: results over all folds are then of two normalisations; "
        "--set features.norm=global has one"
    )


def _groups(choices: Mapping[str, NormChoice]) -> list[str]:
    folds: dict[NormChoice, list[str]] = defaultdict(list)
    for fold, choice in choices.items():
        folds[choice].append(fold)
    if len(folds) == 1:
        return [f"{choice.norm} ({choice.reason})" for choice in folds]
    return [
        f"{choice.norm} in {len(names)} of {len(choices)} folds ({examples(names)}: {choice.reason})"
        for choice, names in sorted(folds.items(), key=lambda item: -len(item[1]))
    ]


def little_speech_text(data: Path) -> str:
    """A warning of speakers that say too little to be normalised by their own statistics, else nothing.

    Args:
        data: the data folder, of whatever subset.

    Raises:
        DataError: a table is damaged.
    """
    utt2spk, durations_s = tables.read_table(data / "utt2spk"), known_durations(data)
    speech_s: dict[str, float] = defaultdict(float)
    for utterance, speaker in utt2spk.items():
        speech_s[speaker] += durations_s.get(utterance, 0)
    little = {speaker for speaker, seconds in speech_s.items() if seconds < LITTLE_S}
    if not little or not durations_s:
        return ""
    utterances = sum(speaker in little for speaker in utt2spk.values())
    return (
        f"{data}: {len(little)} of {len(speech_s)} speakers have less than {LITTLE_S:g} s of speech "
        f"({examples(sorted(little))}), too little to normalise their {utterances} of {len(utt2spk)} "
        "utterances by; features.norm global takes the training subset's statistics"
    )
