"""The run's log: one JSON object per line."""

import json
import math
import os
from io import TextIOWrapper
from typing import Any

from lstmkit.spec.errors import LSTMKitError


class RunLog:
    """Appends lines to a file, or does nothing if the path is None. Numbers that JSON lacks become null.

    Raises:
        LSTMKitError: the file cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = path
        self._file: TextIOWrapper | None = None

    def __enter__(self) -> "RunLog":
        if self._path is not None:
            try:
                self._file = open(self._path, "a", encoding="utf-8")
            except OSError as error:
                raise self._failure(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def active(self) -> bool:
        """Whether lines go anywhere."""
        return self._file is not None

    def write(self, event: str, **values: Any) -> None:
        """Append one line and hand it to the operating system."""
        if self._file is None:
            return
        line = json.dumps({"event": event} | {name: _plain(value) for name, value in values.items()})
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> LSTMKitError:
        reason = (error.strerror or str(error)).lower()
        return LSTMKitError(f"cannot write the log {os.fspath(self._path or '')}: {reason}; give another path for log=")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, dict | bool | int | float | str | None) else str(value)
