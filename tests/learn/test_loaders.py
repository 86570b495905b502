"""Batches: every item once, the same plan for any number of processes, masks and gains where they belong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser.feats import cmvn
from ser.feats.chunking import ChunkingConfig, chunk_table
from ser.feats.subset import Floats, Norm, Subset
from ser.learn import loaders
from ser.learn.batches import length_buckets
from ser.learn.loaders import Augmenter, Batch, ChunkLoader, Share, UtteranceLoader
from ser.systems.settings import AugmentationSettings
from tests.learn.conftest import EMOTIONS, NUM_FILTERS, MakePart

OFF = AugmentationSettings(0, 0, 0, 0, 0.0)
CHUNKING = ChunkingConfig(context=20, overlap=10, shift=None, tail="drop", short_utt="drop", pooling="mean")


def make_augmenter(settings: AugmentationSettings = OFF) -> Augmenter:
    return Augmenter(settings, np.zeros(NUM_FILTERS, dtype=np.float32), seed=5)


def features_of(batch: Batch) -> torch.Tensor:
    return batch.inputs.main[0]


@pytest.fixture
def train(make_part: MakePart) -> Subset:
    return Subset(make_part("train", "abc"), ["fbank"], "none", emotions=EMOTIONS)


def test_buckets_hold_every_item_once_and_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(50, 900, size=10_001).astype(np.int32)
    batches = length_buckets(lengths, 16, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(10_001))
    assert len(batches) == -(-10_001 // 16)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    assert 1 - lengths.sum() / padded < 0.02  # the share of padding
    random = np.random.default_rng(1).permutation(10_001)[: 625 * 16].reshape(625, 16)
    assert 1 - lengths[random].mean() / lengths[random].max(axis=1).mean() > 0.4


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_of_all_processes_are_the_batch(train: Subset, world: int) -> None:
    settings = AugmentationSettings(1, 9, 1, 2, 0.5)
    whole = list(UtteranceLoader(train, 5, {"fbank": make_augmenter(settings)}, 7, Share()).batches(3))
    shares = [
        list(UtteranceLoader(train, 5, {"fbank": make_augmenter(settings)}, 7, Share(rank, world)).batches(3))
        for rank in range(world)
    ]
    for number, batch in enumerate(whole):
        for rank in range(world):
            own = shares[rank][number]
            rows = features_of(batch)[rank::world, : features_of(own).shape[1]]
            torch.testing.assert_close(features_of(own), rows)
            assert own.targets["emotion"].tolist() == batch.targets["emotion"][rank::world].tolist()
            assert own.all_labels.tolist() == batch.all_labels.tolist()


@pytest.mark.parametrize("kind", ["utterances", "chunks"])
def test_starting_in_the_middle_gives_the_same_batches(
    train: Subset, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AugmentationSettings(1, 9, 0, 0, 0.5)
    loader: UtteranceLoader | ChunkLoader
    if kind == "utterances":
        loader = UtteranceLoader(train, 5, {"fbank": make_augmenter(settings)}, 7, Share())
    else:
        monkeypatch.setattr(loaders, "POOL_FRAMES", 200)
        monkeypatch.setattr(train.main, "_cache", None)
        loader = ChunkLoader(train, CHUNKING, 4, make_augmenter(settings), 7, Share())
    whole = list(loader.batches(2))
    assert len(whole) == loader.num_batches(2)
    for first in (1, 3, len(whole) - 1):
        rest = list(loader.batches(2, first))
        assert len(rest) == len(whole) - first
        for one, two in zip(rest, whole[first:], strict=True):
            assert torch.equal(features_of(one), features_of(two))


@pytest.mark.parametrize("pool_frames", [150, 10_000])
def test_chunks_are_all_there_once(train: Subset, pool_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the subset is in memory or read pool by pool."""
    monkeypatch.setattr(loaders, "POOL_FRAMES", pool_frames)
    if pool_frames == 150:
        monkeypatch.setattr(train.main, "_cache", None)
    expected = [
        (train.main.read(i)[s : s + 20].tobytes(), int(train.labels[i]))
        for i in range(len(train))
        for s in chunk_table([train.num_frames[i]], CHUNKING).starts
    ]
    loader = ChunkLoader(train, CHUNKING, 4, make_augmenter(), 7, Share())
    got = [
        (chunk.numpy().tobytes(), int(label))
        for batch in loader.batches(0)
        for chunk, label in zip(features_of(batch), batch.targets["emotion"], strict=True)
    ]
    assert sorted(got) == sorted(expected)
    assert got != expected
    counts = np.bincount([label for _, label in expected], minlength=4)
    assert loader.label_counts(4).tolist() == counts.tolist()


