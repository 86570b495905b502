"""Factor analysis: posteriors by brute force, expectation maximisation, and the systems made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ser import systems
from ser.errors import ConfigError, DataError
from ser.feats.subset import Subset
from ser.systems.layers.factors import Doubles, Gaussians, Statistics, log_evidence, posterior, train
from tests.learn.conftest import write_part

CONF = Path(__file__).resolve().parents[2] / "conf"


@dataclass
class Toy:
    """Utterances whose frames come from Gaussians that factors move."""

    loadings: Doubles  # (M, D, R)
    frames: list[Doubles]  # whitened, (T, D) each
    owners: list[list[int]]  # of each frame, its Gaussian

    @property
    def statistics(self) -> Statistics:
        counts = np.array([np.bincount(own, minlength=len(self.loadings)) for own in self.owners], float)
        sums = np.zeros((len(self.frames), *self.loadings.shape[:2]))
        for u, (frames, own) in enumerate(zip(self.frames, self.owners, strict=True)):
            np.add.at(sums[u], own, frames)
        return Statistics(counts, sums)


def toy(utterances: int, frames: int, sizes: tuple[int, int, int], seed: int = 0) -> Toy:
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=sizes)
    values, owners = [], []
    for _ in range(utterances):
        y, own = rng.normal(size=sizes[2]), rng.integers(0, sizes[0], frames).tolist()
        values.append(loadings[own] @ y + rng.normal(size=(frames, sizes[1])))
        owners.append(own)
    return Toy(loadings, values, owners)


def test_posteriors_by_brute_force() -> None:
    """All frames of an utterance are one Gaussian vector beside y; conditioning on it gives y."""
    data = toy(3, 7, (2, 3, 2))
    means, covariances = posterior(data.loadings, data.statistics)
    for u, (frames, own) in enumerate(zip(data.frames, data.owners, strict=True)):
        A = data.loadings[own].reshape(-1, 2)  # frames = A y + noise
        gain = A.T @ np.linalg.inv(A @ A.T + np.eye(len(A)))
        np.testing.assert_allclose(means[u], gain @ frames.ravel())
        np.testing.assert_allclose(covariances[u], np.eye(2) - gain @ A, atol=1e-12)


def test_the_evidence_by_brute_force() -> None:
    data, other = toy(3, 7, (2, 3, 2)), toy(1, 1, (2, 3, 2), seed=1)

    def whole(loadings: Doubles) -> float:
        total = 0.0
        for frames, own in zip(data.frames, data.owners, strict=True):
            A = loadings[own].reshape(-1, 2)
            total += multivariate_normal(cov=A @ A.T + np.eye(len(A))).logpdf(frames.ravel())
        return total

    found = log_evidence(data.loadings, data.statistics) - log_evidence(other.loadings, data.statistics)
    assert found == pytest.approx(whole(data.loadings) - whole(other.loadings))


@pytest.mark.parametrize("whiten", [False, True])
def test_every_round_makes_the_data_likelier(whiten: bool) -> None:
    statistics = toy(40, 30, (3, 4, 2)).statistics
    loadings = 0.1 * np.random.default_rng(5).normal(size=(3, 4, 2))
    evidence = [log_evidence(loadings, statistics)]
    for _ in range(25):
        loadings = train(loadings, statistics, 1, whiten=whiten)
        evidence.append(log_evidence(loadings, statistics))
    assert np.all(np.diff(evidence) > -1e-6)
    assert evidence[-1] > evidence[0] + 100


def test_what_made_the_data_is_found_up_to_a_rotation() -> None:
    data = toy(3000, 60, (2, 3, 2))
    start = 0.1 * np.random.default_rng(5).normal(size=(2, 3, 2))
    found = train(start, data.statistics, 60, whiten=True).reshape(6, 2)
    truth = data.loadings.reshape(6, 2)
    np.testing.assert_allclose(found @ found.T, truth @ truth.T, atol=0.12)


def test_nothing_said_is_the_prior_and_parts_add_up() -> None:
    data = toy(2, 20, (2, 3, 2))
    nothing = Statistics(np.zeros((1, 2)), np.zeros((1, 2, 3)))
    means, covariances = posterior(data.loadings, nothing)
    assert not means.any()
    assert np.array_equal(covariances[0], np.eye(2))
    statistics = data.statistics
    both = statistics.pooled(np.array([0, 0]))
    np.testing.assert_allclose(both.sums[0], statistics.sums.sum(axis=0))
    doubled = Statistics(2 * statistics.counts, 2 * statistics.sums)
    smaller, larger = posterior(data.loadings, doubled)[1], posterior(data.loadings, statistics)[1]
    assert np.all(np.linalg.eigvalsh(larger - smaller) > 0)


def test_statistics_of_a_mixture_by_loops() -> None:
    rng = np.random.default_rng(2)
    gaussians = Gaussians(np.log([0.3, 0.7]), rng.normal(size=(2, 3)), rng.uniform(0.5, 2, (2, 3)))
    frames = rng.normal(size=(9, 3))
    counts, sums = np.zeros(2), np.zeros((2, 3))
    for frame in frames:
        likelihoods = [
            np.exp(gaussians.log_weights[m])
            * multivariate_normal(gaussians.means[m], np.diag(gaussians.deviations[m] ** 2)).pdf(frame)
            for m in range(2)
        ]
        for m in range(2):
            share = likelihoods[m] / sum(likelihoods)
            counts[m] += share
            sums[m] += share * (frame - gaussians.means[m]) / gaussians.deviations[m]
    found = Statistics.of(gaussians, frames)
    np.testing.assert_allclose(found.counts[0], counts)
    np.testing.assert_allclose(found.sums[0], sums)


# ---------------------------------------------------------------------------------------------- the systems

SMALL = ["ubm.gaussians=4", "ubm.rounds=5", "factors.rounds=3", "cepstra.count=6"]


def settings_of(name: str, *overrides: str) -> object:
    more = ["factors.rank=3"] if name == "ivector" else []
    return systems.load_settings(CONF / f"{name}.yaml", [*SMALL, *more, *overrides])[1]


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    """Train and test, of other speakers."""
    return write_part(tmp_path / "train", list("abcd")), write_part(tmp_path / "test", list("ef"), seed=1)


@pytest.mark.parametrize("name", ["ivector", "eigenvoice"])
@pytest.mark.parametrize("norm", ["none", "global", "speaker", "utterance"])
def test_systems_learn_and_give_probabilities(parts: tuple[Path, Path], name: str, norm: str) -> None:
    """The classes differ by a filter's level, which the normalisation by utterance takes away."""
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    settings = settings_of(name, f"features.norm={norm}")
    system = systems.find("factor_analysis", "test")
    train_part = Subset(parts[0], ["fbank"], "none", emotions=["ang", "hap", "neu", "sad"])
    test_part = Subset(parts[1], ["fbank"], "none", emotions=["ang", "hap", "neu", "sad"])
    model = system.fit(train_part, settings, 4, 1)
    posteriors = system.posteriors(model, settings, test_part)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1)
    right = (posteriors.argmax(axis=1) == test_part.labels).mean()
    if norm == "utterance":
        return
    assert right >= (0.5 if name == "ivector" else 0.6)  # chance is 0.25
    again = system.fit(train_part, settings, 4, 1)
    assert all(np.array_equal(model[key], again[key]) for key in model)


