"""The tables, from planted attention through the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser.data.tsv import read_tsv
from ser.errors import DataError
from ser.interpret.groups import GroupStat, contrastable, read_maps
from ser.interpret.maps import map_attention
from ser.interpret.nulls import CONSONANT, OTHER, VOWEL, UtteranceAttention
from ser.interpret.phone_tests import PhoneTest
from ser.interpret.statistics import VowelConsonant, write_statistics
from tests.interpret.conftest import PHONES, planted_attention
from tests.lost import check_made_again

Planted = Callable[..., tuple[Path, Path, list[Path]]]
Segments = list[tuple[int, int, int]]  # first frame, frames, kind


def maps(planted: Planted, tmp_path: Path, **options: object) -> list[Path]:
    data, aligned, decoded = planted(planted_attention(11, **options))  # type: ignore[arg-type]
    folders = []
    for folder in decoded:
        out = tmp_path / "maps" / folder.name
        map_attention(aligned, data, [folder], out, PHONES)
        folders.append(out)
    return folders


def test_the_table_says_what_was_planted(planted: Planted, tmp_path: Path) -> None:
    folders = maps(planted, tmp_path, factor=1.4, num=60, num_seeds=2)
    summary = write_statistics(folders, tmp_path, num_draws=199, seed=0, min_segments=20)
    rows = read_tsv(tmp_path / "vowel_consonant.tsv", VowelConsonant)
    assert [(row.frames, row.seed) for row in rows] == [
        (frames, seed) for frames in ("all", "speech") for seed in ("seed1", "seed2", "all")
    ]
    for row in rows:
        assert (row.utterances, row.speakers) == (60, 6)
        assert row.ratio == pytest.approx(1.4, rel=0.05)
        assert row.difference == pytest.approx(row.vowel - row.consonant, abs=1e-5)
        assert row.difference_low < row.difference < row.difference_high
        assert row.matched_low < row.matched < row.matched_high
        assert row.matched == pytest.approx(row.difference, rel=0.2)  # lengths are alike here
        assert max(row.p_permutation, row.p_rotation, row.p_duration) == 0.005
        assert row.p_speakers == pytest.approx(2 / 64)
    one, two, both = rows[:3]
    assert both.vowel == pytest.approx((one.vowel + two.vowel) / 2, abs=1e-5)
    assert both.effect > one.effect  # the mean of two seeds has less noise
    assert np.isnan(rows[3].other)
    speech = rows[3]  # among speech frames the mean over frames is 1: levels are on both sides of it
    assert speech.consonant < 1 < speech.vowel
    assert max(map(len, summary.splitlines())) <= 80
    assert "speech   all" in summary


def test_groups_and_tests(planted: Planted, tmp_path: Path) -> None:
    folders = maps(planted, tmp_path, factor=1.6, num=60)
    write_statistics(folders, tmp_path, num_draws=99, seed=0, min_segments=20)
    stats = {
        (r.level, r.symbol, r.split, r.group): r for r in read_tsv(tmp_path / "phone_stats.tsv", GroupStat)
    }
    vowel, whole = stats["kind", "vowel", "all", "all"], stats["kind", "silence", "all", "all"]
    assert vowel.relative_low < vowel.relative < vowel.relative_high
    assert vowel.relative / stats["kind", "consonant", "all", "all"].relative == pytest.approx(1.6, rel=0.05)
    assert (whole.segments, whole.utterances, whole.frames) == (120, 60, 11)
    for split, groups in (("emotion", ("ang", "sad")), ("decision", ("right", "wrong"))):
        assert sum(stats["kind", "vowel", split, group].segments for group in groups) == vowel.segments
    assert stats["word", "HELLO", "all", "all"].segments == 60
    tests = read_tsv(tmp_path / "phone_tests.tsv", PhoneTest)
    duration = {t.symbol: t for t in tests if t.test == "duration"}
    assert set(duration) == {"a", "e", "t", "s"}
    for symbol, test in duration.items():
        assert (test.value > 0) == (symbol in "ae")
        assert test.low <= test.value <= test.high
        assert test.p <= test.p_holm <= 1e-6
    others = [t for t in tests if t.test in ("emotion", "decision")]  # nothing was planted there
    assert {(t.level, t.test) for t in others} == {
        ("phone", "emotion"), ("word", "emotion"), ("kind", "emotion"), ("kind", "decision")
    }  # fmt: skip
    assert min(t.p for t in others) > 0.01


def few_phones(
    planted: Planted, tmp_path: Path, segments: Segments, flat: bool, silent: set[int]
) -> tuple[list[VowelConsonant], list[PhoneTest]]:
    """The tables of 40 utterances with the same few segments; the kinds ``silent`` have no attention."""
    random = np.random.default_rng(3)
    kinds = np.concatenate([np.full(num, kind) for _, num, kind in segments])
    utterances = []
    for number in range(40):
        weights = np.where(
            np.isin(kinds, list(silent)), 0, np.ones(60) if flat else random.lognormal(0, 0.5, 60)
        )
        column = (weights / weights.sum())[:, None]
        utterances.append(UtteranceAttention(f"u{number}", f"s{number % 4}", column, np.array(segments)))
    data, aligned, (decoded,) = planted(utterances)
    map_attention(aligned, data, [decoded], tmp_path / "map", PHONES)
    write_statistics([tmp_path / "map"], tmp_path, num_draws=19, seed=0, min_segments=20)
    return (
        read_tsv(tmp_path / "vowel_consonant.tsv", VowelConsonant),
        read_tsv(tmp_path / "phone_tests.tsv", PhoneTest),
    )


@pytest.mark.parametrize(
    ("segments", "flat"),
    [
        ([(0, 25, CONSONANT), (25, 35, VOWEL)], False),  # no two of like length
        ([(0, 30, CONSONANT), (30, 30, VOWEL)], True),  # no difference in attention
        ([(0, 10, OTHER), (10, 1, CONSONANT), (11, 1, VOWEL), (12, 48, OTHER)], True),
    ],
)
def test_a_phone_that_does_not_differ_from_any(
    planted: Planted, tmp_path: Path, segments: Segments, flat: bool
) -> None:
    _, tests = few_phones(planted, tmp_path, segments, flat, set())
    duration = [test for test in tests if test.test == "duration"]
    assert len(duration) == 2
    for test in duration:
        assert test.value == pytest.approx(0, abs=1e-6)
        assert np.isnan(test.effect)
        assert (test.segments, test.p, test.p_holm) == (40, 1, 1)


@pytest.mark.filterwarnings("error")
def test_consonants_without_attention(planted: Planted, tmp_path: Path) -> None:
    rows, _ = few_phones(planted, tmp_path, [(0, 30, CONSONANT), (30, 30, VOWEL)], True, {CONSONANT})
    for row in rows:
        assert (row.vowel, row.consonant, row.difference, row.matched) == (2, 0, 2, 2)
        assert np.isnan(row.ratio)


@pytest.mark.filterwarnings("error")
def test_speech_without_attention(planted: Planted, tmp_path: Path) -> None:
    silent = {VOWEL, CONSONANT}
    segments = [(0, 10, OTHER), (10, 10, CONSONANT), (20, 30, VOWEL), (50, 10, OTHER)]
    rows, tests = few_phones(planted, tmp_path, segments, True, silent)
    for row in rows:
        assert (row.vowel, row.consonant, row.difference) == (0, 0, 0)
    assert [(test.value, test.p) for test in tests if test.test == "duration"] == [(0, 1), (0, 1)]


def test_seeds_must_be_of_the_same_utterances(planted: Planted, tmp_path: Path) -> None:
    one, two = maps(planted, tmp_path, num=6, num_seeds=2)
    lines = (two / "phone_attn.tsv").read_text().splitlines(keepends=True)
    (two / "phone_attn.tsv").write_text("".join(lines[:-1]))
    with pytest.raises(DataError) as error:
        read_maps([one, two])
    assert str(error.value) == (
        f"{two}: is not about the same utterances and segments as {one}; map seeds with one alignment and "
        "the same folds"
    )


def test_nothing_to_compare(planted: Planted, tmp_path: Path) -> None:
    (folder,) = maps(planted, tmp_path, num=4)
    text = (folder / "phone_attn.tsv").read_text().replace("\tvowel\t", "\tconsonant\t")
    (folder / "phone_attn.tsv").write_text(text)
    assert contrastable(read_maps([folder])) == []
    with pytest.raises(DataError) as error:
        write_statistics([folder], tmp_path, num_draws=9, seed=0, min_segments=20)
    assert str(error.value) == (
        f"{folder}: no utterance has both vowels and consonants; check conf/phones.yaml"
    )


def test_lost_statistics_are_made_again(
    planted: Planted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders, out = maps(planted, tmp_path, num=6), tmp_path / "out"

    def again() -> None:
        write_statistics(folders, out, num_draws=19, seed=0, min_segments=5)

    again()
    names = {"vowel_consonant.tsv", "phone_stats.tsv", "phone_tests.tsv"}
    check_made_again(out, names, again, caplog)


def test_again_is_left_alone(planted: Planted, tmp_path: Path) -> None:
    folders = maps(planted, tmp_path, num=6)
    first = write_statistics(folders, tmp_path / "out", num_draws=19, seed=0, min_segments=5)
    stamp = (tmp_path / "out" / "phone_stats.tsv").stat().st_mtime_ns
    assert write_statistics(folders, tmp_path / "out", num_draws=19, seed=0, min_segments=5) == first
    assert (tmp_path / "out" / "phone_stats.tsv").stat().st_mtime_ns == stamp
    write_statistics(folders, tmp_path / "out", num_draws=29, seed=0, min_segments=5)
    assert (tmp_path / "out" / "phone_stats.tsv").stat().st_mtime_ns != stamp
