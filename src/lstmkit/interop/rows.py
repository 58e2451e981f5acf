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


def to_lstmkit(
    system: str, cell: str, weights: Direction, hidden_size: int, where: str, kernel_size: tuple[int, ...] = ()
) -> dict[str, Array]:
    """The arrays ``weight_ih``, ``weight_hh`` and, with a bias, ``bias_ih`` and, where the cell has it, ``bias_hh``.

    Args:
        system: A system of :data:`lstmkit.spec.LAYOUTS`.
        cell: A cell of the same table.
        weights: What the system has.
        hidden_size: Units, ``H``.
        where: What to call the layer in an error.
        kernel_size: Of a ConvLSTM's convolutions.

    Raises:
        ShapeError: an array has not the shape that the system's layout asks for.
        OptionError: no layout is known.
    """
    layout = weight_layout(system, cell)
    rows = len(layout.gates) * hidden_size
    inputs = weights.kernel.shape[-2 if layout.transposed else 1] if weights.kernel.ndim == 2 + len(kernel_size) else 0
    arrays = {
        "weight_ih": _matrix(layout, weights.kernel, (rows, inputs, *kernel_size), f"{where}: the input weights"),
        "weight_hh": _matrix(
            layout, weights.recurrent, (rows, hidden_size, *kernel_size), f"{where}: the recurrent weights"
        ),
    }
    if weights.bias is not None:
        arrays["bias_ih"], second = _both_biases(layout, weights.bias, rows, f"{where}: the bias")
        arrays |= {"bias_hh": second} if weight_layout("lstmkit", cell).biases == "two" else {}
    order = gate_permutation(system, "lstmkit", cell)
    return {name: reorder(array, order) for name, array in arrays.items()}


def from_lstmkit(system: str, cell: str, arrays: dict[str, Array]) -> Direction:
    """The inverse of :func:`to_lstmkit`; two biases become their sum where the system has one."""
    layout = weight_layout(system, cell)
    order = gate_permutation("lstmkit", system, cell)
    arrays = {name: reorder(array, order) for name, array in arrays.items()}
    kernel, recurrent = arrays["weight_ih"], arrays["weight_hh"]
    if layout.transposed:
        kernel, recurrent = (np.moveaxis(matrix, (0, 1), (-1, -2)) for matrix in (kernel, recurrent))
    bias = None
    if "bias_ih" in arrays:
        found = tuple(arrays[name] for name in ("bias_ih", "bias_hh") if name in arrays)
        bias = {"two": found, "one": sum(found), "rows": np.stack(found), "joined": np.concatenate(found)}[
            layout.biases
        ]
    return Direction(kernel, recurrent, bias)


def reorder(array: Array, order: tuple[int, ...]) -> Array:
    """The blocks of the first axis, block ``order[k]`` in place ``k``."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[k] for k in order])


def _matrix(layout: WeightLayout, array: Array, shape: tuple[int, ...], name: str) -> Array:
    """An array that is to have ``shape``, out of that of the layout."""
    rows, inputs, *kernel = shape
    expect(name, array, (*kernel, inputs, rows) if layout.transposed else shape, layout)
    return np.moveaxis(array, (-1, -2), (0, 1)) if layout.transposed else array


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
