"""What the ops are given, checked before anybody takes an address: people assign weights freely and call ops."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lstmkit.spec import ShapeError


def check_layer(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], lengths: Tensor | None, resets: Tensor | None
) -> None:
    """Shapes, dtypes and devices of one layer fit each other.

    Raises:
        ShapeError: one does not; the message shows both sides.
    """
    for name, value in (("input", x), ("h", h), ("c", c)):
        if value.dim() != 3:
            raise ShapeError(f"the {name} of a layer must have 3 dimensions, not {value.dim()}")
    (T, B, I), (D, _, R), H = x.shape, h.shape, c.shape[2]  # noqa: E741
    n = len(weights) // max(D, 1)
    if D not in (1, 2) or len(weights) != D * n or n not in (2, 3, 4, 5):
        raise ShapeError(f"{len(weights)} weights do not make {D} directions of 2 to 5 weights each")
    biases, projection = [(4 * H,)] * (n // 4 * 2), [(R, H)] * (n % 2)
    shapes = [(D, B, R), (D, B, H), *[(4 * H, I), (4 * H, R), *biases, *projection] * D]
    values = [h, c, *weights]
    kinds = [(value.dtype, value.device, value.layout) for value in values]
    if [value.shape for value in values] != shapes or kinds != [(x.dtype, x.device, torch.strided)] * len(kinds):
        raise ShapeError(_first_difference(x, values, shapes))
    if R != H and not projection:
        raise ShapeError(f"h has {R} numbers per row and c {H}, but there is no projection between them")
    if lengths is not None and lengths.shape != (B,):
        raise ShapeError(f"lengths must have shape {(B,)}, not {tuple(lengths.shape)}")
    if resets is not None and (resets.shape != (T, B) or resets.dtype != torch.bool):
        raise ShapeError(f"resets must be torch.bool {(T, B)}, not {resets.dtype} {tuple(resets.shape)}")


def _first_difference(x: Tensor, values: list[Tensor], shapes: list[tuple[int, ...]]) -> str:
    for value, shape in zip(values, shapes, strict=True):
        if (expected := _describe(x, shape)) != (found := _describe(value, value.shape)):
            return f"a state or weight must be {expected}, not {found}"
    return "a state or weight does not fit"


def _describe(like: Tensor, shape: Sequence[int]) -> str:
    layout = "" if like.layout == torch.strided else f", {like.layout}"
    return f"{like.dtype} {tuple(shape)} on {like.device}{layout}"
