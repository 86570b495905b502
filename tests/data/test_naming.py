"""Names of utterances, ``<speaker>-<raw id>``: in the order of speakers, and found under either name."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.data import tables
from ser.data.naming import by_utterance, name_utterances, utterances_by_raw_id
from ser.errors import DataError, shown

CHARACTERS = "ab1_.@+=:,-"


def test_the_speaker_comes_first_once() -> None:
    speakers = {
        "Ses01F_impro01_F000": "Ses01_F",
        "anna-1": "anna",
        "anna_1": "anna",
        "03a01Fa": "03",
        "x": "1",
    }
    assert name_utterances(speakers, "supervisions") == {
        "Ses01F_impro01_F000": "Ses01_F-Ses01F_impro01_F000",
        "anna-1": "anna-1",
        "anna_1": "anna-anna_1",
        "03a01Fa": "03-03a01Fa",
        "x": "1-x",
    }


def in_order(names: dict[str, str], speakers: dict[str, str]) -> bool:
    """Whether the utterances, sorted by name, are sorted by speaker too."""
    ordered = [speakers[raw] for raw in sorted(names, key=lambda raw: names[raw].encode())]
    return all(one.encode() <= two.encode() for one, two in pairwise(ordered))


@given(
    st.dictionaries(
        st.text(CHARACTERS, min_size=1, max_size=4), st.text(CHARACTERS, min_size=1, max_size=3), min_size=1
    )
)
def test_names_sort_by_speaker_and_differ(drawn: dict[str, str]) -> None:
    """Whatever the speakers are called, unless an id is another's name, which is refused."""
    speakers = {f"i{raw}": f"s{speaker}" for raw, speaker in drawn.items()}
    names = name_utterances(speakers, "supervisions")
    assert names.keys() == speakers.keys()
    assert len(set(names.values())) == len(names)
    assert in_order(names, speakers)
    assert all(name.startswith(speakers[raw]) and name.endswith(raw) for raw, name in names.items())


@pytest.mark.parametrize(
    ("others", "separator"), [(["a_1", "a1"], "-"), (["a-1"], "+"), (["a,1"], "+"), (["a+1", "a-1"], "%")]
)
def test_another_separator_is_told(
    others: list[str], separator: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ser")
    speakers = {f"u{number}": speaker for number, speaker in enumerate(["a", *others])}
    names = name_utterances(speakers, "supervisions")
    assert names == {raw: f"{speaker}{separator}{raw}" for raw, speaker in speakers.items()}
    told = [
        f"supervisions: speakers a and {others[0]}: utterances are named <speaker>{separator}<id>, so that "
        "they sort by speaker"
    ]
    assert caplog.messages == ([] if separator == "-" else told)


def test_what_cannot_be_named() -> None:
    with pytest.raises(DataError) as error:
        name_utterances({"x": "a", "y": "a%1"}, "supervisions")
    assert str(error.value) == (
        "supervisions: no names of utterances keep speaker a before speaker a%1 in byte order, which Kaldi's "
        "tools need; rename one of them, without %"
    )
    with pytest.raises(DataError) as error:
        name_utterances({"x": "a", "a-x": "a", "b-y": "a", "y": "b", "z" * 199: "a"}, "supervisions")
    remedy = "which is the id of another utterance; rename one of them where the corpus is prepared"
    assert str(error.value).splitlines() == [
        f"supervisions: x of speaker a would be named a-x, {remedy}",
        f"supervisions: y of speaker b would be named b-y, {remedy}",
        f"supervisions: the id {shown('a-' + 'z' * 199)} is longer than 200 characters; rename it where the "
        "corpus is prepared",
    ]


def test_either_name_is_found(tmp_path: Path) -> None:
    entries = {"a-u1": 1, "u2": 2, "elsewhere": 3}
    assert by_utterance(entries, tmp_path, "mine.ctm") == entries
    tables.write_table(tmp_path / "utt2raw", {"a-u1": "u1", "a-u2": "u2", "a-u3": "u3"})
    assert utterances_by_raw_id(tmp_path) == {"u1": "a-u1", "u2": "a-u2", "u3": "a-u3"}
    assert by_utterance(entries, tmp_path, "mine.ctm") == {"a-u1": 1, "a-u2": 2, "elsewhere": 3}
    with pytest.raises(DataError) as error:
        by_utterance({**entries, "u1": 4}, tmp_path, "mine.ctm")
    assert str(error.value) == "mine.ctm: has a-u1 under its raw id u1 too; keep one of them"


def test_a_raw_id_of_two_utterances(tmp_path: Path) -> None:
    path = tmp_path / "utt2raw"
    path.write_text("a-u a-u\na-v u\nb-u u\n")
    with pytest.raises(DataError) as error:
        utterances_by_raw_id(tmp_path)
    assert str(error.value) == f"{path}: a-v and b-u have the same raw id u; correct one, or remove the table"
