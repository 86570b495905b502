from __future__ import annotations

from pathlib import Path

import pytest

from ser.data import tables
from ser.data.corpus import DevConfig, Protocol
from ser.data.folds import FoldLine, make_folds, read_folds
from ser.data.split import fixed_split, subset_named
from ser.errors import DataError
from tests.data.test_folds import SPEAKERS, config, make_data, speakers_of

FOLDS = Protocol("fold", "each", DevConfig(1, True), {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "all", SPEAKERS)


def name_folds(data: Path, **folds: str) -> None:
    """Give speakers S1 to S3 (both of a session) a fold."""
    utt2spk = tables.read_table(data / "utt2spk")
    tables.write_table(data / "utt2fold", {name: folds[speaker[:2]] for name, speaker in utt2spk.items()})


@pytest.mark.parametrize(
    ("train", "dev", "test"),
    [
        ("train", "dev", "test"), ("Training", "valid", "TEST"), ("TRAIN", "val", "eval"),
        ("train_set", "validation", "evaluation"), ("training", "development", "Test-Set"),
        ("trn", "cv", "tst"),
    ],
)  # fmt: skip
def test_train_dev_and_test_are_a_fixed_split(
    data: Path, tmp_path: Path, train: str, dev: str, test: str
) -> None:
    name_folds(data, S1=test, S2=train, S3=dev)
    out = tmp_path / "folds"
    make_folds(data, out, config(folds=FOLDS))
    assert speakers_of(out) == {
        "pooled": ["S1_F", "S1_M"],
        "split/dev": ["S3_F", "S3_M"],
        "split/test": ["S1_F", "S1_M"],
        "split/train": ["S2_F", "S2_M"],
    }
    tested = tables.read_table(out / "split" / "test" / "utt2emo")
    assert list(tested) == [f"{s}-{c}{i}" for s in ("S1_F", "S1_M") for c in ("ang", "sad") for i in (1, 2)]
    assert read_folds(out) == [FoldLine("split", "split", "dev")]


def test_without_dev_speakers_of_train_tune(data: Path, tmp_path: Path) -> None:
    name_folds(data, S1="test", S2="train", S3="train")
    make_folds(data, tmp_path / "folds", config(folds=FOLDS))
    assert speakers_of(tmp_path / "folds") == {
        "pooled": ["S1_F", "S1_M"],
        "split-dev/test": ["S2_F"],
        "split-dev/train": ["S2_M", "S3_F", "S3_M"],
        "split/test": ["S1_F", "S1_M"],
        "split/train": ["S2_F", "S2_M", "S3_F", "S3_M"],
    }
    make_folds(data, tmp_path / "plain", config(folds=Protocol("fold", "each", None, {})))
    assert read_folds(tmp_path / "plain") == [FoldLine("split", "-", "-")]


def test_speakers_in_two_subsets_are_refused(data: Path, tmp_path: Path) -> None:
    name_folds(data, S1="test", S2="train", S3="dev")
    table = tables.read_table(data / "utt2fold")
    table["S2_F-ang1"] = "test"
    tables.write_table(data / "utt2fold", table)
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", config(folds=FOLDS))
    assert str(error.value) == (
        "fold split: speaker S2_F would be in train and in test; group by speaker, or correct utt2spk, "
        "utt2session or utt2fold (the column fold of a table)"
    )


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (
            ("1", "2", "train"),
            "T: has the folds train, which are subsets, and 1, 2; name all of them train, dev and test, or "
            "none",
        ),
        (
            ("Train-clean", "dev-clean", "test-clean"),
            "T: has the folds Train-clean, dev-clean, test-clean; Train-clean would be tested on, by its "
            "name it is to train on; name the subsets of a fixed split train, dev and test, or the folds "
            "otherwise",
        ),
        (
            ("test", "train1", "train2"),
            "T: has the folds test, train1, train2; train1 would be tested on, by its name it is to train "
            "on; name the subsets of a fixed split train, dev and test, or the folds otherwise",
        ),
        (
            ("train", "val"),
            "T: has the folds train, val, but no test; a fixed split has train and test, and may have dev",
        ),
        (
            ("Test",),
            "T: has the folds Test, but no train; a fixed split has train and test, and may have dev",
        ),
    ],
)
def test_what_is_no_split_is_refused(folds: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError) as error:
        fixed_split(folds, "T")
    assert str(error.value) == message


def test_other_folds_are_no_split() -> None:
    assert fixed_split(("1", "2", "test1"), "T") == {}
    assert [subset_named(name) for name in ("trainer", "tests", "a", "", "dev 1")] == [None] * 5
    assert fixed_split(("training", "train", "eval"), "T") == {
        "train": ["train", "training"],
        "test": ["eval"],
    }
