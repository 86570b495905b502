from __future__ import annotations

from pathlib import Path

import pytest

from ser.data import labels
from ser.errors import DataError

FOUR = ("ang", "hap", "neu", "sad")


def test_the_order_survives_writing_and_is_not_sorted(tmp_path: Path) -> None:
    path = tmp_path / "emotions.txt"
    labels.write_emotions(path, ("sad", "ang"))
    assert path.read_text() == "sad 0\nang 1\n"
    assert labels.read_emotions(path) == ("sad", "ang")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ang 0\nsad 2\n", ":2: expected '<class> 1', got 'sad 2'; run stage 0 again"),
        ("ang 1\nsad 0\n", ":1: expected '<class> 0', got 'ang 1'; run stage 0 again"),
        ("ang 0\nang 1\n", ":2: the class 'ang' appears twice; run stage 0 again"),
        ("ang 0\n", ": holds 1 classes, at least 2 are needed; run stage 0 again"),
        ("", ": holds 0 classes, at least 2 are needed; run stage 0 again"),
        ("ang 0\nsad x\n", ":2: expected '<class> 1', got 'sad x'; run stage 0 again"),
    ],
)
def test_a_wrong_class_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "emotions.txt"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        labels.read_emotions(path)
    assert f"{path}{message}" in str(error.value).splitlines()


def test_a_missing_class_list_names_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        labels.read_emotions(tmp_path / "emotions.txt", made_by="steps/decode.sh")
    assert str(error.value) == f"{tmp_path}/emotions.txt: no such file; run steps/decode.sh"


def test_two_orders_are_both_named(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    labels.write_emotions(one, ("ang", "sad"))
    labels.write_emotions(two, ("sad", "ang"))
    assert labels.same_emotions(one, one) == ("ang", "sad")
    with pytest.raises(DataError) as error:
        labels.same_emotions(one, two)
    assert str(error.value) == (
        f"{two}: its classes are sad ang, those of {one} are ang sad; "
        "make both with the same classes in the settings of the corpus"
    )


def test_every_unknown_class_is_listed_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "utt2emo"
    path.write_text("a ang\nb joy\nc sad\nd Ang\n")
    with pytest.raises(DataError) as error:
        labels.read_utt2emo(path, FOUR)
    assert str(error.value).splitlines() == [
        f"{path}:2: expected '<utterance> <ang|hap|neu|sad>', got 'b joy'; run stage 0 again",
        f"{path}:4: expected '<utterance> <ang|hap|neu|sad>', got 'd Ang'; run stage 0 again",
    ]


def test_classes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "utt2emo"
    path.write_text("a ang\nb sad\n")
    assert labels.read_utt2emo(path, FOUR) == {"a": "ang", "b": "sad"}
