"""The table of results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ser.data import tables
from ser.errors import DataError
from ser.scoring.table import LEGEND, read_rows, table_text, write_tsv

RESULT = {
    "acc": "0.600000",
    "uar": "0.580000",
    "ua_eq6": "0.800000",
    "wa_eq6": "0.720000",
    "level": "utt",
    "n_scored": "1241",
    "n_total": "1241",
}


def put(folder: Path, system: str, seed: int, **values: str) -> None:
    tables.write_table(
        folder / system / f"seed{seed}" / "decode_test" / "score" / "result.txt", RESULT | values
    )


@pytest.fixture
def pooled(tmp_path: Path) -> Path:
    folder = tmp_path / "pooled"
    for seed, acc in ((1, "0.600000"), (2, "0.620000"), (10, "0.640000")):
        put(folder, "blstmatt", seed, acc=acc)
    put(folder, "csa_100", 1, n_scored="1231", note_normalisation="speaker")
    put(folder, "csa_30", 1, wa_eq6="-")
    return folder


def test_table(pooled: Path) -> None:
    text = table_text(read_rows([pooled], "decode_test"), "EMO-DB, all folds")
    assert text == (
        "EMO-DB, all folds\n"
        "\n"
        "system         seeds  scored/total        acc        uar     ua_eq6     wa_eq6\n"
        "blstmatt           3     1241/1241 62.0 ± 2.0 58.0 ± 0.0 80.0 ± 0.0 72.0 ± 0.0\n"
        "csa_30             1     1241/1241 60.0       58.0       80.0                -\n"
        "csa_100            1     1231/1241 60.0       58.0       80.0       72.0\n"
        "\n"
        f"{LEGEND}"
        "n differs between rows: they are not about the same utterances\n"
        "csa_100: normalisation speaker"
    )


def test_table_fits_the_screen(pooled: Path) -> None:
    put(pooled, "blstmatt_balanced_specaugment_csa_30", 1, acc="1.000000")
    put(pooled, "blstmatt_balanced_specaugment_csa_30", 2, acc="0.000000")
    text = table_text(read_rows([pooled], "decode_test"), "")
    assert max(map(len, text.splitlines())) <= 78
    assert "\nblstmatt_balanced_specaugment_csa_30\n   " in text


def test_several_folders_name_the_systems_with_their_folder(tmp_path: Path, pooled: Path) -> None:
    put(tmp_path / "fold1", "blstmatt", 1)
    rows = read_rows([pooled, tmp_path / "fold1"], "decode_test")
    names = [f"{pooled}/blstmatt", f"{pooled}/csa_30", f"{pooled}/csa_100", f"{tmp_path}/fold1/blstmatt"]
    assert [row.system for row in rows] == names


def test_chunk_rows_are_named(tmp_path: Path) -> None:
    put(tmp_path, "csa_30", 1, level="chunk")
    text = table_text(read_rows([tmp_path], "decode_test"), "")
    assert text.endswith("rows whose level is chunk count chunks, not utterances: csa_30")


def test_tsv(tmp_path: Path, pooled: Path) -> None:
    write_tsv(tmp_path / "x.tsv", read_rows([pooled], "decode_test"))
    lines = [line.split("\t") for line in (tmp_path / "x.tsv").read_text().splitlines()]
    head = ["system", "seed", "track", "acc", "level", "n_scored", "n_total", "note_normalisation"]
    assert lines[0] == [*head, "ua_eq6", "uar", "wa_eq6"]
    assert [line[:5] for line in lines[1:]] == [
        ["blstmatt", "1", "-", "0.600000", "utt"],
        ["blstmatt", "2", "-", "0.620000", "utt"],
        ["blstmatt", "10", "-", "0.640000", "utt"],
        ["blstmatt", "mean", "-", "0.620000", "-"],
        ["blstmatt", "sd", "-", "0.020000", "-"],
        ["csa_30", "1", "-", "0.600000", "utt"],
        ["csa_30", "mean", "-", "0.600000", "-"],
        ["csa_100", "1", "-", "0.600000", "utt"],
        ["csa_100", "mean", "-", "0.600000", "-"],
    ]
    assert [line[7] for line in lines[1:]] == ["-"] * 7 + ["speaker", "-"]
    assert {len(line) for line in lines} == {11}


def test_a_seed_without_score(pooled: Path) -> None:
    (pooled / "csa_30" / "seed2" / "decode_test").mkdir(parents=True)
    path = pooled / "csa_30" / "seed2" / "decode_test" / "score" / "result.txt"
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: no such file; run steps/score.sh')}$"):
        read_rows([pooled], "decode_test")


def test_a_folder_without_systems(tmp_path: Path) -> None:
    message = f"{tmp_path}: has no <system>/seed<k>; train, decode and score first"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read_rows([tmp_path], "decode_test")
