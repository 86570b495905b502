"""How many classes training speakers show, and when that is warned of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ser.data.confounding import (
    Shown,
    SpeakerGroup,
    TrainingSpeaker,
    confounded_shares,
    confounding_text,
    group_speakers,
    is_confounded,
    over_folds,
    read_training_speakers,
    speakers_text,
    training_speakers,
    write_training_speakers,
)
from ser.data.corpus import DevConfig, Protocol
from ser.data.division import SpeakerInfo, divide
from ser.errors import DataError

CLASSES = "ang hap neu sad".split()


def groups(shown: dict[str, int], *, timed: bool = True) -> list[SpeakerGroup]:
    """Each speaker has four utterances of 2 s, of so many classes; leave one speaker out, one tunes."""
    utt2emo = {f"{speaker}-{i}": CLASSES[i % number] for speaker, number in shown.items() for i in range(4)}
    utt2spk = {utt: utt.split("-")[0] for utt in utt2emo}
    info = SpeakerInfo(utt2spk, utt2spk, {})
    folds = divide("loso", Protocol("speaker", "each", DevConfig(1, True), {}), info, Path("data"))
    durations_s = dict.fromkeys(utt2emo, 2.0) if timed else {}
    return [
        group
        for fold in folds
        if not fold.name.endswith("-dev")
        for group in group_speakers(
            fold.name, training_speakers(fold.subsets["train"], utt2spk, utt2emo, durations_s), 4
        )
    ]


def test_all_speakers_show_all_classes() -> None:
    made = groups(dict.fromkeys("abcde", 4))
    assert made == [SpeakerGroup(fold, 4, 4, 4, 16, 8.0, 8.0, 8.0) for fold in "abcde"]  # no extra fold
    assert not is_confounded(made)
    assert confounding_text(made) == ""
    assert speakers_text(made) == (
        "training speakers (5 folds): 4 show 4 of 4 classes, with 8 s of speech each (median 8)"
    )


def test_most_speakers_show_one_class() -> None:
    made = groups({"a": 1, "b": 1, "c": 1, "d": 1, "e": 4}, timed=False)
    assert made[:2] == [
        SpeakerGroup("a", 1, 4, 3, 12, 0.0, 0.0, 0.0),
        SpeakerGroup("a", 4, 4, 1, 4, 0.0, 0.0, 0.0),
    ]
    assert over_folds(made) == [
        Shown(1, "3 to 4", "12 to 16", 0, 0, 0),
        Shown(4, "0 to 1", "0 to 4", 0, 0, 0),
    ]
    assert speakers_text(made) == (
        "training speakers (5 folds): 3 to 4 show 1 of 4 classes; 0 to 1 show 4 of 4 classes"
    )
    assert confounded_shares(made) == {"a": 0.75, "b": 0.75, "c": 0.75, "d": 0.75, "e": 1.0}
    assert confounding_text(made) == (
        "speaker and class are confounded: 75 to 100 % of the training utterances are of speakers who show "
        "at most half of the classes. A system may learn speakers in place of classes, and normalisation by "
        "speaker hides the classes (features.norm auto takes global then)"
    )


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"a": 2, "b": 4, "c": 4, "d": 4, "e": 4}, True),  # half the classes, a quarter of the utterances
        ({"a": 3, "b": 3, "c": 3, "d": 3, "e": 3}, False),
        ({"a": 1, "b": 4, "c": 4, "d": 4, "e": 4, "f": 4}, False),  # a fifth of the utterances
    ],
)
def test_where_it_begins(shown: dict[str, int], expected: bool) -> None:
    made = groups(shown)
    assert is_confounded(made) is expected
    assert bool(confounding_text(made)) is expected


def test_the_tested_speakers_do_not_count() -> None:
    """Only the fold that tests on the one odd speaker is free of it."""
    shares = confounded_shares(groups({"a": 1, "b": 4, "c": 4}))
    assert shares == {"a": 0.0, "b": 0.5, "c": 0.5}


def test_what_a_speaker_says_outside_of_the_training_subset_does_not_count() -> None:
    """As where utterances are divided, not speakers."""
    utt2emo = {"a-1": "ang", "a-2": "hap", "b-1": "sad", "b-2": "sad"}
    utt2spk = {utt: utt[0] for utt in utt2emo}
    durations_s = {"a-1": 1.0, "a-2": 2.0, "b-1": 4.0, "b-2": 8.0}
    assert training_speakers(["a-2", "b-1", "b-2"], utt2spk, utt2emo, durations_s) == [
        TrainingSpeaker(1, 1, 2.0),
        TrainingSpeaker(1, 2, 12.0),
    ]


def test_round_trip(tmp_path: Path) -> None:
    made = groups({"a": 1, "b": 4, "c": 2})
    path = tmp_path / "training_speakers.tsv"
    write_training_speakers(path, made)
    assert read_training_speakers(path) == made
    for text in ("", "fold\n", path.read_text() + "x\t1\n"):
        path.write_text(text)
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: is no table of training speakers"):
            read_training_speakers(path)
