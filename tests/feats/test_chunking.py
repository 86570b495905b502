"""Chunking: the formula by brute force, worked examples, and every frame's fate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser import config
from ser.errors import ConfigError
from ser.feats.chunking import (
    ChunkingConfig,
    chunk_frames,
    chunk_starts,
    chunk_table,
    count_chunks,
    take_chunks,
)

Tail = Literal["drop", "pad", "shift_back"]


def chunking(
    context: int,
    overlap: int = 10,
    shift: int | None = None,
    tail: Tail = "drop",
    short_utt: Literal["drop", "pad"] = "drop",
) -> ChunkingConfig:
    return ChunkingConfig(context, overlap, shift, tail, short_utt, "mean")


def brute_force(frames: int, conf: ChunkingConfig) -> list[int]:
    """Walk over the utterance, one hop at a time."""
    if frames < conf.context:
        return [0] if conf.short_utt == "pad" and frames > 0 else []
    starts, start = [], 0
    while start + conf.context <= frames:
        starts.append(start)
        start += conf.hop
    if starts[-1] + conf.context < frames:
        if conf.tail == "pad" and start < frames:
            starts.append(start)
        if conf.tail == "shift_back":
            starts.append(frames - conf.context)
    return starts


@st.composite
def configs(draw: st.DrawFn) -> ChunkingConfig:
    context = draw(st.integers(1, 130))
    return ChunkingConfig(
        context=context,
        overlap=draw(st.integers(0, context - 1)),
        shift=draw(st.none() | st.integers(1, 150)),
        tail=draw(st.sampled_from(["drop", "pad", "shift_back"])),
        short_utt=draw(st.sampled_from(["drop", "pad"])),
        pooling="mean",
    )


@given(configs(), st.lists(st.integers(0, 700), max_size=12))
def test_equals_a_walk_over_each_utterance(conf: ChunkingConfig, lengths: list[int]) -> None:
    expected = [brute_force(frames, conf) for frames in lengths]
    assert count_chunks(lengths, conf).tolist() == [len(starts) for starts in expected]
    utterance, start = chunk_table(lengths, conf)
    assert utterance.tolist() == [i for i, starts in enumerate(expected) for _ in starts]
    assert start.tolist() == [start for starts in expected for start in starts]
    for frames, starts in zip(lengths, expected, strict=True):
        assert chunk_starts(frames, conf).tolist() == starts


@given(configs(), st.integers(1, 700))
def test_padding_and_shifting_back_lose_no_frame(conf: ChunkingConfig, frames: int) -> None:
    starts = chunk_starts(frames, conf)
    covered = np.unique(chunk_frames(starts, frames, conf.context))
    if conf.tail != "drop" and conf.short_utt == "pad" and conf.hop <= conf.context:
        assert covered.tolist() == list(range(frames))
    assert np.all(np.diff(starts) > 0)
    assert np.all((starts >= 0) & (starts < frames))
    if conf.tail == "drop" and frames >= conf.context:
        assert frames - 1 - covered[-1] < conf.hop


@given(st.integers(11, 120), st.integers(0, 3412))
def test_the_papers_formula(context: int, frames: int) -> None:
    expected = (frames - context) // (context - 10) + 1 if frames >= context else 0
    assert count_chunks(frames, chunking(context)) == expected


# frames, context -> chunks with an overlap of 10, and with a hop of 10; 76 and 3412 frames are the shortest
# and the longest turn of IEMOCAP's fifth session
WORKED = [
    (76, 20, 6, 6),
    (76, 30, 3, 5),
    (76, 70, 1, 1),
    (76, 80, 0, 0),
    (298, 30, 14, 27),
    (298, 50, 7, 25),
    (298, 120, 2, 18),
    (3412, 20, 340, 340),
    (3412, 30, 170, 339),
    (3412, 120, 30, 330),
]


@pytest.mark.parametrize(("frames", "context", "by_overlap", "by_hop"), WORKED)
def test_worked_examples(frames: int, context: int, by_overlap: int, by_hop: int) -> None:
    assert count_chunks(frames, chunking(context)) == by_overlap
    assert count_chunks(frames, chunking(context, shift=10)) == by_hop


def test_the_two_readings_agree_at_20_frames_only() -> None:
    lengths = np.arange(56, 3413)
    same = [c for c in range(20, 130, 10) if np.array_equal(
        count_chunks(lengths, chunking(c)), count_chunks(lengths, chunking(c, shift=10)))]  # fmt: skip
    assert same == [20]


def test_short_utterances_are_dropped_or_padded() -> None:
    # turns of IEMOCAP's four classes that are shorter than the context: 6 below 80 frames, 2 below 70 ...
    lengths = [56, 69, 76, 78, 79, 79, 80, 500]
    dropped = {c: int((count_chunks(lengths, chunking(c)) == 0).sum()) for c in (50, 60, 70, 80)}
    assert dropped == {50: 0, 60: 1, 70: 2, 80: 6}
    assert count_chunks(lengths, chunking(80, short_utt="pad")).tolist() == [1, 1, 1, 1, 1, 1, 1, 7]
    assert chunk_starts(56, chunking(80, short_utt="pad")).tolist() == [0]
    assert count_chunks([0], chunking(80, short_utt="pad")).tolist() == [0]


def test_the_tail_is_dropped_padded_or_shifted_back() -> None:
    assert chunk_starts(75, chunking(30)).tolist() == [0, 20, 40]
    assert chunk_starts(75, chunking(30, tail="pad")).tolist() == [0, 20, 40, 60]
    assert chunk_starts(75, chunking(30, tail="shift_back")).tolist() == [0, 20, 40, 45]
    assert chunk_starts(70, chunking(30, tail="pad")).tolist() == [0, 20, 40]
    # a hop above the context jumps over the end: nothing is left to pad
    assert chunk_starts(15, chunking(10, shift=20, tail="pad")).tolist() == [0]
    assert chunk_starts(15, chunking(10, shift=20, tail="shift_back")).tolist() == [0, 5]


def test_take_chunks_repeats_the_last_frame() -> None:
    features = np.arange(10, dtype=np.float32).reshape(5, 2)
    chunks = take_chunks(features, [0, 3], 4)
    assert chunks[:, :, 0].tolist() == [[0, 2, 4, 6], [6, 8, 8, 8]]
    assert chunks[:, :, 1].tolist() == [[1, 3, 5, 7], [7, 9, 9, 9]]
    chunks[:] = -1
    assert features.min() == 0


def test_chunk_frames_of_several_utterances() -> None:
    assert chunk_frames([0, 2], [9, 4], 3).tolist() == [[0, 1, 2], [2, 3, 3]]


def test_no_utterances_no_chunks() -> None:
    utterance, start = chunk_table([], chunking(30))
    assert utterance.tolist() == start.tolist() == []
    assert take_chunks(np.zeros((5, 2), np.float32), start, 30).shape == (0, 30, 2)


def test_ten_million_chunks_in_a_moment() -> None:
    lengths = np.full(100_000, 1010)
    utterance, start = chunk_table(lengths, chunking(20))
    assert len(start) == 100_000 * 100
    assert (utterance[-1], start[-1]) == (99_999, 990)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("context=0", "context must be from 1 to 100000, got 0"),
        ("overlap=30", "overlap must be below context (30), got 30"),
        ("overlap=-1", "overlap must be from 0 to 100000, got -1"),
        ("shift=0", "shift must be from 1 to 100000, got 0"),
        ("tail=cut", "tail must be one of drop, pad, shift_back, got 'cut'"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "csa.yaml"
    path.write_text("context: 30\noverlap: 10\nshift: null\ntail: drop\nshort_utt: drop\npooling: mean\n")
    assert config.load(ChunkingConfig, path) == chunking(30)
    with pytest.raises(ConfigError) as error:
        config.load(ChunkingConfig, path, [override])
    assert str(error.value) == f"{path}: {message}; correct it"


def test_an_explicit_hop_does_not_use_the_overlap() -> None:
    assert chunking(5, overlap=10, shift=5).hop == 5
