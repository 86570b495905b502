"""What README.md and docs/ say holds: links, paths, options, commands, and the code that they print.

A block whose first line is ``# <path>`` is a file, and is written where it says.  Above a block of commands
may stand ``<!-- run -->`` (it is run as it is) or ``<!-- run slowly -->`` (with settings that finish soon),
above the block behind it ``<!-- output -->``: what the last prints, but for measured numbers and classes.
Of every block the options are checked, and each ``./run.sh`` is planned.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from ser.data import tables

REPO = Path(__file__).resolve().parents[2]
PAGES = [
    REPO / "README.md",
    *sorted((REPO / "docs").glob("*.md")),
    REPO / "egs/README.md",
    REPO / "CONTRIBUTING.md",
]
ENVIRONMENT = os.environ | {"SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
for _name in ("IEMOCAP", "EMODB", "CSV", "LHOTSE", "PYTHONPATH"):
    ENVIRONMENT.pop(_name, None)

QUICK = "--set training.epochs=1 --nj 2 --use-gpu no"
VERBS = ("predict",)  # that no script starts
TOPS = "conf|docs|egs|local|ser|steps|tests|utils"
PROGRAM = re.compile(
    r"(?<![\w/-])ser (?P<verb>\w+)|(?P<script>\./run\.sh|(?:steps|utils|local|tests)/\w+\.(?:sh|pl))"
)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int  # of its first line
    language: str
    mark: str  # what the comment above it says
    text: str

    @property
    def file(self) -> str:
        """The path of the file that it prints, if it does."""
        match = re.match(r"# ([\w.-]+(?:/[\w.-]+)+)\n", self.text)
        return match[1] if match and not self.mark else ""

    def commands(self) -> Iterator[str]:
        """Its command lines, without comments, each whole."""
        if self.language not in ("", "sh") or self.file:
            return
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line.replace("'", r"\'"), comments=True, posix=False):
                yield " ".join(words)


def read_blocks(page: Path) -> list[Block]:
    pattern = r"^(?:<!-- (?P<mark>[\w ]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$"
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            match["mark"] or "",
            match["text"],
        )
        for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL)
    ]


BLOCKS = [block for page in PAGES for block in read_blocks(page)]
FILES = {block.file: block for block in BLOCKS if block.file}


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """What stands between backquotes in the text of a page."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def name(thing: Path | Block) -> str:
    if isinstance(thing, Block):
        return f"{name(thing.page)}:{thing.line}"
    return thing.relative_to(REPO).as_posix()


# ------------------------------------------------------------------------------------------- links and paths


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert target.is_relative_to(REPO), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}"


def test_every_page_can_be_reached() -> None:
    reached = re.findall(r"\]\(docs/(\w+\.md)\)", prose(REPO / "README.md"))
    assert set(reached) == {path.name for path in (REPO / "docs").glob("*.md")} - {"README.md"}
    index = re.findall(r"\]\((\w+\.md)\)", prose(REPO / "docs" / "README.md"))
    assert sorted(index) == sorted(set(reached))


