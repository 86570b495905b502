"""How fast frames of a pretrained encoder are made on one core: seconds of audio a second of processor time.

Usage: OMP_NUM_THREADS=1 python3 tests/bench/pretrained.py <model> [<folder of wav files>]
         [--layers 3 all] [--rounds 2]

<model> is a folder or a name of the hub. Of the wav files forty are taken; without a folder it makes as many
recordings of noise. Loading the encoder is not counted, reading the files neither; the best of several rounds
is. Below the table is where the time of the last row goes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.data.corpus import AudioConfig
from ser.feats.audio import load_samples
from ser.feats.base import Extractor, Floats
from ser.feats.sets import absolute, is_path, load_set

AUDIO = AudioConfig(16000, None, "refuse")
CONF = Path(__file__).parents[2] / "conf" / "whisper.yaml"
ROWS = ((), ("dtype=bfloat16",), ("padding=model",))


def noise() -> list[Floats]:
    """Forty recordings."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(16000, 80000, 40)
    return [0.1 * rng.standard_normal(length, np.float32) for length in lengths]


def encode(extractor: Extractor, recordings: Sequence[Floats], rounds: int) -> float:
    """The least processor time that all recordings took, in seconds."""
    extractor.compute(recordings[0], "first")
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for samples in recordings:
            extractor.compute(samples, "a")
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("wavs", type=Path, nargs="?")
    parser.add_argument("--layers", nargs="+", default=["3", "2", "6", "all"])
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recordings = (
        [load_samples(path, AUDIO) for path in sorted(args.wavs.rglob("*.wav"))[:100]]
        if args.wavs
        else noise()
    )
    total_s = sum(map(len, recordings)) / AUDIO.sampling_rate_hz
    model = absolute(args.model, Path()) if is_path(args.model) else args.model
    print(f"{len(recordings)} recordings, {total_s:.0f} s")
    for layers in args.layers:
        for changes in ROWS if layers == args.layers[0] else ROWS[:1]:
            overrides = [f"model={model}", f"layers={layers}", "device=cpu", *changes]
            extractor = load_set(CONF, AUDIO, overrides=overrides).make()
            used_s = encode(extractor, recordings, args.rounds)
            print(
                f"layers {layers:4} {' '.join(changes) or 'float32':16} {total_s / used_s:7.1f} x real time"
            )
    profile = cProfile.Profile()
    profile.runcall(encode, extractor, recordings, 1)
    pstats.Stats(profile).sort_stats("tottime").print_stats(8)


if __name__ == "__main__":
    main()
