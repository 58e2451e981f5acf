"""Where a table comes from: the user's frame or a file, seen as one thing."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lstmkit.data.files import read_columns, read_header
from lstmkit.spec import DataError, OptionError, import_extra


@dataclass(frozen=True)
class Source:
    """Column names, and how to load some of the columns.

    Args:
        title: What messages call it: the path, or "the table".
        names: All column names.
        load: Gives a narwhals frame of the named columns; the second list stays text if it is text.
        from_file: Whether it is a file.
        index: Name of the time-like index that a pandas frame hides, or None.
    """

    title: str
    names: list[str]
    load: Callable[[list[str], list[str]], Any]
    from_file: bool = False
    index: str | None = None

    def find(self, name: str, option: str) -> str:
        """Check that a column exists.

        Raises:
            DataError: it does not; the message has the nearest name and the option that names it.
        """
        if name in self.names:
            return name
        match = self.nearest(name)
        listed = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
        hint = f"; did you mean {match!r}?" if match else "."
        if option == "id_column":
            hint += " A table of one series needs none: id_column=None."
        if self.index is not None and option == "time_column":
            hint += " The frame's index looks like the times: use reset_index()."
        raise DataError(f"{self.title} has no column {name!r}{hint} Its columns are: {listed}. Name one with {option}=")

    def nearest(self, name: str, likeness: float = 0.6) -> str | None:
        """The column whose name is most like ``name``, if any is as like as that."""
        lowered = {other.lower(): other for other in reversed(self.names)}
        match = get_close_matches(name.lower(), lowered, n=1, cutoff=likeness)
        return lowered[match[0]] if match else None


def open_source(source: Any) -> Source:
    """Look at a path or a frame without loading what is not needed.

    Raises:
        DataError: it is not a table, has no columns, or two columns of one name.
        OptionError: it is of a type that is not known.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        opened = Source(str(path), read_header(path), lambda columns, text: _load_file(path, columns, text), True)
    else:
        opened = _open_frame(source)
    twice = [name for name, count in Counter(opened.names).items() if count > 1]
    if twice:
        raise DataError(f"{opened.title} has more than one column called {twice[0]!r}; rename or drop one")
    if not opened.names:
        raise DataError(f"{opened.title} has no columns")
    return opened


def _load_file(path: Path, columns: list[str], text_columns: list[str]) -> Any:
    narwhals = import_extra("narwhals", "forecast")
    return narwhals.from_native(read_columns(path, columns, text_columns), eager_only=True)


def _open_frame(frame: Any) -> Source:
    narwhals = import_extra("narwhals", "forecast")
    try:
        wrapped = narwhals.from_native(frame)
    except narwhals.exceptions.DuplicateError as error:
        message = " ".join(str(error).split())
        raise DataError(f"the table has more than one column of the same name: {message}; rename or drop one") from None
    except TypeError:
        raise OptionError(
            f"a table must be a pandas, Polars or PyArrow frame or the path of a file, not {type(frame).__name__}"
        ) from None
    if isinstance(wrapped, narwhals.LazyFrame):
        wrapped = wrapped.collect()
    if not isinstance(wrapped, narwhals.DataFrame):
        raise OptionError(f"a table must be a frame, not {type(frame).__name__}")
    names = wrapped.columns
    strange = next((name for name in names if not isinstance(name, str)), None)
    if strange is not None:
        raise DataError(
            f"column names must be text, not {strange!r}; rename it, for example with df.columns.astype(str)"
        )
    return Source("the table", names, lambda columns, text: wrapped.select(columns), index=_index_name(frame))


def _index_name(frame: Any) -> str | None:
    index: Any = getattr(frame, "index", None)
    if type(index).__name__ in ("DatetimeIndex", "PeriodIndex"):
        return str(index.name)
    return None
