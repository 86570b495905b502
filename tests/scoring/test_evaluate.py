"""Scoring a folder, comparing two."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ser.data import tables
from ser.errors import DataError
from ser.scoring.evaluate import (
    compare_folders,
    comparison_text,
    confusion_text,
    match,
    read_references,
    score_folder,
    summary,
)
from ser.scoring.posteriors import read_posteriors
from tests.lost import check_made_again

from .conftest import EMOTIONS, Maker

LABELS = {"s1-a": "ang", "s1-b": "hap", "s2-a": "neu", "s2-b": "sad", "s2-c": "ang"}
POST = {
    "s1-a": (0.7, 0.1, 0.1, 0.1),
    "s1-b": (0.1, 0.2, 0.6, 0.1),  # hap taken for neu
    "s2-a": (0.1, 0.1, 0.7, 0.1),
    "s2-b": (0.9, 0.02, 0.03, 0.05),  # sad taken for ang, surer
    "s2-c": (0.25, 0.25, 0.25, 0.25),  # a tie: the lowest index
}


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def scored(
    data: Path, decode: Path, *, key2utt: Path | None = None, allow_missing: bool = False
) -> dict[str, str]:
    return score_folder(data, decode, key2utt=key2utt, allow_missing=allow_missing, num_draws=200, seed=0)


def test_result(make_data: Maker, make_output: Maker) -> None:
    decode = make_output("x", POST, notes={"normalisation": "speaker"})
    result = scored(make_data("data", LABELS), decode)
    # per speaker: 1 of 2 and 2 of 3 are right; a draw of two speakers has 2 of 4, 3 of 5 or 4 of 6
    expected = {
        "acc": "0.600000",
        "acc_boot_high": "0.666667",
        "acc_boot_low": "0.500000",
        "acc_ci_high": "0.947255",
        "acc_ci_low": "0.146633",
        "level": "utt",
        "macro_f1": "0.366667",
        "n_classes": "4",
        "n_classes_scored": "4",
        "n_scored": "5",
        "n_speakers": "2",
        "n_total": "5",
        "note_normalisation": "speaker",
        "precision_ang": "0.666667",
        "precision_hap": "-",
        "precision_neu": "0.500000",
        "precision_sad": "-",
        "recall_ang": "1.000000",
        "recall_hap": "0.000000",
        "recall_neu": "1.000000",
        "recall_sad": "0.000000",
        "ua_eq6": "0.800000",
        "uar": "0.500000",
        "uar_boot_high": "0.666667",
        "uar_boot_low": "0.500000",
        "wa_eq6": "0.677083",
        "wa_eq6_micro": "0.733333",
    }
    assert result == expected | {"macro_f1": result["macro_f1"]}
    assert float(result["macro_f1"]) == pytest.approx((4 / 5 + 2 / 3) / 4, abs=1e-6)
    assert tables.read_table(decode / "score" / "result.txt") == result


def test_confusion_and_errors(make_data: Maker, make_output: Maker) -> None:
    decode = make_output("x", POST)
    scored(make_data("data", LABELS), decode)
    assert (decode / "score" / "confusion.txt").read_text() == (
        "rows: references, columns: hypotheses\n"
        "\n"
        "           ang    hap    neu    sad  total\n"
        "ang          2      0      0      0      2\n"
        "hap          0      0      1      0      1\n"
        "neu          0      0      1      0      1\n"
        "sad          1      0      0      0      1\n"
        "total        3      0      2      0      5\n"
        "\n"
        "per cent of the row\n"
        "\n"
        "           ang    hap    neu    sad\n"
        "ang      100.0    0.0    0.0    0.0\n"
        "hap        0.0    0.0  100.0    0.0\n"
        "neu        0.0    0.0  100.0    0.0\n"
        "sad      100.0    0.0    0.0    0.0\n"
    )
    assert (decode / "score" / "errors.txt").read_text() == (
        "s2-b sad ang 0.9000 0.0500\ns1-b hap neu 0.6000 0.2000\n"
    )


def test_confusion_of_a_class_without_references() -> None:
    assert confusion_text(np.array([[2, 1], [0, 0]]), ("calm", "disgusted")).splitlines()[-2:] == [
        "calm            66.7      33.3",
        "disgusted          -         -",
    ]


def test_summary(make_data: Maker, make_output: Maker) -> None:
    decode = make_output("x", POST, notes={"normalisation": "speaker"})
    text = summary(Path("exp/x"), scored(make_data("data", LABELS), decode))
    assert text == (
        "exp/x\n"
        "  5 of 5 utterances scored, 2 speakers\n"
        "  acc     60.0  95 %: [14.7, 94.7] binomial, [50.0, 66.7] over speakers\n"
        "  uar     50.0  95 %: [50.0, 66.7] over speakers\n"
        "  ua_eq6  80.0  wa_eq6  67.7  macro_f1  36.7\n"
        "  normalisation: speaker"
    )


def test_one_speaker_and_a_class_without_references(make_data: Maker, make_output: Maker) -> None:
    data = make_data("data", {"s1-a": "ang", "s1-b": "hap"})
    result = scored(data, make_output("x", {utt: POST[utt] for utt in ("s1-a", "s1-b")}))
    assert [result[key] for key in ("acc_boot_low", "acc_boot_high", "recall_sad")] == ["-", "-", "-"]
    assert summary(Path("x"), result) == (
        "x\n"
        "  2 of 2 utterances scored, 1 speakers\n"
        "  acc     50.0  95 %: [1.3, 98.7] binomial, - over speakers\n"
        "  uar     50.0  95 %: - over speakers\n"
        "  ua_eq6  75.0  wa_eq6  75.0  macro_f1  50.0\n"
        "  only 2 of 4 classes have references; uar is the mean over these"
    )


def test_utterances_that_were_not_scored(make_data: Maker, make_output: Maker) -> None:
    rows = {utt: row for utt, row in POST.items() if utt != "s1-b"}
    decode = make_output("x", rows, not_scored={"s1-b": "too short"})
    result = scored(make_data("data", LABELS), decode)
    assert (result["n_scored"], result["n_total"], result["acc"]) == ("4", "5", "0.750000")


def test_missing_utterances(make_data: Maker, make_output: Maker) -> None:
    data, decode = make_data("data", LABELS), make_output("x", {"s1-a": POST["s1-a"]})
    message = (
        f"{decode}/post: 4 of the 5 keys of {data}/utt2emo are missing (s1-b, s2-a, s2-b, ...) and not in "
        "not_scored; decode again, or score with --allow-missing true"
    )
    with pytest.raises(DataError, match=exactly(message)):
        scored(data, decode)
    result = scored(data, decode, allow_missing=True)
    assert (result["n_scored"], result["n_total"]) == ("1", "5")


def test_posteriors_by_raw_ids(make_data: Maker, make_output: Maker) -> None:
    data = make_data("data", LABELS)
    (data / "utt2raw").write_text("".join(f"{utt} turn_{utt}\n" for utt in sorted(LABELS)))
    decode = make_output("x", {f"turn_{utt}": row for utt, row in POST.items()})
    message = (
        f"{decode}: {len(POST)} keys are not in {data}/utt2emo (turn_s1-a, turn_s1-b, turn_s2-a, ...); they "
        f"are raw ids; write the names that {data}/utt2raw has for them, and sort again"
    )
    with pytest.raises(DataError, match=exactly(message)):
        scored(data, decode)


@pytest.mark.parametrize("where", ["post", "not_scored"])
def test_utterances_of_other_data(where: str, make_data: Maker, make_output: Maker) -> None:
    data = make_data("data", {utt: label for utt, label in LABELS.items() if utt != "s2-c"})
    rows = {utt: row for utt, row in POST.items() if where == "post" or utt != "s2-c"}
    decode = make_output("x", rows, **({} if where == "post" else {"not_scored": {"s2-c": "short"}}))
    message = (
        f"{decode}: 1 keys are not in {data}/utt2emo (s2-c); score with the data folder that was decoded"
    )
    with pytest.raises(DataError, match=exactly(message)):
        scored(data, decode, allow_missing=True)


def test_another_order_of_classes(make_data: Maker, make_output: Maker) -> None:
    data = make_data("data", LABELS)
    decode = make_output("x", POST, emotions=("hap", "ang", "neu", "sad"))
    message = (
        f"{decode}/emotions.txt: its classes are hap ang neu sad, those of {data}/emotions.txt are "
        "ang hap neu sad; make both with the same classes in the settings of the corpus"
    )
    with pytest.raises(DataError, match=exactly(message)):
        scored(data, decode)


def test_data_folder_without_a_speaker(make_data: Maker) -> None:
    data = make_data("data", LABELS)
    (data / "utt2spk").write_text("s1-a s1\n")
    with pytest.raises(DataError, match=re.escape("4 only in") + ".*" + re.escape("(s1-b, s2-a, s2-b, ...)")):
        read_references(data)


def test_score_is_made_again_only_when_something_changed(make_data: Maker, make_output: Maker) -> None:
    data, decode = make_data("data", LABELS), make_output("x", POST)
    result = decode / "score" / "result.txt"

    def written() -> int:
        return result.stat().st_mtime_ns

    scored(data, decode)
    first = written()
    scored(data, decode)
    assert written() == first
    scored(data, decode, allow_missing=True)
    second = written()
    assert second != first
    (data / "utt2emo").write_text("".join(f"{utt} ang\n" for utt in sorted(LABELS)))
    assert scored(data, decode, allow_missing=True)["recall_ang"] == "0.600000"
    (decode / "score" / "errors.txt").unlink()
    scored(data, decode, allow_missing=True)
    assert (decode / "score" / "errors.txt").exists()


CHUNKS = {"s1-a-0": "s1-a", "s1-a-1": "s1-a", "s2-b-0": "s2-b"}
CHUNK_POST = {"s1-a-0": POST["s1-a"], "s1-a-1": POST["s1-b"], "s2-b-0": POST["s2-b"]}


def test_lost_scores_are_made_again(
    make_data: Maker, make_output: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    data, decode = make_data("data", LABELS), make_output("x", POST)
    scored(data, decode)
    names = {"result.txt", "confusion.txt", "errors.txt"}
    check_made_again(decode / "score", names, lambda: scored(data, decode), caplog)


def test_chunks_are_scored_with_the_label_of_their_utterance(make_data: Maker, make_output: Maker) -> None:
    data = make_data("data", LABELS)
    decode = make_output("x/chunks", CHUNK_POST, chunk2utt=CHUNKS)
    result = scored(data, decode)
    assert {
        key: result[key] for key in ("level", "n_scored", "n_total", "n_speakers", "acc", "acc_ci_low")
    } == {
        "level": "chunk",
        "n_scored": "3",
        "n_total": "3",
        "n_speakers": "2",
        "acc": "0.333333",
        "acc_ci_low": "-",
    }
    assert "3 of 3 chunks scored" in summary(decode, result)


def test_key2utt_stands_in_for_chunk2utt(tmp_path: Path, make_data: Maker, make_output: Maker) -> None:
    tables.write_table(tmp_path / "map", CHUNKS)
    data, decode = make_data("data", LABELS), make_output("x", CHUNK_POST)
    assert scored(data, decode, key2utt=tmp_path / "map")["n_scored"] == "3"
    tables.write_table(tmp_path / "map", CHUNKS | {"s3-a-0": "s3-a"})
    with pytest.raises(DataError, match=re.escape(f"1 keys are not in {data}/utt2emo by way of")):
        scored(data, decode, key2utt=tmp_path / "map")
    with pytest.raises(DataError, match=exactly(f"{tmp_path}/nomap: no such file; make it, or name another")):
        scored(data, decode, key2utt=tmp_path / "nomap")


def test_match_joins_by_key(make_data: Maker, make_output: Maker) -> None:
    references = read_references(make_data("data", LABELS))
    joined = match(read_posteriors(make_output("x", POST)), references)
    assert joined.keys == sorted(LABELS)
    assert [EMOTIONS[label] for label in joined.references] == [LABELS[utt] for utt in joined.keys]
    assert [tuple(row) for row in joined.posteriors] == [POST[utt] for utt in joined.keys]
    assert joined.speakers == ["s1", "s1", "s2", "s2", "s2"]


def test_compare(make_data: Maker, make_output: Maker) -> None:
    data, first = make_data("data", LABELS), make_output("A", POST)
    better = {utt: np.eye(4)[EMOTIONS.index(label)] for utt, label in LABELS.items()}
    second = make_output("B", better | {"s1-a": (0.0, 1.0, 0.0, 0.0)})
    result = compare_folders(data, first, second, num_draws=999, seed=0)
    # A is right on s1-a s2-a s2-c, B on all but s1-a: s1 1 against 1 of 2, s2 2 against 3 of 3
    expected = {
        "acc_first": "0.600000",
        "acc_second": "0.800000",
        "acc_diff": "0.200000",
        "acc_diff_low": "0.000000",
        "acc_diff_high": "0.333333",
        "mcnemar_p": "1.000000",
        "n_both_right": "2",
        "n_both_wrong": "0",
        "n_compared": "5",
        "n_only_first_right": "1",
        "n_only_second_right": "2",
        "n_speakers": "2",
        "n_total": "5",
        "uar_first": "0.500000",
        "uar_second": "0.875000",
    }
    assert {key: result[key] for key in expected} == expected
    p = f"{float(result['acc_p']):.4f}"
    assert 0.4 < float(p) < 0.6  # twice the quarter of draws with the first speaker only
    lines = comparison_text(Path("A"), Path("B"), result).splitlines()
    assert lines[:5] == [
        "A  A",
        "B  B",
        "5 of 5 utterances scored by both, 2 speakers",
        "            A      B   B - A   95 % over speakers        p",
        f"acc      60.0   80.0   +20.0   [0.0, 33.3]         {p:>7}",
    ]
    assert lines[6:] == [
        "right in A only 1, in B only 2, in both 2, in neither 0",
        "McNemar's exact test, utterances as independent: p 1.0000",
    ]


def test_compare_leaves_out_what_one_did_not_score(make_data: Maker, make_output: Maker) -> None:
    data, first = make_data("data", LABELS), make_output("A", POST)
    second = make_output("B", {u: r for u, r in POST.items() if u != "s1-b"}, not_scored={"s1-b": "short"})
    result = compare_folders(data, first, second, num_draws=10, seed=0)
    assert (result["n_compared"], result["n_total"], result["acc_first"]) == ("4", "5", "0.750000")
    third = make_output(
        "C", {"s1-b": POST["s1-b"]}, not_scored=dict.fromkeys(set(LABELS) - {"s1-b"}, "short")
    )
    message = f"{third}: scores no utterance that {second} scores; compare systems of the same data"
    with pytest.raises(DataError, match=exactly(message)):
        compare_folders(data, second, third, num_draws=10, seed=0)


def test_compare_with_one_speaker(make_data: Maker, make_output: Maker) -> None:
    data = make_data("data", {"s1-a": "ang"})
    one, two = make_output("A", {"s1-a": POST["s1-a"]}), make_output("B", {"s1-a": POST["s1-b"]})
    result = compare_folders(data, one, two, num_draws=10, seed=0)
    assert (result["acc_diff"], result["acc_diff_low"], result["acc_p"]) == ("-1.000000", "-", "-")
    assert comparison_text(Path("A"), Path("B"), result).splitlines()[4] == (
        "acc     100.0    0.0  -100.0   -                         -"
    )
