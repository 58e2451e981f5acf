"""Reading Keras's ``.keras`` files: a zip of JSON and HDF5. Nothing in one is executed, and no Keras is needed."""

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from lstmkit.interop.chain import Chain
from lstmkit.interop.keras_layers import from_keras_config
from lstmkit.interop.keras_options import KERAS_CELLS, snake_case
from lstmkit.interop.layer import Array, Layer, as_floats
from lstmkit.spec import LSTMKitError, ModelFileError, OptionError, import_extra

_RECURRENT = (*KERAS_CELLS, "Bidirectional")
_LARGEST_TEXT = 16 * 2**20


def read_keras_layers(path: str | os.PathLike[str]) -> dict[str, Layer]:
    """The recurrent layers of a ``.keras`` file by their names.

    Raises:
        ModelFileError: the file is no such file, truncated or damaged.
        OptionError: a recurrent layer has an option that no cell has.
    """
    with _open(path) as file:
        return {name: _layer(file, kind, config) for kind, name, config in _flat(file.layers) if kind in _RECURRENT}


def read_keras_model(path: str | os.PathLike[str]) -> Chain:
    """A ``.keras`` file as a chain: recurrent layers, ConvLSTM, Dense, Dropout, ReLU and linear or relu activations.

    Raises:
        ModelFileError: the file is no such file, truncated or damaged.
        OptionError: it has a layer or an option that the runtime does not know, or is no chain.
    """
    chain = Chain()
    with _open(path) as file:
        _check_straight(file.layers)
        whole = True
        for kind, name, config in _flat(file.layers):
            whole = _add(chain, file, kind, name, config, whole) and whole
        if chain.space_axes:
            chain.space = _space(file.layers[0]["config"], chain.input_axes)
    if not whole:
        chain.output_axes = chain.output_axes.replace("T", "")
    return chain


class _File:
    """An open file: the layers as JSON describes them, and the HDF5 beside it."""

    def __init__(self, layers: list[dict[str, Any]], weights: Any, size: int) -> None:
        self.layers, self.weights, self.size = layers, weights, size
        self.groups = _groups_by_name(layers, weights)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self.weights.close()

    def arrays(self, name: str, place: str) -> list[Array]:
        """The arrays of ``place`` inside a layer's group, in their order."""
        group = self.groups.get(name)
        found = None if group is None else _follow(group, place)
        if found is None:
            raise ModelFileError(f"the weights of the layer {name!r} are missing from the file; save the model again")
        return [self._array(name, found, str(k)) for k in range(len(found))]

    def _array(self, name: str, group: Any, key: str) -> Array:
        dataset = _follow(group, key)
        plain = hasattr(dataset, "dtype") and not dataset.is_virtual and not dataset.external
        if not plain or dataset.dtype.kind != "f" or dataset.size * dataset.dtype.itemsize > self.size:
            raise ModelFileError(f"the weights of the layer {name!r} are no plain floating-point numbers")
        return as_floats(dataset[()])


def _open(path: str | os.PathLike[str]) -> _File:
    h5py = import_extra("h5py", "convert")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _LARGEST_TEXT:
                raise ModelFileError(f"{path} is damaged: its configuration is too large")
            config = json.loads(archive.read("config.json"))
            content = archive.read("model.weights.h5")
        layers = _described_layers(config)
        return _File(layers, h5py.File(io.BytesIO(content), "r"), len(content))
    except LSTMKitError:
        raise
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        brief = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelFileError(
            f"{path} is no .keras file, or it is truncated or damaged ({brief}); save it again"
        ) from None


def _described_layers(config: Any) -> list[dict[str, Any]]:
    kind = config["class_name"]
    if kind not in ("Sequential", "Functional"):
        raise OptionError(
            f"a Keras model of the class {str(kind)[:80]!r} cannot be read; known: Sequential, Functional"
        )
    layers = config["config"]["layers"]
    for layer in layers:
        if not isinstance(layer["class_name"], str) or not isinstance(layer["config"]["name"], str):
            raise TypeError("a layer is not described as one")
    return layers


def _flat(layers: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(layer["class_name"], layer["config"]["name"], layer["config"]) for layer in layers]


