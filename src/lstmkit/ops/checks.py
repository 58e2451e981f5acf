"""What the ops are given, checked before anybody takes an address: people assign weights freely and call ops."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lstmkit.ops.native import count_directions
from lstmkit.spec import ShapeError


def check_layer(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
) -> None:
    """Shapes, dtypes and devices of one layer fit each other; the state may be left out.

    Raises:
        ShapeError: one does not; the message shows both sides.
    """
    for name, value in (("input", x), ("h", h), ("c", c)):
        if value is not None and value.dim() != 3:
            raise ShapeError(f"the {name} of a layer must have 3 dimensions, not {value.dim()}")
    (T, B, I), (D, R, H) = x.shape, _sizes(h, c, weights)  # noqa: E741
    n = len(weights) // max(D, 1)
    if D not in (1, 2) or len(weights) != D * n or n not in (2, 3, 4, 5):
        raise ShapeError(f"{len(weights)} weights do not make {D} directions of 2 to 5 weights each")
    biases, projection = [(4 * H,)] * (n // 4 * 2), [(R, H)] * (n % 2)
    states = [(value, (D, B, size)) for value, size in ((h, R), (c, H)) if value is not None]
    shapes = [*(shape for _, shape in states), *[(4 * H, I), (4 * H, R), *biases, *projection] * D]
    values = [*(value for value, _ in states), *weights]
    kinds = [(value.dtype, value.device, value.layout) for value in values]
    if [value.shape for value in values] != shapes or kinds != [(x.dtype, x.device, torch.strided)] * len(kinds):
        raise ShapeError(_first_difference(x, values, shapes))
    if R != H and not projection:
        raise ShapeError(f"h has {R} numbers per row and c {H}, but there is no projection between them")
    if lengths is not None and lengths.shape != (B,):
        raise ShapeError(f"lengths must have shape {(B,)}, not {tuple(lengths.shape)}")
    if resets is not None and (resets.shape != (T, B) or resets.dtype != torch.bool):
        raise ShapeError(f"resets must be torch.bool {(T, B)}, not {resets.dtype} {tuple(resets.shape)}")


def _sizes(h: Tensor | None, c: Tensor | None, weights: Sequence[Tensor]) -> tuple[int, int, int]:
    """D, R and H by the state, or by the weights where there is none."""
    if h is not None and c is not None:
        return h.shape[0], h.shape[2], c.shape[2]
    if len(weights) < 2 or weights[1].dim() != 2:
        shapes = ", ".join(str(tuple(weight.shape)) for weight in weights)
        raise ShapeError(f"the second weight of a layer must be a matrix (4H, R), but the weights are {shapes}")
    return count_directions(weights), weights[1].shape[1], weights[1].shape[0] // 4


def _first_difference(x: Tensor, values: list[Tensor], shapes: list[tuple[int, ...]]) -> str:
    for value, shape in zip(values, shapes, strict=True):
        if (expected := _describe(x, shape)) != (found := _describe(value, value.shape)):
            return f"a state or weight must be {expected}, not {found}"
    return "a state or weight does not fit"


def _describe(like: Tensor, shape: Sequence[int]) -> str:
    layout = "" if like.layout == torch.strided else f", {like.layout}"
    return f"{like.dtype} {tuple(shape)} on {like.device}{layout}"
