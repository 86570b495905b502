"""How fast stage 1 is on one core: frames a second, beside other extractors by themselves.

Usage: OMP_NUM_THREADS=1 python3 tests/bench/fbank.py [--rounds 5] [<folder of wav files>]

Without a folder it makes ten minutes of noise. lhotse, kaldi-native-fbank and torchaudio read the same files
and make the same 23 filters; openSMILE makes the 25 values a frame of eGeMAPS, pitch and formants among
them. Only stage 1 also checks the files, takes their digests and writes the archive. Imports are not
counted, processor time is; printed are the best of several rounds and the median of their ratios. Those
that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import kaldi_native_fbank
import lhotse
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.data import files, tables
from ser.data.corpus import AudioConfig
from ser.feats import extract
from ser.feats.sets import load_set

FBANK = Path(__file__).parents[2] / "conf" / "fbank.yaml"


def noise(folder: Path) -> None:
    """Two hundred recordings of 0.6 to 5.4 seconds."""
    rng = np.random.default_rng(0)
    for i in range(200):
        samples = 0.1 * rng.standard_normal(rng.integers(9600, 86400))
        soundfile.write(folder / f"{i:03}.wav", samples, 16000)


def by_stage_1(wavs: Sequence[Path], folder: Path) -> int:
    """The recipe's own: read, check, compute, write, merge."""
    shutil.rmtree(folder, ignore_errors=True)
    files._known_digest.cache_clear()  # a new process knows none
    tables.write_table(folder / "wav.scp", {f"u{i:05}": path for i, path in enumerate(wavs)})
    features = load_set(FBANK, AudioConfig(16000, 0, "refuse"))
    extract.make_shard(folder, features, 1, 1, lambda items, _what: items)
    extract.merge_shards(folder, features, 1)
    extract.make_main(folder, features.name)
    return sum(map(int, tables.read_table(folder / "utt2num_frames").values()))


def by_lhotse(wavs: Sequence[Path]) -> int:
    """Lhotse's extractor alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = lhotse.Fbank(
            lhotse.FbankConfig(
                num_filters=23, snip_edges=True, window_type="hamming", preemph_coeff=0.0,
                remove_dc_offset=False, low_freq=0.0, high_freq=8000.0,
            )
        )  # fmt: skip
    return sum(len(extractor.extract(soundfile.read(path, dtype="float32")[0], 16000)) for path in wavs)


def by_kaldi(wavs: Sequence[Path]) -> int:
    """Kaldi's own code, as kaldi-native-fbank."""
    options = kaldi_native_fbank.FbankOptions()
    frame, mel = options.frame_opts, options.mel_opts
    frame.dither, frame.window_type, frame.preemph_coeff, frame.remove_dc_offset = 0.0, "hamming", 0.0, False
    mel.num_bins, mel.low_freq, mel.high_freq = 23, 0.0, 8000.0
    total = 0
    for path in wavs:
        computer = kaldi_native_fbank.OnlineFbank(options)
        computer.accept_waveform(16000, soundfile.read(path, dtype="float32")[0] * 32768)
        computer.input_finished()
        total += len(np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)]))
    return total


def by_torchaudio(wavs: Sequence[Path]) -> int:
    """Torchaudio's Kaldi fbank."""
    import torch
    import torchaudio.compliance.kaldi as kaldi

    total = 0
    for path in wavs:
        samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
        total += len(
            kaldi.fbank(
                samples, num_mel_bins=23, window_type="hamming", preemphasis_coefficient=0.0,
                remove_dc_offset=False, low_freq=0.0, high_freq=8000.0, sample_frequency=16000.0,
            )
        )  # fmt: skip
    return total


def by_opensmile(wavs: Sequence[Path]) -> int:
    """OpenSMILE's low-level descriptors of eGeMAPS."""
    import opensmile

    level = opensmile.FeatureLevel.LowLevelDescriptors
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, level)
    signals = (soundfile.read(path, dtype="float32")[0] for path in wavs)
    return sum(len(smile.process_signal(signal, 16000)) for signal in signals)


PEERS = {"torchaudio": by_torchaudio, "opensmile": by_opensmile}  # packages that are no requirement


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wavs", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.wavs is None:
            noise(folder)
        wavs = sorted((args.wavs or folder).rglob("*.wav"))
        ways: dict[str, Callable[[], int]] = {
            "stage 1": lambda: by_stage_1(wavs, folder / "data"),
            "lhotse": lambda: by_lhotse(wavs),
            "kaldi-native-fbank": lambda: by_kaldi(wavs),
        }
        for package, measure in PEERS.items():
            if importlib.util.find_spec(package) is None:
                print(f"NOT MEASURED: {package}, which is not installed; pip install {package}")
            else:
                measure(wavs[:1])  # imports
                ways[package] = partial(measure, wavs)
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.rounds):
            for way, go in ways.items():
                begin = time.process_time()
                frames = go()
                rates[way].append(frames / (time.process_time() - begin))
    print(f"{len(wavs)} recordings")
    for way, speeds in rates.items():
        speed = max(speeds)
        ratio = statistics.median(own / other for own, other in zip(rates["stage 1"], speeds, strict=True))
        print(f"{way:20} {speed:9.0f} frames/s {speed / 100:6.0f} x real time; stage 1 is {ratio:.2f} of it")


if __name__ == "__main__":
    main()
