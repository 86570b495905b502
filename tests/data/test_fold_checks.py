"""Folds that are refused, and what is warned of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from ser.data import tables
from ser.data.corpus import DevConfig, Protocol
from ser.data.division import Fold
from ser.data.fold_checks import read_notes, read_warnings
from ser.data.folds import check_speakers, make_folds
from ser.errors import ConfigError, DataError
from tests.data.test_folds import LOSO, SPEAKERS, config, make_data, stats


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "all", SPEAKERS)


def rewrite_stats(data: Path, **same: str) -> None:
    """Give utterances the statistics, hence the audio, of others."""
    keys = sorted(tables.read_table(data / "utt2spk"))
    with tables.ArkWriter(data / "fbank" / "cmvn_utt") as cmvn:
        for key in keys:
            cmvn.write(key, stats(keys.index(same.get(key.replace("-", "_"), key))))


def test_the_same_audio_under_two_speakers_is_refused(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite_stats(data, S2_F_ang1="S1_F-sad1", S3_M_sad2="S1_M-ang2")
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", config(loso=LOSO))
    assert str(error.value) == (
        f"{data}: S1_F-sad1 and S2_F-ang1 are the same audio, and would be in test and in train of fold "
        f"S1_F; remove one of them\n"
        f"{data}: S1_M-ang2 and S3_M-sad2 are the same audio, and would be in test and in train of fold "
        "S1_M; remove one of them"
    )
    assert not (tmp_path / "folds").exists()
    rewrite_stats(data, S1_F_ang2="S1_F-ang1")
    make_folds(data, tmp_path / "folds", config(loso=LOSO))
    copies = "1 recording counts more than once, in training or in scores (S1_F-ang1 = S1_F-ang2)"
    assert copies in caplog.messages
    assert (tmp_path / "folds" / "warnings.txt").read_text().splitlines()[-1] == copies


def test_the_check_reads_the_files(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    make_folds(data, out, config(paper=Protocol("session", ("3",), DevConfig(2, False), {})))
    fold = Fold("paper", {"train": [], "dev": [], "test": []})
    check_speakers(out, [fold])
    with open(out / "paper" / "dev" / "utt2spk", "a") as stream:
        stream.write("x S2_F\n")
    with pytest.raises(DataError, match="^fold paper: speaker S2_F would be in train and in dev;"):
        check_speakers(out, [fold])


def test_silence_is_no_copy_of_other_silence(data: Path, tmp_path: Path) -> None:
    """Whether it may be used is said by audio.on_silent."""
    floor = np.full(3, np.float32(-15.9424), np.float64)  # of the logarithm, in 98 frames
    silent = np.zeros((2, 4))
    silent[0, :3], silent[1, :3], silent[0, 3] = 98 * floor, 98 * floor**2, 98
    names = sorted(tables.read_table(data / "utt2spk"))
    with tables.ArkWriter(data / "fbank" / "cmvn_utt") as cmvn:
        for number, utt in enumerate(names):
            cmvn.write(utt, silent if utt in ("S1_F-ang1", "S2_M-sad1") else stats(number))
    make_folds(data, tmp_path / "folds", config(loso=LOSO))
    assert (tmp_path / "folds" / "checks.tsv").read_text().splitlines()[1] == "S1_F\ttrain\t20\t5\t20\t0\t0"
    assert len(read_warnings(tmp_path / "folds")) == 1  # about sessions


def test_a_class_that_cannot_be_trained_is_an_error(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    utt2emo = {u: "sad" if u.startswith("S1_F-sad") else "ang" for u in tables.read_table(data / "utt2emo")}
    tables.write_table(data / "utt2emo", utt2emo)
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", config(paper=Protocol("session", ("1",), None, {})))
    assert str(error.value) == (
        f"{data}/utt2emo: fold paper has no sad to train on; "
        "leave the class out of conf/corpus.yaml, or choose another protocol"
    )
    make_folds(data, tmp_path / "folds", config(paper=Protocol("session", ("2",), None, {})))
    assert caplog.messages == [
        "1 subset lacks a class (paper test has no sad): its mean recall is over the classes that it has",
        "speaker and class are confounded: 75 % of the training utterances are of speakers who show at most "
        "half of the classes. A system may learn speakers in place of classes, and normalisation by speaker "
        "hides the classes (features.norm auto takes global then)",
    ]


def test_many_subsets_without_a_class_are_one_warning(data: Path, tmp_path: Path) -> None:
    utt2emo = tables.read_table(data / "utt2emo")
    tables.write_table(data / "utt2emo", {u: c if u.startswith("S3") else "ang" for u, c in utt2emo.items()})
    make_folds(data, tmp_path / "folds", config(loso=Protocol("speaker", "each", None, {})))
    assert read_warnings(tmp_path / "folds")[0] == (
        "4 subsets lack a class (S1_F test has no sad, S1_M test has no sad, S2_F test has no sad, ...): its "
        "mean recall is over the classes that it has"
    )


def test_sessions_that_are_tested_and_trained_on_are_told_of(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A speaker's partner is trained on where folds are finer than sessions; the numbers say so."""
    out = tmp_path / "folds"
    chosen = config(some=Protocol("speaker", {"a": ("S1_F",), "b": ("S2_F", "S2_M")}, DevConfig(1, True), {}))
    make_folds(data, out, chosen)
    warning = (
        "4 of 12 test utterances are of a session that other speakers are trained on (folds a): in the same "
        "room, on the same topic, at times at once; a protocol with group: session keeps sessions apart"
    )
    assert caplog.messages == [warning]
    assert (out / "warnings.txt").read_text() == f"{warning}\n"
    assert [path.relative_to(out) for path in out.rglob("notes")] == [Path("a/test/notes")]
    assert read_notes(out / "a" / "test") == {"sessions": "shared with training, by other speakers"}
    assert read_notes(out / "b" / "test") == {}
    make_folds(data, out, chosen)  # is up to date, and says it again
    assert caplog.messages == [warning, warning]


