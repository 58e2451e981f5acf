"""Tables from files and into files: CSV, TSV and Parquet by pyarrow, JSON on the way out."""

import csv
import json
import os
from collections.abc import Callable, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from lstmkit.spec import DataError, OptionError, atomic_write, import_extra

_SEPARATORS = {".csv": ",;\t|", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")

# How files of other kinds begin.
_SIGNATURES: dict[bytes, str] = {
    b"\x89PNG": "a PNG image",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"%PDF": "a PDF",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"{": "JSON",
    b"[": "JSON",
    b"<": "HTML or XML",
}


def read_header(path: Path) -> list[str]:
    """Column names of a CSV, TSV or Parquet file.

    Raises:
        DataError: the file is missing, empty, a folder, or of another kind than its name says.
    """
    _check_path(path)
    ending = path.suffix.lower()
    with _opened(path) as stream:
        start = stream.read(4096)
    if ending in _PARQUET:
        if not start.startswith(b"PAR1"):
            raise DataError(f"{path} is {_kind(start) or 'no Parquet file'}, although its name says Parquet")
        return _parquet(path).schema_arrow.names
    kind = _kind(start)
    if kind is not None:
        raise DataError(f"{path} is {kind}, not a table of text; give a CSV, TSV or Parquet file")
    return _text_header(path)[0]


def read_columns(path: Path, columns: list[str], text_columns: list[str]) -> Any:
    """Some columns of a file as a pyarrow table; text in ``text_columns`` stays text, as codes into a dictionary."""
    if path.suffix.lower() in _PARQUET:
        return _arrow_errors(path, lambda: _parquet(path, text_columns).read(columns=columns))
    pyarrow = import_extra("pyarrow", "forecast")
    reader = import_extra("pyarrow.csv", "forecast")
    names, separator = _text_header(path)

    # Ids and times repeat: as codes they take a tenth of the memory.
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())

    def read(as_text: list[str]) -> Any:
        return reader.read_csv(
            path,
            read_options=reader.ReadOptions(column_names=names, skip_rows=1),
            parse_options=reader.ParseOptions(delimiter=separator),
            convert_options=reader.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(as_text, text),
                strings_can_be_null=True,
            ),
        )

    try:
        return read(text_columns)
    except pyarrow.ArrowInvalid as error:
        # A number column that turns to text after its first block; as text, its row can be named.
        if "conversion error" not in str(error):
            raise DataError(_explain(path, error)) from None
    return _arrow_errors(path, lambda: read(columns))


def write_table(frame: Any, path: str | os.PathLike[str]) -> None:
    """Write a frame of any kind to ``.csv``, ``.tsv``, ``.parquet`` or ``.json``, whole or not at all.

    JSON is a list of records, with times in ISO 8601 and null where a number is missing.

    Raises:
        OptionError: the name ends in something else.
        LSTMKitError: the file cannot be written; what stood there before still stands.
    """
    target = Path(path)
    writer = {".csv": _write_text, ".tsv": _write_text, ".json": _write_json}.get(target.suffix.lower())
    if target.suffix.lower() in _PARQUET:
        writer = _write_parquet
    if writer is None:
        raise OptionError(
            f"cannot write a table to {target.name!r}: give a name that ends in .csv, .tsv, .parquet or .json"
        )
    narwhals = import_extra("narwhals", "forecast")
    table = narwhals.from_native(frame, eager_only=True).to_arrow()
    with atomic_write(target) as temporary:
        writer(table, temporary, target.suffix.lower())


def _write_text(table: Any, path: Path, ending: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if ending == ".tsv" else ",", lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(row.values() for row in _records(table, " "))


def _write_parquet(table: Any, path: Path, ending: str) -> None:
    import_extra("pyarrow.parquet", "forecast").write_table(table, path)


def _write_json(table: Any, path: Path, ending: str) -> None:
    path.write_text(json.dumps(_records(table, "T"), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _records(table: Any, separator: str) -> list[dict[str, Any]]:
    """Rows of plain values: None where a number is missing, times as ISO 8601 text."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return value if np.isfinite(value) else None
        if isinstance(value, datetime):
            return value.isoformat(separator)
        return value.isoformat() if isinstance(value, date) else value

    return [{name: plain(value) for name, value in row.items()} for row in _short_times(table).to_pylist()]


def _short_times(table: Any) -> Any:
    """Times without the digits that are all zero: dates where every time is midnight, else seconds."""
    pyarrow = import_extra("pyarrow", "forecast")
    for index, field in enumerate(table.schema):
        if not pyarrow.types.is_timestamp(field.type):
            continue
        column, zone = table.column(index), field.type.tz
        shorter = [*([] if zone else [pyarrow.date32()]), pyarrow.timestamp("s", zone), pyarrow.timestamp("us", zone)]
        # A safe cast to dates drops the time of day without a word, so the way back is the check.
        exact = (type_ for type_ in shorter if column.cast(type_, safe=False).cast(field.type).equals(column))
        table = table.set_column(index, field.name, column.cast(next(exact, field.type), safe=False))
    return table


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give one CSV, TSV or Parquet file in it")
    if not path.exists():
        folder = path.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        match = get_close_matches(path.name, names, n=1)
        hint = f"did you mean {folder / match[0]}?" if match else "check the name"
        raise DataError(
            f"there is no file {path}; {hint if folder.is_dir() else f'there is no folder {folder} either'}"
        )
    if path.suffix.lower() not in (*_SEPARATORS, *_PARQUET):
        raise DataError(
            f"{path} does not end in .csv, .tsv or .parquet, so its kind is not known; rename or convert it"
        )
    if not path.stat().st_size:
        raise DataError(f"{path} is empty; give a table with a header line and rows")


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


def _kind(start: bytes) -> str | None:
    text = start.lstrip()
    for signature, kind in _SIGNATURES.items():
        if (text if len(signature) == 1 else start).startswith(signature):
            return kind
    return "a binary file" if b"\0" in start else None


def _text_header(path: Path) -> tuple[list[str], str]:
    with _opened(path) as stream:
        raw = stream.readline()
    try:
        line = raw.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise DataError(_encoding(path)) from None
    if not line.strip():
        raise DataError(f"{path} begins with an empty line; its first line must name the columns")
    separator = max(_SEPARATORS[path.suffix.lower()], key=line.count)
    return [name.strip() for name in next(csv.reader([line], delimiter=separator))], separator


def _parquet(path: Path, text_columns: Sequence[str] = ()) -> Any:
    module = import_extra("pyarrow.parquet", "forecast")
    return _arrow_errors(path, lambda: module.ParquetFile(path, read_dictionary=list(text_columns)))


def _arrow_errors(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (import_extra("pyarrow", "forecast").ArrowException, OSError) as error:
        raise DataError(_explain(path, error)) from None


def _explain(path: Path, error: Exception) -> str:
    message = str(error).splitlines()[0]
    if "UTF8" in message:
        return _encoding(path)
    if "Empty CSV" in message:
        return f"{path} has a header but no rows"
    return f"{path} cannot be read as a table: {message[:200]}"


def _encoding(path: Path) -> str:
    return f"{path} is not UTF-8 text; save it again as UTF-8 (in Excel: 'CSV UTF-8')"
