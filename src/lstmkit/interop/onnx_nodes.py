"""ONNX's operators LSTM, GRU and RNN: attributes and arrays. Needs no onnx."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmkit.interop.layer import Array, Layer, as_floats
from lstmkit.interop.rows import Direction, from_lstmkit, to_lstmkit
from lstmkit.spec import CellSpec, OptionError, ShapeError

ONNX_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
INPUTS = {
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
}
# What a node of each operator computes with unless it says otherwise, per direction.
ACTIVATIONS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_ATTRIBUTES = {
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


def from_onnx_node(operator: str, attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> Layer:
    """Take the weights of one node of opset 7 or later.

    Args:
        operator: ``"LSTM"``, ``"GRU"`` or ``"RNN"``.
        attributes: The node's attributes.
        arrays: ``W (D, G*H, I)``, ``R (D, G*H, H)`` and, where the node has them, ``B (D, 2*G*H)`` and ``P (D, 3*H)``.

    Raises:
        OptionError: another operator, or an attribute that no cell has; it is named.
        ShapeError: an array is missing or does not fit.

    Example:
        >>> arrays = {"W": np.ones((1, 12, 2)), "R": np.ones((1, 12, 3))}
        >>> from_onnx_node("LSTM", {"hidden_size": 3, "direction": "reverse"}, arrays).call
        {'direction': 'reverse', 'layout': 0}
    """
    if operator not in ONNX_CELLS:
        raise OptionError(f"no ONNX operator {operator!r} can be converted; known: {', '.join(ONNX_CELLS)}")
    direction = attributes.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise OptionError(f"{operator}: direction must be one of {', '.join(_DIRECTIONS)}, not {direction!r}")
    options = _cell_options(operator, attributes, _DIRECTIONS[direction], "P" in arrays)
    given = {name: as_floats(arrays[name]) for name in ("W", "R", "B", "P") if name in arrays}
    hidden = _check_sizes(operator, attributes, given, _DIRECTIONS[direction])
    spec = CellSpec(
        input_size=given["W"].shape[2],
        hidden_size=hidden,
        bias="B" in given,
        bidirectional=direction == "bidirectional",
        **options,
    )
    parameters: dict[str, Array] = {}
    for d, suffix in enumerate(spec.layer_suffixes(0)):
        weights = Direction(given["W"][d], given["R"][d], given["B"][d] if spec.bias else None)
        own = to_lstmkit("onnx", ONNX_CELLS[operator], weights, hidden, f"{operator} (W, R and B)")
        parameters |= {name + suffix: array for name, array in own.items()}
    return Layer(spec, parameters, {"direction": direction, "layout": attributes.get("layout", 0)})


def to_onnx_nodes(layer: Layer) -> list[tuple[str, dict[str, Any], dict[str, Array]]]:
    """The operator, attributes and arrays of each layer of a stack.

    Raises:
        OptionError: ONNX has no such operator.
    """
    spec = layer.spec
    if spec.proj_size:
        raise OptionError(f"ONNX's LSTM has no projection (proj_size={spec.proj_size})")
    operator, attributes = _onnx_operator(spec)
    attributes |= {"hidden_size": spec.hidden_size, "direction": "bidirectional" if spec.bidirectional else "forward"}
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if spec.bias else ()))
    nodes: list[tuple[str, dict[str, Any], dict[str, Array]]] = []
    for number in range(spec.num_layers):
        directions = [
            from_lstmkit("onnx", spec.cell, {kind: layer.parameters[kind + suffix] for kind in kinds})
            for suffix in spec.layer_suffixes(number)
        ]
        arrays = {"W": np.stack([d.kernel for d in directions]), "R": np.stack([d.recurrent for d in directions])}
        if spec.bias:
            arrays["B"] = np.stack([d.bias for d in directions])
        nodes.append((operator, dict(attributes), arrays))
    return nodes


def _cell_options(operator: str, attributes: Mapping[str, Any], directions: int, peepholes: bool) -> dict[str, Any]:
    """The cell that the attributes mean; what it cannot hold is refused by its name."""
    unknown = sorted(set(attributes) - _ATTRIBUTES)
    if unknown:
        raise OptionError(f"{operator}: the attribute {unknown[0]!r} is not one of opset 7 or later")
    if attributes.get("layout", 0) not in (0, 1):
        raise OptionError(f"{operator}: layout must be 0 or 1, not {attributes['layout']!r}")
    if attributes.get("clip"):
        raise OptionError(f"{operator}: clip={attributes['clip']:g} cannot be converted; lstmkit's cell has no clip")
    if attributes.get("input_forget"):
        raise OptionError("LSTM: input_forget=1 (coupled gates) cannot be converted")
    if peepholes:
        raise OptionError("LSTM: the input P (peepholes) cannot be converted")
    activations = _activations(operator, attributes, directions)
    options: dict[str, Any] = {"cell": ONNX_CELLS[operator]}
    if operator == "RNN":
        options["nonlinearity"] = activations[0]
    if operator == "GRU":
        options["reset_after"] = bool(attributes.get("linear_before_reset", 0))
    return options


def _activations(operator: str, attributes: Mapping[str, Any], directions: int) -> list[str]:
    """The activations of one direction, which are those of the other too."""
    usual = ACTIVATIONS[operator]
    given = [_text(name).lower() for name in attributes.get("activations") or usual * directions]
    if len(given) != len(usual) * directions:
        raise OptionError(f"{operator}: expected {len(usual) * directions} activations, not {len(given)}")
    known = [[*usual], ["relu"]] if operator == "RNN" else [[*usual]]
    first, second = given[: len(usual)], given[-len(usual) :]
    if first != second or first not in known:
        names = " or ".join(map(str, known))
        raise OptionError(f"{operator}: the activations {given} cannot be converted; each direction must have {names}")
    return first


def _check_sizes(operator: str, attributes: Mapping[str, Any], arrays: Mapping[str, Array], directions: int) -> int:
    for name in ("W", "R"):
        if name not in arrays:
            raise ShapeError(f"{operator}: the weights {name} are missing")
    for name, dimensions in (("W", 3), ("R", 3), ("B", 2)):
        if name in arrays and (arrays[name].ndim != dimensions or len(arrays[name]) != directions):
            raise ShapeError(
                f"{operator}: {name} must have {dimensions} dimensions, the first of {directions} (directions), "
                f"not the shape {arrays[name].shape}"
            )
    hidden = attributes.get("hidden_size", arrays["R"].shape[2])
    if hidden != arrays["R"].shape[2]:
        raise ShapeError(f"{operator}: hidden_size is {hidden}, but R has the shape {arrays['R'].shape}")
    return int(hidden)


def _onnx_operator(spec: CellSpec) -> tuple[str, dict[str, Any]]:
    """Operator and attributes for a cell."""
    own: dict[str, dict[str, Any]] = {
        "LSTM": {},
        "GRU": {"linear_before_reset": int(spec.reset_after)},
        "RNN": {"activations": [spec.nonlinearity.capitalize()] * spec.num_directions},
    }
    for operator, attributes in own.items():
        if ONNX_CELLS[operator] == spec.cell:
            sizes = (spec.input_size, spec.hidden_size, spec.num_layers, spec.bias, spec.bidirectional)
            if CellSpec(*sizes, **_cell_options(operator, attributes, spec.num_directions, False)) == spec:
                return operator, attributes
    raise OptionError(f"ONNX has no operator for the cell {spec.cell!r} with the options of this stack: {spec}")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
