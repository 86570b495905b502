"""What a check of a data folder finds, and views of its utterances."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from ser.data.corpus_tables import make_data_dir
from ser.data.datadir import make_view
from ser.data.validate import Summary, validate
from ser.errors import DataError
from tests.data.test_datadir import CONFIG


@pytest.fixture
def data(manifests: Path, tmp_path: Path) -> Path:
    make_data_dir(manifests, tmp_path / "data", CONFIG)
    return tmp_path / "data"


def faults(folder: Path) -> list[str]:
    with pytest.raises(DataError) as error:
        validate(folder, need=["wav.scp"])
    return str(error.value).splitlines()


def test_all_faults_of_all_tables_are_listed_at_once(data: Path, tmp_path: Path) -> None:
    (data / "utt2emo").write_text("a-1 ang\na-2 joy\nb-1 ang\n")
    (data / "utt2dur").write_text("a-1 1.5\na-2 -1\nb-1 1.5\n")
    (data / "utt2style").write_text("a-1 x\nb-1 x\n")
    (data / "text").write_text("b-1 x\na-1 x\n")
    (data / "utt2num_frames").write_text("a-1 10\na-2 0\nb-1 10\n")
    (data / "spk2utt").write_text("a a-1 a-2 b-1\n")
    (data / "feats.scp").write_text("a-1 gone.ark:5\na-2 gone.ark:50[0:3]\nb-1 gone.ark:9\n")
    (tmp_path / "a-2.wav").unlink()
    found = faults(data)
    assert f"{data}/utt2emo:2: expected '<utterance> <ang|sad>', got 'a-2 joy'; run stage 0 again" in found
    assert any(
        line.startswith(f"{data}/utt2dur:2: expected '<key> <seconds above 0>', got 'a-2 -1'")
        for line in found
    )
    assert any(
        line.startswith(f"{data}/utt2num_frames:2: expected '<key> <frames above 0>', got 'a-2 0'")
        for line in found
    )
    assert (
        f"{data}/utt2style: its keys are not those of {data}/utt2spk: 1 only in {data}/utt2spk (a-2); "
        "run the stage that makes the older of the two again"
    ) in found
    assert any(line.startswith(f"{data}/text:2: 'a-1' comes after 'b-1'") for line in found)
    assert f"{data}/spk2utt: is not utt2spk turned round; remove it or make it from that" in found
    assert (
        f"{data}/feats.scp:1: a-1: gone.ark: no such file; run the stage that makes it again (4 places: "
        f"{data}/feats.scp:1, {data}/feats.scp:2, {data}/feats.scp:3, ...)"
    ) in found
    assert len(found) == 7


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "b-1 1 1.0 0.5",
            "expected '<utterance> 1 <start s> <duration s> <symbol>', got 'b-1 1 1.0 0.5'; run",
        ),
        (
            "b-1 1 1.0 0.0 p",
            "expected '<utterance> 1 <start s> <duration s> <symbol>', got 'b-1 1 1.0 0.0 p'",
        ),
        ("b-1 1 0.1 0.5 p", "b-1 at 0.1 s is not in order; run stage 0 again"),
        ("b-1 1 1.2 0.5 p", "b-1 ends at 1.700 s, utt2dur says 1.5; run stage 0 again"),
        ("c-1 1 0.0 0.5 p", "c-1 ends at 0.500 s, utt2dur says nothing; run stage 0 again"),
    ],
)
def test_a_wrong_line_of_an_alignment_is_named(data: Path, line: str, message: str) -> None:
    with open(data / "phone.ctm", "a") as stream:
        stream.write(f"{line}\n")
    assert [fault[: len(str(data)) + len(message) + 14] for fault in faults(data)] == [
        f"{data}/phone.ctm:7: {message}"
    ]


def test_feature_sets_are_checked(data: Path, tmp_path: Path) -> None:
    for name in ("fbank", "egemaps"):
        (data / name).mkdir()
        (data / name / "settings.yaml").touch()
        (data / name / "feats.scp").write_text("a-1 gone.ark:5\nb-1 gone.ark:9\n")
    (data / "fbank" / "utt2num_frames").write_text("a-1 10\na-2 0\nb-1 10\n")
    (data / "feats.yaml").write_text("set: wide\n")
    listed = faults(data)
    for name in ("fbank", "egemaps"):
        assert (
            f"{data}/{name}/feats.scp:1: a-1: gone.ark: no such file; run the stage that makes it again"
            in listed
        )
        assert any(
            line.startswith(f"{data}/{name}/feats.scp: its keys are not those of {data}/utt2spk: 1 only in")
            for line in listed
        )
    assert any(line.startswith(f"{data}/fbank/utt2num_frames:2: expected '<key> <frames") for line in listed)
    assert f"{data}/feats.yaml: names the set wide, which {data} does not have; run stage 1 again" in listed
    assert len(listed) == 8
    view = tmp_path / "view"
    make_view(data, view, ["a-1"])
    (view / "source").write_text("/nowhere\n")
    assert faults(view) == [
        f"{view}/source: names /nowhere, which is no folder; run stage 2 again, elsewhere"
    ]


def test_an_order_that_only_kaldi_minds_is_a_warning(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tables of one's own may name utterances as they like."""
    caplog.set_level(logging.WARNING, "ser")
    validate(data, need=[])
    assert caplog.messages == []
    (data / "utt2spk").write_text("a-1 b\na-2 a\nb-1 b\n")
    (data / "spk2utt").write_text("a a-2\nb a-1 b-1\n")
    assert validate(data, need=[]) == Summary(3, 2)
    assert caplog.messages == [
        f"{data}/utt2spk: a-2 of speaker a comes after a-1 of speaker b; the recipe takes that, Kaldi's own "
        "tools do not: they need utterances that sort by speaker, such as a-a-2"
    ]


