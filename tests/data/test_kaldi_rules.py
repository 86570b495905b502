"""Kaldi's tools take every data folder that the recipe makes: all data, and every subset of every fold."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from ser import corpora
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.corpus_tables import make_data_dir
from ser.data.folds import make_folds
from ser.feats import cmvn, extract
from ser.feats.sets import load_set
from tests.corpora.iemocap_release import tiny_release, write_release
from tests.corpora.test_ravdess import make_release
from tests.corpora.wavs import write_wav
from tests.data.kaldi_rules import kaldi_faults
from tests.feats.conftest import plain


def write(folder: Path, **lines: str) -> Path:
    """A data folder of two speakers, 1 and 10, with every table that Kaldi knows; ``lines`` replace some."""
    tables_by_name = {
        "utt2spk": "1-b 1\n10-a 10\n",
        "spk2utt": "1 1-b\n10 10-a\n",
        "text": "1-b well then\n10-a grüß dich\n",
        "wav.scp": "r1 /r1.wav\nr2 sox /r2.wav -t wav - |\n",
        "segments": "1-b r2 0.5 1.5\n10-a r1 0 2\n",
        "reco2file_and_channel": "r1 r1 A\nr2 r2 B\n",
        "feats.scp": "1-b /f.ark:4\n10-a /f.ark:99\n",
        "cmvn.scp": "1 /c.ark:2\n10 /c.ark:80\n",
        "spk2gender": "1 f\n10 m\n",
        "utt2dur": "1-b 1.0\n10-a 2\n",
        "utt2num_frames": "1-b 98\n10-a 198\n",
        "utt2uniq": "1-b b\n10-a a\n",
        "reco2dur": "r1 2.0\nr2 1.5\n",
    }
    folder.mkdir(exist_ok=True)
    for name, content in {**tables_by_name, **{key.replace("__", "."): lines[key] for key in lines}}.items():
        (folder / name).write_text(content)
    return folder


def test_a_folder_that_kaldi_takes(tmp_path: Path) -> None:
    assert kaldi_faults(write(tmp_path)) == []


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ({"utt2spk": "10-a 10\n1-b 1\n"}, "utt2spk: not sorted, or a key twice"),
        ({"utt2spk": "1-b 1\n10-a 10"}, "utt2spk: no newline at its end"),
        ({"utt2spk": "1-b 1\n10-a 10 x\n"}, "utt2spk: a line that is no '<utterance> <speaker>'"),
        ({"utt2spk": "1-b 10\n10-a 1\n", "spk2utt": "1 10-a\n10 1-b\n"}, "utt2spk: not sorted by speaker"),
        ({"spk2utt": "10 10-a\n1 1-b\n"}, "spk2utt: not sorted, or a key twice"),
        ({"spk2utt": "1 1-b 10-a\n"}, "spk2utt: not utt2spk turned round"),
        ({"text": "1-b well\n"}, "text: other keys"),
        ({"text": "1-b\n10-a well\n"}, "text: a malformed line"),
        ({"text": "1-b well\u00a0then\n10-a x\n"}, "text: a blank that is none of space, tab and newline"),
        ({"text": "1-b well\x07\n10-a x\n"}, "text: a character that cannot be printed"),
        ({"text": "1-b <s> well\n10-a x\n"}, "text: <s>, </s> or #0"),
        ({"segments": "1-b r2 1.5 1.5\n10-a r1 0 2\n"}, "segments: a malformed line"),
        ({"wav__scp": "1-b /r1.wav\n10-a /r2.wav\n"}, "wav.scp: other keys"),
        ({"wav__scp": "r1 ~/r1.wav\nr2 /r2.wav\n"}, "wav.scp: a malformed line"),
        ({"reco2file_and_channel": "r1 r1 A\nr2 r2 C\n"}, "reco2file_and_channel: a malformed line"),
        ({"feats__scp": "1-b /f.ark:4\n"}, "feats.scp: other keys"),
        ({"cmvn__scp": "1-b /c.ark:2\n10-a /c.ark:80\n"}, "cmvn.scp: other keys"),
        ({"spk2gender": "1 f\n10 x\n"}, "spk2gender: a malformed line"),
        ({"utt2dur": "1-b 0\n10-a 2\n"}, "utt2dur: a malformed line"),
        ({"utt2num_frames": "1-b 98\n10-a 19.5\n"}, "utt2num_frames: a malformed line"),
        ({"utt2uniq": "1-b b\n"}, "utt2uniq: other keys"),
        ({"reco2dur": "1-b 1\n10-a 2\n"}, "reco2dur: other keys"),
    ],
)
def test_what_kaldi_refuses(tmp_path: Path, lines: dict[str, str], fault: str) -> None:
    assert fault in kaldi_faults(write(tmp_path, **lines))


def test_what_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("text", "feats.scp", "segments", "wav.scp", "reco2file_and_channel", "reco2dur"):
        (tmp_path / name).unlink()
    missing = ["text: missing or empty", "text: other keys", "wav.scp: missing or empty"]
    assert kaldi_faults(tmp_path)[:3] == missing
    assert kaldi_faults(tmp_path, text=False, feats=False, wav=False) == []


# ------------------------------------------------------------------------------------ what the recipe makes


def prepared(conf: Path, release: Path, out: Path) -> list[Path]:
    """Stages 0 to 2 of a corpus, every protocol of it; all the data folders that they make."""
    config = load_corpus(conf / "corpus.yaml")
    corpora.prepare(config.module, release, out / "manifests", config=config)
    data = out / "all"
    make_data_dir(out / "manifests", data, config)
    features = load_set(conf.parents[2] / "conf" / "fbank.yaml", config.audio)
    extract.make_shard(data, features, 1, 1, plain)
    extract.merge_shards(data, features, 1)
    extract.make_main(data, features.name)
    cmvn.compute(data, features.name, plain)
    folders = [data]
    for protocol in config.protocols:
        make_folds(data, out / protocol, config, protocol)
        folders += sorted(path.parent for path in (out / protocol).rglob("utt2spk"))
    return folders


def check(folders: list[Path], *, text: bool = True) -> None:
    for folder in folders:
        assert kaldi_faults(folder, text=text) == [], folder
        for name in ("feats.scp", "utt2dur", "utt2num_frames"):
            assert (folder / name).exists()
        if folder.name in ("train", "dev", "test"):
            assert (folder / "cmvn.scp").exists()


@pytest.mark.slow
def test_mini(repo: Path, small_release: Path, tmp_path: Path) -> None:
    folders = prepared(repo / "egs" / "mini" / "conf", small_release, tmp_path)
    assert len(folders) == 30  # all; 3 of paper, 5 of paper_dev, 21 of session
    check(folders)


@pytest.mark.slow
def test_iemocap(repo: Path, tmp_path: Path) -> None:
    """A release in IEMOCAP's layout, with noise for its silence, so that no two recordings are the same."""
    release = write_release(tmp_path / "IEMOCAP_full_release", tiny_release())
    rng = np.random.default_rng(0)
    for path in sorted(release.rglob("sentences/wav/*/[!.]*.wav")):
        with wave.open(str(path)) as stream:
            parameters = stream.getparams()
        with wave.open(str(path), "wb") as stream:
            stream.setparams(parameters)
            stream.writeframes(rng.integers(-3000, 3000, parameters.nframes, np.int16).tobytes())
    folders = prepared(repo / "egs" / "iemocap" / "conf", release, tmp_path)
    assert tables.read_table(tmp_path / "all" / "utt2raw")["Ses01_F-Ses01F_impro01_F000"] == (
        "Ses01F_impro01_F000"
    )
    check(folders)


