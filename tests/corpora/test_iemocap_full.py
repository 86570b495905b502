"""IEMOCAP, a synthetic release of the real one's size: time, memory, counts, every turn."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser import corpora
from ser.corpora.iemocap import check_iemocap, expected
from ser.corpora.iemocap.checks import count_frames
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.corpus_tables import make_data_dir
from ser.data.folds import plan_folds
from ser.data.levels import Piece, measure_all
from ser.data.manifests import Utterance, read_manifests
from ser.feats.chunking import ChunkingConfig, count_chunks
from tests.corpora.iemocap_full import full_release
from tests.corpora.iemocap_release import FakeRelease, FakeTurn, write_release

pytestmark = pytest.mark.slow

FULL = {"total": {"utterances": 10039}}
FOUR = {"ang": "ang", "hap": "hap", "exc": "hap", "neu": "neu", "sad": "sad"}
MEASURE = """
import re, sys, time
import lhotse
from ser.corpora.iemocap import prepare_iemocap
wall, work = time.perf_counter(), time.process_time()
count = len(prepare_iemocap(sys.argv[1])["supervisions"])
# of this program alone: ru_maxrss begins with that of the process that started it
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
print(count, time.perf_counter() - wall, time.process_time() - work, peak)
"""


@pytest.fixture(scope="module")
def release() -> FakeRelease:
    return full_release()


@pytest.fixture(scope="module")
def root(release: FakeRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("iemocap") / "IEMOCAP_full_release", release)


@pytest.fixture(scope="module")
def utterances(root: Path) -> list[Utterance]:
    manifests = root.parent / "manifests"
    corpora.prepare("iemocap", root, manifests)
    return read_manifests(manifests)


def four_class(release: FakeRelease, *, test: bool | None = None) -> list[FakeTurn]:
    turns = [turn for turn in release.turns() if turn.label in FOUR]
    return [turn for turn in turns if test is None or (turn.name[4] == "5") == test]


def test_one_core_prepares_it_in_a_minute_and_a_gigabyte(root: Path) -> None:
    command = [sys.executable, "-c", MEASURE, root]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    count, wall_s, work_s, peak_mib = map(float, done.stdout.split())
    print(f"{count:.0f} turns in {wall_s:.1f} s ({work_s:.1f} s of one core), peak {peak_mib:.0f} MiB")
    assert count == 10039
    assert work_s < 60
    assert peak_mib < 1000


def test_one_core_measures_all_levels_in_20_seconds(utterances: list[Utterance], tmp_path: Path) -> None:
    pieces = [Piece(item.path) for item in utterances]
    times = [time.process_time()]
    for _ in range(2):
        levels = measure_all(pieces, tmp_path / "levels.tsv")
        times.append(time.process_time())
    first_s, again_s = np.diff(times)
    print(f"{len(levels)} turns in {first_s:.1f} s of one core, again in {again_s:.1f} s")
    assert [level.duration_s for level in levels] == [item.duration_s for item in utterances]
    assert first_s < 20
    assert again_s < 2


def test_the_counts_are_those_of_the_release(utterances: list[Utterance]) -> None:
    differ = [check.name for check in check_iemocap(utterances, FULL) if not check.ok]
    # which turn has which label and length is not public, so that these are not imitated
    assert differ == [f"SHA-256 of the {name}" for name in expected.DIGESTS if name != "turns"]


def test_every_turn_agrees_with_the_release(release: FakeRelease, utterances: list[Utterance]) -> None:
    found = {item.id: item for item in utterances}
    assert sorted(found) == sorted(turn.name for turn in release.turns())
    for turn in release.turns():
        item = found[turn.name]
        assert item.speaker == f"Ses{turn.name[3:5]}_{turn.name[-4]}"
        assert item.attributes["emotion"] == turn.label
        assert item.attributes["session"] == turn.name[4]
        assert item.text == " ".join(turn.text.split("[")[0].split())
        assert item.duration_s == turn.num_samples / 16000
        assert set(item.alignment) <= {"phone", "word", "syllable"}
    assert found["Ses01F_script01_3_F010"].alignment.keys() == {"phone", "word"}


def test_the_turns_of_the_baselines_papers_leave_each_speaker_out(
    utterances: list[Utterance], root: Path, tmp_path: Path
) -> None:
    """Improvised, "happy" without "excited": 2,280 turns, as the papers of the baselines count them."""
    conf = Path(__file__).parents[2] / "egs" / "iemocap" / "conf" / "corpus_improvised.yaml"
    corpus = load_corpus(conf)
    data = tmp_path / "all"
    make_data_dir(root.parent / "manifests", data, corpus)
    classes = tables.read_table(data / "utt2emo")
    assert Counter(classes.values()) == {"neu": 1099, "sad": 608, "ang": 289, "hap": 284}
    divided, _ = plan_folds(data, corpus, corpus.protocol)
    folds = {fold.name: fold for fold in divided if not fold.name.endswith("-dev")}
    assert list(folds) == [f"Ses0{session}_{gender}" for session in "12345" for gender in "FM"]
    own = {
        item.id: (item.speaker, item.attributes["style"], item.attributes["emotion"]) for item in utterances
    }
    raw = tables.read_table(data / "utt2raw")
    for speaker, fold in folds.items():
        assert sorted(fold.subsets["train"] + fold.subsets["test"]) == sorted(classes)
        wanted = {name for name, values in own.items() if values[:2] == (speaker, "improvised")}
        wanted = {name for name in wanted if own[name][2] in ("ang", "hap", "neu", "sad")}
        assert {raw[name] for name in fold.subsets["test"]} == wanted


@pytest.fixture
def known(
    release: FakeRelease, monkeypatch: pytest.MonkeyPatch, sha256sum: Callable[[list[str]], str]
) -> None:
    """Digests of the synthetic release in the place of the real one's."""
    digests = {
        "turns": sha256sum([turn.name for turn in release.turns()]),
        "labels": sha256sum([f"{turn.name} {turn.label}" for turn in release.turns()]),
    }
    for part, test in (("all", None), ("train", False), ("test", True)):
        chosen = four_class(release, test=test)
        digests[f"classes of {part}"] = sha256sum([f"{turn.name} {FOUR[turn.label]}" for turn in chosen])
        digests[f"samples of {part}"] = sha256sum([f"{turn.name} {turn.num_samples}" for turn in chosen])
    assert digests["turns"] == expected.DIGESTS["turns"]
    monkeypatch.setattr(expected, "DIGESTS", digests)