def test_folds_of_whole_sessions_have_nothing_to_tell(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_folds(data, tmp_path / "folds", config(session=Protocol("session", "each", DevConfig(2, True), {})))
    assert caplog.messages == read_warnings(tmp_path / "folds") == []
    assert list((tmp_path / "folds").rglob("notes")) == []
    (data / "utt2session").unlink()
    make_folds(data, tmp_path / "loso", config(loso=LOSO))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (
            Protocol("session", ("1", "Ses4"), None, {}),
            "protocols.p.test: {data} has no session Ses4; known are",
        ),
        (
            Protocol("speaker", ("S1_X",), None, {}),
            "protocols.p.test: {data} has no speaker S1_X; did you mean S1_",
        ),
        (
            Protocol("speaker", "each", None, {"style": ("improvized",)}),
            "keep.style: no utterance of {data} has improvized; known are improvised, scripted",
        ),
    ],
)
def test_names_that_do_not_exist_are_refused(
    data: Path, tmp_path: Path, protocol: Protocol, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        make_folds(data, tmp_path / "folds", config(p=protocol))
    assert str(error.value).startswith(message.format(data=data))


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (
            Protocol("session", ("1", "2", "3"), None, {}),
            "{data}: fold p tests on every session, nothing is left to train on",
        ),
        (
            Protocol("session", ("1",), DevConfig(4, True), {}),
            "{data}: fold p has 4 training speakers, 4 cannot be taken for tuning; "
            "--set corpus:protocols.p.dev.speakers=3, or --set corpus:protocols.p.dev=null tunes nothing",
        ),
        (
            Protocol("session", "each", None, {"session": ("1",)}),
            "{data}: has only the session 1, nothing would be left to train on; take a protocol with "
            "group: speaker",
        ),
    ],
)
def test_too_few_speakers_are_refused(data: Path, tmp_path: Path, protocol: Protocol, message: str) -> None:
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", config(p=protocol))
    assert str(error.value) == message.format(data=data)


def test_a_corpus_without_sessions_says_so(data: Path, tmp_path: Path) -> None:
    (data / "utt2session").unlink()
    with pytest.raises(DataError) as error:
        make_folds(data, tmp_path / "folds", config(p=Protocol("session", "each", None, {})))
    assert str(error.value) == (
        f"{data}: the corpus has no sessions; in a table of recordings, rename the column that holds them to "
        "session, or add one, or take a protocol with group: speaker"
    )


@pytest.mark.parametrize("clash", ["pooled", "a-dev"])
def test_two_folds_of_one_name_are_refused(tmp_path: Path, clash: str) -> None:
    data = make_data(tmp_path / "all", {"a": "1", "b": "1", clash: "1"})
    (data / "spk2gender").unlink()
    with pytest.raises(DataError, match=f"two folds would be named {clash}; rename the speaker"):
        make_folds(data, tmp_path / "folds", config(p=Protocol("speaker", "each", DevConfig(1, True), {})))


def test_without_cmvn_the_stage_is_named(
    data: Path, tmp_path: Path, run_verb: Callable[..., CompletedProcess[str]], repo: Path
) -> None:
    (data / "fbank" / "cmvn_utt.scp").unlink()
    conf = repo / "egs" / "emodb" / "conf" / "corpus.yaml"
    result = run_verb("make_folds", data, tmp_path / "folds", "--config", conf)
    assert result.returncode == 1
    assert result.stderr == (
        f"ser: error: {data}/fbank/cmvn_utt.scp: no such file; run stage 2 (steps/compute_cmvn.sh)\n"
    )
    (data / "feats.yaml").unlink()
    (data / "fbank" / "utt2digest").unlink()
    result = run_verb("make_folds", data, tmp_path / "folds", "--config", conf)
    assert result.stderr == f"ser: error: {data}: has no features; run stage 1 (steps/extract.sh)\n"
