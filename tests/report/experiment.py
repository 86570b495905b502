"""A synthetic experiment: folds, and systems whose posteriors are right as often as asked."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.data import tables
from ser.data.labels import write_emotions
from ser.scoring.system import System, pool_folders, write_system

EMOTIONS = ("ang", "hap", "neu", "sad")
SKILLS = {"blstmatt": 0.75, "csa_20": 0.6, "csa_30": 0.65, "csa_60": 0.5, "syscomb": 0.78, "majority": 0.0}


@dataclass(frozen=True)
class Made:
    """Where a synthetic experiment is."""

    exp: Path
    folds: Path
    labels: dict[str, int]
    frames: dict[str, int]


def make_folds(
    folds: Path, num_folds: int, per_speaker: int, rng: np.random.Generator
) -> tuple[dict[str, int], dict[str, int]]:
    """Two speakers a fold; class and length (frames) of every utterance."""
    labels: dict[str, int] = {}
    frames: dict[str, int] = {}
    names = [f"f{number}" for number in range(num_folds)]
    for fold in names:
        for speaker in (f"{fold}a", f"{fold}b"):
            for number in range(per_speaker):
                labels[f"{speaker}-{number:03d}"] = int(rng.integers(len(EMOTIONS)))
                frames[f"{speaker}-{number:03d}"] = int(rng.integers(25, 300))
    for place, utts in [
        (folds / "pooled", list(labels)),
        *((folds / fold / "test", [utt for utt in labels if utt.startswith(fold)]) for fold in names),
    ]:
        place.mkdir(parents=True)
        write_emotions(place / "emotions.txt", EMOTIONS)
        tables.write_table(place / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
        tables.write_table(place / "utt2emo", {utt: EMOTIONS[labels[utt]] for utt in utts})
        styles = ("improvised", "scripted")
        tables.write_table(place / "utt2style", {utt: styles[int(utt[-1]) % 2] for utt in utts})
    lines = ["fold\ttune_fold\ttune_set\n", *(f"{fold}\t-\t-\n" for fold in names)]
    (folds / "folds.tsv").write_text("".join(lines))
    (folds / "checks.tsv").write_text(
        "fold\tpart\tutterances\tspeakers\trecordings\tshared_speakers\tshared_recordings\n"
        + "".join(f"{fold}\ttest\t{2 * per_speaker}\t2\t{2 * per_speaker}\t0\t0\n" for fold in names)
    )
    return labels, frames


def posterior(
    label: int, right: bool, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Four probabilities whose highest is that of the label, or of another class."""
    winner = label if right else (label + 1 + int(rng.integers(3))) % 4
    values = rng.random(4) * 0.5
    values[winner] = 0.6 + rng.random() * 2
    return values / values.sum()


def make_experiment(
    root: Path,
    skills: Mapping[str, float] = SKILLS,
    seeds: Sequence[int] = (1, 2, 3),
    num_folds: int = 3,
    per_speaker: int = 20,
    seed: int = 0,
) -> Made:
    """Folds, decoded systems of every fold and seed, pooled; not scored."""
    rng = np.random.default_rng(seed)
    folds, exp = root / "folds", root / "exp"
    labels, frames = make_folds(folds, num_folds, per_speaker, rng)
    for name, skill in skills.items():
        context = int(name[4:]) if name.startswith("csa_") else 0
        for run in [0] if name == "majority" else seeds:
            decoded = []
            for fold in range(num_folds):
                utts = [utt for utt in labels if utt.startswith(f"f{fold}")]
                posts = {
                    utt: np.array([0.4, 0.2, 0.2, 0.2])
                    if name == "majority"
                    else posterior(labels[utt], bool(rng.random() < skill), rng)
                    for utt in utts
                }
                model = exp / f"f{fold}" / name / f"seed{run}"
                short = {
                    utt: f"{frames[utt]} frames, context {context}" for utt in utts if frames[utt] < context
                }
                long = {utt: post for utt, post in posts.items() if utt not in short}
                notes = {"normalisation": "speaker"}
                out = model / "decode_test"
                write_system(out, System(name, EMOTIONS, long, short, notes=notes), {}, {})
                if context:
                    write_system(out / "padded", System(name, EMOTIONS, posts, notes=notes), {}, {})
                write_training(model, name)
                decoded.append(out)
            pooled = exp / "pooled" / name / f"seed{run}" / "decode_test"
            pool_folders(pooled, decoded)
            if context:
                pool_folders(pooled / "padded", [folder / "padded" for folder in decoded])
    return Made(exp, folds, labels, frames)


def write_training(model: Path, name: str) -> None:
    """What a training leaves: history, settings, a TensorBoard file of 36 seconds; and a fusion."""
    if name == "syscomb":
        two = str(model.parents[1] / "csa_30" / model.name / "decode_test")
        table = {"mode": "power", "weights": "1 0.4", "system_1": "-", "system_2": two}
        tables.write_table(model / "decode_test" / "fusion.txt", table)
    if name == "majority" or name.startswith("syscomb"):
        return
    (model / "history.tsv").write_text("epoch\tlr\ttrain_loss\n1\t0.1\t1.4\n2\t0.1\t0.9\n3\t0.1\t0.7\n")
    (model / "config.yaml").write_text(f"system: {name}\nlr: 0.1\n")
    (model / "tb").mkdir()
    events = [
        struct.pack("<QI", 9, 0) + b"\x09" + struct.pack("<d", 1.7e9 + when) + bytes(4) for when in (0, 36)
    ]
    (model / "tb" / "events.out.tfevents.1700000000.here.1.0").write_bytes(b"".join(events))
