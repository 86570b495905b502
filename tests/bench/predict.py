"""Use of trained models: start-up, a long recording, and many short ones against the recipe's stages.

  python3 tests/bench/predict.py EXP/FOLD/SYSTEM/seed1 DATA [--hours 1] [--files 10000] [--folder DIR]

DATA is a data folder with utt2spk, such as data/folds/<fold>/test of that experiment. Of its recordings a
long one is made, with pauses of 0.2 to 2 s, and a folder of so many files, by hard links. Each is predicted
on one core, and the many go through stages 1 and 5 (extract, compute_cmvn, decode) too.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.data import tables
from ser.data.segments import read_recordings
from ser.feats.level import added
from ser.learn.models import load_model

ROOT = Path(__file__).resolve().parents[2]
ONE_CORE = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def measure(what: str, *words: object, seconds: float = 0.0) -> float:
    """Run a verb; print and give the seconds of processor that it took, beside time and memory."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "ser", *map(str, words)]
    with open(os.devnull, "w") as nowhere:
        subprocess.run(command, env=ONE_CORE, check=True, stdout=nowhere, stderr=nowhere)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    speed = f", {seconds / cpu:,.0f} times real time" if seconds else ""
    print(
        f"{what}: {cpu:.1f} s of processor ({time.monotonic() - begun:.1f} s), largest process so far "
        f"{after.ru_maxrss / 1024:.0f} MB{speed}",
        flush=True,
    )
    return cpu


def write_long(path: Path, files: list[Path], hours: float) -> float:
    """Recordings after one another, with quiet pauses; how many seconds that are."""
    rng = np.random.default_rng(0)
    rate = soundfile.info(files[0]).samplerate
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as out:
        while out.frames < hours * 3600 * rate:
            wave, _ = soundfile.read(files[rng.integers(len(files))], dtype="float32")
            out.write(wave)
            out.write(rng.normal(0, 1e-4, int(rng.uniform(0.2, 2) * rate)))
        return float(out.frames / rate)


def write_many(folder: Path, data: Path, number: int) -> float:
    """A folder of links and a data folder of the same recordings; how many seconds that are."""
    recordings = {key: item.path.resolve() for key, item in read_recordings(data).items()}
    speakers, emotions = (tables.read_table(data / name) for name in ("utt2spk", "utt2emo"))
    keys = [list(recordings)[place % len(recordings)] for place in range(number)]
    copies = {f"{speakers[key]}_{key}_{place:06d}": key for place, key in enumerate(keys)}
    (folder / "wav").mkdir(parents=True)
    for name, key in copies.items():
        os.link(recordings[key], folder / "wav" / f"{name}.wav")
    (folder / "data").mkdir()
    tables.write_table(folder / "data/wav.scp", {name: folder / "wav" / f"{name}.wav" for name in copies})
    tables.write_table(folder / "data/utt2spk", {name: speakers[key] for name, key in copies.items()})
    tables.write_table(folder / "data/utt2emo", {name: emotions[key] for name, key in copies.items()})
    (folder / "data/emotions.txt").write_bytes((data / "emotions.txt").read_bytes())
    spoken = {key: soundfile.info(path).duration for key, path in recordings.items()}
    return sum(spoken[key] for key in keys)


def write_speaker_sums(data: Path) -> None:
    """The statistics of each speaker, as the folds of stage 2 have them."""
    reader = tables.ArkReader(data / "fbank/cmvn_utt.scp")
    speakers = tables.read_table(data / "utt2spk")
    sums = added((speakers[key], reader.read(key)) for key in reader.places)
    with tables.ArkWriter(data / "cmvn") as writer:
        for speaker, values in sums.items():
            writer.write(speaker, values)


def main() -> None:
    """Make the recordings in a temporary place, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder; links need one disk")
    args = parser.parse_args()
    files = [item.path.resolve() for item in read_recordings(args.data).values()]
    who = ["--speaker-of", "all"] if load_model(args.model).norm == "speaker" else []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        measure("start-up and one recording", "predict", args.model, files[0], *who)
        seconds = write_long(folder / "long.wav", files, args.hours)
        measure(
            f"{seconds / 3600:.1f} hours", "predict", args.model, folder / "long.wav", *who, seconds=seconds
        )
        (folder / "long.wav").unlink()
        seconds = write_many(folder, args.data, args.files)
        if who:
            who = ["--speakers", folder / "data/utt2spk"]
        alone = measure(f"{args.files} files", "predict", args.model, folder / "wav", *who, seconds=seconds)
        extract = (ROOT / "egs/emodb/conf/corpus.yaml", folder / "data", ROOT / "conf/fbank.yaml")
        steps = [
            measure("extract", "extract", "--main", *extract),
            measure("extract --merge", "extract", "--main", "--merge", *extract),
            measure("compute_cmvn", "compute_cmvn", folder / "data"),
        ]
        write_speaker_sums(folder / "data")
        decode = ("decode", "--use-gpu", "no", args.model, folder / "data", folder / "out")
        steps.append(measure("decode", *decode))
    print(f"stages 1 and 5: {sum(steps):.1f} s, {sum(steps) / alone:.2f} times as long as predict")


if __name__ == "__main__":
    main()
