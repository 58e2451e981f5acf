"""Keras's recurrent layers: their configuration and arrays, and live layers. Needs no Keras."""

from collections.abc import Sequence
from typing import Any

from lstmkit.interop.keras_options import KERAS_CELLS, Config, cell_options, check_class, keras_class, layout_name
from lstmkit.interop.layer import Array, Layer, as_array, as_floats, check_call
from lstmkit.interop.rows import Direction, from_lstmkit, to_lstmkit
from lstmkit.spec import CellSpec, OptionError, ShapeError

# What Keras keeps in a layer's configuration of how the layer is called.
_CALL = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
# What changes nothing about the numbers that a layer gives when it is not trained.
_TRAINING = ("dropout", "recurrent_dropout")


def from_keras(layer: Any) -> Layer:
    """Take the weights of a live, built Keras layer.

    Args:
        layer: ``keras.layers.LSTM``, ``GRU``, ``SimpleRNN``, ``ConvLSTM1D``, ``2D`` or ``3D``, or a ``Bidirectional``
            of one of them.

    Raises:
        OptionError: another class, an option that no cell has, or a layer that was not built.
        ShapeError: an array does not fit.
    """
    kind = type(layer).__name__
    if kind != "Bidirectional":
        check_class(kind)
    parts = [layer.forward_layer, layer.backward_layer] if kind == "Bidirectional" else [layer]
    return from_keras_config(kind, layer.get_config(), [_live_arrays(part) for part in parts])


def from_keras_config(kind: str, config: Config, arrays: Sequence[Sequence[Any]]) -> Layer:
    """Take the weights of a Keras layer that is described by its configuration.

    Args:
        kind: The class: ``"LSTM"``, ``"GRU"``, ``"SimpleRNN"``, ``"ConvLSTM2D"`` ... or ``"Bidirectional"``.
        config: What ``layer.get_config()`` gives.
        arrays: Per direction the kernel ``(I, G*H)``, the recurrent kernel ``(H, G*H)`` and, with ``use_bias``, the
            bias: ``(G*H,)``, of a GRU with ``reset_after`` ``(2, 3H)``. A ConvLSTM's kernels have their axes of space
            first, ``(*kernel, I, 4H)``.

    Raises:
        OptionError: another class, or an option that no cell has.
        ShapeError: an array does not fit.

    Example:
        >>> import numpy as np
        >>> arrays = [np.ones((2, 12)), np.ones((3, 12)), np.zeros(12)]
        >>> layer = from_keras_config("LSTM", {"units": 3, "return_sequences": True}, [arrays])
        >>> layer.spec.input_size, layer.call["return_sequences"]
        (2, True)
    """
    if kind != "Bidirectional":
        return _layer([_direction(kind, config, arrays[0])], _called(kind, config), _notes(config))
    inner, other = config["layer"], config.get("backward_layer") or config["layer"]
    directions = [
        _direction(part["class_name"], part["config"], own) for part, own in zip((inner, other), arrays, strict=True)
    ]
    call = _called(inner["class_name"], inner["config"]) | {"merge_mode": config.get("merge_mode", "concat")}
    if call.pop("go_backwards"):
        raise OptionError("Bidirectional: its forward layer must not have go_backwards=True")
    return _layer(directions, call, _notes(inner["config"]))


def to_keras(layer: Layer) -> list[tuple[str, dict[str, Any], list[list[Array]]]]:
    """Keras layers that do what a stack does: class, configuration and arrays per direction of each.

    ``getattr(keras.layers, kind).from_config(config)`` makes a layer of one, whose weights are set by ``set_weights``
    of its arrays, the forward direction's first. Each gives whole sequences, unless a layer that came from Keras is
    called otherwise.

    Raises:
        OptionError: Keras has no such layer, or cannot call it so.
    """
    spec = layer.spec
    if spec.proj_size:
        raise OptionError(f"Keras has no layer with a projection (proj_size={spec.proj_size})")
    check_call(layer, "Keras", kept=("go_backwards", "merge_mode"))
    return [_keras_layer(layer, number) for number in range(spec.num_layers)]


