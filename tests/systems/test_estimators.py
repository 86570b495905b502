"""Estimators as systems: what they write, use, leave alone and refuse; EMO-DB's numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser import config, corpora
from ser.data import tables
from ser.data.corpus import load_corpus
from ser.data.corpus_tables import make_data_dir
from ser.data.datadir import make_views
from ser.data.labels import write_emotions
from ser.errors import ConfigError, DataError
from ser.learn import fitting, models
from ser.learn.decoding import decode_folder
from ser.learn.tasks import Task
from ser.scoring.evaluate import score_folder
from ser.scoring.posteriors import pool_folders, read_posteriors

CLASSES = ("ang", "hap", "sad")
CONF = config.SHARED


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four speakers with twelve utterances each, functionals that tell the class; a fold tests on s4."""
    random = np.random.default_rng(0)
    folder = tmp_path / "all"
    utts = {
        f"{speaker}-{n:02}": (speaker, CLASSES[max(0, n % 4 - 1)])
        for speaker in ("s1", "s2", "s3", "s4")
        for n in range(12)
    }
    tables.write_table(folder / "utt2spk", {utt: speaker for utt, (speaker, _) in utts.items()})
    tables.write_table(folder / "utt2emo", {utt: emotion for utt, (_, emotion) in utts.items()})
    tables.write_table(folder / "utt2dur", dict.fromkeys(utts, 2.0))
    write_emotions(folder / "emotions.txt", CLASSES)
    for name in ("egemaps", "compare"):
        with tables.ArkWriter(folder / name / "feats") as ark:
            for utt, (speaker, emotion) in sorted(utts.items()):
                mean = 3.0 * np.eye(3, 8)[CLASSES.index(emotion)] + 10.0 * int(speaker[1])
                ark.write(utt, (mean + random.normal(0, 0.3, 8)).astype(np.float32))
        (folder / name / "settings.yaml").write_text(f"settings: {{extractor: functionals, set: {name}}}\n")
    test = [utt for utt in utts if utt.startswith("s4")]
    make_views(folder, {tmp_path / "train": sorted(set(utts) - set(test)), tmp_path / "test": test})
    return folder


def make(data: Path, name: str, out: str = "out") -> Path:
    """Train a system of the shared conf/ and decode the test subset."""
    root = data.parent
    conf = CONF / f"{name}.yaml"
    task = Task(root / "train", None, root / "models" / out, 0, config.resolve(conf), str(conf))
    fitting.train(task)
    decode_folder(task.folder, root / "test", root / out)
    return root / out


