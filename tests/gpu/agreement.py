"""CPU and GPU agree: outputs of the networks, learning curves, mixed precision, posteriors."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser.data import tables
from ser.learn import models
from ser.learn.decoding import decode_folder
from ser.systems.base import Inputs, Sizes
from tests.gpu.cases import (
    EMOTIONS,
    NUM_FILTERS,
    SET,
    Bench,
    Case,
    Trained,
    cpu_threads,
    differences,
    tf32,
    train,
)
from tests.gpu.rows import Rows

LOGITS = POSTERIORS = 1e-4  # what CPU and GPU may differ by, in float32
MIXED_POSTERIORS = 0.02  # what those in bfloat16 may differ by from those in float32
# A bias before batch normalisation has no gradient but rounding, which Adam makes steps of the full rate; the
# dev loss, computed with the means of earlier batches, feels that.
LOSSES = {"train_loss": 1e-3, "dev_loss": 5e-3}
ALIKE = ("training.batch_size=8", "optim.lr=1.0e-4", "model.dropout=0.0")  # dropout differs by device


# ---------------------------------------------------------------------------------------------------- outputs


def check_outputs(bench: Bench, rows: Rows) -> None:
    """Logits and attention of fresh networks on a padded batch, against the CPU's."""
    for case in bench.cases:
        with rows.attempt(case.name):
            _check_outputs(bench, rows, case)


def _check_outputs(bench: Bench, rows: Rows, case: Case) -> None:
    device, network, inputs = bench.device, _network(case), sample_inputs(case, bench)
    with cpu_threads(bench.threads):
        exact = _outputs(copy.deepcopy(network).double(), _double(inputs), torch.device("cpu"))
        cpu = _outputs(network, inputs, torch.device("cpu"))
    with tf32(False):
        gpu = _outputs(network, inputs, device)
    with tf32(True):
        short = _outputs(network, inputs, device)
    for name in cpu:
        rows.at_most(f"{case.name}: {name}, |GPU - CPU|, TF32 off", _gap(gpu, cpu, name), LOGITS)
    rows.note(f"{case.name}: logits, |GPU - CPU|, TF32 on", _gap(short, cpu, "logits"))
    rows.note(f"{case.name}: logits, |CPU - CPU float64|", _gap(cpu, exact, "logits"))
    rows.note(f"{case.name}: logits, |GPU - CPU float64|, TF32 off", _gap(gpu, exact, "logits"))
    rows.note(f"{case.name}: logits, standard deviation", float(exact["logits"].std()))


def _network(case: Case) -> nn.Module:
    """Fresh, but without weights of 0, behind which everything would agree."""
    system, settings = case.load()
    torch.manual_seed(1)
    network: nn.Module = system.build(settings, Sizes({SET: NUM_FILTERS}, len(EMOTIONS), {}))
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.constant_(parameter, 0.3)
    return network.eval()


def sample_inputs(case: Case, bench: Bench) -> Inputs:
    """Utterances of 1 to 300 frames with noise behind their ends, or chunks."""
    _, settings = case.load()
    if case.on_chunks:
        lengths = torch.full((16,), settings.unit.context)
    else:
        lengths = torch.linspace(1, 60 if bench.tiny else 300, 8).long()
    x = torch.from_numpy(
        np.random.default_rng(2).normal(size=(len(lengths), int(lengths.max()), NUM_FILTERS))
    )
    return Inputs.of(2.0 * x.float(), lengths, SET)


def _double(inputs: Inputs) -> Inputs:
    return replace(inputs, features={name: x.double() for name, x in inputs.features.items()})


def _outputs(network: nn.Module, inputs: Inputs, device: torch.device) -> dict[str, Tensor]:
    network.to(device)
    with torch.inference_mode():
        outputs = network(inputs.to(device))
    named = {"logits": outputs.logits, "attention": outputs.attention, **outputs.extra}
    network.to("cpu")
    return {name: value.double().cpu() for name, value in named.items() if value is not None}


def _gap(first: dict[str, Tensor], second: dict[str, Tensor], name: str) -> float:
    return float((first[name] - second[name]).abs().max())


# -------------------------------------------------------------------------------------------- learning curves


def check_losses(bench: Bench, rows: Rows) -> None:
    """A short training on both; its losses, epoch by epoch."""
    for case in bench.cases:
        with rows.attempt(case.name):
            _check_losses(bench, rows, case)


