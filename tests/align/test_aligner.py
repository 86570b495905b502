"""From features and transcripts to times, with a plain search in the place of k2: sounds of known times."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser import config
from ser.align import aligner, hmm, phone_training
from ser.align.phone_model import AlignConfig, BestPath
from ser.align.speech import Speech
from ser.data import tables
from ser.data.alignment import read_ctm
from ser.data.corpus import AudioConfig
from ser.errors import DataError, StaleError, UsageError
from ser.feats import cmvn
from ser.feats.sets import FeatureSet, load_set
from tests.align.viterbi import search
from tests.lost import check_made_again

SETTINGS = AlignConfig(
    num_cepstra=8, delta_window=1, states=2, components=1, rounds=6, min_frames=5, variance_floor=0.01,
    optional_silence=True, max_minutes=60.0,
)  # fmt: skip
SHIFT_S = 0.005
SOUNDS = {"SIL": 0, "AH": 1, "EH": 2, "S": 3, "T": 4}
WORDS = {"US": ("AH", "S"), "TESS": ("T", "EH", "S"), "UT": ("AH", "T"), "SET": ("S", "EH", "T")}


def feature_set(repo: Path) -> FeatureSet:
    return load_set(repo / "conf" / "align_fbank.yaml", AudioConfig(16000, None, "refuse"))


@pytest.fixture
def data(tmp_path: Path, repo: Path) -> Path:
    """Utterances of three words; truth.json has the frame in which each phone begins."""
    rng = np.random.default_rng(5)
    spectra = rng.normal(0, 2.0, size=(len(SOUNDS), 40))
    folder = tmp_path / "all"
    texts, truth, frames = {}, {}, {}
    made = folder / "align_fbank"
    with tables.ArkWriter(made / "feats") as feats, tables.ArkWriter(made / "cmvn_utt") as sums:
        for number in range(16):
            name = f"{'ab'[number // 8]}{number:02d}"
            words = rng.choice(list(WORDS), size=3).tolist()
            phones = ["SIL", *(phone for word in words for phone in WORDS[word]), "SIL"]
            phones = [phone for phone, before in zip(phones, ["", *phones], strict=False) if phone != before]
            lengths = rng.integers(6, 25, size=len(phones))
            values = np.concatenate(
                [
                    rng.normal(spectra[SOUNDS[p]], 0.7, size=(n, 40))
                    for p, n in zip(phones, lengths, strict=True)
                ]
            ).astype(np.float32)
            texts[name], truth[name] = " ".join(words).lower(), np.cumsum(lengths)[:-1].tolist()
            frames[name] = len(values)
            feats.write(name, values)
            sums.write(name, cmvn.stats(values))
    tables.write_table(folder / "text", texts)
    tables.write_table(folder / "utt2spk", {name: name[0] for name in texts})
    tables.write_table(made / "utt2num_frames", frames)
    tables.write_table(made / "utt2digest", {name: "0" for name in texts})
    (made / "settings.yaml").write_text(config.dump(feature_set(repo).to_dict()))
    (folder / "truth.json").write_text(json.dumps(truth))
    lexicon = "".join(f"{word} {' '.join(phones)}\n" for word, phones in WORDS.items())
    (tmp_path / "lexicon.txt").write_text(lexicon)
    return folder


def progress(items, _what):  # type: ignore[no-untyped-def]
    return items


def train(data: Path, repo: Path, settings: AlignConfig = SETTINGS) -> Path:
    model = data.parent / "phones"
    phones = repo / "conf" / "phones.yaml"
    phone_training.train_phones(settings, phones, data, data.parent / "lexicon.txt", model, search, progress)
    return model


def align(data: Path, model: Path, out: Path, jobs: int = 3) -> None:
    for job in range(1, jobs + 1):
        aligner.align_shard(data, model, out, job, jobs, search, progress)
    aligner.merge_shards(data, model, out, jobs)


def test_times_are_found_whatever_the_number_of_jobs(data: Path, repo: Path, tmp_path: Path) -> None:
    model = train(data, repo)
    align(data, model, tmp_path / "three")
    align(data, model, tmp_path / "one", jobs=1)
    for tier in ("phone.ctm", "word.ctm"):
        assert (tmp_path / "one" / tier).read_bytes() == (tmp_path / "three" / tier).read_bytes()
    assert not (tmp_path / "one" / "not_aligned").exists()
    truth = json.loads((data / "truth.json").read_text())
    errors = []
    for name, rows in read_ctm(tmp_path / "one" / "phone.ctm").items():
        merged = [row for row, before in zip(rows, [("", 0, 0), *rows], strict=False) if row[0] != before[0]]
        starts = [start for _, start, _ in merged][1:]
        assert len(starts) == len(truth[name])
        errors += [start - SHIFT_S * frame for start, frame in zip(starts, truth[name], strict=True)]
    assert np.mean(np.abs(errors) < 1.5 * SHIFT_S) > 0.97
    words = read_ctm(tmp_path / "one" / "word.ctm")
    texts = tables.read_table(data / "text")
    for name, rows in words.items():
        assert [word.lower() for word, _, _ in rows if word != "<sil>"] == texts[name].split()


def test_what_cannot_be_aligned_is_kept_apart(data: Path, repo: Path, tmp_path: Path) -> None:
    texts = tables.read_table(data / "text")
    texts["a03"] = " ".join(60 * ["tess"])
    texts["b09"] = "... ?"
    del texts["b10"]
    tables.write_table(data / "text", texts)
    model = train(data, repo)
    align(data, model, tmp_path / "k2")
    frames = tables.read_table(data / "align_fbank" / "utt2num_frames")["a03"]
    assert (tmp_path / "k2" / "not_aligned").read_text() == (
        f"a03 it has {frames} frames, its words need 360\nb09 it has no words\nb10 it has no words\n"
    )
    aligned = read_ctm(tmp_path / "k2" / "phone.ctm")
    assert len(aligned) == 13
    assert not {"a03", "b09", "b10"} & set(aligned)


def test_stopped_and_gone_on(data: Path, repo: Path, tmp_path: Path) -> None:
    model, out = train(data, repo), tmp_path / "k2"
    aligner.align_shard(data, model, out, 1, 2, search, progress)
    first = out / "shards" / "shard.1.json"
    stamp = first.stat().st_mtime_ns
    (out / "shards" / "shard.2.json").write_text('{"made": [2, 2')  # a file of another kind of ending
    with pytest.raises(DataError) as error:
        aligner.merge_shards(data, model, out, 2)
    assert str(error.value) == (
        f"{out}/shards/shard.2.json: is missing or of something else; run steps/align.sh again"
    )

    def no_search(*_: object) -> list[BestPath | None]:
        raise AssertionError("it was done before")

    aligner.align_shard(data, model, out, 1, 2, no_search, progress)
    assert first.stat().st_mtime_ns == stamp
    aligner.align_shard(data, model, out, 2, 2, search, progress)
    aligner.merge_shards(data, model, out, 2)
    align(data, model, tmp_path / "whole", jobs=1)
    assert (out / "phone.ctm").read_bytes() == (tmp_path / "whole" / "phone.ctm").read_bytes()
    made = (out / "made.json").stat().st_mtime_ns
    aligner.align_shard(data, model, out, 1, 5, no_search, progress)
    aligner.merge_shards(data, model, out, 5)
    assert (out / "made.json").stat().st_mtime_ns == made


def test_another_transcript_or_lexicon_is_refused(data: Path, repo: Path, tmp_path: Path) -> None:
    model, out = train(data, repo), tmp_path / "k2"
    align(data, model, out)
    tables.write_table(data / "text", {**tables.read_table(data / "text"), "a00": "us"})
    remedy = f"choose another folder, or remove it: rm -r {out}"
    with pytest.raises(StaleError, match=rf"^{out}: was made differently: text has changed; {remedy}$"):
        align(data, model, out)
    with pytest.raises(StaleError, match=r"was made differently: text has changed; "):
        train(data, repo)
    with pytest.raises(StaleError, match=r"rounds: 6 -> 7; "):
        train(data, repo, replace(SETTINGS, rounds=7))


def test_words_that_are_not_in_the_lexicon(data: Path, repo: Path) -> None:
    tables.write_table(
        data / "text", {**tables.read_table(data / "text"), "a00": "us zebra", "b08": "zebra yak"}
    )
    with pytest.raises(DataError) as error:
        train(data, repo)
    assert str(error.value) == (
        f"{data}/text: has 2 words that are not in {data.parent}/lexicon.txt: YAK (1), ZEBRA (2); "
        "add them to it, or make it with steps/make_lexicon.sh"
    )
    assert not (data.parent / "phones" / "model.npz").exists()


def test_features_of_another_kind(data: Path, repo: Path, tmp_path: Path) -> None:
    model = train(data, repo)
    path = data / "align_fbank" / "settings.yaml"
    path.write_text(path.read_text().replace("frame_shift_ms: 5.0", "frame_shift_ms: 10.0"))
    with pytest.raises(DataError) as error:
        aligner.align_shard(data, model, tmp_path / "k2", 1, 1, search, progress)
    assert str(error.value) == (
        f"{path}: the features are not those of the model {model}: frame_shift_ms differ; "
        f"make them with the settings in {model}/feats.yaml"
    )


def test_the_model_tells_the_feature_set(data: Path, tmp_path: Path) -> None:
    """Features of another name, and a phone set that builds on another: the model folder keeps both."""
    shutil.copytree(data / "align_fbank", data / "short_steps")
    (data / "align_fbank" / "settings.yaml").unlink()
    phones = tmp_path / "phones.yaml"
    phones.write_text("base: phones.yaml\nname: mine\n")
    model = tmp_path / "phones"
    arguments = (data, tmp_path / "lexicon.txt", model, search, progress, "short_steps")
    phone_training.train_phones(SETTINGS, phones, *arguments)
    align(data, model, tmp_path / "k2", jobs=1)
    assert len(read_ctm(tmp_path / "k2" / "phone.ctm")) == 16
    assert config.read_yaml(model / "feats.yaml")["set"] == "short_steps"
    assert config.read_yaml(model / "phones.yaml")["name"] == "mine"
    assert "vowel" in config.read_yaml(model / "phones.yaml")
    with pytest.raises(DataError) as error:
        phone_training.train_phones(SETTINGS, phones, *arguments[:-1])
    assert str(error.value) == f"{data}/align_fbank/settings.yaml: no such file; run steps/extract.sh"


def test_a_lexicon_with_phones_that_were_not_trained(data: Path, repo: Path, tmp_path: Path) -> None:
    model = train(data, repo)
    with open(model / "lexicon.txt", "a") as stream:
        stream.write("ZEBRA Z IY B R AX\n")
    with pytest.raises(DataError) as error:
        aligner.align_shard(data, model, tmp_path / "k2", 1, 1, search, progress)
    assert str(error.value) == (
        f"{model}/lexicon.txt: has phones that the model was not trained on: AX, B, IY, R, Z; "
        "train it with this lexicon"
    )


def test_wrong_numbers_and_missing_files(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--job 3: must be from 1 to --num-jobs \(2\)$"):
        aligner.align_shard(data, tmp_path, tmp_path, 3, 2, search, progress)
    with pytest.raises(DataError, match=r"model\.npz: no such file; run steps/train_phones\.sh$"):
        aligner.align_shard(data, tmp_path, tmp_path, 1, 2, search, progress)


def test_boundaries_lie_between_the_middles_of_windows(data: Path) -> None:
    assert (Speech(data, SETTINGS).shift_s, Speech(data, SETTINGS).offset_s) == (SHIFT_S, 0.0)
    path = data / "align_fbank" / "settings.yaml"
    path.write_text(path.read_text().replace("middle_s: 0.0025", "middle_s: 0.0125"))  # snip_edges: true
    assert Speech(data, SETTINGS).offset_s == pytest.approx(0.010)  # of 25 ms every 5 ms
    labels = [("SIL", hmm.NO_WORD), ("T", 0), ("EH", 0), ("S", 1)]
    best = BestPath(np.zeros(8, np.int32), np.array([0, 0, 1, 1, 1, 2, 3, 3], np.int32), 0.0)
    assert aligner.tiers(best, labels, ["TE", "S"], 0.25, 0.125, 2.25) == {
        "phone": [("SIL", 0.0, 0.625), ("T", 0.625, 0.75), ("EH", 1.375, 0.25), ("S", 1.625, 0.625)],
        "word": [("<sil>", 0.0, 0.625), ("TE", 0.625, 1.0), ("S", 1.625, 0.625)],
    }


def test_lost_models_and_alignments_are_made_again(
    data: Path, repo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = replace(SETTINGS, components=1, rounds=1)
    model, out = train(data, repo, small), tmp_path / "k2"
    names = {"model.npz", "align.yaml", "phones.yaml", "lexicon.txt", "feats.yaml"}
    check_made_again(model, names, lambda: train(data, repo, small), caplog)
    align(data, model, out, jobs=1)
    check_made_again(out, {"phone.ctm", "word.ctm"}, lambda: align(data, model, out, jobs=1), caplog)
