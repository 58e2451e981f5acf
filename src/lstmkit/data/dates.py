"""Dates written as text. What could be read in two ways is refused, never guessed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import DataError, import_extra

_TIME = (
    r"(?:[T ]+(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"\s*(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_YEAR_FIRST = r"^(?P<year>\d{4})[-/](?P<month>\d{1,2})(?:[-/](?P<day>\d{1,2}))?" + _TIME
_YEAR_LAST = r"^(?P<first>\d{1,2})(?P<mark>[./-])(?P<second_part>\d{1,2})[./-](?P<year>\d{4})" + _TIME

Integers = NDArray[np.int64]


def parse_dates(texts: Any, name: str, row_of: Callable[[int], int]) -> tuple[Integers, str | None]:
    """Read ISO 8601 dates and times, ``2024/01/31``, ``31.01.2024``, and ``31/01/2024`` or ``01/31/2024``.

    In the last two the data must show which number is the day (one above 12 does).

    Args:
        texts: Distinct texts, a pyarrow array.
        name: The column, for messages.
        row_of: Gives the row of a text by its position.

    Shape:
        - texts: ``(U,)``; result: ``(U,)`` int64, nanoseconds since 1970, in UTC where there is a zone

    Raises:
        DataError: a text is no date, does not exist in the calendar, or the order of day and month stays open.
    """
    compute = import_extra("pyarrow.compute", "forecast")
    year_first = bool(len(texts)) and compute.match_substring_regex(texts[:1], _YEAR_FIRST)[0].as_py()
    parts = compute.extract_regex(texts, _YEAR_FIRST if year_first else _YEAR_LAST)
    if parts.null_count:
        _refuse(texts, name, row_of, int(np.argmax(np.asarray(parts.is_null()))))
    if year_first:
        month, day = _numbers(parts, "month"), _numbers(parts, "day", default=1)
    else:
        month, day = _month_and_day(parts, texts, name)
    timestamps, valid = _assemble(parts, month, day)
    if not valid.all():
        _refuse(texts, name, row_of, int(np.argmin(valid)))
    offsets, zone = _zone(parts, name, row_of)
    return timestamps - offsets, zone


def _numbers(parts: Any, field: str, default: int = 0) -> Integers:
    compute = import_extra("pyarrow.compute", "forecast")
    texts = compute.struct_field(parts, field)
    texts = compute.if_else(compute.equal(texts, ""), str(default), texts)
    return np.asarray(texts.cast("int64"))


def _month_and_day(parts: Any, texts: Any, name: str) -> tuple[Integers, Integers]:
    first, second = _numbers(parts, "first"), _numbers(parts, "second_part")
    mark = import_extra("pyarrow.compute", "forecast").struct_field(parts, "mark")[0].as_py()
    if mark == "." or (first > 12).any():
        return second, first
    if (second > 12).any():
        return first, second
    raise DataError(
        f"column {name!r} has dates such as {texts[0].as_py()!r} that do not show which number is the month; "
        "write them as year-month-day"
    )


def _assemble(parts: Any, month: Integers, day: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Nanoseconds, and whether such a date and time exist."""
    compute = import_extra("pyarrow.compute", "forecast")
    year, hour, minute, second = (_numbers(parts, field) for field in ("year", "hour", "minute", "second"))
    fraction = compute.utf8_rpad(compute.struct_field(parts, "fraction"), 9, "0")
    months = (year - 1970) * 12 + month - 1
    month_length = _days(months + 1) - _days(months)
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (day <= month_length) & (year >= 1678) & (year <= 2261)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    seconds = ((_days(months) + day - 1) * 24 + hour) * 3600 + minute * 60 + second
    return np.where(valid, seconds, 0) * 10**9 + np.asarray(fraction.cast("int64")), valid


def _days(months: Integers) -> Integers:
    return months.astype("M8[M]").astype("M8[D]").astype(np.int64)


def _zone(parts: Any, name: str, row_of: Callable[[int], int]) -> tuple[int, str | None]:
    """Nanoseconds east of Greenwich and the zone's name; the same for all texts."""
    compute = import_extra("pyarrow.compute", "forecast")
    zones = compute.struct_field(parts, "zone")
    zone: str = zones[0].as_py()
    differs = np.asarray(compute.not_equal(zones, zone))
    if differs.any():
        odd = int(np.argmax(differs))
        first, other = (text or "none" for text in (zone, zones[odd].as_py()))
        raise DataError(
            f"column {name!r} mixes time zones: {first} in row {row_of(0) + 1}, {other} in row {row_of(odd) + 1}; "
            "convert all times to one zone, for example UTC"
        )
    if zone in ("", "Z"):
        return 0, "UTC" if zone else None
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    if not seconds:
        return 0, "UTC"
    return (seconds if zone[0] == "+" else -seconds) * 10**9, f"{zone[0]}{digits[:2]}:{digits[2:]}"


def _refuse(texts: Any, name: str, row_of: Callable[[int], int], position: int) -> None:
    raise DataError(
        f"column {name!r} must hold times, but row {row_of(position) + 1} has {texts[position].as_py()!r}, "
        "which is no date in the form of the others; write 2024-01-31 or 2024-01-31 18:00:00"
    )
