"""Keras's recurrent layers: their configuration and arrays, and live layers. Needs no Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lstmkit.interop.layer import Array, Layer, as_array, as_floats
from lstmkit.interop.rows import Direction, from_lstmkit, to_lstmkit
from lstmkit.spec import CellSpec, OptionError, ShapeError, Variant

KERAS_CELLS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}

# Keras's names of the activations that an LSTM can be given -> ours.
_ACTIVATIONS = {name: name for name in ("sigmoid", "tanh", "hard_sigmoid", "relu", "softsign")} | {"linear": "identity"}

# Arguments of nn.KerasCall that Keras keeps in a layer's configuration.
_CALL = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
# What changes nothing about the numbers that a layer gives when it is not trained.
_TRAINING = ("dropout", "recurrent_dropout")

Config = Mapping[str, Any]


def from_keras(layer: Any) -> Layer:
    """Take the weights of a live, built Keras layer.

    Args:
        layer: ``keras.layers.LSTM``, ``GRU``, ``SimpleRNN``, or a ``Bidirectional`` of one of them.

    Raises:
        OptionError: another class, an option that no cell has, or a layer that was not built.
        ShapeError: an array does not fit.
    """
    kind = type(layer).__name__
    if kind not in (*KERAS_CELLS, "Bidirectional"):
        raise OptionError(_unknown(kind))
    parts = [layer.forward_layer, layer.backward_layer] if kind == "Bidirectional" else [layer]
    return from_keras_config(kind, layer.get_config(), [_live_arrays(part) for part in parts])


def from_keras_config(kind: str, config: Config, arrays: Sequence[Sequence[Any]]) -> Layer:
    """Take the weights of a Keras layer that is described by its configuration.

    Args:
        kind: The class: ``"LSTM"``, ``"GRU"``, ``"SimpleRNN"`` or ``"Bidirectional"``.
        config: What ``layer.get_config()`` gives.
        arrays: Per direction the kernel ``(I, G*H)``, the recurrent kernel ``(H, G*H)`` and, with ``use_bias``, the
            bias: ``(G*H,)``, of a GRU with ``reset_after`` ``(2, 3H)``.

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
        forward, call = _direction(kind, config, arrays[0]), {name: config.get(name, False) for name in _CALL}
        return _layer([forward], call, _notes(config))
    inner, other = config["layer"], config.get("backward_layer") or config["layer"]
    directions = [
        _direction(part["class_name"], part["config"], own) for part, own in zip((inner, other), arrays, strict=True)
    ]
    call = {name: inner["config"].get(name, False) for name in _CALL if name != "go_backwards"}
    call["merge_mode"] = config.get("merge_mode", "concat")
    if inner["config"].get("go_backwards"):
        raise OptionError("Bidirectional: its forward layer must not have go_backwards=True")
    return _layer(directions, call, _notes(inner["config"]))


def to_keras(layer: Layer) -> list[tuple[str, dict[str, Any], list[list[Array]]]]:
    """Keras layers that do what a stack does: class, configuration and arrays per direction of each.

    ``getattr(keras.layers, kind).from_config(config)`` makes a layer of one, whose weights are set by ``set_weights``
    of its arrays, the forward direction's first. Each gives whole sequences.

    Raises:
        OptionError: Keras has no such layer.
    """
    spec = layer.spec
    if spec.proj_size:
        raise OptionError(f"Keras has no layer with a projection (proj_size={spec.proj_size})")
    return [_keras_layer(layer, number) for number in range(spec.num_layers)]


def _keras_layer(layer: Layer, number: int) -> tuple[str, dict[str, Any], list[list[Array]]]:
    spec = layer.spec
    kind, options = _keras_class(spec)
    arrays = [_keras_arrays(layer, _system(spec.to_dict()), suffix) for suffix in spec.layer_suffixes(number)]
    config = {"units": spec.hidden_size, "use_bias": spec.bias, "return_sequences": True, **options}
    if not spec.bidirectional:
        return kind, {"name": f"{spec.cell}_{number}", **config}, arrays

    def inner(direction: str, backwards: bool) -> dict[str, Any]:
        own = {"name": f"{direction}_{spec.cell}_{number}", **config, "go_backwards": backwards}
        return {"module": "keras.layers", "class_name": kind, "config": own, "registered_name": None}

    both = {"layer": inner("forward", False), "backward_layer": inner("backward", True)}
    return "Bidirectional", {"name": f"bidirectional_{number}", "merge_mode": "concat", **both}, arrays


