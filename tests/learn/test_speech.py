"""Speech activity as systems use it: what they read, what statistics are of, what attention is of."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ser import config
from ser.data import tables
from ser.errors import ConfigError, DataError
from ser.feats import cmvn
from ser.feats.base import Timing
from ser.feats.level import Level
from ser.feats.speech import (
    CmvnUse,
    SpeechFrames,
    SpeechTable,
    SpeechUse,
    VadUse,
    asks_for_speech,
    kept_frames,
    speech_or_all,
)
from ser.feats.stores import feature_files
from ser.feats.subset import Norm, Subset
from ser.learn import fitting, models
from ser.learn.decoding import decode_folder
from ser.learn.loaders import Share
from ser.learn.status import decode_inputs
from ser.learn.tasks import Task
from ser.learn.training import make_loader
from ser.systems import build_settings
from tests.learn.conftest import EMOTIONS, MakePart
from tests.learn.speech import add_speech

SPEECH = CmvnUse("speech")
USES = [VadUse("none", 0.0), VadUse("trim", 0.0), VadUse("trim", 20.0), VadUse("frames", 10.0)]


def changed(path: Path, *overrides: str) -> dict[str, object]:
    return config.resolve(path, overrides)


def task_of(part: Path, tmp_path: Path, path: Path, *overrides: str) -> Task:
    tree = changed(path, "training.epochs=1", "training.select=last", "optim.schedule=constant", *overrides)
    return Task(part, None, tmp_path / "model", 7, tree, str(path))


# ----------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("vad", USES)
@pytest.mark.parametrize("norm", ["utterance", "speaker", "global"])
def test_statistics_over_speech_and_the_frames_that_are_read(
    make_part: MakePart, norm: Norm, vad: VadUse
) -> None:
    """The oracle is numpy in float64: mean and deviation over frames of speech, then the frames kept."""
    folder = make_part("train", "ab")
    masks = add_speech(folder, silent=("b-03",))
    subset = Subset(folder, ["fbank"], norm, emotions=EMOTIONS, speech=SpeechUse(vad, SPEECH))
    reader = tables.ArkReader(folder / "feats.scp")
    x = {key: reader.read(key).astype(np.float64) for key in subset.keys}
    groups = {
        "utterance": {key: [key] for key in x},
        "speaker": {key: [other for other in x if other[0] == key[0]] for key in x},
        "global": {key: list(x) for key in x},
    }[norm]
    for index, key in enumerate(subset.keys):
        counted = np.concatenate([x[other][speech_or_all(masks[other])] for other in groups[key]])
        expected = (x[key] - counted.mean(axis=0)) / np.sqrt(np.maximum(counted.var(axis=0), 1e-5))
        kept = kept_frames(speech_or_all(masks[key]), vad.use, round(vad.margin_ms / 10))
        assert subset.num_frames[index] == kept.sum()
        np.testing.assert_allclose(subset.main.read(index), expected[kept], rtol=1e-4, atol=1e-4)
    total = sum(cmvn.stats(x[key].astype(np.float32)[speech_or_all(masks[key])]) for key in x)
    np.testing.assert_allclose(subset.main.total_stats(), total, rtol=1e-9)


def test_statistics_of_all_frames_stay_those_of_the_recordings(make_part: MakePart) -> None:
    """cmvn.over: all is Kaldi's order: statistics of all frames, then those chosen that are read."""
    folder = make_part("train", "ab")
    masks = add_speech(folder)
    whole = Subset(folder, ["fbank"], "speaker")
    trimmed = Subset(folder, ["fbank"], "speaker", speech=SpeechUse(VadUse("trim", 0.0)))
    for index, key in enumerate(whole.keys):
        places = np.flatnonzero(masks[key])
        np.testing.assert_array_equal(
            trimmed.main.read(index), whole.main.read(index)[places[0] : places[-1] + 1]
        )


def test_a_table_changes_nothing_for_those_who_do_not_ask(make_part: MakePart) -> None:
    folder = make_part("train", "ab")
    before = Subset(folder, ["fbank"], "speaker")
    files = feature_files(folder, ["fbank"])
    add_speech(folder)
    after = Subset(folder, ["fbank"], "speaker")
    for index in range(len(before)):
        assert before.main.read(index).tobytes() == after.main.read(index).tobytes()
    assert (after.main.speech, feature_files(folder, ["fbank"])) == (None, files)
    assert set(feature_files(folder, ["fbank"], speech=True)) - set(files) == {"vad.scp", "vad.yaml"}


