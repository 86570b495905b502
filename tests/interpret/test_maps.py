"""Attention over phones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.data import tables
from ser.data.alignment import Span
from ser.data.tsv import read_tsv
from ser.errors import DataError
from ser.interpret.maps import Attended, map_attention, measure, uncovered_frames
from tests.interpret.conftest import PHONES, planted_attention
from tests.lost import check_made_again

Planted = Callable[..., tuple[Path, Path, list[Path]]]


def test_measures_by_hand() -> None:
    weights = np.array([0.1, 0.2, 0.4, 0.1, 0.2])
    (mass, relative, peak, position), _ = measure(weights, [Span("a", 1, 2), Span("t", 3, 1)])
    assert (mass, relative, peak, position) == pytest.approx((0.6, 1.5, 2.0, 0.4))
    assert uncovered_frames(weights, [Span("a", 1, 2), Span("t", 3, 1)]) == pytest.approx((2, 0.3, 0.2))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.data())
def test_masses_and_the_rest_sum_to_one(values: list[float], data: st.DataObject) -> None:
    weights = np.exp(3 * np.array(values))
    weights /= weights.sum()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), unique=True, max_size=8)))
    spans = [Span("a", a, b - a) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    total = sum(row[0] for row in measure(weights, spans)) + uncovered_frames(weights, spans)[1]
    assert total == pytest.approx(1, abs=1e-9)


def test_a_map(planted: Planted, tmp_path: Path) -> None:
    utterances = planted_attention(7, factor=2.0, num=8)
    data, aligned, (decoded,) = planted(utterances)
    out = tmp_path / "map"
    map_attention(aligned, data, [decoded], out, PHONES)
    rows = read_tsv(out / "phone_attn.tsv", Attended)
    assert [row.utt for row in rows if row.first == 0] == [utterance.utt for utterance in utterances]
    for utterance in utterances:
        mine = [row for row in rows if row.utt == utterance.utt]
        assert sum(row.mass for row in mine) == pytest.approx(1, abs=1e-4)
        assert sum(row.frames for row in mine) == len(utterance.weights)
    first = [row for row in rows if row.utt == "u000"]
    assert {row.kind for row in first} == {"vowel", "consonant", "silence"}
    assert (first[0].speaker, first[0].emotion, first[0].hyp, first[0].decision) == (
        "s0",
        "ang",
        "sad",
        "wrong",
    )
    begin, num, _ = utterances[0].segments[3]
    part = utterances[0].weights[begin : begin + num, 0]
    assert first[3].relative == pytest.approx(part.mean() * len(utterances[0].weights), rel=1e-5)
    assert first[3].peak == pytest.approx(part.max() * len(utterances[0].weights), rel=1e-5)
    words = [row for row in read_tsv(out / "word_attn.tsv", Attended) if row.utt == "u000"]
    assert [(row.kind, row.symbol) for row in words] == [
        ("silence", "<sil>"), ("word", "HELLO"), ("word", "YOU"), ("unaligned", "-")
    ]  # fmt: skip
    assert sum(row.mass for row in words) == pytest.approx(1, abs=1e-4)
    stamp = (out / "phone_attn.tsv").stat().st_mtime_ns
    map_attention(aligned, data, [decoded], out, PHONES)
    assert (out / "phone_attn.tsv").stat().st_mtime_ns == stamp


def test_utterances_without_alignment_are_listed(planted: Planted, tmp_path: Path) -> None:
    data, aligned, decoded = planted(planted_attention(7, num=4))
    for name in ("phone.frames", "word.frames"):
        lines = (aligned / name).read_text().splitlines(keepends=True)
        (aligned / name).write_text("".join(line for line in lines if not line.startswith("u002")))
    (aligned / "not_aligned").write_text("u002 no path\n")
    map_attention(aligned, data, decoded, tmp_path / "map", PHONES)
    assert (tmp_path / "map" / "not_mapped").read_text() == "u002 no path\n"
    assert "u002" not in {row.utt for row in read_tsv(tmp_path / "map" / "phone_attn.tsv", Attended)}


def test_a_lost_map_is_made_again(planted: Planted, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, aligned, decoded = planted(planted_attention(7, num=2))
    out = tmp_path / "map"
    map_attention(aligned, data, decoded, out, PHONES)
    names = {"phone_attn.tsv", "word_attn.tsv", "attn.scp", "not_mapped", "feats.yaml"}
    names |= {"post", "hyp", "emotions.txt"}
    check_made_again(out, names, lambda: map_attention(aligned, data, decoded, out, PHONES), caplog)


def test_attention_that_is_none_is_refused(planted: Planted, tmp_path: Path) -> None:
    utterances = planted_attention(7, num=3)
    data, aligned, (decoded,) = planted(utterances)
    with tables.ArkWriter(decoded / "attn") as writer:
        writer.write("u000", np.full(20, 0.05, np.float32))  # of another utterance's length
        writer.write("u001", np.full(len(utterances[1].weights), 0.01, np.float32))
        writer.write("u002", utterances[2].weights[:, 0].astype(np.float32))
    with pytest.raises(DataError) as error:
        map_attention(aligned, data, [decoded], tmp_path / "map", PHONES)
    first, second = str(error.value).splitlines()
    frames = len(utterances[0].weights)
    assert first == (
        f"{decoded}/attn.scp: u000: {decoded}/attn.ark:5: has 20 frames, utt2num_frames says {frames}; "
        "run stage 5 again"
    )
    assert second == (
        f"{decoded}/attn.scp: u001: attention must be weights of 0 or more that sum to 1, these sum to "
        f"{0.01 * len(utterances[1].weights):.6g}; run stage 5 again"
    )
    assert not (tmp_path / "map" / "made.json").exists()


def test_a_phone_that_is_not_in_the_set_is_an_error(planted: Planted, tmp_path: Path) -> None:
    data, aligned, decoded = planted(planted_attention(7, num=2))
    smaller = replace(PHONES, vowel=("a",))
    with pytest.raises(DataError, match=r"phones that the phone set tiny does not have: e \(\d+\); add them"):
        map_attention(aligned, data, decoded, tmp_path / "map", smaller)


def test_a_system_without_attention(planted: Planted, tmp_path: Path) -> None:
    data, aligned, (decoded,) = planted(planted_attention(7, num=2))
    (decoded / "attn.ark").unlink()
    with pytest.raises(DataError) as error:
        map_attention(aligned, data, [decoded], tmp_path / "map", PHONES)
    assert str(error.value) == f"{decoded}/attn.ark: no such file; run stage 5, of a system with attention"
