"""A system, an estimator, a feature set and a corpus of the reader's own: a module and a YAML file each.

All four go through stages 0 to 9 of the recipe as it is; nothing in the checkout is changed for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.data.alignment import read_frames
from ser.data.tsv import read_tsv
from ser.interpret.maps import Attended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EMOTIONS = {"angry": 300.0, "happy": 900.0, "sad": 2700.0}  # to the tone that tells it
RATE_HZ = 16000

CORPUS = '''
"""Recordings named <speaker>-<emotion>-<number>.wav; the first half of each is an S, the second a vowel."""

from pathlib import Path

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.supervision import AlignmentItem

from ser.corpora import Corpus


def prepare(corpus_dir: Path, *, num_jobs: int = 1):
    recordings = [Recording.from_file(path) for path in sorted(corpus_dir.glob("*.wav"))]
    segments = []
    for recording in recordings:
        speaker, emotion, _ = recording.id.split("-")
        half = recording.duration / 2
        phones = [AlignmentItem("S", 0.0, half), AlignmentItem("AA", half, half)]
        segments.append(SupervisionSegment(
            recording.id, recording.id, 0.0, recording.duration, speaker=speaker,
            custom={"emotion": emotion}, alignment={"phone": phones},
        ))
    return {
        "recordings": RecordingSet.from_recordings(recordings),
        "supervisions": SupervisionSet.from_segments(segments),
    }


CORPUS = Corpus(prepare)
'''

CORPUS_YAML = """
name: tones
module: mine.tones:CORPUS
classes: [ang, hap, sad]
labels: {angry: ang, happy: hap, sad: sad}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse, on_mixed_rate: warn, on_silent: warn}
keep: {}
protocol: fixed
protocols:
  fixed:
    group: speaker
    test: [s4]
    dev: {speakers: 1, refit: true}
    keep: {}
checks: {class: {ang: 24, hap: 24, sad: 24}}
"""

FEATURES = '''
"""Energies of a few bands of the spectrum, every 20 ms."""

from dataclasses import dataclass

import numpy as np

from ser.feats.base import Timing


@dataclass(frozen=True)
class Settings:
    extractor: str
    bands: int


class Bands:
    Settings = Settings

    def __init__(self, settings, sampling_rate_hz):
        self.settings, self.size = settings, sampling_rate_hz // 50

    @property
    def dim(self):
        return self.settings.bands

    @property
    def timing(self):
        return Timing(0.02, 0.01)

    @property
    def versions(self):
        return {}

    def compute(self, samples, key):
        frames = samples[: len(samples) // self.size * self.size].reshape(-1, self.size)
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(self.size))))
        sums = [part.sum(axis=1) for part in np.array_split(power, self.settings.bands, axis=1)]
        return np.log(np.stack(sums, axis=1) + 1e-6).astype(np.float32)
'''

NETWORK = '''
"""Attention over frames, and a second head that learns the speaker: a loss of its own."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ser.systems.base import Network, Outputs
from ser.systems.settings import AugmentationSettings, InputSettings, OptimSettings, TrainingSettings


@dataclass(frozen=True)
class Settings:
    system: str
    features: InputSettings
    unit: str
    targets: tuple[str, ...]
    hidden: int
    augmentation: AugmentationSettings
    optim: OptimSettings
    training: TrainingSettings


class TwoHeads(nn.Module):
    def __init__(self, num_values, hidden, num_classes, num_speakers):
        super().__init__()
        self.frame = nn.Linear(num_values, hidden)
        self.score = nn.Linear(hidden, 1)
        self.emotion, self.speaker = nn.Linear(hidden, num_classes), nn.Linear(hidden, num_speakers)

    def forward(self, inputs):
        x, num_frames = inputs.main
        h = self.frame(x).tanh()
        beyond = torch.arange(x.shape[1], device=x.device) >= num_frames.unsqueeze(1)
        weights = self.score(h).squeeze(-1).masked_fill(beyond, -torch.inf).softmax(dim=1)
        pooled = (weights.unsqueeze(-1) * h).sum(dim=1)
        return Outputs(self.emotion(pooled), weights, {"speaker": self.speaker(pooled)})


