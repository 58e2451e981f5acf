"""The frequency of timestamps that nobody named."""

import numpy as np
from numpy.typing import NDArray

from lstmkit.features.frequency import DAY, WEEKDAYS, Frequency, frequency_of_duration
from lstmkit.features.grid import Integers, split
from lstmkit.spec import DataError


def infer_frequency(timestamps: Integers, starts: "Integers | None" = None, *, integers: bool = False) -> Frequency:
    """Find the step that most neighbouring rows are apart, and the calendar behind it.

    Rows may be missing: the most frequent step decides, the shorter of two equally frequent ones.
    Weekday-only days are business days; constant days of the month (or before its end) are months.

    Args:
        timestamps: Nanoseconds since 1970 or integers, ascending within each series.
        starts: First row of each series; None for a single series.
        integers: Whether the timestamps are plain counters.

    Shape:
        - timestamps: ``(N,)`` int64
        - starts: ``(S,)`` int64

    Raises:
        DataError: no series has two rows.

    Example:
        >>> days = np.arange("2024-01-01", "2024-01-20", dtype="M8[D]")
        >>> weekdays = days[np.is_busday(days)].astype("M8[ns]").astype(np.int64)
        >>> str(infer_frequency(weekdays))
        'B'
    """
    inside = np.ones(max(len(timestamps) - 1, 0), bool)
    if starts is not None:
        inside[starts[(starts > 0) & (starts < len(timestamps))] - 1] = False
    steps = np.diff(timestamps)[inside]
    if not len(steps):
        if integers:
            return Frequency()
        raise DataError("no series has two rows, so the step of time cannot be seen; give frequency=, for example 'D'")
    step = _mode(steps)
    if step < 1:
        raise DataError("most neighbouring rows are more than 292 years apart; use whole numbers as time")
    if integers:
        return Frequency(step)
    if step >= 28 * DAY:
        months = _infer_months(timestamps, inside)
        if months is not None:
            return months
    if step == DAY and _skips_weekends(timestamps, steps):
        return Frequency(1, "B")
    if step % (7 * DAY) == 0:
        weekday = int(timestamps[0] // DAY + 3) % 7
        return Frequency(step // (7 * DAY), "W", WEEKDAYS[weekday])
    return frequency_of_duration(step)


def _mode(steps: NDArray[np.int64]) -> int:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def _infer_months(timestamps: Integers, inside: NDArray[np.bool_]) -> Frequency | None:
    """Days from the 29th on count from the end of the month, as the 31st of December does in yearly data."""
    late = int(split(timestamps[:1], Frequency(1, "MS"))[1][0]) >= 28 * DAY
    for unit in ("ME", "MS") if late else ("MS", "ME"):
        months, phases = split(timestamps, Frequency(1, unit))
        if not np.diff(phases)[inside].any():
            return Frequency(_mode(np.diff(months)[inside]), unit)
    return None


def _skips_weekends(timestamps: Integers, steps: Integers) -> bool:
    """A single working week proves nothing; a weekend must have been jumped."""
    weekdays = (timestamps // DAY + 3) % 7
    return bool((weekdays < 5).all() and (steps >= 3 * DAY).any())
