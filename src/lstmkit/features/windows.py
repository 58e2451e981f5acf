"""Windows over many series: rows are gathered when a batch needs them, never materialised before."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features.grid import Integers

Array = NDArray[Any]


def take_rows(values: Array, first: Integers, steps: int, low: Integers, high: Integers) -> Array:
    """Gather ``steps`` rows from ``first`` on for each window; NaN where a row is outside ``low..high``.

    The bounds are those of the window's own series, so no window ever crosses into another one.

    Shape:
        - values: ``(N,)`` or ``(N, F)``; first, low, high: ``(B,)``
        - result: ``(B, steps)`` or ``(B, steps, F)``

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 9.0])
        >>> take_rows(values, np.array([-1, 2]), 3, np.array([0, 0]), np.array([3, 3])).tolist()
        [[nan, 1.0, 2.0], [3.0, nan, nan]]
    """
    rows = first[:, None] + np.arange(steps)
    inside = (rows >= low[:, None]) & (rows < high[:, None])
    taken = values[np.where(inside, rows, 0)] if len(values) else np.full((*rows.shape, *values.shape[1:]), np.nan)
    taken[~inside] = np.nan
    return taken


@dataclass(frozen=True)
class Origins:
    """The rows at which a forecast may start, numbered from 0 without being listed.

    Args:
        first: First origin of each series.
        stops: One past the last origin of each series.

    Shape:
        - first, stops: ``(S,)`` rows of the flat arrays

    Example:
        >>> origins = Origins(np.array([2, 10]), np.array([5, 10]))
        >>> len(origins), origins.at(np.arange(3))[1].tolist()
        (3, [2, 3, 4])
    """

    first: Integers
    stops: Integers

    @cached_property
    def counts(self) -> Integers:
        """Origins of each series."""
        return np.maximum(self.stops - self.first, 0)

    @cached_property
    def _ends(self) -> Integers:
        return np.cumsum(self.counts)

    def __len__(self) -> int:
        """Origins of all series together."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def at(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Series and row of the given origins; within a series they ascend.

        Shape:
            - numbers: ``(B,)`` in ``0..len - 1``; both results ``(B,)``
        """
        series = np.searchsorted(self._ends, numbers, side="right")
        return series, self.stops[series] + numbers - self._ends[series]

    def all(self) -> tuple[Integers, Integers]:
        """Series and row of every origin."""
        return self.at(np.arange(len(self)))

    def sample(self, count: int) -> tuple[Integers, Integers]:
        """Series and row of at most so many origins, evenly spread over all."""
        return self.at(spread(len(self), count))


def spread(total: int, count: int) -> Integers:
    """At most so many places, evenly spread over all.

    Example:
        >>> spread(10, 4).tolist()
        [0, 3, 6, 9]
    """
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))
