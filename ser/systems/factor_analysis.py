"""i-vectors, and emotion factors beside eigenvoices after Desplanques & Demuynck.

Desplanques & Demuynck, "Cross-lingual speech emotion recognition through factor analysis" (Interspeech 2018),
reference [41] of the paper, of which the sizes are not known to us: all of them are marked (open) in
conf/eigenvoice.yaml.  conf/ivector.yaml is the plain i-vector, with one space for all that varies.

A Gaussian mixture is trained on the cepstra of the training subset.  Then, with ``emotion``, eigenvoices are
trained on the statistics of its speakers, what they explain is taken away from each utterance, and a factor
for each class is trained on the rest; with ``total``, factors of all that varies.  Utterances are classified
by their factors.  A test utterance's eigenvoice factors come from itself alone.

Shapes: N utterances, M Gaussians, D values of a frame, R factors, K classes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

from ser.data.published import Published
from ser.errors import DataError, UsageError
from ser.feats import cmvn
from ser.feats.cepstra import cepstra
from ser.feats.subset import Subset
from ser.ranges import Range
from ser.systems.base import Arrays, Doubles, Estimator, Sizes
from ser.systems.layers.factors import Gaussians, Statistics, posterior, train
from ser.systems.layers.machines import missing_sklearn
from ser.systems.settings import InputSettings

Labels = npt.NDArray[np.int64]

FRAMES_A_GAUSSIAN = 20  # of the training subset, at least
COSTS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of the logistic regression
NUM_GROUPS = 5  # of speakers on which the cost is chosen
VARIANCE_FLOOR = 0.01  # of a Gaussian, as a share of all frames' variance


@dataclass(frozen=True)
class CepstraSettings:
    """What the Gaussians are of: Mel cepstra of log energies, with their first and second differences."""

    count: Annotated[int, Range(1, 1000)]  # cepstra, the level among them
    window: Annotated[int, Range(1, 100)]  # frames either side over which a difference is taken


@dataclass(frozen=True)
class UbmSettings:
    """The Gaussian mixture, the universal background model."""

    gaussians: Annotated[int, Range(1, 65536)]  # M
    rounds: Annotated[int, Range(1, 10000)]  # of expectation maximisation, at most
    frames: Annotated[int, Range(100)]  # it is trained on so many frames, drawn by the seed, or on all


@dataclass(frozen=True)
class FactorSettings:
    """The factors that describe an utterance."""

    space: Literal["total", "emotion"]  # of all that varies; or of the classes, a factor each
    rank: Annotated[int, Range(1, 4096)] | None  # R of total; null with emotion, where it is K
    eigenvoices: Annotated[int, Range(1, 4096)] | None  # at most, with emotion; fewer than training speakers
    rounds: Annotated[int, Range(1, 1000)]  # of expectation maximisation

    def __post_init__(self) -> None:
        """Refuse what the space does not have."""
        total = self.space == "total"
        if total == (self.rank is None):
            raise ValueError(f"rank must be {'a number' if total else 'null'} with space {self.space}")
        if total != (self.eigenvoices is None):
            raise ValueError(f"eigenvoices must be {'null' if total else 'a number'} with space {self.space}")


@dataclass(frozen=True)
class FactorAnalysisSettings:
    """conf/ivector.yaml, conf/eigenvoice.yaml."""

    system: str  # the code: a word of ser/systems, or my_package.my_module:SYSTEM
    features: InputSettings  # one set of frames: log energies of Mel filters
    unit: Literal["utterance"]  # what it is trained on
    cepstra: CepstraSettings
    ubm: UbmSettings
    factors: FactorSettings
    published: Published | None = None  # what its paper prints, for the report alone; may be left out

    def __post_init__(self) -> None:
        """Refuse several sets."""
        if len(self.features.sets) != 1:
            raise ValueError(f"features.sets must name one set, got {', '.join(self.features.sets)}")


# ------------------------------------------------------------------------------------------------ cepstra


def _frames(subset: Subset, settings: FactorAnalysisSettings, total: Doubles | None) -> list[Doubles]:
    """The cepstra of each utterance, (T, D); ``total`` are the training subset's statistics."""
    if subset.main.num_frames is None:
        raise DataError(
            f"{subset.folder}: the set {settings.features.sets[0]} has one vector an utterance; factor "
            "analysis takes frames, name a set that has some"
        )
    count, window = settings.cepstra.count, settings.cepstra.window
    return [
        cepstra(subset.main.raw(index).astype(np.float32), sums, count, window).astype(np.float64)
        for index, sums in enumerate(_sums(settings, subset, total))
    ]


