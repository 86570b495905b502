"""Planted attention: what is in it is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser import config
from ser.align.features import write_used_set
from ser.data import tables
from ser.data.alignment import Span, write_ctm, write_frames
from ser.data.corpus import AudioConfig
from ser.data.labels import write_emotions
from ser.data.phones import PhoneSet
from ser.feats.sets import FeatureSet, load_set
from ser.interpret.nulls import CONSONANT, OTHER, VOWEL, UtteranceAttention
from ser.scoring.posteriors import Posteriors, write_posteriors

PHONES = PhoneSet("tiny", ("a", "e"), ("t", "s"), ("sil",), ("um",), {}, ("<sil>",), ())
EMOTIONS = ("ang", "sad")
FBANK = load_set(Path(__file__).parents[2] / "conf" / "fbank.yaml", AudioConfig(16000, None, "refuse"))


def planted_attention(
    seed: int,
    *,
    factor: float = 1.0,
    smooth: int = 1,
    long_vowels: bool = False,
    num: int = 60,
    num_seeds: int = 1,
) -> list[UtteranceAttention]:
    """Utterances of six speakers whose vowels' frames have ``factor`` times the attention of others.

    ``smooth`` frames in a row share a weight; weights are else log-normal and know nothing of the phones.
    """
    random = np.random.default_rng(seed)
    utterances = []
    for number in range(num):
        segments, first = [(0, 10, OTHER)], 10
        for place in range(random.integers(14, 24)):
            kind = VOWEL if place % 2 else CONSONANT
            length = int(random.integers(3, 9) + (5 if long_vowels and kind == VOWEL else 0))
            segments.append((first, length, kind))
            first += length
        segments.append((first, 12, OTHER))
        total = first + 12
        kinds = np.zeros(total)
        for begin, length, kind in segments:
            kinds[begin : begin + length] = kind
        columns = []
        for _ in range(num_seeds):
            noise = np.repeat(random.lognormal(0, 0.5, total // smooth + 1), smooth)[:total]
            weights = noise * np.where(kinds == VOWEL, factor, 1.0)
            columns.append(weights / weights.sum())
        name, speaker = f"u{number:03d}", f"s{number % 6}"
        utterances.append(UtteranceAttention(name, speaker, np.stack(columns, axis=1), np.array(segments)))
    return utterances


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., tuple[Path, Path, list[Path]]]:
    """A data folder, an alignment and a decode folder for each seed, of planted attention."""

    def make(utterances: list[UtteranceAttention]) -> tuple[Path, Path, list[Path]]:
        data, aligned = tmp_path / "data", tmp_path / "aligned"
        names = {VOWEL: "ae", CONSONANT: "ts"}
        spans = {
            item.utt: [
                Span("sil" if kind == OTHER else names[kind][place // 2 % 2], int(first), int(length))
                for place, (first, length, kind) in enumerate(item.segments)
            ]
            for item in utterances
        }
        write_frames(aligned / "phone.frames", spans)
        words = {utt: [Span("<sil>", 0, 10), Span("HELLO", 10, 20), Span("YOU", 30, 25)] for utt in spans}
        write_frames(aligned / "word.frames", words)
        tables.write_table(aligned / "not_aligned", {})
        write_used_set(aligned, FBANK)
        write_set(data, FBANK, {item.utt: len(item.weights) for item in utterances}, main=True)
        tables.write_table(data / "utt2spk", {item.utt: item.speaker for item in utterances})
        emotions = {item.utt: EMOTIONS[number % 2] for number, item in enumerate(utterances)}
        tables.write_table(data / "utt2emo", emotions)
        write_emotions(data / "emotions.txt", EMOTIONS)
        decoded = []
        for k in range(utterances[0].weights.shape[1]):
            folder = tmp_path / f"fold/seed{k + 1}"
            with tables.ArkWriter(folder / "attn") as writer:
                for item in utterances:
                    writer.write(item.utt, item.weights[:, k].astype(np.float32))
            posteriors = {
                c.utt: np.array([0.9, 0.1] if n % 3 else [0.2, 0.8]) for n, c in enumerate(utterances)
            }
            write_posteriors(folder, Posteriors(str(folder), EMOTIONS, posteriors), {}, {})
            decoded.append(folder)
        return data, aligned, decoded

    return make


def write_set(data: Path, feature_set: FeatureSet, num_frames: dict[str, int], *, main: bool) -> None:
    """The tables of a feature set that tell its frames (no features)."""
    folder = data / feature_set.name
    tables.write_table(folder / "utt2num_frames", num_frames)
    (folder / "settings.yaml").write_text(config.dump(feature_set.to_dict()))
    if main:
        tables.write_table(data / "utt2num_frames", num_frames)
        write_used_set(data, feature_set)


def write_corpus(
    data: Path, times: dict[str, list[tuple[str, float, float]]], num_frames: dict[str, int]
) -> None:
    """A data folder with the frames of the paper's filterbank and its own phones."""
    write_ctm(data / "phone.ctm", times)
    tables.write_table(data / "utt2dur", {utt: frames / 100 + 0.015 for utt, frames in num_frames.items()})
    write_set(data, FBANK, num_frames, main=True)
