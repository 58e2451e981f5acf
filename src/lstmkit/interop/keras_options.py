"""Configurations of Keras's recurrent layers as options of a CellSpec, and back."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lstmkit.spec import ACTIVATIONS, Activation, CellSpec, OptionError, Variant, activation_constants

KERAS_CELLS = {
    "LSTM": "lstm",
    "GRU": "gru",
    "SimpleRNN": "rnn",
    "ConvLSTM1D": "conv_lstm",
    "ConvLSTM2D": "conv_lstm",
    "ConvLSTM3D": "conv_lstm",
}

# Keras's names of its activations -> ours; where two are the same the later one is written. The others (softmax,
# log_softmax, sparsemax, glu) look at many units at once, and threshold has no constants of its own.
_ACTIVATIONS: dict[str, Activation] = {
    "swish": "silu",
    "hard_swish": "hard_silu",
    "celu": "elu",
    "sparse_sigmoid": ("hard_sigmoid", 0.5, 0.5),
    "leaky_relu": ("leaky_relu", 0.2),
    "linear": "identity",
} | {name: name for name in ACTIVATIONS if name not in ("identity", "affine", "leaky_relu", "thresholded_relu")}
# Layers that can stand in an activation's place, each with a constant -> ours, and what they call it.
_LAYERS = {"LeakyReLU": ("leaky_relu", "negative_slope"), "ELU": ("elu", "alpha")}

Config = Mapping[str, Any]


def cell_options(kind: str, config: Config) -> dict[str, Any]:
    """The options of a CellSpec, beside its sizes, that a configuration means.

    Raises:
        OptionError: another class, or an option that no cell has; it is named.
    """
    check_class(kind)
    options: dict[str, Any] = {"cell": KERAS_CELLS[kind]}
    other = _activation(kind, config, "activation", "tanh")
    if kind == "SimpleRNN":
        return {**options, "nonlinearity": other}
    gates = _activation(kind, config, "recurrent_activation", "sigmoid")
    if kind == "GRU":
        variant = Variant(gate_activation=gates, candidate_activation=other)
        return {**options, "reset_after": bool(config.get("reset_after", True)), "variant": variant}
    variant = Variant(gate_activation=gates, candidate_activation=other, cell_activation=other)
    return {**options, "variant": variant, **({} if kind == "LSTM" else _convolution(kind, config))}


def check_class(kind: str) -> None:
    """Raise an OptionError unless a layer of this class can be converted."""
    if kind not in KERAS_CELLS:
        raise OptionError(f"no Keras layer {kind!r} can be converted; known: {', '.join(KERAS_CELLS)}, Bidirectional")


def keras_class(spec: CellSpec) -> tuple[str, dict[str, Any]]:
    """Class and configuration, beside its sizes, of one layer of a stack.

    Raises:
        OptionError: Keras has no layer for the cell.
    """
    for kind, cell in KERAS_CELLS.items():
        config = _written(spec, kind) if cell == spec.cell else None
        if config is not None and _spec(spec, kind, config) == replace(spec, num_layers=1):
            return kind, config
    raise OptionError(f"Keras has no layer for the cell {spec.cell!r} with the options of this stack: {spec.changes()}")


def snake_case(kind: str) -> str:
    """A class's name as Keras's files name the groups of its layers: ``SimpleRNN`` is ``simple_rnn``."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def layout_name(options: Mapping[str, Any]) -> str:
    """The name of the layout in lstmkit.spec.LAYOUTS."""
    return "keras" if options.get("reset_after", True) else "keras_reset_before"


def _activation(kind: str, config: Config, name: str, default: str) -> Activation:
    given = config.get(name, default)
    if isinstance(given, str) and given in _ACTIVATIONS:
        return _ACTIVATIONS[given]
    shown = given.get("class_name", given) if isinstance(given, Mapping) else given
    if isinstance(given, Mapping) and shown in _LAYERS:
        ours, constant = _LAYERS[shown]
        return (ours, given["config"][constant])
    known = ", ".join((*_ACTIVATIONS, *_LAYERS))
    raise OptionError(f"{kind}: {name}={shown!r} cannot be converted; lstmkit's cell has {known}")


def _named(activation: Activation) -> Any:
    """An activation as a configuration has it, or None."""
    theirs: dict[Activation, str] = {ours: name for name, ours in _ACTIVATIONS.items()}
    if activation in theirs:
        return theirs[activation]
    name, *constants = activation_constants(activation)
    for layer, (ours, constant) in _LAYERS.items():
        if ours == name:
            own = {"class_name": layer, "config": {constant: constants[0]}}
            return {"module": "keras.layers", "registered_name": None, **own}
    return None


def _convolution(kind: str, config: Config) -> dict[str, Any]:
    axes = int(kind[-2])
    for name in ("strides", "dilation_rate"):
        if set(_sizes(config.get(name, 1), axes)) != {1}:
            raise OptionError(
                f"{kind}: {name}={config[name]!r} cannot be converted; lstmkit's cell has 1 along each axis"
            )
    return {"kernel_size": _sizes(config["kernel_size"], axes), "padding": config.get("padding", "valid")}


def _sizes(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _written(spec: CellSpec, kind: str) -> dict[str, Any] | None:
    """The inverse of :func:`cell_options`, as far as there is one."""
    if kind == "SimpleRNN":
        roles = {"activation": "nonlinearity"}
    else:
        roles = {"recurrent_activation": "gate_activation", "activation": "candidate_activation"}
    found: dict[str, Any] = {name: _named(spec.option(role)) for name, role in roles.items()}
    if None in found.values() or (spec.kernel_size and kind != f"ConvLSTM{len(spec.kernel_size)}D"):
        return None
    if kind == "GRU":
        found["reset_after"] = spec.reset_after
    return found | ({"kernel_size": [*spec.kernel_size], "padding": spec.padding} if spec.kernel_size else {})


def _spec(spec: CellSpec, kind: str, config: Config) -> CellSpec:
    """What a Keras layer of this class and configuration is."""
    return CellSpec(spec.input_size, spec.hidden_size, 1, spec.bias, spec.bidirectional, **cell_options(kind, config))