def build(settings, sizes):
    (num_values,) = sizes.features.values()
    return TwoHeads(num_values, settings.hidden, sizes.num_classes, sizes.targets["speaker"])


def loss(outputs, targets):
    emotion = F.cross_entropy(outputs.logits, targets["emotion"], reduction="none")
    speaker = F.cross_entropy(outputs.extra["speaker"], targets["speaker"], reduction="none")
    return emotion + 0.1 * speaker


SYSTEM = Network(Settings, build, loss, frame_attention=True)
'''

NETWORK_YAML = """
system: mine.heads:SYSTEM
features: {sets: [bands], norm: global}
unit: utterance
targets: [speaker]
hidden: 16
augmentation: {time_masks: 0, time_mask_frames: 0, freq_masks: 0, freq_mask_bins: 0, filter_gain: 0.1}
optim:
  lr: 1.0e-2
  weight_decay: 0.0
  clip_norm: 5.0
  schedule: cosine
  plateau: {metric: train_loss, patience: 4, factor: 0.8}
  cosine: {warmup: 0.2}
training: {epochs: 20, batch_size: 4, class_weights: balanced, select: last, amp: none,
  max_frames: null, long_utterances: split}
"""

ESTIMATOR = '''
"""The nearest class mean."""

from dataclasses import dataclass

import numpy as np

from ser.systems.base import Estimator
from ser.systems.settings import InputSettings


@dataclass(frozen=True)
class Settings:
    system: str
    features: InputSettings
    unit: str
    sharpness: float


def vectors(subset):
    return np.stack([subset.main.raw(index).mean(axis=0) for index in range(len(subset))])


def fit(train, settings, num_classes, seed):
    x = vectors(train)
    return {"means": np.stack([x[train.labels == label].mean(axis=0) for label in range(num_classes)])}


def posteriors(model, settings, subset):
    distances = np.square(vectors(subset)[:, None] - model["means"]).sum(axis=-1)
    powers = np.exp(-settings.sharpness * (distances - distances.min(axis=1, keepdims=True)))
    return powers / powers.sum(axis=1, keepdims=True)


