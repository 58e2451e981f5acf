"""Where in the minute, hour, day, week and year a timestamp stands, as points on circles."""

import numpy as np
from numpy.typing import NDArray

from lstmkit.features.frequency import DAY, DURATIONS, Frequency
from lstmkit.features.grid import Integers

_CYCLES = {"minute": DURATIONS["min"], "hour": DURATIONS["h"], "day": DAY, "week": 7 * DAY, "year": 365 * DAY}


def calendar_cycles(frequency: Frequency) -> tuple[str, ...]:
    """The cycles that a series of this frequency can show: those longer than one step.

    Example:
        >>> calendar_cycles(Frequency(1, "h"))
        ('day', 'week', 'year')
        >>> calendar_cycles(Frequency(1, "B")), calendar_cycles(Frequency(1, "MS")), calendar_cycles(Frequency(1))
        (('week', 'year'), ('month',), ())
    """
    if frequency.is_integer:
        return ()
    if frequency.unit in ("MS", "ME"):
        return ("month",) if frequency.count % 12 else ()
    step = frequency.duration or frequency.count * DAY
    return tuple(name for name, length in _CYCLES.items() if length > step)


def calendar_names(frequency: Frequency) -> tuple[str, ...]:
    """Names of the columns that :func:`calendar_features` gives: ``day_sin, day_cos, week_sin, ...``."""
    return tuple(f"{cycle}_{wave}" for cycle in calendar_cycles(frequency) for wave in ("sin", "cos"))


def calendar_features(
    timestamps: Integers, frequency: Frequency, dtype: type[np.floating] = np.float32
) -> NDArray[np.floating]:
    """Sine and cosine of each cycle's phase.

    The day counts its seconds, the week its whole days from Monday, the year its whole days (of
    365 or 366), the month its place in the year.

    Shape:
        - timestamps: ``(...,)`` int64, nanoseconds since 1970
        - result: ``(..., 2 * cycles)``, columns as :func:`calendar_names`

    Example:
        >>> noon = np.array(["2024-07-01T12:00"], "M8[ns]").astype(np.int64)
        >>> calendar_features(noon, Frequency(6, "h"))[0, :2].round(3).tolist()
        [0.0, -1.0]
    """
    timestamps = np.asarray(timestamps, np.int64)
    cycles = calendar_cycles(frequency)
    result = np.empty((*timestamps.shape, 2 * len(cycles)), dtype)
    for k, cycle in enumerate(cycles):
        angle = 2 * np.pi * _phase(timestamps, cycle)
        result[..., 2 * k] = np.sin(angle)
        result[..., 2 * k + 1] = np.cos(angle)
    return result


def _phase(timestamps: Integers, cycle: str) -> NDArray[np.float64]:
    """Part of the cycle that has passed, in [0, 1)."""
    dates = timestamps.astype("M8[ns]")
    if cycle == "month":
        return dates.astype("M8[M]").astype(np.int64) % 12 / 12
    if cycle == "week":
        return (timestamps // DAY + 3) % 7 / 7
    if cycle == "year":
        years = dates.astype("M8[Y]")
        first, following = years.astype("M8[D]"), (years + 1).astype("M8[D]")
        return (dates.astype("M8[D]") - first) / (following - first)
    return timestamps % _CYCLES[cycle] / _CYCLES[cycle]
