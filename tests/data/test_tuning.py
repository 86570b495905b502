"""What a fold's fusion may be tuned on: nothing that knows the tested speakers, and all that does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.data.corpus import DevConfig, Protocol
from ser.data.division import Fold, SpeakerInfo, divide
from ser.data.folds import FoldLine, read_folds, write_folds
from ser.data.tuning import TuningSource, other_sources, read_tuning, write_tuning
from ser.errors import DataError


def divided(
    groups: dict[str, str], dev: DevConfig | None, group: str = "speaker"
) -> tuple[list[Fold], dict[str, str]]:
    """The folds that test on each group (speaker -> group) in turn; two utterances a speaker."""
    utt2spk = {f"{speaker}-{number}": speaker for speaker in groups for number in (1, 2)}
    info = SpeakerInfo(utt2spk, {utt: groups[speaker] for utt, speaker in utt2spk.items()}, {})
    protocol = Protocol("speaker" if group == "speaker" else "session", "each", dev, {})
    return divide("x", protocol, info, Path("data")), utt2spk


def alone(speakers: str) -> dict[str, str]:
    return {speaker: speaker for speaker in speakers}


def test_leave_one_speaker_out() -> None:
    """Of a to e the two next ones tune; c is a dev speaker of a (beside b) and of b (beside d)."""
    folds, utt2spk = divided(alone("abcde"), DevConfig(2, True))
    sources = other_sources(folds, utt2spk)
    assert sources["c"] == (
        TuningSource("a-dev", "a-dev", "test"),  # b, by models that know neither a, b nor c
        TuningSource("a-dev", "a", "test"),  # a, by the same
        TuningSource("b-dev", "b-dev", "test"),  # d
        TuningSource("b-dev", "b", "test"),  # b again, by others
    )
    assert set(sources) == set("abcde")


def test_groups_that_tune_each_other() -> None:
    """RAVDESS: the next group is the dev subset of each, so of the others only the tested ones serve."""
    sessions = {"a": "1", "b": "1", "c": "2", "d": "2", "e": "3", "f": "3"}
    folds, utt2spk = divided(sessions, DevConfig(2, True), "session")
    assert other_sources(folds, utt2spk) == {
        "1": (TuningSource("3-dev", "3", "test"),),
        "2": (TuningSource("1-dev", "1", "test"),),
        "3": (TuningSource("2-dev", "2", "test"),),
    }


@pytest.mark.parametrize("dev", [None, DevConfig(2, False)])
def test_without_extra_folds_there_is_nothing_else(dev: DevConfig | None) -> None:
    """A model that stopped early on a speaker knows that speaker."""
    assert other_sources(*divided(alone("abcde"), dev)) == {}


@given(
    st.dictionaries(st.text("abcdefghij", min_size=1, max_size=3), st.sampled_from("1234"), min_size=6),
    st.integers(1, 3),
    st.booleans(),
)
def test_nothing_knows_the_tested_speakers(groups: dict[str, str], number: int, by_speaker: bool) -> None:
    """By the definition: no tested speaker was trained on, and someone else is decoded; nothing is missed."""
    groups = {speaker: speaker for speaker in groups} if by_speaker else groups
    if len(set(groups.values())) < 2:
        return
    try:
        folds, utt2spk = divided(groups, DevConfig(number, True), "speaker" if by_speaker else "session")
    except DataError:
        return  # too few speakers
    subsets = {(f.name, s): {utt2spk[u] for u in utts} for f in folds for s, utts in f.subsets.items()}
    sources = other_sources(folds, utt2spk)
    extra = {fold.tune_fold: fold.name for fold in folds if fold.tune_fold != "-"}
    for fold in extra.values():
        tested = subsets[fold, "test"]
        expected = {
            TuningSource(model, home, "test")
            for model, own in extra.items()
            if own != fold and not subsets[model, "train"] & tested
            for home in (model, own)
            if subsets[home, "test"] - tested
        }
        assert set(sources.get(fold, ())) == expected
        assert all(not subsets[s.model_fold, "train"] & subsets[s.data_fold, "test"] for s in expected)


def test_round_trip(tmp_path: Path) -> None:
    folds, utt2spk = divided(alone("abcde"), DevConfig(2, True))
    sources = other_sources(folds, utt2spk)
    write_tuning(tmp_path / "tuning.tsv", sources)
    assert read_tuning(tmp_path / "tuning.tsv", {fold.name for fold in folds}) == sources
    write_folds(tmp_path / "folds.tsv", folds)
    assert read_folds(tmp_path)[:2] == [
        FoldLine("a", "a-dev", "test", sources["a"]),
        FoldLine("a-dev", "-", "-"),
    ]
    (tmp_path / "tuning.tsv").unlink()
    assert read_folds(tmp_path)[0] == FoldLine("a", "a-dev", "test")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fold\tmodel_fold\n",
        "fold\tmodel_fold\tdata_fold\tsubset\na\tb\n",
        "fold\tmodel_fold\tdata_fold\tsubset\na\tb\tz\ttest\n",
        "fold\tmodel_fold\tdata_fold\tsubset\na\tb\tb\ttrain\n",
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tuning.tsv"
    path.write_text(text)
    message = f"{path}: is no list of what these folds are tuned on; run stage 2 again"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read_tuning(path, {"a", "b"})
