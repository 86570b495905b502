"""Weights of a log-linear fusion: those of all systems at once, by a convex criterion.

    p(c) ~ p_1(c)^w_1 * p_2(c)^w_2 * ... * p_M(c)^w_M,  all w >= 0

The weights maximise the log-likelihood of the references (this is logistic regression on the systems' log
posteriors, without offsets) less a quadratic penalty that draws them towards equal ones: those of the
geometric mean of the systems, each sharpened or flattened so that it suits the references best by itself.
(Without that, a system that is too modest would be drawn to too small a weight.)  The sum of the weights is
free, so that they are the temperature as well: fused posteriors mean what they say.

Every utterance counts the same.  Weighing the classes alike was no better for UAR in simulations, on EMO-DB
and on RAVDESS, and a little worse for the likelihood: it lets the few utterances of a rare class decide.

Shapes: N utterances, K classes, M systems.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser.scoring.metrics import Counts, Floats

FLOOR = 1e-10  # probabilities below are raised to it before the logarithm

# Strength of the penalty, in utterances: it is as curved as the log-likelihood of so many utterances on which
# the log posteriors of a system have a variance of 1 between the classes.  docs/results.md has the figures:
# from 5 to 50 results hardly differ; below, the weights of two tuning speakers are noise.
PRIOR_UTTS = 10.0
CALIBRATION_UTTS = 1.0  # likewise of each system's own sharpness, one number, towards that which it has
_DECIMALS = 4  # of the weights, so that those that are written down are those that were used


def log_posteriors(posteriors: Floats) -> Floats:
    """Logarithms, floored at that of :data:`FLOOR`: a 0 must not veto a class for good."""
    logs: Floats = np.log(np.maximum(posteriors, FLOOR))
    return logs


def fit_weights(posteriors: Sequence[Floats], references: Counts) -> list[float]:
    """The weights of M systems on tuning data.

    Args:
        posteriors: M arrays (N, K) of probabilities.
        references: class indices, (N,).

    Returns:
        M numbers of at least 0, to four decimals; two systems that are the same get the same.  Equal ones
        where no system tells more of the references than even posteriors would.
    """
    logs = log_posteriors(np.stack(posteriors))  # (M, N, K)
    scales = np.array([penalised(each[None], references, CALIBRATION_UTTS)[0] for each in logs])
    weights = scales * penalised(scales[:, None, None] * logs, references, PRIOR_UTTS)
    rounded = [round(float(weight), _DECIMALS) + 0.0 for weight in weights]
    return rounded if any(rounded) else [1 / len(rounded)] * len(rounded)


def penalised(logs: Floats, references: Counts, prior_utts: float) -> Floats:
    """The weights of the highest log-likelihood less a penalty towards 1 / M, at least 0.

    Args:
        logs: logarithms of posteriors, up to a constant for each system and utterance, (M, N, K).
        references: class indices, (N,).
        prior_utts: strength of the penalty, above 0; minus the criterion is strictly convex.

    Returns:
        (M,).
    """
    from scipy.optimize import minimize

    num_systems, num_utts, _ = logs.shape
    right = logs[:, np.arange(num_utts), references].sum(1)  # (M,)
    equal = np.full(num_systems, 1 / num_systems)

    def cost(weights: Floats) -> tuple[float, Floats]:
        """Minus the criterion for each utterance, and its gradient (M,)."""
        scores = np.tensordot(weights, logs, 1)  # (N, K)
        highest = scores.max(-1, keepdims=True)
        shares = np.exp(scores - highest)
        totals = shares.sum(-1, keepdims=True)
        away = weights - equal
        value = (highest + np.log(totals)).sum() - weights @ right + prior_utts / 2 * away @ away
        slope = (logs * (shares / totals)).sum((1, 2)) - right + prior_utts * away
        return float(value) / num_utts, slope / num_utts

    options = {"ftol": 0.0, "gtol": 1e-9, "maxiter": 1000}
    bounds = [(0.0, None)] * num_systems
    solution = minimize(cost, equal, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    found: Floats = solution.x
    return found