def test_an_utterance_without_speech_is_read_whole_and_named(
    make_part: MakePart, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_part("train", "a")
    add_speech(folder, silent=("a-02", "a-05"))
    subset = Subset(folder, ["fbank"], "none", speech=SpeechUse(VadUse("frames", 0.0)))
    frames = tables.read_table(folder / "utt2num_frames")
    assert [subset.num_frames[2], subset.num_frames[5]] == [int(frames["a-02"]), int(frames["a-05"])]
    assert caplog.messages == [
        f"{folder}: no speech in 2 of 8 utterances (a-02, a-05); all their frames are read"
    ]


@pytest.mark.parametrize("over", ["all", "speech"])
@pytest.mark.parametrize("level", ["utterance", "speaker"])
@pytest.mark.parametrize("norm", ["none", "speaker", "global"])
def test_levels(make_part: MakePart, norm: Norm, level: Level, over: Literal["all", "speech"]) -> None:
    """The oracle subtracts levels from the features first, in float64, then does all else with the rest."""
    folder = make_part("train", "ab")
    masks = add_speech(folder)
    use = SpeechUse(VadUse("none", 0.0), CmvnUse(over), level)
    subset = Subset(folder, ["fbank"], norm, speech=use)
    reader = tables.ArkReader(folder / "feats.scp")
    x = {key: reader.read(key).astype(np.float64) for key in masks}

    def counted(keys: list[str]) -> np.ndarray:
        return np.concatenate([x[key][masks[key]] if over == "speech" else x[key] for key in keys])

    def speaker(key: str) -> list[str]:
        return [other for other in x if other[0] == key[0]]

    levels = {key: counted([key] if level == "utterance" else speaker(key)).mean() for key in x}
    x = {key: values - levels[key] for key, values in x.items()}
    for index, key in enumerate(subset.keys):
        group = counted(speaker(key) if norm == "speaker" else list(x))
        expected = x[key] if norm == "none" else (x[key] - group.mean(axis=0)) / group.std(axis=0)
        np.testing.assert_allclose(subset.main.read(index), expected, rtol=1e-4, atol=1e-4)
    mean, std = cmvn.mean_and_std(subset.main.total_stats())
    np.testing.assert_allclose(mean, counted(list(x)).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(std, counted(list(x)).std(axis=0), rtol=1e-6)


@pytest.mark.parametrize(("level", "louder"), [("utterance", "a-01"), ("speaker", "a")])
def test_a_louder_recording_is_the_same_without_its_level(
    make_part: MakePart, level: Level, louder: str
) -> None:
    """10 dB more add the same to all log energies, of an utterance or of all that a speaker said."""
    folder = make_part("train", "ab")
    add_speech(folder)
    reader = tables.ArkReader(folder / "feats.scp")
    x = {key: reader.read(key).copy() for key in reader.places}
    use = SpeechUse(level=level)
    subset = Subset(folder, ["fbank"], "none", speech=use)
    before = [subset.main.read(index) for index in range(len(subset))]
    for key in x:
        x[key] += np.float32(2.3 if key.startswith(louder) else 0)
    for stem, archived in (("feats", x), ("fbank/cmvn_utt", {key: cmvn.stats(y) for key, y in x.items()})):
        with tables.ArkWriter(folder / stem) as writer:
            for key, value in archived.items():
                writer.write(key, value)
    after = Subset(folder, ["fbank"], "none", speech=use)
    for index, features in enumerate(before):
        np.testing.assert_allclose(after.main.read(index), features, atol=1e-5)


def test_another_set_is_cut_at_the_same_times(make_part: MakePart) -> None:
    folder = make_part("train", "a")
    masks = add_speech(folder)
    keys = list(masks)
    table = SpeechTable.read(folder, keys, SpeechUse(VadUse("frames", 0.0)), Timing(0.01, 0.0125))
    halves = np.array([len(mask) // 2 for mask in masks.values()])
    frames = table.frames(halves, Timing(0.02, 0.0125))
    for mask, slow in zip(masks.values(), frames.speech, strict=True):
        np.testing.assert_array_equal(slow, mask[: 2 * len(slow) : 2])


@pytest.mark.parametrize("fault", ["gone", "short", "lacks", "values"])
def test_tables_that_do_not_fit_are_refused(make_part: MakePart, fault: str) -> None:
    folder = make_part("train", "a")
    masks = add_speech(folder)
    scp, total = folder / "vad.scp", len(masks["a-00"])
    vectors = {key: mask.astype(np.float32) for key, mask in masks.items()}
    if fault == "gone":
        scp.unlink()
        message = (
            "no such file, and the system asks for speech activity; run stage 1 with it, or "
            f"steps/extract.sh and steps/compute_vad.sh conf/vad.yaml {folder}"
        )
    elif fault == "short":
        vectors["a-00"] = vectors["a-00"][1:]
        message = f"a-00 has {total - 1} frames, utt2num_frames says {total}; run stage 1 again"
    elif fault == "lacks":
        del vectors["a-03"]
        message = f"has no a-03 of {folder}; run stage 1 again"
    else:
        vectors["a-01"][0] = 0.5
        message = "a-01: is no vector of 0 and 1; run stage 1 again"
    if fault != "gone":
        with tables.ArkWriter(folder / "vad") as writer:
            for key, vector in vectors.items():
                writer.write(key, vector)
    with pytest.raises(DataError) as error:
        Subset(folder, ["fbank"], "none", speech=SpeechUse(VadUse("trim", 0.0)))
    assert str(error.value) == f"{scp}: {message}"


def test_vectors_have_no_speech(make_part: MakePart) -> None:
    folder = make_part("train", "a")
    add_speech(folder)
    (folder / "utt2num_frames").unlink()
    with tables.ArkWriter(folder / "feats") as writer:
        for key in tables.read_table(folder / "utt2spk"):
            writer.write(key, np.ones(6, np.float32))
    with pytest.raises(DataError) as error:
        Subset(folder, ["fbank"], "none", speech=SpeechUse(VadUse("trim", 0.0)))
    assert str(error.value) == (
        f"{folder}: the set 'fbank' has one vector an utterance, in which speech activity finds no "
        "frames; set features.vad.use to none and features.cmvn.over to all"
    )


# -------------------------------------------------------------------------------------------------- settings


def test_who_asks_for_speech(blstmatt_yaml: Path) -> None:
    for overrides, asks in (
        ((), False),
        (("features.vad={use: none, margin_ms: 50.0}", "features.cmvn.over=all"), False),
        (("features.vad={use: trim, margin_ms: 50.0}",), True),
        (("features.cmvn.over=speech",), True),
    ):
        tree = changed(blstmatt_yaml, *overrides)
        assert asks_for_speech(tree) is asks
        assert SpeechUse.of(build_settings(tree, "x")[1]).is_asked is asks


def test_settings_that_nothing_uses_are_refused(blstmatt_yaml: Path, repo: Path) -> None:
    with pytest.raises(ConfigError) as error:
        build_settings(changed(blstmatt_yaml, "features.norm=none", "features.cmvn.over=speech"), "x.yaml")
    assert str(error.value) == (
        "x.yaml: features.cmvn.over must be all with norm and level none, which take no statistics; "
        "correct it"
    )
    for norm, level in (("speaker", "speaker"), ("utterance", "speaker"), ("utterance", "utterance")):
        with pytest.raises(ConfigError) as error:
            build_settings(
                changed(blstmatt_yaml, f"features.norm={norm}", f"features.level={level}"), "x.yaml"
            )
        assert str(error.value) == (
            f"x.yaml: features.level {level} is taken away by norm {norm}; set level to none; correct it"
        )
    tree = changed(repo / "conf" / "svm_egemaps.yaml", "features.vad={use: trim, margin_ms: 50.0}")
    with pytest.raises(ConfigError) as error:
        build_settings(tree, "svm.yaml")
    assert str(error.value) == (
        "svm.yaml: features.vad, cmvn and level are for networks, estimators get features as they were made; "
        "leave them out"
    )


@pytest.mark.parametrize("name", ["blstmatt", "csa"])
def test_the_papers_systems_read_all_frames(repo: Path, name: str) -> None:
    features = build_settings(changed(repo / "conf" / f"{name}.yaml"), name)[1].features
    assert (features.vad.use, features.cmvn.over, features.level) == ("none", "all", "none")


# ----------------------------------------------------------------------------------------------------- chunks


def test_chunks_without_speech_do_not_take_part() -> None:
    """Chunks of 4 frames: of the first utterance those within the pause, of the second none."""
    speech = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 1], np.bool_)
    frames = SpeechFrames([speech, np.zeros(6, np.bool_), speech[:8]], VadUse("trim", 0.0), 0.01)
    assert frames.num_frames.tolist() == [10, 6, 2]
    utts, starts = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 2, 4, 6, 0, 2, 0])
    assert frames.heard(utts, starts, 4).astype(int).tolist() == [1, 0, 0, 1, 1, 1, 1]
    beyond = frames.heard(np.array([0, 0]), np.array([2, 5]), 4)  # neither of them has any: both stay
    assert beyond.tolist() == [True, True]
    assert SpeechFrames([speech], VadUse("none", 0.0), 0.01).heard(utts[:4], starts[:4], 4).all()


