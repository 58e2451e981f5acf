"""The forecaster's view of a table: which column plays which part, and what must be there."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from lstmkit.data import Table, read_table
from lstmkit.features import Frequency, SeriesArrays, append_rows, future_timestamps, take_rows
from lstmkit.runtime import ForecastConfig
from lstmkit.spec import DataError, ModelFileError, OptionError


@dataclass(frozen=True)
class Columns:
    """Names of the columns by their part."""

    id_column: str | None
    time_column: str
    target_column: str | tuple[str, ...]
    known: tuple[str, ...]
    observed: tuple[str, ...]
    static: tuple[str, ...]
    frequency: str | int | None

    @classmethod
    def of(
        cls,
        id_column: str | None,
        time_column: str,
        target_column: str | Sequence[str],
        known: Iterable[str],
        observed: Iterable[str],
        static: Iterable[str],
        frequency: str | int | None,
    ) -> "Columns":
        """Columns as a user gives them: one name or several."""
        target = target_column if isinstance(target_column, str) else tuple(target_column)
        return cls(id_column, time_column, target, _names(known), _names(observed), _names(static), frequency)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Any, config: ForecastConfig) -> "Columns":
        """Read the names from an untrusted document.

        Raises:
            ModelFileError: they are not ones, or not those of the model.
        """
        try:
            columns = cls.of(**document)
            if (columns.known, columns.observed, columns.static) != (config.known, config.observed, config.static):
                raise ValueError
            texts = [columns.time_column, *_names(columns.target_column), *_names(columns.id_column or ())]
            if not all(isinstance(text, str) for text in texts) or not len(columns.target_column):
                raise ValueError
            if not isinstance(columns.frequency, str | int | None):
                raise ValueError
        except (TypeError, ValueError):
            raise ModelFileError("the model file is damaged: it does not name its columns") from None
        return columns


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def read_series(df: Any, columns: Columns, *, target: bool = True, gaps: str = "mask") -> Table:
    """Read a table, or several, by these columns; ``target=False`` reads one of future covariates.

    Raises:
        DataError: a table does not have what the columns promise.
    """
    if isinstance(df, list | tuple) and df:
        first = _named_by_file(read_series(df[0], columns, target=target, gaps=gaps), df[0], len(df))
        later = (
            _named_by_file(read_like(part, columns, first.series.frequency, "the first table has"), part, len(df))
            for part in df[1:]
        )
        return reduce(lambda one, two: replace(one, series=append_rows(one.series, two.series)), later, first)
    return read_table(
        df,
        id_column=columns.id_column,
        time_column=columns.time_column,
        target_column=columns.target_column if target else None,
        known=columns.known,
        observed=columns.observed if target else (),
        static=columns.static if target else (),
        frequency=columns.frequency,
        gaps=gaps,
    )


def read_like(
    df: Any, columns: Columns, frequency: Frequency, whose: str = "the model knows", *, target: bool = True
) -> Table:
    """Read a table whose rows must be as far apart as others were.

    A table too short to show its own step, such as one row or one working week, is read with the given one.

    Raises:
        DataError: as in :func:`read_series`; or the rows are not so far apart.
    """
    try:
        table = read_series(df, columns, target=target)
        found = table.series.frequency
        if str(found) == str(frequency):
            return table
        failure = DataError(f"this table's rows are {found} apart, but {whose} rows that are {frequency} apart")
    except DataError as error:
        failure = error
    step = frequency.count if frequency.is_integer else str(frequency)
    try:
        return read_series(df, replace(columns, frequency=step), target=target, gaps="error")
    except (DataError, OptionError):
        raise failure from None


def _named_by_file(table: Table, source: Any, count: int) -> Table:
    """A table without ids, one of several, becomes the series of its file."""
    if count == 1 or table.layout.id_column is not None or len(table.series) > 1 or not isinstance(source, str | Path):
        return table
    return replace(table, series=replace(table.series, ids=np.array([Path(source).stem], object)))


def read_future(future: Any, columns: Columns, series: SeriesArrays) -> SeriesArrays:
    """Read the known covariates of the horizon for these series.

    A table without ids speaks of all of them.

    Raises:
        DataError: the table cannot be read, or names none of the series.
    """
    table = read_like(future, columns, series.frequency, "the history has", target=False)
    ahead = table.series
    if table.layout.id_column is None:
        return replace(ahead.select(np.zeros(len(series), np.int64)), ids=series.ids)
    ahead = ahead.select(np.isin(ahead.ids, series.ids))
    if not len(ahead):
        raise DataError(f"the future table has none of the series that are to be forecast, such as {series.ids[0]!r}")
    return ahead


def check_known_ahead(config: ForecastConfig, series: SeriesArrays, origins: Any, steps: int) -> None:
    """Refuse to forecast where a covariate that the model relies on is missing in the horizon."""
    if not config.known:
        return
    ahead = take_rows(series.known, origins, steps, series.starts, series.stops)
    absent = np.argwhere(~np.isfinite(ahead))
    if not len(absent):
        return
    place, step, column = absent[0]
    when = future_timestamps(series.timestamps[origins[place] - 1], series.frequency, steps)[step]
    shown = int(when) if series.frequency.is_integer else when.astype("M8[ns]").astype("M8[s]")
    raise DataError(
        f"the known covariate {config.known[column]!r} is missing for series {series.ids[place]!r} at {shown}; the "
        f"model needs it for all {steps} steps: give these rows without a target, or a table of them as future"
    )


def check_positive(series: SeriesArrays) -> None:
    """Refuse prices that have no logarithm."""
    for place in range(len(series)):
        values = series.target(place)
        wrong = np.flatnonzero(values <= 0)
        if len(wrong):
            found = f"{values[wrong[0]]:g} in its row {wrong[0] + 1}"
            raise DataError(f"returns need prices above 0; series {series.ids[place]!r} has {found}")
