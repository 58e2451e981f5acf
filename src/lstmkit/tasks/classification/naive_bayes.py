"""Naive Bayes over tokens and pairs of neighbours: a second opinion that needs no training but counting.

Source: Wang & Manning (2012), Baselines and Bigrams, section 2: multinomial, each token of a text counted once.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.data import parts
from lstmkit.features import UNKNOWN
from lstmkit.runtime.classify_text import TextRow

Array = NDArray[Any]

# Rarer pairs, and more of them than these, are not looked at.
_LEAST, _MOST_PAIRS = 2, 200_000
# So many different pairs are counted at most, and so many places are looked at together at least.
_MOST_COUNTED, _COUNTED_TOGETHER = 4_000_000, 1_000_000


def frequent_pairs(rows: Iterable[TextRow], tokens: int) -> list[tuple[int, int]]:
    """Pairs of neighbours that come in at least two places, the most frequent ones first.

    Of more different pairs than memory should hold, the less frequent half is forgotten on the way.

    Args:
        rows: Texts in tokens, which are read once.
        tokens: Numbers of tokens are below this one.
    """
    pairs = counts = fresh = np.empty(0, np.int64)
    for part in parts(rows):
        fresh = np.concatenate([fresh, _pairs(part, tokens)])
        if len(fresh) > max(len(pairs), _COUNTED_TOGETHER):
            pairs, counts, fresh = *_merged(pairs, counts, fresh), fresh[:0]
    pairs, counts = _merged(pairs, counts, fresh)
    order = np.lexsort((pairs, -counts))[: min(_MOST_PAIRS, int((counts >= _LEAST).sum()))]
    return [divmod(pair, tokens) for pair in pairs[order].tolist()]


def _pairs(rows: Iterable[TextRow], tokens: int) -> Array:
    """Pairs of known neighbours, each as one number."""
    numbers = np.fromiter((number for row in rows for number in (*row.numbers, UNKNOWN)), np.int64)
    first, second = numbers[:-1], numbers[1:]
    return (first * tokens + second)[(first != UNKNOWN) & (second != UNKNOWN)]


def _merged(pairs: Array, counts: Array, fresh: Array) -> tuple[Array, Array]:
    """Different pairs in their order, and how often each came."""
    found, own = np.unique(fresh, return_counts=True)
    every, places = np.unique(np.concatenate([pairs, found]), return_inverse=True)
    total = np.bincount(places, np.concatenate([counts, own]), len(every)).astype(np.int64)
    if len(every) > _MOST_COUNTED:
        kept = np.sort(np.argsort(-total, kind="stable")[: _MOST_COUNTED // 2])
        every, total = every[kept], total[kept]
    return every, total


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