def _keras_layer(layer: Layer, number: int) -> tuple[str, dict[str, Any], list[list[Array]]]:
    spec, call = layer.spec, layer.call
    kind, options = keras_class(spec)
    arrays = [_keras_arrays(layer, layout_name(spec.to_dict()), suffix) for suffix in spec.layer_suffixes(number)]
    config = {_units(kind): spec.hidden_size, "use_bias": spec.bias, "return_sequences": True, **options}
    config |= {name: call[name] for name in (*_CALL, "data_format") if name in call}
    if not spec.bidirectional:
        return kind, {"name": f"{spec.cell}_{number}", **config}, arrays

    def inner(direction: str, backwards: bool) -> dict[str, Any]:
        own = {"name": f"{direction}_{spec.cell}_{number}", **config, "go_backwards": backwards}
        return {"module": "keras.layers", "class_name": kind, "config": own, "registered_name": None}

    both = {"layer": inner("forward", False), "backward_layer": inner("backward", True)}
    merge = call.get("merge_mode", "concat")
    return "Bidirectional", {"name": f"bidirectional_{number}", "merge_mode": merge, **both}, arrays


def _direction(kind: str, config: Config, arrays: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Options of the CellSpec, and the arrays, of one layer that reads in one direction."""
    options = cell_options(kind, config)
    units, use_bias = config[_units(kind)], config.get("use_bias", True)
    if len(arrays) != 2 + use_bias:
        raise ShapeError(f"{kind}: expected {2 + use_bias} arrays with use_bias={use_bias}, not {len(arrays)}")
    kernel, recurrent, *bias = [as_floats(array) for array in arrays]
    weights = Direction(kernel, recurrent, bias[0] if bias else None)
    where, space = config.get("name", kind), options.get("kernel_size", ())
    own = to_lstmkit(layout_name(options), options["cell"], weights, units, where, space)
    return {**options, "hidden_size": units, "bias": use_bias, "input_size": kernel.shape[-2]}, own


def _units(kind: str) -> str:
    return "filters" if KERAS_CELLS[kind] == "conv_lstm" else "units"


def _called(kind: str, config: Config) -> dict[str, Any]:
    """How Keras calls the layer: the arguments of nn.KerasCall."""
    call = {name: config.get(name, False) for name in _CALL}
    if KERAS_CELLS.get(kind) == "conv_lstm":
        call["data_format"] = config.get("data_format") or "channels_last"
    return call


def _layer(directions: list[tuple[dict[str, Any], dict[str, Array]]], call: dict[str, Any], notes: Any) -> Layer:
    options = directions[0][0]
    if any(other != options for other, _ in directions):
        raise OptionError("Bidirectional: its two layers differ in class, units or use_bias, so no stack holds both")
    spec = CellSpec(**options, bidirectional=len(directions) == 2)
    parameters = {
        name + suffix: array
        for (_, arrays), suffix in zip(directions, spec.layer_suffixes(0), strict=True)
        for name, array in arrays.items()
    }
    return Layer(spec, parameters, call, notes)


def _notes(config: Config) -> tuple[str, ...]:
    return tuple(f"{name}={config[name]:g} acts in training alone" for name in _TRAINING if config.get(name))


def _live_arrays(layer: Any) -> list[Array]:
    """Looked up by name: a list of all weights would hold the state of a dropout's generator too."""
    if not layer.built:
        raise OptionError(f"the Keras layer {layer.name!r} has no weights yet; call it once, or build it")
    cell = layer.cell
    found = [cell.kernel, cell.recurrent_kernel, *([cell.bias] if cell.use_bias else [])]
    return [as_array(variable.value) for variable in found]


def _keras_arrays(layer: Layer, system: str, suffix: str) -> list[Array]:
    own = {name: layer.parameters[name + suffix] for name in layer.spec.parameter_names()}
    weights = from_lstmkit(system, layer.spec.cell, own)
    return [weights.kernel, weights.recurrent, *([] if weights.bias is None else [weights.bias])]
