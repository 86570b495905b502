"""What holds for the whole repository: scripts, links, paths, layers, start-up."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ser.data.corpus import load_corpus

REPO = Path(__file__).resolve().parents[2]

# A module may import its own layer and those below. cli (log lines, progress, exit codes) knows little.
LAYERS: dict[str, set[str]] = {"errors": set(), "ranges": set(), "reading": {"errors"}}
LAYERS["cli"] = {"errors", "ranges"}
LAYERS["config"] = {"errors", "reading", "ranges"}
LAYERS["data"] = {"errors", "reading", "ranges", "config", "cli"}
for _name in ("corpora", "feats", "scoring"):
    LAYERS[_name] = LAYERS["data"] | {"data"}
LAYERS["systems"] = LAYERS["data"] | {"data", "feats", "scoring"}
LAYERS["plan"] = LAYERS["data"] | {"data"}
LAYERS["experiment"] = LAYERS["systems"] | {"systems", "plan"}
LAYERS["reporting"] = LAYERS["data"] | {"data", "scoring", "plan"}
LAYERS["learn"] = LAYERS["systems"] | {"systems", "plan"}
LAYERS["align"] = LAYERS["data"] | {"data", "corpora", "feats"}
LAYERS["interpret"] = LAYERS["learn"] | {"learn", "align"}
LAYERS["predict"] = LAYERS["learn"] | {"learn", "align", "corpora", "interpret", "reporting"}
LAYERS["export"] = LAYERS["serving"] = LAYERS["predict"] | {"predict"}
VERB_LAYER = set(LAYERS)

# The homes of the outside libraries: top module -> the files that may import it.
HOMES = {
    "kaldiio": r"data/tables\.py",
    "lhotse": r"corpora/.*|feats/fbank\.py|data/manifests\.py",
    "scipy": r"scoring/(significance|log_linear)\.py|feats/audio\.py",
    "torch": (
        r"(systems|learn|export)/.*|feats/(fbank|silero|encoder|encoder_layers)\.py|align/k2_align\.py|interpret/probing\.py"
    ),
    "matplotlib": r"interpret/.*plots?\.py|(reporting|predict)/plots\.py",
    "jinja2": r"reporting/templates\.py",
    "k2": r"align/.*align\.py",
    "praatio": r"align/textgrid\.py",
    "captum": r"interpret/probing\.py",
    "silero_vad": r"feats/silero\.py",
    "opensmile": r"feats/functionals\.py",
    "sklearn": r"systems/(svm|factor_analysis|layers/machines)\.py",
    "safetensors": r"learn/.*",
    "transformers": r"feats/encoder\.py",
    "huggingface_hub": r"feats/encoder_files\.py",
    "onnx": r"export/.*",
    "onnxruntime": r"export/.*",
    "starlette": r"serving/.*",
    "uvicorn": r"serving/.*",
}
LIGHT = """score fuse tabulate compare pool_folds report plan make_folds compute_cmvn compute_vad
make_alignment map_attention phone_stats probe_stats predict""".split()
SHELL_LINES = 675  # in egs, steps and local: what a recipe needs of bash is a list


def tracked() -> list[Path]:
    """Git's files, and those it would take; outside git all but hidden folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return [REPO / line for line in result.stdout.splitlines() if os.path.lexists(REPO / line)]
    return [path for path in REPO.rglob("*") if not any(p.startswith(".") for p in path.parts)]