def test_chunk_beyond_the_end_repeats_the_last_frame(train: Subset) -> None:
    padded = ChunkingConfig(context=50, overlap=10, shift=None, tail="drop", short_utt="pad", pooling="mean")
    short = int(np.argmin(train.num_frames))
    frames = int(train.num_frames[short])
    pool = loaders.Pool(train, np.arange(len(train)))
    chunks = chunk_table(train.num_frames, padded)
    chunk = pool.chunks(chunks.of(chunks.utts == short), padded)[0]
    assert (chunk[frames:] == train.main.read(short)[-1]).all()
    assert (chunk[:frames] == train.main.read(short)).all()


def test_masks() -> None:
    """Stretches no longer than allowed, filled with the mean, elsewhere nothing."""
    fill = np.arange(NUM_FILTERS, dtype=np.float32)
    lengths = np.array([40, 11, 2])
    widths = []
    for batch in range(200):
        x = np.full((3, 40, NUM_FILTERS), -1.0, dtype=np.float32)
        Augmenter(AugmentationSettings(1, 9, 0, 0, 0.0), fill, 5).apply(x, lengths, Share(), 0, batch)
        masked = (x != -1).all(axis=2)
        assert (x[masked] == fill).all()
        for row, length, longest in zip(masked, lengths, (9, 5, 1), strict=True):
            where = np.flatnonzero(row)
            widths.append(len(where))
            assert len(where) <= longest
            assert not len(where) or (where[-1] < length and where[-1] - where[0] == len(where) - 1)
    assert max(widths) == 9
    x = np.full((3, 40, NUM_FILTERS), -1.0, dtype=np.float32)
    Augmenter(AugmentationSettings(0, 0, 1, 2, 0.0), fill, 5).apply(x, lengths, Share(), 0, 1)
    assert ((x != -1).any(axis=1).sum(axis=1) <= 2).all()


def test_gains() -> None:
    """One curve an item, the same in all frames: straight between 5 filters, of the wanted deviation."""
    num_filters = 25  # every sixth is a knot
    fill = np.zeros(num_filters, dtype=np.float32)
    curves, augmenter = [], Augmenter(AugmentationSettings(0, 0, 0, 0, filter_gain=0.5), fill, 5)
    for batch in range(500):
        x = np.zeros((4, 6, num_filters), dtype=np.float32)
        augmenter.apply(x, np.full(4, 6), Share(), 0, batch)
        assert (x == x[:, :1]).all()
        curves.append(x[:, 0])
    gains = np.concatenate(curves)  # (2000, F)
    bends = np.abs(np.diff(gains, 2)).max(axis=0)  # of filters 1-23
    np.testing.assert_array_equal(np.flatnonzero(bends > 1e-6) + 1, [6, 12, 18])
    knots = gains[:, ::6]
    np.testing.assert_allclose(np.cov(knots.T), 0.25 * np.eye(5), atol=0.03)
    np.testing.assert_allclose(knots.mean(axis=0), 0, atol=0.05)


@pytest.mark.parametrize("norm", ["utterance", "speaker", "global"])
def test_normalisation_is_applied(make_part: MakePart, norm: Norm) -> None:
    """Mean 0 and variance 1 over what the statistics were taken from."""
    folder = make_part("train", "ab")
    data = Subset(folder, ["fbank"], norm, emotions=EMOTIONS)
    groups: dict[str, list[Floats]] = {}
    for i, key in enumerate(data.keys):
        group = {"utterance": key, "speaker": data.speakers[key], "global": ""}[norm]
        groups.setdefault(group, []).append(data.main.read(i))
    assert len(groups) == {"utterance": 16, "speaker": 2, "global": 1}[norm]
    for features in groups.values():
        mean, std = cmvn.mean_and_std(cmvn.stats(np.concatenate(features)))
        np.testing.assert_allclose(mean, 0, atol=1e-5)
        np.testing.assert_allclose(std, 1, atol=1e-4)


def test_labels_follow_the_key_not_the_line(make_part: MakePart) -> None:
    data = Subset(make_part("train", "ab"), ["fbank"], "none", emotions=EMOTIONS)
    expected = [int(key[-2:]) % 4 for key in data.keys]
    assert data.labels.tolist() == expected
