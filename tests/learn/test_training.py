"""Training: learns, stops and goes on without a trace, refuses what does not belong together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml

from ser import config, systems
from ser.errors import CheckpointError, ConfigError, DataError, StaleError, UsageError
from ser.learn import checkpoint, fitting, models, parallel, tasks, trainer, training
from ser.learn.loaders import Share
from ser.learn.parallel import choose_device
from ser.learn.tasks import Task
from ser.systems.settings import OptimSettings
from tests.learn.conftest import WIDE, MakePart
from tests.lost import check_made_again


def train(task: Task, yaml: Path, *overrides: str) -> None:
    torch.set_num_threads(1)
    wanted = replace(task, tree=config.resolve(yaml, overrides), source=str(yaml))
    fitting.train(wanted, use_gpu="no", tensorboard=False)


def model_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in models.load_model(folder).arrays.items()}


def assert_same_models(first: Path, second: Path) -> None:
    one, two = model_of(first), model_of(second)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    assert (first / "history.tsv").read_text() == (second / "history.tsv").read_text()


@pytest.fixture
def task(make_part: MakePart, tmp_path: Path) -> Task:
    return Task(make_part("train"), make_part("dev", "cd", seed=1), tmp_path / "model", 7, {}, "")


class Stop(Exception):  # noqa: N818  (not an error: stands for a kill)
    """The process is killed here."""


@pytest.mark.parametrize("stop_at", [(0, 1), (1, 0), (2, 2), (3, 1)])
def test_killed_and_resumed_is_bit_identical(
    task: Task, system_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: tuple[int, int]
) -> None:
    """Stopped before any step, with the state written at every step or only at the ends of epochs."""
    check_resuming(task, system_yaml, tmp_path, monkeypatch, stop_at)


def test_killed_and_resumed_networks_on_wide_frames(
    wide_yaml: Path, make_part: MakePart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(make_part("wide", num_filters=WIDE), None, tmp_path / "model", 7, {}, "")
    check_resuming(task, wide_yaml, tmp_path, monkeypatch, (1, 1))


def check_resuming(
    task: Task,
    system_yaml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: tuple[int, int],
    *overrides: str,
) -> None:
    whole = replace(task, folder=tmp_path / "whole")
    train(whole, system_yaml, *overrides)
    real_step = trainer.Trainer._step

    def step_or_die(self: trainer.Trainer, *args: object) -> None:
        if (self.at.epoch, self.at.batch) == stop_at:
            raise Stop
        real_step(self, *args)  # type: ignore[arg-type]

    for save_every_s in (0.0, 300.0):
        monkeypatch.setattr(trainer, "SAVE_EVERY_S", save_every_s)
        folder = tmp_path / f"stopped{save_every_s}"
        stopped = replace(task, folder=folder)
        with monkeypatch.context() as patch:
            patch.setattr(trainer.Trainer, "_step", step_or_die)
            with pytest.raises(Stop):
                train(stopped, system_yaml, *overrides)
        train(stopped, system_yaml, *overrides)
        assert_same_models(whole.folder, folder)
        assert not (folder / tasks.CHECKPOINT).exists()


def test_rates_fall_by_steps(task: Task, csa_yaml: Path) -> None:
    train(task, csa_yaml, "optim.schedule=steps", "optim.steps={epochs: [1, 3], factor: 0.1}")
    rows = [line.split("\t") for line in (task.folder / "history.tsv").read_text().splitlines()]
    rates = [float(row[rows[0].index("lr")]) for row in rows[1:]]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4])


def test_sgd_is_torchs_with_nesterovs_momentum() -> None:
    """Two steps on one weight, by hand: v = 0.9 v + g + wd w; w -= lr (g + wd w + 0.9 v)."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 2.0)
    optim = config.build(
        OptimSettings,
        yaml.safe_load(
            "{lr: 0.1, weight_decay: 0.5, clip_norm: null, schedule: constant, algorithm: sgd,"
            " plateau: {metric: train_loss, patience: 4, factor: 0.8}, cosine: {warmup: 0.0}}"
        ),
        "test",
    )
    optimizer = trainer.make_optimizer(network, optim)
    weight, velocity = 2.0, 0.0
    for gradient in (1.0, -3.0):
        network.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        whole = gradient + 0.5 * weight
        velocity = 0.9 * velocity + whole
        weight -= 0.1 * (whole + 0.9 * velocity)
    assert float(network.weight.detach()) == pytest.approx(weight)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_loses_nothing(task: Task, blstmatt_yaml: Path, tmp_path: Path, number: int) -> None:
    """A real process is killed in its work; the same command ends as if nothing had been."""
    whole = replace(task, folder=tmp_path / "whole")
    train(whole, blstmatt_yaml, "training.epochs=40")
    command = [sys.executable, "-m", "ser", "train", str(blstmatt_yaml), str(task.train), str(task.folder)]
    command += [
        "--dev",
        str(task.dev),
        "--seed",
        "7",
        "--set",
        "training.epochs=40",
        "--tensorboard",
        "false",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (task.folder / tasks.CHECKPOINT).exists():
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    messages = process.communicate()[1]
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}
    assert process.returncode == codes[signal.Signals(number)]
    assert "Traceback" not in messages
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "goes on in epoch" in again.stderr
    assert_same_models(whole.folder, task.folder)
    assert not list(task.folder.glob(".*.part"))


