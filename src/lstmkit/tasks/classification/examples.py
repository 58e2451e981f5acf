"""Examples from files and lists: texts or series, with their labels where these are known."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lstmkit.data import RECORDS, DiskList, SeriesSet, keep_texts, read_lines, read_records, read_series_table, read_ts
from lstmkit.spec import DataError, ModelFileError, OptionError


@dataclass(frozen=True)
class Columns:
    """Where texts, series and labels stand in a file.

    Args:
        text: Column of the text.
        label: Column of the label.
        id: Column that tells series apart; None: tables hold texts.
        time: Column to sort the steps of a series by.
        values: Columns of values; none means all that are left.
        encoding: Of text files.
    """

    text: str = "text"
    label: str = "label"
    id: str | None = None
    time: str | None = None
    values: tuple[str, ...] = ()
    encoding: str = "utf-8"

    @classmethod
    def from_dict(cls, document: Any) -> "Columns":
        """Read an untrusted document.

        Raises:
            ModelFileError: a name is no text.
        """
        fields: dict[str, Any] = document if isinstance(document, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        values = fields.get("values", [])
        names = [fields.get(name) for name in ("text", "label", "encoding")]
        optional = [fields.get(name) for name in ("id", "time")]
        fits = isinstance(values, list) and all(isinstance(name, str) for name in (*names, *values))  # pyright: ignore[reportUnknownVariableType]
        if not fits or not all(name is None or isinstance(name, str) for name in optional):
            raise ModelFileError("the model file is damaged: its column names are not names")
        text, label, encoding = map(str, names)
        return cls(text, label, fields.get("id"), fields.get("time"), tuple(values), encoding)  # pyright: ignore[reportUnknownArgumentType]


@dataclass(frozen=True)
class Examples:
    """What is to be learned from or judged.

    Args:
        items: Texts, on disk if they are of files; or series ``(T, C)``.
        labels: One text each, or None where they are not known.
        channels: Names of the columns of the series; None for texts.
        names: What each is called in results; empty: by number.
    """

    items: Sequence[Any]
    labels: list[str] | None
    channels: tuple[str, ...] | None = None
    names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def kind(self) -> str:
        """``text`` or ``series``."""
        return "text" if self.channels is None else "series"

    def labelled(self) -> list[str]:
        """The labels.

        Raises:
            DataError: there are none, or an example has none.
        """
        if self.labels is None:
            raise DataError("these examples have no labels; give labels, or a file that has them")
        for number, label in enumerate(self.labels, 1):
            if not label.strip():
                raise DataError(f"example {number:,} has an empty label; give it one, or leave it out")
        return self.labels


def read_examples(data: Any, columns: Columns, labels: Any = None, *, labelled: bool = True) -> Examples:
    """Read examples of any origin.

    Args:
        data: A path or a list of ``Path`` objects; or a list of texts, or of series ``(T, C)``, or an array
            ``(N, T, C)`` or ``(N, T)`` of series; or a pandas or Polars table of texts.
        columns: Where to look in a file.
        labels: Of texts and series that come without a file.
        labelled: Whether files must have labels.

    Raises:
        DataError: a file or an example cannot be read.
        OptionError: a file is of no kind that can be read.
    """
    paths = _paths(data)
    if paths is not None:
        if labels is not None:
            raise OptionError("labels= goes with a list of texts or series; those of a file are in its label column")
        return _join([_read_file(path, columns, labelled) for path in paths])
    if hasattr(data, "columns"):
        data, labels = _from_frame(data, columns, labels, labelled)
    items, channels = _listed(data)
    given = None if labels is None else [str(label) for label in labels]
    if given is None and labelled:
        raise DataError(
            "these examples have no labels: give labels=, one for each; file names are given as a text or pathlib.Path"
        )
    if given is not None and len(given) != len(items):
        raise DataError(f"there are {len(items):,} examples, but {len(given):,} labels")
    if not items:
        raise DataError("there are no examples; give at least one")
    return Examples(items, given, channels)


def _paths(data: Any) -> list[Path] | None:
    if isinstance(data, str | os.PathLike):
        return [Path(data)]  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(data, list | tuple) and data and all(isinstance(entry, os.PathLike) for entry in data):  # pyright: ignore[reportUnknownVariableType]
        return [Path(entry) for entry in data]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return None


def _from_frame(frame: Any, columns: Columns, labels: Any, labelled: bool) -> tuple[list[str], Any]:
    """The text column of a frame, and its label column where labels are wanted and not given beside it."""
    wanted = [columns.text, *([columns.label] if labelled and labels is None else [])]
    for name, argument in zip(wanted, ("text_column", "label_column"), strict=False):
        if name not in frame.columns:
            raise DataError(f"the table has no column {name!r}; name another with {argument}=")
    for number, text in enumerate(texts := list(frame[columns.text]), 1):
        if not isinstance(text, str):
            raise DataError(f"row {number:,} of the column {columns.text!r} holds {text!r}, which is no text")
    return texts, labels if len(wanted) == 1 else list(frame[columns.label])


def _listed(data: Any) -> tuple[Sequence[Any], tuple[str, ...] | None]:
    items = data if isinstance(data, DiskList) else list(data)  # pyright: ignore[reportUnknownVariableType]
    if all(isinstance(item, str) for item in items):
        return items, None
    if any(isinstance(item, str) for item in items):
        raise DataError("expected texts alone or series alone, got both")
    try:
        series = [np.atleast_2d(np.asarray(item, np.float32).T).T for item in items]
    except (TypeError, ValueError):
        raise DataError("expected texts, or series of numbers (steps, channels)") from None
    if any(one.ndim != 2 for one in series):
        raise DataError("a series is an array of the shape (steps,) or (steps, channels)")
    return series, tuple(f"channel {number}" for number in range(1, series[0].shape[1] + 1))


def _read_file(path: Path, columns: Columns, labelled: bool) -> Examples:
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending == ".ts":
        return _from_series(path, read_ts(path), labelled)
    if columns.id is not None:
        label = columns.label if labelled else None
        return _from_series(path, read_series_table(path, columns.id, columns.time, label, columns.values), labelled)
    if ending == ".txt" and not labelled:
        return Examples(keep_texts(read_lines(path, columns.encoding)), None)
    if ending not in RECORDS:
        raise OptionError(
            f"{path} does not end in {', '.join(RECORDS)} or .ts, so its kind is not known"
            + ("; a text per line (.txt) has no labels" if ending == ".txt" else "")
        )
    return _from_records(path, columns, labelled)


def _from_series(path: Path, found: SeriesSet, labelled: bool) -> Examples:
    if labelled and found.labels is None:
        raise DataError(f"{path} names no classes (@classLabel true ...), so there is nothing to learn or to judge by")
    return Examples(found.values, found.labels, found.channels, found.names)


def _from_records(path: Path, columns: Columns, labelled: bool) -> Examples:
    wanted = {"text": columns.text} | ({"label": columns.label} if labelled else {})
    labels = list[str]()

    def found() -> Iterator[str]:
        for record in read_records(path, wanted, columns.encoding):
            # Equal labels are one object.
            labels.append(sys.intern(record.get("label", "")))
            yield record["text"]

    texts = keep_texts(found())
    if not texts:
        raise DataError(f"{path} has a header but no rows")
    return Examples(texts, labels if labelled else None)


def _join(parts: Sequence[Examples]) -> Examples:
    """Several files as one."""
    first = parts[0]
    for part in parts[1:]:
        if part.channels is None or first.channels is None:
            if part.kind != first.kind:
                raise DataError("expected files of texts alone or of series alone, got both")
        elif len(part.channels) != len(first.channels):
            raise DataError(f"the files have {len(first.channels)} and {len(part.channels)} channels")
    labels = None if first.labels is None else [label for part in parts for label in part.labelled()]
    names = None if first.names is None else [name for part in parts for name in part.names or ()]
    if len(parts) == 1:
        items = first.items
    else:
        every = chain.from_iterable(part.items for part in parts)
        items = keep_texts(every) if first.channels is None else list(every)
    return Examples(items, labels, first.channels, names)
