"""A linear support vector machine whose cost is chosen on speakers that are held out of its training subset.

A feature set of frames is read as the mean and the standard deviation of its frames; several sets stand side
by side.  Of a set that has several layers of an encoder one is chosen, together with the cost.  The loss may
be squared, see :mod:`ser.systems.layers.machines`.

N utterances to train on, M to decide on, D values of an utterance, K classes, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from ser.errors import DataError, UsageError
from ser.feats import cmvn
from ser.feats.subset import Features, Subset
from ser.scoring.metrics import confusion_matrix, decide, uar
from ser.systems.base import Arrays, Doubles, Estimator, Sizes
from ser.systems.layers.machines import Labels, Loss, fit_and_score, missing_sklearn, scores_of, separate
from ser.systems.settings import InputSettings

COSTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the SVM
NUM_GROUPS = 5  # of the search; fewer where there are fewer speakers
SCALES = tuple(float(scale) for scale in np.geomspace(0.05, 50.0, 61))
_STILL = 1e-6  # of the mean: a feature that deviates less does not vary
NO_LAYER = -1  # of a set without layers, or whose layers stand together
_SMALLEST = 1e-12  # probability of a class that an inner training subset does not have


@dataclass(frozen=True)
class SvmSettings:
    """conf/svm_*.yaml."""

    system: str  # the code: a word of ser/systems, or my_package.my_module:SYSTEM
    features: InputSettings  # norm is speaker, global, auto or none
    unit: Literal["utterance"]  # what it is trained on
    # of a set with several layers of an encoder: choose the best one on held-out speakers, as the cost is; or
    # all of them together, side by side. May be left out: choose
    layers: Literal["choose", "together"] = "choose"
    # of the frames of an utterance, side by side; may be left out: mean and deviation
    statistics: tuple[Literal["mean", "deviation"], ...] = ("mean", "deviation")
    # hinge: a machine for every pair of classes; squared: least squares, each class against the rest; may be
    # left out: hinge
    loss: Loss = "hinge"

    def __post_init__(self) -> None:
        """Refuse a normalisation that one vector an utterance cannot have, and no statistics."""
        if not self.statistics or len(set(self.statistics)) < len(self.statistics):
            raise ValueError(
                f"statistics must name mean, deviation or both, got {', '.join(self.statistics) or 'none'}"
            )
        if self.features.norm == "utterance":
            raise ValueError("features.norm must be auto, speaker, global or none for an SVM, got utterance")


@dataclass(frozen=True)
class Choice:
    """What was chosen inside the training subset."""

    candidate: int  # which of the descriptions of the utterances
    cost: float
    scale: float  # posteriors are softmax(scale * scores)
    search: dict[tuple[int, float], float]  # candidate, cost -> mean recall over the held-out speakers

    @property
    def uar(self) -> float:
        """Mean recall of what was chosen, over the held-out speakers."""
        return self.search[self.candidate, self.cost]


def standardise(features: Doubles, reference: Doubles) -> Doubles:
    """Features (N, D) minus the mean of ``reference`` (M, D), over its standard deviation.

    A feature that does not vary becomes 0.
    """
    deviation = reference.std(axis=0)
    result: Doubles = (features - reference.mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)
    return result


def vector_stats(features: Doubles, speakers: Sequence[str]) -> dict[str, Doubles]:
    """The statistics (2, D + 1) of the features (N, D) of each speaker, see :mod:`ser.feats.cmvn`."""
    names = np.array(speakers)
    return {speaker: cmvn.stats(features[names == speaker]) for speaker in sorted(set(speakers))}


def standardise_speakers(
    features: Doubles, speakers: Sequence[str], known: Mapping[str, Doubles] | None = None
) -> Doubles:
    """Features (N, D) with mean 0 and variance 1 for every speaker; uses all that the speaker said.

    A feature that does not vary becomes 0.

    Args:
        features: (N, D).
        speakers: N of them.
        known: :func:`vector_stats` of all that each of them said; None: the features are all.
    """
    result = np.empty_like(features)
    names = np.array(speakers)
    for speaker, stats in (vector_stats(features, speakers) if known is None else known).items():
        own = names == speaker
        mean = stats[0, :-1] / stats[0, -1]
        variance = stats[1, :-1] / stats[0, -1] - np.square(mean)
        varies = variance > _STILL**2 * np.square(mean)  # below that it is rounding
        result[own] = (features[own] - mean) / np.sqrt(np.where(varies, variance, np.inf))
    return result


def choose(
    candidates: Sequence[Doubles],
    labels: Labels,
    speakers: Sequence[str],
    num_classes: int,
    *,
    within: bool,
    loss: Loss = "hinge",
) -> Choice:
    """Choose description and cost with the best mean recall over held-out speakers, and the scores' scale.

    The speakers are divided into five groups, each held out once.  Of costs that are equally good the
    smallest is taken, then the first description; the scale is the one with which the held-out posteriors
    have the least cross-entropy.

    Args:
        candidates: descriptions of the utterances, (N, D) each; D may differ.
        labels: class indices, (N,).
        speakers: N of them.
        num_classes: K.
        within: features are standardised by the statistics of each inner training subset; False takes them as
            they are.
        loss: of the machines.

    Raises:
        DataError: there are fewer than two speakers.
        UsageError: scikit-learn is not installed.
    """
    groups = len(set(speakers))
    if groups < 2:
        raise DataError(
            "there is 1 speaker to train on; the SVM's cost is chosen on held-out speakers, which takes two"
        )
    try:
        from sklearn.model_selection import GroupKFold
    except ImportError as error:
        raise UsageError(missing_sklearn(error)) from error
    inner = list(GroupKFold(min(NUM_GROUPS, groups)).split(labels, labels, list(speakers)))
    scores = {}
    for number, features in enumerate(candidates):
        for cost, rows in _held_out(features, labels, inner, num_classes, within, loss).items():
            scores[number, cost] = rows
    search = {
        point: float(uar(confusion_matrix(labels, decide(rows), num_classes)))
        for point, rows in scores.items()
    }
    best = max(search, key=lambda point: (round(search[point], 9), -point[1], -point[0]))
    scale = min(SCALES, key=lambda scale: _cross_entropy(scores[best], labels, scale))
    return Choice(*best, scale, search)


def _held_out(
    features: Doubles,
    labels: Labels,
    inner: Sequence[tuple[Labels, Labels]],
    num_classes: int,
    within: bool,
    loss: Loss,
) -> dict[float, Doubles]:
    """Scores of every utterance by machines that do not know its speaker: cost -> (N, K)."""
    scores: dict[float, Doubles] = {cost: np.empty((len(labels), num_classes)) for cost in COSTS}
    for train, held in inner:
        known, other = features[train], features[held]
        if within:
            known, other = standardise(known, known), standardise(other, known)
        for cost, rows in fit_and_score(known, labels[train], other, COSTS, num_classes, loss).items():
            scores[cost][held] = rows
    return scores


def softmax(scores: Doubles, scale: float) -> Doubles:
    """Softmax of the scaled scores, (M, K); the order of the classes stays that of the scores."""
    scaled = scale * (scores - scores.max(axis=1, keepdims=True))
    powers = np.exp(scaled)
    result: Doubles = powers / powers.sum(axis=1, keepdims=True)
    return result


def _cross_entropy(scores: Doubles, labels: Labels, scale: float) -> float:
    right = softmax(scores, scale)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, _SMALLEST)).mean())


# ---------------------------------------------------------------------------------------------- the system


def vectors(subset: Subset, settings: SvmSettings) -> Doubles:
    """What the utterances of a subset are described by, (N, D): set after set, layer after layer."""
    rows = []
    for index in range(len(subset)):
        values: list[Doubles] = []
        for features in subset.inputs.values():
            raw = features.raw(index).astype(np.float64)
            if raw.ndim > 1:
                by_name = {"mean": raw.mean(axis=0), "deviation": raw.std(axis=0)}
                count = len(_layers(features, settings))
                of_layers = [by_name[name].reshape(count, -1) for name in settings.statistics]
                raw = np.concatenate(of_layers, axis=1).ravel()
            values.append(raw)
        rows.append(np.concatenate(values))
    return np.stack(rows)


def columns(subset: Subset, settings: SvmSettings) -> dict[tuple[int, ...], Labels]:
    """Which of the values D describe an utterance, for every choice of a layer of each set."""
    by_set: list[dict[int, Labels]] = []
    begin = 0
    for features in subset.inputs.values():
        kinds = 1 if features.num_frames is None else len(settings.statistics)
        layers, end = _layers(features, settings), begin + kinds * features.dim
        by_set.append(dict(zip(layers, np.split(np.arange(begin, end), len(layers)), strict=True)))
        begin = end
    return {
        layers: np.concatenate([each[layer] for each, layer in zip(by_set, layers, strict=True)])
        for layers in product(*by_set)
    }


def _layers(features: Features, settings: SvmSettings) -> tuple[int, ...]:
    """The layers of a set to choose from."""
    layers = features.layout.layers
    return layers if len(layers) > 1 and settings.layers == "choose" else (NO_LAYER,)


def fit(train: Subset, settings: SvmSettings, num_classes: int, seed: int) -> Arrays:  # noqa: ARG001  (an estimator's)
    """Choose layers, cost and scale on held-out speakers, train on all; ``search_*`` has what was tried."""
    x = vectors(train, settings)
    if settings.features.norm == "speaker":
        x = standardise_speakers(x, list(train.speakers.values()))
    within, candidates = settings.features.norm == "global", columns(train, settings)
    try:
        described = [np.ascontiguousarray(x[:, own]) for own in candidates.values()]
        choice = choose(described, train.labels, train.people, num_classes, within=within, loss=settings.loss)
    except DataError as error:
        raise DataError(f"{train.folder}: {error}") from error
    layers = list(candidates)[choice.candidate]
    x = described[choice.candidate]
    model: Arrays = {"num_classes": np.array(num_classes), "scale": np.array(choice.scale)}
    model |= {"cost": np.array(choice.cost), "layers": np.array(layers), "uar": np.array(choice.uar)}
    model["search_layers"] = np.array([list(candidates)[number] for number, _ in choice.search])
    model["search_costs"] = np.array([cost for _, cost in choice.search])
    model["search_uar"] = np.array(list(choice.search.values()))
    if within:
        model |= {"mean": x.mean(axis=0), "deviation": x.std(axis=0)}
        x = standardise(x, x)
    return model | separate(x, train.labels, choice.cost, settings.loss)


def posteriors(model: Arrays, settings: SvmSettings, subset: Subset) -> Doubles:
    """Softmax of the scaled scores, (M, K); the normalisation by speaker uses all that a speaker said."""
    x, candidates = vectors(subset, settings), columns(subset, settings)
    if settings.features.norm == "speaker":
        x = standardise_speakers(x, list(subset.speakers.values()), subset.speaker_stats)
    if len(candidates) > 1:
        x = np.ascontiguousarray(x[:, candidates[tuple(int(layer) for layer in model["layers"])]])
    if settings.features.norm == "global":
        deviation = model["deviation"]
        x = (x - model["mean"]) / np.where(deviation > 0, deviation, np.inf)
    scores = scores_of(model, x, int(model["num_classes"]), settings.loss)
    return softmax(scores, float(model["scale"]))


def speaker_stats(settings: SvmSettings, subset: Subset) -> dict[str, Doubles]:
    """What the normalisation by speaker takes of each speaker; nothing where there is none."""
    if settings.features.norm != "speaker":
        return {}
    return vector_stats(vectors(subset, settings), list(subset.speakers.values()))


def summary(model: Arrays, sizes: Sizes) -> dict[str, Any]:
    """What was chosen, and the mean recall that it had over the held-out speakers."""
    layers = {
        f"layer of {name}": int(layer)
        for name, layer in zip(sizes.features, model["layers"], strict=True)
        if layer != NO_LAYER
    }
    return {"C": float(model["cost"]), **layers, "uar on held-out speakers": round(float(model["uar"]), 4)}


SYSTEM = Estimator(SvmSettings, fit, posteriors, speaker_stats, seeded=False, summary=summary)
