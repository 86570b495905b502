from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ser.config import to_dict
from ser.data import tables
from ser.data.corpus import CorpusAudio, CorpusConfig, DevConfig, Keep, Protocol
from ser.data.datadir import write_spk2utt
from ser.data.division import pick_dev_speakers
from ser.data.folds import FoldLine, final_folds, make_folds, read_folds
from ser.data.labels import write_emotions
from ser.data.validate import Summary, validate
from ser.errors import DataError, StaleError

CLASSES = ("ang", "sad")
SPEAKERS = {"S1_F": "1", "S1_M": "1", "S2_F": "2", "S2_M": "2", "S3_F": "3", "S3_M": "3"}  # -> session
LOSO = Protocol("speaker", "each", None, {})


def config(keep: Keep | None = None, **protocols: Protocol) -> CorpusConfig:
    first = next(iter(protocols))
    audio = CorpusAudio(16000, None, "refuse", "warn", "warn")
    return CorpusConfig(
        "toy", "csv", CLASSES, {"A": "ang", "S": "sad"}, audio, keep or {}, first, protocols, None
    )


def stats(number: int) -> np.ndarray:
    sums = np.arange(8.0).reshape(2, 4) + 10 * number
    sums[0, 3], sums[1, 3] = number + 1, 0
    return sums


def make_data(folder: Path, speakers: dict[str, str]) -> Path:
    """Two utterances of each class for every speaker; the first of each class is improvised."""
    utts = {f"{s}-{c}{i}": (s, c, i) for s in speakers for c in CLASSES for i in (1, 2)}
    folder.mkdir()
    (folder / "audio").touch()
    tables.write_table(folder / "utt2spk", {u: s for u, (s, _, _) in utts.items()})
    tables.write_table(folder / "utt2emo", {u: c for u, (_, c, _) in utts.items()})
    tables.write_table(folder / "utt2session", {u: speakers[s] for u, (s, _, _) in utts.items()})
    tables.write_table(
        folder / "utt2style", {u: "improvised" if i == 1 else "scripted" for u, (_, _, i) in utts.items()}
    )
    tables.write_table(folder / "spk2gender", {s: s[-1].lower() for s in speakers})
    tables.write_table(folder / "wav.scp", dict.fromkeys(utts, folder / "audio"))
    tables.write_table(folder / "utt2num_frames", dict.fromkeys(utts, 5))
    write_spk2utt(folder / "spk2utt", {u: s for u, (s, _, _) in utts.items()})
    write_emotions(folder / "emotions.txt", CLASSES)
    (folder / "frame_shift").write_text("0.01\n")
    (folder / "feats.yaml").write_text("set: fbank\nsettings: {num_mel_bins: 3}\n")
    (folder / "fbank").mkdir()
    (folder / "fbank" / "settings.yaml").write_text("settings: {num_mel_bins: 3}\n")
    shutil.copyfile(folder / "utt2num_frames", folder / "fbank" / "utt2num_frames")
    tables.write_table(folder / "fbank" / "utt2digest", {utt: f"{i:016x}" for i, utt in enumerate(utts)})
    with tables.ArkWriter(folder / "fbank" / "feats") as feats:
        for number, utt in enumerate(sorted(utts)):
            feats.write(utt, np.full((5, 3), number, dtype=np.float32))
    shutil.copyfile(folder / "fbank" / "feats.scp", folder / "feats.scp")
    with tables.ArkWriter(folder / "fbank" / "cmvn_utt") as cmvn:
        for number, utt in enumerate(sorted(utts)):
            cmvn.write(utt, stats(number))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "all", SPEAKERS)


def speakers_of(out: Path) -> dict[str, list[str]]:
    """<fold>/<subset> -> its speakers."""
    return {
        str(path.parent.relative_to(out)): sorted(tables.read_table(path))
        for path in sorted(out.rglob("spk2utt"))
    }


