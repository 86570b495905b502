"""A small data folder of recordings and models trained on it, by the code of stages 1 to 5."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from ser import config
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.folds import make_folds
from ser.data.labels import write_emotions
from ser.feats import cmvn, extract
from ser.feats.base import Floats
from ser.feats.sets import load_set
from ser.feats.vad import VadConfig, compute_vad
from ser.learn import fitting
from ser.learn.decoding import decode_folder
from ser.learn.tasks import Task
from ser.predict.result import Piece
from tests.learn.conftest import BLSTMATT, CSA

RATE_HZ = 16000
EMOTIONS = ("ang", "hap", "neu", "sad")
SPEAKERS, TESTED = "abcde", "de"
CORPUS = """\
name: toy
module: csv
classes: [ang, hap, neu, sad]
labels: {ang: ang, hap: hap, neu: neu, sad: sad}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse, on_mixed_rate: warn, on_silent: warn}
keep: {}
protocol: one
protocols:
  one: {group: speaker, test: {one: [d, e]}, dev: null, keep: {}}
checks: null
"""
VAD = VadConfig("energy", 0.0, 0.0, 30.0, 2, 0.3)
SVM = "system: svm\nfeatures: {sets: [fbank], norm: speaker}\nunit: utterance\n"
MAJORITY = "system: majority\nunit: utterance\n"
SYSTEMS = {"blstmatt": BLSTMATT, "csa": CSA, "svm": SVM, "majority": MAJORITY}


def write_recordings(folder: Path) -> dict[str, Path]:
    """Noise of a pitch for each class and a level for each speaker, with pauses; utterance -> file."""
    rng = np.random.default_rng(1)
    wavs = {}
    for speaker in SPEAKERS:
        for number in range(8):
            length = int(rng.integers(4000, 24000))
            if speaker in TESTED and number == 0:
                length = 2400  # 13 frames, fewer than the context
            time_s = np.arange(length) / RATE_HZ
            tone = np.sin(2 * np.pi * (300 + 400 * (number % 4)) * time_s)
            loud = 0.05 * (1 + SPEAKERS.index(speaker)) * (np.abs(time_s * RATE_HZ / length - 0.5) < 0.35)
            x = loud * (tone + 0.3 * rng.standard_normal(length)) + 1e-4 * rng.standard_normal(length)
            wavs[f"{speaker}-{number}"] = folder / "wav" / f"{speaker}-{number}.wav"
            folder.joinpath("wav").mkdir(parents=True, exist_ok=True)
            soundfile.write(wavs[f"{speaker}-{number}"], x, RATE_HZ)
    return wavs


def plain(items: Iterable[str], _what: str) -> Iterable[str]:
    return items


def make_data(folder: Path, compress: str = "none") -> Path:
    """Stages 0 to 2: the folds' folder."""
    (folder / "conf").mkdir(parents=True)
    corpus = folder / "conf" / "corpus.yaml"
    corpus.write_text(CORPUS)
    wavs, data = write_recordings(folder), folder / "data" / "all"
    data.mkdir(parents=True)
    tables.write_table(data / "wav.scp", wavs)
    tables.write_table(data / "utt2spk", {key: key[0] for key in wavs})
    tables.write_table(data / "spk2utt", {s: " ".join(k for k in wavs if k[0] == s) for s in SPEAKERS})
    tables.write_table(data / "utt2emo", {key: EMOTIONS[int(key[2:]) % 4] for key in wavs})
    tables.write_table(data / "utt2dur", {key: soundfile.info(path).duration for key, path in wavs.items()})
    write_emotions(data / "emotions.txt", EMOTIONS)
    repo = Path(__file__).resolve().parents[2]
    for name in ("fbank", "energy"):
        features = load_set(repo / "conf" / f"{name}.yaml", corpus, compress)  # type: ignore[arg-type]
        extract.make_shard(data, features, 1, 1, plain)
        extract.merge_shards(data, features, 1)
    extract.make_main(data, "fbank")
    compute_vad(data, VAD, plain)
    cmvn.compute(data, "fbank", plain)
    make_folds(data, folder / "data" / "folds", load_corpus(corpus), None)
    return folder / "data" / "folds" / "one"


def train(fold: Path, out: Path, system: str, overrides: Sequence[str] = ()) -> Path:
    """Stages 3 to 5: a model folder, decoded."""
    path = out / f"{system}.yaml"
    out.mkdir(parents=True)
    path.write_text(SYSTEMS[system])
    quick = ["training.epochs=1", "training.select=last"] if system in ("blstmatt", "csa") else []
    tree = config.resolve(path, [*quick, *(["optim.plateau.metric=train_loss"] if quick else []), *overrides])
    task = Task(fold / "train", None, out / "model", 1, tree, str(path))
    fitting.train(task, use_gpu="no", tensorboard=False)
    decode_folder(out / "model", fold / "test", out / "model" / "decode_test", use_gpu="no")
    return out / "model"


def read_pieces(data: Path) -> Iterator[Piece]:
    """The utterances of a data folder."""
    wavs, speakers = tables.read_table(data / "wav.scp"), tables.read_table(data / "utt2spk")
    for key, path in wavs.items():
        samples: Floats = soundfile.read(path, dtype="float32")[0]
        yield Piece(key, speakers[key], 0.0, len(samples) / RATE_HZ, samples)
