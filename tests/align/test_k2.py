"""The aligner with k2 itself: its search, and EMO-DB's recordings from transcripts to times."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from ser.align.boundaries import compare, table
from ser.align.lexicon import words_of
from ser.corpora.emodb import SENTENCES, read_phones
from ser.data import tables
from ser.data.alignment import read_ctm, write_ctm
from ser.data.phones import load_phones

Step = Callable[..., "subprocess.CompletedProcess[str]"]
RECORDINGS = ("03a01", "03a02", "03a05", "03b03", "08a01", "08a02", "08a05", "08b03")


def test_k2_finds_what_the_plain_search_finds(k2_python: str, repo: Path) -> None:
    result = subprocess.run(
        [k2_python, repo / "tests" / "align" / "k2_search.py"],
        env={**os.environ, "PYTHONPATH": str(repo)},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    differences = json.loads(result.stdout)
    assert differences.pop("largest_difference") < 1e-3
    assert differences.pop("impossible") > 2
    assert differences == {"num": 30, "agree_on_impossible": True, "other_segments": 0, "other_pdfs": 0}


@pytest.fixture(scope="module")
def data(emodb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two speakers; one has no transcript, one has another's, far too long one."""
    folder = tmp_path_factory.mktemp("align") / "all"
    folder.mkdir()
    wavs = {p.stem: p for p in sorted((emodb / "wav").glob("*.wav")) if p.stem.startswith(RECORDINGS)}
    durations = {name: soundfile.info(path).duration for name, path in wavs.items()}
    texts = {name: SENTENCES[name[2:5]] for name in wavs}
    texts["03a01Fa"] = 20 * (SENTENCES["a05"] + " ")
    del texts["08a01Na"]
    tables.write_table(folder / "wav.scp", wavs)
    tables.write_table(folder / "utt2spk", {name: name[:2] for name in wavs})
    tables.write_table(folder / "utt2dur", durations)
    tables.write_table(folder / "text", texts)
    labels = {name: read_phones(emodb / "lablaut" / f"{name}xx.lablaut", durations[name]) for name in wavs}
    labels["03a01Fa"] = []
    write_ctm(
        folder / "phone.ctm",
        {name: [(row.symbol, row.start, row.duration) for row in rows] for name, rows in labels.items()},
    )
    return folder


@pytest.fixture
def step(repo: Path) -> Step:
    """Run a step as the recipe does."""

    def run(name: str, *args: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", f"steps/{name}.sh", *map(str, args)],
            cwd=repo / "egs" / "emodb", capture_output=True, text=True, check=False, timeout=800,
        )  # fmt: skip

    return run


@pytest.fixture
def quick_conf(repo: Path, tmp_path: Path) -> Path:
    """Settings that are trained in seconds."""
    text = (repo / "conf" / "align.yaml").read_text()
    text = re.sub(
        r"^(components|rounds): \d+",
        lambda m: f"{m[1]}: {dict(components=2, rounds=3)[m[1]]}",
        text,
        flags=re.M,
    )
    (tmp_path / "align.yaml").write_text(text)
    return tmp_path / "align.yaml"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("k2_python")
def test_from_transcripts_to_times(data: Path, step: Step, quick_conf: Path, repo: Path) -> None:
    model, out = data.parent / "phones", data.parent / "k2"
    arguments = ("--nj", 3, "--align-conf", quick_conf, "conf/corpus.yaml", data, model, out)
    result = step("align_corpus", *arguments)
    assert result.returncode == 0, result.stderr
    assert (out / "not_aligned").read_text() == (
        "03a01Fa it has 380 frames, its words need 2520\n08a01Na it has no words\n"
    )
    assert not (out / "shards").exists()

    phones, words = read_ctm(out / "phone.ctm"), read_ctm(out / "word.ctm")
    texts = tables.read_table(data / "text")
    durations = tables.read_table(data / "utt2dur")
    assert set(phones) == set(words) == set(texts) - {"03a01Fa"}
    for name, rows in phones.items():
        edges = [start for _, start, _ in rows] + [rows[-1][1] + rows[-1][2]]
        assert edges[0] == 0
        assert edges[-1] == pytest.approx(float(durations[name]), abs=1e-5)
        for (_, start, length), following in zip(rows, edges[1:], strict=True):
            assert start + length == pytest.approx(following, abs=1e-5)
            assert length > 0.0149 or following == edges[-1]
        assert [word for word, _, _ in words[name] if word != "<sil>"] == words_of(texts[name], set())
        word_edges = {round(start, 6) for _, start, _ in words[name]}
        assert word_edges <= {round(edge, 6) for edge in edges}

    phone_set = load_phones(repo / "egs" / "emodb" / "conf" / "phones.yaml")
    name, _, matched, _, within_20ms, within_50ms, *_ = table(
        compare(read_ctm(data / "phone.ctm"), phones, phone_set)
    )[-1]
    assert name == "all"
    # far above equally long phones (13 and 32 per cent), for so little speech and training
    assert float(matched) > 80
    assert float(within_20ms) > 35
    assert float(within_50ms) > 50

    # again: nothing is made again; with another transcript: refused
    before = {path: path.stat().st_mtime_ns for path in (out / "phone.ctm", model / "model.npz")}
    assert step("align_corpus", *arguments).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    tables.write_table(data / "text", {**texts, "08a01Na": SENTENCES["a01"]})
    result = step("align", "--nj", 3, data, model, out)
    assert result.returncode == 1
    assert f"{out}: was made differently: text has changed; " in result.stderr
    assert result.stderr.rstrip().count("choose another folder, or remove it: rm -r ") >= 1


def test_without_k2_one_line_says_how_to_get_it(repo: Path, tmp_path: Path) -> None:
    """In a checkout without .venv-k2, with a Python that has no k2."""
    for name in ("steps", "utils", "conf", "ser"):
        (tmp_path / name).symlink_to(repo / name)
    (tmp_path / "path.sh").write_text((repo / "path.sh").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text").write_text("u1 no\n")
    environment = {key: value for key, value in os.environ.items() if key != "SER_K2_PYTHON"}
    for command in (
        ["steps/align.sh", "data", "model", "out"],
        [
            "steps/train_phones.sh",
            "conf/align.yaml",
            "conf/phones.yaml",
            "data",
            "lexicon.txt",
            "model",
        ],
        ["steps/align_corpus.sh", "conf/corpus.yaml", "data", "model", "out"],
    ):
        result = subprocess.run(
            ["bash", *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 1
        assert re.sub(r"^\S+ ", "", result.stderr) == (
            f"{Path(command[0]).name}: error: k2 is not installed; run utils/install_k2.sh "
            "(Python 3.10, 3.3 GB), or name a Python that has it with SER_K2_PYTHON\n"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "conf",
        "data",
        "path.sh",
        "ser",
        "steps",
        "utils",
    ]
