"""Text from files, line by line, so that a file may be larger than memory."""

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

from lstmkit.spec import DataError, OptionError

RECORDS = (".csv", ".tsv", ".json", ".jsonl")
_START = 4096


def read_lines(path: str | os.PathLike[str], encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text, without their ends. A name that ends in ``.gz`` is unpacked on the way.

    Args:
        path: The file.
        encoding: As Python names it; a byte order mark is no part of the text.

    Raises:
        DataError: the file is missing, empty, binary, or of another encoding; raised when the first line is asked for,
            or the one that cannot be read.
        OptionError: there is no such encoding.
    """
    target = Path(path)
    number = 0
    with _opened(target, encoding) as stream:
        try:
            for line in stream:
                number += 1
                yield line.rstrip("\r\n")
        except UnicodeError:
            raise DataError(_wrong_encoding(target, number + 1, encoding)) from None
        except (EOFError, OSError):
            raise DataError(f"{target} is truncated or damaged behind line {number}; copy it again") from None


def read_records(
    path: str | os.PathLike[str], columns: Mapping[str, str], encoding: str = "utf-8"
) -> Iterator[dict[str, str]]:
    """Some columns of a table, row by row.

    Args:
        path: A ``.csv`` or ``.tsv`` file whose first line names the columns, or JSON: an object per line, or one list.
        columns: Purpose -> name of the column.
        encoding: As Python names it.

    Returns:
        For each row purpose -> text.

    Raises:
        DataError: as for :func:`read_lines`, or a column is missing, or a row has too few or too many cells.
        OptionError: the name of the file ends in something else.
    """
    target = Path(path)
    ending = Path(target.name.removesuffix(".gz")).suffix.lower()
    if ending not in RECORDS:
        raise OptionError(f"{target} does not end in {', '.join(RECORDS)}, so its kind is not known; rename it")
    rows = _json_rows(target, encoding) if ending.startswith(".json") else _table_rows(target, ending, encoding)
    for place, row in rows:
        yield {purpose: _cell(target, place, row, name) for purpose, name in columns.items()}


def _opened(target: Path, encoding: str) -> Any:
    if not target.is_file():
        kind = "is a folder; give a file in it" if target.is_dir() else f"is not there; {_near(target)}"
        raise DataError(f"{target} {kind}")
    try:
        "".encode(encoding)
    except LookupError:
        raise OptionError(f"there is no encoding {encoding!r}; utf-8, latin-1, utf-16 and cp1252 are usual") from None
    try:
        with target.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with _bytes(target, packed) as stream:
            start = stream.read(_START)
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {target}: {getattr(error, 'strerror', None) or error}") from None
    _check_start(target, start, encoding)
    # A mark at the start is no part of the text.
    signed = "utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding
    return io.TextIOWrapper(_bytes(target, packed), signed)


def _bytes(target: Path, packed: bool) -> Any:
    return gzip.GzipFile(target) if packed else target.open("rb")


def _check_start(target: Path, start: bytes, encoding: str) -> None:
    if not start:
        raise DataError(f"{target} is empty; give a file with text")
    if encoding.lower().replace("-", "").replace("_", "").startswith(("utf16", "utf32")):
        return
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{target} is text in UTF-16; give encoding='utf-16'")
    if b"\0" in start:
        raise DataError(f"{target} is a binary file, not text")


def _near(target: Path) -> str:
    folder = target.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    match = get_close_matches(target.name, [entry.name for entry in folder.iterdir()], n=1)
    return f"did you mean {folder / match[0]}?" if match else "check the name"


def _wrong_encoding(target: Path, line: int, encoding: str) -> str:
    other = "latin-1 or cp1252" if encoding.lower().startswith("utf") else "utf-8"
    return f"{target} is not in {encoding} (near line {line:,}); if it is in {other}, say so with encoding="


def _table_rows(target: Path, ending: str, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with their place. In ``.tsv`` a quotation mark is a letter as any other."""
    csv.field_size_limit(2**31 - 1)
    lines = (line + "\n" for line in read_lines(target, encoding))
    header = next(lines)
    separator = "\t" if ending == ".tsv" else max(",;\t|", key=header.count)
    quoting = csv.QUOTE_NONE if ending == ".tsv" else csv.QUOTE_MINIMAL
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator, quoting=quoting))]
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
    try:
        for cells in reader:
            if not cells:
                continue
            place = f"line {reader.line_num + 1:,}"
            if len(cells) != len(names):
                raise DataError(f"{target}, {place}: {len(cells)} cells, but the first line names {len(names)} columns")
            yield place, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{target}, line {reader.line_num + 1:,}: {error}") from None


def _json_rows(target: Path, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = read_lines(target, encoding)
    first = next(lines)
    if first.lstrip().startswith("["):
        yield from _json_list(target, "\n".join([first, *lines]))
        return
    for number, line in enumerate(chain([first], lines), 1):
        if line.strip():
            place = f"line {number:,}"
            yield place, _as_object(target, place, _parsed(target, place, line))


def _json_list(target: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in enumerate(_parsed(target, "the list", text), 1):
        yield f"entry {number:,}", _as_object(target, f"entry {number:,}", row)


def _parsed(target: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{target}, {place}: this is no JSON ({error})") from None


def _as_object(target: Path, place: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{target}, {place}: expected an object with the columns as names")
    return row


def _cell(target: Path, place: str, row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        match = get_close_matches(name, row, n=1)
        hint = f"did you mean {match[0]!r}?" if match else f"there are: {', '.join(map(repr, row))}"
        raise DataError(f"{target}, {place}: there is no column {name!r}; {hint}")
    value = row[name]
    if value is None or isinstance(value, dict | list):
        raise DataError(f"{target}, {place}: the column {name!r} holds {value!r}, which is no text")
    return value if isinstance(value, str) else json.dumps(value)
