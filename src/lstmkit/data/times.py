"""Columns of time as int64: nanoseconds since 1970, or plain counters."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.data.columns import arrow_column, first_row, identity, is_text, reject_missing
from lstmkit.data.dates import parse_dates
from lstmkit.spec import DataError, import_extra

DAY = 86_400 * 10**9


@dataclass(frozen=True)
class TimeKind:
    """What the int64 numbers stand for.

    Args:
        integer: Plain counters.
        zone: The time zone of the user's column, or None.
        wall: Whether they are clock readings in ``zone``; otherwise they are instants (UTC).
    """

    integer: bool = False
    zone: str | None = None
    wall: bool = False

    def text(self, timestamp: int) -> str:
        """A timestamp for people."""
        if self.integer:
            return str(timestamp)
        written = str(np.datetime64(int(timestamp), "ns")).removesuffix(".000000000").removesuffix("T00:00:00")
        return written + (" UTC" if self.zone and not self.wall else "")


def read_times(frame: Any, name: str) -> tuple[NDArray[np.int64], TimeKind]:
    """A column of datetimes, dates, whole numbers, or text that is one of these.

    In a time zone, daily and longer steps count by the zone's calendar (a day may have 23 hours),
    shorter ones by the time that passes.

    Raises:
        DataError: a time is missing, cannot be read, is not between 1678 and 2261, or zones are mixed.
    """
    types = import_extra("pyarrow", "forecast").types
    column = arrow_column(frame, name)
    reject_missing(column, name)
    if is_text(column):
        return _from_text(column, name)
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_integer(column.type) or types.is_floating(column.type):
        return _whole_numbers(column, name), TimeKind(integer=True)
    if not (types.is_timestamp(column.type) or types.is_date(column.type)):
        hint = "; use .dt.to_timestamp()" if "period" in str(column.type) else ""
        raise DataError(f"column {name!r} must hold times or whole numbers, not {column.type}{hint}")
    _reject_mixed_zones(frame, name)
    return _from_timestamps(column, name)


def _from_timestamps(column: Any, name: str) -> tuple[NDArray[np.int64], TimeKind]:
    zone = getattr(column.type, "tz", None)
    if zone is None:
        return _nanoseconds(column, name), TimeKind()
    wall = _nanoseconds(import_extra("pyarrow.compute", "forecast").local_timestamp(column), name)
    if len(wall) and (wall % DAY == wall[0] % DAY).all():
        return wall, TimeKind(zone=zone, wall=True)
    return _nanoseconds(column, name), TimeKind(zone=zone)


def _nanoseconds(column: Any, name: str) -> NDArray[np.int64]:
    pyarrow = import_extra("pyarrow", "forecast")
    zone = getattr(column.type, "tz", None)
    try:
        return np.asarray(column.cast(pyarrow.timestamp("ns", zone)).cast(pyarrow.int64()))
    except pyarrow.ArrowInvalid:
        raise DataError(
            f"column {name!r} holds a time outside 1678 to 2261; use whole numbers as time instead"
        ) from None


def _from_text(column: Any, name: str) -> tuple[NDArray[np.int64], TimeKind]:
    pyarrow = import_extra("pyarrow", "forecast")
    compute = import_extra("pyarrow.compute", "forecast")
    codes, texts = identity(column, name)
    texts = compute.utf8_trim_whitespace(texts)
    if compute.all(compute.match_substring_regex(texts, r"^[+-]?\d{1,18}$")).as_py():
        return _whole_numbers(texts.cast(pyarrow.int64()), name)[codes], TimeKind(integer=True)
    # Codes count up at each first appearance, so the row of a text can be found again.
    timestamps, zone = parse_dates(texts, name, lambda code: first_row(codes == code))
    if zone is None:
        return timestamps[codes], TimeKind()
    instants = pyarrow.array(timestamps).cast(pyarrow.timestamp("ns", zone))
    unique, kind = _from_timestamps(instants, name)
    return unique[codes], kind


def _whole_numbers(column: Any, name: str) -> NDArray[np.int64]:
    given = column.to_numpy(zero_copy_only=False)
    if given.dtype.kind == "f":
        broken = ~np.isfinite(given) | (given != np.floor(given))
        if broken.any():
            row = first_row(broken)
            raise DataError(
                f"column {name!r} holds times as numbers, but row {row + 1} has {given[row]}: use whole numbers"
            )
    # Twice this bound is the most that two times can differ in 64 bits.
    beyond = (given > 2**62) | (given < -(2**62))
    if beyond.any():
        row = first_row(beyond)
        raise DataError(f"column {name!r} holds whole numbers as time, but {given[row]} in row {row + 1} is too large")
    values = given.astype(np.int64)
    month, day = values // 100 % 100, values % 100
    dates = (values >= 19000101) & (values <= 22001231) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    if len(values) and dates.all():
        raise DataError(
            f"column {name!r} holds dates written as whole numbers ({values[0]}); write them as "
            f"{values[0] // 10000}-{month[0]:02d}-{day[0]:02d}, "
            "or convert with pandas.to_datetime(..., format='%Y%m%d')"
        )
    return values


def _reject_mixed_zones(frame: Any, name: str) -> None:
    """Arrow would turn Python datetimes of several zones into UTC without a word."""
    native = frame[name].to_native()
    if str(getattr(native, "dtype", "")) != "object":
        return
    zones = [str(getattr(value, "tzinfo", None)) for value in native]
    odd = next((row for row, zone in enumerate(zones) if zone != zones[0]), None)
    if odd is not None:
        raise DataError(
            f"column {name!r} mixes time zones: {zones[0]} in row 1, {zones[odd]} in row {odd + 1}; "
            "convert all times to one zone, for example UTC"
        )
