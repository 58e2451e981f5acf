"""What people hand to a forecaster, as arrays that it can rely on."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.features import Frequency, future_timestamps, join, split
from lstmkit.spec import DataError, ShapeError

Array = NDArray[Any]
Timestamps = NDArray[np.int64]


def read_target(y: ArrayLike, *, prices: bool) -> NDArray[np.float64]:
    """The rows of a target, NaN where missing.

    Raises:
        ShapeError: not one row after the other.
        DataError: something that is not a number, or a price that has no logarithm.
    """
    values = np.atleast_1d(_numbers("y", y))
    if values.ndim != 1:
        raise ShapeError(f"expected y of shape (T,), got {values.shape}")
    if prices and (values <= 0).any():
        row = int(np.argmax(values <= 0))
        raise DataError(f"this model forecasts prices, which are above 0; y has {values[row]:g} in row {row}")
    return values


def read_covariates(what: str, values: ArrayLike | None, rows: int, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Covariates as ``(rows, names)``.

    Raises:
        ShapeError: another shape; the message lists what was expected.
        DataError: something that is not a number.
    """
    if values is None and not names:
        return np.empty((rows, 0))
    shape = None if values is None else np.shape(values)
    if values is None or shape != (rows, len(names)):
        found = "nothing" if shape is None else f"shape {shape}"
        columns = ", ".join(names) or "no columns"
        raise ShapeError(f"expected {what} of shape ({rows}, {len(names)}) for {columns}, got {found}")
    return _numbers(what, values)


def read_static(values: ArrayLike | None, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Static covariates as ``(1, names)``, from ``(names,)`` or that; errors as :func:`read_covariates`."""
    return read_covariates("static", None if values is None else np.atleast_2d(np.asarray(values)), 1, names)


def read_timestamps(ds: ArrayLike | None, rows: int, frequency: Frequency, last: int | None = None) -> Timestamps:
    """Timestamps that follow one another, ``(rows,)``.

    Args:
        ds: Timestamps of any kind; None numbers the rows, or continues after ``last``.
        rows: How many are expected.
        frequency: How far they are apart.
        last: The timestamp of the row before; None if there is none.

    Raises:
        ShapeError: another number of them.
        DataError: they are no times, or not one step of the frequency apart.
    """
    if ds is None and last is None:
        return join(np.arange(rows), np.zeros(rows, np.int64), frequency)
    if ds is None:
        return future_timestamps(int(last or 0), frequency, rows)
    stamps = as_timestamps(ds)
    if stamps.shape != (rows,):
        raise ShapeError(f"expected one timestamp for each of {rows} values, got the shape {stamps.shape}")
    chain = stamps if last is None else np.concatenate([[last], stamps])
    position, phase = split(chain, frequency)
    wrong = np.flatnonzero((np.diff(position) != 1) | (np.diff(phase) != 0))
    if len(wrong):
        before, after = _shown(chain[wrong[0] :][:2], frequency)
        raise DataError(
            f"{after} is not one step of {str(frequency)!r} after {before}; give the rows in order, with NaN for "
            "those that are missing"
        )
    return stamps


def as_timestamps(ds: ArrayLike) -> Timestamps:
    """Timestamps of any kind as nanoseconds since 1970; whole numbers stay what they are.

    Raises:
        DataError: something that is neither.

    Example:
        >>> as_timestamps(["1970-01-02"]).tolist()
        [86400000000000]
    """
    array = np.atleast_1d(np.asarray(ds))
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    try:
        if array.dtype.kind not in "MUO":
            raise ValueError
        dates = array.astype("M8[ns]")
        if np.isnat(dates).any():
            raise ValueError
    except (ValueError, TypeError):
        raise DataError(f"expected ds to be dates or whole numbers, got {array.ravel()[:1].tolist()}") from None
    return dates.astype(np.int64)


def _numbers(what: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError):
        raise DataError(f"expected numbers in {what}, NaN where they are missing, got something else") from None


def _shown(stamps: Timestamps, frequency: Frequency) -> list[str]:
    return [str(stamp) for stamp in (stamps if frequency.is_integer else stamps.astype("M8[ns]").astype("M8[s]"))]
