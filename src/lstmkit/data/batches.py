"""Sequences of uneven length to batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]
# So many batches are sorted by length together: enough that neighbours are alike, few enough that epochs differ.
_SORTED_TOGETHER = 50


def length_batches(lengths: ArrayLike, size: int, *, shuffle: bool) -> list[Indices]:
    """Indices of sequences, in batches of like length.

    Args:
        lengths: Of all sequences, ``(N,)``.
        size: Sequences of a batch; the last one may have fewer.
        shuffle: Draw the batches and their order anew from NumPy's global random state; otherwise they are sorted.

    Example:
        >>> [batch.tolist() for batch in length_batches([3, 9, 2, 8], 2, shuffle=False)]
        [[2, 0], [3, 1]]
    """
    found = np.asarray(lengths)
    if not shuffle:
        order = np.argsort(found, kind="stable")
        return [order[start : start + size] for start in range(0, len(order), size)]
    order = np.random.permutation(len(found))
    batches: list[Indices] = []
    for start in range(0, len(order), size * _SORTED_TOGETHER):
        pool = order[start : start + size * _SORTED_TOGETHER]
        pool = pool[np.argsort(found[pool], kind="stable")]
        batches += [pool[first : first + size] for first in range(0, len(pool), size)]
    return [batches[k] for k in np.random.permutation(len(batches))]


def pad(rows: Sequence[Sequence[int] | NDArray[Any]]) -> tuple[NDArray[np.int64], Indices]:
    """Rows of numbers side by side, with zeros behind the shorter ones.

    Returns:
        The numbers ``(B, T)`` and the lengths ``(B,)``.

    Example:
        >>> numbers, lengths = pad([[5, 6, 7], [8]])
        >>> numbers.tolist(), lengths.tolist()
        ([[5, 6, 7], [8, 0, 0]], [3, 1])
    """
    lengths = np.array([len(row) for row in rows], np.int64)
    numbers = np.zeros((len(rows), max(lengths, default=0)), np.int64)
    for place, row in zip(numbers, rows, strict=True):
        place[: len(row)] = row
    return numbers, lengths


def hold_out(count: int, part: float = 0.1, seed: int = 0) -> tuple[Indices, Indices]:
    """Which of ``count`` examples train and which judge, drawn from a seed; at least one judges if there are two.

    Example:
        >>> training, judging = hold_out(10)
        >>> len(training), len(judging)
        (9, 1)
    """
    order = np.random.default_rng(seed).permutation(count)
    held = min(max(1, round(count * part)), count - 1) if count > 1 else 0
    return np.sort(order[held:]), np.sort(order[:held])
