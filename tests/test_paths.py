"""A path on the command line means what it means to the caller's shell; only defaults are the recipe's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.corpora.wavs import write_wav
from tests.recipe import ENVIRONMENT

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]
HIDDEN = 512
SETTINGS, YAML = "name an existing settings file", "name a YAML file (try --help)"


@pytest.fixture
def caller(tmp_path: Path, repo: Path) -> Path:
    """A folder of the caller's own, with files named as the recipe's are, which say something else."""
    folder = tmp_path / "mine"
    (folder / "conf").mkdir(parents=True)
    corpus = yaml.safe_load((repo / "egs" / "csv" / "conf" / "corpus.yaml").read_text())
    corpus |= {"name": "ours", "classes": ["calm", "tense"], "labels": {"calm": "calm", "tense": "tense"}}
    (folder / "conf" / "corpus.yaml").write_text(yaml.safe_dump(corpus))
    (folder / "conf" / "blstmatt.yaml").write_text(f"base: blstmatt.yaml\nmodel: {{hidden: {HIDDEN}}}\n")
    (folder / "conf" / "fbank.yaml").write_text("base: fbank.yaml\nnum_mel_bins: 31\n")
    (folder / "table.csv").write_text(
        "path,speaker,emotion\n" + "".join(f"{s}{e}.wav,{s},{e}\n" for s in "abcd" for e in ("calm", "tense"))
    )
    for number, (speaker, emotion) in enumerate((s, e) for s in "abcd" for e in ("calm", "tense")):
        write_wav(folder / f"{speaker}{emotion}.wav", number)
    return folder


@pytest.fixture
def run(repo: Path, caller: Path) -> Run:
    def start(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        line = [str(repo / "run.sh"), *args, "--data-dir", "data", "--exp-dir", "exp", "--nj", "1"]
        return subprocess.run(
            line, cwd=caller, env=ENVIRONMENT | env, capture_output=True, text=True, check=False, timeout=120
        )

    return start


def planned(caller: Path, name: str) -> dict[str, object]:
    tree: dict[str, object] = yaml.safe_load((caller / "exp" / "conf" / f"{name}.yaml").read_text())
    return tree


def test_the_callers_files_are_taken(run: Run, caller: Path) -> None:
    """Every option that names a file, from a folder whose conf/ has files of the recipe's names."""
    done = run(
        *("--corpus-conf", "conf/corpus.yaml", "--corpus-dir", "table.csv", "--stop-stage", "0"),
        *("--systems", "conf/blstmatt.yaml named=conf/blstmatt.yaml blstmatt_small"),
    )
    assert done.returncode == 0, done.stderr
    assert planned(caller, "corpus")["classes"] == ["calm", "tense"]
    assert "utt2emo" in {path.name for path in (caller / "data" / "all").iterdir()}
    hidden = {
        name: planned(caller, name)["model"]["hidden"] for name in ("blstmatt", "named", "blstmatt_small")
    }  # type: ignore[index]
    assert hidden == {"blstmatt": HIDDEN, "named": HIDDEN, "blstmatt_small": 64}
    assert planned(caller, "fbank")["num_mel_bins"] == 31  # beside the system of one's own

    shutil.rmtree(caller / "data")  # of other classes
    done = run("--corpus", "csv", "--systems", "blstmatt", "--corpus-dir", "table.csv", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "protocol loso of csv" in done.stdout  # a name, and no path, is the recipe's


def test_paths_in_an_experiment_file_are_seen_from_it(run: Run, caller: Path) -> None:
    (caller / "lists").mkdir()
    (caller / "lists" / "phones").mkdir()
    (caller / "lists" / "wide.yaml").write_text(f"base: blstmatt_small.yaml\nmodel: {{hidden: {HIDDEN}}}\n")
    file = caller / "lists" / "experiment.yaml"
    file.write_text("systems: [wide.yaml, b=../conf/blstmatt.yaml]\nalignment: phones\n")
    conf = ("--corpus-conf", "conf/corpus.yaml", "--corpus-dir", "table.csv", "--stop-stage", "0")
    done = run(*conf, "--experiment", "lists/experiment.yaml")
    assert done.returncode == 0, done.stderr
    assert {name: planned(caller, name)["model"]["hidden"] for name in ("wide", "b")} == {  # type: ignore[index]
        "wide": HIDDEN, "b": HIDDEN,
    }  # fmt: skip
    plan = yaml.safe_load((caller / "exp" / "plan.json").read_text())
    assert plan["alignment"] == f"{caller}/lists/phones"
    file.write_text("alignment: phons\n")
    done = run(*conf, "--experiment", "lists/experiment.yaml")
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"ser: error: alignment: {caller}/lists/phons: no such file or folder; name a CTM file, a folder of "
        "them or of TextGrids, corpus or k2 (try --help)\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corpus-conf", "conf/csa.yaml"], f"{{}}/conf/csa.yaml: no such file; {SETTINGS}"),
        (["--corpus-conf", "conf"], "{}/conf: is a folder where a file is expected; name a YAML file"),
        (["--systems", "conf/csa.yaml"], f"systems: conf/csa.yaml: {{}}/conf/csa.yaml: no such file; {YAML}"),
        (["--systems", "a=conf/csa"], f"systems: a=conf/csa: {{}}/conf/csa: no such file; {YAML}"),
        (["--systems", "./conf/"], f"systems: ./conf/: {{}}/conf: is a folder; {YAML}"),
        (["--experiment", "conf/csa.yaml"], f"{{}}/conf/csa.yaml: no such file; {SETTINGS}"),
        (["--alignment", "conf/csa.yaml"], "alignment: {}/conf/csa.yaml: no such file or folder; name a CTM "
         "file, a folder of them or of TextGrids, corpus or k2 (try --help)"),
    ],
)  # fmt: skip
def test_a_path_is_never_the_recipes(run: Run, caller: Path, options: list[str], message: str) -> None:
    """The recipe's and the shared conf/ have files of these names; the caller's folder has not."""
    done = run("--corpus", "csv", *options)
    assert done.returncode in (1, 2)
    assert done.stderr.endswith(f"ser: error: {message.format(caller)}\n")
    assert not (caller / "exp").exists()


