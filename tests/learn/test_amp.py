"""Mixed precision on CPUs: bfloat16 where they have it, refused where they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ser import config
from ser.errors import ConfigError, UsageError
from ser.learn import fitting, parallel
from ser.learn.decoding import decode_folder
from ser.learn.status import is_decoded
from ser.learn.tasks import Task
from ser.scoring.posteriors import read_posteriors
from tests.learn.conftest import WIDE, WIDE_YAMLS, YAMLS, MakePart, write_part

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


needs_bfloat16 = pytest.mark.skipif(
    parallel.amp_refusal("bfloat16", CPU) != "",
    reason="NOT TESTED: this CPU has no bfloat16, so its results cannot be compared",
)


@pytest.mark.slow
@needs_bfloat16
def test_losses_are_near_those_in_float32(repo: Path, tmp_path: Path) -> None:
    whole, mixed = train(repo, tmp_path), train(repo, tmp_path, "training.amp=bfloat16")
    assert whole[-1] < whole[0]
    gaps = [abs(a - b) for a, b in zip(whole, mixed, strict=True)]
    assert 0 < max(gaps) < 0.02


# ------------------------------------------------------------------------------------------------ decoding

TOLERANCE = 0.02  # of a posterior; docs/speed.md states it
SYSTEMS = {name: (yaml, []) for name, yaml in (YAMLS | WIDE_YAMLS).items()}
SYSTEMS["blstmatt by speaker"] = (YAMLS["blstmatt"], ["model.pooled_norm=speaker"])
SYSTEMS["csa by speaker"] = (YAMLS["csa"], ["model.pooled_norm=speaker", "features.norm=speaker"])


def trained(make_part: MakePart, folder: Path, text: str, *overrides: str) -> Path:
    """A model of some settings."""
    (folder / "system.yaml").write_text(text)
    tree = config.resolve(folder / "system.yaml", list(overrides))
    parts = [
        make_part(name, speakers, num_filters=WIDE) for name, speakers in (("train", "ab"), ("dev", "cd"))
    ]
    task = Task(*parts, folder / "model", 7, tree, "system.yaml")
    fitting.train(task, use_gpu="no", tensorboard=False)
    return task.folder


@pytest.mark.slow
@needs_bfloat16
@pytest.mark.parametrize("name", SYSTEMS)
def test_posteriors_are_near_those_in_float32(make_part: MakePart, tmp_path: Path, name: str) -> None:
    text, overrides = SYSTEMS[name]
    model = trained(make_part, tmp_path, text, *overrides, "training.epochs=10")
    test, rows = make_part("test", "ef", seed=2, num_filters=WIDE), []
    for amp in ("none", "bfloat16"):
        decode_folder(model, test, tmp_path / amp, use_gpu="no", amp=amp)
        posteriors = read_posteriors(tmp_path / amp).posteriors
        rows.append(np.array([posteriors[key] for key in sorted(posteriors)]))
    assert np.ptp(rows[0]) > 0.02  # they differ between utterances
    assert 0 < np.abs(rows[1] - rows[0]).max() < TOLERANCE


@needs_bfloat16
def test_posteriors_of_another_precision_are_no_others(make_part: MakePart, tmp_path: Path) -> None:
    model, test = trained(make_part, tmp_path, YAMLS["csa"]), make_part("test", "ef", num_filters=WIDE)
    out = tmp_path / "out"

    def decode(amp: str) -> dict[str, bytes]:
        decode_folder(model, test, out, use_gpu="no", amp=amp)
        return {path: (out / path).read_bytes() for path in ("post", "padded/post", "chunks/post")}

    whole = decode("none")
    assert is_decoded(model, test, out)
    assert "decoded_in" not in read_posteriors(out).notes
    mixed = decode("bfloat16")
    assert not is_decoded(model, test, out)
    for folder in (out, out / "padded", out / "chunks"):
        assert read_posteriors(folder).notes["decoded_in"] == "bfloat16"
    made = (out / "post").stat().st_mtime_ns
    assert decode("bfloat16") == mixed
    assert (out / "post").stat().st_mtime_ns == made
    assert decode("none") == whole != mixed
    assert is_decoded(model, test, out)
    assert "decoded_in" not in read_posteriors(out).notes


def test_a_decoding_is_refused(make_part: MakePart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, test = trained(make_part, tmp_path, YAMLS["csa"]), make_part("test", "ef", num_filters=WIDE)
    (tmp_path / "cpuinfo").write_text(OLD)
    monkeypatch.setattr(parallel, "_CPU", tmp_path / "cpuinfo")
    with pytest.raises(UsageError) as error:
        decode_folder(model, test, tmp_path / "out", use_gpu="no", amp="bfloat16")
    assert str(error.value) == f"--amp: {NEEDS}"
    assert not (tmp_path / "out" / "post").exists()


def test_an_estimator_has_one_precision(
    repo: Path, make_part: MakePart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = repo / "conf" / "majority.yaml"
    task = Task(make_part("train"), None, tmp_path / "model", 1, config.resolve(conf), str(conf))
    fitting.train(task, use_gpu="no", tensorboard=False)
    test = make_part("test", "ef")
    (tmp_path / "cpuinfo").write_text(OLD)
    monkeypatch.setattr(parallel, "_CPU", tmp_path / "cpuinfo")
    decode_folder(task.folder, test, tmp_path / "out", use_gpu="no", amp="bfloat16")
    assert is_decoded(task.folder, test, tmp_path / "out")
    assert "decoded_in" not in read_posteriors(tmp_path / "out").notes
