"""The verbs and scripts: command lines, what they print, how they fail, what they load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ser.data import tables
from ser.verbs import compare, fuse, pool_folds, score, tabulate

from .conftest import Maker

ROOT = Path(__file__).resolve().parents[2]
LABELS = {"s1-a": "ang", "s1-b": "hap", "s2-a": "neu", "s2-b": "sad"}
POST = {
    "s1-a": (0.7, 0.1, 0.1, 0.1),
    "s1-b": (0.1, 0.2, 0.6, 0.1),
    "s2-a": (0.1, 0.1, 0.7, 0.1),
    "s2-b": (0.1, 0.2, 0.3, 0.4),
}


def run_python(*args: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def run_script(*args: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SER_PYTHON": sys.executable}
    command = ["bash", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


def test_from_folds_to_the_table(
    tmp_path: Path, make_data: Maker, make_output: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data("data", LABELS)
    for fold in ("s1", "s2"):
        for system in ("a", "b"):
            rows = {utt: row for utt, row in POST.items() if utt.startswith(fold)}
            make_output(f"exp/{fold}/{system}/seed1/decode_test", rows)
        folds = [tmp_path / "exp" / fold / system / "seed1" / "decode_test" for system in ("a", "b")]
        fused = tmp_path / "exp" / fold / "f" / "seed1" / "decode_test"
        assert fuse.main(["--weights", "0.4", *map(str, [fused, *folds])]) == 0
    assert "power fusion, weights 1 0.4 as given" in capsys.readouterr().out
    pairs = []
    for system in ("a", "b", "f"):
        end = Path(system) / "seed1" / "decode_test"
        out = tmp_path / "exp" / "pooled" / end
        assert (
            pool_folds.main([str(out), *(str(tmp_path / "exp" / fold / end) for fold in ("s1", "s2"))]) == 0
        )
        pairs += [str(data), str(out)]
    assert capsys.readouterr().out.count("  2 folds: 4 scored, 0 not scored\n") == 3
    assert score.main(["--bootstrap", "50", *pairs]) == 0
    assert capsys.readouterr().out.count("  4 of 4 utterances scored, 2 speakers\n") == 3
    assert (
        tabulate.main(["--out", str(tmp_path / "r.tsv"), "--title", "All", str(tmp_path / "exp" / "pooled")])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[3:6] == [
        f"{system:<14}     1           4/4 75.0       75.0       87.5       83.3" for system in "abf"
    ]
    assert len((tmp_path / "r.tsv").read_text().splitlines()) == 7
    assert (
        compare.main(["--bootstrap", "50", "--out", str(tmp_path / "c"), str(data), pairs[1], pairs[5]]) == 0
    )
    assert tables.read_table(tmp_path / "c")["acc_diff"] == "0.000000"
    assert f"B  {pairs[5]}\n4 of 4 utterances scored by both, 2 speakers\n" in capsys.readouterr().out


def test_tuned_fusion(
    tmp_path: Path, make_data: Maker, make_output: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    data, test = make_data("data", LABELS), make_output("test", POST)
    renamed = {f"d{utt}": row for utt, row in POST.items()}
    dev_data = make_data("dev", {f"d{utt}": label for utt, label in LABELS.items()})
    dev = str(make_output("devpost", renamed))
    options = ["--data", str(data), "--dev-data", str(dev_data), "--dev-decode", dev, "--dev-decode", dev]
    assert fuse.main([*options, "--criterion", "uar", str(tmp_path / "f"), str(test), str(test)]) == 0
    # a system beside itself: every weight is as good, the middle of the grid is 0.6
    assert f"weights 1 0.6 tuned on {dev_data} (uar)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "args", "message"),
    [
        ("score", ["{data}"], "score: give pairs of <data-dir> <decode-dir>, or --plan"),
        ("score", [], "score: give pairs of <data-dir> <decode-dir>, or --plan"),
        (
            "score",
            ["--plan", "exp", "{data}", "{x}"],
            "score: --plan says what is scored; leave out the folders and --key2utt",
        ),
        (
            "score",
            ["--key2utt", "x", "{data}", "{x}", "{data}", "{x}"],
            "score: --key2utt goes with one pair of <data-dir> <decode-dir>",
        ),
        (
            "fuse",
            ["--dev-data", "{data}", "out", "{x}", "{x}"],
            "fuse: tuning needs --data, --dev-data and --dev-decode for each system",
        ),
        (
            "fuse",
            ["out", "{x}", "{x}", "{x}"],
            "3 systems need 2 weights, got 1; give one for each system after the first",
        ),
        ("fuse", ["out", "{x}"], "fuse: give <out-dir> and two <decode-dir> or more, or --plan"),
        (
            "fuse",
            ["--plan", "exp", "--weights", "0.4"],
            "fuse: --plan says what is fused; leave out folders, --weights, --criterion and tuning data",
        ),
        ("tabulate", [], "tabulate: give <folder> such as exp/pooled, or --plan"),
        ("tabulate", ["--plan", "exp", "{x}"], "tabulate: give <folder> such as exp/pooled, or --plan"),
    ],
)
def test_wrong_usage(verb: str, args: list[str], message: str, make_data: Maker, make_output: Maker) -> None:
    places = {"data": make_data("data", LABELS), "x": make_output("x", POST)}
    done = run_python("-m", "ser", verb, *(arg.format(**places) for arg in args))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"ser: error: {message} (try --help)\n")


def test_a_mistake_in_the_input_is_one_line(make_data: Maker, make_output: Maker) -> None:
    data = make_data("data", LABELS)
    output = make_output("x", {utt: row for utt, row in POST.items() if utt != "s1-a"})
    done = run_python("-m", "ser", "score", data, output)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"ser: error: {output}/post: 1 of the 4 keys of {data}/utt2emo are missing (s1-a) and not in "
        "not_scored; decode again, or score with --allow-missing true\n"
    )


def test_the_verbs_load_neither_torch_nor_lhotse() -> None:
    code = (
        "import sys; from ser.verbs import compare, fuse, pool_folds, score, tabulate; "
        "print({'torch', 'lhotse', 'scipy'} & set(sys.modules))"
    )
    assert run_python("-c", code).stdout == "set()\n"


def test_scripts(tmp_path: Path, make_data: Maker, make_output: Maker) -> None:
    data, one = make_data("data", LABELS), make_output("p/a/seed1/decode_test", POST)
    two = make_output("B", POST)
    out = tmp_path / "p" / "f" / "seed1" / "decode_test"
    for command in (
        ["steps/fuse.sh", out, one, two],
        ["steps/fuse.sh", "--mode", "product", tmp_path / "g", one, two, one],
        ["steps/score.sh", "--bootstrap", "10", data, one, data, out],
        ["steps/compare.sh", "--out", tmp_path / "c.txt", data, one, out],
        ["steps/tabulate.sh", "--out", tmp_path / "r.tsv", "--title", "a b", tmp_path / "p"],
        ["steps/pool_folds.sh", tmp_path / "q", two],
    ):
        done = run_script(*command)
        assert (done.returncode, done.stderr) == (0, "")
    assert tables.read_table(out / "fusion.txt")["weights"] == "1 0.4"
    assert tables.read_table(tmp_path / "g" / "fusion.txt")["weights"] == "1 1 1"
    assert (tmp_path / "q" / "post").read_bytes() == (two / "post").read_bytes()
    assert tables.read_table(tmp_path / "c.txt")["n_compared"] == "4"


def test_fuse_script_tunes(tmp_path: Path, make_data: Maker, make_output: Maker) -> None:
    data, test = make_data("data", LABELS), make_output("test", POST)
    dev_data = make_data("dev", {f"d{utt}": label for utt, label in LABELS.items()})
    dev = make_output("devpost", {f"d{utt}": row for utt, row in POST.items()})
    options = ["--data", data, "--dev-data", dev_data, "--dev-decode", dev, "--dev-decode", dev]
    done = run_script("steps/fuse.sh", *options, tmp_path / "f", test, test)
    assert (done.returncode, done.stderr) == (0, "")
    assert tables.read_table(tmp_path / "f" / "fusion.txt")["criterion"] == "logistic"


@pytest.mark.parametrize("verb", ["score", "fuse", "compare", "pool_folds", "tabulate"])
def test_scripts_without_arguments_are_wrong_usage(verb: str) -> None:
    done = run_script(f"steps/{verb}.sh")
    assert done.returncode == 2
    assert "error: " in done.stderr.splitlines()[-1]
    shown = run_script(f"steps/{verb}.sh", "--help")
    assert (shown.returncode, shown.stdout.startswith(f"usage: ser {verb} ")) == (0, True)