def test_readme_is_short() -> None:
    assert len((REPO / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_exist(page: Path) -> None:
    """A path that is named is there: at the top, in a recipe, or among the files that pages print."""
    ours = {str(folder) for file in FILES for folder in (Path(file), *Path(file).parents)}
    for span in spans(page):
        if not re.fullmatch(rf"(?:{TOPS})/[\w./-]+", span) or span.rstrip("/") in ours:
            continue
        places = [REPO, page.parent, *(REPO / "egs").glob("*")]
        assert any((place / span).exists() for place in places), f"{name(page)}: {span}"


# --------------------------------------------------------------------------------------------------- options


def verb_options(verb: str) -> set[str]:
    parser = importlib.import_module(f"ser.verbs.{verb}").get_parser()
    return set(re.findall(r"--[a-z][\w-]*", parser.format_help()))


@functools.cache
def script_options(script: str) -> set[str]:
    """The options in a script's --help, and those of the verbs to which it hands arguments on."""
    path = REPO / script
    text = path.read_text(encoding="utf-8")
    head = text.partition("/parse_options.sh")[0]
    options = {
        f"--{word.replace('_', '-')}" for word in re.findall(r"^([a-z]\w*)=.*\s# ", head, re.MULTILINE)
    }
    for verb in re.findall(r"python3 -m ser (\w+) .*\$(?:@|\{@)", text):
        options |= verb_options(verb)
    if path.suffix == ".pl" or script == "utils/validate_data_dir.sh":
        options |= set(re.findall(r"--[a-z][\w-]*", help_text(path)))
    options |= {"--config"} if "parse_options.sh" in text else set()
    if script == "./run.sh":
        options |= script_options("egs/iemocap/run.sh")
    return options | {"--help"}


def help_text(path: Path) -> str:
    done = subprocess.run(
        [path, "--help"], env=ENVIRONMENT, cwd=REPO, capture_output=True, text=True, check=True
    )
    return done.stdout


@functools.cache
def all_options() -> set[str]:
    scripts = [
        f"{folder}/{path.name}" for folder in ("steps", "local") for path in (REPO / folder).glob("*.sh")
    ]
    known = [script_options(script) for script in ("./run.sh", "utils/run.pl", "utils/install.sh", *scripts)]
    return set().union(*known, *map(verb_options, VERBS))


def command_spans(page: Path) -> list[str]:
    return [span for span in spans(page) if PROGRAM.match(span) or span.startswith("--")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_exist(page: Path) -> None:
    lines = [line for block in BLOCKS if block.page == page for line in block.commands()]
    for line in lines + command_spans(page):
        given = re.findall(r"(?<!\S)(--[a-z][\w-]*)", line)
        program = PROGRAM.search(line)
        if program and program["verb"]:
            known = verb_options(program["verb"])
        elif program:
            known = script_options(program["script"])
        else:
            known = all_options()
        assert not set(given) - known, f"{name(page)}: {line}"


# -------------------------------------------------------------------------------------------------- commands


def checkout(top: Path, options: str = "") -> Path:
    """The repository by links, with the files that pages print, and recipes that one can write to.

    Args:
        top: the folder to make.
        options: that ./run.sh gets behind those of the command line.
    """
    (top / "egs").mkdir(parents=True)
    for folder in ("conf", "local", "ser", "steps", "utils"):
        (top / folder).symlink_to(REPO / folder)
    for script in ("path.sh", "run.sh"):
        shutil.copy(REPO / script, top / script)
    for recipe in (path for path in REPO.glob("egs/*") if path.is_dir()):
        kept = shutil.ignore_patterns("data", "exp", "RESULTS*")
        shutil.copytree(recipe, top / "egs" / recipe.name, symlinks=True, ignore=kept)
    for file, block in FILES.items():
        path = top / file
        path.parent.mkdir(parents=True, exist_ok=True)
        is_code = block.language in ("python", "yaml")
        path.write_text(block.text if is_code else block.text.partition("\n")[2], encoding="utf-8")
    shutil.copy(REPO / "egs/csv/conf/corpus.yaml", top / "mine" / "corpus.yaml")
    if options:
        (top / "run.sh").rename(top / "front.sh")
        (top / "run.sh").write_text(f'#!/usr/bin/env bash\nexec ./front.sh "$@" {options}\n')
        (top / "run.sh").chmod(0o755)
    return top


def run(top: Path, text: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-euo", "pipefail", "-c", text]
    return subprocess.run(
        command, cwd=top, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout_s
    )


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which nothing is trained."""
    return checkout(tmp_path_factory.mktemp("docs") / "top")


def planned() -> dict[str, str]:
    """Where it stands -> a command line of ./run.sh with the variables set above it, or a lone --set."""
    lines = {}
    for block in BLOCKS:
        variables = ""
        for number, line in enumerate(block.commands()):
            if re.match(r"(export )?\w+=\S+$|\w+=\"[^\"]*\"$", line):
                variables += f"{line}; "
            if line.startswith("--set"):
                line = f"./run.sh --corpus emodb {line}"
            if "./run.sh" in line and "--help" not in line:
                lines[f"{name(block)}+{number}"] = variables + line
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("line", planned().values(), ids=planned().keys())
def test_experiments_can_be_planned(top: Path, line: str) -> None:
    """Systems, protocols, settings and fusions of every command line exist; nothing is written."""
    (top / "mine" / "textgrids").mkdir(parents=True, exist_ok=True)  # an alignment must be there
    done = run(top, f"export PYTHONPATH=$PWD/mine; {line} --dry-run --stage 6 --stop-stage 9")
    assert done.returncode == 0, done.stderr
    assert [stage[:8] for stage in done.stdout.splitlines()] == [f"stage {stage}:" for stage in range(6, 10)]
    assert not (top / "exp").exists()


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark == "run"], ids=name)
def test_commands_run(top: Path, block: Block) -> None:
    done = run(top, block.text)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_mark_is_known() -> None:
    languages = {"run": "sh", "run slowly": "sh", "output": "text"}
    assert {block.mark for block in BLOCKS} == {"", *languages}
    assert all(block.language == languages[block.mark] for block in BLOCKS if block.mark)


def test_posteriors_of_somebody_else(top: Path) -> None:
    """The numbers of the example: alone one of the four utterances is wrong, b_1; fused none."""
    (block,) = [block for block in BLOCKS if "theirs/data theirs/one" in block.text]
    assert run(top, block.text).returncode == 0
    for folder, acc in (("one", "0.750000"), ("both", "1.000000")):
        assert tables.read_table(top / "theirs" / folder / "score" / "result.txt")["acc"] == acc


# --------------------------------------------------------------------------------- the code that pages print


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose embedded corpus is a tenth of its size, and whose trainings are one epoch."""
    top = checkout(tmp_path_factory.mktemp("docs") / "top", QUICK)
    made = run(
        top, ". ./path.sh; python3 -m ser make_mini_corpus --scale 0.1 egs/mini/data/local/mini_release"
    )
    assert made.returncode == 0, made.stderr
    return top


def run_page(top: Path, page: str) -> str:
    """Run the slow blocks of a page, one after another; what they printed."""
    printed = ""
    for block in BLOCKS:
        if block.page.name == page and block.mark == "run slowly":
            done = run(top, block.text, timeout_s=200)
            assert done.returncode == 0, done.stderr
            printed += done.stdout + done.stderr
    return printed


def masked(text: str) -> str:
    """An output without what depends on the training: classes, and digits behind a point."""
    return re.sub(r"\b(ang|hap|neu|sad)\b", "class", re.sub(r"\d+\.(\d+)", count_digits, text))


def count_digits(number: re.Match[str]) -> str:
    """Probabilities have seven digits behind the point, times as many as it takes."""
    return "probability" if len(number[1]) == 7 else "time"


@pytest.mark.slow
def test_outputs_are_those_of_the_commands(mini: Path) -> None:
    """Of the pages that show them; files and columns to the letter, numbers in their format."""
    outputs = [place for place, block in enumerate(BLOCKS) if block.mark == "output"]
    assert outputs
    for place in outputs:
        command, output = BLOCKS[place - 1], BLOCKS[place]
        done = run(mini, command.text, timeout_s=200)
        assert done.returncode == 0, done.stderr
        assert masked(done.stdout).endswith(masked(output.text)), name(output)


def rows(exp: Path) -> list[str]:
    """The systems of a table of results, in its order."""
    lines = (exp / "results.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines if line.split("\t")[1] == "mean"]


@pytest.mark.slow
def test_systems_of_ones_own(mini: Path) -> None:
    printed = run_page(mini, "add_a_system.md")
    assert "done: stages 0 to 9" in printed
    exp = mini / "exp" / "mine"
    assert rows(exp) == ["attentive", "both", "gaussians", "majority"]
    assert (exp / "interpret" / "attentive" / "corpus" / "vowel_consonant.tsv").exists()
    assert "my_systems.attentive:SYSTEM" in (exp / "RESULTS.md").read_text(encoding="utf-8")
    decoded = exp / "paper_dev" / "attentive" / "seed777" / "decode_test"
    assert (mini / "decoded" / "post").read_bytes() == (decoded / "post").read_bytes()


@pytest.mark.slow
def test_training_on_cuts_with_lhotse(mini: Path) -> None:
    pytest.importorskip("kaldi_native_io")
    *losses, right = re.findall(
        r"^(?:epoch \d+: loss (\S+)|(\d+ of \d+) test.*)$", run_page(mini, "lhotse.md"), re.MULTILINE
    )
    values = [float(loss) for loss, _ in losses]
    assert len(values) == 10
    assert values[-1] < 0.8 * values[0]
    cuts = mini / "egs" / "mini" / "data" / "folds" / "paper_dev" / "test"
    assert right[1].endswith(f" of {len(tables.read_table(cuts / 'utt2emo'))}")


@pytest.mark.slow
def test_features_of_ones_own(mini: Path) -> None:
    printed = run_page(mini, "add_features.md")
    assert "done: stages 0 to 9" in printed
    data = mini / "egs" / "mini" / "data"
    assert rows(mini / "exp" / "level") == ["blstmatt_level"]
    assert (data / "all" / "level" / "frame_shift").read_text() == "0.02\n"
    assert (mini / "exp" / "level" / "alignments" / "corpus.level" / "phone.frames").exists()
    shapes = {
        kind: tables.ArkReader(data / "all" / kind / "feats.scp").read("Ses05_F-Ses05F_impro01_F000").shape
        for kind in ("level", "tempo", "fbank_80")
    }
    assert shapes["tempo"] == (2,)
    assert shapes["fbank_80"][1] == 80
    assert shapes["level"][0] == pytest.approx(shapes["fbank_80"][0] / 2, abs=2)
    assert (data / "all" / "feats.yaml").read_text().startswith("set: fbank\n")


@pytest.mark.slow
def test_a_corpus_of_ones_own(mini: Path) -> None:
    folder = mini / "mine" / "recordings"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for speaker in ("f1", "f2", "f5", "m1", "m2", "m5"):
        for number, emotion in enumerate(("anger", "joy", "neutral", "sadness", "boredom")):
            for take in "ab":
                tone = np.sin(2 * np.pi * 200 * (number + 1) * np.arange(12000) / 16000)
                wave = 0.3 * tone + rng.normal(0, 0.02, 12000)
                soundfile.write(folder / f"{speaker}_{emotion}_{take}.wav", wave, 16000)
    printed = run_page(mini, "add_a_corpus.md")
    assert "done: stages 0 to 9" in printed
    data, exp = mini / "data" / "acted", mini / "exp" / "acted"
    assert len(tables.read_table(data / "all" / "utt2emo")) == 48  # no class for boredom
    assert tables.read_table(data / "all" / "spk2gender")["f5"] == "f"
    assert set(tables.read_table(data / "folds_last" / "last" / "test" / "utt2spk").values()) == {"f5", "m5"}
    assert rows(exp) == ["blstmatt", "majority"]
    result = tables.read_table(exp / "pooled/blstmatt/seed777/decode_test/score/result.txt")
    assert (result["n_scored"], result["n_total"]) == ("16", "16")
