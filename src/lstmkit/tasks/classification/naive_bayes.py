"""Naive Bayes over tokens and pairs of neighbours: a second opinion that needs no training but counting.

Source: Wang & Manning (2012), Baselines and Bigrams, section 2: multinomial, each token of a text counted once.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import UNKNOWN
from lstmkit.runtime.classify_text import TextRow

Array = NDArray[Any]

# Rarer pairs, and more of them than these, are not looked at.
_LEAST, _MOST_PAIRS = 2, 200_000


def frequent_pairs(rows: Sequence[TextRow]) -> list[tuple[int, int]]:
    """Pairs of neighbours that come in at least two places, the most frequent ones first."""
    found = Counter(pair for row in rows for pair in zip(row.numbers, row.numbers[1:], strict=False))
    kept = [(pair, count) for pair, count in found.items() if count >= _LEAST and UNKNOWN not in pair]
    return [pair for pair, _ in sorted(kept, key=lambda item: (-item[1], item[0]))[:_MOST_PAIRS]]


def count_grams(grams: Sequence[Array], labels: Array, total: int, classes: int) -> Array:
    """How many texts of each label have each gram, ``(grams, labels)``."""
    counts = np.zeros((total, classes))
    for own, label in zip(grams, labels, strict=True):
        counts[own, label] += 1
    return counts


def log_ratios(counts: Array) -> Array:
    """What each gram adds to the score of each label; rows add up to 0, and that of 0, no gram, is 0."""
    smoothed = counts + 1
    logs = np.log(smoothed / smoothed.sum(0))
    logs -= logs.mean(1, keepdims=True)
    logs[UNKNOWN] = 0
    return logs.astype(np.float32)


def scores(grams: Sequence[Array], ratios: Array) -> Array:
    """``(B, K)``: the sum over the grams of each text."""
    return np.stack([ratios[own].sum(0) for own in grams])
