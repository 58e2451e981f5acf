"""What a layer of any cell is given, how it is run, and whether it can be."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lstmkit.reference import Masks, expect_shape
from lstmkit.spec import CellSpec, ShapeError


class CellLayer(NamedTuple):
    """What one layer of any cell is given; weights in the catalog's order, direction after direction."""

    spec: CellSpec  # of this layer alone
    x: Tensor  # (T, B, I, ...)
    state: Sequence[Tensor]  # (D, B, ...) each
    weights: Sequence[Tensor]
    lengths: Tensor | None  # (B,) in 1..T
    resets: Tensor | None  # (T, B)
    masks: Sequence[Masks] | None = None  # of each direction of an LSTM


class Ways(NamedTuple):
    """How a layer is run, and what it gives back beside output and states."""

    engine: str
    cells: bool = False
    gates: bool = False
    chunk: int = 0  # steps at once; 0: one after the other


def check_cell_layer(layer: CellLayer) -> None:
    """Shapes, dtypes and devices fit each other: people assign weights freely, and the core takes addresses.

    Raises:
        ShapeError: one does not; the message shows both sides.
    """
    spec, x, state, weights, lengths, resets, _ = layer
    if x.dim() != 3 or x.shape[2] != spec.input_size + spec.extra_size:
        raise ShapeError(f"the input must have shape (T, B, {spec.input_size + spec.extra_size}), not {tuple(x.shape)}")
    T, B, _ = x.shape
    shapes = {name: (spec.num_directions, B, *shape) for name, shape in spec.state_channels().items()}
    shapes |= {name: shape for name, shape in spec.parameter_shapes().items() if "_l0" in name}
    values = [*state, *weights]
    if len(values) != len(shapes):
        raise ShapeError(f"a layer of the cell {spec.cell!r} has {', '.join(shapes)}, not {len(values)} tensors")
    for (own, shape), value in zip(shapes.items(), values, strict=True):
        name = own.replace("_l0", "")
        expect_shape(name, value, shape)
        if (value.dtype, value.device, value.layout) != (x.dtype, x.device, torch.strided):
            raise ShapeError(f"{name} must be {x.dtype} on {x.device}, not {value.dtype} on {value.device}")
    if lengths is not None:
        expect_shape("lengths", lengths, (B,))
    if resets is not None:
        expect_shape("resets", resets, (T, B))
