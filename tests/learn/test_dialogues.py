"""A system that reads transcripts and dialogues: batches, training, vocabulary, decoding, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser import config
from ser.data import tables
from ser.data.turns import TurnUse
from ser.errors import CheckpointError, ConfigError, DataError
from ser.export.build import make_graph
from ser.export.package import Said, export_package
from ser.feats.subset import Subset
from ser.learn import fitting, models
from ser.learn.decoding import decode_folder
from ser.learn.dialogues import DialogueLoader
from ser.learn.loaders import Share
from ser.learn.status import is_decoded
from ser.learn.tasks import Task, finished
from ser.predict.model import Model
from tests.learn.conftest import EMOTIONS, MULTIMODAL, MakePart

UTTERANCE, AUDIO = ("unit=utterance", "training.batch_size=4"), ("text=null",)
TEXT = ("features={sets: [], norm: none}",)


@pytest.fixture
def task(make_part: MakePart, tmp_path: Path) -> Task:
    """A training on speakers a and b, with dev speakers c and d."""
    path = tmp_path / "multimodal.yaml"
    path.write_text(MULTIMODAL)
    tree = config.resolve(path)
    return Task(make_part("train"), make_part("dev", "cd", seed=1), tmp_path / "model", 7, tree, str(path))


def train(task: Task, *overrides: str) -> models.TrainedModel:
    torch.set_num_threads(1)
    wanted = replace(task, tree=config.resolve(Path(task.source), overrides))
    fitting.train(wanted, use_gpu="no", tensorboard=False)
    return models.load_model(task.folder)


def decoded(model: Path, data: Path, out: Path) -> dict[str, list[float]]:
    decode_folder(model, data, out, use_gpu="no")
    return {key: list(row) for key, row in tables.read_vectors(out / "post", len(EMOTIONS)).items()}


def change(folder: Path, table: str, **values: str) -> None:
    """Change lines of a table; ``a_00`` stands for the key ``a-00``."""
    changed = {key.replace("_", "-"): value for key, value in values.items()}
    tables.write_table(folder / table, tables.read_table(folder / table) | changed)


# -------------------------------------------------------------------------------------------------- batches


def test_a_batch_is_whole_dialogues_and_its_items_are_utterances(make_part: MakePart) -> None:
    folder = make_part("train", "ab")
    subset = Subset(folder, ["functionals"], "none", emotions=EMOTIONS, turns=TurnUse(1, dialogues=True))
    assert subset.turns is not None
    assert subset.turns.words is not None
    loader = DialogueLoader(subset, 2, seed=3, share=Share())
    assert loader.num_batches(0) == 2
    assert loader.label_counts(4).tolist() == np.bincount(subset.labels).tolist()
    order = []
    for epoch in (0, 1):
        rows = []
        for batch in loader.batches(epoch):
            inputs = batch.inputs
            assert inputs.dialogues is not None
            assert inputs.words is not None
            assert inputs.roles is not None
            assert len(inputs) == int(inputs.dialogues.sum()) == batch.num_frames
            for vector, words, role, label in zip(
                inputs.features["functionals"],
                inputs.words,
                inputs.roles,
                batch.targets["emotion"],
                strict=True,
            ):
                row = next(i for i in range(len(subset)) if np.array_equal(subset.main.read(i), vector))
                assert words[words > 0].tolist() == subset.turns.words[row].tolist()
                assert (int(role), int(label)) == (subset.turns.roles[row], subset.labels[row])
                rows.append(row)
        assert sorted(rows) == list(range(len(subset)))
        order.append(rows)
    dialogues = [list(each) for each in subset.turns.dialogues]
    assert all([row for row in order[0] if row in each] == each for each in dialogues)
    later = [len(batch.all_labels) for batch in loader.batches(1, first=1)]
    assert later == [len(batch.all_labels) for batch in loader.batches(1)][1:]


def test_processes_share_the_dialogues_of_a_batch(make_part: MakePart) -> None:
    folder = make_part("train", "ab")
    subset = Subset(folder, ["functionals"], "none", emotions=EMOTIONS, turns=TurnUse(1, dialogues=True))
    whole = list(DialogueLoader(subset, 3, 5, Share()).batches(0))
    halves = [list(DialogueLoader(subset, 3, 5, Share(rank, 2)).batches(0)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert [part.all_labels.tolist() for part in parts] == [batch.all_labels.tolist()] * 2
        assert batch.inputs.dialogues is not None
        shares = [part.inputs.dialogues for part in parts]
        assert [None if share is None else len(share) for share in shares] == [2, 1]
        together = torch.cat([part.inputs.features["functionals"] for part in parts])
        assert sorted(together.tolist()) == sorted(batch.inputs.features["functionals"].tolist())


# ------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("overrides", [(), AUDIO, TEXT, UTTERANCE, (*UTTERANCE, *AUDIO), (*UTTERANCE, *TEXT)])
def test_every_choice_of_modalities_learns_and_decodes(
    task: Task, tmp_path: Path, overrides: Sequence[str]
) -> None:
    """Words and vectors tell the class; what is used is said."""
    model = train(task, "training.epochs=40", "optim.lr=3.0e-2", *overrides)
    text, dialogues = not set(AUDIO) & set(overrides), not set(UTTERANCE) & set(overrides)
    words = (*EMOTIONS, "so", "well") if text else ()
    assert model.sizes.words == words
    assert task.dev is not None
    posts = decoded(task.folder, task.dev, tmp_path / "out")
    truth = tables.read_table(task.dev / "utt2emo")
    right = [EMOTIONS[int(np.argmax(row))] == truth[key] for key, row in posts.items()]
    assert np.mean(right) > 0.8
    assert list(posts) == list(truth)
    notes = {"transcripts": "used"} if text else {}
    notes |= {"later_turns": "used"} if dialogues else {}
    notes |= {} if set(TEXT) & set(overrides) else {"normalisation": "global", "features": "functionals"}
    path = tmp_path / "out" / "notes"
    assert (tables.read_table(path) if path.exists() else {}) == notes


def test_nothing_of_other_subsets_is_in_the_vocabulary(task: Task, tmp_path: Path) -> None:
    """The model is the same whatever dev and test say; a word that only they have is an unknown one."""
    assert task.dev is not None
    train(task, "training.select=last")
    first = models.load_model(task.folder).arrays
    change(task.dev, "text", c_00="elephants")
    again = replace(task, folder=tmp_path / "again")
    model = train(again, "training.select=last")
    assert "elephants" not in model.sizes.words
    for name, values in first.items():
        np.testing.assert_array_equal(model.arrays[name], values)
    one = decoded(task.folder, task.dev, tmp_path / "one")
    change(task.dev, "text", c_00="giraffes")
    assert not is_decoded(task.folder, task.dev, tmp_path / "one")
    assert decoded(task.folder, task.dev, tmp_path / "two") == one


def test_decoding_sees_later_turns_but_no_other_dialogue(task: Task, tmp_path: Path) -> None:
    train(task)
    assert task.dev is not None
    before = decoded(task.folder, task.dev, tmp_path / "before")
    dialogues = tables.read_table(task.dev / "utt2dialogue")
    change(task.dev, "text", d_04="sad sad sad")
    after = decoded(task.folder, task.dev, tmp_path / "after")
    own = {key for key, name in dialogues.items() if name == dialogues["d-04"]}
    assert {key for key in before if before[key] != after[key]} == own
    change(task.dev, "utt2turn", d_04="-1")
    assert not is_decoded(task.folder, task.dev, tmp_path / "after")
    moved = decoded(task.folder, task.dev, tmp_path / "moved")
    assert {key for key in before if after[key] != moved[key]} == own


def test_training_begins_with_the_users_word_vectors(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("the 9 9 9 9\nang 1 2 3 4\nso -1 -2 -3 -4\n")
    given = f"text.vectors={path}"
    model = train(task, given, "text.rate=0.0")
    embedding = model.arrays["text.embedding.weight"]  # padding, unknown, ang, hap, neu, sad, so, well
    assert embedding.shape == (8, 4)
    np.testing.assert_array_equal(embedding[2], [1, 2, 3, 4])
    np.testing.assert_array_equal(embedding[6], [-1, -2, -3, -4])
    assert np.abs(embedding[[1, 3, 4, 5, 7]]).max() <= 0.25
    other = replace(task, folder=tmp_path / "tuned")
    tuned = train(other, given, "text.rate=1.0").arrays["text.embedding.weight"]
    assert 0 < np.abs(tuned[2] - embedding[2]).max() < 0.5
    wanted = replace(task, tree=config.resolve(Path(task.source), [given, "text.rate=0.0"]))
    assert finished(wanted)
    path.write_text("ang 4 3 2 1\n")
    with pytest.raises(DataError, match=r"text\.vectors"):
        finished(wanted)


# ----------------------------------------------------------------------------------------------- refusals


def test_vectors_that_do_not_fit(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2 3\n")
    with pytest.raises(DataError) as error:
        train(task, f"text.vectors={path}")
    assert str(error.value) == (
        f"{path}:1: has 3 values, text.embedding is 4; set text.embedding to 3, or name another file"
    )
    path.unlink()
    with pytest.raises(DataError) as error:
        train(task, f"text.vectors={path}")
    assert str(error.value) == f"{path}: no such file; name a file of word vectors (text.vectors)"


def test_features_of_frames_are_refused(task: Task) -> None:
    (task.train / "feats.yaml").write_text(
        "set: fbank\nsettings: {num_mel_bins: 6}\ntiming: {shift_s: 0.01, first_s: 0.0125, length_s: 0.025}\n"
    )
    with pytest.raises(ConfigError) as error:
        train(task, "features.sets=[fbank]")
    assert str(error.value) == (
        f"{task.source}: features.sets: fbank has frames, but the system reads one vector an utterance; name "
        "a set of functionals, such as mel_functionals or compare; correct it"
    )


def test_settings_that_do_not_go_together(task: Task) -> None:
    for overrides, message in (
        ((*AUDIO, *TEXT), "features.sets must name a feature set where text is null"),
        (("model.heads=3",), "model.heads must divide 2 * model.dim, 8, got 3"),
        (("text.kernels=[]",), "text.kernels must name at least one"),
        (
            ("training.max_frames=100",),
            "training.max_frames is for systems that are trained on whole utterances; chunks are as long as "
            "unit.context says, dialogues are read as a whole; set it to null",
        ),
    ):
        with pytest.raises(ConfigError) as error:
            train(task, *overrides)
        assert str(error.value).removesuffix("; correct it") == f"{task.source}: {message}"


def test_data_that_lacks_transcripts_or_order(task: Task, tmp_path: Path) -> None:
    train(task)
    assert task.dev is not None
    for name, start in (
        ("text", "there are no transcripts, which the system reads; give"),
        ("utt2turn", "nothing says the order of dialogues, which the system reads as a whole; give"),
    ):
        data = tmp_path / name
        shutil.copytree(task.dev, data)
        (data / name).unlink()
        for refused in (
            lambda data=data: train(replace(task, train=data, folder=tmp_path / "new")),
            lambda data=data: decode_folder(task.folder, data, tmp_path / "out", use_gpu="no"),
        ):
            with pytest.raises(DataError) as error:
                refused()
            assert str(error.value).startswith(f"{data / name}: no such file, {start}")


def test_recordings_alone_are_not_enough(task: Task, tmp_path: Path) -> None:
    """Predicting, serving and what is exported have neither transcripts nor dialogues."""
    words = {(): "transcripts and whole dialogues", UTTERANCE: "transcripts", AUDIO: "whole dialogues"}
    for number, (overrides, what) in enumerate(words.items()):
        folder = tmp_path / f"model{number}"
        model = train(replace(task, folder=folder), "training.epochs=1", *overrides)
        uses: list[Any] = [
            lambda model=model: Model(model),
            lambda model=model: make_graph(model, features_inside=False),
            lambda folder=folder: export_package(folder, tmp_path / "out.zip", Said("x")),
        ]
        for use in uses:
            with pytest.raises(CheckpointError) as error:
                use()
            assert str(error.value) == (
                f"{folder}: its system reads {what}, which recordings do not have; decode a data folder that "
                f"has them: ser decode {folder} <data> <out>"
            )
    model = train(task, *UTTERANCE, *AUDIO, "training.epochs=1")
    graph = make_graph(model, features_inside=False)
    assert task.dev is not None
    subset = Subset(task.dev, ["functionals"], "none")
    given = graph(torch.from_numpy(np.stack([subset.main.read(row) for row in range(len(subset))])))[0]
    posts = decoded(task.folder, task.dev, tmp_path / "decoded")
    np.testing.assert_allclose(given.detach().numpy(), list(posts.values()), atol=1e-5)