def _sums(settings: FactorAnalysisSettings, subset: Subset, total: Doubles | None) -> list[Doubles]:
    """The statistics by which each utterance is normalised."""
    norm, dim = settings.features.norm, subset.main.dim
    if norm == "speaker":
        known = subset.speaker_stats or speaker_stats(settings, subset)
        return [known[subset.speakers[key]] for key in subset.keys]
    if norm == "utterance":
        return [cmvn.stats(subset.main.raw(index)) for index in range(len(subset))]
    unit = np.concatenate([np.zeros((2, dim)), [[1.0], [0.0]]], axis=1)
    unit[1, :-1] = 1.0  # mean 0, variance 1: features stay as they are
    return [unit if norm == "none" or total is None else total] * len(subset)


def speaker_stats(settings: FactorAnalysisSettings, subset: Subset) -> dict[str, Doubles]:
    """What the normalisation by speaker takes of each speaker; nothing where there is none."""
    if settings.features.norm != "speaker":
        return {}
    sums: dict[str, Doubles] = {}
    for index, key in enumerate(subset.keys):
        own, speaker = cmvn.stats(subset.main.raw(index)), subset.speakers[key]
        sums[speaker] = sums[speaker] + own if speaker in sums else own
    return sums


# ----------------------------------------------------------------------------------------------- the model


def _background(frames: list[Doubles], settings: UbmSettings, seed: int) -> Gaussians:
    """A Gaussian mixture of (a random part of) all frames.

    Raises:
        DataError: there are too few frames for it; goes without the folder's name.
        UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise UsageError(missing_sklearn(error)) from error
    everything = np.concatenate(frames)
    if len(everything) < FRAMES_A_GAUSSIAN * settings.gaussians:
        raise DataError(
            f"there are {len(everything)} frames to train on, too few for {settings.gaussians} Gaussians; "
            f"set ubm.gaussians to {len(everything) // FRAMES_A_GAUSSIAN} at most"
        )
    rng = np.random.default_rng(seed)
    if len(everything) > settings.frames:
        everything = everything[np.sort(rng.choice(len(everything), settings.frames, replace=False))]
    mixture = GaussianMixture(
        settings.gaussians,
        covariance_type="diag",
        max_iter=settings.rounds,
        tol=1e-9,  # so that all rounds are gone
        reg_covar=VARIANCE_FLOOR * float(everything.var(axis=0).min()),
        random_state=int(rng.integers(1 << 31)),
    )
    _fit_quietly(mixture, everything)
    return Gaussians(np.log(mixture.weights_), mixture.means_, np.sqrt(mixture.covariances_))


def _fit_quietly(estimator: Any, *data: Any) -> None:
    """Fit, without a warning that the rounds asked for did not end where nothing changes."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        estimator.fit(*data)


def _random_loadings(gaussians: Gaussians, rank: int, rng: np.random.Generator) -> Doubles:
    return 0.1 * rng.standard_normal((*gaussians.means.shape, rank))


def _total_space(statistics: Statistics, gaussians: Gaussians, settings: FactorSettings, seed: int) -> Arrays:
    assert settings.rank is not None
    loadings = _random_loadings(gaussians, settings.rank, np.random.default_rng((seed, 1)))
    return {"loadings": train(loadings, statistics, settings.rounds, whiten=True)}


