"""The SVM: standardising, the search inside the training subset, its scores; checked by scikit-learn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ser.data import tables
from ser.data.labels import write_emotions
from ser.errors import DataError, UsageError
from ser.feats.subset import Subset
from ser.learn.models import sizes_of
from ser.systems import svm
from ser.systems.settings import InputSettings

pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")

from sklearn.linear_model import RidgeClassifier  # noqa: E402
from sklearn.metrics import recall_score  # noqa: E402
from sklearn.model_selection import GroupKFold, cross_val_predict  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

SPEAKERS = [f"s{number % 7}" for number in range(84)]


def material(num_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noisy classes, shifted differently for every speaker, on scales that differ."""
    random = np.random.default_rng(1)
    labels = np.arange(84) // 7 % num_classes
    features = random.normal(0, 1.0, (84, 6)) + 0.7 * np.eye(num_classes, 6)[labels]
    shift = random.normal(0, 0.5, (7, 6))[np.arange(84) % 7]
    return (features + shift) * np.array([1, 10, 100, 1, 0.1, 1]), labels


def test_standardised_features() -> None:
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_array_equal(svm.standardise(x, x), [[-1, 0], [1, 0]])
    np.testing.assert_array_equal(svm.standardise(np.array([[5.0, 9.0]]), x), [[3, 0]])
    both = svm.standardise_speakers(np.array([[1.0], [10.0], [3.0], [30.0]]), ["a", "b", "a", "b"])
    np.testing.assert_array_equal(both, [[-1], [-1], [1], [1]])


@pytest.mark.parametrize("loss", ["hinge", "squared"])
@pytest.mark.parametrize("within", [True, False])
def test_the_search_is_that_of_scikit_learn(within: bool, loss: svm.Loss) -> None:
    """For each cost the mean recall over held-out speakers, with statistics of the others alone."""
    features, labels = material()
    if not within:
        features = svm.standardise_speakers(features, SPEAKERS)
    choice = svm.choose([features], labels, SPEAKERS, 3, within=within, loss=loss)
    search = {cost: uar for (_, cost), uar in choice.search.items()}
    for cost, uar in search.items():
        machine = SVC(C=cost, kernel="linear", class_weight="balanced", break_ties=True)
        if loss == "squared":
            machine = RidgeClassifier(alpha=1 / cost, class_weight="balanced")
        steps = make_pipeline(StandardScaler(), machine) if within else machine
        hyp = cross_val_predict(steps, features, labels, groups=SPEAKERS, cv=GroupKFold(5))
        assert uar == pytest.approx(recall_score(labels, hyp, average="macro"), abs=1e-12)
    best = max(search.values())
    assert choice.cost == min(cost for cost, uar in search.items() if uar == best)
    assert len(set(search.values())) > 1
    assert (choice.candidate, choice.uar) == (0, best)


@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_least_squares_from_their_normal_equations(num_classes: int) -> None:
    """Each class against the rest, all classes of the same weight, the intercept without penalty."""
    features, labels = material(num_classes)
    features, cost = svm.standardise(features, features), 0.03
    known, truth = np.column_stack([features[:60], np.ones(60)]), labels[:60]
    counts = np.bincount(truth)
    weighted = known * (60 / (num_classes * counts[truth]))[:, None]
    targets = 2.0 * (truth[:, None] == np.arange(num_classes)) - 1
    penalty = np.diag([1 / cost] * 6 + [0])
    planes = np.linalg.solve(weighted.T @ known + penalty, weighted.T @ targets)  # (D + 1, K)
    expected = np.column_stack([features[60:], np.ones(24)]) @ planes
    got = svm.fit_and_score(features[:60], truth, features[60:], [cost], num_classes, "squared")[cost]
    np.testing.assert_allclose(got, expected, atol=1e-9)
    assert len(np.unique(expected.argmax(axis=1))) == num_classes


@pytest.mark.parametrize("num_classes", [2, 3])
def test_scores_and_posteriors_agree(num_classes: int) -> None:
    features, labels = material(num_classes)
    features = svm.standardise(features, features)
    scores = svm.fit_and_score(features[:60], labels[:60], features[60:], [0.1], num_classes)[0.1]
    machine = SVC(C=0.1, kernel="linear", class_weight="balanced", break_ties=num_classes > 2)
    expected = machine.fit(features[:60], labels[:60]).predict(features[60:])
    np.testing.assert_array_equal(scores.argmax(axis=1), expected)
    posteriors = svm.softmax(scores, 2.0)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1.0)
    np.testing.assert_array_equal(posteriors.argmax(axis=1), expected)
    np.testing.assert_allclose(np.log(posteriors[:, 1] / posteriors[:, 0]), 2 * (scores[:, 1] - scores[:, 0]))