SYSTEM = Estimator(Settings, fit, posteriors, seeded=False)
'''


ESTIMATOR_YAML = """
system: mine.nearest:SYSTEM
features: {sets: [bands], norm: none}
unit: utterance
sharpness: 0.1
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package and settings of the reader's own, and recordings: noise, then a tone that tells the class."""
    folder = tmp_path_factory.mktemp("mine")
    package, conf, wavs = folder / "mine", folder / "settings", folder / "wavs"
    for place in (package, conf, wavs):
        place.mkdir()
    modules = {"tones": CORPUS, "bands": FEATURES, "heads": NETWORK, "nearest": ESTIMATOR}
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    (conf / "corpus.yaml").write_text(CORPUS_YAML)
    (conf / "bands.yaml").write_text("extractor: mine.bands:Bands\nbands: 8\n")
    (conf / "heads.yaml").write_text(NETWORK_YAML)
    (conf / "nearest.yaml").write_text(ESTIMATOR_YAML)
    rng = np.random.default_rng(0)
    for speaker in range(1, 5):
        for emotion, tone_hz in EMOTIONS.items():
            for number in range(6):
                half = int(rng.integers(4000, 6000))
                tone = np.sin(2 * np.pi * tone_hz * (1 + 0.02 * speaker) * np.arange(half) / RATE_HZ)
                samples = np.concatenate([np.zeros(half), tone]) + rng.normal(0, 0.05, 2 * half)
                with wave.open(str(wavs / f"s{speaker}-{emotion}-{number}.wav"), "wb") as file:
                    file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
                    file.writeframes((8000 * samples).astype("<i2").tobytes())
    return folder


@pytest.fixture(scope="module")
def done(mine: Path, repo: Path) -> subprocess.CompletedProcess[str]:
    """All stages, with the four of them beside the recipe's own."""
    systems = f"{mine}/settings/heads.yaml {mine}/settings/nearest.yaml majority"
    line = [
        *(
            str(repo / "run.sh"),
            "--corpus-conf",
            f"{mine}/settings/corpus.yaml",
            "--corpus-dir",
            f"{mine}/wavs",
        ),
        *("--data-dir", f"{mine}/data", "--exp-dir", f"{mine}/exp", "--systems", systems, "--nj", "2"),
        *("--fuse", "both=heads nearest", "--interpret", "heads", "--use-gpu", "no", "--seeds", "1"),
    ]
    environment = os.environ | {"SER_PYTHON": sys.executable, "PYTHONPATH": str(mine), "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=mine, timeout=240)


def test_all_stages_run(done: subprocess.CompletedProcess[str], mine: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert "done: stages 0 to 9" in done.stderr
    rows = [line.split("\t") for line in (mine / "exp" / "results.tsv").read_text().splitlines()]
    means = [row[0] for row in rows if row[1] == "mean"]
    assert means == ["heads", "both", "nearest", "majority"]


def test_the_corpus_is_what_it_says(done: subprocess.CompletedProcess[str], mine: Path) -> None:
    assert "differs" not in done.stdout
    labels = tables.read_table(mine / "data" / "all" / "utt2emo")
    assert len(labels) == 72
    assert labels["s1-happy-0"] == "hap"
    assert set(tables.read_table(mine / "data" / "folds" / "fixed" / "test" / "utt2spk").values()) == {"s4"}


@pytest.mark.usefixtures("done")
def test_the_feature_set_is_made_and_kept_beside_the_main_one(mine: Path) -> None:
    folder = mine / "data" / "all" / "bands"
    frames = tables.read_table(folder / "utt2num_frames")
    durations = tables.read_table(mine / "data" / "all" / "utt2dur")
    assert {key: int(float(value) * RATE_HZ) // 320 for key, value in durations.items()} == {
        key: int(value) for key, value in frames.items()
    }
    assert (folder / "frame_shift").read_text() == "0.02\n"
    assert tables.ArkReader(folder / "feats.scp").read("s1-sad-0").shape == (int(frames["s1-sad-0"]), 8)


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(("name", "seed"), [("heads", 1), ("nearest", 0), ("both", 1)])
def test_the_systems_learn(mine: Path, name: str, seed: int) -> None:
    score = mine / "exp" / "pooled" / name / f"seed{seed}" / "decode_test" / "score" / "result.txt"
    result = tables.read_table(score)
    assert (result["n_scored"], result["n_total"]) == ("18", "18")
    assert float(result["uar"]) == 1.0
    if name != "both":
        record = json.loads((mine / "exp" / "fixed" / name / f"seed{seed}" / "model.json").read_text())
        assert record["settings"]["system"] == f"mine.{name}:SYSTEM"


@pytest.mark.usefixtures("done")
def test_attention_lies_on_frames_of_20_ms(mine: Path) -> None:
    """Halves of the recordings become halves of the frames; the network attends to the tone."""
    frames = {
        key: int(value)
        for key, value in tables.read_table(mine / "data" / "all" / "bands" / "utt2num_frames").items()
    }
    spans = read_frames(mine / "exp" / "alignments" / "corpus.bands" / "phone.frames", frames)
    for key, rows in spans.items():
        assert [row.symbol for row in rows] == ["S", "AA"]
        assert abs(rows[1].first - frames[key] / 2) <= 1
    out = mine / "exp" / "interpret" / "heads" / "corpus"
    rows = read_tsv(out / "seed1" / "phone_attn.tsv", Attended)
    relative = {kind: [row.relative for row in rows if row.kind == kind] for kind in ("vowel", "consonant")}
    assert np.mean(relative["vowel"]) > np.mean(relative["consonant"])
    assert (out / "figures" / "page.svg").exists()


@pytest.mark.usefixtures("done")
def test_the_report_has_them(mine: Path) -> None:
    text = (mine / "exp" / "RESULTS.md").read_text()
    for word in ("heads", "nearest", "both", "mine.heads:SYSTEM", "bands"):
        assert word in text


def test_again_everything_is_up_to_date(done: subprocess.CompletedProcess[str], mine: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for name in ("post", "model.json") for path in mine.rglob(name)}
    environment = os.environ | {"SER_PYTHON": sys.executable, "PYTHONPATH": str(mine), "OMP_NUM_THREADS": "1"}
    again = subprocess.run(
        [*done.args, "--stop-stage", "7"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=mine,
        timeout=240,
    )
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
