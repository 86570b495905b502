"""IEMOCAP, checks: the expected numbers agree with each other, and what differs from them is told."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from ser import corpora
from ser.corpora.iemocap import Check, check_iemocap, expected
from ser.corpora.iemocap.checks import count_frames, digest
from ser.corpora.iemocap.recipe import FOUR_CLASSES, LABELS
from ser.data.corpus import load_corpus
from ser.data.manifests import Utterance, read_manifests
from tests.corpora.iemocap_full import TABLE
from tests.corpora.iemocap_release import tiny_release, write_release

FULL = {"total": {"utterances": 10039}}
CONF = Path(__file__).parents[2] / "egs" / "iemocap" / "conf" / "corpus.yaml"


@pytest.fixture
def tiny(tmp_path: Path) -> list[Utterance]:
    corpora.prepare("iemocap", write_release(tmp_path / "release", tiny_release()), tmp_path / "manifests")
    return read_manifests(tmp_path / "manifests")


def test_the_expected_numbers_agree_with_each_other() -> None:
    labels = [sum(column) for column in zip(*expected.LABELS.values(), strict=True)]
    assert dict(zip(expected.LABEL_ORDER, labels, strict=True)) == {
        "neu": 1708, "hap": 595, "exc": 1041, "ang": 1103, "sad": 1084, "fru": 1849, "sur": 107, "fea": 40,
        "dis": 2, "oth": 3, "xxx": 2507,
    }  # fmt: skip
    assert sum(labels) == sum(expected.SPEAKERS.values()) == sum(expected.STYLES.values()) == 10039
    assert sum(expected.DIALOGS.values()) == 151
    assert sum(expected.INTERVAL_S.values()) == pytest.approx(expected.ALL_INTERVAL_S)
    by_session = {
        session: [
            sum(row[i] for name, row in expected.CLASSES_OF_SPEAKER.items() if name[4] == session)
            for i in range(4)
        ]
        for session in expected.DIALOGS
    }
    for session, row in expected.LABELS.items():
        of = dict(zip(expected.LABEL_ORDER, row, strict=True))
        assert by_session[session] == [of["ang"], of["hap"] + of["exc"], of["neu"], of["sad"]]
    sizes = [sum(row) for row in by_session.values()]
    assert (sum(sizes[:4]), sizes[4], sum(sizes)) == (4290, 1241, 5531)
    styles = expected.STYLE_CLASSES.values()
    assert [sum(column) for column in zip(*styles, strict=True)] == [1103, 1636, 1708, 1084]
    seconds = expected.SECONDS_OF_SPEAKER
    assert sum(seconds.values()) == pytest.approx(expected.SECONDS["all"])
    assert sum(s for name, s in seconds.items() if name[4] == "5") == pytest.approx(expected.SECONDS["test"])
    assert pytest.approx(expected.SECONDS["all"], abs=0.05) == expected.SAMPLES / 16000
    assert set(expected.LABEL_ORDER) == set(LABELS)


def test_the_table_of_dialogs_agrees_with_the_expected_numbers() -> None:
    with open(TABLE, encoding="ascii", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    for session, row in expected.LABELS.items():
        own = [item for item in rows if item["dialog"][4] == session]
        assert len(own) == expected.DIALOGS[session]
        assert tuple(sum(int(item[label]) for item in own) for label in expected.LABEL_ORDER) == row
        assert sum(int(item["F"]) for item in own) == expected.SPEAKERS[f"Ses0{session}_F"]


def test_the_classes_of_the_recipe_are_those_of_the_checks() -> None:
    config = load_corpus(CONF)
    assert config.labels == FOUR_CLASSES
    assert config.classes == expected.CLASS_ORDER
    assert config.checks is not None
    assert config.checks["total"]["utterances"] == 10039


def test_digest_is_that_of_sort_and_sha256sum(tmp_path: Path) -> None:
    lines = ["Ses05M_script01_1b_F000 neu", "Ses05M_script01_1_M000 ang", "Ses01F_impro01_F000 sad"]
    path = tmp_path / "labels"
    path.write_text("".join(f"{line}\n" for line in lines))
    command = 'LC_ALL=C sort "$1" | sha256sum'
    done = subprocess.run(["bash", "-c", command, "-", path], capture_output=True, text=True, check=True)
    assert digest(lines) == done.stdout.split()[0]


@pytest.mark.parametrize(
    ("num_samples", "frames"), [(0, 0), (399, 0), (400, 1), (9359, 56), (40908, 254), (546224, 3412)]
)
def test_frames(num_samples: int, frames: int) -> None:
    assert count_frames(num_samples) == frames


def test_lines() -> None:
    assert str(Check("turns", "10039", "10039")) == "ok: turns: 10039"
    assert str(Check("turns", "10039", "80")) == "differs: turns: 80, expected 10039"


@pytest.mark.parametrize("checks", [None, {}, {"total": {"utterances": 660}}, {"class": {"ang": 170}}])
def test_no_checks_unless_the_full_release_is_expected(
    tiny: list[Utterance], checks: dict[str, dict[str, int]] | None
) -> None:
    assert check_iemocap(tiny, checks) == []


def test_a_part_of_the_release_differs(tiny: list[Utterance]) -> None:
    checks = {check.name: check for check in check_iemocap(tiny, FULL)}
    assert not any(check.ok for name, check in checks.items() if "fewer than" not in name)
    assert str(checks["turns by speaker"]) == (
        "differs: turns by speaker: Ses01_F 8 Ses01_M 8 Ses02_F 8 Ses02_M 8 Ses03_F 8 Ses03_M 8 Ses04_F 8 "
        "Ses04_M 8 Ses05_F 8 Ses05_M 8, expected Ses01_F 873 Ses01_M 946 Ses02_F 859 Ses02_M 952 "
        "Ses03_F 1048 Ses03_M 1088 Ses04_F 987 Ses04_M 1116 Ses05_F 1033 Ses05_M 1137"
    )
    assert checks["four classes, test"].got == "ang 2 hap 4 neu 4 sad 2, 12 in all"
    assert checks["turns without alignment"].got == "none"
