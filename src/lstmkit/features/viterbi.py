"""The best path through scores of tags: the search of a linear-chain CRF."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.spec import ShapeError

Array = NDArray[Any]


def viterbi(
    scores: ArrayLike,
    transitions: ArrayLike,
    first: ArrayLike,
    last: ArrayLike,
    lengths: ArrayLike | None = None,
) -> tuple[list[NDArray[np.int64]], Array]:
    """The tags of each row whose scores add up to most. Exact.

    Args:
        scores: Of each tag at each step. Steps beyond a row's length are never read.
        transitions: Of a tag (row) and the one after it (column); minus infinity forbids.
        first: Of a tag at the first step.
        last: Of a tag at a row's last step.
        lengths: Real steps of each row, in 1..T. None is all.

    Shape:
        - scores: ``(B, T, K)``; transitions: ``(K, K)``; first, last: ``(K,)``; lengths: ``(B,)``

    Returns:
        For each row its tags, and the sum of its scores, ``(B,)``.

    Raises:
        ShapeError: a shape or length does not fit.

    Source: Viterbi, IEEE Transactions on Information Theory 13(2), 1967.

    Example:
        >>> paths, best = viterbi([[[1, 0], [1, 3]]], [[0, -5], [0, 0]], [0, 0], [0, 0])
        >>> paths[0].tolist(), float(best[0])
        ([1, 1], 3.0)
    """
    values, (table, start, end) = np.asarray(scores), (np.asarray(array) for array in (transitions, first, last))
    ends = _check(values, table, start, end, lengths)
    steps = int(ends.max())
    best = values[:, 0] + start
    came_from = np.zeros((steps, *best.shape), np.int64)
    for step in range(1, steps):
        ways = best[:, :, None] + table
        came_from[step] = ways.argmax(1)
        grown = np.take_along_axis(ways, came_from[step][:, None], 1)[:, 0] + values[:, step]
        best = np.where((step < ends)[:, None], grown, best)
    best = best + end
    return [_walk_back(came_from[:stop, row], best[row]) for row, stop in enumerate(ends)], best.max(1)


def _walk_back(came_from: Array, best: Array) -> NDArray[np.int64]:
    path = np.empty(len(came_from), np.int64)
    tag = int(best.argmax())
    for step in range(len(path) - 1, -1, -1):
        path[step] = tag
        tag = int(came_from[step, tag])
    return path


def _check(scores: Array, transitions: Array, first: Array, last: Array, lengths: ArrayLike | None) -> Array:
    """The lengths, when everything fits."""
    if scores.ndim != 3 or not scores.size:
        raise ShapeError(f"expected scores of shape (B, T, K), got {scores.shape}")
    rows, steps, tags = scores.shape
    if transitions.shape != (tags, tags) or first.shape != (tags,) or last.shape != (tags,):
        raise ShapeError(
            f"expected transitions ({tags}, {tags}), first and last ({tags},), got {transitions.shape}, "
            f"{first.shape}, {last.shape}"
        )
    ends = np.full(rows, steps) if lengths is None else np.asarray(lengths)
    if ends.shape != (rows,) or ends.dtype.kind not in "iu" or ends.min() < 1 or ends.max() > steps:
        raise ShapeError(f"lengths must be {rows} whole numbers in 1..{steps}, not {ends.tolist()}")
    return ends
