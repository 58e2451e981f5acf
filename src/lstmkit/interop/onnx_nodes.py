"""ONNX's operators LSTM, GRU and RNN: attributes and arrays. Needs no onnx."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmkit.interop.layer import Array, Layer, as_floats, check_call
from lstmkit.interop.onnx_options import DIRECTIONS, ONNX_CELLS, cell_options, node_attributes
from lstmkit.interop.rows import Direction, from_lstmkit, to_lstmkit
from lstmkit.spec import CellSpec, OptionError, ShapeError

INPUTS = {
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
}

_PEEPHOLES: tuple[str, ...] = ("i", "o", "f")


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
    if direction not in DIRECTIONS:
        raise OptionError(f"{operator}: direction must be one of {', '.join(DIRECTIONS)}, not {direction!r}")
    options = cell_options(operator, attributes, DIRECTIONS[direction], "P" in arrays)
    given = {name: as_floats(arrays[name]) for name in ("W", "R", "B", "P") if name in arrays}
    hidden = _check_sizes(operator, attributes, given, DIRECTIONS[direction])
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
        own = {name: _keep_gates(array, spec.gates, spec.gates_with_weights) for name, array in own.items()}
        if spec.variant.peepholes:
            own["weight_ch"] = _peepholes(given["P"][d], spec.variant.peephole_gates, hidden)
        parameters |= {name + suffix: array for name, array in own.items()}
    return Layer(spec, parameters, {"direction": direction, "layout": attributes.get("layout", 0)})


def to_onnx_nodes(layer: Layer) -> list[tuple[str, dict[str, Any], dict[str, Array]]]:
    """The operator, attributes and arrays of each layer of a stack.

    They are valid from opset 7 on; with ``layout`` 1, which only a layer out of such a node has, from opset 14 on.

    Raises:
        OptionError: ONNX has no such operator, or cannot call it so.
    """
    spec = layer.spec
    if spec.proj_size:
        raise OptionError(f"ONNX's LSTM has no projection (proj_size={spec.proj_size})")
    check_call(layer, "ONNX", kept=("direction",))
    operator, attributes = node_attributes(spec)
    direction = "bidirectional" if spec.bidirectional else layer.call.get("direction", "forward")
    attributes |= {"hidden_size": spec.hidden_size, "direction": direction}
    if layer.call.get("layout"):
        attributes["layout"] = 1
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if spec.bias else ()))
    nodes: list[tuple[str, dict[str, Any], dict[str, Array]]] = []
    for number in range(spec.num_layers):
        directions = [
            from_lstmkit(
                "onnx",
                spec.cell,
                {
                    kind: _keep_gates(layer.parameters[kind + suffix], spec.gates_with_weights, spec.gates)
                    for kind in kinds
                },
            )
            for suffix in spec.layer_suffixes(number)
        ]
        arrays = {"W": np.stack([d.kernel for d in directions]), "R": np.stack([d.recurrent for d in directions])}
        if spec.bias:
            arrays["B"] = np.stack([d.bias for d in directions])
        if spec.variant.peepholes:
            own = [layer.parameters[f"weight_ch{suffix}"] for suffix in spec.layer_suffixes(number)]
            arrays["P"] = np.stack([_written_peepholes(array, spec.variant.peephole_gates) for array in own])
        nodes.append((operator, dict(attributes), arrays))
    return nodes


def _peepholes(given: Array, peepholes: tuple[str, ...], hidden: int) -> Array:
    """ONNX's ``(3H,)`` in the order i, o, f as ours, of the gates that have some."""
    if given.shape != (3 * hidden,):
        raise ShapeError(
            f"LSTM: P must have the shape (D, {3 * hidden}) with the gates i, o, f, not (D, *{given.shape})"
        )
    blocks: dict[str, Array] = dict(zip(_PEEPHOLES, np.split(given, 3), strict=True))
    return np.concatenate([blocks[gate] for gate in peepholes])


def _written_peepholes(given: Array, peepholes: tuple[str, ...]) -> Array:
    """The inverse; a gate without peepholes gets zeros."""
    blocks = dict(zip(peepholes, np.split(given, len(peepholes)), strict=True))
    zeros = np.zeros_like(next(iter(blocks.values())))
    return np.concatenate([blocks.get(gate, zeros) for gate in _PEEPHOLES])


def _keep_gates(array: Array, have: tuple[str, ...], want: tuple[str, ...]) -> Array:
    """Rows of the gates of ``want`` out of those of ``have``; a gate that is not among them is zero."""
    if have == want:
        return array
    blocks = dict(zip(have, np.split(array, len(have)), strict=True))
    zeros = np.zeros_like(blocks["g"])
    return np.concatenate([blocks.get(gate, zeros) for gate in want])


def _check_sizes(operator: str, attributes: Mapping[str, Any], arrays: Mapping[str, Array], directions: int) -> int:
    for name in ("W", "R"):
        if name not in arrays:
            raise ShapeError(f"{operator}: the weights {name} are missing")
    for name, dimensions in (("W", 3), ("R", 3), ("B", 2), ("P", 2)):
        if name in arrays and (arrays[name].ndim != dimensions or len(arrays[name]) != directions):
            raise ShapeError(
                f"{operator}: {name} must have {dimensions} dimensions, the first of {directions} (directions), "
                f"not the shape {arrays[name].shape}"
            )
    hidden = attributes.get("hidden_size", arrays["R"].shape[2])
    if hidden != arrays["R"].shape[2]:
        raise ShapeError(f"{operator}: hidden_size is {hidden}, but R has the shape {arrays['R'].shape}")
    return int(hidden)