def test_a_file_where_a_folder_is_meant(run: Run, repo: Path, caller: Path) -> None:
    for option, word in (("--data-dir", "table.csv"), ("--exp-dir", "table.csv")):
        line = [str(repo / "run.sh"), "--corpus", "csv", option, word]
        done = subprocess.run(line, cwd=caller, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.endswith(
            f" run.sh: error: {option} {caller}/table.csv: is a file, no folder; choose another "
            "(try --help)\n"
        )
    done = run("--corpus", "csv", "--results", "conf")
    assert done.stderr.endswith(
        f" run.sh: error: --results {caller}/conf: is a folder; name a file, such as "
        f"{caller}/conf/RESULTS.md (try --help)\n"
    )


@pytest.mark.parametrize("corpus", ["cremad", "emodb", "iemocap", "ravdess"])
def test_a_file_where_a_release_is_meant(run: Run, caller: Path, corpus: str) -> None:
    done = run("--corpus", corpus, "--corpus-dir", "acalm.wav", "--stop-stage", "0")
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"ser: error: {caller}/acalm.wav: is a file, no folder; give --corpus-dir the folder of the release\n"
    )


def test_a_path_in_the_corpus_variable_is_the_callers(run: Run, caller: Path) -> None:
    done = run("--corpus-conf", "conf/corpus.yaml", "--stop-stage", "0", OURS="table.csv")
    assert done.returncode == 0, done.stderr
    assert len((caller / "data" / "all" / "utt2emo").read_text().splitlines()) == 8


def test_messages_name_the_callers_settings(run: Run, caller: Path) -> None:
    table = caller / "table.csv"
    table.write_text(table.read_text().replace("acalm.wav,a,calm", "acalm.wav,a,clam"))
    done = run("--corpus-conf", "conf/corpus.yaml", "--corpus-dir", "table.csv", "--stop-stage", "0")
    assert done.returncode == 1
    assert f"none of labels in {caller}/conf/corpus.yaml (did you mean calm?)" in done.stderr
