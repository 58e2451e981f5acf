"""haste_pytorch's LSTM, LayerNormLSTM and GRU (lmnt-com/haste): one layer and direction, matrices ``(inputs, G*H)``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmkit.interop.layer import Array, Layer, as_array, as_floats, check_call
from lstmkit.interop.rows import Direction, expect, from_lstmkit, reorder, to_lstmkit
from lstmkit.reference import expect_shape
from lstmkit.spec import CellSpec, OptionError, ShapeError, Variant, gate_permutation, weight_layout

_WEIGHTS = ("kernel", "recurrent_kernel", "bias")
_NAMES = {
    "LSTM": _WEIGHTS,
    "LayerNormLSTM": (*_WEIGHTS, "gamma", "gamma_h", "beta_h"),
    "GRU": (*_WEIGHTS, "recurrent_bias"),
}


def from_haste(state: Mapping[str, Any], *, zoneout: float = 0.0) -> Layer:
    """Take the weights of a haste layer from its ``state_dict()``; the names of its arrays tell its class.

    Args:
        state: Arrays or tensors by name.
        zoneout: The layer's attribute of that name, which is not among its weights and acts in evaluation too: the
            probability that a unit of h keeps its value. DropConnect (``dropout``) acts in training alone.

    Raises:
        ShapeError: an array is missing, unknown, or does not fit.
        OptionError: a GRU with zoneout, which no cell is.

    Example:
        >>> state = {"kernel": np.ones((2, 12)), "recurrent_kernel": np.ones((3, 12)), "bias": np.zeros(12)}
        >>> from_haste(state, zoneout=0.1).spec.variant.changes()
        {'zoneout_h': 0.1}
    """
    kind = next((kind for kind, names in _NAMES.items() if set(names) == set(state)), None)
    if kind is None:
        known = "; or ".join(f"{', '.join(names)} ({kind})" for kind, names in _NAMES.items())
        raise ShapeError(f"expected the arrays {known} of a haste layer, not {', '.join(sorted(state))}")
    cell = "gru" if kind == "GRU" else "lstm"
    if zoneout and cell == "gru":
        raise OptionError(f"haste's GRU with zoneout={zoneout:g} cannot be converted: lstmkit's GRU has none")
    given = {name: as_floats(as_array(state[name])) for name in _NAMES[kind]}
    hidden = given["recurrent_kernel"].shape[0]
    bias = (given["bias"], given["recurrent_bias"]) if cell == "gru" else given["bias"]
    weights = Direction(given["kernel"], given["recurrent_kernel"], bias)
    arrays = to_lstmkit("haste", cell, weights, hidden, f"haste's {kind}")
    own: dict[str, Any] = {"zoneout_h": zoneout}
    if kind == "LayerNormLSTM":
        own["layer_norm"] = "ba"
        arrays |= _gains(given, hidden)
    spec = CellSpec(given["kernel"].shape[0], hidden, cell=cell, variant=Variant(**own))
    return Layer(spec, {f"{name}_l0": array for name, array in arrays.items()})


def to_haste(layer: Layer) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """The class, its arguments, and the arrays for its ``load_state_dict``, as NumPy.

    Raises:
        OptionError: haste has no such layer.
    """
    spec, variant = layer.spec, layer.spec.variant
    check_call(layer, "haste")
    norm, zoneout = "ba" if variant.layer_norm else None, variant.zoneout_h
    own: dict[str, Any] = {"variant": Variant(layer_norm=norm, zoneout_h=zoneout)} if spec.cell == "lstm" else {}
    if spec.cell not in ("lstm", "gru") or spec != CellSpec(spec.input_size, spec.hidden_size, cell=spec.cell, **own):
        raise OptionError(
            "haste has an LSTM, with zoneout on h and layer_norm='ba' if wanted, and a GRU, each of one layer and "
            f"direction, with biases; this is {spec}"
        )
    arrays = {name.removesuffix("_l0"): array for name, array in layer.parameters.items()}
    gains = {name: arrays.pop(name) for name in ("gain_ih", "gain_hh", "gain_c", "bias_c") if name in arrays}
    kernel, recurrent, bias = from_lstmkit("haste", spec.cell, arrays)
    kind = "GRU" if spec.cell == "gru" else "LayerNormLSTM" if gains else "LSTM"
    found = (kernel, recurrent, *(bias if kind == "GRU" else (bias,)), *(_written_gains(gains) if gains else ()))
    sizes = {"input_size": spec.input_size, "hidden_size": spec.hidden_size, "zoneout": zoneout}
    return kind, sizes, dict(zip(_NAMES[kind], found, strict=True))


def _gains(given: Mapping[str, Array], hidden: int) -> dict[str, Array]:
    """haste's gamma has a row for each product, its columns in the order of the gates."""
    layout = weight_layout("haste")
    expect("haste's LayerNormLSTM: gamma", given["gamma"], (2, len(layout.gates) * hidden), layout)
    for name in ("gamma_h", "beta_h"):
        expect_shape(f"haste's LayerNormLSTM: {name}", given[name], (hidden,))
    rows = [reorder(row, gate_permutation("haste")) for row in given["gamma"]]
    return dict(
        zip(("gain_ih", "gain_hh", "gain_c", "bias_c"), (*rows, given["gamma_h"], given["beta_h"]), strict=True)
    )


def _written_gains(gains: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    order = gate_permutation("lstmkit", "haste")
    return np.stack([reorder(gains[name], order) for name in ("gain_ih", "gain_hh")]), gains["gain_c"], gains["bias_c"]
