"""Arrays out, as the kind of table that came in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.data.times import TimeKind
from lstmkit.features import Frequency
from lstmkit.spec import import_extra


@dataclass(frozen=True, eq=False)
class Layout:
    """How the owner of a table keeps tables.

    Args:
        prototype: An empty frame of the owner's kind with the id and time columns.
        id_column: Name of the id column, or None if the table is one series.
        time_column: Name of the time column.
        kind: What the timestamps stand for.
    """

    prototype: Any
    id_column: str | None
    time_column: str
    kind: TimeKind

    @classmethod
    def of(cls, frame: Any, id_column: str | None, time_column: str, kind: TimeKind, *, from_file: bool) -> "Layout":
        """The layout of a narwhals frame; what comes from a file is given back as pandas."""
        narwhals = import_extra("narwhals", "forecast")
        empty = frame.select([name for name in (id_column, time_column) if name is not None]).head(0)
        if from_file:
            decoded = [
                empty[name].cast(narwhals.String) if empty[name].dtype == narwhals.Categorical else empty[name]
                for name in empty.columns
            ]
            empty = narwhals.from_native(empty.select(decoded).to_arrow().to_pandas(), eager_only=True)
        return cls(empty, id_column, time_column, kind)

    @classmethod
    def plain(cls, frequency: Frequency) -> "Layout":
        """pandas with ``unique_id`` and ``ds``, for results without a table to go by."""
        pandas = import_extra("pandas", "forecast")
        narwhals = import_extra("narwhals", "forecast")
        times = "int64" if frequency.is_integer else "datetime64[ns]"
        empty = pandas.DataFrame({"unique_id": [], "ds": []}).astype({"unique_id": object, "ds": times})
        return cls(narwhals.from_native(empty), "unique_id", "ds", TimeKind(integer=frequency.is_integer))


def result_frame(
    ids: ArrayLike, timestamps: ArrayLike, columns: Mapping[str, Any], like: Layout, *, cutoffs: ArrayLike | None = None
) -> Any:
    """Make a frame of the owner's kind, with the owner's names and types of id and time.

    Args:
        ids: Series of each row, as in ``SeriesArrays.ids``; left out where the table had no ids and
            all rows are of one series.
        timestamps: Time of each row, int64 as in ``SeriesArrays.timestamps``.
        columns: The other columns by name.
        like: Layout of the table that was read.
        cutoffs: Last time before each forecast; becomes the column ``cutoff``.

    Shape:
        - ids, timestamps, cutoffs and every column: ``(N,)``

    Example:
        >>> frame = result_frame(["a"], [0], {"lstm": np.array([1.5])}, Layout.plain(Frequency(1, "D")))
        >>> print(frame.to_string(index=False))
        unique_id         ds  lstm
                a 1970-01-01   1.5
    """
    narwhals = import_extra("narwhals", "forecast")
    backend = like.prototype.implementation
    names = np.asarray(ids)
    data: dict[str, Any] = {}
    if like.id_column is not None or len(set(names.tolist())) > 1:
        data[like.id_column or "unique_id"] = _id_series(names, like)
    data[like.time_column] = _time_series(np.asarray(timestamps, np.int64), like.time_column, like)
    if cutoffs is not None:
        data["cutoff"] = _time_series(np.asarray(cutoffs, np.int64), "cutoff", like)
    for name, values in columns.items():
        data[name] = narwhals.new_series(name, np.asarray(values), backend=backend)
    return _as_owned(narwhals.from_dict(data, backend=backend).to_native(), like)


def _id_series(names: NDArray[Any], like: Layout) -> Any:
    narwhals = import_extra("narwhals", "forecast")
    name = like.id_column or "unique_id"
    series = narwhals.new_series(name, names.tolist(), backend=like.prototype.implementation)
    return series if like.id_column is None or _is_pandas(like) else series.cast(like.prototype.schema[name])


def _time_series(timestamps: NDArray[np.int64], name: str, like: Layout) -> Any:
    narwhals = import_extra("narwhals", "forecast")
    owned = like.prototype.schema[like.time_column]
    backend = like.prototype.implementation
    if like.kind.integer:
        series = narwhals.new_series(name, timestamps, backend=backend)
        return series.cast(owned) if owned.is_numeric() else series
    series = narwhals.new_series(name, timestamps.view("M8[ns]"), backend=backend)
    if like.kind.zone is not None:
        series = series.dt.replace_time_zone(like.kind.zone if like.kind.wall else "UTC")
        series = series if like.kind.wall else series.dt.convert_time_zone(like.kind.zone)
    if owned.is_temporal() and not _is_pandas(like):
        return series.cast(owned)
    return series


def _is_pandas(like: Layout) -> bool:
    return like.prototype.implementation.is_pandas_like()


def _as_owned(native: Any, like: Layout) -> Any:
    """pandas has types of its own (categories, nullable and Arrow types) that narwhals does not name."""
    if not _is_pandas(like):
        return native
    kept = {name: dtype for name, dtype in like.prototype.to_native().dtypes.items() if name in native.columns}
    time = kept.get(like.time_column)
    if time is not None and (str(time) in ("object", "str", "string", "category")):
        del kept[like.time_column]
    return native.astype(kept)