def test_raw_ids_are_checked(data: Path) -> None:
    (data / "utt2raw").write_text("a-1 x\na-2 x\nb-1 y\n")
    assert faults(data) == [
        f"{data}/utt2raw: a-1 and a-2 have the same raw id x; correct one, or remove the table"
    ]


def test_missing_tables_and_folders_are_named(data: Path) -> None:
    (data / "utt2emo").unlink()
    (data / "wav.scp").unlink()
    assert faults(data) == [
        f"{data}/utt2emo: no such file; run stage 0",
        f"{data}/wav.scp: no such file; run the stage that makes it",
    ]
    with pytest.raises(DataError, match="nowhere: no such folder; run stage 0"):
        validate(Path("nowhere"))


def test_the_verb_prints_one_line_or_every_fault(
    data: Path, run_verb: Callable[..., CompletedProcess[str]]
) -> None:
    good = run_verb("validate_data_dir", "--no-feats", data)
    assert (good.returncode, good.stdout) == (0, f"{data}: valid, 3 utterances, 2 speakers\n")
    bad = run_verb("validate_data_dir", data)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == f"ser: error: {data}/feats.scp: no such file; run the stage that makes it\n"


def test_a_view_of_unknown_utterances_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^{data}/utt2spk: has no x-1; name utterances of {data}$"):
        make_view(data, tmp_path / "view", ["a-1", "x-1"])
    (data / "spk2gender").write_text("a m\n")
    with pytest.raises(DataError, match="spk2gender: its keys are not those of the speakers of"):
        make_view(data, tmp_path / "view", ["a-1"])


def test_a_view_is_a_valid_data_folder(data: Path, tmp_path: Path) -> None:
    (data / "frame_shift").write_text("0.01\n")
    (data / "utt2lang").write_text("a-1 de\na-2 de\nb-1 de\n")
    (data / "text").write_text("b-1 only this one\n")
    view = tmp_path / "view"
    make_view(data, view, ["a-2", "a-1"])
    assert validate(view, need=["wav.scp"]) == Summary(2, 1)
    assert (view / "utt2lang").read_text() == "a-1 de\na-2 de\n"
    assert (view / "spk2gender").read_text() == "a m\n"
    assert (view / "frame_shift").read_text() == "0.01\n"
    assert (view / "emotions.txt").read_text() == "ang 0\nsad 1\n"
    assert not (view / "text").exists()
    assert not (view / "made.json").exists()


def test_speech_activity_is_of_all_utterances_and_stays_in_its_folder(data: Path, tmp_path: Path) -> None:
    """Folds do not change when it is decided; what reads them looks for it in the source."""
    ark = tmp_path / "vad.ark"
    ark.write_bytes(b"")
    (data / "vad.scp").write_text(f"a-1 {ark}:5\na-2 {ark}:9\nb-1 {ark}:13\n")
    assert validate(data, need=["wav.scp"]) == Summary(3, 2)
    make_view(data, tmp_path / "view", ["a-1"])
    assert not (tmp_path / "view" / "vad.scp").exists()
    (data / "vad.scp").write_text(f"a-1 {ark}:5\nb-1 {tmp_path}/none.ark:13\n")
    with pytest.raises(DataError) as error:
        validate(data, need=["wav.scp"])
    assert str(error.value).split("\n") == [
        f"{data}/vad.scp: its keys are not those of {data}/utt2spk: 1 only in {data}/utt2spk (a-2); run "
        "the stage that makes the older of the two again",
        f"{data}/vad.scp:2: b-1: {tmp_path}/none.ark: no such file; run the stage that makes it again",
    ]
