"""Small subsets, as stage 2 leaves them, of random features that a network can learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.data.labels import write_emotions
from ser.feats import cmvn

EMOTIONS = ("ang", "hap", "neu", "sad")
NUM_FILTERS = 6

MakePart = Callable[..., Path]


def write_part(
    folder: Path,
    speakers: list[str],
    per_speaker: int = 8,
    seed: int = 0,
    longest: int = 59,
    num_filters: int = NUM_FILTERS,
) -> Path:
    """A data folder whose class shifts one filter."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    utt2spk, utt2emo, frames, stats = {}, {}, {}, {}
    with tables.ArkWriter(folder / "feats") as archive:
        for speaker in speakers:
            for number in range(per_speaker):
                key, label = f"{speaker}-{number:02d}", number % len(EMOTIONS)
                features = rng.normal(size=(int(rng.integers(12, longest + 1)), num_filters)).astype(
                    np.float32
                )
                features[:, label] += 1.5
                archive.write(key, features)
                utt2spk[key], utt2emo[key], frames[key] = speaker, EMOTIONS[label], len(features)
                stats[speaker] = stats.get(speaker, 0) + cmvn.stats(features)
    tables.write_table(folder / "utt2spk", utt2spk)
    tables.write_table(folder / "utt2emo", utt2emo)
    tables.write_table(folder / "utt2num_frames", frames)
    with tables.ArkWriter(folder / "cmvn") as archive:
        for speaker in sorted(stats):
            archive.write(speaker, stats[speaker])
    with tables.ArkWriter(folder / "cmvn_global") as archive:
        archive.write("global", sum(stats.values()))
    write_emotions(folder / "emotions.txt", EMOTIONS)
    write_turns(folder, utt2spk, utt2emo, rng)
    (folder / "feats.yaml").write_text(f"set: fbank\nsettings: {{num_mel_bins: {num_filters}}}\n")
    return folder


def write_turns(
    folder: Path, utt2spk: dict[str, str], utt2emo: dict[str, str], rng: np.random.Generator
) -> None:
    """One vector an utterance, the set ``functionals``; words that tell the class; three dialogues of all."""
    (folder / "functionals").mkdir()
    with tables.ArkWriter(folder / "functionals" / "feats") as archive:
        for key in sorted(utt2spk):
            vector = rng.normal(size=5).astype(np.float32)
            vector[EMOTIONS.index(utt2emo[key])] += 4.0
            archive.write(key, vector)
    (folder / "functionals" / "settings.yaml").write_text("settings: {extractor: functionals}\n")
    said = {key: f"{rng.choice(['so', 'well'])}, {emotion}!" for key, emotion in utt2emo.items()}
    tables.write_table(folder / "text", {key: text for key, text in said.items() if not key.endswith("5")})
    turns = {key: int(key.rpartition("-")[2]) for key in utt2spk}
    tables.write_table(folder / "utt2dialogue", {key: f"d{number % 3}" for key, number in turns.items()})
    tables.write_table(folder / "utt2turn", {key: number / 2 for key, number in turns.items()})


@pytest.fixture
def make_part(tmp_path: Path) -> MakePart:
    """Makes a data folder below the test's own."""

    def make(name: str, speakers: str = "ab", **options: int) -> Path:
        return write_part(tmp_path / name, list(speakers), **options)

    return make


BLSTMATT = """\
system: blstmatt
features: {sets: [fbank], norm: speaker}
unit: utterance
model: {hidden: 8, layers: 2, attention_dim: 4, frame_stack: 2, dropout: 0.2}
augmentation: {time_masks: 1, time_mask_frames: 5, freq_masks: 1, freq_mask_bins: 2, filter_gain: 0.1}
optim:
  lr: 1.0e-2
  weight_decay: 0.0
  clip_norm: 1.0
  schedule: plateau
  plateau: {metric: dev_loss, patience: 0, factor: 0.5}
  cosine: {warmup: 0.2}
training: {epochs: 4, batch_size: 4, class_weights: balanced, select: best_dev_uar, amp: none,
  max_frames: null, long_utterances: split}
"""

CSA = """\
system: csa
features: {sets: [fbank], norm: global}
unit: {context: 20, overlap: 10, shift: null, tail: drop, short_utt: drop, pooling: mean}
model:
  conv_dim: 2
  channels: [4, 8, 8]
  kernels: [3, 2, 3]
  pool: [2, 1, 1]
  attn_reduction: 4
  gamma_mode: scalar
  gamma_init: 0.0
  softmax_axis: attended
  head_pool: mean
  dropout: 0.2
augmentation: {time_masks: 1, time_mask_frames: 5, freq_masks: 1, freq_mask_bins: 2, filter_gain: 0.1}
optim:
  lr: 1.0e-2
  weight_decay: 0.01
  clip_norm: null
  schedule: cosine
  plateau: {metric: train_loss, patience: 4, factor: 0.8}
  cosine: {warmup: 0.2}
training: {epochs: 4, batch_size: 8, class_weights: none, select: last, amp: none,
  max_frames: null, long_utterances: split}
"""

