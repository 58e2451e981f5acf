"""The model file: one ``.safetensors`` that holds weights and a JSON document. Never a pickle.

The document stands in the file's metadata under the key ``lstmkit``. Its fields:
``format_version``, ``library_version``, ``task``, ``stages`` (see :mod:`lstmkit.runtime.stages`; the
last one gives the answer), and whatever the task adds under its own name.
"""

import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lstmkit.spec import LSTMKitError, ModelFileError, atomic_write

FORMAT_VERSION = 1
_KEY = "lstmkit"
# A document is text about sizes and columns; one that is larger than this is not ours.
_LARGEST_HEADER = 16 * 2**20

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
        document: JSON-able, NaN becoming null; the two version fields are filled in here.
        weights: Arrays by ``stage.parameter``; kept in float32.

    Raises:
        LSTMKitError: the path cannot be written to, the disk is full, or a weight is not finite.
    """
    whole = {**document, "format_version": FORMAT_VERSION, "library_version": library_version()}
    text = json.dumps(_plain(whole), allow_nan=False, separators=(",", ":"))
    arrays = {name: _single(array) for name, array in weights.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise LSTMKitError(f"the weights {name!r} are not finite, so the model was not saved: train it again")
    content = save(arrays, metadata={_KEY: text})
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _plain(value: Any) -> Any:
    """The value as JSON can hold it; what could not be computed is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not isfinite(value) else value


def _single(array: NDArray[Any]) -> NDArray[np.float32]:
    """Weights as every engine runs them; what exceeds the range becomes infinite, and is then refused."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def read_model(path: str | os.PathLike[str]) -> tuple[Document, Weights]:
    """Read a model file, trusting nothing in it.

    Raises:
        ModelFileError: the file is missing, truncated, of another kind, of a newer format, or
            holds something that no model can hold; the message says what to do.
    """
    target = Path(path)
    _check_envelope(target)
    try:
        opened: Any = safe_open(target, framework="numpy")
        with opened as file:
            document = _parse(target, file.metadata() or {})
            weights = {name: _numbers(target, name, file.get_tensor(name)) for name in [*file.keys()]}
    except ModelFileError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
        brief = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelFileError(f"{target} is truncated or damaged ({brief}); copy or save the model again") from None
    return document, weights


def _numbers(target: Path, name: str, array: NDArray[Any]) -> NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise ModelFileError(f"{target} is damaged: the weights {name[:100]!r} are not floating-point numbers")
    single = _single(array)
    if not np.isfinite(single).all():
        raise ModelFileError(
            f"{target} is damaged: the weights {name[:100]!r} are not all finite; copy or save the model again"
        )
    return single


def _check_envelope(target: Path) -> None:
    """The cheap checks, before any length in the file is believed."""
    try:
        if not target.is_file():
            kind = "a folder" if target.is_dir() else "not there" if not target.exists() else "no ordinary file"
            raise ModelFileError(f"expected a model file at {target}, which is {kind}")
        with target.open("rb") as file:
            start = file.read(9)
        size = target.stat().st_size
    except OSError as error:
        raise ModelFileError(f"cannot read {str(target)[:200]}: {error.strerror}; give the path of a model") from None
    header = int.from_bytes(start[:8], "little")
    if not start:
        raise ModelFileError(f"{target} is empty; copy or save the model again")
    if len(start) < 9 or start[8:9] != b"{" or header > _LARGEST_HEADER:
        raise ModelFileError(f"{target} is not a model file; give a .safetensors file that lstmkit saved")
    if header + 8 > size:
        raise ModelFileError(f"{target} is truncated: {size:,} bytes of it are here; copy or save the model again")


def _parse(target: Path, metadata: Mapping[str, str]) -> Document:
    if _KEY not in metadata:
        raise ModelFileError(f"{target} holds weights but no lstmkit model; load a file that lstmkit saved")
    try:
        document: Any = json.loads(metadata[_KEY], parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ModelFileError(f"{target} is damaged: its description is not valid JSON; save the model again") from None
    if not isinstance(document, dict):
        raise ModelFileError(f"{target} is damaged: its description is not a JSON object; save the model again")
    fields: Document = document  # pyright: ignore[reportUnknownVariableType]
    found = fields.get("format_version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ModelFileError(f"{target} is damaged: its format version is no whole number; save the model again")
    if found > FORMAT_VERSION:
        writer = str(fields.get("library_version"))[:40]
        raise ModelFileError(
            f"{target} has format version {str(found)[:20]}, written by lstmkit {writer!r}; this lstmkit "
            f"reads up to {FORMAT_VERSION}; run: pip install --upgrade lstmkit"
        )
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
