"""The same command again after the corpus was changed: redone where that is safe, else one command helps."""

from __future__ import annotations

import re
import subprocess
import wave
from pathlib import Path

import pytest

from ser.data import tables
from tests.corpora.wavs import write_wav
from tests.recipe import ENVIRONMENT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def write_corpus(folder: Path, labels: dict[str, str]) -> None:
    lines = [f"{name}.wav,{name[0]},{label}\n" for name, label in labels.items()]
    (folder / "table.csv").write_text("path,speaker,emotion\n" + "".join(lines))


def test_a_table_that_changes(repo: Path, tmp_path: Path) -> None:
    labels = {f"{s}-{i}": "happy" if i < 2 else "sad" for s in "abcde" for i in range(4)}
    for number, name in enumerate(labels):
        write_wav(tmp_path / f"{name}.wav", number)
    line = [str(repo / "run.sh"), "--corpus", "csv", "--corpus-dir", "table.csv", "--data-dir", "data"]
    line += ["--exp-dir", "exp", "--systems", "majority", "--stop-stage", "4", "--nj", "1"]
    line += ["--set", "classes=[hap, sad]", "--set", "labels={happy: hap, sad: sad}"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*line, *more], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, check=False
        )

    write_corpus(tmp_path, labels | {"b-9": "sad"})
    with wave.open(str(tmp_path / "b-9.wav"), "wb") as stream:
        stream.setparams((1, 2, 16000, 0, "NONE", ""))
        stream.writeframes(bytes(200))
    assert run().returncode == 1  # 100 samples are less than a frame
    write_corpus(tmp_path, labels)
    done = run()
    assert done.returncode == 0, done.stderr

    data = tmp_path / "data"
    features = (data / "all" / "fbank" / "made.json").stat().st_mtime_ns
    write_corpus(tmp_path, labels | {"a-0": "sad", "b-3": "happy"})
    done = run()
    assert done.returncode == 1
    changed = "2 labels changed: a-0, b-3"
    assert f"{data}/all: the corpus has changed: {changed}" in done.stderr
    remedy = f"choose another folder, or remove it: rm -r {data}/folds"
    assert f"ser: error: {data}/folds: was made differently: {changed}; {remedy}\n" in done.stderr
    assert (data / "all" / "fbank" / "made.json").stat().st_mtime_ns == features
    assert tables.read_table(data / "all" / "utt2emo")["a-0"] == "sad"

    done = run("--set", "keep.emotion=[sad, happy]", "--exp-dir", "other")
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"ser: error: {data}/all: was made differently: keep.emotion: (not set) -> ['sad', 'happy']; "
        f"choose another folder, or remove them: rm -r {data}/all {data}/folds\n"
    )
    command = re.search(r"rm -r (\S+) (\S+)$", done.stderr)
    assert command is not None
    subprocess.run(["rm", "-r", *command.groups()], check=True)
    done = run("--set", "keep.emotion=[sad, happy]", "--exp-dir", "other")
    assert done.returncode == 0, done.stderr
