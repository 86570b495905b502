"""Comparing alignments: which boundaries are the same, and how far apart they are."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ser.align.boundaries import HEADER, Boundary, compare, compare_utterance, table
from ser.data.phones import PhoneSet

GERMAN = PhoneSet(
    name="german",
    vowel=("a", "i"),
    consonant=("t", "n", "s"),
    silence=("(",),
    filler=("(gef",),
    parts={"t": ("_t", "t", "!t", "tasp")},
    silence_words=("<sil>",),
    filler_words=(),
)


def test_silence_around_speech_and_parts_of_stops() -> None:
    reference = [("_t", 0.5, 0.1), ("!t", 0.6, 0.05), ("a", 0.65, 0.2), ("n", 0.85, 0.15)]
    other = [("(", 0.0, 0.52), ("t", 0.52, 0.1), ("a", 0.62, 0.26), ("n", 0.88, 0.12), ("(", 1.0, 0.3)]
    boundaries = compare_utterance(reference, other, GERMAN)
    assert [(item.left, item.right) for item in boundaries] == [
        ("silence", "consonant"), ("consonant", "vowel"), ("vowel", "consonant"), ("consonant", "silence"),
    ]  # fmt: skip
    assert [item.error_s for item in boundaries] == pytest.approx([0.02, -0.03, 0.03, 0.0])


def test_what_one_of_them_lacks_is_not_matched() -> None:
    reference = [
        ("t", 0.0, 0.1),
        ("a", 0.1, 0.1),
        ("n", 0.2, 0.1),
        ("(", 0.3, 0.2),
        ("(", 0.5, 0.1),
        ("s", 0.6, 0.1),
    ]
    other = [("t", 0.0, 0.1), ("i", 0.1, 0.15), ("s", 0.25, 0.45)]
    boundaries = compare_utterance(reference, other, GERMAN)
    assert boundaries == [
        Boundary("consonant", "vowel", 0.0),
        Boundary("vowel", "consonant", None),
        Boundary("consonant", "silence", None),  # pauses that follow one another are one
        Boundary("silence", "consonant", None),
    ]
    assert table(boundaries)[-1] == ("all", "4", "25.0", "25.0", "25.0", "25.0", "0.0", "0.0")


def test_table_counts_in_per_cent_of_the_reference() -> None:
    errors = [0.0, 0.010, -0.020, 0.0501, None]
    rows = table([Boundary("vowel", "consonant", error) for error in errors])
    assert HEADER == (
        "boundary", "n", "matched", "within_10ms", "within_20ms", "within_50ms", "median_ms", "bias_ms",
    )  # fmt: skip
    assert rows == [
        ("vowel-consonant", "5", "80.0", "40.0", "60.0", "60.0", "15.0", "5.0"),
        ("all", "5", "80.0", "40.0", "60.0", "60.0", "15.0", "5.0"),
    ]


def test_the_same_alignment_has_no_error() -> None:
    rows = {"u1": [("t", 0.1, 0.1), ("a", 0.2, 0.2)], "u2": [("s", 0.0, 0.3), ("i", 0.3, 0.2)], "u3": []}
    boundaries = compare(rows, rows, GERMAN)
    assert len(boundaries) == 3
    assert {item.error_s for item in boundaries} == {0.0}


def test_verb(run_verb: Callable[..., subprocess.CompletedProcess[str]], repo: Path, tmp_path: Path) -> None:
    phones = repo / "egs" / "emodb" / "conf" / "phones.yaml"
    (tmp_path / "a.ctm").write_text("u1 1 0.0 0.1 t\nu1 1 0.1 0.1 !t\nu1 1 0.2 0.2 a\n")
    (tmp_path / "b.ctm").write_text("u1 1 0.0 0.213 t\nu1 1 0.213 0.187 a\n")
    (tmp_path / "c.ctm").write_text("u2 1 0.0 0.2 t\n")
    result = run_verb("compare_alignments", phones, tmp_path / "a.ctm", tmp_path / "b.ctm")
    assert result.stdout.splitlines()[-1] == "all\t1\t100.0\t0.0\t100.0\t100.0\t13.0\t13.0"
    result = run_verb("compare_alignments", phones, tmp_path / "a.ctm", tmp_path / "c.ctm")
    assert (result.returncode, result.stderr) == (
        1,
        f"ser: error: {tmp_path}/c.ctm: has no utterance of {tmp_path}/a.ctm; "
        "compare alignments of the same data, with the same ids\n",
    )
