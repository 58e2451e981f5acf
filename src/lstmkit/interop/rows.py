"""One direction of one layer between lstmkit's layout of the weights and another system's; the layouts are data."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import ShapeError, WeightLayout, gate_permutation, weight_layout

Array = NDArray[Any]


class Direction(NamedTuple):
    """The arrays of one direction as a system keeps them.

    ``bias`` is None, one array, or a pair where the system has two (``biases="two"`` in its layout).
    """

    kernel: Array
    recurrent: Array
    bias: Any


def to_lstmkit(system: str, cell: str, weights: Direction, hidden_size: int, where: str) -> dict[str, Array]:
    """The arrays ``weight_ih``, ``weight_hh`` and, with a bias, ``bias_ih`` and ``bias_hh``.

    Args:
        system: A system of :data:`lstmkit.spec.LAYOUTS`.
        cell: A cell of the same table.
        weights: What the system has.
        hidden_size: Units, ``H``.
        where: What to call the layer in an error.

    Raises:
        ShapeError: an array has not the shape that the system's layout asks for.
        OptionError: no layout is known.
    """
    layout = weight_layout(system, cell)
    rows = len(layout.gates) * hidden_size
    inputs = weights.kernel.shape[0 if layout.transposed else -1] if weights.kernel.ndim == 2 else 0
    arrays = {
        "weight_ih": _matrix(layout, weights.kernel, inputs, rows, f"{where}: the input weights"),
        "weight_hh": _matrix(layout, weights.recurrent, hidden_size, rows, f"{where}: the recurrent weights"),
    }
    if weights.bias is not None:
        arrays["bias_ih"], arrays["bias_hh"] = _both_biases(layout, weights.bias, rows, f"{where}: the bias")
    order = gate_permutation(system, "lstmkit", cell)
    return {name: reorder(array, order) for name, array in arrays.items()}


def from_lstmkit(system: str, cell: str, arrays: dict[str, Array]) -> Direction:
    """The inverse of :func:`to_lstmkit`; two biases become their sum where the system has one."""
    layout = weight_layout(system, cell)
    order = gate_permutation("lstmkit", system, cell)
    arrays = {name: reorder(array, order) for name, array in arrays.items()}
    kernel, recurrent = arrays["weight_ih"], arrays["weight_hh"]
    bias = None
    if "bias_ih" in arrays:
        both = arrays["bias_ih"], arrays["bias_hh"]
        bias = {"two": both, "one": both[0] + both[1], "rows": np.stack(both), "joined": np.concatenate(both)}[
            layout.biases
        ]
    return Direction(kernel.T, recurrent.T, bias) if layout.transposed else Direction(kernel, recurrent, bias)


def reorder(array: Array, order: tuple[int, ...]) -> Array:
    """The blocks of the first axis, block ``order[k]`` in place ``k``."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[k] for k in order])


def _matrix(layout: WeightLayout, array: Array, inputs: int, rows: int, name: str) -> Array:
    expect(name, array, (inputs, rows) if layout.transposed else (rows, inputs), layout)
    return array.T if layout.transposed else array


def _both_biases(layout: WeightLayout, bias: Any, rows: int, name: str) -> tuple[Array, Array]:
    if layout.biases == "two":
        first, second = bias
        expect(name, first, (rows,), layout)
        expect(name, second, (rows,), layout)
        return first, second
    expect(name, bias, {"one": (rows,), "rows": (2, rows), "joined": (2 * rows,)}[layout.biases], layout)
    if layout.biases == "one":
        return bias, np.zeros_like(bias)
    first, second = np.split(bias.reshape(-1), 2)
    return first, second


def expect(name: str, array: Array, shape: tuple[int, ...], layout: WeightLayout) -> None:
    """Raise a ShapeError that names the array, the shape and the gates that it should have."""
    if array.shape != shape:
        gates = ", ".join(layout.gates)
        raise ShapeError(f"{name} must have the shape {shape} with the gates {gates}, not {array.shape}")
