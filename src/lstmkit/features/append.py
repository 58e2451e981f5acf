"""Later rows of the same series, laid behind the earlier ones."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features.grid import join, split
from lstmkit.features.series import SeriesArrays

Array = NDArray[Any]


def append_rows(past: SeriesArrays, later: SeriesArrays) -> SeriesArrays:
    """Each series of ``past`` with the rows that ``later`` has after its end; new series come last.

    Rows of ``later`` up to the end of ``past`` are left out. Rows missing in between are NaN, and so
    are covariates that ``later`` does not have.

    Example:
        >>> past, later = SeriesArrays.from_lists([[1.0, 2.0]]), SeriesArrays.from_lists([[9.0, 9.0, 3.0]])
        >>> append_rows(past, later).target(0).tolist()
        [1.0, 2.0, 3.0]
    """
    places = {name: place for place, name in enumerate(later.ids.tolist())}
    blocks = [_block(past, place, later, places.pop(name, None)) for place, name in enumerate(past.ids.tolist())]
    new = later.select(np.array(sorted(places.values()), np.int64))
    blocks += [_block(new, place, later, None, like=past) for place in range(len(new))]
    values, timestamps, known, observed = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    lengths = np.array([len(block[0]) for block in blocks])
    stops = np.cumsum(lengths)
    return replace(
        past,
        values=values,
        timestamps=timestamps,
        known=known,
        observed=observed,
        starts=stops - lengths,
        stops=stops,
        ids=np.concatenate([past.ids, new.ids]),
        static=np.concatenate([past.static, _columns(new.static, new.static_names, past.static_names)]),
    )


def _block(
    past: SeriesArrays, place: int, later: SeriesArrays, follower: int | None, like: SeriesArrays | None = None
) -> tuple[Array, Array, Array, Array]:
    """Values, timestamps, known and observed covariates of one series, extended by its follower's rows."""
    like = like or past
    rows = past.rows(place)
    block = (
        past.values[rows],
        past.timestamps[rows],
        _columns(past.known[rows], past.known_names, like.known_names),
        _columns(past.observed[rows], past.observed_names, like.observed_names),
    )
    if follower is None:
        return block
    more = later.rows(follower)
    position, phase = split(past.timestamps[rows][-1:], past.frequency)
    ahead = split(later.timestamps[more], past.frequency)[0] - position
    kept = ahead > 0
    count = int(ahead.max(initial=0))
    extension = (
        _lay(later.values[more][kept], ahead[kept], count),
        join(position + np.arange(1, count + 1), phase, past.frequency),
        _lay(_columns(later.known[more], later.known_names, like.known_names)[kept], ahead[kept], count),
        _lay(_columns(later.observed[more], later.observed_names, like.observed_names)[kept], ahead[kept], count),
    )
    return tuple(np.concatenate(pair) for pair in zip(block, extension, strict=True))  # pyright: ignore[reportReturnType]


def _lay(values: Array, ahead: Array, count: int) -> Array:
    """Values at their distance ahead, NaN between them."""
    laid = np.full((count, *values.shape[1:]), np.nan)
    laid[ahead - 1] = values
    return laid


def _columns(values: Array, names: tuple[str, ...], wanted: tuple[str, ...]) -> Array:
    """Columns by name, NaN where absent."""
    absent = np.full((len(values), 1), np.nan)
    columns = [values[:, [names.index(name)]] if name in names else absent for name in wanted]
    return np.concatenate(columns, axis=1) if columns else np.empty((len(values), 0))