def test_finished_is_left_alone(task: Task, system_yaml: Path) -> None:
    train(task, system_yaml)
    before = (task.folder / "model.json").stat().st_mtime_ns
    train(task, system_yaml)
    assert (task.folder / "model.json").stat().st_mtime_ns == before


def test_other_settings_are_refused(task: Task, blstmatt_yaml: Path) -> None:
    train(task, blstmatt_yaml)
    with pytest.raises(StaleError) as error:
        train(task, blstmatt_yaml, "optim.lr=2.0e-2", "training.epochs=5")
    assert str(error.value) == (
        f"{task.folder}: was made differently: system.optim.lr: 0.01 -> 0.02; system.training.epochs: 4 -> "
        "5; choose another --exp-dir, or remove the folder to train it again"
    )


def test_other_data_is_refused(task: Task, blstmatt_yaml: Path, make_part: MakePart) -> None:
    train(task, blstmatt_yaml)
    other = replace(task, train=make_part("other", "ef"))
    with pytest.raises(StaleError, match="was made differently: feats.scp has changed; "):
        train(other, blstmatt_yaml)


def test_resuming_with_other_settings_is_refused(
    task: Task, blstmatt_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_write_history", stop)  # right after the state is on disk
        with pytest.raises(Stop):
            train(task, blstmatt_yaml)
    with pytest.raises(CheckpointError) as error:
        train(task, blstmatt_yaml, "optim.lr=2.0e-2", "model.dropout=0.0")
    path = task.folder / tasks.CHECKPOINT
    assert str(error.value) == (
        f"{path}: this training was started with other settings: system.model.dropout: 0.2 -> 0.0; "
        "system.optim.lr: 0.01 -> 0.02; give the old settings to go on, "
        f"choose another folder, or remove {path} to begin anew"
    )


def test_truncated_training_state(task: Task, blstmatt_yaml: Path) -> None:
    task.folder.mkdir()
    path = task.folder / tasks.CHECKPOINT
    checkpoint.save(path, {"identity": {}}, {"network.x": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError) as error:
        train(task, blstmatt_yaml)
    text = str(error.value)
    assert text.startswith(f"{path}: is cut short, damaged, or no training state")
    assert text.endswith(f"; remove {path} to begin anew")


@pytest.mark.parametrize("system_yaml", ["blstmatt", "csa"], indirect=True)
def test_learns_and_selects(task: Task, system_yaml: Path) -> None:
    """The classes are 1.5 standard deviations apart in every frame: 20 epochs reach more than 0.9."""
    # the classes differ by the place of a filter, to which a convolution over frequency is blind
    csa = ["model.conv_dim=1", "unit.context=12", "unit.overlap=8", "training.class_weights=balanced"]
    more = csa if system_yaml.name == "csa.yaml" else []
    train(task, system_yaml, "training.epochs=20", "training.select=best_dev_uar", *more)
    lines = (task.folder / "history.tsv").read_text().splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    best = max(rows, key=lambda row: float(row["dev_uar"]))
    assert float(best["dev_uar"]) > 0.9
    assert models.load_model(task.folder).facts["epoch"] == int(best["epoch"])


def test_plateau_follows_the_dev_loss(task: Task, blstmatt_yaml: Path) -> None:
    train(task, blstmatt_yaml, "training.epochs=15", "optim.lr=5.0e-2")
    lines = [line.split("\t") for line in (task.folder / "history.tsv").read_text().splitlines()]
    lr, loss = ([float(row[lines[0].index(name)]) for row in lines[1:]] for name in ("lr", "dev_loss"))
    oracle = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(oracle, "min", patience=0, factor=0.5)
    for rate, value in zip(lr, loss, strict=True):
        assert rate == pytest.approx(oracle.param_groups[0]["lr"])
        plateau.step(value)
    assert min(lr) < 0.05


def test_dev_subset_needed_but_missing(task: Task, blstmatt_yaml: Path) -> None:
    with pytest.raises(ConfigError) as error:
        train(replace(task, dev=None), blstmatt_yaml)
    assert str(error.value) == (
        f"{task.train}: the fold has no dev subset, which optim.plateau.metric dev_loss and training.select "
        "best_dev_* need; choose a --protocol with one, or train_loss and last"
    )


def test_missing_features(task: Task, csa_yaml: Path) -> None:
    (task.train / "feats.scp").unlink()
    with pytest.raises(DataError) as error:
        train(task, csa_yaml)
    assert str(error.value) == f"{task.train / 'feats.scp'}: no such file; run stages 1 and 2"


def test_context_longer_than_every_utterance(task: Task, csa_yaml: Path) -> None:
    with pytest.raises(DataError) as error:
        train(task, csa_yaml, "unit.context=100")
    assert str(error.value) == (
        f"{task.train}: every utterance is shorter than the context, 100 frames; choose a shorter one "
        "(--contexts)"
    )


def test_two_trainings_in_one_folder(task: Task, blstmatt_yaml: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ser.data.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(task.folder)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            DataError, match=rf"^{task.folder}: in use by process {other.pid} on .*; wait for it"
        ):
            train(task, blstmatt_yaml)
        other.kill()


@pytest.mark.slow
def test_two_processes_train_as_one(task: Task, blstmatt_yaml: Path, tmp_path: Path) -> None:
    """gloo, the same global batch: the same model up to rounding (dropout draws differ, so it is off)."""
    overrides = ["model.dropout=0.0", "training.batch_size=5"]
    alone = replace(task, folder=tmp_path / "alone")
    train(alone, blstmatt_yaml, *overrides, "training.epochs=3")
    overrides += ["training.epochs=null", "training.steps=11"]  # three epochs of four batches
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "ser", "train", str(blstmatt_yaml), str(task.train), str(task.folder)]
    command += ["--dev", str(task.dev), "--seed", "7", "--use-gpu", "no", "--tensorboard", "false"]
    command += [word for override in overrides for word in ("--set", override)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=270)
    assert done.returncode == 0, done.stderr
    one, two = model_of(alone.folder), model_of(task.folder)
    # a shift of all scores changes nothing: this bias has no gradient but rounding, which Adam blows up
    for name in one.keys() - {"attention.score.bias"}:
        torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=1e-4)


