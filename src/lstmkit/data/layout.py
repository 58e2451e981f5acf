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
    pyarrow = import_extra("pyarrow", "forecast")
    names = np.asarray(ids)
    owned = like.prototype.to_arrow().schema
    data: dict[str, Any] = {}
    if like.id_column is not None or len(set(names.tolist())) > 1:
        name = like.id_column or "unique_id"
        data[name] = _ids(names, owned.field(name).type if like.id_column else None)
    data[like.time_column] = _times(np.asarray(timestamps, np.int64), owned.field(like.time_column).type, like.kind)
    if cutoffs is not None:
        data["cutoff"] = _times(np.asarray(cutoffs, np.int64), owned.field(like.time_column).type, like.kind)
    data |= {name: pyarrow.array(np.asarray(values)) for name, values in columns.items()}
    return _as_owned(pyarrow.table(data), like)


def _ids(names: NDArray[Any], owned: Any) -> Any:
    pyarrow = import_extra("pyarrow", "forecast")
    column = pyarrow.array(names.tolist())
    types = pyarrow.types
    # An empty pandas column of objects has no type to go by, and codes of categories come later.
    return column if owned is None or types.is_null(owned) or types.is_dictionary(owned) else column.cast(owned)


def _times(timestamps: NDArray[np.int64], owned: Any, kind: TimeKind) -> Any:
    pyarrow = import_extra("pyarrow", "forecast")
    types = pyarrow.types
    column = pyarrow.array(timestamps)
    if kind.integer:
        return column.cast(owned) if types.is_integer(owned) or types.is_floating(owned) else column
    column = column.cast(pyarrow.timestamp("ns", None if kind.wall else kind.zone))
    if kind.wall:
        compute = import_extra("pyarrow.compute", "forecast")
        column = compute.assume_timezone(column, kind.zone, ambiguous="earliest", nonexistent="latest")
    return column.cast(owned) if types.is_timestamp(owned) or types.is_date(owned) else column


def _as_owned(table: Any, like: Layout) -> Any:
    """An Arrow table as the owner's kind of frame, with the types that only that kind has."""
    kind = like.prototype.implementation
    prototype = like.prototype.to_native()
    if kind.is_pyarrow():
        return table
    if kind.is_polars():
        types = {name: type_ for name, type_ in prototype.schema.items() if name in table.column_names}
        return (
            import_extra("polars", "forecast")
            .from_arrow(_without_offsets(table))
            .cast(_without_text_times(types, like))
        )
    types = {name: type_ for name, type_ in prototype.dtypes.items() if name in table.column_names}
    return table.to_pandas().astype(_without_text_times(types, like))


def _without_offsets(table: Any) -> Any:
    """Zones that are mere offsets, which Polars does not know, become UTC."""
    pyarrow = import_extra("pyarrow", "forecast")
    for index, field in enumerate(table.schema):
        if (getattr(field.type, "tz", None) or "").startswith(("+", "-")):
            times = table.column(index).cast(pyarrow.timestamp(field.type.unit, "UTC"))
            table = table.set_column(index, field.name, times)
    return table


def _without_text_times(types: dict[str, Any], like: Layout) -> dict[str, Any]:
    """Times that came as text go back as times."""
    type_ = like.prototype.schema[like.time_column]
    text = not (type_.is_temporal() or type_.is_numeric())
    return {name: type_ for name, type_ in types.items() if not (text and name == like.time_column)}
