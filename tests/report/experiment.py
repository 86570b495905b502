"""A synthetic experiment: folds, a plan, and systems whose posteriors are right as often as asked."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.data import tables
from ser.data.corpus_summary import Fact
from ser.data.fold_checks import write_warnings
from ser.data.labels import write_emotions
from ser.data.tsv import write_tsv
from ser.plan import Plan, PlannedFusion, PlannedSystem, write_plan
from ser.scoring.posteriors import Posteriors, pool_variants, write_posteriors

EMOTIONS = ("ang", "hap", "neu", "sad")
SKILLS = {"blstmatt": 0.75, "csa_20": 0.6, "csa_30": 0.65, "csa_60": 0.5, "syscomb": 0.78, "majority": 0.0}
FUSED = ("blstmatt", "csa_30")
FACTS = [
    Fact("utterances", "120 of 6 speakers, 4.2 minutes"),
    Fact("sampling rate", "119 of 16000 Hz, 1 of 8000 Hz", "1 of 120 utterances has a lower sampling rate"),
]
WARNING = "1 subset lacks a class (f0 test has no sad): its mean recall is over the classes that it has"


@dataclass(frozen=True)
class Made:
    """A synthetic experiment."""

    plan: Plan
    labels: dict[str, int]
    frames: dict[str, int]

    @property
    def exp(self) -> Path:
        """Its folder."""
        return self.plan.exp

    @property
    def folds(self) -> Path:
        """The folder of its folds."""
        return self.plan.folds


def planned_system(name: str, seeds: Sequence[int]) -> PlannedSystem:
    """A system; ``x_30`` has the context 30."""
    stem, _, context = name.partition("_")
    seeded = name != "majority"
    return PlannedSystem(
        name=name,
        stem=stem,
        context=int(context) if context else None,
        seeds=tuple(seeds) if seeded else (0,),
        seeded=seeded,
        sets=("fbank",) if seeded else (),
        norm="speaker" if seeded else "none",
        code=stem,
        settings=f"exp/conf/{name}.yaml",
        outside=False,
        track="log-mel" if seeded else "-",
    )


def make_plan(exp: Path, folds: Path, names: Sequence[str], seeds: Sequence[int]) -> Plan:
    """Write and return the plan of systems and, where it is among the names, of the fusion ``syscomb``."""
    fusions = [PlannedFusion("syscomb", FUSED, (0.4,), tuple(seeds))] if "syscomb" in names else []
    plan = Plan(
        corpus="mini",
        protocol="loso",
        exp=exp,
        folds=folds,
        data=folds.parent / "all",
        systems=tuple(planned_system(name, seeds) for name in names if name != "syscomb"),
        fusions=tuple(fusions),
        interpret=("blstmatt",),
        alignment="corpus",
        sets=("fbank",),
        also=(),
    )
    write_plan(plan)
    return plan


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
    for folder, utts in [
        (folds / "pooled", list(labels)),
        *((folds / fold / "test", [utt for utt in labels if utt.startswith(fold)]) for fold in names),
    ]:
        folder.mkdir(parents=True)
        write_emotions(folder / "emotions.txt", EMOTIONS)
        tables.write_table(folder / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
        tables.write_table(folder / "utt2emo", {utt: EMOTIONS[labels[utt]] for utt in utts})
        styles = ("improvised", "scripted")
        tables.write_table(folder / "utt2style", {utt: styles[int(utt[-1]) % 2] for utt in utts})
    lines = ["fold\ttune_fold\ttune_set\n", *(f"{fold}\t-\t-\n" for fold in names)]
    (folds / "folds.tsv").write_text("".join(lines))
    (folds / "checks.tsv").write_text(
        "fold\tsubset\tutterances\tspeakers\trecordings\tshared_speakers\tshared_recordings\n"
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
    labels, frames = make_folds(root / "folds", num_folds, per_speaker, rng)
    write_tsv(root / "summary.tsv", Fact, FACTS)
    write_warnings(root / "folds", [WARNING])
    plan = make_plan(root / "exp", root / "folds", list(skills), seeds)
    made = Made(plan, labels, frames)
    for name, skill in skills.items():
        for pool in plan.pools(name):
            for folder in pool.members:
                write_output(made, folder, name, skill, rng)
                write_training(folder.parent, name)
            pool_variants(pool.folder, pool.members)
    return made


def write_output(made: Made, folder: Path, name: str, skill: float, rng: np.random.Generator) -> None:
    """The posteriors of one system, fold and seed; one with a context drops utterances that are shorter."""
    context = int(name[4:]) if name.startswith("csa_") else 0
    fold = folder.parents[2].name
    posts = {
        utt: np.array([0.4, 0.2, 0.2, 0.2])
        if name == "majority"
        else posterior(label, bool(rng.random() < skill), rng)
        for utt, label in made.labels.items()
        if utt.startswith(fold)
    }
    short = {
        utt: f"{made.frames[utt]} frames, context {context}" for utt in posts if made.frames[utt] < context
    }
    scored = {utt: post for utt, post in posts.items() if utt not in short}
    notes = {"normalisation": "speaker"}
    write_posteriors(folder, Posteriors(name, EMOTIONS, scored, short, notes=notes), {}, {})
    if context:
        write_posteriors(folder / "padded", Posteriors(name, EMOTIONS, posts, notes=notes), {}, {})


def write_training(model: Path, name: str) -> None:
    """What a training leaves: history, settings, a TensorBoard file of 36 seconds."""
    if name == "majority" or name.startswith("syscomb"):
        return
    (model / "history.tsv").write_text("epoch\tlr\ttrain_loss\n1\t0.1\t1.4\n2\t0.1\t0.9\n3\t0.1\t0.7\n")
    (model / "config.yaml").write_text(f"system: {name}\nlr: 0.1\n")
    (model / "tb").mkdir()
    events = [
        struct.pack("<QI", 9, 0) + b"\x09" + struct.pack("<d", 1.7e9 + when) + bytes(4) for when in (0, 36)
    ]
    (model / "tb" / "events.out.tfevents.1700000000.here.1.0").write_bytes(b"".join(events))