def train_in_job(task: Task, yaml: Path, threads: int, *overrides: str) -> None:
    """Train in a job that forks, as ``steps/train.sh`` does with so many threads a job."""
    listed = task.folder.parent / str(threads) / "train.tsv"
    listed.parent.mkdir()
    fields = [str(task.train), str(task.dev), str(task.folder), str(task.seed), str(yaml), *overrides]
    listed.write_text("\t".join(fields) + "\n")
    command = [sys.executable, "-m", "ser", "train", "--tasks", str(listed), "--job", "1", "--num-jobs", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command, "--use-gpu", "no"], capture_output=True, text=True, env=environment, timeout=270
    )
    assert done.returncode == 0, done.stderr


def losses_of(folder: Path) -> list[list[float]]:
    """Of each epoch, on the training subset and on the dev subset where that is used."""
    head, *rows = (line.split("\t") for line in (folder / "history.tsv").read_text().splitlines())
    return [[float(x) for name, x in zip(head, row, strict=True) if name.endswith("_loss")] for row in rows]


@pytest.mark.slow
def test_two_threads_train_as_one(task: Task, system_yaml: Path, tmp_path: Path) -> None:
    """The same losses up to rounding; weights without a gradient but rounding differ, as Adam blows it up."""
    losses = []
    for threads in (1, 2):
        own = replace(task, folder=tmp_path / f"model{threads}")
        train_in_job(own, system_yaml, threads, "training.epochs=3")
        losses.append(losses_of(own.folder))
    assert len(losses[0]) == 3
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-4)


