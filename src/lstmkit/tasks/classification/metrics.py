"""Scores of a classification: of all labels together, of each, and of how far its probabilities can be trusted.

Legend: ``N`` examples, ``K`` labels; a true label that the model does not know has the number ``K`` or more.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Probabilities below this count as this much: no single surprise makes the log loss infinite.
LEAST = 1e-6
_BINS = 15


def accuracy(truth: Array, found: Array) -> float:
    """The part of labels that are right."""
    return float((truth == found).mean())


def confusion(truth: Array, found: Array, size: int) -> Array:
    """How often the label of a row was taken for that of a column, ``(size, size)``."""
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (truth, found), 1)
    return counts


def per_class(counts: Array) -> dict[str, Array]:
    """Precision, recall and F1 of each label, 0 where nothing can be divided by; support: how often it is true."""
    hits, support, taken = np.diag(counts), counts.sum(1), counts.sum(0)
    precision, recall = hits / np.maximum(taken, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + taken, 1)
    return {"precision": precision, "recall": recall, "f1": f1, "support": support}


def macro_f1(counts: Array) -> float:
    """The mean F1 of the labels that are true or found anywhere."""
    present = counts.sum(0) + counts.sum(1) > 0
    return float(per_class(counts)["f1"][present].mean())


def log_loss(truth: Array, probabilities: Array) -> float:
    """The mean of minus the log probability of the true label, in nats; an unknown label has ``LEAST``."""
    known = truth < probabilities.shape[1]
    own = np.where(known, probabilities[np.arange(len(truth)), np.where(known, truth, 0)], 0)
    return float(-np.log(np.maximum(own, LEAST)).mean())


def expected_calibration_error(truth: Array, probabilities: Array) -> float:
    """How far the probability of the label that was found is from how often it is right, over 15 equal bins.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, eq. 3.
    """
    found, sure = probabilities.argmax(1), probabilities.max(1)
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=(found == truth) - sure, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(truth))
