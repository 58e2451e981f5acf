"""Rows in any order become series on a regular grid, with every row between first and last present."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.data.times import TimeKind
from lstmkit.features import Frequency, infer_frequency, join, split
from lstmkit.spec import DataError

Integers = NDArray[np.int64]

# Filling gaps may make a table longer by this factor; beyond it a timestamp is more likely wrong.
_MOST_ROWS_PER_ROW = 20
_MOST_ROWS_AT_LEAST = 100_000


@dataclass(frozen=True)
class Grid:
    """Where the rows of a table go.

    Args:
        order: Row of the table that comes k-th when sorted, or None if they are sorted.
        places: Row of the grid for the k-th sorted row, or None if no row is missing.
        starts: First grid row of each series.
        stops: Row after the last of each series.
        timestamps: Time of each grid row.
        frequency: Step of the grid.
    """

    order: NDArray[np.intp] | None
    places: Integers | None
    starts: Integers
    stops: Integers
    timestamps: Integers
    frequency: Frequency

    def lay(self, column: NDArray[np.floating]) -> NDArray[np.floating]:
        """Put a column of the table on the grid, NaN where the table has no row."""
        if self.order is not None:
            column = column[self.order]
        if self.places is None:
            return column
        result = np.full((len(self.timestamps), *column.shape[1:]), np.nan, column.dtype)
        result[self.places] = column
        return result


class _Rows:
    """Sorted rows, and the words to speak of one."""

    def __init__(
        self, codes: NDArray[np.integer], timestamps: Integers, ids: list[Any], kind: TimeKind, height: int
    ) -> None:
        self.order = _order(codes, timestamps)
        self.timestamps = timestamps if self.order is None else timestamps[self.order]
        self.stops = np.cumsum(np.bincount(codes, minlength=len(ids))).astype(np.int64)
        self.starts = np.concatenate([[0], self.stops[:-1]]).astype(np.int64)
        self.inside = np.ones(max(len(codes) - 1, 0), bool)
        self.inside[self.starts[1:] - 1] = False
        self.ids, self.kind, self.height = ids, kind, height

    def series_of(self, row: int) -> str:
        return repr(self.ids[int(np.searchsorted(self.stops, row, side="right"))])

    def table_row(self, row: int) -> int:
        """Row of the user's table, counted from 1."""
        return int(row if self.order is None else self.order[row]) % self.height + 1

    def time(self, row: int) -> str:
        return self.kind.text(int(self.timestamps[row]))


