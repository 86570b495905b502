"""A small data folder of recordings and models trained on it, by the code of stages 1 to 5."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from ser import config
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.folds import make_folds
from ser.data.labels import write_emotions
from ser.feats import cmvn, extract
from ser.feats.base import Floats
from ser.feats.sets import Compress, load_set
from ser.feats.vad import VadConfig, compute_vad
from ser.learn import fitting
from ser.learn.decoding import decode_folder
from ser.learn.tasks import Task
from ser.predict.result import Piece
from tests.learn.conftest import BLSTMATT, CSA

REPO = Path(__file__).resolve().parents[2]
RATE_HZ = 16000
EMOTIONS = ("ang", "hap", "neu", "sad")
SPEAKERS, TESTED = "abcde", ("d", "e")
CORPUS = """\
name: toy
module: csv
classes: [ang, hap, neu, sad]
labels: {ang: ang, hap: hap, neu: neu, sad: sad}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse, on_mixed_rate: warn, on_silent: warn}
keep: {}
protocol: one
protocols:
  one: {group: speaker, test: {one: [TESTED]}, dev: null, keep: {}}
checks: null
"""
VAD = VadConfig("energy", 0.0, 0.0, 30.0, 2, 0.3)
SVM = "system: svm\nfeatures: {sets: [fbank], norm: speaker}\nunit: utterance\n"
MAJORITY = "system: majority\nunit: utterance\n"
SYSTEMS = {"blstmatt": BLSTMATT, "csa": CSA, "svm": SVM, "majority": MAJORITY}
ONCE = ("training.epochs=1", "training.select=last", "optim.plateau.metric=train_loss")


class Corpus(NamedTuple):
    """Recordings, who speaks and how."""

    wavs: Mapping[str, Path]
    speakers: Mapping[str, str]
    emotions: Mapping[str, str]
    tested: Sequence[str]  # speakers


def make_noise(folder: Path) -> Corpus:
    """Noise of a pitch for each class and a level for each speaker, with pauses."""
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
    emotions = {key: EMOTIONS[int(key[2:]) % 4] for key in wavs}
    return Corpus(wavs, {key: key[0] for key in wavs}, emotions, TESTED)


def emodb_corpus(emodb: Path, speakers: Sequence[str], tested: Sequence[str]) -> Corpus:
    """EMO-DB's utterances of four classes."""
    classes = {"W": "ang", "F": "hap", "N": "neu", "T": "sad"}
    wavs = {path.stem: path for path in sorted((emodb / "wav").glob("*.wav"))}
    wavs = {key: path for key, path in wavs.items() if key[:2] in speakers and key[5] in classes}
    return Corpus(wavs, {key: key[:2] for key in wavs}, {key: classes[key[5]] for key in wavs}, tested)


def plain(items: Iterable[str], _what: str) -> Iterable[str]:
    return items


def make_data(
    folder: Path,
    corpus: Corpus | None = None,
    compress: Compress = "none",
    sets: Sequence[str] = (),
    vad: VadConfig = VAD,
    overrides: Sequence[str] = (),
) -> Path:
    """Stages 0 to 2 of a corpus, of noise if none is given; ``overrides`` are those of further ``sets``."""
    corpus = corpus or make_noise(folder)
    (folder / "conf").mkdir(parents=True)
    conf, data = folder / "conf" / "corpus.yaml", folder / "data" / "all"
    tested = ", ".join(f'"{speaker}"' for speaker in corpus.tested)
    conf.write_text(CORPUS.replace("TESTED", tested))
    data.mkdir(parents=True)
    tables.write_table(data / "wav.scp", corpus.wavs)
    tables.write_table(data / "utt2spk", corpus.speakers)
    said = {
        speaker: " ".join(key for key, own in corpus.speakers.items() if own == speaker)
        for speaker in sorted(set(corpus.speakers.values()))
    }
    tables.write_table(data / "spk2utt", said)
    tables.write_table(data / "utt2emo", corpus.emotions)
    durations_s = {key: soundfile.info(path).duration for key, path in corpus.wavs.items()}
    tables.write_table(data / "utt2dur", durations_s)
    write_emotions(data / "emotions.txt", EMOTIONS)
    for name in ("fbank", "energy", *sets):
        features = load_set(REPO / "conf" / f"{name}.yaml", conf, compress, overrides if name in sets else ())
        extract.make_shard(data, features, 1, 1, plain)
        extract.merge_shards(data, features, 1)
    extract.make_main(data, "fbank")
    compute_vad(data, vad, plain)
    for name in cmvn.frame_sets(data):
        cmvn.compute(data, name, plain)
    make_folds(data, folder / "data" / "folds", load_corpus(conf))
    return folder / "data" / "folds" / "one"


def train(fold: Path, out: Path, system: str, overrides: Sequence[str] = ()) -> Path:
    """Stages 3 to 5: a model folder, decoded; ``system`` is one of SYSTEMS or a file of conf/."""
    path = REPO / "conf" / f"{system}.yaml"
    out.mkdir(parents=True, exist_ok=True)
    if system in SYSTEMS:
        path = out / f"{system}.yaml"
        path.write_text(SYSTEMS[system])
    once = ONCE if "training" in config.resolve(path) else ()
    tree = config.resolve(path, [*once, *overrides])
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