@pytest.mark.parametrize("name", ["ivector", "eigenvoice"])
def test_classes_that_are_not_there_get_nothing(tmp_path: Path, name: str) -> None:
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    part = write_part(tmp_path / "train", list("abc"))
    text = (part / "utt2emo").read_text().replace(" hap", " ang").replace(" sad", " neu")
    (part / "utt2emo").write_text(text)
    subset = Subset(part, ["fbank"], "none", emotions=["ang", "hap", "neu", "sad"])
    settings, system = settings_of(name, "features.norm=none"), systems.find("factor_analysis", "test")
    posteriors = system.posteriors(system.fit(subset, settings, 4, 1), settings, subset)
    assert not posteriors[:, [1, 3]].any()
    np.testing.assert_allclose(posteriors.sum(axis=1), 1)


def test_more_gaussians_than_frames_allow_are_refused(parts: tuple[Path, Path]) -> None:
    pytest.importorskip("sklearn", reason="utils/install.sh --extra baselines is not done")
    subset = Subset(parts[0], ["fbank"], "none", emotions=["ang", "hap", "neu", "sad"])
    frames = int(subset.num_frames.sum())
    with pytest.raises(DataError) as error:
        systems.find("factor_analysis", "test").fit(subset, settings_of("ivector", "ubm.gaussians=900"), 4, 1)
    assert str(error.value) == (
        f"{parts[0]}: there are {frames} frames to train on, too few for 900 Gaussians; set ubm.gaussians to "
        f"{frames // 20} at most"
    )


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("ivector", "factors.rank=null", "rank must be a number with space total"),
        ("ivector", "factors.eigenvoices=3", "eigenvoices must be null with space total"),
        ("eigenvoice", "factors.rank=3", "rank must be null with space emotion"),
        ("eigenvoice", "factors.eigenvoices=null", "eigenvoices must be a number with space emotion"),
        ("ivector", "features.sets=[fbank, egemaps]", "features.sets must name one set, got fbank, egemaps"),
    ],
)
def test_settings_that_do_not_fit(name: str, override: str, message: str) -> None:
    path = CONF / f"{name}.yaml"
    with pytest.raises(ConfigError) as error:
        systems.load_settings(path, [override])
    prefix = "" if message.startswith("features") else "factors."
    assert str(error.value) == f"{path}: {prefix}{message}; correct it"