def test_a_class_that_an_inner_subset_lacks() -> None:
    features, labels = material(2)
    scores = svm.fit_and_score(features, 2 * labels, features[:3], [1.0], 3)[1.0]
    np.testing.assert_array_equal(np.isinf(scores), [[False, True, False]] * 3)
    np.testing.assert_array_equal(svm.softmax(scores, 1.0)[:, 1], 0)
    alone = svm.fit_and_score(features, np.ones(84, dtype=np.int64), features[:3], [1.0], 3)[1.0]
    np.testing.assert_array_equal(svm.softmax(alone, 1.0), [[0, 1, 0]] * 3)
    only = np.where(np.array(SPEAKERS) == "s0", 2, labels)  # a class of one speaker: some group lacks it
    choice = svm.choose([svm.standardise(features, features)], only, SPEAKERS, 3, within=True)
    assert 0 < choice.uar < 1


@pytest.mark.parametrize("loss", ["hinge", "squared"])
@pytest.mark.parametrize("num_classes", [1, 2, 3, 4])
def test_hyperplanes_give_the_scores_of_the_machine(num_classes: int, loss: svm.Loss) -> None:
    """What is kept of a machine decides as scikit-learn's own, to rounding."""
    features, labels = material(num_classes)
    features = svm.standardise(features, features)
    model = svm.separate(features[:60], labels[:60], 0.1, loss)
    got = svm.scores_of(model, features[60:], num_classes, loss)
    expected = svm.fit_and_score(features[:60], labels[:60], features[60:], [0.1], num_classes, loss)[0.1]
    np.testing.assert_allclose(got, expected, atol=1e-9)
    own = {1: 0, 2: 1}.get(num_classes, num_classes)
    planes = num_classes * (num_classes - 1) // 2 if loss == "hinge" else own
    assert model["weights"].shape == (planes, 6)


@pytest.mark.parametrize("loss", ["hinge", "squared"])
@pytest.mark.parametrize("classes", [(0, 2), (0, 1, 3)])
def test_hyperplanes_where_a_class_is_missing(classes: tuple[int, ...], loss: svm.Loss) -> None:
    features, labels = material(len(classes))
    labels = np.array(classes)[labels]
    scores = svm.scores_of(svm.separate(features, labels, 1.0, loss), features[:3], 4, loss)
    np.testing.assert_array_equal(np.isinf(scores), [[label not in classes for label in range(4)]] * 3)


def test_the_scale_is_the_one_of_least_cross_entropy() -> None:
    """Labels drawn from posteriors of a known scale lead back to it."""
    random = np.random.default_rng(0)
    scores = random.normal(0, 1, (4000, 3))
    posteriors = svm.softmax(scores, 3.0)
    labels = (random.random((4000, 1)) > posteriors.cumsum(axis=1)).sum(axis=1)
    best = min(svm.SCALES, key=lambda scale: svm._cross_entropy(scores, labels, scale))
    assert best == pytest.approx(3.0, rel=0.15)


def test_the_best_description_is_chosen_with_its_cost() -> None:
    """Each has what it has alone; of equally good ones the first is taken."""
    features, labels = material()
    noise = np.random.default_rng(2).normal(size=(84, 4))
    alone = [svm.choose([x], labels, SPEAKERS, 3, within=True) for x in (noise, features)]
    choice = svm.choose([noise, features, features], labels, SPEAKERS, 3, within=True)
    assert choice.candidate == 1
    assert (choice.cost, choice.scale) == (alone[1].cost, alone[1].scale)
    for (number, cost), uar in choice.search.items():
        assert uar == alone[min(number, 1)].search[0, cost]
    assert choice.uar > alone[0].uar


LAYERS = 3, 5, 9


