"""Folders of posteriors: what can be read, what is written, pooling."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ser.errors import DataError
from ser.scoring.posteriors import Posteriors, merge_notes, pool_folders, read_posteriors, write_posteriors
from tests.lost import check_made_again

from .conftest import EMOTIONS, Maker

HAPPY = (0.1, 0.6, 0.2, 0.1)


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def test_round_trip(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 3)
    output = Posteriors(
        str(tmp_path / "a"),
        EMOTIONS,
        {"s1-c": rows[0], "s1-a": rows[1], "s2-b": rows[2]},
        {"s1-b": "too short: 20 of 30 frames"},
        notes={"normalisation": "speaker"},
    )
    write_posteriors(tmp_path / "a", output, {"mode": "x"}, {})
    back = read_posteriors(tmp_path / "a")
    assert list(back.posteriors) == ["s1-a", "s1-c", "s2-b"]
    assert all((back.posteriors[utt] == row).all() for utt, row in output.posteriors.items())
    assert (back.emotions, back.not_scored, back.notes) == (EMOTIONS, output.not_scored, output.notes)
    hyp = (tmp_path / "a" / "hyp").read_text().split()
    assert hyp[::2] == ["s1-a", "s1-c", "s2-b"]
    assert hyp[1::2] == [EMOTIONS[row.argmax()] for row in (rows[1], rows[0], rows[2])]
    made = json.loads((tmp_path / "a" / "made.json").read_text())
    assert (made["inputs"], made["settings"]) == ({}, {"mode": "x"})
    assert list(made["outputs"]) == ["emotions.txt", "hyp", "not_scored", "notes", "post"]


def test_writing_again_leaves_nothing_of_earlier_posteriors(tmp_path: Path) -> None:
    row = {"a": np.array(HAPPY)}
    write_posteriors(tmp_path, Posteriors("x", EMOTIONS, row, {"b": "short"}, notes={"k": "v"}), {}, {})
    write_posteriors(tmp_path, Posteriors("x", EMOTIONS, row), {}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emotions.txt", "hyp", "made.json", "post"]


def test_nothing_to_write(tmp_path: Path) -> None:
    message = f"{tmp_path}: no utterance has posteriors, nothing can be scored; check not_scored"
    with pytest.raises(DataError, match=exactly(message)):
        write_posteriors(tmp_path, Posteriors("x", EMOTIONS, {}, {"b": "short"}), {}, {})


def test_values_that_are_no_probabilities(make_output: Maker) -> None:
    rows = {
        "a": HAPPY,
        "b": (2.5, -1.0, 0.0, 0.5),
        "c": (0.1, 0.1, 0.1, 0.1),
        "d": (0.2505, 0.25, 0.25, 0.25),
    }
    folder = make_output("x", rows)
    what = "the values must be in 0..1 and sum to 1, these sum to"
    remedy = "write probabilities, not logits or logarithms"
    message = f"{folder}/post:2: b: {what} 2; {remedy}\n{folder}/post:3: c: {what} 0.4; {remedy}"
    with pytest.raises(DataError, match=exactly(message)):
        read_posteriors(folder)


def test_wrong_number_of_classes(make_output: Maker) -> None:
    folder = make_output("x", {"a": (0.5, 0.5)})
    with pytest.raises(
        DataError, match=re.escape(f"{folder}/post:1: expected '<key> [ 4 numbers ]', got 'a [")
    ):
        read_posteriors(folder)


def test_missing_post(make_output: Maker) -> None:
    folder = make_output("x", {"a": HAPPY})
    (folder / "post").unlink()
    with pytest.raises(DataError, match=exactly(f"{folder}/post: no such file; run steps/decode.sh")):
        read_posteriors(folder)


def test_scored_and_not_scored(make_output: Maker) -> None:
    folder = make_output("x", {"a": HAPPY, "b": HAPPY}, not_scored={"b": "too short"})
    message = (
        f"{folder}/not_scored: b has posteriors in {folder}/post too; remove the utterance from one of them"
    )
    with pytest.raises(DataError, match=exactly(message)):
        read_posteriors(folder)


def test_merge_notes() -> None:
    outputs = [
        Posteriors("x", EMOTIONS, {}, notes=notes)
        for notes in ({"norm": "speaker", "a": "1"}, {"norm": "utt"}, {"norm": "speaker+utt"})
    ]
    assert merge_notes(outputs) == {"norm": "speaker+utt", "a": "1"}


def test_pool(tmp_path: Path, make_output: Maker) -> None:
    one = make_output(
        "1", {"s1-a": HAPPY, "s3-a": HAPPY}, not_scored={"s1-b": "short"}, notes={"norm": "utt"}
    )
    two = make_output("2", {"s2-a": (1, 0, 0, 0)}, notes={"norm": "utt"})
    pool_folders(tmp_path / "pooled", [one, two])
    pooled = read_posteriors(tmp_path / "pooled")
    assert {utt: tuple(row) for utt, row in pooled.posteriors.items()} == {
        "s1-a": HAPPY,
        "s2-a": (1, 0, 0, 0),
        "s3-a": HAPPY,
    }
    assert (pooled.not_scored, pooled.notes) == ({"s1-b": "short"}, {"norm": "utt"})


def test_pool_is_made_again_only_when_an_input_changed(tmp_path: Path, make_output: Maker) -> None:
    one, two = make_output("1", {"a": HAPPY}), make_output("2", {"b": HAPPY})
    pool_folders(tmp_path / "p", [one, two])
    before = (tmp_path / "p" / "post").stat().st_mtime_ns
    pool_folders(tmp_path / "p", [one, two])
    assert (tmp_path / "p" / "post").stat().st_mtime_ns == before
    make_output("2", {"b": (1, 0, 0, 0)})
    pool_folders(tmp_path / "p", [one, two])
    assert tuple(read_posteriors(tmp_path / "p").posteriors["b"]) == (1, 0, 0, 0)


def test_a_lost_pool_is_made_again(
    tmp_path: Path, make_output: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [make_output("1", {"a": HAPPY}), make_output("2", {"b": HAPPY})]
    pool_folders(tmp_path / "p", folders)
    check_made_again(
        tmp_path / "p", {"post", "hyp", "emotions.txt"}, lambda: pool_folders(tmp_path / "p", folders), caplog
    )


def test_pool_refuses_an_utterance_in_two_folds(tmp_path: Path, make_output: Maker) -> None:
    one = make_output("1", {"a": HAPPY, "b": HAPPY})
    two = make_output("2", {"c": HAPPY}, not_scored={"b": "short"})
    message = f"{two}: the utterance b is in {one} too; pool folds whose test sets share no utterance"
    with pytest.raises(DataError, match=exactly(message)):
        pool_folders(tmp_path / "p", [one, two])
    assert not (tmp_path / "p").exists()


def test_pool_refuses_another_class_order(tmp_path: Path, make_output: Maker) -> None:
    one = make_output("1", {"a": HAPPY})
    two = make_output("2", {"b": HAPPY}, emotions=("ang", "hap", "sad", "neu"))
    message = (
        f"{two}/emotions.txt: its classes are ang hap sad neu, those of {one}/emotions.txt are "
        "ang hap neu sad; make both with the same classes in the settings of the corpus"
    )
    with pytest.raises(DataError, match=exactly(message)):
        pool_folders(tmp_path / "p", [one, two])


def test_pool_of_chunks(tmp_path: Path, make_output: Maker) -> None:
    one = make_output("1", {"a-0": HAPPY, "a-1": HAPPY}, chunk2utt={"a-0": "a", "a-1": "a"})
    two = make_output("2", {"b-0": HAPPY}, chunk2utt={"b-0": "b"})
    pool_folders(tmp_path / "p", [one, two])
    assert read_posteriors(tmp_path / "p").chunk2utt == {"a-0": "a", "a-1": "a", "b-0": "b"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_posteriors_that_are_no_numbers_are_not_written(tmp_path: Path, value: float) -> None:
    rows = {"a": np.array(HAPPY), "b": np.array([value, 0.0, 0.0, 0.0])}
    with pytest.raises(DataError) as error:
        write_posteriors(tmp_path / "out", Posteriors("x", EMOTIONS, rows), {}, {})
    assert str(error.value) == (
        f"{tmp_path}/out: the posteriors of b would be NaN or infinite, none is written; are their "
        "features as large as those the system was trained on?"
    )
    assert not (tmp_path / "out").exists()