def _emotion_space(
    statistics: Statistics,
    gaussians: Gaussians,
    settings: FactorSettings,
    labels: Labels,
    speakers: Labels,
    num_classes: int,
    seed: int,
) -> Arrays:
    """Eigenvoices of the speakers, then a factor for each class, which begins as its mean shift."""
    assert settings.eigenvoices is not None
    rank = min(settings.eigenvoices, int(speakers.max()))  # one fewer than speakers
    voices = np.zeros((*gaussians.means.shape, 0))
    if rank:
        of_speakers = statistics.pooled(speakers)
        voices = _random_loadings(gaussians, rank, np.random.default_rng((seed, 1)))
        voices = train(voices, of_speakers, settings.rounds, whiten=True)
        factors = posterior(voices, of_speakers)[0]
        statistics = statistics.without(voices, factors[speakers])
    shifts = np.zeros((*gaussians.means.shape, num_classes))
    for label in np.unique(labels):
        own = statistics.pooled((labels == label).astype(np.int64))
        counts = own.counts[-1][:, None]
        shifts[:, :, label] = own.sums[-1] / (counts + FRAMES_A_GAUSSIAN)
    return {"voices": voices, "loadings": train(shifts, statistics, settings.rounds, whiten=False)}


def _factors(model: Arrays, statistics: Statistics) -> Doubles:
    """The factors of utterances, (N, R)."""
    if "voices" in model and model["voices"].shape[2]:
        own = posterior(model["voices"], statistics)[0]
        statistics = statistics.without(model["voices"], own)
    return posterior(model["loadings"], statistics)[0]


def _gaussians(model: Arrays) -> Gaussians:
    return Gaussians(model["ubm_log_weights"], model["ubm_means"], model["ubm_deviations"])


# ---------------------------------------------------------------------------------------------- the back-end


def _scaled(model: Arrays, factors: Doubles, *, unit_length: bool) -> Doubles:
    """Factors with mean 0 and variance 1 on the training subset, and of length 1 if that is asked for."""
    x: Doubles = (factors - model["centre"]) / model["deviation"]
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) if unit_length else x


def _describe(model: Arrays, factors: Doubles) -> Doubles:
    """Factors as they are classified: those of all that varies of length 1, projected by LDA."""
    if "discriminants" not in model:
        return _scaled(model, factors, unit_length=False)
    described: Doubles = _scaled(model, factors, unit_length=True) @ model["discriminants"]
    return described


