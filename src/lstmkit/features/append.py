"""Later rows of the same series, laid behind the earlier ones."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmkit.features.grid import Integers, join, split
from lstmkit.features.series import SeriesArrays
from lstmkit.spec import DataError

Array = NDArray[Any]

# A gap may make a series longer by this factor; beyond it a timestamp is more likely wrong.
_MOST_ROWS_PER_ROW, _MOST_ROWS_AT_LEAST = 20, 100_000


class _Rows(NamedTuple):
    """Rows of one series, the covariates in the columns of ``past``."""

    values: Array
    timestamps: Integers
    known: Array
    observed: Array


def append_rows(past: SeriesArrays, later: SeriesArrays) -> SeriesArrays:
    """Each series of ``past`` with the rows that ``later`` has after its end; new series come last.

    Rows of ``later`` up to the end of ``past`` are left out. Rows missing in between are NaN, and so
    are covariates that ``later`` does not have.

    Raises:
        DataError: later rows lie off the grid of the series, or absurdly far behind it.

    Example:
        >>> past, later = SeriesArrays.from_lists([[1.0, 2.0]]), SeriesArrays.from_lists([[9.0, 9.0, 3.0]])
        >>> append_rows(past, later).target(0).tolist()
        [1.0, 2.0, 3.0]
    """
    if past.frequency.is_integer != later.frequency.is_integer:
        raise DataError("one table counts its rows and the other has dates; give both the same kind of time")
    places = {name: place for place, name in enumerate(later.ids.tolist())}
    followers = [places.pop(name, None) for name in past.ids.tolist()]
    new = later.select(np.array(sorted(places.values()), np.int64))
    blocks = [_extended(past, place, later, follower) for place, follower in enumerate(followers)]
    blocks += [_extended(past, None, new, place) for place in range(len(new))]
    lengths = np.array([len(block.values) for block in blocks], np.int64)
    stops = np.cumsum(lengths)
    return replace(
        past,
        **{name: np.concatenate([getattr(past, name)[:0], *parts]) for name, parts in _columns_of(blocks).items()},
        starts=stops - lengths,
        stops=stops,
        ids=np.concatenate([past.ids, new.ids]),
        static=np.concatenate([past.static, _columns(new.static, new.static_names, past.static_names)]),
    )


def _columns_of(blocks: list[_Rows]) -> dict[str, list[Array]]:
    return {name: [getattr(block, name) for block in blocks] for name in _Rows._fields}


def _extended(past: SeriesArrays, place: int | None, later: SeriesArrays, follower: int | None) -> _Rows:
    """The rows of one series and, behind them, those of its follower; either may be missing."""
    own = _rows(past, past, slice(0, 0) if place is None else past.rows(place))
    if follower is None:
        return own
    rows = _rows(later, past, later.rows(follower))
    name, frequency = later.ids[follower], past.frequency
    position, phase = split(rows.timestamps, frequency)
    last, own_phase = (own_part[-1:] for own_part in split(own.timestamps, frequency))
    if not len(own.timestamps):
        last, own_phase = position[:1] - 1, phase[:1]
    ahead = position - last
    kept = ahead > 0
    if not kept.any():
        return own
    if (phase[kept] != own_phase).any():
        raise DataError(
            f"later rows of series {name!r} lie between the steps of {str(frequency)!r} of the earlier ones"
        )
    count = int(ahead.max())
    if count > max(_MOST_ROWS_PER_ROW * (len(own.values) + len(rows.values)), _MOST_ROWS_AT_LEAST):
        raise DataError(
            f"later rows of series {name!r} begin or end {count:,} steps of {str(frequency)!r} after the earlier "
            "ones, too much to fill; check the times, or give the right step with frequency="
        )
    between = _Rows(
        values=_laid(rows.values[kept], ahead[kept], count),
        timestamps=join(last + np.arange(1, count + 1), own_phase, frequency),
        known=_laid(rows.known[kept], ahead[kept], count),
        observed=_laid(rows.observed[kept], ahead[kept], count),
    )
    return _Rows(*(np.concatenate(pair) for pair in zip(own, between, strict=True)))


def _rows(series: SeriesArrays, like: SeriesArrays, rows: slice) -> _Rows:
    return _Rows(
        series.values[rows],
        series.timestamps[rows],
        _columns(series.known[rows], series.known_names, like.known_names),
        _columns(series.observed[rows], series.observed_names, like.observed_names),
    )


def _laid(values: Array, ahead: Integers, count: int) -> Array:
    """Values at their distance ahead, NaN between them."""
    laid = np.full((count, *values.shape[1:]), np.nan)
    laid[ahead - 1] = values
    return laid


def _columns(values: Array, names: tuple[str, ...], wanted: tuple[str, ...]) -> Array:
    """Columns by name, NaN where absent."""
    if names == wanted:
        return values
    absent = np.full((len(values), 1), np.nan)
    columns = [values[:, [names.index(name)]] if name in names else absent for name in wanted]
    return np.concatenate([np.empty((len(values), 0)), *columns], axis=1)
