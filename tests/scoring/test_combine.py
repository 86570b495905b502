"""Fusing folders."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.errors import DataError, UsageError
from ser.scoring.combine import TuningData, TuningSet, fuse_folders, fusion_text
from ser.scoring.fusion import GRID, fuse_posteriors
from ser.scoring.log_linear import fit_weights
from ser.scoring.posteriors import read_posteriors
from tests.lost import check_made_again

from .conftest import EMOTIONS, Maker

A, B = (0.6, 0.2, 0.1, 0.1), (0.1, 0.7, 0.1, 0.1)


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def test_fixed_weight(tmp_path: Path, make_output: Maker) -> None:
    one = make_output("A", {"u1": A, "u2": A}, notes={"norm": "speaker"})
    two = make_output("B", {"u1": B}, not_scored={"u2": "too short"})
    record = fuse_folders(tmp_path / "f", [one, two], mode="power", weights=[0.4])
    fused = read_posteriors(tmp_path / "f")
    expected = fuse_posteriors([np.array([A]), np.array([B])], [1, 0.4], "power")[0]
    assert (fused.posteriors["u1"] == expected).all()
    assert tuple(fused.posteriors["u2"]) == A
    assert fused.notes == {"norm": "speaker"}
    assert record == tables.read_table(tmp_path / "f" / "fusion.txt")
    assert record == {
        "mode": "power",
        "n_fused": "2",
        "n_not_scored": "0",
        "n_partial": "1",
        "system_1": str(one),
        "system_2": str(two),
        "weights": "1 0.4",
    }
    assert fusion_text(Path("exp/f"), record) == (
        "exp/f\n  power fusion, weights 1 0.4 as given\n"
        "  2 utterances, 1 of them not from all systems; 0 not scored"
    )
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "emotions.txt",
        "fusion.txt",
        "hyp",
        "made.json",
        "notes",
        "post",
    ]


def test_fused_again_only_when_something_changed(tmp_path: Path, make_output: Maker) -> None:
    folders = [make_output("A", {"u": A}), make_output("B", {"u": B})]
    post = tmp_path / "f" / "post"
    fuse_folders(tmp_path / "f", folders, mode="power", weights=[0.4])
    first = post.stat().st_mtime_ns
    fuse_folders(tmp_path / "f", folders, mode="power", weights=[0.4])
    assert post.stat().st_mtime_ns == first
    assert fuse_folders(tmp_path / "f", folders, mode="product")["weights"] == "1 1"
    make_output("B", {"u": A})
    fuse_folders(tmp_path / "f", folders, mode="power", weights=[0.0])
    assert tuple(read_posteriors(tmp_path / "f").posteriors["u"]) == A


def test_a_lost_fusion_is_made_again(
    tmp_path: Path, make_output: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [make_output("A", {"u": A}), make_output("B", {"u": B})]
    fuse_folders(tmp_path / "f", folders, mode="product")
    names = {path.name for path in (tmp_path / "f").iterdir()} - {"made.json"}
    assert {"post", "hyp", "emotions.txt", "fusion.txt"} <= names
    check_made_again(
        tmp_path / "f", names, lambda: fuse_folders(tmp_path / "f", folders, mode="product"), caplog
    )


def noisy(labels: dict[str, str], strength: float, seed: int) -> dict[str, Sequence[float]]:
    random = np.random.default_rng(seed)
    posteriors: dict[str, Sequence[float]] = {}
    for utt, label in labels.items():
        row = np.exp(strength * (strength * np.eye(4)[EMOTIONS.index(label)] + random.normal(size=4)))
        posteriors[utt] = tuple(row / row.sum())
    return posteriors


@pytest.fixture
def example(make_data: Maker, make_output: Maker) -> tuple[list[Path], TuningData]:
    """Two systems, decoded on test data and on tuning data."""
    dev = {f"d{i % 5}-{i:03d}": EMOTIONS[i * 7 % 4] for i in range(200)}
    test = {f"t{i % 5}-{i:03d}": EMOTIONS[i * 7 % 4] for i in range(40)}
    folders = [make_output(f"test{seed}", noisy(test, 1.5, seed)) for seed in (0, 1)]
    dev_folders = tuple(make_output(f"dev{seed}", noisy(dev, 1.5, seed + 2)) for seed in (0, 1))
    sets = (TuningSet(make_data("dev", dev), dev_folders),)
    return folders, TuningData(sets, make_data("data", test), "nll")


def test_tuned_weight(tmp_path: Path, example: tuple[list[Path], TuningData]) -> None:
    folders, tuning = example
    record = fuse_folders(tmp_path / "f", folders, mode="power", tuning=tuning)
    weight = float(record["weights"].split()[1])
    assert 0.5 <= weight <= 2.5
    curve = [record[f"dev_curve_2_{step:02d}"].split() for step in range(len(GRID))]
    assert [float(line[1]) for line in curve] == list(GRID)
    best = min(curve, key=lambda line: float(line[5]))
    assert float(best[1]) == weight
    assert {key: record[key] for key in ("criterion", "dev_data", "dev_n_utts", "dev_system_2")} == {
        "criterion": "nll",
        "dev_data": str(tuning.sets[0].data),
        "dev_n_utts": "200",
        "dev_system_2": str(tuning.sets[0].decode[1]),
    }
    given = fuse_folders(tmp_path / "g", folders, mode="power", weights=[weight])
    assert (tmp_path / "f" / "post").read_bytes() == (tmp_path / "g" / "post").read_bytes()
    assert given["weights"] == record["weights"]
    assert f"weights 1 {weight:g} tuned on {tuning.sets[0].data} (nll)" in fusion_text(tmp_path, record)


def test_tuned_on_several_data_folders(tmp_path: Path, make_data: Maker, make_output: Maker) -> None:
    """What speakers of the test data said is left out, and an utterance may come from two models."""
    test = {f"t{i % 2}-{i:02d}": EMOTIONS[i % 4] for i in range(8)}
    dev = {f"d{i % 3}-{i:02d}": EMOTIONS[i * 7 % 4] for i in range(60)}
    mixed = {utt: label for utt, label in dev.items() if utt < "d1"} | {"t0-90": "ang", "t1-91": "sad"}
    rows = {
        (name, seed): noisy(labels, 1.3, number)
        for number, (name, labels, seed) in enumerate(
            (name, labels, seed)
            for name, labels in (("test", test), ("dev", dev), ("mixed", mixed))
            for seed in (0, 1)
        )
    }
    made = {key: make_output(f"{key[0]}{key[1]}", table) for key, table in rows.items()}
    sets = tuple(
        TuningSet(make_data(name, labels), (made[name, 0], made[name, 1]))
        for name, labels in (("dev", dev), ("mixed", mixed))
    )
    folders = [made["test", 0], made["test", 1]]
    refused = TuningData(sets, make_data("data", test), "logistic")
    with pytest.raises(DataError, match="shares 2 speakers with"):
        fuse_folders(tmp_path / "f", folders, mode="power", tuning=refused)
    tuning = TuningData(sets, tmp_path / "data", "logistic", leave_out_shared=True)
    record = fuse_folders(tmp_path / "f", folders, mode="power", tuning=tuning)

    used = [("dev", utt) for utt in sorted(dev)] + [("mixed", utt) for utt in sorted(mixed) if utt < "t"]
    assert record["dev_n_utts"] == str(len(used)) == "80"
    weights = fit_weights(
        [np.array([rows[name, seed][utt] for name, utt in used]) for seed in (0, 1)],
        np.array([EMOTIONS.index(dev[utt]) for _, utt in used]),
    )
    assert record["weights"] == " ".join(f"{weight:g}" for weight in weights)
    posts = [np.array([rows["test", seed]["t0-00"]]) for seed in (0, 1)]
    assert read_posteriors(tmp_path / "f").posteriors["t0-00"] == pytest.approx(
        fuse_posteriors(posts, weights, "power")[0]
    )
    assert {key: record[key] for key in record if key.startswith("dev")} == {
        "dev_data": str(tmp_path / "dev"),
        "dev_n_utts": "80",
        "dev_system_1": str(made["dev", 0]),
        "dev_system_2": str(made["dev", 1]),
        "dev2_data": str(tmp_path / "mixed"),
        "dev2_system_1": str(made["mixed", 0]),
        "dev2_system_2": str(made["mixed", 1]),
    }
    assert f"tuned on {tmp_path / 'dev'} and 1 more (logistic)\n" in fusion_text(tmp_path, record)

    stamp = (tmp_path / "f" / "post").stat().st_mtime_ns
    fuse_folders(tmp_path / "f", folders, mode="power", tuning=tuning)
    assert (tmp_path / "f" / "post").stat().st_mtime_ns == stamp
    make_output("mixed1", rows["mixed", 0])
    assert fuse_folders(tmp_path / "f", folders, mode="power", tuning=tuning)["weights"] != record["weights"]


def test_tuning_data_of_test_speakers_alone(tmp_path: Path, example: tuple[list[Path], TuningData]) -> None:
    folders, tuning = example
    own = TuningData((TuningSet(tuning.data, tuple(folders)),), tuning.data, "logistic", True)
    message = f"{tuning.data}: has no speaker who is not in {tuning.data}; tune the weights on others"
    with pytest.raises(DataError, match=exactly(message)):
        fuse_folders(tmp_path / "f", folders, mode="power", tuning=own)


def test_logistic_weights_are_exponents(tmp_path: Path, example: tuple[list[Path], TuningData]) -> None:
    folders, tuning = example
    asked = dataclasses.replace(tuning, criterion="logistic")
    message = "--criterion logistic finds exponents; take --mode power, or another criterion"
    with pytest.raises(UsageError, match=exactly(message)):
        fuse_folders(tmp_path / "f", folders, mode="linear", tuning=asked)


def test_tuning_does_not_read_the_labels_of_the_test_data(
    tmp_path: Path, example: tuple[list[Path], TuningData]
) -> None:
    folders, tuning = example
    fuse_folders(tmp_path / "f", folders, mode="power", tuning=tuning)
    before = (tmp_path / "f" / "post").read_bytes()
    utts = tables.read_table(tuning.data / "utt2emo")
    tables.write_table(tuning.data / "utt2emo", dict.fromkeys(utts, "ang"))
    fuse_folders(tmp_path / "f", folders, mode="power", tuning=tuning)
    assert (tmp_path / "f" / "post").read_bytes() == before


def test_tuning_on_a_test_speaker(
    tmp_path: Path, example: tuple[list[Path], TuningData], make_data: Maker, make_output: Maker
) -> None:
    folders, tuning = example
    shared = {"t0-900": "ang", "t1-901": "hap"}
    decodes = tuple(make_output(f"s{seed}", noisy(shared, 1.0, seed)) for seed in (0, 1))
    dev = make_data("shared", shared)
    message = (
        f"{dev}: shares 2 speakers with {tuning.data} (t0, t1); tune the weights on other speakers than "
        "those that are scored"
    )
    with pytest.raises(DataError, match=exactly(message)):
        fuse_folders(
            tmp_path / "f",
            folders,
            mode="power",
            tuning=TuningData((TuningSet(dev, decodes),), tuning.data, "nll"),
        )
    message = (
        f"{tuning.data}: shares 40 utterances with {tuning.data} (t0-000, t0-005, t0-010); tune the weights "
        "on other speakers than those that are scored"
    )
    with pytest.raises(DataError, match=exactly(message)):
        fuse_folders(
            tmp_path / "f",
            folders,
            mode="power",
            tuning=TuningData((TuningSet(tuning.data, tuple(folders)),), tuning.data, "nll"),
        )


@pytest.mark.parametrize(
    ("mode", "weights", "message"),
    [
        ("power", [], "2 systems need 1 weights, got 0; give one for each system after the first"),
        ("power", [0.4, 0.2], "2 systems need 1 weights, got 2; give one for each system after the first"),
        ("power", [-0.4], "--weights: a weight is a number of at least 0"),
        ("linear", [float("nan")], "--weights: a weight is a number of at least 0"),
        ("product", [0.4], "--mode product takes no weights; leave them out, or take --mode power"),
        ("mean", [0.4], "--mode mean takes no weights; leave them out, or take --mode power"),
    ],
)
def test_wrong_weights(
    mode: str, weights: list[float], message: str, tmp_path: Path, make_output: Maker
) -> None:
    folders = [make_output("A", {"u": A}), make_output("B", {"u": B})]
    with pytest.raises(UsageError, match=exactly(message)):
        fuse_folders(tmp_path / "f", folders, mode=mode, weights=weights)


def test_wrong_folders(tmp_path: Path, example: tuple[list[Path], TuningData], make_output: Maker) -> None:
    folders, tuning = example
    with pytest.raises(UsageError, match=exactly("give two decode folders or more to fuse")):
        fuse_folders(tmp_path / "f", folders[:1], mode="power", weights=[])
    message = "2 systems need as many --dev-decode, got 1; give the same systems in the same order"
    one = TuningData((TuningSet(tuning.sets[0].data, tuning.sets[0].decode[:1]),), tuning.data, "nll")
    with pytest.raises(UsageError, match=exactly(message)):
        fuse_folders(tmp_path / "f", folders, mode="power", tuning=one)
    message = "weights are given or tuned, not both; leave out --weights or --dev-data"
    with pytest.raises(UsageError, match=exactly(message)):
        fuse_folders(tmp_path / "f", folders, mode="power", weights=[0.4], tuning=tuning)
    chunks = make_output("C", {"u-0": A}, chunk2utt={"u-0": "u"})
    message = f"{chunks}: has posteriors of chunks; fuse the folder with those of utterances"
    with pytest.raises(DataError, match=exactly(message)):
        fuse_folders(tmp_path / "f", [chunks, chunks], mode="power", weights=[0.4])


def test_another_order_of_classes(tmp_path: Path, make_output: Maker) -> None:
    one = make_output("A", {"u": A})
    two = make_output("B", {"u": B}, emotions=("hap", "ang", "neu", "sad"))
    message = (
        f"{two}/emotions.txt: its classes are hap ang neu sad, those of {one}/emotions.txt are "
        "ang hap neu sad; make both with the same classes in the settings of the corpus"
    )
    with pytest.raises(DataError, match=exactly(message)):
        fuse_folders(tmp_path / "f", [one, two], mode="power", weights=[0.4])