def test_chunks_of_a_pause_neither_train_nor_vote(
    make_part: MakePart, tmp_path: Path, csa_yaml: Path
) -> None:
    part = make_part("train", "abc")
    add_speech(part)
    pause = {}
    for key, total in tables.read_table(part / "utt2num_frames").items():
        pause[key] = np.ones(int(total), np.float32)
        if int(total) > 50:
            pause[key][10:40] = 0  # of the chunks from 0, 10, 20, 30 and 40 that from 10 and that from 20
    assert sum(not mask.all() for mask in pause.values()) > 2
    with tables.ArkWriter(part / "vad") as writer:
        for key, mask in pause.items():
            writer.write(key, mask)
    vad = "features.vad={use: trim, margin_ms: 0.0}"
    task = task_of(part, tmp_path, csa_yaml, vad)
    _, settings = build_settings(task.tree, "csa")
    subset = Subset(part, ["fbank"], "global", emotions=EMOTIONS, speech=SpeechUse.of(settings))
    loader = make_loader(subset, settings, 1, Share(), {"fbank": subset.main.total_stats()})
    counts = {
        key: sum(bool(mask[start : start + 20].any()) for start in range(0, len(mask) - 19, 10))
        for key, mask in pause.items()
    }
    assert loader.label_counts(4).sum() == sum(counts.values())
    fitting.train(task, use_gpu="no", tensorboard=False)
    decode_folder(task.folder, part, tmp_path / "out", use_gpu="no")
    chunk2utt = list(tables.read_table(tmp_path / "out" / "chunks" / "chunk2utt").values())
    scored = {key: count for key, count in counts.items() if count}
    assert {key: chunk2utt.count(key) for key in scored} == scored
    assert any(count < (len(pause[key]) - 20) // 10 + 1 for key, count in scored.items())


# -------------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("use", ["trim", "frames"])
def test_attention_is_of_all_frames_and_0_where_none_is_read(
    make_part: MakePart, tmp_path: Path, blstmatt_yaml: Path, use: str
) -> None:
    part, test = make_part("train", "abc"), make_part("test", "de", seed=1)
    add_speech(part)
    masks = add_speech(test, silent=("d-01",))
    overrides = (f"features.vad={{use: {use}, margin_ms: 10.0}}", "features.cmvn.over=speech")
    task = task_of(part, tmp_path, blstmatt_yaml, *overrides)
    fitting.train(task, use_gpu="no", tensorboard=False)
    out = tmp_path / "out"
    decode_folder(task.folder, test, out, use_gpu="no")
    attention = tables.ArkReader(out / "attn.scp")
    assert list(attention.places) == list(masks)
    for key, mask in masks.items():
        weights = attention.read(key, len(mask))
        kept = kept_frames(speech_or_all(mask), use, 1)
        assert (weights[kept] > 0).all()
        assert (weights[~kept] == 0).all()
        assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert tables.read_table(out / "notes") == {
        "normalisation": "speaker",
        "speech": f"vad {use}, cmvn over speech",
    }
    loaded = models.load_model(task.folder)
    assert loaded.facts["vad"] == {"set": "energy", "vad_energy_threshold": 5.0}
    assert {"vad.scp", "vad.yaml"} <= decode_inputs(task.folder, test).keys()


def test_speech_that_was_decided_otherwise_is_refused(
    make_part: MakePart, tmp_path: Path, blstmatt_yaml: Path
) -> None:
    part = make_part("train", "abc")
    add_speech(part)
    task = task_of(part, tmp_path, blstmatt_yaml, "features.cmvn.over=speech")
    fitting.train(task, use_gpu="no", tensorboard=False)
    other = make_part("test", "de", seed=1)
    add_speech(other)
    (other / "vad.yaml").write_text("set: energy\nvad_energy_threshold: 5.5\n")
    with pytest.raises(DataError) as error:
        decode_folder(task.folder, other, tmp_path / "out", use_gpu="no")
    assert str(error.value) == (
        f"{other}: its speech activity was decided with other settings than the model's: "
        "vad_energy_threshold: 5.0 -> 5.5; decode data made with the same conf/vad.yaml"
    )


def test_spans_of_frames_among_those_that_are_read() -> None:
    speech = np.array([0, 0, 1, 1, 0, 1, 1, 0], np.bool_)
    frames = SpeechFrames([speech], VadUse("frames", 0.0), 0.01)
    assert [frames.place(0, *span) for span in ((0, 2), (1, 2), (3, 3), (6, 2))] == [
        (0, 0), (0, 1), (1, 2), (3, 1),
    ]  # fmt: skip
    assert frames.spread(0, np.array([0.1, 0.2, 0.3, 0.4], np.float32)).tolist() == pytest.approx(
        [0, 0, 0.1, 0.2, 0, 0.3, 0.4, 0]
    )
