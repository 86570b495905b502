"""Chunking: the formula by brute force, worked examples, and every frame's fate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser import config
from ser.errors import ConfigError
from ser.feats.chunking import (
    ChunkingConfig,
    chunk_frames,
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


def starts_of(frames: int, conf: ChunkingConfig) -> npt.NDArray[np.int64]:
    """First frame of each chunk of one utterance."""
    return chunk_table([frames], conf).starts


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
    utterance, start, length = chunk_table(lengths, conf)
    assert length.tolist() == [
        min(conf.context, frames - start)
        for frames, starts in zip(lengths, expected, strict=True)
        for start in starts
    ]
    assert utterance.tolist() == [i for i, starts in enumerate(expected) for _ in starts]
    assert start.tolist() == [start for starts in expected for start in starts]
    for frames, starts in zip(lengths, expected, strict=True):
        assert starts_of(frames, conf).tolist() == starts


@given(configs(), st.integers(1, 700))
def test_padding_and_shifting_back_lose_no_frame(conf: ChunkingConfig, frames: int) -> None:
    starts = starts_of(frames, conf)
    covered = np.unique(chunk_frames(chunk_table([frames], conf), conf.context))
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
    assert starts_of(56, chunking(80, short_utt="pad")).tolist() == [0]
    assert count_chunks([0], chunking(80, short_utt="pad")).tolist() == [0]


def test_the_tail_is_dropped_padded_or_shifted_back() -> None:
    assert starts_of(75, chunking(30)).tolist() == [0, 20, 40]
    assert starts_of(75, chunking(30, tail="pad")).tolist() == [0, 20, 40, 60]
    assert starts_of(75, chunking(30, tail="shift_back")).tolist() == [0, 20, 40, 45]
    assert starts_of(70, chunking(30, tail="pad")).tolist() == [0, 20, 40]
    # a hop above the context jumps over the end: nothing is left to pad
    assert starts_of(15, chunking(10, shift=20, tail="pad")).tolist() == [0]
    assert starts_of(15, chunking(10, shift=20, tail="shift_back")).tolist() == [0, 5]


def chunks_of(features: npt.NDArray[np.float32], conf: ChunkingConfig) -> npt.NDArray[np.float32]:
    """All chunks of one utterance."""
    chunks = chunk_table([len(features)], conf)
    return take_chunks(features, chunk_frames(chunks, conf.context), chunks.lengths, conf)


def test_the_last_frame_or_zeros_fill_a_chunk() -> None:
    features = np.arange(1, 11, dtype=np.float32).reshape(5, 2)
    conf = chunking(4, overlap=1, tail="pad")
    chunks = chunks_of(features, conf)
    assert chunks[:, :, 0].tolist() == [[1, 3, 5, 7], [7, 9, 9, 9]]
    assert chunks[:, :, 1].tolist() == [[2, 4, 6, 8], [8, 10, 10, 10]]
    chunks[:] = -1
    assert features.min() == 1
    zeros = chunks_of(features, replace(conf, fill="zeros"))
    assert zeros[:, :, 0].tolist() == [[1, 3, 5, 7], [7, 9, 0, 0]]


PARTS = ChunkingConfig(300, 0, None, "drop", "pad", "mean", cut="parts")


@pytest.mark.parametrize(
    ("frames", "lengths"),
    [(1, [1]), (300, [300]), (301, [150, 151]), (600, [300, 300]), (601, [200, 200, 201]), (1000, [250] * 4)],
)
def test_parts_are_of_like_length_and_no_longer_than_the_context(frames: int, lengths: list[int]) -> None:
    """Satt et al. 2017 cut what is longer than 3 s in parts that do not overlap."""
    chunks = chunk_table([7, frames], PARTS)
    assert chunks.utts.tolist() == [0, *[1] * len(lengths)]
    assert chunks.lengths.tolist() == [7, *lengths]
    assert chunks.starts[1:].tolist() == [0, *np.cumsum(lengths)[:-1]]


def test_a_part_takes_nothing_of_its_neighbour() -> None:
    features = np.arange(1, 6, dtype=np.float32)[:, None]
    conf = replace(PARTS, context=3, fill="zeros")
    assert chunks_of(features, conf)[:, :, 0].tolist() == [[1, 2, 0], [3, 4, 5]]
    assert chunks_of(features, replace(conf, fill="last"))[:, :, 0].tolist() == [[1, 2, 2], [3, 4, 5]]


def test_decoding_may_have_a_hop_of_its_own() -> None:
    """Li et al. 2018 train on segments of 2 s every second, and decode every 0.4 s."""
    conf = replace(chunking(200, overlap=100), decoding_shift=40)
    assert chunk_table([400], conf).starts.tolist() == [0, 100, 200]
    assert chunk_table([400], conf.in_decoding).starts.tolist() == [0, 40, 80, 120, 160, 200]
    assert count_chunks([150], conf) == 0
    assert chunk_table([150], conf.in_decoding).lengths.tolist() == [150]
    assert chunking(30).in_decoding == chunking(30, short_utt="pad")


def test_no_utterances_no_chunks() -> None:
    utterance, start, _ = chunk_table([], chunking(30))
    assert utterance.tolist() == start.tolist() == []
    assert chunks_of(np.zeros((5, 2), np.float32), chunking(30)).shape == (0, 30, 2)


def test_ten_million_chunks_in_a_moment() -> None:
    lengths = np.full(100_000, 1010)
    utterance, start, _ = chunk_table(lengths, chunking(20))
    assert len(start) == 100_000 * 100
    assert (utterance[-1], start[-1]) == (99_999, 990)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("context=0", "context must be from 1 to 100000, got 0"),
        ("overlap=30", "overlap must be below context (30), got 30"),
        ("overlap=-1", "overlap must be from 0 to 100000, got -1"),
        ("shift=0", "shift must be from 1 to 100000, got 0"),
        ("cut=parts", "short_utt must be pad with cut parts, each of which is filled up"),
        ("decoding_shift=0", "decoding_shift must be from 1 to 100000, got 0"),
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
