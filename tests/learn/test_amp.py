"""Mixed precision on CPUs: bfloat16 where they have it, refused where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ser import config
from ser.errors import ConfigError
from ser.learn import fitting, parallel
from ser.learn.tasks import Task
from tests.learn.conftest import write_part

CPU = torch.device("cpu")
OLD, NEW = "flags\t\t: fpu avx2 avx512f\n", "flags\t\t: fpu avx512f avx512_bf16\n"
NEEDS = "bfloat16 needs a GPU or a CPU with avx512_bf16 or amx_bf16, this one has neither; set it to none"
QUIET = ["features.norm=none", "features.vad.use=none", "features.cmvn.over=all", "model.pool=[2, 1, 1]"]


def train(repo: Path, folder: Path, *overrides: str) -> list[float]:
    """The losses of a short training of CSA."""
    if not (folder / "train").exists():
        write_part(folder / "train", ["a", "b"])
    conf = repo / "conf" / "csa_small.yaml"
    tree = config.resolve(conf, [*QUIET, "training.epochs=4", "model.dropout=0.0", *overrides])
    task = Task(folder / "train", None, folder / "-".join(overrides or ["none"]), 1, tree, str(conf))
    fitting.train(task, use_gpu="no", tensorboard=False)
    rows = (task.folder / "history.tsv").read_text().splitlines()[1:]
    return [float(row.split("\t")[2]) for row in rows]


@pytest.mark.parametrize(
    ("cpu", "amp", "message"),
    [
        (OLD, "none", ""),
        (OLD, "bfloat16", NEEDS),
        (OLD, "float16", "float16 needs a GPU, there is none; set it to none"),
        (NEW, "bfloat16", ""),
        (NEW, "float16", "float16 needs a GPU, there is none; set it to bfloat16 or none"),
        ("flags\t\t: fpu amx_bf16\n", "bfloat16", ""),
        (None, "bfloat16", NEEDS),
    ],
)
def test_what_a_cpu_refuses(
    cpu: str | None, amp: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cpu is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{cpu}\nprocessor\t: 1\n{cpu}\n")
    monkeypatch.setattr(parallel, "_CPU", tmp_path / "cpuinfo")
    assert parallel.amp_refusal(amp, CPU) == message


def test_a_training_is_refused(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(OLD)
    monkeypatch.setattr(parallel, "_CPU", tmp_path / "cpuinfo")
    with pytest.raises(ConfigError) as error:
        train(repo, tmp_path, "training.amp=bfloat16")
    assert str(error.value) == f"{repo}/conf/csa_small.yaml: training.amp: {NEEDS}"


@pytest.mark.slow
@pytest.mark.skipif(
    parallel.amp_refusal("bfloat16", CPU) != "",
    reason="NOT TESTED: this CPU has no bfloat16, so its losses cannot be compared",
)
def test_losses_are_near_those_in_float32(repo: Path, tmp_path: Path) -> None:
    whole, mixed = train(repo, tmp_path), train(repo, tmp_path, "training.amp=bfloat16")
    assert whole[-1] < whole[0]
    gaps = [abs(a - b) for a, b in zip(whole, mixed, strict=True)]
    assert 0 < max(gaps) < 0.02
