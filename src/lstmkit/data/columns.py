"""Columns as arrays: ids as codes, numbers as floats. Rows in messages are counted from 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import DataError, import_extra


def arrow_column(frame: Any, name: str) -> Any:
    """One column of a narwhals frame as one pyarrow array.

    Raises:
        DataError: the column mixes types.
    """
    pyarrow = import_extra("pyarrow", "forecast")
    series = frame[name]
    try:
        column = series.to_arrow()
    except (pyarrow.ArrowException, TypeError, OverflowError):
        raise DataError(_mixture(name, series.to_list())) from None
    if isinstance(column, pyarrow.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    if pyarrow.types.is_binary(column.type):
        raise DataError(f"column {name!r} holds bytes, not text; is the file in another encoding than UTF-8?")
    return column


def first_row(mask: Any) -> int:
    """Position of the first true entry of a boolean array, NumPy or pyarrow."""
    return int(np.argmax(np.asarray(mask)))


def reject_missing(column: Any, name: str) -> None:
    """Raise DataError at the first null of a column that cannot have any."""
    if column.null_count:
        row = first_row(column.is_null())
        raise DataError(
            f"column {name!r} is missing a value in row {row + 1}; each row needs one "
            f"({column.null_count} rows have none)"
        )


def identity(column: Any, name: str) -> tuple[NDArray[np.integer], Any]:
    """Codes of a column of ids in order of first appearance, and the ids as a pyarrow array.

    Raises:
        DataError: an id is missing.
    """
    reject_missing(column, name)
    if not import_extra("pyarrow", "forecast").types.is_dictionary(column.type):
        encoded = column.dictionary_encode()
        codes, values = np.asarray(encoded.indices), encoded.dictionary
    else:
        codes, values = _by_first_appearance(np.asarray(column.indices), column.dictionary)
    return codes.astype(np.min_scalar_type(max(len(values) - 1, 0))), values


def _by_first_appearance(codes: NDArray[np.integer], values: Any) -> tuple[NDArray[np.integer], Any]:
    """Renumber codes whose dictionary stands in another order or has entries that no row uses."""
    first = np.full(len(values), len(codes))
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    order = np.argsort(first, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    used = int((first < len(codes)).sum())
    return ranks[codes], values.take(import_extra("pyarrow", "forecast").array(order[:used]))


def is_text(column: Any) -> bool:
    """Whether a pyarrow column holds text, or codes of texts."""
    types = import_extra("pyarrow", "forecast").types
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def numbers(column: Any, name: str, dtype: Any) -> NDArray[np.floating]:
    """A column as floats with NaN where it is missing.

    Raises:
        DataError: it holds text, another type, or infinities; the message has the row.
    """
    pyarrow = import_extra("pyarrow", "forecast")
    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_text(column):
        column = _numbers_from_text(column, name)
    kind = column.type
    if types.is_decimal(kind) or types.is_boolean(kind) or types.is_null(kind):
        column = column.cast(pyarrow.float64() if not types.is_boolean(kind) else pyarrow.uint8())
        kind = column.type
    if not (types.is_integer(kind) or types.is_floating(kind)):
        raise DataError(f"column {name!r} must hold numbers, not {kind}")
    values = column.to_numpy(zero_copy_only=False).astype(dtype)
    infinite = np.isinf(values)
    if infinite.any():
        raise DataError(
            f"column {name!r} is infinite in row {first_row(infinite) + 1}, or too large for {np.dtype(dtype)}; "
            "put a number there or leave it empty"
        )
    return values


def _numbers_from_text(column: Any, name: str) -> Any:
    pyarrow = import_extra("pyarrow", "forecast")
    compute = import_extra("pyarrow.compute", "forecast")
    column = compute.utf8_trim_whitespace(column)
    column = compute.if_else(compute.equal(column, ""), None, column)
    try:
        return column.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        texts = column.to_pylist()
    row = next(row for row, text in enumerate(texts) if text is not None and not _is_number(text))
    text = texts[row]
    hint = "write a number, or leave it empty where it is missing"
    if "," in text and _is_number(text.replace(".", "").replace(",", "")):
        decimal = text.count(",") == 1 and text.rfind(",") > text.rfind(".")
        hint = "a decimal comma: write a point instead" if decimal else "commas between thousands: leave them out"
    raise DataError(f"column {name!r} must hold numbers, but row {row + 1} has the text {text!r}; {hint}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _mixture(name: str, values: list[Any]) -> str:
    """Where a column of Python objects leaves the type of its first value."""
    given = [(row, value) for row, value in enumerate(values) if value is not None and value == value]
    first = type(given[0][1])
    alike = (int, float) if first in (int, float) else first
    row, odd = next(((row, value) for row, value in given if not isinstance(value, alike)), (None, None))
    if row is None:
        return (
            f"column {name!r} holds values of type {first.__name__}, which cannot be read; convert them to plain ones"
        )
    return (
        f"column {name!r} mixes types: row {given[0][0] + 1} has the {first.__name__} {given[0][1]!r}, "
        f"row {row + 1} the {type(odd).__name__} {odd!r}; make them all one type"
    )