def _discriminants(x: Doubles, labels: Labels) -> Doubles:
    """Directions in which classes differ most for how they vary inside (LDA), (R, classes - 1 at most)."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if len(np.unique(labels)) < 2:
        return np.zeros((x.shape[1], 1))
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(x, labels)
    scalings: Doubles = analysis.scalings_[:, : len(np.unique(labels)) - 1]
    return scalings


def _regression(x: Doubles, labels: Labels, cost: float) -> tuple[Doubles, Doubles]:
    """Weights (classes there are, values) and biases of a logistic regression, classes balanced."""
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(labels)
    if len(classes) == 1:
        return np.zeros((1, x.shape[1])), np.zeros(1)
    machine = LogisticRegression(C=cost, class_weight="balanced", max_iter=1000)
    _fit_quietly(machine, x, labels)
    if len(classes) == 2:
        return np.concatenate([-machine.coef_, machine.coef_]) / 2, np.stack(
            [-machine.intercept_[0], machine.intercept_[0]]
        ) / 2
    return machine.coef_, machine.intercept_


def _log_posteriors(x: Doubles, weights: Doubles, biases: Doubles) -> Doubles:
    scores = x @ weights.T + biases
    scores = scores - scores.max(axis=1, keepdims=True)
    result: Doubles = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return result


def _choose_cost(x: Doubles, labels: Labels, speakers: Labels) -> float:
    """The cost whose held-out posteriors have the least cross-entropy, over groups of speakers."""
    from sklearn.model_selection import GroupKFold

    groups = len(np.unique(speakers))
    if groups < 2:
        raise DataError(
            "there is 1 speaker to train on; the cost is chosen on held-out speakers, which takes two"
        )
    losses = dict.fromkeys(COSTS, 0.0)
    for known, held in GroupKFold(min(NUM_GROUPS, groups)).split(x, labels, speakers):
        classes = np.unique(labels[known])
        seen = np.isin(labels[held], classes)
        columns = np.searchsorted(classes, labels[held][seen])
        for cost in COSTS:
            logs = _log_posteriors(x[held][seen], *_regression(x[known], labels[known], cost))
            losses[cost] -= float(logs[np.arange(len(columns)), columns].sum())
    return min(COSTS, key=lambda cost: (losses[cost], cost))


# ---------------------------------------------------------------------------------------------- the system


def fit(subset: Subset, settings: FactorAnalysisSettings, num_classes: int, seed: int) -> Arrays:
    """Train mixture, factors and classifier; all that is chosen is chosen on held-out training speakers."""
    total = np.sum([cmvn.stats(subset.main.raw(i)) for i in range(len(subset))], axis=0)
    frames = _frames(subset, settings, total)
    labels, names = subset.labels, sorted(set(subset.speakers.values()))
    speakers = np.array([names.index(subset.speakers[key]) for key in subset.keys])
    try:
        gaussians = _background(frames, settings.ubm, seed)
        statistics = Statistics.joined([Statistics.of(gaussians, each) for each in frames])
        if settings.factors.space == "total":
            model = _total_space(statistics, gaussians, settings.factors, seed)
        else:
            model = _emotion_space(
                statistics, gaussians, settings.factors, labels, speakers, num_classes, seed
            )
        model |= {"num_classes": np.array(num_classes), "present": np.unique(labels), "total": total}
        model |= {"ubm_log_weights": gaussians.log_weights, "ubm_means": gaussians.means}
        model["ubm_deviations"] = gaussians.deviations
        return model | _back_end(_factors(model, statistics), labels, speakers, settings.factors)
    except DataError as error:
        raise DataError(f"{subset.folder}: {error}") from error


def _back_end(factors: Doubles, labels: Labels, speakers: Labels, settings: FactorSettings) -> Arrays:
    """How factors are classified."""
    deviation = factors.std(axis=0)
    back: Arrays = {"centre": factors.mean(axis=0)}
    back["deviation"] = np.where(deviation > 0, deviation, np.finfo(np.float64).max)  # saved, so finite
    if settings.space == "total":
        back["discriminants"] = _discriminants(_scaled(back, factors, unit_length=True), labels)
    x = _describe(back, factors)
    cost = _choose_cost(x, labels, speakers)
    weights, biases = _regression(x, labels, cost)
    return back | {"cost": np.array(cost), "weights": weights, "biases": biases}


def posteriors(model: Arrays, settings: FactorAnalysisSettings, subset: Subset) -> Doubles:
    """Posteriors of the logistic regression, (N, K); 0 of classes that were not trained on."""
    gaussians = _gaussians(model)
    frames = _frames(subset, settings, model["total"])
    statistics = Statistics.joined([Statistics.of(gaussians, each) for each in frames])
    x = _describe(model, _factors(model, statistics))
    result = np.zeros((len(subset), int(model["num_classes"])))
    result[:, model["present"]] = np.exp(_log_posteriors(x, model["weights"], model["biases"]))
    return result


def summary(model: Arrays, sizes: Sizes) -> dict[str, Any]:  # noqa: ARG001  (an estimator's)
    """What was chosen, and the sizes that the data allowed."""
    sizes_of = {"Gaussians": len(model["ubm_means"]), "factors": model["loadings"].shape[2]}
    voices = {"eigenvoices": model["voices"].shape[2]} if "voices" in model else {}
    return sizes_of | voices | {"C": float(model["cost"])}


SYSTEM = Estimator(FactorAnalysisSettings, fit, posteriors, speaker_stats, summary=summary)