def _check_losses(bench: Bench, rows: Rows, case: Case) -> None:
    cpu, gpu = train_on_both(bench, case)
    for name, limit in LOSSES.items():
        gap = differences(cpu.history[name], gpu.history[name])
        rows.at_most(f"{case.name}: {name}, |GPU - CPU|, TF32 off", gap, limit)
    rows.note(f"{case.name}: train_loss of epochs 1 and 3", _ends(gpu.history["train_loss"]))
    if not bench.tiny:
        rows.note(f"{case.name}: peak memory, 8 units a batch", gpu.peak_mib, "MiB")
        as_set = _train(bench, case, "as_set", bench.use_gpu)
        gap = differences(cpu.history["train_loss"], as_set.history["train_loss"])
        rows.note(f"{case.name}: train_loss, |GPU - CPU|, as ser sets it", gap)


def train_on_both(bench: Bench, case: Case) -> tuple[Trained, Trained]:
    """The same short training on the CPU and on the GPU, without TF32; what is there is only read."""
    with cpu_threads(bench.threads):
        cpu = _train(bench, case, "cpu", "no")
    with tf32(False):
        return cpu, _train(bench, case, "gpu", bench.use_gpu)


def _train(bench: Bench, case: Case, name: str, use_gpu: str, *overrides: str) -> Trained:
    folder = bench.work / "losses" / case.name.replace(" ", "_") / name
    more = (*ALIKE, "training.epochs=3", "training.select=best_dev_loss", *overrides)
    return train(bench.task(case, folder, *more), use_gpu)


def _ends(curve: list[float]) -> str:
    return f"{curve[0]:.3f} {curve[-1]:.3f}"


def check_amp(bench: Bench, rows: Rows) -> None:
    """Mixed precision trains: finite, falling losses, near those in float32."""
    for case in bench.cases:
        longer = ("training.epochs=8", "optim.lr=1.0e-3")
        whole = _train(bench, case, "float32", bench.use_gpu, *longer).history["train_loss"]
        for kind in bench.amps:
            name = f"{case.name}: {kind}"
            with rows.attempt(f"{name} trains"):
                trained = _train(bench, case, kind, bench.use_gpu, *longer, f"training.amp={kind}")
                curve = trained.history["train_loss"]
                sound = all(map(math.isfinite, curve)) and curve[-1] < curve[0]
                rows.check(f"{name}, train_loss of epochs 1 and 8", sound, _ends(curve), "falls")
                rows.note(f"{name}, largest gap to float32", differences(whole, curve))
                if not bench.tiny:
                    rows.note(f"{name}, peak memory, 8 units", trained.peak_mib, "MiB")


# --------------------------------------------------------------------------------------------------- decoding


def check_decoding(bench: Bench, rows: Rows) -> None:
    """What ``ser decode`` writes on both, from the same model."""
    for case in bench.cases:
        with rows.attempt(case.name):
            _check_decoding(bench, rows, case)


def _check_decoding(bench: Bench, rows: Rows, case: Case) -> None:
    model, test = train_on_both(bench, case)[1].folder, bench.subset("test")
    outs = {name: bench.work / "decoded" / case.name / name for name in ("cpu", "gpu", "as_set")}
    with cpu_threads(bench.threads):
        decode_folder(model, test, outs["cpu"], use_gpu="no")
    with tf32(False):
        decode_folder(model, test, outs["gpu"], use_gpu=bench.use_gpu)
    decode_folder(model, test, outs["as_set"], use_gpu=bench.use_gpu)
    for name, how in (("gpu", "TF32 off"), ("as_set", "as ser sets it")):
        gap = posterior_gap(outs["cpu"], outs[name])
        rows.at_most(f"{case.name}: posteriors, |GPU - CPU|, {how}", gap, POSTERIORS)
    if "bfloat16" in bench.amps:
        mixed = bench.work / "decoded" / case.name / "bfloat16"
        decode_folder(model, test, mixed, use_gpu=bench.use_gpu, amp="bfloat16")
        gap = posterior_gap(outs["cpu"], mixed)
        rows.at_most(f"{case.name}: posteriors, |bfloat16 - float32|", gap, MIXED_POSTERIORS)
    if models.load_model(model).system.frame_attention:
        gap = _attention_gap(outs["cpu"], outs["as_set"])
        rows.at_most(f"{case.name}: attention, |GPU - CPU|, as ser sets it", gap, POSTERIORS)


def posterior_gap(first: Path, second: Path) -> float:
    """The largest difference of two folders' posteriors, those of ``padded`` with them."""
    gap = 0.0
    for name in ("post", "padded/post"):
        if not (first / name).exists():
            continue
        one, two = (tables.read_vectors(folder / name, len(EMOTIONS)) for folder in (first, second))
        if one.keys() != two.keys():
            return math.inf
        gap = max(gap, *(float(np.abs(np.subtract(one[key], two[key])).max()) for key in one))
    return gap


def _attention_gap(first: Path, second: Path) -> float:
    one, two = (tables.ArkReader(folder / "attn.scp") for folder in (first, second))
    gaps: list[Any] = [np.abs(one.read(key) - two.read(key)).max() for key in one.places]
    return float(max(gaps))