def _direction(kind: str, config: Config, arrays: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Options of the CellSpec, and the four arrays, of one layer that reads in one direction."""
    if kind not in KERAS_CELLS:
        raise OptionError(_unknown(kind))
    units, use_bias = config["units"], config.get("use_bias", True)
    if len(arrays) != 2 + use_bias:
        raise ShapeError(f"{kind}: expected {2 + use_bias} arrays with use_bias={use_bias}, not {len(arrays)}")
    options = _cell_options(kind, config)
    kernel, recurrent, *bias = [as_floats(array) for array in arrays]
    weights = Direction(kernel, recurrent, bias[0] if bias else None)
    own = to_lstmkit(_system(options), options["cell"], weights, units, config.get("name", kind))
    return {**options, "hidden_size": units, "bias": use_bias, "input_size": kernel.shape[0]}, own


def _unknown(kind: str) -> str:
    return f"no Keras layer {kind!r} can be converted; known: {', '.join(KERAS_CELLS)}, Bidirectional"


def _cell_options(kind: str, config: Config) -> dict[str, Any]:
    """The cell that a configuration means; an activation that no cell has is refused by name."""
    options: dict[str, Any] = {"cell": KERAS_CELLS[kind]}
    if kind == "SimpleRNN":
        options["nonlinearity"] = _activation(kind, config, "activation", "tanh", "relu")
        return options
    if kind == "GRU":
        _activation(kind, config, "recurrent_activation", "sigmoid")
        _activation(kind, config, "activation", "tanh")
        return {**options, "reset_after": bool(config.get("reset_after", True))}
    gates = _activation(kind, config, "recurrent_activation", "sigmoid", *_ACTIVATIONS)
    other = _ACTIVATIONS[_activation(kind, config, "activation", "tanh", *_ACTIVATIONS)]
    variant = Variant(gate_activation=_ACTIVATIONS[gates], candidate_activation=other, cell_activation=other)
    return {**options, "variant": variant}


def _activation(kind: str, config: Config, name: str, *known: str) -> str:
    given = config.get(name, known[0])
    if given not in known:
        shown = given.get("class_name", given) if isinstance(given, Mapping) else given
        raise OptionError(f"{kind}: {name}={shown!r} cannot be converted; lstmkit's cell has {' or '.join(known)}")
    return given


def _system(options: Mapping[str, Any]) -> str:
    """The name of the layout in lstmkit.spec.LAYOUTS."""
    return "keras" if options.get("reset_after", True) else "keras_reset_before"


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


def _keras_class(spec: CellSpec) -> tuple[str, dict[str, Any]]:
    """Class and configuration for a cell."""
    for kind, cell in KERAS_CELLS.items():
        config = _written_options(spec, kind)
        if (
            cell == spec.cell
            and "none" not in config.values()
            and _plain(spec, kind, config) == replace(spec, num_layers=1)
        ):
            return kind, config
    raise OptionError(f"Keras has no layer for the cell {spec.cell!r} with the options of this stack: {spec}")


def _written_options(spec: CellSpec, kind: str) -> dict[str, Any]:
    """The inverse of :func:`_cell_options`, as far as there is one."""
    if kind != "LSTM":
        return {"SimpleRNN": {"activation": spec.nonlinearity}, "GRU": {"reset_after": spec.reset_after}}[kind]
    theirs: dict[Any, str] = {ours: name for name, ours in _ACTIVATIONS.items()}
    roles = {"recurrent_activation": "gate_activation", "activation": "cell_activation"}
    return {name: theirs.get(getattr(spec.variant, role), "none") for name, role in roles.items()}


def _plain(spec: CellSpec, kind: str, config: Config) -> CellSpec:
    """What a Keras layer of this class and configuration is."""
    return CellSpec(spec.input_size, spec.hidden_size, 1, spec.bias, spec.bidirectional, **_cell_options(kind, config))


def _keras_arrays(layer: Layer, system: str, suffix: str) -> list[Array]:
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.spec.bias else ()))
    weights = from_lstmkit(system, layer.spec.cell, {kind: layer.parameters[kind + suffix] for kind in kinds})
    return [weights.kernel, weights.recurrent, *([] if weights.bias is None else [weights.bias])]