def arrange(
    codes: NDArray[np.integer],
    timestamps: Integers,
    ids: list[Any],
    kind: TimeKind,
    frequency: Frequency | None = None,
    gaps: str = "mask",
) -> Grid:
    """Sort rows by series and time, find the step, and make room for missing rows.

    Args:
        codes: Series of each row, ``0 .. S-1``.
        timestamps: Time of each row of the table, which repeats for each target.
        ids: What the user calls each series.
        kind: What the timestamps stand for.
        frequency: The step, or None to find it.
        gaps: ``"mask"`` for rows of NaN where rows are missing, ``"error"`` to refuse.

    Raises:
        DataError: a time occurs twice in a series, lies off the grid, or a gap is refused or absurdly long.
    """
    height = len(timestamps)
    rows = _Rows(codes, np.tile(timestamps, len(codes) // height), ids, kind, height)
    _reject_duplicates(rows)
    if frequency is None:
        frequency = infer_frequency(rows.timestamps, rows.starts, integers=kind.integer)
    positions, phases = split(rows.timestamps, frequency)
    _reject_off_grid(rows, phases, frequency)
    steps = np.diff(positions)
    if not ((steps != 1) & rows.inside).any():
        return Grid(rows.order, None, rows.starts, rows.stops, rows.timestamps, frequency)
    _check_gaps(rows, steps, frequency, gaps)
    return _filled(rows, positions, phases, frequency)


def _order(codes: NDArray[np.integer], timestamps: Integers) -> NDArray[np.intp] | None:
    order = None
    if (codes[1:] < codes[:-1]).any():
        order = np.argsort(codes, kind="stable")
        codes, timestamps = codes[order], timestamps[order]
    if ((timestamps[1:] < timestamps[:-1]) & (codes[1:] == codes[:-1])).any():
        within = _lexsort(codes, timestamps)
        order = within if order is None else order[within]
    return order


def _lexsort(codes: NDArray[np.integer], timestamps: Integers) -> NDArray[np.intp]:
    """By series, then time; one sort of joint keys where they fit 63 bits, which is several times faster."""
    first = int(timestamps.min())
    divisor = int(np.gcd.reduce(timestamps - first)) or 1
    span = (int(timestamps.max()) - first) // divisor + 1
    if span * (int(codes.max()) + 1) >= 2**63 or int(timestamps.max()) - first >= 2**63:
        return np.lexsort((timestamps, codes))
    return np.argsort(codes.astype(np.int64) * span + (timestamps - first) // divisor, kind="stable")


def _reject_duplicates(rows: _Rows) -> None:
    twice = (rows.timestamps[1:] == rows.timestamps[:-1]) & rows.inside
    if not twice.any():
        return
    row = int(np.argmax(twice))
    hint = "keep one of them"
    if len(rows.ids) == 1:
        hint += ", or name the column that tells several series apart with id_column="
    raise DataError(
        f"series {rows.series_of(row)} has the time {rows.time(row)} twice, in rows {rows.table_row(row)} and "
        f"{rows.table_row(row + 1)}; {hint}"
    )


def _reject_off_grid(rows: _Rows, phases: Integers, frequency: Frequency) -> None:
    off = (phases[1:] != phases[:-1]) & rows.inside
    if not off.any():
        return
    row = int(np.argmax(off)) + 1
    step = int(rows.timestamps[row] - rows.timestamps[row - 1])
    away = str(step) if rows.kind.integer else _duration(step)
    raise DataError(
        f"series {rows.series_of(row)} is irregular: row {rows.table_row(row)} ({rows.time(row)}) comes {away} after "
        f"the row before, which is no whole number of steps of {str(frequency)!r}; resample the series to a regular "
        "step, or give the right step with frequency="
    )


def _duration(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    size, unit = next(
        ((s, u) for s, u in ((86400, "days"), (3600, "hours"), (60, "minutes")) if seconds >= s), (1, "seconds")
    )
    return f"{seconds / size:.6g} {unit}"


def _check_gaps(rows: _Rows, steps: Integers, frequency: Frequency, gaps: str) -> None:
    missing = np.where(rows.inside, steps - 1, 0)
    row = int(np.argmax(missing if gaps == "mask" else missing > 0))
    where = (
        f"series {rows.series_of(row)} has no rows between {rows.time(row)} and {rows.time(row + 1)} "
        f"({missing[row]} steps of {str(frequency)!r}, after row {rows.table_row(row)})"
    )
    if gaps == "error":
        raise DataError(f"{where}; fill them, or let gaps='mask' treat them as missing")
    if missing.sum(dtype=np.float64) > max(_MOST_ROWS_PER_ROW * len(rows.timestamps), _MOST_ROWS_AT_LEAST):
        raise DataError(f"{where}, too much to fill; check the times, or give the right step with frequency=")


def _filled(rows: _Rows, positions: Integers, phases: Integers, frequency: Frequency) -> Grid:
    last = np.maximum(rows.stops - 1, rows.starts)
    lengths = positions[last] - positions[rows.starts] + 1
    stops = np.cumsum(lengths)
    starts = stops - lengths
    counts = rows.stops - rows.starts
    places = positions - np.repeat(positions[rows.starts] - starts, counts)
    grid = np.arange(int(stops[-1])) + np.repeat(positions[rows.starts] - starts, lengths)
    timestamps = join(grid, np.repeat(phases[rows.starts], lengths), frequency)
    return Grid(rows.order, places, starts, stops, timestamps, frequency)