def _groups_by_name(layers: list[dict[str, Any]], weights: Any) -> dict[str, Any]:
    """The HDF5 groups by the layers' names: by the name that newer Keras notes, or by class and number."""
    found: dict[str, Any] = {}
    groups = _follow(weights, "layers")
    counts: dict[str, int] = {}
    for kind, name, _ in _flat(layers):
        snake = snake_case(kind)
        counts[snake] = counts.get(snake, -1) + 1
        found[name] = _follow(groups, f"{snake}_{counts[snake]}" if counts[snake] else snake)
    for key in groups or ():
        group = _follow(groups, key)
        variables = _follow(group, "vars")
        noted = None if variables is None else variables.attrs.get("name")
        if noted in found:
            found[noted] = group
    return found


def _follow(group: Any, place: str) -> Any:
    """A member of a group, or None; links, which could lead out of the file, are not followed."""
    for key in place.split("/"):
        if not hasattr(group, "keys") or type(group.get(key, getlink=True)).__name__ != "HardLink":
            return None
        group = group[key]
    return group


def _layer(file: _File, kind: str, config: Mapping[str, Any]) -> Layer:
    places = ["forward_layer/cell/vars", "backward_layer/cell/vars"] if kind == "Bidirectional" else ["cell/vars"]
    try:
        return from_keras_config(kind, config, [file.arrays(config["name"], place) for place in places])
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"the layer {config['name']!r} is not described as a Keras layer ({error})") from None


def _space(config: Mapping[str, Any], axes: str) -> tuple[int, ...]:
    """Lengths of the axes of space of the input layer, without which Keras makes no ConvLSTM."""
    shape = config.get("batch_shape") or config.get("batch_input_shape") or ()
    found = [size for axis, size in zip(axes, shape, strict=False) if axis not in "BTF"]
    return tuple(found) if all(isinstance(size, int) and size > 0 for size in found) else ()


def _check_straight(layers: list[dict[str, Any]]) -> None:
    """Of a Functional model: every layer reads the first result of the layer before it."""
    before = None
    for layer in layers:
        for node in layer.get("inbound_nodes") or ():
            sources = re.findall(r"'keras_history': \['([^']*)', (\d+), (\d+)\]", str(node))
            if len(layer["inbound_nodes"]) > 1 or sources != [(before, "0", "0")]:
                raise OptionError(f"the model is no chain of layers: {layer['config']['name']!r} reads {sources}")
        before = layer["config"]["name"]


def _add(chain: Chain, file: _File, kind: str, name: str, config: dict[str, Any], whole: bool) -> bool:
    """Append a layer; False where it gives its last step alone."""
    if kind in _RECURRENT:
        if not whole:
            raise OptionError(f"{name!r} reads a layer that gives its last step alone (return_sequences=False)")
        layer = _layer(file, kind, config)
        chain.add_recurrent(name, layer)
        return bool(layer.call["return_sequences"])
    if kind == "TimeDistributed" and config["layer"]["class_name"] == "Dense":
        _add_dense(chain, name, config["layer"]["config"], file.arrays(name, "layer/vars"))
    elif kind == "Dense":
        _add_dense(chain, name, config, file.arrays(name, "vars"))
    elif kind == "Dropout":
        chain.add(name, "dropout", rate=config["rate"])
    elif kind in ("Activation", "ReLU"):
        _add_activation(chain, name, config["activation"] if kind == "Activation" else _relu(name, config))
    elif kind != "InputLayer":
        raise OptionError(
            f"the layer {name!r} is a {kind[:80]}, which no stage of lstmkit does; pick one layer by --layer"
        )
    return True


def _add_dense(chain: Chain, name: str, config: Mapping[str, Any], arrays: list[Array]) -> None:
    expected = (arrays[0].shape[-1],) if arrays else ()
    if (
        len(arrays) != 1 + config["use_bias"]
        or arrays[0].ndim != 2
        or (len(arrays) > 1 and arrays[1].shape != expected)
    ):
        raise ModelFileError(f"the weights of the layer {name!r} are not those of a Dense layer; save the model again")
    chain.add_linear(name, arrays[0].T, arrays[1] if config["use_bias"] else None)
    _add_activation(chain, name, config["activation"])


def _add_activation(chain: Chain, name: str, activation: Any) -> None:
    if activation == "relu":
        chain.add(f"{name}_relu", "relu")
    elif activation not in (None, "linear"):
        raise OptionError(f"{name!r} has activation={str(activation)[:80]!r}; the runtime has linear and relu")


def _relu(name: str, config: Mapping[str, Any]) -> str:
    if config.get("max_value") is not None or config.get("negative_slope") or config.get("threshold"):
        raise OptionError(
            f"{name!r} is a ReLU with max_value, negative_slope or threshold; the runtime has the plain one"
        )
    return "relu"
