"""What would run: done, begun, failed, stale, to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from ser.learn import settings, status, tasks, training
from ser.learn.decoding import decode_folder
from tests.learn.conftest import MakePart

RunVerb = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_state_of_a_task(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path, run_verb: RunVerb
) -> None:
    train, test = make_part("train"), make_part("test", "ef", seed=2)
    path, folders = (
        tmp_path / "train.tsv",
        [tmp_path / name for name in ("done", "fresh", "begun", "failed", "stale")],
    )
    overrides = ["training.epochs=1"]
    lines = [f"{train}\t-\t{folder}\t7\t{csa_yaml}\ttraining.epochs=1\n" for folder in folders]
    path.write_text("".join(lines[:4]) + lines[4].replace("epochs=1", "epochs=2"))
    for folder in (folders[0], folders[4]):
        task = tasks.Task(train, None, folder, 7)
        training.train(task, settings.load(csa_yaml, overrides), use_gpu="no", tensorboard=False)
    folders[2].mkdir()
    (folders[2] / status.CHECKPOINT).touch()
    (tmp_path / "log").mkdir()
    log = tmp_path / "log" / "train.4.log"
    log.write_text(
        "# python3 -m ser train\n# Started at Mon\n#\none\ntwo\nthree\nfour\nfive\nsix\n"
        "# Accounting: time=2 threads=1\n# Ended (code 137; signal 9) at Mon, elapsed time 2 seconds\n"
    )
    found = status.look(path)
    assert [each.state for each in found] == ["done", "to do", "begun", "failed", "stale"]
    decode = tmp_path / "decode.tsv"
    decode.write_text(
        f"{folders[0]}\t{test}\t{tmp_path / 'out'}\n{folders[1]}\t{test}\t{tmp_path / 'none'}\n"
    )
    assert [each.state for each in status.look(decode)] == ["to do", "to do"]
    os.utime(log, (0, 0))
    assert status.look(path)[3].state == "to do"  # the log is older than the list: of another task
    os.utime(log)
    decode_folder(folders[0], test, tmp_path / "out", use_gpu="no")
    said = run_verb("list_tasks", path, decode)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == (
        "train: 5 tasks, 1 done, 1 begun, 1 failed, 1 stale, 1 to do\n"
        f"  to do  {folders[1]}\n"
        f"  begun  {folders[2]}\n"
        f"  failed {folders[3]}\n"
        f"         {log}: ended with code 137; its last lines:\n"
        "         two\n         three\n         four\n         five\n         six\n"
        f"  stale  {folders[4]}\n"
        f"         {folders[4]}: was made differently: system.training.epochs: 1 -> 2; choose another "
        "--exp-dir, or remove the folder to train it again\n"
        "decode: 2 tasks, 1 done, 1 to do\n"
        f"  to do  {tmp_path / 'none'}\n"
    )


def test_no_list(tmp_path: Path, run_verb: RunVerb) -> None:
    said = run_verb("list_tasks", tmp_path / "train.tsv")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == f"ser: error: {tmp_path}/train.tsv: no such file; run.sh --dry-run makes it\n"
