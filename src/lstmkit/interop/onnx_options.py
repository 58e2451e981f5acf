"""Attributes of ONNX's LSTM, GRU and RNN as options of a CellSpec, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstmkit.spec import ACTIVATIONS, Activation, CellSpec, OptionError, Variant, activation_constants

ONNX_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
# What a node of each operator computes with unless it says otherwise, per direction.
DEFAULT_ACTIVATIONS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}

ATTRIBUTES = {
    "activations",
    "activation_alpha",
    "activation_beta",
    "clip",
    "direction",
    "hidden_size",
    "layout",
    "input_forget",
    "linear_before_reset",
}
# ONNX's name -> ours, and its constants unless the node has others; None where ONNX says nothing.
_NAMES: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "Sigmoid": ("sigmoid", ()),
    "Tanh": ("tanh", ()),
    "Relu": ("relu", ()),
    "Softsign": ("softsign", ()),
    "Softplus": ("softplus", ()),
    "Elu": ("elu", (1.0,)),
    "LeakyRelu": ("leaky_relu", (0.01,)),
    "ThresholdedRelu": ("thresholded_relu", (1.0,)),
    "HardSigmoid": ("hard_sigmoid", (0.2, 0.5)),
    "ScaledTanh": ("tanh", (None, None)),
    "Affine": ("affine", (None, None)),
}
_IN_LOWER_CASE = {name.lower(): name for name in _NAMES}
# Ours of the activations of each operator, in its order.
_ROLES = {
    "LSTM": ("gate_activation", "candidate_activation", "cell_activation"),
    "GRU": ("gate_activation", "candidate_activation"),
    "RNN": ("nonlinearity",),
}


def cell_options(operator: str, attributes: Mapping[str, Any], directions: int, peepholes: bool) -> dict[str, Any]:
    """The options of a CellSpec that the attributes mean.

    Raises:
        OptionError: an attribute that is none, or that no cell has; it is named.
    """
    unknown = sorted(set(attributes) - ATTRIBUTES)
    if unknown:
        raise OptionError(f"{operator}: the attribute {unknown[0]!r} is not one of opset 7 or later")
    if attributes.get("layout", 0) not in (0, 1):
        raise OptionError(f"{operator}: layout must be 0 or 1, not {attributes['layout']!r}")
    own: dict[str, Any] = dict(zip(_ROLES[operator], _activations(operator, attributes, directions), strict=True))
    # It bounds what the activations of gates and candidate read.
    clip = float(attributes["clip"]) if attributes.get("clip") else None
    options: dict[str, Any] = {"cell": ONNX_CELLS[operator]}
    if operator == "RNN":
        return {**options, **own, "variant": Variant(gate_clip=clip)}
    if operator == "GRU":
        after = bool(attributes.get("linear_before_reset", 0))
        return {**options, "reset_after": after, "variant": Variant(**own, gate_clip=clip)}
    return {**options, "variant": Variant(**own, gate_clip=clip, **_lstm_options(attributes, peepholes))}


def node_attributes(spec: CellSpec) -> tuple[str, dict[str, Any]]:
    """The operator and the attributes that mean this cell, beside sizes and direction.

    Raises:
        OptionError: ONNX has no operator for it.
    """
    operators = [operator for operator, cell in ONNX_CELLS.items() if cell == spec.cell]
    if not operators:
        raise OptionError(f"ONNX has no operator for the cell {spec.cell!r}")
    operator, variant = operators[0], spec.variant
    attributes: dict[str, Any] = {}
    if operator == "GRU":
        attributes["linear_before_reset"] = int(spec.reset_after)
    given = [spec.option(role) for role in _ROLES[operator]]
    if given != [*DEFAULT_ACTIVATIONS[operator]]:
        attributes |= _written(given, spec.num_directions)
    if variant.gate_clip is not None:
        attributes["clip"] = float(variant.gate_clip)
    if variant.forget_gate == "coupled":
        attributes["input_forget"] = 1
    sizes = (spec.input_size, spec.hidden_size, spec.num_layers, spec.bias, spec.bidirectional)
    if CellSpec(*sizes, **cell_options(operator, attributes, spec.num_directions, bool(variant.peepholes))) != spec:
        raise OptionError(f"ONNX's {operator} has not all options of this stack: {spec.changes()}")
    return operator, attributes


def _lstm_options(attributes: Mapping[str, Any], peepholes: bool) -> dict[str, Any]:
    """With input_forget, f is 1 - i."""
    if attributes.get("input_forget"):
        return {"forget_gate": "coupled", "peepholes": "io" if peepholes else ""}
    return {"peepholes": "ifo" if peepholes else ""}


def _activations(operator: str, attributes: Mapping[str, Any], directions: int) -> list[Activation]:
    """The activations of one direction, which are those of the other too; each takes its constants in turn."""
    count = len(DEFAULT_ACTIVATIONS[operator])
    names = [_text(name) for name in attributes.get("activations") or DEFAULT_ACTIVATIONS[operator] * directions]
    if len(names) != count * directions:
        raise OptionError(f"{operator}: expected {count * directions} activations, not {len(names)}")
    alphas: list[float] = [*(attributes.get("activation_alpha") or [])]
    betas: list[float] = [*(attributes.get("activation_beta") or [])]
    found = [_activation(operator, name, alphas, betas) for name in names]
    if found[:count] != found[-count:]:
        raise OptionError(f"{operator}: the activations {names} differ between the directions, so no stack holds both")
    return found[:count]


def _activation(operator: str, name: str, alphas: list[float], betas: list[float]) -> Activation:
    if name.lower() not in _IN_LOWER_CASE:
        raise OptionError(f"{operator}: the activation {name!r} cannot be converted; known: {', '.join(_NAMES)}")
    ours, defaults = _NAMES[_IN_LOWER_CASE[name.lower()]]
    constants: list[float] = []
    for own, default, plain in zip((alphas, betas), defaults, ACTIVATIONS[ours], strict=False):
        value = own.pop(0) if own else default
        if value is None:
            raise OptionError(f"{operator}: {name} has no default in ONNX; give activation_alpha and activation_beta")
        constants.append(_unrounded(value, plain))
    return (ours, *constants) if constants else ours  # pyright: ignore[reportReturnType]


def _unrounded(value: float, default: float) -> float:
    """What an attribute, which is float32, was written for: our own default, or the shortest such number."""
    return default if np.float32(value) == np.float32(default) else float(str(np.float32(value)))


def _written(given: Sequence[Activation], directions: int) -> dict[str, Any]:
    named = [_named(activation) for activation in given]
    attributes: dict[str, Any] = {"activations": [name for name, *_ in named] * directions}
    for place, attribute in enumerate(("activation_alpha", "activation_beta"), 1):
        values = [own[place] for own in named if len(own) > place]
        attributes |= {attribute: values * directions} if values else {}
    return attributes


def _named(activation: Activation) -> tuple[str, *tuple[float, ...]]:
    """ONNX's name of an activation, and the constants that stand beside it."""
    if activation == "tanh":
        return ("Tanh",)
    if activation == "identity":
        return ("Affine", 1.0, 0.0)
    ours, *constants = activation_constants(activation)
    names = [name for name, (known, _) in _NAMES.items() if known == ours and name != "Tanh"]
    if not names:
        raise OptionError(f"ONNX has no activation {ours!r}; it has: {', '.join(_NAMES)}")
    return (names[0], *constants)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
