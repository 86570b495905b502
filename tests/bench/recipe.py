"""A whole run beside a plain script: from the wav files of a corpus to scored posteriors of two systems.

Usage: python3 tests/bench/recipe.py [--epochs 8] [--rounds 1] [--release DIR]

The corpus is the embedded one, `mini` (DIR is one that local/make_mini_corpus.sh made; without it one is
made).  Both train BLSTMATT and CSA of egs/mini, with chunks of 30 frames, for as many epochs, on Sessions 1
to 4 and score them on Session 5, on one core.  Ours is ./run.sh with its stages 1 to 6, as they are.  The
script is written as most public code is: labels by a regular expression, lhotse's filterbank, mean and
variance of the training set, DataLoader, packed sequences, Adam, softmax, scikit-learn's recall; it checks
nothing, keeps nothing, finds no speech, masks nothing, and normalises nothing by speaker.  "not packed" is
the same with an LSTM that reads the padding.  Printed are seconds of processor time, start-up included.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import warnings
from collections import deque
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ser import systems  # noqa: E402
from ser.systems.base import Sizes  # noqa: E402
from tests.gpu.peers import (  # noqa: E402
    Item,
    PlainBlstm,
    PlainChunks,
    collate,
    frame_stack,
    plain_epochs,
)

CLASSES = {"ang": 0, "hap": 1, "exc": 1, "neu": 2, "sad": 3}
LABEL = re.compile(r"^\[[\d.]+ - [\d.]+\]\t(\S+)\t(\w+)\t", re.MULTILINE)
CONF = ROOT / "egs" / "mini" / "conf"
FILTERS, CONTEXT, HOP = 40, 30, 20
ENVIRONMENT = os.environ | {"SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


def read_corpus(release: Path) -> dict[str, list[Item]]:
    """Features and classes of the utterances of both subsets."""
    import lhotse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fbank = lhotse.Fbank(lhotse.FbankConfig(num_filters=FILTERS, snip_edges=True))
    subsets: dict[str, list[Item]] = {"train": [], "test": []}
    for table in sorted(release.glob("Session*/dialog/EmoEvaluation/*.txt")):
        session = table.parents[2]
        for name, emotion in LABEL.findall(table.read_text(errors="replace")):
            if emotion in CLASSES:
                path = session / "sentences" / "wav" / table.stem / f"{name}.wav"
                samples, rate = soundfile.read(path, dtype="float32")
                features = torch.from_numpy(fbank.extract(samples, rate))
                subset = "test" if session.name == "Session5" else "train"
                subsets[subset].append((features, CLASSES[emotion]))
    frames = torch.cat([x for x, _ in subsets["train"]])
    mean, deviation = frames.mean(0), frames.std(0)
    return {subset: [((x - mean) / deviation, y) for x, y in items] for subset, items in subsets.items()}


def stacked(x: Tensor, stack: int) -> Tensor:
    """So many frames as one."""
    x = F.pad(x, (0, 0, 0, -len(x) % stack))
    return x.reshape(len(x) // stack, -1)


def chunks(x: Tensor) -> list[Tensor]:
    """Those of one utterance; a shorter one is repeated."""
    while len(x) < CONTEXT:
        x = torch.cat([x, x])
    return [x[start : start + CONTEXT] for start in range(0, len(x) - CONTEXT + 1, HOP)]


def train(network: nn.Module, items: list[Item], batch_size: int, lr: float, epochs: int) -> nn.Module:
    """The loop that most public code has."""
    deque(plain_epochs(network, items, batch_size, lr, epochs), maxlen=0)
    return network.eval()


def run_plain(release: Path, epochs: int, pack: bool) -> None:
    """Train both networks, and print what they reach."""
    from sklearn.metrics import balanced_accuracy_score

    torch.set_num_threads(1)
    torch.manual_seed(1)
    subsets = read_corpus(release)
    _, blstm = systems.load_settings(CONF / "blstmatt.yaml", [])
    system, csa = systems.load_settings(CONF / "csa.yaml", [f"unit.context={CONTEXT}"])
    stack = frame_stack(blstm)
    sequences = {s: [(stacked(x, stack), y) for x, y in items] for s, items in subsets.items()}
    pieces = {s: [(c, y) for x, y in items for c in chunks(x)] for s, items in subsets.items()}
    first = train(
        PlainBlstm(FILTERS * stack, blstm.model, pack=pack),
        sequences["train"], blstm.training.batch_size, blstm.optim.lr, epochs,
    )  # fmt: skip
    second = train(
        PlainChunks(system.build(csa, Sizes({"fbank": FILTERS}, len(set(CLASSES.values())), {}))),
        pieces["train"], csa.training.batch_size, csa.optim.lr, epochs,
    )  # fmt: skip
    truth = [y for _, y in subsets["test"]]
    with torch.no_grad():
        one = [first(*collate([item])[:2]).softmax(1)[0] for item in sequences["test"]]
        batches = [torch.stack(chunks(x)) for x, _ in subsets["test"]]
        two = [second(x, torch.full((len(x),), CONTEXT)).softmax(1).mean(0) for x in batches]
    for name, posteriors in (("blstmatt", one), ("csa_30", two)):
        guesses = np.stack([each.numpy() for each in posteriors]).argmax(1)
        print(f"    {name} uar {balanced_accuracy_score(truth, guesses):.3f}", flush=True)


def seconds_of(*command: object, quiet: bool = True) -> float:
    """Processor time of a command and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=said if quiet else None,
            stderr=said,
            check=False,
        )
        said.seek(0)
        if done.returncode:
            raise SystemExit(said.read())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_ours(release: Path, epochs: int, folder: Path) -> float:
    """Stages 1 to 6, for which stage 0 has prepared the corpus; seconds."""
    recipe = [
        "./run.sh", "--corpus", "mini", "--corpus-dir", release, "--protocol", "paper", "--nj", 1,
        "--systems", "blstmatt csa_30", "--seeds", "1", "--fuse", "none", "--use-gpu", "no",
        "--set", f"training.epochs={epochs}", "--data-dir", folder / "data", "--exp-dir", folder / "exp",
    ]  # fmt: skip
    prepared = seconds_of(*recipe, "--stop-stage", 0)
    print(f"  stage 0, the corpus prepared and checked: {prepared:.1f} s", flush=True)
    spent = seconds_of(*recipe, "--stage", 1, "--stop-stage", 6)
    for path in sorted(folder.glob("exp/paper/*/seed1/decode_test/score/result.txt")):
        uar = re.search(r"^uar (\S+)", path.read_text(), re.MULTILINE)
        print(f"    {path.parents[3].name} uar {float(uar[1]) if uar else 0:.3f}")
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8, help="of each training")
    parser.add_argument("--rounds", type=int, default=1, help="in turn")
    parser.add_argument("--release", type=Path, metavar="DIR", help="the corpus")
    parser.add_argument("--worker", choices=["packed", "not-packed"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run_plain(args.release, args.epochs, args.worker == "packed")
        return
    with tempfile.TemporaryDirectory() as name:
        release = args.release or Path(name) / "release"
        if args.release is None:
            seconds_of(sys.executable, "-m", "ser", "make_mini_corpus", release)
        for turn in range(args.rounds):
            ours = run_ours(release, args.epochs, Path(name) / str(turn))
            print(f"  ./run.sh, stages 1 to 6: {ours:.1f} s", flush=True)
            for peer in ("packed", "not-packed"):
                options = ["--release", release, "--epochs", args.epochs, "--worker", peer]
                spent = seconds_of(sys.executable, "-W", "ignore", __file__, *options, quiet=False)
                print(f"  plain script, {peer}: {spent:.1f} s, {spent / ours:.2f} of ours", flush=True)


if __name__ == "__main__":
    main()