FILES = tracked()
REGULAR = [path for path in FILES if path.is_file() and not path.is_symlink()]
SHELL = [path for path in REGULAR if path.suffix == ".sh"]
SOURCED = [path for path in SHELL if not path.read_text().startswith("#!")]
SCRIPTS = [path for path in SHELL if path not in SOURCED]
MODULES = sorted((REPO / "ser").rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


# ---------------------------------------------------------------------------------------------------
# Shell


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_script_says_how_it_is_used(script: Path) -> None:
    first, second, *rest = script.read_text().splitlines()
    assert first == "#!/usr/bin/env bash"
    assert second.startswith("# Usage: ")
    assert script.name in second
    assert "set -euo pipefail" in rest
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", SOURCED, ids=name)
def test_sourced_file_says_so(script: Path) -> None:
    assert script.read_text().startswith("# shellcheck shell=bash\n")
    assert not os.access(script, os.X_OK)
    text = re.sub(r"^  set -m\n.*?^  set \+m\n", "", script.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^ *set [-+]", text, re.MULTILINE)  # job control for one command is none of it


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_help(script: Path, tmp_path: Path) -> None:
    """--help works for whoever calls a script in the way its place asks for, and leaves nothing behind."""
    folder = script.parent if script.parent.parent.name == "egs" else REPO
    result = subprocess.run(
        ["bash", os.path.relpath(script, folder), "--help"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.lower().startswith("usage: ")


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_unknown_option_is_exit_2(script: Path) -> None:
    if "parse_options.sh" not in script.read_text():
        pytest.skip("takes no options")
    folder = script.parent if script.parent.parent.name == "egs" else REPO
    command = ["bash", os.path.relpath(script, folder), "--no-such-option", "1"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert "error: unknown option '--no-such-option'" in result.stderr


# ---------------------------------------------------------------------------------------------------
# Files


@pytest.mark.parametrize("link", [path for path in FILES if path.is_symlink()], ids=name)
def test_links_resolve_inside_the_repository(link: Path) -> None:
    assert not os.readlink(link).startswith("/")
    assert link.resolve().is_relative_to(REPO)
    assert link.exists()


def test_no_path_of_a_machine() -> None:
    places = [str(REPO), str(Path.home()), sys.prefix]
    places = [place for place in places if len(Path(place).parts) > 2 and not place.startswith("/usr")]
    pattern = re.compile(
        r"(?<![\w./:-])(" + "|".join([*map(re.escape, places), r"/home/\w+", r"/Users/\w+", r"/root"]) + ")/"
    )
    found = []
    for path in REGULAR:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # audio, archives
        found += [f"{name(path)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_stay_readable() -> None:
    lengths = {name(path): lines_of(path) for path in [*MODULES, *SCRIPTS]}
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring."""
    lines = (node.end_lineno or 0) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return lines


def test_functions_stay_readable() -> None:
    """At most 50 lines each; that none takes more than 10 paths is ruff's C90."""
    lengths = {
        f"{name(path)}:{node.lineno} {node.name}": body_lines(node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {function: lines for function, lines in lengths.items() if lines > 50} == {}


def test_the_recipe_stays_a_list() -> None:
    assert lines_of(REPO / "egs" / "iemocap" / "run.sh") <= 160
    scripts = [path for path in SHELL if path.relative_to(REPO).parts[0] in ("egs", "steps", "local")]
    assert sum(map(lines_of, scripts)) <= SHELL_LINES


def test_a_step_that_only_starts_a_verb_repeats_no_option() -> None:
    """Such a step hands its arguments on; one that has options of its own submits jobs."""
    for script in SCRIPTS:
        text = script.read_text()
        if name(script).startswith(("steps/", "local/")) and "parse_options.sh" not in text:
            start = rf'set -euo pipefail\n+\. \./path\.sh\nexec python3 -m ser {script.stem} "\$@"\n'
            assert re.search(rf"\n{start}\Z", text), name(script)
            assert (REPO / "ser" / "verbs" / f"{script.stem}.py").exists()


def test_systems_are_named_in_one_place() -> None:
    """A system is one file of ser/systems; elsewhere only the defaults of an experiment name one."""
    places = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in MODULES
        if layer(path) not in ("systems", "experiment")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search("csa|blstmatt", line, re.IGNORECASE)
    ]
    assert places == []


def test_a_protocol_is_the_same_in_all_recipes() -> None:
    """Which speakers are tested on, and how many tune, is the corpus's; how it is done must be one thing."""
    meanings: dict[str, set[tuple[object, ...]]] = {}
    for path in sorted(REPO.glob("egs/*/conf/corpus*.yaml")):
        for protocol, its in load_corpus(path).protocols.items():
            tested = its.test if its.test == "each" else type(its.test).__name__
            meaning = (its.group, tested, its.dev and its.dev.refit, str(its.keep))
            meanings.setdefault(protocol, set()).add(meaning)
    assert {"paper", "paper_dev", "paper_early", "session", "loso", "actors"} <= set(meanings)
    assert {protocol: its for protocol, its in meanings.items() if len(its) > 1} == {}


# ---------------------------------------------------------------------------------------------------
# The package


def imports(path: Path) -> set[str]:
    """The modules a file imports, wherever in it: ``torch``, ``ser.data``, ``ser.data.tables``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: relative import"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def layer(path: Path) -> str:
    return path.relative_to(REPO / "ser").parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_imports_go_down_only(module: Path) -> None:
    own = layer(module)
    allowed = LAYERS.get(own, VERB_LAYER) | {own}
    used = {
        parts[1]
        for parts in (target.split(".") for target in imports(module))
        if parts[0] == "ser" and parts[1:]
    }
    modules = {layer(path) for path in MODULES}
    assert used & modules - allowed == set()


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_outside_libraries_have_one_home(module: Path) -> None:
    where = module.relative_to(REPO / "ser").as_posix()
    tops = {target.partition(".")[0] for target in imports(module)}
    strangers = {top for top in tops & set(HOMES) if not re.fullmatch(HOMES[top], where)}
    assert strangers == set()


@pytest.mark.parametrize("verb", LIGHT)
def test_light_verbs_start_without_torch_and_lhotse(verb: str) -> None:
    code = (
        f"import sys, ser.verbs.{verb} as v; v.get_parser(); print({{'torch', 'lhotse'}} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert (result.stderr, result.stdout) == ("", "set()\n")