@pytest.mark.slow
def test_emodb(repo: Path, emodb: Path, tmp_path: Path) -> None:
    check(prepared(repo / "egs" / "emodb" / "conf", emodb, tmp_path))


@pytest.mark.slow
def test_ravdess(repo: Path, tmp_path: Path) -> None:
    release = make_release(tmp_path / "release", range(1, 25))
    check(prepared(repo / "egs" / "ravdess" / "conf", release, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [("1", "2", "3", "10", "11"), ("a", "a+1", "a-1", "a_1", "b")])
def test_a_table(repo: Path, tmp_path: Path, speakers: tuple[str, ...]) -> None:
    """Speakers whose names begin one another's, and turns without text."""
    lines = ["path,speaker,emotion,text,fold"]
    emotions = ("angry", "happy", "neutral", "sad")
    for number, speaker in enumerate(speakers):
        for take, emotion in enumerate(emotions):
            write_wav(tmp_path / "wav" / f"{number}-{take}.wav", 10 * number + take)
            text = "" if (number, take) == (0, 0) else "well then"
            lines.append(f"wav/{number}-{take}.wav,{speaker},{emotion},{text},{number}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    folders = prepared(repo / "egs" / "csv" / "conf", tmp_path / "table.csv", tmp_path)
    check(folders, text=False)
    assert "text: other keys" in kaldi_faults(tmp_path / "all")
    assert sorted(tables.read_table(tmp_path / "all" / "spk2utt")) == sorted(speakers)