def layered(folder: Path, layers: Sequence[int], values: dict[str, np.ndarray]) -> Subset:
    """A data folder of frames, some of three layers of two values; only the middle one tells the classes."""
    folder.mkdir()
    picked = [2 * LAYERS.index(layer) + each for layer in layers for each in (0, 1)]
    with tables.ArkWriter(folder / "feats") as archive:
        for key, frames in values.items():
            archive.write(key, frames[:, picked])
    tables.write_table(folder / "utt2spk", {key: key[:2] for key in values})
    tables.write_table(folder / "utt2emo", {key: "ab"[int(key[-2:]) // 4 % 2] for key in values})
    tables.write_table(folder / "utt2num_frames", {key: len(frames) for key, frames in values.items()})
    write_emotions(folder / "emotions.txt", ["a", "b"])
    layout = f"layout: {{layers: {list(layers)}, ordered: false}}\n" if len(layers) > 1 else ""
    (folder / "feats.yaml").write_text(f"set: whisper\n{layout}")
    return Subset(folder, ["whisper"], "none", emotions=["a", "b"])


def settings(norm: str = "global", **others: Any) -> svm.SvmSettings:
    return svm.SvmSettings("svm", InputSettings(("whisper",), norm), "utterance", **others)


@pytest.fixture
def frames() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    values = {}
    for number in range(40):
        x = rng.normal(size=(int(rng.integers(3, 9)), 6)).astype(np.float32)
        x[:, 2] *= 1 + 3 * (number // 4 % 2)  # the deviation of a value of layer 5
        values[f"s{number % 4}-{number:02d}"] = x
    return dict(sorted(values.items()))


@pytest.mark.parametrize("norm", ["global", "speaker"])
def test_a_layer_is_chosen_on_held_out_speakers(
    tmp_path: Path, frames: dict[str, np.ndarray], norm: str
) -> None:
    """It decides as an SVM that is given this layer alone; the model says which, and what others had."""
    whole = layered(tmp_path / "all", LAYERS, frames)
    own = settings(norm)
    model = svm.fit(whole, own, 2, 0)
    alone = layered(tmp_path / "one", [5], frames)
    only = svm.fit(alone, own, 2, 0)
    assert model["layers"].tolist() == [5]
    assert only["layers"].tolist() == [svm.NO_LAYER]
    np.testing.assert_array_equal(model["weights"], only["weights"])
    np.testing.assert_array_equal(svm.posteriors(model, own, whole), svm.posteriors(only, own, alone))
    assert model["search_layers"].ravel().tolist() == [layer for layer in LAYERS for _ in svm.COSTS]
    points = zip(model["search_layers"][:, 0], model["search_costs"], strict=True)
    best = dict(zip(points, model["search_uar"], strict=True))
    summary = svm.summary(model, sizes_of(whole, ["a", "b"]))
    assert summary == {
        "C": float(model["cost"]),
        "layer of whisper": 5,
        "uar on held-out speakers": round(float(best[5, float(model["cost"])]), 4),
    }
    assert list(svm.summary(only, sizes_of(alone, ["a", "b"]))) == ["C", "uar on held-out speakers"]
    assert max(uar for (layer, _), uar in best.items() if layer != 5) < summary["uar on held-out speakers"]


def test_layers_together_and_statistics(tmp_path: Path, frames: dict[str, np.ndarray]) -> None:
    subset = layered(tmp_path / "all", LAYERS, frames)
    raw = [x.astype(np.float64) for x in frames.values()]
    means, deviations = (np.stack([f(x, axis=0) for x in raw]) for f in (np.mean, np.std))

    def described(own: svm.SvmSettings) -> dict[tuple[int, ...], np.ndarray]:
        x = svm.vectors(subset, own)
        return {layers: x[:, which] for layers, which in svm.columns(subset, own).items()}

    together = described(settings(layers="together"))
    assert list(together) == [(svm.NO_LAYER,)]
    np.testing.assert_array_equal(together[svm.NO_LAYER,], np.concatenate([means, deviations], axis=1))
    only = described(settings(layers="together", statistics=("mean",)))
    np.testing.assert_array_equal(only[svm.NO_LAYER,], means)
    each = described(settings())
    for number, layer in enumerate(LAYERS):
        own = slice(2 * number, 2 * number + 2)
        expected = np.concatenate([means[:, own], deviations[:, own]], axis=1)
        np.testing.assert_array_equal(each[layer,], expected)
    with pytest.raises(ValueError, match="^statistics must name mean, deviation or both, got none$"):
        settings(statistics=())


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = material()
    with pytest.raises(DataError) as error:
        svm.choose([features], labels, ["s"] * 84, 3, within=True)
    assert str(error.value) == (
        "there is 1 speaker to train on; the SVM's cost is chosen on held-out speakers, which takes two"
    )
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(
        UsageError,
        match="scikit-learn cannot be loaded .*; install it with: utils/install.sh --extra baselines$",
    ):
        svm.choose([features], labels, SPEAKERS, 3, within=True)
