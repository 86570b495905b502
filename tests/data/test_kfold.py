from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.data.corpus import DevConfig, Protocol
from ser.data.division import SpeakerInfo, divide
from ser.data.kfold import deal_out
from ser.errors import DataError

DRAWN = Protocol("speaker", {"folds": 3, "seed": 1}, None, {})


def corpus(counts: dict[str, dict[str, int]]) -> tuple[dict[str, str], dict[str, str]]:
    """Speaker and class of utterances, given speaker -> class -> how many."""
    names = {
        f"{speaker}-{label}{number}": (speaker, label)
        for speaker, labels in counts.items()
        for label, total in labels.items()
        for number in range(total)
    }
    return {n: s for n, (s, _) in names.items()}, {n: label for n, (_, label) in names.items()}


def test_every_fold_gets_its_share_of_every_class() -> None:
    """Speakers of one class each: without a look at classes, folds of one class would be as large."""
    utt2spk, utt2class = corpus({f"s{i:02d}": {"ang" if i < 10 else "sad": 7} for i in range(20)})
    folds = deal_out(utt2spk, utt2class, 5, 3)
    assert list(folds) == ["1", "2", "3", "4", "5"]
    shares = [Counter(utt2class[n] for n, s in utt2spk.items() if s in groups) for groups in folds.values()]
    assert shares == [{"ang": 14, "sad": 14}] * 5


def test_the_seed_draws_and_nothing_else_does() -> None:
    utt2spk, utt2class = corpus({f"s{i:02d}": {"ang": 2, "sad": 2} for i in range(12)})
    first = deal_out(utt2spk, utt2class, 10, 1)
    # in the order of sha256sum <<< "1 s01" and so on, without the newline
    assert first == {
        "01": {"s01", "s11"}, "02": {"s04", "s09"}, "03": {"s06"}, "04": {"s07"}, "05": {"s02"},
        "06": {"s10"}, "07": {"s00"}, "08": {"s05"}, "09": {"s08"}, "10": {"s03"},
    }  # fmt: skip
    assert deal_out(dict(reversed(utt2spk.items())), utt2class, 10, 1) == first
    assert deal_out(utt2spk, utt2class, 10, 2) != first


@given(
    counts=st.dictionaries(
        st.text("abc", min_size=1, max_size=4),
        st.fixed_dictionaries({"ang": st.integers(0, 9), "sad": st.integers(1, 9)}),
        min_size=4,
    ),
    num_folds=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_each_group_is_in_one_fold_and_no_fold_is_empty(
    counts: dict[str, dict[str, int]], num_folds: int, seed: int
) -> None:
    utt2spk, utt2class = corpus(counts)
    folds = deal_out(utt2spk, utt2class, num_folds, seed)
    assert sorted(group for groups in folds.values() for group in groups) == sorted(counts)
    assert all(folds.values())


def info(speakers: int) -> SpeakerInfo:
    utt2spk, utt2class = corpus({f"s{i}": {"ang": 2, "sad": 2} for i in range(speakers)})
    return SpeakerInfo(utt2spk, utt2spk, {}, utt2class)


def test_the_protocol_tests_on_each_once() -> None:
    speakers = info(7)
    folds = divide("kfold", DRAWN, speakers, Path("all"))
    assert [fold.name for fold in folds] == ["1", "2", "3"]
    assert sorted(n for fold in folds for n in fold.subsets["test"]) == sorted(speakers.utt2spk)
    for fold in folds:
        assert sorted(fold.subsets["train"] + fold.subsets["test"]) == sorted(speakers.utt2spk)
        sides = [{speakers.utt2spk[n] for n in fold.subsets[side]} for side in ("train", "test")]
        assert sides[0].isdisjoint(sides[1])
    tuned = divide(
        "kfold", Protocol("speaker", {"folds": 3, "seed": 1}, DevConfig(2, True), {}), speakers, Path()
    )
    assert [fold.name for fold in tuned] == ["1", "1-dev", "2", "2-dev", "3", "3-dev"]


def test_too_few_speakers_are_told_a_way_that_works() -> None:
    with pytest.raises(DataError) as error:
        divide("kfold", DRAWN, info(2), Path("all"))
    assert str(error.value) == (
        "all: has 2 speakers, too few for 3 folds; --set corpus:protocols.kfold.test.folds=2 makes as many "
        "folds"
    )
    folds = divide("kfold", Protocol("speaker", {"folds": 2, "seed": 1}, None, {}), info(2), Path("all"))
    assert [len(fold.subsets["train"]) for fold in folds] == [4, 4]
    with pytest.raises(DataError) as error:
        divide("kfold", DRAWN, info(1), Path("all"))
    assert str(error.value) == (
        "all: has 1 speaker, too few for 3 folds; take a protocol with group: utterance, such as "
        "kfold_utterances of egs/csv (its numbers are speaker-dependent)"
    )


@pytest.mark.parametrize("protocol", [DRAWN, Protocol("speaker", "each", None, {})])
def test_a_protocol_that_the_corpus_has_is_named(protocol: Protocol) -> None:
    known = {"loso": protocol, "kfold_utterances": Protocol("utterance", {"folds": 5, "seed": 1}, None, {})}
    with pytest.raises(DataError) as error:
        divide("loso", protocol, info(1), Path("all"), known)
    assert str(error.value).endswith("; take --protocol kfold_utterances (its numbers are speaker-dependent)")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (
            1,
            "all: has only the speaker s0, nothing would be left to train on; take a protocol with group: "
            "utterance, such as kfold_utterances of egs/csv (its numbers are speaker-dependent)",
        ),
        (
            2,
            "all: fold s0 has 1 training speaker, 2 cannot be taken for tuning; --set "
            "corpus:protocols.loso.dev=null tunes nothing",
        ),
        (
            3,
            "all: fold s0 has 2 training speakers, 2 cannot be taken for tuning; --set "
            "corpus:protocols.loso.dev.speakers=1, or --set corpus:protocols.loso.dev=null tunes nothing",
        ),
    ],
)
def test_one_two_or_three_speakers_to_leave_out_in_turn(number: int, message: str) -> None:
    with pytest.raises(DataError) as error:
        divide("loso", Protocol("speaker", "each", DevConfig(2, True), {}), info(number), Path("all"))
    assert str(error.value) == message
