"""Many series in one flat array: the form in which training and prediction see a table."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.features.frequency import Frequency
from lstmkit.features.grid import Integers, join
from lstmkit.spec import ShapeError

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class SeriesArrays:
    """Series of uneven length, laid end to end. Series ``i`` owns the rows ``starts[i]:stops[i]``.

    Cutting, selecting and shortening make new bounds over the same arrays and copy no rows. Rows
    outside all bounds may therefore exist; only the bounds say what belongs to a series.

    Args:
        values: The target; NaN where it is missing.
        starts: First row of each series.
        stops: Row after the last one of each series.
        timestamps: Nanoseconds since 1970, or integers; regular within a series.
        frequency: The step between two rows.
        ids: What the user calls each series.
        known: Covariates whose future is given; NaN where missing.
        observed: Covariates of the past only; NaN where missing.
        static: Covariates of a whole series.
        known_names: Column names of ``known``; likewise ``observed_names``, ``static_names``.

    Shape:
        - values, timestamps: ``(N,)``; known: ``(N, K)``; observed: ``(N, M)``
        - starts, stops, ids: ``(S,)``; static: ``(S, P)``

    Raises:
        ShapeError: arrays that belong together differ in length.

    Example:
        >>> series = SeriesArrays.from_lists([[1.0, 2.0, 3.0], [4.0, 5.0]])
        >>> past, future = series.cut(series.lengths - 1)
        >>> past.target(0).tolist(), future.target(1).tolist()
        ([1.0, 2.0], [5.0])
    """

    values: Floats
    starts: Integers
    stops: Integers
    timestamps: Integers
    frequency: Frequency
    ids: NDArray[Any]
    known: Floats = field(default_factory=lambda: np.empty((0, 0)))
    observed: Floats = field(default_factory=lambda: np.empty((0, 0)))
    static: Floats = field(default_factory=lambda: np.empty((0, 0)))
    known_names: tuple[str, ...] = ()
    observed_names: tuple[str, ...] = ()
    static_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Give absent covariates their shape and hold the lengths together."""
        rows, count = len(self.values), len(self.starts)
        lengths = {"known": rows, "observed": rows, "static": count, "timestamps": rows, "stops": count, "ids": count}
        for name, length in lengths.items():
            array = getattr(self, name)
            names = getattr(self, f"{name}_names", None)
            if names == () and array.size == 0:
                object.__setattr__(self, name, np.empty((length, 0), self.values.dtype))
            elif len(array) != length or (names is not None and array.shape != (length, len(names))):
                width = "" if names is None else f", {len(names)}"
                raise ShapeError(f"{name} must have shape ({length}{width}), not {array.shape}")

    @classmethod
    def from_lists(cls, series: "list[ArrayLike]", frequency: Frequency | None = None) -> "SeriesArrays":
        """Series without a table: ids 0, 1, 2, ... and timestamps 0, 1, 2, ... steps after 1970."""
        arrays = [np.asarray(values, np.float64) for values in series]
        stops = np.cumsum([len(values) for values in arrays], dtype=np.int64)
        starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
        frequency = frequency or Frequency()

        steps = np.arange(stops[-1], dtype=np.int64) - np.repeat(starts, stops - starts)
        timestamps = join(steps, np.zeros_like(steps), frequency)
        return cls(np.concatenate(arrays), starts, stops, timestamps, frequency, np.arange(len(arrays)))

    def __len__(self) -> int:
        """Number of series."""
        return len(self.starts)

    @property
    def lengths(self) -> Integers:
        """Rows of each series, ``(S,)``."""
        return self.stops - self.starts

    @property
    def num_rows(self) -> int:
        """Rows of all series together."""
        return int(self.lengths.sum())

    def rows(self, index: int) -> slice:
        """The rows of one series in the flat arrays."""
        return slice(int(self.starts[index]), int(self.stops[index]))

    def target(self, index: int) -> Floats:
        """The target of one series, a view ``(length,)``."""
        return self.values[self.rows(index)]

    def times(self, index: int) -> Integers:
        """The timestamps of one series, a view ``(length,)``."""
        return self.timestamps[self.rows(index)]

    def select(self, indices: ArrayLike) -> "SeriesArrays":
        """Some of the series, in the order of ``indices`` (integers or a mask over series)."""
        chosen = np.asarray(indices)
        return replace(
            self, starts=self.starts[chosen], stops=self.stops[chosen], ids=self.ids[chosen], static=self.static[chosen]
        )

    def cut(self, lengths: ArrayLike) -> "tuple[SeriesArrays, SeriesArrays]":
        """The first ``lengths`` rows of each series, and the rest.

        Args:
            lengths: One number for all series or one each; held within 0 and the series' length.
        """
        middle = self.starts + np.clip(np.asarray(lengths, np.int64), 0, self.lengths)
        return replace(self, stops=middle), replace(self, starts=middle)

    def head(self, lengths: ArrayLike) -> "SeriesArrays":
        """The first ``lengths`` rows of each series, or all where it is shorter."""
        return self.cut(lengths)[0]

    def until_last_value(self) -> "SeriesArrays":
        """Each series up to its last value that is not missing; what follows waits for a forecast."""
        last = np.maximum.accumulate(np.where(np.isnan(self.values), -1, np.arange(len(self.values))))
        stops = np.zeros_like(self.stops) if not len(last) else last[np.maximum(self.stops - 1, 0)] + 1
        return replace(self, stops=np.maximum(np.minimum(stops, self.stops), self.starts))
