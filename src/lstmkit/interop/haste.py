"""haste_pytorch's LSTM and GRU (lmnt-com/haste): one layer and direction, matrices ``(inputs, G*H)``."""

from collections.abc import Mapping
from typing import Any

from lstmkit.interop.layer import Array, Layer, as_array, as_floats
from lstmkit.interop.rows import Direction, from_lstmkit, to_lstmkit
from lstmkit.spec import CellSpec, OptionError, ShapeError

_NAMES = {
    "lstm": ("kernel", "recurrent_kernel", "bias"),
    "gru": ("kernel", "recurrent_kernel", "bias", "recurrent_bias"),
}


def from_haste(state: Mapping[str, Any]) -> Layer:
    """Take the weights of a haste layer from its ``state_dict()``; a GRU is told by its ``recurrent_bias``.

    Zoneout and DropConnect act in training alone and are not among the weights.

    Raises:
        ShapeError: an array is missing, unknown, or does not fit.

    Example:
        >>> import numpy as np
        >>> state = {"kernel": np.ones((2, 12)), "recurrent_kernel": np.ones((3, 12)), "bias": np.zeros(12)}
        >>> from_haste(state).spec.hidden_size
        3
    """
    cell = "gru" if "recurrent_bias" in state else "lstm"
    if set(state) != set(_NAMES[cell]):
        raise ShapeError(
            f"expected the arrays {', '.join(_NAMES[cell])} of a haste {cell.upper()}, not {sorted(state)}"
        )
    kernel, recurrent, *biases = [as_floats(as_array(state[name])) for name in _NAMES[cell]]
    hidden = recurrent.shape[0]
    bias = biases[0] if cell == "lstm" else tuple(biases)
    arrays = to_lstmkit("haste", cell, Direction(kernel, recurrent, bias), hidden, f"haste's {cell.upper()}")
    spec = CellSpec(kernel.shape[0], hidden, cell=cell)
    return Layer(spec, {f"{name}_l0": array for name, array in arrays.items()})


def to_haste(layer: Layer) -> dict[str, Array]:
    """The arrays for a haste layer's ``load_state_dict``, as NumPy.

    Raises:
        OptionError: haste has no such layer.
    """
    spec = layer.spec
    plain = CellSpec(spec.input_size, spec.hidden_size, cell=spec.cell)
    if spec.cell not in _NAMES or spec != plain:
        raise OptionError(f"haste has a plain LSTM and GRU of one layer and direction, with biases; this is {spec}")
    arrays = {name.removesuffix("_l0"): array for name, array in layer.parameters.items()}
    kernel, recurrent, bias = from_lstmkit("haste", spec.cell, arrays)
    biases = (bias,) if spec.cell == "lstm" else bias
    return dict(zip(_NAMES[spec.cell], (kernel, recurrent, *biases), strict=True))