def test_the_majority_has_the_shares_of_the_training_subset(data: Path) -> None:
    output = read_posteriors(make(data, "majority"))
    assert len(output.posteriors) == 12
    assert {tuple(row) for row in output.posteriors.values()} == {(0.5, 0.25, 0.25)}
    assert set(tables.read_table(data.parent / "out" / "hyp").values()) == {"ang"}
    assert output.notes == {}
    result = score_folder(
        data.parent / "test", data.parent / "out", key2utt=None, allow_missing=False, num_draws=0, seed=0
    )
    assert (result["acc"], result["uar"]) == ("0.500000", "0.333333")


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("svm_egemaps_speaker", "speaker"),
        ("svm_egemaps_global", "global"),
        ("svm_egemaps", "speaker"),
        ("svm_compare", "speaker"),
        ("svm_compare_global", "global"),
    ],
)
def test_an_svm_is_a_system(data: Path, name: str, norm: str) -> None:
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    out = make(data, name)
    assert read_posteriors(out).notes == {"features": name.split("_")[1], "normalisation": norm}
    if norm == "speaker":  # the speakers' shifts are taken away, so that all is right
        assert tables.read_table(out / "hyp") == tables.read_table(data.parent / "test" / "utt2emo")
    model = models.load_model(data.parent / "models" / "out")
    np.testing.assert_array_equal(model.arrays["search_costs"], [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    best = model.arrays["search_uar"].argmax()
    assert model.arrays["cost"] == model.arrays["search_costs"][best]
    assert {path.name for path in model.folder.iterdir()} == {
        *("model.json", "model.safetensors", "config.yaml", "emotions.txt", "made.json", ".lock"),
    }


@pytest.mark.parametrize("norm", ["speaker", "global"])
def test_an_svm_whose_normalisation_follows_its_training_subset(data: Path, norm: str) -> None:
    """The same to the byte as if it were named; speakers of one class each take the training subset's."""
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    train = data.parent / "train"
    if norm == "global":
        shown = dict(zip(("s1", "s2", "s3"), CLASSES, strict=True))
        utt2spk = tables.read_table(train / "utt2spk")
        tables.write_table(train / "utt2emo", {utt: shown[speaker] for utt, speaker in utt2spk.items()})
    one, two = make(data, "svm_egemaps", "auto"), make(data, f"svm_egemaps_{norm}", "named")
    assert (one / "post").read_bytes() == (two / "post").read_bytes()
    assert read_posteriors(one).notes == {"features": "egemaps", "normalisation": norm}
    assert models.load_model(data.parent / "models" / "auto").norm == norm
    make(data, "svm_egemaps", "auto")  # up to date


def test_an_svm_hears_frames_by_their_mean_and_deviation(data: Path) -> None:
    """A set of frames whose mean and deviation are the vectors of another set gives the same decisions."""
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    vectors = tables.ArkReader(data / "egemaps" / "feats.scp")
    frames = {}
    with tables.ArkWriter(data / "frames" / "feats") as ark:
        for number, key in enumerate(vectors.places):
            mean, deviation = vectors.read(key)[:4], np.abs(vectors.read(key)[4:])
            ark.write(key, np.tile([mean - deviation, mean + deviation], (1 + number % 3, 1)))
            frames[key] = 2 + 2 * (number % 3)
    tables.write_table(data / "frames" / "utt2num_frames", frames)
    (data / "frames" / "settings.yaml").write_text("settings: {}\n")
    with tables.ArkWriter(data / "egemaps" / "feats") as ark:
        for key in vectors.places:
            ark.write(key, np.concatenate([vectors.read(key)[:4], np.abs(vectors.read(key)[4:])]))
    root, conf = data.parent, CONF / "svm_egemaps.yaml"
    for name in ("frames", "egemaps"):
        tree = config.resolve(conf, [f"features.sets=[{name}]"])
        task = Task(root / "train", None, root / "models" / name, 0, tree, str(conf))
        fitting.train(task)
        decode_folder(task.folder, root / "test", root / name)
    one, two = (read_posteriors(root / name).posteriors for name in ("frames", "egemaps"))
    for key, row in one.items():
        np.testing.assert_allclose(row, two[key], atol=1e-4)


def test_the_test_subsets_labels_are_not_read(data: Path) -> None:
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    before = (make(data, "svm_egemaps", "one") / "post").read_bytes()
    (data.parent / "test" / "utt2emo").unlink()
    assert (make(data, "svm_egemaps", "two") / "post").read_bytes() == before


def test_made_again_only_when_something_changed(data: Path) -> None:
    post = make(data, "majority") / "post"
    stamp = post.stat().st_mtime_ns
    make(data, "majority")
    assert post.stat().st_mtime_ns == stamp
    table = tables.read_table(data.parent / "train" / "utt2emo")
    tables.write_table(data.parent / "train" / "utt2emo", {**table, "s1-00": "sad"})
    with pytest.raises(DataError, match="models/out: was made differently: utt2emo has changed; "):
        make(data, "majority")


def refusal(data: Path, name: str = "svm_egemaps") -> str:
    with pytest.raises(DataError) as error:
        make(data, name)
    assert not (data.parent / "out" / "post").exists()
    return str(error.value).replace(f"{data.parent}/", "")


def test_refusals(data: Path) -> None:
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    root = data.parent
    train = tables.read_table(root / "train" / "utt2spk")
    tables.write_table(root / "train" / "utt2spk", dict.fromkeys(train, "s1"))
    assert refusal(data) == (
        "train: there is 1 speaker to train on; the SVM's cost is chosen on held-out speakers, "
        "which takes two"
    )
    tables.write_table(root / "train" / "utt2spk", {**train, "s3-99": "s3"})
    assert refusal(data, "majority") == (
        "train/utt2emo: its keys are not those of train/utt2spk: 1 only in train/utt2spk (s3-99); run the "
        "stage that makes the older of the two again"
    )
    table = tables.read_table(root / "train" / "utt2emo")
    tables.write_table(root / "train" / "utt2emo", {**table, "s3-99": "sad"})
    assert refusal(data) == (
        "all/egemaps/feats.scp: has no s3-99 of train; run stage 1 again, on the folder that was divided"
    )
    (data / "egemaps" / "settings.yaml").unlink()
    assert refusal(data) == (
        "train: has no features of the set 'egemaps'; run stage 1 with a system that reads it, or "
        "steps/extract.sh <corpus.yaml> all conf/egemaps.yaml"
    )
    (root / "train" / "utt2emo").unlink()
    assert refusal(data, "majority") == "train/utt2emo: no such file; run stages 1 and 2"


def test_a_vector_has_no_statistics_of_its_own(data: Path) -> None:
    conf = CONF / "svm_egemaps.yaml"
    tree = config.resolve(conf, ["features.norm=utterance"])
    task = Task(data.parent / "train", None, data.parent / "model", 0, tree, str(conf))
    with pytest.raises(ConfigError) as error:
        fitting.train(task)
    assert str(error.value) == (
        f"{conf}: features.norm must be auto, speaker, global or none for an SVM, got utterance; correct it"
    )


def test_a_model_that_holds_nan_is_not_written(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ser.systems import majority

    system = replace(majority.SYSTEM, fit=lambda *_: {"shares": np.array([np.nan, 1.0, 0.0])})
    monkeypatch.setattr(majority, "SYSTEM", system)
    with pytest.raises(DataError, match="model.shares holds NaN or infinity; "):
        make(data, "majority")
    assert not (data.parent / "models" / "out" / "model.json").exists()


def test_a_model_says_what_made_it(data: Path) -> None:
    make(data, "majority")
    record = json.loads((data.parent / "models" / "out" / "model.json").read_text())
    assert record["settings"] == {"system": "majority", "unit": "utterance"}
    assert (record["emotions"], record["seed"], record["sets"]) == (list(CLASSES), 0, {})
    assert {"ser", "python", "numpy"} <= record["versions"].keys()


@pytest.mark.slow
def test_emodb(emodb: Path, repo: Path, tmp_path: Path) -> None:
    """Leave one speaker out on EMO-DB, eGeMAPS: near the reference figures of the README beside the corpus.

    Those are .788 (training set) and .876 (per speaker), uar, with the best of five costs on the test
    speakers, of whole recordings; ours are chosen inside the training subset: .791 and .845, and of trimmed
    recordings, as here, .802 and .870, measured with openSMILE 2.6.0.
    """
    pytest.importorskip("opensmile", reason="utils/install.sh --extra baselines is not done")
    from ser.feats import extract
    from ser.feats.sets import load_set

    corpus = load_corpus(repo / "egs" / "emodb" / "conf" / "corpus.yaml")
    corpora.prepare("emodb", emodb, tmp_path / "manifests")
    make_data_dir(tmp_path / "manifests", tmp_path / "all", corpus)
    wanted = load_set(CONF / "egemaps.yaml", corpus.audio)
    extract.make_shard(tmp_path / "all", wanted, 1, 1, lambda items, _: items)
    extract.merge_shards(tmp_path / "all", wanted, 1)
    utt2spk = tables.read_table(tmp_path / "all" / "utt2spk")
    speakers = sorted(set(utt2spk.values()))
    for speaker in speakers:
        subsets = {"train": [u for u, s in utt2spk.items() if s != speaker]}
        subsets["test"] = sorted(utt2spk.keys() - set(subsets["train"]))
        views = {tmp_path / speaker / name: utts for name, utts in subsets.items()}
        make_views(tmp_path / "all", views)
    scores = {}
    for name in ("majority", "svm_egemaps", "svm_egemaps_global"):
        outs = []
        for speaker in speakers:
            conf, folder = CONF / f"{name}.yaml", tmp_path / "exp" / speaker / name
            task = Task(tmp_path / speaker / "train", None, folder, 0, config.resolve(conf), str(conf))
            fitting.train(task)
            outs.append(folder / "decode_test")
            decode_folder(folder, tmp_path / speaker / "test", outs[-1])
        pool_folders(tmp_path / "exp" / "pooled" / name, outs)
        result = score_folder(
            tmp_path / "all", tmp_path / "exp" / "pooled" / name,
            key2utt=None, allow_missing=False, num_draws=0, seed=0,
        )  # fmt: skip
        assert result["n_scored"] == result["n_total"] == "339"
        scores[name] = (float(result["acc"]), float(result["uar"]))
    assert scores["majority"] == (pytest.approx(127 / 339, abs=1e-6), 0.25)
    assert scores["svm_egemaps_global"] == pytest.approx((0.796, 0.802), abs=0.01)
    assert scores["svm_egemaps"] == pytest.approx((0.867, 0.870), abs=0.01)
