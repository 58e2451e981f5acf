"""The model file: one ``.safetensors`` that holds weights and a JSON document. Never a pickle.

The document stands in the file's metadata under the key ``lstmkit``. Its fields:
``format_version``, ``library_version``, ``task``, ``stages`` (see :mod:`lstmkit.runtime.stages`),
``outputs`` (the stage whose value is the answer), and whatever the task adds under its own name.
"""

import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lstmkit.spec import ModelFileError, atomic_write

FORMAT_VERSION = 1
_KEY = "lstmkit"
# A document is text about sizes and columns; one that is larger than this is not ours.
_LARGEST_HEADER = 64 * 2**20

Document = dict[str, Any]
Weights = dict[str, NDArray[Any]]


def library_version() -> str:
    """The installed version, or ``unknown`` when the sources run uninstalled."""
    try:
        return version("lstmkit")
    except PackageNotFoundError:
        return "unknown"


def write_model(path: str | os.PathLike[str], document: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> None:
    """Write a model file in one step: it is whole, or what stood there before is.

    Args:
        path: Where to; ``.safetensors`` is the usual ending.
        document: JSON-able; the two version fields are filled in here.
        weights: Arrays by ``stage.parameter``.

    Raises:
        LSTMKitError: the path cannot be written to, or the disk is full.
    """
    whole = {"format_version": FORMAT_VERSION, "library_version": library_version(), **document}
    text = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    content = save(arrays, metadata={_KEY: text})
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def read_model(path: str | os.PathLike[str]) -> tuple[Document, Weights]:
    """Read a model file, trusting nothing in it.

    Raises:
        ModelFileError: the file is missing, truncated, of another kind, of a newer format, or
            holds something that no model can hold; the message says what to do.
    """
    target = Path(path)
    _check_envelope(target)
    try:
        with safe_open(target, framework="numpy") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        brief = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelFileError(f"{target} is truncated or damaged ({brief}); copy or save the model again") from None
    document = _parse(target, metadata)
    for name, array in weights.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelFileError(f"{target} is damaged: the weights {name!r} hold values that are not finite")
    return document, weights


def _check_envelope(target: Path) -> None:
    """The cheap checks, before any length in the file is believed."""
    if not target.is_file():
        kind = "a folder" if target.is_dir() else "not there"
        raise ModelFileError(f"expected a model file at {target}, which is {kind}")
    try:
        size = target.stat().st_size
        with target.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ModelFileError(f"cannot read {target}: {error.strerror}") from None
    header = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{" or header > max(size, _LARGEST_HEADER):
        raise ModelFileError(f"{target} is not a model file; lstmkit saves models as .safetensors")
    if header > _LARGEST_HEADER:
        raise ModelFileError(f"{target} claims a header of {header:,} bytes, which no lstmkit model has")
    if header + 8 > size:
        raise ModelFileError(f"{target} is truncated: {size:,} bytes of it are here; copy or save the model again")


def _parse(target: Path, metadata: Mapping[str, str]) -> Document:
    if _KEY not in metadata:
        raise ModelFileError(f"{target} holds weights but no lstmkit model; load a file that lstmkit saved")
    try:
        document = json.loads(metadata[_KEY])
    except (ValueError, RecursionError):
        raise ModelFileError(f"{target} is damaged: its description is not valid JSON") from None
    if not isinstance(document, dict):
        raise ModelFileError(f"{target} is damaged: its description is not a JSON object")
    found = document.get("format_version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ModelFileError(f"{target} is damaged: its format version is {found!r}")
    if found > FORMAT_VERSION:
        raise ModelFileError(
            f"{target} has format version {found}, written by lstmkit {document.get('library_version')}; this lstmkit "
            f"reads up to {FORMAT_VERSION}; run: pip install --upgrade lstmkit"
        )
    return document
