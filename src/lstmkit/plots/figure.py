"""Figures as files."""

import os
from pathlib import Path
from typing import Any

from lstmkit.spec import OptionError, atomic_write

_ENDINGS = (".png", ".svg", ".pdf")


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure to one file, whole or not at all.

    Args:
        figure: A matplotlib figure.
        path: Ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        OptionError: another ending.
        LSTMKitError: the path cannot be written to.
    """
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS:
        raise OptionError(f"a plot is written as {', '.join(_ENDINGS)}, not {ending or 'a name without an ending'}")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=ending[1:], dpi=120)
