"""Transcripts and dialogues of a subset: words, vocabulary, order, roles, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ser.data import tables
from ser.data.datadir import make_view
from ser.data.turns import NO_TURNS, UNKNOWN, TurnUse, read_turns, turn_files, words_of
from ser.errors import DataError

SPEAKERS = {"a-1": "a", "a-2": "a", "a-3": "a", "b-1": "b", "b-2": "b", "c-1": "c"}
TEXTS = {"a-1": "Yes, I do!", "a-2": "I do not.", "b-1": "YES", "b-2": "Not I; you do", "c-1": "???"}
ALL = TurnUse(min_count=1, dialogues=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dialogues, whose order is not that of their names; a-3 has no transcript, c-1 no words."""
    tables.write_table(tmp_path / "utt2spk", SPEAKERS)
    tables.write_table(tmp_path / "text", TEXTS)
    names = ("y", "x", "x", "x", "y", "x")
    tables.write_table(tmp_path / "utt2dialogue", dict(zip(SPEAKERS, names, strict=True)))
    orders = ("7.5", "3", "-1", "10", "7", "4e0")
    tables.write_table(tmp_path / "utt2turn", dict(zip(SPEAKERS, orders, strict=True)))
    return tmp_path


def test_words() -> None:
    assert words_of("Don’t - stop; it's  9 o'clock, SO-SO") == [
        "don’t",
        "stop",
        "it's",
        "9",
        "o'clock",
        "so-so",
    ]
    assert words_of("Straße") == ["strasse"]
    assert words_of("... !") == []


def test_the_vocabulary_is_of_the_subset_and_numbers_are_its(folder: Path) -> None:
    turns = read_turns(folder, SPEAKERS, ALL)
    assert turns is not None
    assert turns.words is not None
    assert turns.vocabulary == ("do", "i", "not", "yes", "you")  # numbers 2, 3, 4, 5, 6
    assert [words.tolist() for words in turns.words] == [[5, 3, 2], [3, 2, 4], [], [5], [4, 3, 6, 2], []]


def test_a_vocabulary_that_is_given_is_kept(folder: Path) -> None:
    """Of another subset every word that training did not say is unknown, however often it is said."""
    turns = read_turns(folder, SPEAKERS, ALL, ("i", "we"))
    assert turns is not None
    assert turns.words is not None
    assert turns.vocabulary == ("i", "we")
    assert turns.words[0].tolist() == [UNKNOWN, 2, UNKNOWN]
    nothing = read_turns(folder, SPEAKERS, ALL, ())
    assert nothing is not None
    assert nothing.vocabulary == ()


def test_words_that_are_said_too_seldom_are_unknown(folder: Path) -> None:
    turns = read_turns(folder, SPEAKERS, TurnUse(min_count=3))
    assert turns is not None
    assert turns.words is not None
    assert turns.vocabulary == ("do", "i")
    assert turns.words[0].tolist() == [UNKNOWN, 3, 2]
    assert turns.dialogues == []


def test_dialogues_are_in_order_and_roles_in_that_of_first_words(folder: Path) -> None:
    """x: a-3 at -1, a-2 at 3, c-1 at 4, b-1 at 10; y: b-2 at 7, a-1 at 7.5."""
    turns = read_turns(folder, SPEAKERS, TurnUse(dialogues=True))
    assert turns is not None
    assert turns.words is None
    assert [rows.tolist() for rows in turns.dialogues] == [[2, 1, 5, 3], [4, 0]]
    assert turns.roles.tolist() == [1, 0, 0, 2, 0, 1]
    assert read_turns(folder, SPEAKERS, NO_TURNS) is None


def test_segments_stand_for_dialogues(folder: Path) -> None:
    (folder / "utt2dialogue").unlink()
    (folder / "utt2turn").unlink()
    starts = ("2.5", "3", "1", "1.9", "0", "12.25")
    lines = {key: f"r{n % 2} {start} 20" for n, (key, start) in enumerate(zip(SPEAKERS, starts, strict=True))}
    tables.write_table(folder / "segments", lines)
    turns = read_turns(folder, SPEAKERS, TurnUse(dialogues=True))
    assert turns is not None
    assert [rows.tolist() for rows in turns.dialogues] == [[4, 2, 0], [3, 1, 5]]
    assert turn_files(folder, {"unit": "dialogue"}) == {"segments": folder / "segments"}
    tables.write_table(folder / "utt2turn", dict(zip(SPEAKERS, "123456", strict=True)))
    turns = read_turns(folder, SPEAKERS, TurnUse(dialogues=True))
    assert turns is not None
    assert [rows.tolist() for rows in turns.dialogues] == [[0, 2, 4], [1, 3, 5]]


def test_dialogues_that_are_cut_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "ser")
    view = folder / "view"
    make_view(folder, view, ["a-1", "a-2", "b-2"])
    turns = read_turns(view, {key: SPEAKERS[key] for key in ("a-1", "a-2", "b-2")}, TurnUse(dialogues=True))
    assert turns is not None
    assert [rows.tolist() for rows in turns.dialogues] == [[1], [2, 0]]
    assert caplog.messages == [
        f"{view}: of 1 dialogue of 2 other subsets have turns, 3 turns, which are not read as context; a "
        "protocol with group: session keeps dialogues whole"
    ]


def test_what_is_not_there_is_refused(folder: Path) -> None:
    trees = {
        "text": {"text": {"min_count": 1}},
        "utt2dialogue": {"unit": "dialogue"},
        "utt2turn": {"unit": "dialogue"},
    }
    assert sorted(turn_files(folder, trees["text"] | trees["utt2turn"])) == [
        "text",
        "utt2dialogue",
        "utt2turn",
    ]
    assert turn_files(folder, {"text": None, "unit": "utterance"}) == {}
    remedies = {
        "text": "there are no transcripts, which the system reads; give the table of the corpus a column "
        "text, or the data folder a table text (<utterance> <words>), or take them out of the system: --set "
        "text=null"
    }
    remedies["utt2dialogue"] = remedies["utt2turn"] = (
        "nothing says the order of dialogues, which the system reads as a whole; give the table of the "
        "corpus columns dialogue and turn, or the data folder tables utt2dialogue (<utterance> <dialogue>) "
        "and utt2turn (<utterance> <number>), or read utterances alone: --set unit=utterance"
    )
    for name, tree in trees.items():
        path, content = folder / name, (folder / name).read_bytes()
        path.unlink()
        with pytest.raises(DataError) as error:
            turn_files(folder, tree)
        assert str(error.value) == f"{path}: no such file, {remedies[name]}"
        path.write_bytes(content)


def test_tables_that_do_not_fit_are_refused(folder: Path) -> None:
    path = folder / "utt2turn"
    content = path.read_text()
    for value in ("first", "nan", "inf"):
        path.write_text(content.replace("7.5", value))
        with pytest.raises(DataError) as error:
            read_turns(folder, SPEAKERS, ALL)
        assert str(error.value) == (
            f"{path}:1: expected '<key> <number>', got 'a-1 {value}'; correct the line"
        )
    path.write_text("".join(content.splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError) as error:
        read_turns(folder, SPEAKERS, ALL)
    assert str(error.value) == (
        f"{path}: its keys are not those of {folder / 'utt2spk'}: 1 only in {folder / 'utt2spk'} (c-1); run "
        "the stage that makes the older of the two again"
    )
