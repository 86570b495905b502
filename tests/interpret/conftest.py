"""Planted attention: what is in it is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.data.alignment import Span, write_frames
from ser.data.labels import write_emotions
from ser.data.phones import PhoneSet
from ser.interpret.nulls import CONSONANT, OTHER, VOWEL, Case
from ser.scoring.system import System, write_system

PHONES = PhoneSet("tiny", ("a", "e"), ("t", "s"), ("sil",), ("um",), {}, ("<sil>",), ())
EMOTIONS = ("ang", "sad")


def planted_cases(
    seed: int,
    *,
    factor: float = 1.0,
    smooth: int = 1,
    long_vowels: bool = False,
    num: int = 60,
    num_seeds: int = 1,
) -> list[Case]:
    """Utterances of six speakers whose vowels' frames have ``factor`` times the attention of others.

    ``smooth`` frames in a row share a weight; weights are else log-normal and know nothing of the phones.
    """
    random = np.random.default_rng(seed)
    made = []
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
        made.append(Case(f"u{number:03d}", f"s{number % 6}", np.stack(columns, axis=1), np.array(segments)))
    return made


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., tuple[Path, Path, list[Path]]]:
    """A data folder, an alignment and a decode folder for each seed, of planted cases."""

    def make(cases: list[Case]) -> tuple[Path, Path, list[Path]]:
        data, aligned = tmp_path / "data", tmp_path / "aligned"
        names = {VOWEL: "ae", CONSONANT: "ts"}
        spans = {
            case.utt: [
                Span("sil" if kind == OTHER else names[kind][place // 2 % 2], int(first), int(length))
                for place, (first, length, kind) in enumerate(case.segments)
            ]
            for case in cases
        }
        write_frames(aligned / "phone.frames", spans)
        words = {utt: [Span("<sil>", 0, 10), Span("HELLO", 10, 20), Span("YOU", 30, 25)] for utt in spans}
        write_frames(aligned / "word.frames", words)
        tables.write_table(aligned / "not_aligned", {})
        tables.write_table(data / "utt2num_frames", {case.utt: len(case.weights) for case in cases})
        tables.write_table(data / "utt2spk", {case.utt: case.speaker for case in cases})
        emotions = {case.utt: EMOTIONS[number % 2] for number, case in enumerate(cases)}
        tables.write_table(data / "utt2emo", emotions)
        write_emotions(data / "emotions.txt", EMOTIONS)
        decoded = []
        for k in range(cases[0].weights.shape[1]):
            folder = tmp_path / f"fold/seed{k + 1}"
            with tables.ArkWriter(folder / "attn") as writer:
                for case in cases:
                    writer.write(case.utt, case.weights[:, k].astype(np.float32))
            posteriors = {c.utt: np.array([0.9, 0.1] if n % 3 else [0.2, 0.8]) for n, c in enumerate(cases)}
            write_system(folder, System(str(folder), EMOTIONS, posteriors), {}, {})
            decoded.append(folder)
        return data, aligned, decoded

    return make


def write_corpus(
    data: Path, times: dict[str, list[tuple[str, float, float]]], num_frames: dict[str, int]
) -> None:
    """A data folder with features' tables (no features) and its own phones."""
    from ser.data.alignment import write_ctm

    write_ctm(data / "phone.ctm", times)
    tables.write_table(data / "utt2num_frames", num_frames)
    tables.write_table(data / "utt2dur", {utt: frames / 100 + 0.015 for utt, frames in num_frames.items()})
    fbank = {
        "fbank": {
            "dither": 0.0, "frame_length_ms": 25.0, "frame_shift_ms": 10.0, "high_freq_hz": 8000.0,
            "low_freq_hz": 0.0, "num_mel_bins": 23, "preemphasis": 0.0, "remove_dc_offset": False,
            "sample_scale": "int16", "sampling_rate_hz": 16000, "snip_edges": True, "use_power": True,
            "window": "hamming",
        },
        "audio": {"channel": None, "resample": "refuse", "sampling_rate_hz": 16000},
        "compress": "none",
    }  # fmt: skip
    (data / "fbank.yaml").write_text(json.dumps(fbank))
