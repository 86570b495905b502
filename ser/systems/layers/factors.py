"""Factor analysis of the means of a Gaussian mixture: statistics, posteriors, expectation maximisation.

Dehak et al., "Front-end factor analysis for speaker verification" (2011); Kenny et al., "Eigenvoice modeling
with sparse training data" (2005).

Shapes: T frames of D values, M Gaussians, U utterances (or speakers), R factors.  Statistics are of whitened
frames: a Gaussian's mean is taken away, and they are divided by its deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gaussians:
    """A mixture with diagonal covariances, the universal background model."""

    log_weights: Doubles  # (M,), natural
    means: Doubles  # (M, D)
    deviations: Doubles  # (M, D)

    def occupancies(self, frames: npt.NDArray[np.floating]) -> Doubles:
        """Posteriors of the Gaussians for frames (T, D), (T, M); rows sum to 1."""
        precisions = self.deviations**-2.0
        constant = self.log_weights - np.log(self.deviations).sum(axis=1)
        constant = constant - 0.5 * (self.means**2 * precisions).sum(axis=1)
        joint = constant + frames @ (self.means * precisions).T - 0.5 * np.square(frames) @ precisions.T
        joint = np.exp(joint - joint.max(axis=1, keepdims=True))
        result: Doubles = joint / joint.sum(axis=1, keepdims=True)
        return result


@dataclass(frozen=True)
class Statistics:
    """Of utterances, or of speakers."""

    counts: Doubles  # N, (U, M): how many frames each Gaussian has
    sums: Doubles  # F, (U, M, D): of whitened frames

    @classmethod
    def of(cls, gaussians: Gaussians, frames: npt.NDArray[np.floating]) -> Statistics:
        """Those of one utterance's frames, (T, D); U = 1."""
        shares = gaussians.occupancies(frames)
        counts = shares.sum(axis=0)  # (M,)
        sums = (shares.T @ frames - counts[:, None] * gaussians.means) / gaussians.deviations
        return cls(counts[None], sums[None])

    @classmethod
    def joined(cls, parts: list[Statistics]) -> Statistics:
        """Those of several, one behind the other."""
        return cls(np.concatenate([p.counts for p in parts]), np.concatenate([p.sums for p in parts]))

    def pooled(self, groups: npt.NDArray[np.int64]) -> Statistics:
        """Sums over groups, numbered from 0, (U,)."""
        members = np.eye(int(groups.max()) + 1)[groups].T  # (groups, U)
        return Statistics(members @ self.counts, np.einsum("gu,umd->gmd", members, self.sums))

    def without(self, loadings: Doubles, factors: Doubles) -> Statistics:
        """What is left when the offsets that ``factors`` (U, R) make of the means are taken away."""
        offsets = np.einsum("mdr,ur->umd", loadings, factors)
        return Statistics(self.counts, self.sums - self.counts[:, :, None] * offsets)


def posterior(loadings: Doubles, statistics: Statistics) -> tuple[Doubles, Doubles]:
    """The factors of utterances whose prior is a standard normal.

    With T_m the rows of a Gaussian: ``L = I + sum_m N_m T_m' T_m``, the covariance is ``L^-1`` and the mean
    ``L^-1 sum_m T_m' F_m``.

    Args:
        loadings: T, (M, D, R), of whitened means.
        statistics: N and F.

    Returns:
        The means, (U, R), and the covariances, (U, R, R).
    """
    products = np.einsum("mdr,mds->mrs", loadings, loadings)  # (M, R, R)
    rank = loadings.shape[2]
    precisions = np.eye(rank) + np.tensordot(statistics.counts, products, axes=1)  # (U, R, R)
    covariances = np.linalg.inv(precisions).astype(np.float64, copy=False)
    linear = np.einsum("mdr,umd->ur", loadings, statistics.sums)
    return np.einsum("urs,us->ur", covariances, linear), covariances


def log_evidence(loadings: Doubles, statistics: Statistics) -> float:
    """The log likelihood of the statistics, factors integrated out, up to what loadings do not change."""
    means, covariances = posterior(loadings, statistics)
    linear = np.einsum("mdr,umd->ur", loadings, statistics.sums)
    return float(0.5 * np.sum(linear * means) + 0.5 * np.linalg.slogdet(covariances)[1].sum())


def train(loadings: Doubles, statistics: Statistics, rounds: int, *, whiten: bool) -> Doubles:
    """Rounds of expectation maximisation.

    Args:
        loadings: to begin with, (M, D, R).
        statistics: of the utterances.
        rounds: how many.
        whiten: also make the factors' mean square the identity after each round (minimum divergence), which
            changes their scale alone.

    Returns:
        The loadings; each round makes :func:`log_evidence` higher.
    """
    for _ in range(rounds):
        means, covariances = posterior(loadings, statistics)
        squares = covariances + means[:, :, None] * means[:, None, :]  # (U, R, R)
        weighted = np.tensordot(statistics.counts.T, squares, axes=1)  # (M, R, R)
        products = np.einsum("umd,ur->mdr", statistics.sums, means)
        # a Gaussian that has hardly a frame keeps small loadings
        ridge = 1e-6 * (1 + np.trace(weighted, axis1=1, axis2=2))[:, None, None] * np.eye(weighted.shape[1])
        loadings = np.linalg.solve(weighted + ridge, products.transpose(0, 2, 1)).transpose(0, 2, 1)
        if whiten:
            loadings = loadings @ np.linalg.cholesky(squares.mean(axis=0))
    return loadings
