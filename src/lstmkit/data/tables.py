"""A table in, arrays out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.data.arrange import Grid, arrange
from lstmkit.data.columns import arrow_column, identity, numbers
from lstmkit.data.layout import Layout
from lstmkit.data.sources import Source, open_source
from lstmkit.data.times import TimeKind, read_times
from lstmkit.features import Frequency, SeriesArrays, parse_frequency
from lstmkit.spec import DataError, OptionError, import_extra

ID_COLUMN = "unique_id"


@dataclass(frozen=True, eq=False)
class Table:
    """The series of a table, and the form in which its owner keeps tables.

    Args:
        series: The numbers.
        layout: Kind of frame, column names and types; :func:`result_frame` gives results in it.
    """

    series: SeriesArrays
    layout: Layout


@dataclass(frozen=True)
class _Columns:
    """The columns that matter, by role."""

    id: str | None
    time: str
    targets: tuple[str, ...]
    known: tuple[str, ...]
    observed: tuple[str, ...]
    static: tuple[str, ...]

    def names(self) -> list[str]:
        """Each column once."""
        given = (self.id, self.time, *self.targets, *self.known, *self.observed, *self.static)
        return list(dict.fromkeys(name for name in given if name is not None))


def read_table(
    source: Any,
    *,
    id_column: str | None = ID_COLUMN,
    time_column: str = "ds",
    target_column: str | Iterable[str] | None = "y",
    known: Iterable[str] = (),
    observed: Iterable[str] = (),
    static: Iterable[str] = (),
    frequency: str | int | Frequency | None = None,
    gaps: str = "mask",
    dtype: Any = np.float64,
) -> Table:
    """Read the series of a frame or a file. The source is never changed.

    Rows may come in any order. Series stand in order of first appearance. Rows missing between the
    first and the last of a series are filled with NaN. Rows in messages are counted from 1, without
    a header line. Ids in a text file stay text, so ``007`` keeps its zeros.

    Args:
        source: A pandas, Polars or PyArrow frame, or the path of a ``.csv``, ``.tsv`` or ``.parquet`` file.
        id_column: What tells series apart. Without the column ``unique_id`` (or with None) the table is
            one series, called like its target.
        time_column: Datetimes, dates, whole numbers, or text that is one of these.
        target_column: What to forecast. Several names make several series, called like the columns, of a
            table without ids. None reads a table of future covariates.
        known: Covariates whose future will be given.
        observed: Covariates of the past only.
        static: Covariates that are constant within a series.
        frequency: The step, as pandas writes it, or an int for whole-number times; None finds it.
        gaps: ``"mask"``, or ``"error"`` to refuse missing rows.
        dtype: Float type of the numbers.

    Raises:
        DataError: the table cannot be read as series; the message has the column, series and row.
        OptionError: an option has a value that cannot be.
        MissingExtraError: a package that reads tables is not installed.

    Example:
        >>> import pandas
        >>> days = pandas.date_range("2024-01-01", periods=3)
        >>> table = read_table(pandas.DataFrame({"ds": days, "y": [1.0, 2.0, 4.0]}))
        >>> table.series.target(0).tolist(), str(table.series.frequency)
        ([1.0, 2.0, 4.0], 'D')
    """
    if gaps not in ("mask", "error"):
        raise OptionError(f"gaps must be 'mask' or 'error', not {gaps!r}")
    opened = open_source(source)
    columns = _choose(opened, id_column, time_column, target_column, _names(known), _names(observed), _names(static))
    step = None if frequency is None else parse_frequency(frequency)
    frame = opened.load(columns.names(), [name for name in (columns.id, columns.time) if name is not None])
    if not len(frame):
        raise DataError(f"{opened.title} has no rows")
    timestamps, kind = read_times(frame, columns.time)
    _check_frequency(step, kind, columns.time)
    series = _arrays(frame, columns, timestamps, kind, step, gaps, dtype)
    if columns.targets:
        _reject_all_missing(series)
    return Table(series, Layout.of(frame, columns.id, columns.time, kind, from_file=opened.from_file))


def _arrays(
    frame: Any,
    columns: _Columns,
    timestamps: NDArray[np.int64],
    kind: TimeKind,
    step: Frequency | None,
    gaps: str,
    dtype: Any,
) -> SeriesArrays:
    codes, ids = _series(frame, columns)
    repeats = max(len(columns.targets), 1)
    values = _values(frame, columns, dtype)
    grid = arrange(codes, timestamps, ids.to_pylist(), kind, step, gaps)
    return SeriesArrays(
        values=grid.lay(values),
        starts=grid.starts,
        stops=grid.stops,
        timestamps=grid.timestamps,
        frequency=grid.frequency,
        ids=ids.to_numpy(zero_copy_only=False),
        known=_covariates(frame, columns.known, grid, repeats, dtype),
        observed=_covariates(frame, columns.observed, grid, repeats, dtype),
        static=_statics(frame, columns.static, np.asarray(codes), ids, dtype),
        known_names=columns.known,
        observed_names=columns.observed,
        static_names=columns.static,
    )


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _choose(
    source: Source,
    id_column: str | None,
    time_column: str,
    target_column: str | Iterable[str] | None,
    known: tuple[str, ...],
    observed: tuple[str, ...],
    static: tuple[str, ...],
) -> _Columns:
    targets = () if target_column is None else _names(target_column)
    if target_column is not None and not targets:
        raise OptionError("target_column must name at least one column, or be None for a table of covariates")
    if id_column == ID_COLUMN and id_column not in source.names and source.nearest(id_column, 0.85) is None:
        id_column = None
    if len(targets) > 1 and id_column is not None:
        raise OptionError(
            f"several targets ({', '.join(targets)}) make one series each, which needs a table without ids; "
            f"give one target, or id_column=None to ignore {id_column!r}"
        )
    roles = {
        "time_column": (time_column,),
        "target_column": targets,
        "known": known,
        "observed": observed,
        "static": static,
    }
    _check_roles(source, roles if id_column is None else {"id_column": (id_column,), **roles})
    return _Columns(id_column, time_column, targets, known, observed, static)


def _check_roles(source: Source, roles: dict[str, tuple[str, ...]]) -> None:
    """Every column exists and has one role."""
    seen: dict[str, str] = {}
    for option, names in roles.items():
        for name in names:
            source.find(name, option)
            if name in seen:
                raise OptionError(f"column {name!r} is given as {seen[name]} and as {option}; it can be one only")
            seen[name] = option


def _check_frequency(frequency: Frequency | None, kind: TimeKind, time_column: str) -> None:
    if frequency is None or frequency.is_integer == kind.integer:
        return
    raise OptionError(
        f"frequency {str(frequency)!r} does not fit column {time_column!r}, which holds "
        + ("whole numbers; give an int" if kind.integer else "times; give a name such as 'h' or 'D'")
    )


def _series(frame: Any, columns: _Columns) -> tuple[NDArray[np.integer], Any]:
    """Codes of the rows and ids of the series."""
    if columns.id is not None:
        return identity(arrow_column(frame, columns.id), columns.id)
    names = columns.targets or ("series",)
    return np.repeat(np.arange(len(names)), len(frame)), import_extra("pyarrow", "forecast").array(names)


def _values(frame: Any, columns: _Columns, dtype: Any) -> NDArray[np.floating]:
    if not columns.targets:
        return np.full(len(frame), np.nan, dtype)
    targets = [numbers(arrow_column(frame, name), name, dtype) for name in columns.targets]
    return targets[0] if len(targets) == 1 else np.concatenate(targets)


def _covariates(frame: Any, names: tuple[str, ...], grid: Grid, repeats: int, dtype: Any) -> NDArray[np.floating]:
    result = np.empty((len(grid.timestamps), len(names)), dtype)
    for k, name in enumerate(names):
        result[:, k] = grid.lay(np.tile(numbers(arrow_column(frame, name), name, dtype), repeats))
    return result


def _statics(
    frame: Any, names: tuple[str, ...], codes: NDArray[np.integer], ids: Any, dtype: Any
) -> NDArray[np.floating]:
    result = np.empty((len(ids), len(names)), dtype)
    repeats = len(codes) // len(frame)
    for k, name in enumerate(names):
        values = np.tile(numbers(arrow_column(frame, name), name, dtype), repeats)
        given = np.flatnonzero(~np.isnan(values))
        result[:, k] = np.nan
        result[codes[given[::-1]], k] = values[given[::-1]]
        changed = values[given] != result[codes[given], k]
        if changed.any():
            row = int(given[np.argmax(changed)])
            raise DataError(
                f"static column {name!r} changes within series {ids[codes[row]].as_py()!r}: row {row % len(frame) + 1} "
                f"has {values[row]:g}, earlier rows {result[codes[row], k]:g}; give it as known or observed instead"
            )
        absent = np.isnan(result[:, k])
        if absent.any():
            raise DataError(f"static column {name!r} has no value for series {ids[int(np.argmax(absent))].as_py()!r}")
    return result


def _reject_all_missing(series: SeriesArrays) -> None:
    present = np.logical_or.reduceat(~np.isnan(series.values), series.starts)
    if not present.all():
        empty = np.flatnonzero(~present)
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise DataError(f"series {series.ids[empty[0]]!r}{more} has no value at all; leave it out or give it values")