def test_leave_one_speaker_out(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    make_folds(data, out, config(loso=LOSO))
    assert speakers_of(out) == {
        "pooled": sorted(SPEAKERS),
        **{f"{s}/test": [s] for s in SPEAKERS},
        **{f"{s}/train": sorted(SPEAKERS.keys() - {s}) for s in SPEAKERS},
    }
    lines = (out / "folds.tsv").read_text().splitlines()
    assert lines == ["fold\ttune_fold\ttune_set", *(f"{s}\t-\t-" for s in sorted(SPEAKERS))]
    for view in [*out.glob("*/train"), *out.glob("*/test"), out / "pooled"]:
        validate(view)
        assert (view / "source").read_text() == f"{data}\n"
        assert (view / "feats.yaml").read_bytes() == (data / "feats.yaml").read_bytes()
    assert validate(out / "S1_F" / "train") == Summary(20, 5)


def test_a_held_out_dev_part(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    protocol = Protocol("session", "each", DevConfig(2, False), {})
    make_folds(data, out, config(session=protocol))
    assert speakers_of(out) == {
        "1/dev": ["S2_F", "S2_M"],
        "1/test": ["S1_F", "S1_M"],
        "1/train": ["S3_F", "S3_M"],
        "2/dev": ["S3_F", "S3_M"],
        "2/test": ["S2_F", "S2_M"],
        "2/train": ["S1_F", "S1_M"],
        "3/dev": ["S1_F", "S1_M"],
        "3/test": ["S3_F", "S3_M"],
        "3/train": ["S2_F", "S2_M"],
        "pooled": sorted(SPEAKERS),
    }
    assert (out / "folds.tsv").read_text() == "fold\ttune_fold\ttune_set\n1\t1\tdev\n2\t2\tdev\n3\t3\tdev\n"


def test_refit_tunes_in_an_extra_fold(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    make_folds(data, out, config(paper=Protocol("session", ("3",), DevConfig(2, True), {})))
    assert speakers_of(out) == {
        "paper/test": ["S3_F", "S3_M"],
        "paper/train": ["S1_F", "S1_M", "S2_F", "S2_M"],
        "paper-dev/test": ["S1_F", "S1_M"],
        "paper-dev/train": ["S2_F", "S2_M"],
        "pooled": ["S3_F", "S3_M"],
    }
    assert (out / "folds.tsv").read_text() == (
        "fold\ttune_fold\ttune_set\npaper\tpaper-dev\ttest\npaper-dev\t-\t-\n"
    )


def test_the_protocol_all_trains_on_everyone(data: Path, tmp_path: Path) -> None:
    """Every corpus has it; it may be given another meaning."""
    out = tmp_path / "folds"
    make_folds(data, out, config(loso=LOSO), "all")
    assert speakers_of(out) == {"all/train": sorted(SPEAKERS)}
    assert read_folds(out) == [FoldLine("all", "-", "-")]
    assert (out / "checks.tsv").read_text().splitlines()[1:] == ["all\ttrain\t24\t6\t24\t0\t0"]
    assert not (out / "pooled").exists()
    own = Protocol("speaker", ("S1_F",), None, {})
    assert config(all=own).named_protocol("all") == ("all", own)


def test_keep_is_for_one_protocol(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    make_folds(data, out, config(impro=Protocol("session", ("1",), None, {"style": ("improvised",)})))
    kept = list(tables.read_table(out / "impro" / "train" / "utt2spk"))
    assert kept == [f"{s}-{c}1" for s in ("S2_F", "S2_M", "S3_F", "S3_M") for c in CLASSES]
    other = Protocol("speaker", "each", None, {"gender": ("f",), "class": ("ang", "sad")})
    make_folds(data, tmp_path / "women", config(women=other))
    assert speakers_of(tmp_path / "women")["pooled"] == ["S1_F", "S2_F", "S3_F"]


def test_cmvn_sums_are_of_the_views_own_utterances(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    make_folds(data, out, config(impro=Protocol("session", ("1",), None, {"style": ("improvised",)})))
    train = out / "impro" / "train"
    number = {utt: i for i, utt in enumerate(tables.read_table(data / "utt2spk"))}
    own = {
        speaker: sum(stats(number[f"{speaker}-{c}1"]) for c in CLASSES) for speaker in speakers_of(train)["."]
    }
    reader = tables.ArkReader(train / "cmvn.scp")
    assert list(reader.places) == ["S2_F", "S2_M", "S3_F", "S3_M"]
    assert all(place.startswith(f"{train}/cmvn.ark:") for place in reader.places.values())
    for speaker, sums in own.items():
        np.testing.assert_array_equal(reader.read(speaker), sums)
    np.testing.assert_array_equal(
        tables.ArkReader(train / "cmvn_global.scp").read("global"), sum(own.values())
    )
    assert not (out / "impro" / "test" / "cmvn_global.scp").exists()


def test_the_same_again_is_left_alone_and_a_difference_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    both = config(loso=LOSO, paper=Protocol("session", ("1",), None, {}))
    make_folds(data, out, both)
    before = (out / "folds.tsv").stat().st_mtime_ns
    make_folds(data, out, both)
    assert (out / "folds.tsv").stat().st_mtime_ns == before
    with pytest.raises(StaleError) as error:
        make_folds(data, out, both, "paper")
    assert str(error.value) == (
        f"{out}: was made differently: group: speaker -> session; protocol: loso -> paper; "
        f"test: each -> ['1']; choose another folder, or remove it: rm -r {out}"
    )
    (data / "utt2emo").write_text((data / "utt2emo").read_text().replace("S1_F-ang1 ang", "S1_F-ang1 sad"))
    with pytest.raises(StaleError, match="was made differently: 1 label changed: S1_F-ang1; "):
        make_folds(data, out, both)


def test_the_same_folds_are_made_twice(data: Path, tmp_path: Path) -> None:
    chosen = config(loso=Protocol("speaker", "each", DevConfig(2, True), {}))
    for name in ("one", "two"):
        make_folds(data, tmp_path / name, chosen)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    for file in files:
        if not file.name.startswith("cmvn") and file.name != "made.json":  # an scp names where it is
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert len(files) > 100


def test_another_main_set_is_noticed(data: Path, tmp_path: Path) -> None:
    make_folds(data, tmp_path / "folds", config(loso=LOSO))
    shutil.copytree(data / "fbank", data / "slow")
    (data / "feats.yaml").write_text("set: slow\nsettings: {num_mel_bins: 3}\n")
    with pytest.raises(StaleError, match="was made differently: feats.yaml has changed; "):
        make_folds(data, tmp_path / "folds", config(loso=LOSO))


def test_vectors_alone_are_divided_too(data: Path, tmp_path: Path) -> None:
    for name in ("feats.scp", "utt2num_frames", "frame_shift", "feats.yaml"):
        (data / name).unlink()
    (data / "fbank").rename(data / "egemaps")
    (data / "egemaps" / "made.json").write_text("{}")
    out = tmp_path / "folds"
    make_folds(data, out, config(loso=LOSO))
    for view in [*out.glob("*/train"), *out.glob("*/test"), out / "pooled"]:
        assert sorted(path.name for path in view.iterdir() if path.name != "notes") == [
            "emotions.txt", "source", "spk2gender", "spk2utt", "utt2emo", "utt2session", "utt2spk",
            "utt2style", "wav.scp",
        ]  # fmt: skip
    assert (out / "checks.tsv").read_text().splitlines()[1] == "S1_F\ttrain\t20\t5\t20\t0\t0"
    digests = tables.read_table(data / "egemaps" / "utt2digest")
    digests["S2_F-ang1"] = digests["S1_F-sad1"]  # the same bytes
    tables.write_table(data / "egemaps" / "utt2digest", digests)
    with pytest.raises(StaleError, match="was made differently: utt2digest has changed; "):
        make_folds(data, out, config(loso=LOSO))
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "again", config(loso=LOSO))
    assert str(error.value) == (
        f"{data}: S1_F-sad1 and S2_F-ang1 are the same audio, and would be in test and in train of fold "
        "S1_F; remove one of them"
    )


def test_the_list_of_folds_is_read_back(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    with pytest.raises(DataError) as error:
        read_folds(out)
    assert str(error.value) == f"{out}/folds.tsv: no such file; run stage 2"
    make_folds(data, out, config(paper=Protocol("session", ("3",), DevConfig(2, True), {})))
    assert read_folds(out) == [FoldLine("paper", "paper-dev", "test"), FoldLine("paper-dev", "-", "-")]
    assert final_folds(out) == ["paper"]
    make_folds(data, tmp_path / "own", config(early=Protocol("session", ("3",), DevConfig(2, False), {})))
    assert read_folds(tmp_path / "own") == [FoldLine("early", "early", "dev")]
    assert final_folds(tmp_path / "own") == ["early"]
    for text in ("", "fold\ttune_fold\n", "fold\ttune_fold\ttune_set\n", "fold\ttune_fold\ttune_set\na\tb\n"):
        (out / "folds.tsv").write_text(text)
        with pytest.raises(DataError) as error:
            final_folds(out)
        assert str(error.value) == f"{out}/folds.tsv: is no list of folds; run stage 2 again"


def test_a_speaker_of_two_sessions_is_named(data: Path, tmp_path: Path) -> None:
    table = tables.read_table(data / "utt2session")
    table["S1_F-ang1"] = "2"
    tables.write_table(data / "utt2session", table)
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", config(session=Protocol("session", ("2",), None, {})))
    assert str(error.value) == (
        "fold session: speaker S1_F would be in train and in test; "
        "group by speaker, or correct utt2spk, utt2session or utt2fold (the column fold of a table)"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all"]


def test_folds_that_are_listed(data: Path, tmp_path: Path) -> None:
    lists = {"b": ("S1_F", "S2_M"), "a": ("S3_M",)}
    make_folds(data, tmp_path / "folds", config(own=Protocol("speaker", lists, None, {})))
    found = speakers_of(tmp_path / "folds")
    assert found["a/test"] == ["S3_M"]
    assert found["b/test"] == ["S1_F", "S2_M"]
    assert found["b/train"] == ["S1_M", "S2_F", "S3_F", "S3_M"]
    assert found["pooled"] == ["S1_F", "S2_M", "S3_M"]


def test_a_table_of_folds(data: Path, tmp_path: Path) -> None:
    utt2spk = tables.read_table(data / "utt2spk")
    protocol = config(own=Protocol("fold", "each", None, {}))
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", protocol)
    assert str(error.value) == (
        f"{data}: the corpus has no folds; in a table of recordings, rename the column that holds them to "
        "fold, or add one, or take a protocol with group: speaker"
    )
    tables.write_table(data / "utt2fold", {u: "one" if s < "S2" else "two" for u, s in utt2spk.items()})
    make_folds(data, tmp_path / "folds", protocol)
    found = speakers_of(tmp_path / "folds")
    assert found["one/test"] == found["two/train"] == ["S1_F", "S1_M"]
    assert (tmp_path / "folds" / "checks.tsv").read_text().splitlines()[:3] == [
        "fold\tsubset\tutterances\tspeakers\trecordings\tshared_speakers\tshared_recordings",
        "one\ttrain\t16\t4\t16\t0\t0",
        "one\ttest\t8\t2\t8\t0\t0",
    ]


def test_the_steps_make_folds_from_features(data: Path, tmp_path: Path, repo: Path) -> None:
    text = yaml.safe_dump(to_dict(config(loso=LOSO, paper=Protocol("session", ("3",), None, {}))))
    (tmp_path / "corpus.yaml").write_text(text)
    out = tmp_path / "folds"
    for command in (
        ["steps/compute_cmvn.sh", data],
        ["steps/make_folds.sh", tmp_path / "corpus.yaml", data, tmp_path / "default"],
        ["steps/make_folds.sh", tmp_path / "corpus.yaml", data, out, "--protocol", "paper"],
    ):
        result = subprocess.run(
            list(map(str, command)),
            cwd=repo / "egs" / "emodb",
            env={**os.environ, "SER_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert (tmp_path / "default" / "S1_F").is_dir()
    total = tables.ArkReader(out / "paper" / "train" / "cmvn_global.scp").read("global")
    assert total.tolist() == [
        [5.0 * sum(range(16))] * 3 + [80.0],
        [5.0 * sum(i * i for i in range(16))] * 3 + [0],
    ]


# --------------------------------------------------------------------------------------------- dev speakers


def test_dev_speakers_follow_the_tested_and_go_round() -> None:
    everyone = list("abcdef")
    assert pick_dev_speakers("acdef", "b", {}, 2) == ["c", "d"]
    assert pick_dev_speakers("abcde", "f", {}, 2) == ["a", "b"]
    assert pick_dev_speakers("abcdf", "e", {}, 3) == ["f", "a", "b"]
    genders = dict(zip(everyone, "fffmmf", strict=True))
    assert pick_dev_speakers("bcdef", "a", genders, 2) == ["b", "d"]
    assert pick_dev_speakers("bcdef", "a", genders, 3) == ["b", "d", "c"]


@given(
    speakers=st.dictionaries(st.text("abcde", min_size=1, max_size=3), st.sampled_from("fm"), min_size=4),
    choice=st.randoms(use_true_random=False),
)
def test_dev_speakers_are_balanced_and_never_tested(
    speakers: dict[str, str], choice: np.random.RandomState
) -> None:
    tested = set(list(speakers)[: choice.randint(1, len(speakers) - 2)])
    rest = speakers.keys() - tested
    number = choice.randint(1, len(rest) - 1)
    chosen = pick_dev_speakers(rest, tested, speakers, number)
    assert chosen == pick_dev_speakers(sorted(rest, reverse=True), tested, speakers, number)
    assert len(set(chosen)) == number
    assert set(chosen) <= rest
    women = sum(speakers[s] == "f" for s in chosen)
    spare = {gender: sum(speakers[s] == gender for s in rest - set(chosen)) for gender in "fm"}
    assert abs(2 * women - number) <= 1 or not spare["f" if 2 * women < number else "m"]


def test_what_is_lost_of_folds_is_made_again(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, chosen = tmp_path / "folds", config(loso=LOSO)
    make_folds(data, out, chosen)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    lost = sorted(before)[2]
    lost.unlink()
    make_folds(data, out, chosen)
    assert f"{lost}: is gone or damaged; making it again" in caplog.messages
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    lost.write_text("mine\n")
    with pytest.raises(StaleError, match=f"{lost}: was changed since it was made; put it back, or remove"):
        make_folds(data, out, chosen)
    shutil.rmtree(out / "pooled")
    lost.unlink()
    make_folds(data, out, chosen)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