@pytest.fixture
def sha256sum(tmp_path: Path) -> Callable[[list[str]], str]:
    def run(lines: list[str]) -> str:
        (tmp_path / "lines").write_text("".join(f"{line}\n" for line in lines))
        command = ["bash", "-c", 'LC_ALL=C sort "$1" | sha256sum', "-", tmp_path / "lines"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]

    return run


@pytest.mark.usefixtures("known")
def test_all_checks_agree_and_one_changed_label_is_seen(utterances: list[Utterance]) -> None:
    assert all(check.ok for check in check_iemocap(utterances, FULL))
    place = next(i for i, item in enumerate(utterances) if item.attributes["emotion"] == "exc")
    odd = utterances[place]
    changed = dataclasses.replace(odd, attributes={**odd.attributes, "emotion": "hap"})
    checks = check_iemocap([*utterances[:place], changed, *utterances[place + 1 :]], FULL)
    assert [check.name for check in checks if not check.ok] == [
        "turns by label",
        f"turns of Session {odd.id[4]} by label",
        "happy is hap + exc (not 1545 as in the paper, whose totals give 5531 - 1103 - 1084 - 1708)",
        "SHA-256 of the labels",
    ]


@pytest.mark.usefixtures("known")
def test_one_sample_less_is_seen(utterances: list[Utterance]) -> None:
    place = next(i for i, item in enumerate(utterances) if item.attributes["emotion"] == "sad")
    shorter = dataclasses.replace(utterances[place], duration_s=utterances[place].duration_s - 1 / 16000)
    checks = check_iemocap([*utterances[:place], shorter, *utterances[place + 1 :]], FULL)
    assert [str(check) for check in checks if not check.ok and "SHA" not in check.name] == [
        "differs: samples of recordings, four classes: 402566932, expected 402566933"
    ]
    names = [check.name for check in checks if not check.ok and "SHA" in check.name]
    assert names == ["SHA-256 of the samples of all", "SHA-256 of the samples of train"]


@pytest.mark.parametrize(
    ("context", "train", "test"),
    [
        (20, 0, 0), (30, 0, 0), (40, 0, 0), (50, 0, 0), (60, 1, 0), (70, 1, 0), (80, 5, 1), (90, 12, 4),
        (100, 23, 10), (110, 45, 26), (120, 75, 51),
    ],
)  # fmt: skip
def test_csa_drops_as_many_turns_as_of_the_real_lengths(
    utterances: list[Utterance], context: int, train: int, test: int
) -> None:
    config = ChunkingConfig(
        context=context, overlap=10, shift=None, tail="drop", short_utt="drop", pooling="mean"
    )
    for sessions, dropped in (("1234", train), ("5", test)):
        frames = [
            count_frames(round(item.duration_s * 16000))
            for item in utterances
            if item.attributes["emotion"] in FOUR and item.attributes["session"] in sessions
        ]
        assert int((count_chunks(frames, config) == 0).sum()) == dropped
