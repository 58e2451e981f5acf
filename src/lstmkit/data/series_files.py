"""Series with a label each: ``.ts`` files of the UEA/UCR archive, and tables with one row per step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.data.files import read_columns, read_header
from lstmkit.spec import DataError

Array = NDArray[Any]

_MISSING = ("?", "nan", "NaN", "NA", "")
_TABLES = (".csv", ".tsv", ".parquet", ".pq")


@dataclass(frozen=True)
class SeriesSet:
    """Series of one width, each of its own length, and what is known of each.

    Args:
        values: One float32 array ``(T, C)`` a series; NaN where a value is missing.
        labels: One text a series, or None where the file names none.
        names: What a message calls each series: its id, or its line in the file.
        channels: Names of the ``C`` columns.
    """

    values: list[Array]
    labels: list[str] | None
    names: list[str]
    channels: tuple[str, ...]


def read_ts(path: Path) -> SeriesSet:
    """Read a ``.ts`` file: one or several channels, equal or unequal lengths, ``?`` where a value is missing.

    Raises:
        DataError: the file is missing, empty, of another format, has time stamps or a number as its target, or
            a line does not fit; the message names the line.
    """
    lines = _text_lines(path)
    header = _read_header(path, lines)
    rows = [(number, text) for number, text in lines if text]
    if not rows:
        raise DataError(f"{path} has no series after its line @data")
    labelled = header.get("classlabel", "false").split()
    classes = labelled[1:] if labelled[:1] == ["true"] else None
    parsed = [_read_case(path, number, text, classes) for number, text in rows]
    width = parsed[0][0].shape[1]
    for (number, _), (values, _) in zip(rows, parsed, strict=True):
        if values.shape[1] != width:
            raise DataError(
                f"{path}, line {number}: {values.shape[1]} channels, but the first series has {width}; every series "
                "needs the same channels"
            )
    return SeriesSet(
        values=[values for values, _ in parsed],
        labels=None if classes is None else [label for _, label in parsed],
        names=[f"line {number}" for number, _ in rows],
        channels=tuple(f"channel {number}" for number in range(1, width + 1)),
    )


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Stripped lines with their numbers."""
    if not path.is_file():
        raise DataError(f"there is no file {path}" if not path.exists() else f"{path} is a folder; give a .ts file")
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if "\0" in line:
                    raise DataError(f"{path} is a binary file, not a .ts file")
                yield number, line.strip()
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text, so no .ts file; give a file of the UEA/UCR archive") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


def _read_header(path: Path, lines: Iterator[tuple[int, str]]) -> dict[str, str]:
    """What stands before ``@data``, with keys in lower case; the lines are left at the first series."""
    header: dict[str, str] = {}
    for number, text in lines:
        if not text or text.startswith("#"):
            continue
        if not text.startswith("@"):
            raise DataError(f"{path}, line {number}: expected a line that begins with @ or #, before a line @data")
        key, _, value = text[1:].partition(" ")
        if key.lower() == "data":
            _check_header(path, header)
            return header
        header[key.lower()] = value.strip()
    raise DataError(
        f"{path} has no line @data, so it is no .ts file, or is truncated" if header else f"{path} is empty"
    )


def _check_header(path: Path, header: dict[str, str]) -> None:
    if header.get("timestamps", "false").lower() == "true":
        raise DataError(
            f"{path} has time stamps (@timeStamps true); series are read as equally spaced. Resample them to a fixed "
            "step and save them without time stamps"
        )
    if header.get("targetlabel", "false").lower().startswith("true"):
        raise DataError(f"{path} has a number to predict (@targetLabel true), not classes; classes are what is learned")


def _read_case(path: Path, number: int, text: str, classes: list[str] | None) -> tuple[Array, str]:
    """One line: channels between colons, and the label behind the last one."""
    if text.startswith("("):
        raise DataError(f"{path}, line {number}: values with time stamps; series are read as equally spaced")
    parts = text.split(":")
    label = parts.pop().strip() if classes is not None else ""
    if classes and label not in classes:
        raise DataError(f"{path}, line {number}: the label {label[:40]!r} is none of @classLabel: {', '.join(classes)}")
    channels = [_read_numbers(path, number, part) for part in parts]
    if len({len(channel) for channel in channels}) != 1:
        lengths = ", ".join(str(len(channel)) for channel in channels) or "none"
        raise DataError(f"{path}, line {number}: the channels of a series must be of one length; here: {lengths}")
    return np.stack(channels, 1), label


