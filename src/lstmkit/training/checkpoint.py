"""A training run's whole state in one safetensors file: no pickle, and never half a file."""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lstmkit.spec.errors import LSTMKitError, ModelFileError, OptionError
from lstmkit.spec.files import atomic_write

FORMAT = "lstmkit-checkpoint"
VERSION = 1
_WAY_OUT = "delete it to train from the start, or give another path"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by section and name, and a document that JSON can hold."""

    sections: dict[str, dict[str, Tensor]]
    document: dict[str, Any]


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write the file in one step.

    Raises:
        LSTMKitError: it cannot be written; a former file is still whole.
    """
    tensors = {
        f"{section}/{name}": tensor.detach().cpu().contiguous().clone()
        for section, named in checkpoint.sections.items()
        for name, tensor in named.items()
    }
    text = json.dumps({"format": FORMAT, "version": VERSION} | checkpoint.document)
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"lstmkit": text})
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error)) from None


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint | None:
    """Read the file, or return None if there is none.

    Raises:
        ModelFileError: the file is damaged or no checkpoint.
        LSTMKitError: it cannot be read.
    """
    if not os.path.lexists(path):
        return None
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {})["lstmkit"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if document["format"] != FORMAT:
            raise ValueError
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise damaged(path) from None
    except OSError as error:
        raise LSTMKitError(f"cannot read the checkpoint {path}: {(error.strerror or str(error)).lower()}") from None
    if document["version"] != VERSION:
        raise ModelFileError(f"{path} is a checkpoint of format {document['version']}, not {VERSION}; {_WAY_OUT}")
    return Checkpoint(_by_section(tensors), document)


def damaged(path: str | os.PathLike[str]) -> ModelFileError:
    """The error for a file that is not what it should be."""
    return ModelFileError(f"{os.fspath(path)} is damaged or no training checkpoint; {_WAY_OUT}")


def _by_section(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    sections: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        section, _, name = full_name.partition("/")
        sections.setdefault(section, {})[name] = tensor
    return sections


def check_same_run(path: str | os.PathLike[str], found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose fingerprint differs.

    Raises:
        OptionError: it belongs to another training; the message names the first difference.
    """
    for name in [*wanted, *(found.keys() - wanted.keys())]:
        if found.get(name) != wanted.get(name):
            raise OptionError(
                f"the checkpoint {path} belongs to another training: its {name} is {found.get(name)!r}, "
                f"here it is {wanted.get(name)!r}; {_WAY_OUT}"
            )


def check_same_module(path: str | os.PathLike[str], found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint of a module with other weights.

    Raises:
        OptionError: a weight is missing, unknown, or of another shape or dtype; the message names it.
    """
    for name, was, here in _differences(found, wanted):
        raise OptionError(
            f"the checkpoint {path} belongs to another model: its weight {name!r} is {was}, "
            f"here it is {here}; {_WAY_OUT}"
        )


def _differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[tuple[str, str, str]]:
    for name in [*wanted, *(found.keys() - wanted.keys())]:
        was, here = _kind(found.get(name)), _kind(wanted.get(name))
        if was != here:
            yield name, was, here


def _kind(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
