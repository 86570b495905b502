from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from ser import corpora
from ser.corpora import emodb as emodb_module
from ser.corpora.emodb import prepare_emodb, read_phones
from ser.corpora.emodb_download import download_emodb
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.files import file_digest
from ser.data.labels import read_emotions
from ser.data.validate import validate
from ser.errors import ConfigError, DataError
from tests.lost import check_made_again

LABELS = """signal x
nfields 1
#
    0.100000   -1 \t+beh
    0.200000   -1 _t
    0.250000   -1 a\t+lar\t2
    0.300000   -1 \t-lar
    0.350000   -1 +sth
    0.375000   -1\t-sth
    0.400000   -1 E6 +nas
    0.450000   -1 I+nas
    0.500000   -1 ß
    0.600000   -1 .
"""


def sound(path: Path, seconds: float = 1.0, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * rate))
    soundfile.write(path, samples, rate, format=path.suffix[1:].upper())
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A copy with three utterances, labels for one and judgements for two."""
    root = tmp_path / "release"
    for name in ("03a01Fa", "03a02Wb", "16b10Lc"):
        sound(root / "wav" / f"{name}.wav")
    (root / "lablaut").mkdir()
    (root / "lablaut" / "03a01Faxx.lablaut").write_bytes(LABELS.encode("latin-1"))
    (root / "erkennung.txt").write_bytes(
        "Nr.\tSatz\terkannt\tnatuerlich\n"
        "1\xa0 \t03a01Fa.wav\t90,00\xa0 \t75,50\xa0 \n2\xa0\t16b10Lc.wav\t100,00\t5,00\n".encode("latin-1")
    )
    return root


def supervisions(root: Path) -> dict[str, Any]:
    return {item.id: item for item in prepare_emodb(root)["supervisions"]}


def test_names_labels_and_judgements_are_read(toy: Path) -> None:
    manifests = prepare_emodb(toy)
    assert [item.id for item in manifests["recordings"]] == ["03a01Fa", "03a02Wb", "16b10Lc"]
    found = supervisions(toy)
    first, last = found["03a01Fa"], found["16b10Lc"]
    assert (first.speaker, first.gender, first.duration) == ("03", "m", 1.0)
    assert first.text == "Der Lappen liegt auf dem Eisschrank."
    assert first.custom == {
        "emotion": "F",
        "sentence": "a01",
        "version": "a",
        "recognition": 90.0,
        "naturalness": 75.5,
    }
    assert (last.speaker, last.gender, last.custom["emotion"]) == ("16", "f", "L")
    assert found["03a02Wb"].custom == {"emotion": "W", "sentence": "a02", "version": "b"}
    assert found["03a02Wb"].alignment is None


def test_a_phone_lasts_until_the_next_and_modifiers_go_on_with_it(toy: Path) -> None:
    phones = supervisions(toy)["03a01Fa"].alignment["phone"]
    assert [(phone.symbol, phone.start, phone.duration) for phone in phones] == [
        ("_t", 0.2, 0.05),
        ("a", 0.25, 0.15),
        ("E6", 0.4, 0.05),
        ("I", 0.45, 0.05),
        ("ß", 0.5, 0.1),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n", ": has no line '#' before its labels; copy it again from the release"),
        ("#\n 0.1 -1 a\n", ": has no row '.' at the end, it may be cut short; copy it again"),
        ("#\n 0.1 -1 a\n b\n", ":3: expected '<seconds> -1 <phone>', got ' b'; correct the row"),
        (
            "#\n 0.2 -1 a\n 0.1 -1 .\n",
            ":3: 0.1 s comes before 0.2 s or behind the recording's end (1.000 s); correct the row",
        ),
        (
            "#\n 0.2 -1 a\n 1.1 -1 .\n",
            ":3: 1.1 s comes before 0.2 s or behind the recording's end (1.000 s); correct the row",
        ),
        (
            "#\n 0.2 -1 a\n 0.3 -1 .\n 0.4 -1 b\n",
            ":4: expected '<seconds> -1 <phone>', got ' 0.4 -1 b'; correct the row",
        ),
    ],
)
def test_odd_labels_are_warned_of_and_left_out(
    toy: Path, text: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = toy / "lablaut" / "03a01Faxx.lablaut"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_phones(path, 1.0)
    assert str(error.value) == f"{path}{message}"
    assert supervisions(toy)["03a01Fa"].alignment is None
    assert f"{path}{message}; the utterance gets no phone alignment" in caplog.messages


def test_recordings_alone_are_enough(toy: Path) -> None:
    shutil.rmtree(toy / "lablaut")
    (toy / "erkennung.txt").unlink()
    assert [item.alignment for item in supervisions(toy).values()] == [None] * 3


def test_other_formats_and_rates_are_taken(toy: Path) -> None:
    sound(toy / "wav" / "08a01Na.flac", 0.5, 44100)
    (toy / "wav" / "._08a01Na.wav").touch()
    (toy / "wav" / "notes.txt").touch()
    recordings = {item.id: item for item in prepare_emodb(toy)["recordings"]}
    assert recordings["08a01Na"].sampling_rate == 44100
    assert recordings["08a01Na"].num_samples == 22050
    assert recordings["08a01Na"].sources[0].source == str(toy / "wav" / "08a01Na.flac")
    assert len(recordings) == 4


@pytest.mark.slow
def test_all_faults_are_listed_and_nothing_is_written(
    toy: Path, tmp_path: Path, repo: Path, run_verb: Callable[..., CompletedProcess[str]]
) -> None:
    wav = toy / "wav"
    (wav / "08a01Na.wav").touch()
    (wav / "08a01Fa.wav").write_text("no audio, but long enough to be some")
    sound(wav / "08a02Fa.wav", 0.0)
    cut = sound(wav / "08a04Fa.wav")
    cut.write_bytes(cut.read_bytes()[:20000])
    flac = sound(wav / "08a05Fa.flac")
    flac.write_bytes(flac.read_bytes()[:15000])
    (wav / "08a07Fa.wav").symlink_to(tmp_path / "gone.wav")
    for name in ("hello.wav", "99a01Fa.wav", "03a03Fa.wav", "03a01Xa.wav"):
        sound(wav / name)
    sound(wav / "03a01Fa.flac")
    conf = repo / "egs" / "emodb" / "conf" / "corpus.yaml"
    result = run_verb("prepare", "emodb", tmp_path / "out", "--corpus-dir", toy, "--config", conf)
    assert result.returncode == 1
    lines = result.stderr.removeprefix("ser: error: ").splitlines()
    copy = "copy it again from the release"
    rename = "rename or remove it"
    speakers = " ".join(emodb_module.GENDERS)
    sentences = " ".join(emodb_module.SENTENCES)
    assert lines[-11:] == sorted(
        [
            f"{wav}/03a01Fa.wav: is the same utterance as 03a01Fa.flac; keep one of them",
            f"{wav}/03a01Xa.wav: X is no emotion of EMO-DB (W L E A F T N); {rename}",
            f"{wav}/03a03Fa.wav: a03 is no sentence of EMO-DB ({sentences}); {rename}",
            f"{wav}/08a01Fa.wav: is no audio file, or is damaged; {copy}",
            f"{wav}/08a01Na.wav: is empty (0 bytes); {copy}",
            f"{wav}/08a02Fa.wav: holds no samples; {copy}",
            f"{wav}/08a04Fa.wav: is cut short, its header says that it is longer; {copy}",
            f"{wav}/08a05Fa.flac: is no audio file, or is damaged; {copy}",
            f"{wav}/08a07Fa.wav: is a link to {tmp_path}/gone.wav, which is not there; repair it",
            f"{wav}/99a01Fa.wav: 99 is no speaker of EMO-DB ({speakers}); {rename}",
            f"{wav}/hello.wav: is not named as EMO-DB's recordings are (03a01Fa.wav); {rename}",
        ]
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_recording_is_named(toy: Path) -> None:
    (toy / "wav" / "03a01Fa.wav").chmod(0)
    with pytest.raises(
        DataError, match="03a01Fa.wav: cannot be read \\(Permission denied\\); make it readable"
    ):
        prepare_emodb(toy)


def message(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare_emodb(folder)
    return str(error.value)


def test_a_wrong_folder_is_told_from_the_right_one(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sound(tmp_path / "other" / "Session1" / "Ses01F_impro01_F000.wav")
    sound(tmp_path / "third" / "wav" / "hello.wav")
    assert message(toy.parent) == f"{toy.parent}: is one folder too high; give {toy}"
    assert message(toy / "wav") == f"{toy}/wav: is one folder too low; give {toy}"
    release = "give the folder of EMO-DB's release, the one that holds wav"
    assert message(tmp_path / "empty") == f"{tmp_path}/empty: is empty; {release}"
    assert message(tmp_path / "none") == f"{tmp_path}/none: no such folder; {release}"
    assert message(tmp_path / "other") == (
        f"{tmp_path}/other: is no copy of EMO-DB, it has no folder wav (it has Session1); give the release"
    )
    assert message(tmp_path / "third") == (
        f"{tmp_path}/third/wav: holds 1 audio files, none named as EMO-DB's are (03a01Fa.wav); "
        "name the folder of EMO-DB's release"
    )


# ---------------------------------------------------------------------------------------------- manifests


def test_manifests_are_the_same_bytes_each_time_and_made_only_when_needed(toy: Path, tmp_path: Path) -> None:
    names = ("recordings.jsonl.gz", "supervisions.jsonl.gz")
    for out in ("one", "two"):
        corpora.prepare("emodb", toy, tmp_path / out, num_jobs=2 if out == "two" else 1)
    for name in names:
        assert file_digest(tmp_path / "one" / name) == file_digest(tmp_path / "two" / name)
    before = (tmp_path / "one" / names[0]).stat().st_mtime_ns
    corpora.prepare("emodb", toy, tmp_path / "one")
    assert (tmp_path / "one" / names[0]).stat().st_mtime_ns == before
    sound(toy / "wav" / "08a01Na.wav")
    corpora.prepare("emodb", toy, tmp_path / "one")
    assert (tmp_path / "one" / names[0]).stat().st_mtime_ns != before


def test_lhotse_reads_what_was_written(toy: Path, tmp_path: Path) -> None:
    from lhotse import RecordingSet, SupervisionSet

    corpora.prepare("emodb", toy, tmp_path / "out")
    manifests = prepare_emodb(toy)
    recordings = RecordingSet.from_file(tmp_path / "out" / "recordings.jsonl.gz")
    assert list(recordings) == list(manifests["recordings"])
    read = SupervisionSet.from_file(tmp_path / "out" / "supervisions.jsonl.gz")
    assert list(read) == list(manifests["supervisions"])
    assert next(iter(recordings)).load_audio().shape == (1, 16000)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("emo-db", "module emo-db is unknown; did you mean emodb?"),
        (
            "xyz",
            "module xyz is unknown; known are cremad, csv, emodb, iemocap, lhotse, mini, ravdess, or "
            "my_package.my_module:NAME for your own",
        ),
        ("pathlib:Path", "module pathlib:Path: is type, no Corpus; ser/corpora/base.py says what it needs"),
        ("pathlib:Paht", "module pathlib:Paht: pathlib has no Paht; did you mean Path?"),
    ],
)
def test_a_module_that_is_no_corpus(module: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        corpora.find(module, "mine.yaml")
    assert str(error.value) == f"mine.yaml: {message}"


def test_a_loop_of_links_ends(toy: Path) -> None:
    before = corpora.listing_digest(toy)
    (toy / "wav" / "up").symlink_to(toy)
    assert corpora.listing_digest(toy) == before


@pytest.mark.slow
def test_differing_numbers_are_told_and_strict_makes_them_an_error(
    toy: Path, tmp_path: Path, repo: Path, run_verb: Callable[..., CompletedProcess[str]]
) -> None:
    conf = repo / "egs" / "emodb" / "conf" / "corpus.yaml"
    arguments = (
        *("prepare", tmp_path / "out", tmp_path / "all", "--corpus-dir", toy, "--config", conf),
        *("--set", "classes=[ang,hap]", "--set", "labels={W: ang, F: hap}"),
    )
    result = run_verb(*arguments, "--set", "checks={emotion: {F: 1, W: 2}}")
    assert result.returncode == 0
    assert result.stdout.startswith("ok: emotion F: 1\ndiffers: emotion W: 1, expected 2\ncorpus emodb: ")
    assert tables.read_table(tmp_path / "all" / "utt2emo") == {"03-03a01Fa": "hap", "03-03a02Wb": "ang"}
    assert f"{toy}: 1 of 2 numbers differ from checks in {conf}; is the copy complete?" in result.stderr
    strict = run_verb(*arguments, "--set", "checks={emotion: {F: 1, W: 2}}", "--strict", "true")
    assert strict.returncode == 1
    assert strict.stderr.endswith(
        f"ser: error: {toy}: 1 of 2 numbers differ from checks in {conf}; "
        "complete the copy, or correct checks\n"
    )


def test_what_else_is_known_of_a_corpus_is_checked_too(
    toy: Path, tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("toy_checks")
    fact = SimpleNamespace(ok=False)
    module.check = lambda utterances, _: [fact] * len(utterances)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_checks", module)
    module.CORPUS = replace(corpora.find("emodb"), check="toy_checks:check")  # type: ignore[attr-defined]
    corpora.prepare("toy_checks:CORPUS", toy, tmp_path / "out")
    config = load_corpus(repo / "egs" / "emodb" / "conf" / "corpus.yaml", ["checks={emotion: {F: 1}}"])
    found = corpora.check("toy_checks:CORPUS", tmp_path / "out", config)
    assert found == [(True, "ok: emotion F: 1"), *[(False, str(fact))] * 3]


# ----------------------------------------------------------------------------------------------- download


def fake_audb(*, fail: bool = False, folder: str = "wav") -> ModuleType:
    module = ModuleType("audb")

    def load_to(root: str, name: str, *, version: str, verbose: bool) -> None:
        assert (name, version, verbose) == ("emodb", "1.4.1", False)
        if fail:
            raise ConnectionError("no route")
        sound(Path(root) / folder / "03a01Fa.wav")
        (Path(root) / "db.yaml").write_text("name: emodb\n")

    module.load_to = load_to  # type: ignore[attr-defined]
    return module


def test_a_download_has_the_releases_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "audb", fake_audb())
    target = tmp_path / "emodb"
    corpora.download("emodb", target)
    assert [path.name for path in target.iterdir()] == ["wav"]
    assert list(supervisions(target)) == ["03a01Fa"]
    monkeypatch.setitem(sys.modules, "audb", fake_audb(fail=True))
    download_emodb(target)  # it is there


def test_a_failed_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "emodb"
    monkeypatch.setitem(sys.modules, "audb", fake_audb(fail=True))
    with pytest.raises(
        DataError, match="audb could not fetch emodb 1.4.1 \\(ConnectionError: no route\\); is the"
    ):
        download_emodb(target)
    monkeypatch.setitem(sys.modules, "audb", fake_audb(folder="flac"))
    with pytest.raises(DataError, match="audb's emodb 1.4.1 has no folder wav"):
        download_emodb(target)
    monkeypatch.setitem(sys.modules, "audb", None)
    with pytest.raises(
        DataError, match="--download: needs the Python package audb; install it with: python3 -m"
    ):
        download_emodb(target)
    assert list(tmp_path.iterdir()) == []
    (target / "notes").mkdir(parents=True)
    with pytest.raises(DataError, match="emodb: holds other files; give an empty or a new folder"):
        download_emodb(target)


def test_a_licensed_corpus_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="^--download: iemocap cannot be fetched; ask its owners for a copy"):
        corpora.download("iemocap", tmp_path)


# --------------------------------------------------------------------------------------------- the real one


def script(recipe: Path, *arguments: object, **environment: str) -> CompletedProcess[str]:
    return subprocess.run(
        ["local/prepare.sh", *map(str, arguments)],
        cwd=recipe,
        env={**os.environ, "SER_PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_script_makes_a_valid_data_folder(emodb: Path, repo: Path, tmp_path: Path) -> None:
    recipe, data = repo / "egs" / "emodb", tmp_path / "all"
    result = script(recipe, "--strict", "true", tmp_path / "manifests", data, EMODB=str(emodb))
    assert (result.returncode, result.stdout.count("ok: ")) == (0, 8)
    assert validate(data, need=["wav.scp", "text"]) == (339, 10)
    assert read_emotions(data / "emotions.txt") == ("ang", "hap", "neu", "sad")
    assert len((data / "phone.ctm").read_text().splitlines()) == 14079
    dropped = script(
        recipe, "--corpus-dir", emodb, tmp_path / "manifests", tmp_path / "two", "--set", "classes=[ang,sad]",
        "--set", "labels={W: ang, T: sad}", "--set", "checks=null",
    )  # fmt: skip
    assert "kept 189 of 339 utterances; left out 150 by label (F 71, N 79), 0 by keep" in dropped.stderr


def test_the_script_needs_a_corpus(repo: Path, tmp_path: Path) -> None:
    result = script(repo / "egs" / "emodb", "--corpus-dir", "", tmp_path / "manifests", EMODB="")
    assert (result.returncode, result.stdout) == (2, "")
    assert (
        "give --corpus-dir <folder of EMO-DB>, set EMODB, or fetch it with --download true" in result.stderr
    )


def test_the_real_recordings(emodb: Path) -> None:
    manifests = prepare_emodb(emodb)
    recordings = {item.id: item for item in manifests["recordings"]}
    found = {item.id: item for item in manifests["supervisions"]}
    assert len(recordings) == len(found) == 339
    assert {(item.sampling_rate, item.num_channels) for item in recordings.values()} == {(16000, 1)}
    assert round(sum(item.duration for item in recordings.values()), 1) == 953.7
    assert Counter(item.custom["emotion"] for item in found.values()) == {"W": 127, "F": 71, "N": 79, "T": 62}
    assert len({item.speaker for item in found.values()}) == 10
    assert len({item.text for item in found.values()}) == 10
    assert all(0 <= item.custom["recognition"] <= 100 for item in found.values())


def test_the_real_phones(emodb: Path) -> None:
    manifests = prepare_emodb(emodb)
    found = {item.id: item for item in manifests["supervisions"]}
    assert [name for name, item in found.items() if not item.alignment] == ["08a01Wa"]
    silence_s = []
    for item in found.values():
        phones = (item.alignment or {}).get("phone", [])
        for phone, after in zip(phones, phones[1:], strict=False):
            assert phone.duration > 0
            assert phone.end == pytest.approx(after.start, abs=1e-6)
            assert not set(phone.symbol) & set(" \t+-")
        if phones:
            silence_s.append(item.duration - phones[-1].end)
    assert round(min(silence_s), 3) == 0.002
    assert round(max(silence_s), 3) == 0.353
    first = found["03a01Fa"].alignment["phone"]
    assert [phone.symbol for phone in first[:5]] == ["_t", "!t", "E6", "l", "a"]
    assert (first[4].start, first[-1].end) == (0.348031, 1.84139)


def test_lost_manifests_are_made_again(toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "manifests"
    corpora.prepare("emodb", toy, out)
    names = {"recordings.jsonl.gz", "supervisions.jsonl.gz"}
    check_made_again(out, names, lambda: corpora.prepare("emodb", toy, out), caplog)