def _read_numbers(path: Path, number: int, text: str) -> Array:
    words = [word.strip() for word in text.split(",")]
    try:
        values = np.array([np.nan if word in _MISSING else float(word) for word in words], np.float32)
    except ValueError:
        wrong = next(word for word in words if word not in _MISSING and not _is_number(word))
        raise DataError(f"{path}, line {number}: {wrong[:40]!r} is not a number") from None
    if np.isinf(values).any():
        raise DataError(f"{path}, line {number}: a value is infinite or too large")
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_series_table(
    path: Path,
    id_column: str,
    time_column: str | None = None,
    label_column: str | None = None,
    value_columns: Sequence[str] | None = None,
) -> SeriesSet:
    """Read a table with one row per step: recordings of sensors, say, with an activity each.

    Rows of one id are one series, in the order of the time column, or else of the file.

    Args:
        path: ``.csv``, ``.tsv`` or ``.parquet``.
        id_column: Tells series apart.
        time_column: Numbers, dates or times to sort by; None keeps the order of the file.
        label_column: The same text in all rows of a series; None where the labels are not known.
        value_columns: Columns of numbers; None takes all that are left.

    Raises:
        DataError: a column is missing or holds no numbers, or a series has two labels.
    """
    present = read_header(path)
    own = [name for name in (id_column, time_column, label_column) if name is not None]
    values = list(value_columns or [name for name in present if name not in own])
    for name in (*own, *values):
        if name not in present:
            raise DataError(f"{path} has no column {name!r}; it has: {', '.join(present[:20])}")
    if not values:
        raise DataError(f"{path} has no columns of values beside {', '.join(own)}")
    text = [name for name in own if name != time_column]
    table = read_columns(path, [*own, *values], text)
    if not table.num_rows:
        raise DataError(f"{path} has a header but no rows")
    numbers = np.stack([_number_column(path, table, name) for name in values], 1)
    ids = _text_column(table, id_column)
    order = np.arange(len(ids)) if time_column is None else _time_order(path, table, time_column)
    rows = _group(ids, order)
    labels = None if label_column is None else _one_label_each(path, rows, _text_column(table, label_column))
    return SeriesSet([numbers[own] for own in rows.values()], labels, list(rows), tuple(values))


def _number_column(path: Path, table: Any, name: str) -> Array:
    column = table.column(name)
    try:
        values = np.asarray(column.to_numpy(), np.float32)
    except (ValueError, TypeError):
        raise DataError(
            f"{path}: the column {name!r} holds {column.type}, not numbers; name the columns of values with "
            "value_columns="
        ) from None
    if np.isinf(values).any():
        raise DataError(f"{path}: the column {name!r} holds a value that is infinite or too large")
    return values


def _text_column(table: Any, name: str) -> list[str]:
    return ["" if value is None else str(value) for value in table.column(name).to_pylist()]


def _time_order(path: Path, table: Any, name: str) -> Array:
    column = table.column(name)
    if column.null_count:
        raise DataError(f"{path}: the column {name!r} has an empty cell; every row needs a time")
    return np.argsort(column.to_numpy(), kind="stable")


def _group(ids: list[str], order: Array) -> dict[str, list[int]]:
    """Rows of each series in order, series as they first come in the file."""
    rows: dict[str, list[int]] = {name: [] for name in ids}
    for index in order.tolist():
        rows[ids[index]].append(index)
    return rows


def _one_label_each(path: Path, rows: dict[str, list[int]], labels: list[str]) -> list[str]:
    found: list[str] = []
    for name, own in rows.items():
        different = sorted({labels[index] for index in own})
        if len(different) != 1:
            raise DataError(
                f"{path}: the series {name[:40]!r} has the labels {different[0][:40]!r} and {different[1][:40]!r}; "
                "a series has one. Where an id has several stretches, give each stretch an id of its own"
            )
        found.append(different[0])
    return found
