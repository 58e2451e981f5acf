"""How much weight each opinion gets, so that the probabilities are as sure as they may be.

Source: Guo et al. (2017), On Calibration of Modern Neural Networks: temperature scaling; here of several opinions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.runtime.classify import softmax

Array = NDArray[Any]

_STEPS, _RIDGE = 50, 1e-3


def fit_scales(opinions: Array, labels: Array) -> Array:
    """Factors, none below 0, with which the opinions add up to the best probabilities.

    Args:
        opinions: Scores ``(S, N, K)`` of examples that they were not made from.
        labels: ``(N,)``.

    Returns:
        ``(S,)``: the least log loss, by Newton's method.
    """
    scales = np.zeros(len(opinions))
    free = np.ones(len(opinions), bool)
    while free.any():
        scales = np.zeros(len(opinions))
        scales[free] = _newton(opinions[free].astype(float), labels)
        if (scales >= 0).all():
            break
        free &= scales > 0
    return np.maximum(scales, 0)


def _newton(opinions: Array, labels: Array) -> Array:
    """Without the bound at 0. The loss is convex; a small ridge keeps it so where every example is right."""
    scales = np.ones(len(opinions)) / len(opinions)
    loss = _loss(opinions, labels, scales)
    for _ in range(_STEPS):
        probabilities = softmax(np.tensordot(scales, opinions, 1))
        own = opinions[:, np.arange(len(labels)), labels]
        mean = (opinions * probabilities).sum(-1)
        gradient = (mean - own).mean(1) + 2 * _RIDGE * scales
        spread = np.einsum("snk,tnk,nk->st", opinions, opinions, probabilities) - mean @ mean.T
        hessian = spread / len(labels) + 2 * _RIDGE * np.eye(len(opinions))
        step = np.linalg.solve(hessian, gradient)
        while (better := _loss(opinions, labels, scales - step)) > loss and np.abs(step).max() > 1e-9:
            step = step / 2
        scales, gained, loss = scales - step, loss - better, better
        if gained < 1e-10:
            break
    return scales


def _loss(opinions: Array, labels: Array, scales: Array) -> float:
    scores = np.tensordot(scales, opinions, 1)
    largest = scores.max(1)
    logs = largest + np.log(np.exp(scores - largest[:, None]).sum(1)) - scores[np.arange(len(labels)), labels]
    return float(logs.mean() + _RIDGE * (scales**2).sum())
