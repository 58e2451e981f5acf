"""Timestamps as whole numbers on the grid of a frequency, and back.

Every timestamp is a position (which step) and a phase (where inside the step). Two rows belong to
one regular series exactly if their phases are equal; their distance in steps is the difference of
positions. Months and business days thereby become as regular as hours.
"""

import numpy as np
from numpy.typing import NDArray

from lstmkit.features.frequency import DAY, DURATIONS, Frequency

Integers = NDArray[np.int64]

# One more than the greatest phase that one unit can have.
_MONTH_SPAN = 32 * DAY
_BUSINESS_SPAN = 3 * DAY


def split(timestamps: Integers, frequency: Frequency) -> tuple[Integers, Integers]:
    """Positions and phases of timestamps.

    Shape:
        - timestamps: any shape, int64, nanoseconds since 1970 or plain integers; both results alike

    Example:
        >>> hours = np.array([90, 150], np.int64) * 60 * 10**9
        >>> position, phase = split(hours, Frequency(1, "h"))
        >>> position.tolist(), (phase // 10**9).tolist()
        ([1, 2], [1800, 1800])
    """
    if frequency.unit in ("MS", "ME"):
        position, phase = _split_months(timestamps, from_end=frequency.unit == "ME")
    elif frequency.unit == "B":
        position, phase = _split_business_days(timestamps)
    else:
        span = np.int64(_span(frequency))
        position = timestamps // span
        phase = timestamps - position * span
    if frequency.count == 1:
        return position, phase
    whole = position // frequency.count
    return whole, phase + (position - whole * frequency.count) * _span(frequency)


def join(positions: Integers, phases: Integers, frequency: Frequency) -> Integers:
    """The inverse of :func:`split`; the two arguments broadcast."""
    skipped, phases = np.divmod(phases, np.int64(_span(frequency)))
    positions = positions * np.int64(frequency.count) + skipped
    if frequency.unit == "MS":
        return _month_start(positions) + phases
    if frequency.unit == "ME":
        return _month_start(positions + 1) + (phases - _MONTH_SPAN)
    if frequency.unit == "B":
        week, weekday = np.divmod(positions, np.int64(5))
        return (week * 7 + weekday - 3) * DAY + phases
    return positions * np.int64(_span(frequency)) + phases


def future_timestamps(last: "Integers | int", frequency: Frequency, horizon: int) -> Integers:
    """The timestamps of the ``horizon`` steps after ``last``.

    Shape:
        - last: ``(S,)`` or a single number
        - result: ``(S, horizon)`` or ``(horizon,)``

    Example:
        >>> last = np.datetime64("2024-01-31", "ns").astype(np.int64)
        >>> future_timestamps(last, Frequency(1, "ME"), 3).astype("M8[ns]").astype("M8[D]").tolist()
        [datetime.date(2024, 2, 29), datetime.date(2024, 3, 31), datetime.date(2024, 4, 30)]
    """
    position, phase = split(np.asarray(last, np.int64), frequency)
    return join(position[..., None] + np.arange(1, horizon + 1), phase[..., None], frequency)


def _span(frequency: Frequency) -> int:
    return {"": 1, "MS": _MONTH_SPAN, "ME": _MONTH_SPAN, "B": _BUSINESS_SPAN, **DURATIONS}[frequency.unit]


def _month_start(months: Integers) -> Integers:
    return months.astype("M8[M]").astype("M8[ns]").astype(np.int64)


def _split_months(timestamps: Integers, *, from_end: bool) -> tuple[Integers, Integers]:
    months = timestamps.astype("M8[ns]").astype("M8[M]").astype(np.int64)
    if from_end:
        return months, timestamps - _month_start(months + 1) + _MONTH_SPAN
    return months, timestamps - _month_start(months)


def _split_business_days(timestamps: Integers) -> tuple[Integers, Integers]:
    """Weekends get phases beyond a day, which no business day has."""
    days, time = np.divmod(timestamps, np.int64(DAY))
    week, weekday = np.divmod(days + 3, np.int64(7))
    return week * 5 + np.minimum(weekday, 4), time + np.maximum(weekday - 4, 0) * DAY