ATTENTION_POOLING = """\
system: attention_pooling
features: {sets: [fbank], norm: speaker}
unit: {context: 20, overlap: 10, shift: null, tail: pad, short_utt: pad, pooling: mean, decoding_shift: 4,
  fill: zeros}
model: {channels: [2, 4, 4, 4, 8], scaling: none, mu_law: false, pooling: sum}
augmentation: {time_masks: 1, time_mask_frames: 5, freq_masks: 1, freq_mask_bins: 2, filter_gain: 0.1}
optim:
  lr: 3.0e-2
  weight_decay: 1.0e-4
  clip_norm: null
  schedule: steps
  steps: {epochs: [1, 3], factor: 0.3}
  algorithm: sgd
  plateau: {metric: train_loss, patience: 4, factor: 0.8}
  cosine: {warmup: 0.2}
training: {epochs: 4, batch_size: 8, class_weights: none, select: last, amp: none,
  max_frames: null, long_utterances: split}
"""
MULTIMODAL = """\
system: multimodal
features: {sets: [functionals], norm: global}
text: {min_count: 2, embedding: 4, vectors: null, rate: 0.5, kernels: [1, 2], channels: 3}
unit: dialogue
model: {dim: 4, heads: 2, roles: 2, role_values: 2, dropout: 0.2, modality_dropout: 0.3}
augmentation: {time_masks: 0, time_mask_frames: 0, freq_masks: 0, freq_mask_bins: 0, filter_gain: 0.0}
optim:
  lr: 1.0e-2
  weight_decay: 0.01
  clip_norm: 1.0
  schedule: cosine
  plateau: {metric: dev_loss, patience: 0, factor: 0.5}
  cosine: {warmup: 0.2}
training: {epochs: 4, batch_size: 1, class_weights: balanced, select: best_dev_uar, amp: none,
  max_frames: null, long_utterances: split}
"""
YAMLS = {
    "blstmatt": BLSTMATT,
    "csa": CSA,
    "attention_pooling": ATTENTION_POOLING,
    "multimodal": MULTIMODAL,
}

REST = """\
augmentation: {time_masks: 1, time_mask_frames: 5, freq_masks: 1, freq_mask_bins: 2, filter_gain: 0.1}
optim:
  lr: 1.0e-2
  weight_decay: 0.0
  clip_norm: 1.0
  schedule: cosine
  plateau: {metric: train_loss, patience: 4, factor: 0.8}
  cosine: {warmup: 0.2}
training: {epochs: 3, batch_size: 8, class_weights: balanced, select: last, amp: none,
  max_frames: null, long_utterances: split}
"""
CNN_LSTM = """\
system: cnn_lstm
features: {sets: [fbank], norm: global, cmvn: {over: all, values: together}}
unit: {context: 20, overlap: 0, shift: null, tail: drop, short_utt: pad, pooling: mean, cut: parts,
  fill: zeros}
model: {channels: [2, 3, 4], batch_norm: true, head: lstm, hidden: 4, bidirectional: true, dense: 8,
  dropout: 0.2}
"""
CNN_CAPSULES = """\
system: cnn_capsules
features: {sets: [fbank], norm: speaker}
unit: utterance
model: {branches: both, channels: 2, batch_norm: true, hidden: 4, dense: 8, dropout: 0.2, primary_values: 4,
  capsule_values: 3, routings: 2, recurrent: shared, capsule_loss: margin, capsule_weight: 0.6}
"""
WIDE_YAMLS = {"cnn_lstm": CNN_LSTM + REST, "cnn_capsules": CNN_CAPSULES + REST}
WIDE = 32  # values a frame that their poolings need


@pytest.fixture(params=YAMLS)
def system_yaml(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Settings of systems of every kind, with everything random switched on."""
    path = tmp_path / f"{request.param}.yaml"
    path.write_text(YAMLS[request.param])
    return path


@pytest.fixture(params=WIDE_YAMLS)
def wide_yaml(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Settings of systems that need :data:`WIDE` values a frame, with everything random switched on."""
    path = tmp_path / f"{request.param}.yaml"
    path.write_text(WIDE_YAMLS[request.param])
    return path


@pytest.fixture
def blstmatt_yaml(tmp_path: Path) -> Path:
    """Settings of a small BLSTMATT."""
    path = tmp_path / "small_blstmatt.yaml"
    path.write_text(BLSTMATT)
    return path


@pytest.fixture
def csa_yaml(tmp_path: Path) -> Path:
    """Settings of a small CSA."""
    path = tmp_path / "small_csa.yaml"
    path.write_text(CSA)
    return path
