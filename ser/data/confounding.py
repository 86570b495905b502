"""How many classes each training speaker shows, and whether speaker and class are confounded.

Where most speakers show few of the classes, a system can tell the classes of its training subset apart by
their speakers, and normalisation by speaker removes, with the speaker, the difference that is sought.  Only
training subsets are looked at.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ser import reading
from ser.data.files import whole_file

TRAINING_SPEAKERS = "training_speakers.tsv"
CONFOUNDED = 0.25  # least share of training utterances of speakers who show at most half of the classes
_REMEDY = "run stage 2 again"


class SpeakerGroup(NamedTuple):
    """Training speakers of a fold who show as many classes: a line of ``training_speakers.tsv``."""

    fold: str
    num_shown: int  # of the classes
    num_classes: int
    speakers: int
    utterances: int
    least_s: float  # speech of one of these speakers; 0 where the corpus has no durations
    median_s: float
    most_s: float


class TrainingSpeaker(NamedTuple):
    """What one speaker says in a training subset."""

    num_shown: int  # classes
    utterances: int
    speech_s: float  # 0 where the corpus has no durations


def training_speakers(
    utterances: Iterable[str],
    utt2spk: Mapping[str, str],
    utt2emo: Mapping[str, str],
    durations_s: Mapping[str, float],
) -> list[TrainingSpeaker]:
    """The speakers of a training subset, by name.

    Args:
        utterances: of the training subset; the tables may have others.
        utt2spk: the speaker of each utterance.
        utt2emo: its class.
        durations_s: its duration in seconds; empty if not known.
    """
    own: dict[str, list[str]] = defaultdict(list)
    for utterance in utterances:
        own[utt2spk[utterance]].append(utterance)
    return [
        TrainingSpeaker(
            len({utt2emo[name] for name in names}),
            len(names),
            sum(durations_s.get(name, 0) for name in names),
        )
        for _, names in sorted(own.items())
    ]


def group_speakers(fold: str, speakers: Sequence[TrainingSpeaker], num_classes: int) -> list[SpeakerGroup]:
    """The training speakers of a fold by how many classes they show, from fewest to most.

    Args:
        fold: its name.
        speakers: of its training subset.
        num_classes: of the corpus.
    """
    by_shown: dict[int, list[TrainingSpeaker]] = defaultdict(list)
    for speaker in speakers:
        by_shown[speaker.num_shown].append(speaker)
    groups = []
    for shown, group in sorted(by_shown.items()):
        times = [speaker.speech_s for speaker in group]
        utterances = sum(speaker.utterances for speaker in group)
        spread = (min(times), statistics.median(times), max(times))
        groups.append(SpeakerGroup(fold, shown, num_classes, len(group), utterances, *spread))
    return groups


def confounded_shares(groups: Sequence[SpeakerGroup]) -> dict[str, float]:
    """Fold -> share of its training utterances that are of speakers who show at most half of the classes."""
    few: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for group in groups:
        total[group.fold] += group.utterances
        few[group.fold] += group.utterances if 2 * group.num_shown <= group.num_classes else 0
    return {fold: few[fold] / number for fold, number in total.items()}


def is_confounded(groups: Sequence[SpeakerGroup]) -> bool:
    """Whether speaker and class are confounded in the training subset of any fold."""
    return max(confounded_shares(groups).values()) >= CONFOUNDED


class Shown(NamedTuple):
    """Training speakers who show the same number of classes, over all folds."""

    num_shown: int
    speakers: str  # in a fold, least to most
    utterances: str
    least_s: float
    median_s: float  # of the folds' medians
    most_s: float


def over_folds(groups: Sequence[SpeakerGroup]) -> list[Shown]:
    """The groups of all folds together, by the number of classes."""
    folds = len({group.fold for group in groups})
    by_shown: dict[int, list[SpeakerGroup]] = defaultdict(list)
    for group in groups:
        by_shown[group.num_shown].append(group)
    return [
        Shown(
            shown,
            _span([group.speakers for group in listed] + [0] * (len(listed) < folds)),
            _span([group.utterances for group in listed] + [0] * (len(listed) < folds)),
            min(group.least_s for group in listed),
            statistics.median(group.median_s for group in listed),
            max(group.most_s for group in listed),
        )
        for shown, listed in sorted(by_shown.items())
    ]


def speakers_text(groups: Sequence[SpeakerGroup]) -> str:
    """What the training speakers show, over all folds, in one line."""
    folds = len({group.fold for group in groups})
    pieces = []
    for each in over_folds(groups):
        pieces.append(f"{each.speakers} show {each.num_shown} of {groups[0].num_classes} classes")
        if each.most_s:
            seconds = _span([round(each.least_s), round(each.most_s)])
            pieces[-1] += f", with {seconds} s of speech each (median {each.median_s:.0f})"
    return f"training speakers ({folds} fold{'s' * (folds > 1)}): {'; '.join(pieces)}"


def confounding_text(groups: Sequence[SpeakerGroup]) -> str:
    """A warning in words where speaker and class are confounded, else nothing."""
    if not is_confounded(groups):
        return ""
    shares = [round(100 * share) for share in confounded_shares(groups).values()]
    return (
        f"speaker and class are confounded: {_span(shares)} % of the training utterances are of speakers "
        "who show at most half of the classes. A system may learn speakers in place of classes, and "
        "normalisation by speaker hides the classes (features.norm auto takes global then)"
    )


def _span(numbers: Sequence[int]) -> str:
    """``9``, or ``8 to 9`` where they differ."""
    least, most = min(numbers), max(numbers)
    return str(most) if least == most else f"{least} to {most}"


def write_training_speakers(path: Path, groups: Sequence[SpeakerGroup]) -> None:
    """Write ``training_speakers.tsv``."""
    with whole_file(path) as stream:
        stream.write("\t".join(SpeakerGroup._fields) + "\n")
        for group in groups:
            words = (f"{value:.2f}" if isinstance(value, float) else str(value) for value in group)
            stream.write("\t".join(words) + "\n")


def read_training_speakers(path: Path) -> list[SpeakerGroup]:
    """Read ``training_speakers.tsv``.

    Raises:
        DataError: it is missing, or no such table.
    """
    text = reading.read_text(path, _REMEDY)
    with reading.guarded(path, _REMEDY, what="is no table of training speakers"):
        head, *lines = (line.split("\t") for line in text.splitlines())
        groups = [_parse(line) for line in lines]
        if tuple(head) != SpeakerGroup._fields or not groups:
            raise reading.BadFileError("is no table of training speakers")
        return groups


def _parse(words: Sequence[str]) -> SpeakerGroup:
    fold, shown, classes, speakers, utterances, least, median, most = words
    numbers = (int(shown), int(classes), int(speakers), int(utterances))
    return SpeakerGroup(fold, *numbers, float(least), float(median), float(most))
