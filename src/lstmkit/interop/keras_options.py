"""Configurations of Keras's recurrent layers as options of a CellSpec, and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lstmkit.spec import CellSpec, OptionError, Variant

KERAS_CELLS = {
    "LSTM": "lstm",
    "GRU": "gru",
    "SimpleRNN": "rnn",
    "ConvLSTM1D": "conv_lstm",
    "ConvLSTM2D": "conv_lstm",
    "ConvLSTM3D": "conv_lstm",
}

# Keras's names of the activations that an LSTM can be given -> ours.
_ACTIVATIONS = {name: name for name in ("sigmoid", "tanh", "hard_sigmoid", "relu", "softsign")} | {"linear": "identity"}

Config = Mapping[str, Any]


def cell_options(kind: str, config: Config) -> dict[str, Any]:
    """The options of a CellSpec, beside its sizes, that a configuration means.

    Raises:
        OptionError: another class, or an option that no cell has; it is named.
    """
    check_class(kind)
    options: dict[str, Any] = {"cell": KERAS_CELLS[kind]}
    if kind == "SimpleRNN":
        return {**options, "nonlinearity": _activation(kind, config, "activation", "tanh", "relu")}
    if kind == "LSTM":
        gates = _ACTIVATIONS[_activation(kind, config, "recurrent_activation", "sigmoid", *_ACTIVATIONS)]
        other = _ACTIVATIONS[_activation(kind, config, "activation", "tanh", *_ACTIVATIONS)]
        variant = Variant(gate_activation=gates, candidate_activation=other, cell_activation=other)
        return {**options, "variant": variant}
    _activation(kind, config, "recurrent_activation", "sigmoid")
    _activation(kind, config, "activation", "tanh")
    if kind == "GRU":
        return {**options, "reset_after": bool(config.get("reset_after", True))}
    return {**options, **_convolution(kind, config)}


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
    raise OptionError(f"Keras has no layer for the cell {spec.cell!r} with the options of this stack: {spec}")


def layout_name(options: Mapping[str, Any]) -> str:
    """The name of the layout in lstmkit.spec.LAYOUTS."""
    return "keras" if options.get("reset_after", True) else "keras_reset_before"


def _activation(kind: str, config: Config, name: str, *known: str) -> str:
    given = config.get(name, known[0])
    if given not in known:
        shown = given.get("class_name", given) if isinstance(given, Mapping) else given
        raise OptionError(f"{kind}: {name}={shown!r} cannot be converted; lstmkit's cell has {' or '.join(known)}")
    return given


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
    if kind == "LSTM":
        theirs: dict[Any, str] = {ours: name for name, ours in _ACTIVATIONS.items()}
        roles = {"recurrent_activation": "gate_activation", "activation": "cell_activation"}
        found = {name: theirs.get(getattr(spec.variant, role)) for name, role in roles.items()}
        return None if None in found.values() else found
    if kind == "SimpleRNN":
        return {"activation": spec.nonlinearity}
    if kind == "GRU":
        return {"reset_after": spec.reset_after}
    axes = len(spec.kernel_size)
    return {"kernel_size": [*spec.kernel_size], "padding": spec.padding} if kind == f"ConvLSTM{axes}D" else None


def _spec(spec: CellSpec, kind: str, config: Config) -> CellSpec:
    """What a Keras layer of this class and configuration is."""
    return CellSpec(spec.input_size, spec.hidden_size, 1, spec.bias, spec.bidirectional, **cell_options(kind, config))
