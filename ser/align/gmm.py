"""Gaussian mixtures with diagonal covariances, one for each pdf, from frames that are assigned to pdfs.

Shapes: N frames, P pdfs, K components of each, D values a frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ser.align.hmm import Ints

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mixtures:
    """The densities of all pdfs."""

    log_weights: Doubles  # (P, K), natural
    means: Doubles  # (P, K, D)
    variances: Doubles  # (P, K, D)

    def log_likelihood(self, frames: Floats) -> Floats:
        """Natural logarithms of p(frame | pdf) of frames (N, D), float32, (N, P)."""
        P, K, D = self.means.shape
        constant, linear, square = (term.astype(np.float32) for term in self._terms())
        scores = frames @ linear.reshape(P * K, D).T + np.square(frames) @ square.reshape(P * K, D).T
        return _log_sum(scores.reshape(-1, P, K) + constant)

    def _terms(self) -> tuple[Doubles, Doubles, Doubles]:
        """The log density of a component is constant + linear . x + square . x^2; (P, K), (P, K, D) twice."""
        precision = 1 / self.variances
        norm = np.log(2 * math.pi * self.variances).sum(axis=-1)
        constant = self.log_weights - 0.5 * (norm + (np.square(self.means) * precision).sum(axis=-1))
        return constant, self.means * precision, -0.5 * precision

    def split(self) -> Mixtures:
        """Twice as many components: each moved by a fifth of its standard deviation either way."""
        offset = 0.2 * np.sqrt(self.variances)
        return Mixtures(
            np.concatenate([self.log_weights, self.log_weights], axis=1) - math.log(2),
            np.concatenate([self.means - offset, self.means + offset], axis=1),
            np.concatenate([self.variances, self.variances], axis=1),
        )

    def reestimated(self, frames: Floats, pdfs: Ints, *, floor: Doubles, min_frames: float) -> Mixtures:
        """One step of expectation maximisation.

        Args:
            frames: (N, D).
            pdfs: the pdf of each frame, (N,).
            floor: the least variances, (D,).
            min_frames: a component that gets fewer keeps its mean and variance, and little weight.
        """
        constant, linear, square = self._terms()
        log_weights, means, variances = self.log_weights.copy(), self.means.copy(), self.variances.copy()
        order = np.argsort(pdfs, kind="stable")
        edges = np.searchsorted(pdfs[order], np.arange(len(means) + 1))
        for pdf, (first, last) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            if first == last:
                continue
            x = frames[order[first:last]].astype(np.float64)  # (N', D)
            joint = x @ linear[pdf].T + np.square(x) @ square[pdf].T + constant[pdf]  # (N', K)
            posterior = np.exp(joint - _log_sum(joint)[:, None])
            count = posterior.sum(axis=0)  # (K,)
            enough = count >= min_frames
            share = posterior[:, enough] / count[enough]
            means[pdf, enough] = share.T @ x
            spread = share.T @ np.square(x) - np.square(means[pdf, enough])
            variances[pdf, enough] = np.maximum(spread, floor)
            log_weights[pdf] = np.log((count + 1) / (count + 1).sum())
        return Mixtures(log_weights, means, variances)


def flat(num_pdfs: int, frames: Floats) -> Mixtures:
    """One component for each pdf, all with the mean and the variance of the frames (N, D)."""
    mean, variance = frames.mean(axis=0, dtype=np.float64), frames.var(axis=0, dtype=np.float64)
    shape = (num_pdfs, 1, frames.shape[1])
    return Mixtures(
        np.zeros((num_pdfs, 1)), np.broadcast_to(mean, shape).copy(), np.broadcast_to(variance, shape).copy()
    )


def _log_sum(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Logarithm of the sum of exponentials over the last axis."""
    highest = values.max(axis=-1)
    total: npt.NDArray[Any] = highest + np.log(np.exp(values - highest[..., None]).sum(axis=-1))
    return total
