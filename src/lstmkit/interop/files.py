"""Files of every known system, by their endings."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

from safetensors import SafetensorError, safe_open

from lstmkit.interop.chain import SPACE_LETTERS, Chain
from lstmkit.interop.keras_read import read_keras_layers, read_keras_model
from lstmkit.interop.keras_write import write_keras_model
from lstmkit.interop.layer import Layer
from lstmkit.interop.onnx_read import read_onnx_layers, read_onnx_model
from lstmkit.interop.onnx_write import write_onnx_model
from lstmkit.interop.torch_files import read_state_layers, read_state_model, write_state
from lstmkit.runtime import SequenceModel, load
from lstmkit.spec import ModelFileError, OptionError

PathLike = str | os.PathLike[str]


class Imported(NamedTuple):
    """A model that was read, and how the file that it came from arranges its numbers; see :class:`Chain`."""

    model: SequenceModel
    notes: tuple[str, ...]
    input_axes: str
    output_axes: str
    space: tuple[int, ...] = ()


class Format(NamedTuple):
    """What can be done with one ending."""

    layers: Callable[[PathLike], dict[str, Layer]]
    model: Callable[[PathLike], Chain]
    write: Callable[[PathLike, SequenceModel], None]


FORMATS: dict[str, Format] = {
    ".keras": Format(read_keras_layers, read_keras_model, write_keras_model),
    ".onnx": Format(read_onnx_layers, read_onnx_model, write_onnx_model),
    ".pt": Format(read_state_layers, read_state_model, write_state),
    ".pth": Format(read_state_layers, read_state_model, write_state),
    ".safetensors": Format(read_state_layers, read_state_model, lambda path, model: model.save(path)),
}


def read_layers(path: PathLike) -> dict[str, Layer]:
    """The recurrent layers of a file by their names.

    Args:
        path: A ``.keras``, ``.onnx``, ``.pt``, ``.pth`` or ``.safetensors`` file; the last three hold a state dict.

    Raises:
        ModelFileError: the file is truncated, damaged or of another kind.
        OptionError: another ending, or a layer that no cell of lstmkit is.

    Example:
        >>> import tempfile, torch
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.pt")
        >>> torch.save(torch.nn.LSTM(2, 3).state_dict(), path)
        >>> read_layers(path)[""].spec.hidden_size
        3
    """
    return format_of(path).layers(_there(path))


def read_model(path: PathLike, layer: str | None = None) -> Imported:
    """A file as a model that runs without torch: recurrent layers, linear ones, relu, in a chain.

    Args:
        path: As for :func:`read_layers`; also a ``.safetensors`` file that lstmkit saved.
        layer: Take this recurrent layer alone, whatever else is in the file.

    Raises:
        ModelFileError: the file is truncated, damaged or of another kind.
        OptionError: another ending, or something in the file that no stage of the runtime does; it is named.
    """
    if layer is None and _is_own(_there(path)):
        model = load(path)
        if not isinstance(model, SequenceModel):
            raise OptionError(
                f"{path} is a {type(model).__name__}; only models that work step by step can be converted"
            )
        return as_written(path, model)
    if layer is None:
        chain = format_of(path).model(_there(path))
    else:
        layers = read_layers(path)
        if layer not in layers:
            names = ", ".join(map(repr, layers)) or "none"
            raise OptionError(f"{path} has no recurrent layer {layer!r}; it has: {names}")
        chain = Chain()
        chain.add_recurrent(layer, layers[layer])
    return Imported(chain.model(), tuple(chain.notes), chain.input_axes, chain.output_axes, chain.space)


def from_keras_model(model: Any) -> Imported:
    """A live Keras model as :func:`read_model` has it of a file: by way of one that Keras writes.

    Args:
        model: A Sequential or Functional model that was built.

    Raises:
        OptionError: something in it that no stage of the runtime does; it is named.
    """
    with TemporaryDirectory() as folder, catch_warnings():
        simplefilter("ignore")  # Keras's own
        path = Path(folder) / "model.keras"
        model.save(path)
        return read_model(path)


def write_model(path: PathLike, model: SequenceModel, space: Sequence[int] = ()) -> None:
    """Write a model to a file of the kind that its ending says.

    Args:
        path: The file.
        model: The model.
        space: Lengths of the axes of space of a ConvLSTM, which a ``.keras`` file fixes and the others leave open.

    Raises:
        OptionError: another ending, or a stage that the other system has no layer for.
        LSTMKitError: the path cannot be written to.
    """
    write = format_of(path).write
    if write is write_keras_model:
        write_keras_model(path, model, space)
    else:
        write(path, model)


def as_written(path: PathLike, model: SequenceModel) -> Imported:
    """A model as lstmkit writes it to a file of the kind that its ending says."""
    space = SPACE_LETTERS[: model.space_axes]
    axes = f"BT{space}F" if Path(path).suffix.lower() == ".keras" else f"BTF{space}"
    return Imported(model, (), axes, axes)


def format_of(path: PathLike) -> Format:
    """What the ending means.

    Raises:
        OptionError: it is not known.
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise OptionError(f"{path} must end in one of {', '.join(FORMATS)}, not {ending or 'nothing'}")
    return FORMATS[ending]


def _there(path: PathLike) -> PathLike:
    if not Path(path).is_file():
        raise ModelFileError(
            f"expected a file at {path}, which is {'a folder' if Path(path).is_dir() else 'not there'}"
        )
    return path


def _is_own(path: PathLike) -> bool:
    """Whether lstmkit saved the file, and not somebody else weights of that format."""
    if Path(path).suffix.lower() != ".safetensors":
        return False
    try:
        with safe_open(path, framework="numpy") as file:
            return "lstmkit" in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return True  # loading says what is wrong with it