def test_another_number_of_threads_is_told(
    task: Task, csa_yaml: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real_step = trainer.Trainer._step

    def step_or_die(self: trainer.Trainer, *args: object) -> None:
        if self.at.epoch == 1:
            raise Stop
        real_step(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_step", step_or_die)
        patch.setattr(torch, "get_num_threads", lambda: 3)
        with pytest.raises(Stop):
            train(task, csa_yaml)
    train(task, csa_yaml)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        f"{task.folder}: was trained with 3 threads so far, goes on with 1; last digits of the model differ "
        "from one that was not stopped"
    ]


def test_model_folder_says_what_made_it(task: Task, system_yaml: Path) -> None:
    train(task, system_yaml)
    made = json.loads((task.folder / "made.json").read_text())
    assert made["settings"]["seed"] == 7
    _, loaded = systems.load_settings(task.folder / "config.yaml")
    assert loaded == systems.load_settings(system_yaml)[1]
    assert models.load_model(task.folder).settings == loaded


def test_batch_normalisation_in_several_processes_needs_gpus() -> None:
    with pytest.raises(UsageError) as error:
        training._shared_batch_norm(torch.nn.BatchNorm1d(3), torch.device("cpu"), Share(0, 2))
    assert str(error.value) == (
        "several processes train networks with batch normalisation on GPUs only: torch's batch "
        "normalisation over processes needs them; use one process"
    )


def test_summed_gradients_keep_the_layout_of_their_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fused optimiser goes through weights and gradients in the order of their memory."""
    monkeypatch.setattr(parallel.dist, "all_reduce", lambda flat: flat.mul_(2))
    network = torch.nn.Conv2d(3, 4, 2)
    network.weight.data = network.weight.data.to(memory_format=torch.channels_last)
    network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    before = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    parallel.sum_gradients(network, Share(0, 2))
    for parameter, gradient in zip(network.parameters(), before, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, 2 * gradient)
        assert parameter.grad.stride() == parameter.stride()


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError) as error:
        choose_device("yes")
    assert str(error.value) == (
        "--use-gpu yes: torch finds no GPU here; say no or auto, or use a machine with one"
    )
    assert choose_device("auto") == torch.device("cpu")


def test_task_lists(tmp_path: Path) -> None:
    path, yaml = tmp_path / "tasks.tsv", tmp_path / "x.yaml"
    yaml.write_text("system: majority\n")
    path.write_text(f"a\t-\tb\t3\t{yaml}\na\td\tb\t3\t{yaml}\tp=1\tq=[2, 3]\nc\td\te\t1\n")
    tree = {"system": "majority"}
    assert tasks.read_task(path, 1) == Task(Path("a"), None, Path("b"), 3, tree, str(yaml))
    task = Task(Path("a"), Path("d"), Path("b"), 3, tree | {"p": 1, "q": [2, 3]}, str(yaml))
    assert tasks.read_task(path, 2) == task
    with pytest.raises(DataError) as error:
        tasks.read_task(path, 3)
    assert str(error.value) == (
        f"{path}:3: expected '<train><TAB><dev or -><TAB><model folder><TAB><seed><TAB><settings>' and "
        "overrides KEY=VALUE, got 'c\\td\\te\\t1'; correct the line"
    )
    with pytest.raises(UsageError) as usage:
        tasks.read_task(path, 4)
    assert str(usage.value) == f"--task 4: {path} has 3 tasks"


def test_a_model_of_an_older_version_is_refused(task: Task, blstmatt_yaml: Path) -> None:
    task.folder.mkdir()
    (task.folder / "model.pt").write_bytes(b"PK")
    with pytest.raises(StaleError) as error:
        train(task, blstmatt_yaml)
    assert str(error.value) == (
        f"{task.folder}/model.pt: is a model of an older version of the recipe, a pickle, which is not read "
        "any more; choose another --exp-dir, or remove the folder to train it again"
    )


def test_nothing_that_is_kept_is_a_pickle(
    task: Task, system_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state in the middle of a training and the finished model are safetensors, JSON, YAML and text."""
    real_unlink = Path.unlink

    def keep_state(self: Path, missing_ok: bool = False) -> None:
        if self.name != tasks.CHECKPOINT:
            real_unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", keep_state)
    train(task, system_yaml)
    kinds = {path.name for path in task.folder.iterdir() if path.is_file()}
    assert kinds == {
        *("model.json", "model.safetensors", tasks.CHECKPOINT, "config.yaml", "emotions.txt", "history.tsv"),
        *("made.json", ".lock"),
    }
    for name in ("model.safetensors", tasks.CHECKPOINT):
        content = (task.folder / name).read_bytes()
        header = int.from_bytes(content[:8], "little")
        assert content[8:9] == b"{"
        assert header < len(content)
        json.loads(content[8 : 8 + header])


def test_a_damaged_model_is_trained_again(
    task: Task, csa_yaml: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(task, csa_yaml, "training.epochs=2")
    names = {"model.json", "model.safetensors", "emotions.txt", "history.tsv"}
    check_made_again(task.folder, names, lambda: train(task, csa_yaml, "training.epochs=2"), caplog)
    (task.folder / "config.yaml").write_text("epochs: [")
    train(task, csa_yaml, "training.epochs=2")
    assert "epochs: 2" in (task.folder / "config.yaml").read_text()


def test_a_stop_while_decoding_settings_change_damages_nothing(
    task: Task, csa_yaml: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train(task, csa_yaml)
    for name in ("update_decoding", "write_settings"):
        stopped = Mock(side_effect=KeyboardInterrupt)
        with monkeypatch.context() as patch:
            patch.setattr(models, name, stopped)
            with pytest.raises(KeyboardInterrupt):
                train(task, csa_yaml, "unit.pooling=vote")
        stopped.assert_called_once()
    train(task, csa_yaml, "unit.pooling=vote")
    assert models.load_model(task.folder).settings.unit.pooling == "vote"
    assert not [message for message in caplog.messages if "damaged" in message]
